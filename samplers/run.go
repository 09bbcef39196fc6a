package samplers

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Config is one run. The zero value of every field is useful.
type Config struct {
	Chains int // N; 0: as many as Init or Resume has, else 1
	Steps  int // iterations in all, burn-in included; Steps (the iterator): 0 is endless
	BurnIn int // iterations before the first that may be kept
	Thin   int // every Thin-th iteration after BurnIn is kept; 0: 1

	Seed uint64
	Key  rng.Key // zero: rng.NewKey(Seed)

	Init    []float32 // first states [N·D]; nil: N(0, I)
	Box     Box       // applied to the first states too
	Adapt   int       // kernels that adapt do so in the first Adapt iterations; 0: BurnIn, negative: never
	Workers int       // goroutines for the arithmetic between evaluations; 0: one a core

	KeepDraws    bool // Result.Draws
	KeepEnergies bool // Result.Energies; costs an evaluation a kept draw where the kernel does not need E itself
	KeepStats    bool // Result.Stats and Result.Acceptance
	WithStart    bool // the first states, and their energies, come first among the draws

	// OnStep is called after every iteration. OnDraw is called with each kept
	// state, i counting from 0, energies valid if KeepEnergies. Checkpoint is
	// called every Every iterations with the result so far, which it must not
	// keep. OnProgress is called now and then with the iterations done. An error
	// from any of them ends the run. The first two look at every iteration or
	// draw, which ends fused loops there; none changes the result.
	OnStep     func(*State) error
	OnDraw     func(i int, s *State) error
	Every      int
	Checkpoint func(*Result) error
	OnProgress func(done int)

	// Resume goes on from an earlier result of the same settings to Steps
	// iterations in all; Init is then ignored. The outcome has the bytes of an
	// uninterrupted run.
	Resume *Result
}

// Draws is how many states of each chain a run of these settings keeps.
func (c Config) Draws() int {
	n := 0
	if c.Steps > c.BurnIn {
		n = (c.Steps - c.BurnIn) / max(c.Thin, 1)
	}
	if c.WithStart {
		n++
	}
	return n
}

func (c Config) validate(dim int) error {
	switch {
	case dim < 1:
		return fmt.Errorf("samplers: the target has dimension %d; it must be at least 1", dim)
	case c.Steps < 0 || c.BurnIn < 0 || c.Thin < 0 || c.Chains < 0 || c.Every < 0:
		return fmt.Errorf("samplers: negative count in chains %d, steps %d, burn-in %d, thin %d, every %d", c.Chains, c.Steps, c.BurnIn, c.Thin, c.Every)
	case c.Steps > 0 && c.BurnIn > c.Steps:
		return fmt.Errorf("samplers: burn-in %d is longer than the %d steps, which include it", c.BurnIn, c.Steps)
	case c.Adapt > c.BurnIn:
		return fmt.Errorf("samplers: adapting for %d iterations needs a burn-in of at least as many (it is %d): draws of a chain that still adapts are biased", c.Adapt, c.BurnIn)
	case c.Init != nil && len(c.Init)%dim != 0:
		return fmt.Errorf("samplers: %d initial values are not whole states of dimension %d", len(c.Init), dim)
	case c.Init != nil && c.Chains > 0 && len(c.Init) != c.Chains*dim:
		return fmt.Errorf("samplers: %d initial values for %d chains of dimension %d; give one state a chain", len(c.Init), c.Chains, dim)
	case c.Init != nil && len(c.Init) == 0:
		return fmt.Errorf("samplers: there are no initial states; give one a chain, or none for N(0, I)")
	}
	return c.Box.validate()
}

// key is the run's root key.
func (c Config) key() rng.Key {
	if c.Key == (rng.Key{}) {
		return rng.NewKey(c.Seed)
	}
	return c.Key
}

// start makes the first state, or takes that of Resume.
func (c Config) start(dim int) (*State, error) {
	if err := c.validate(dim); err != nil {
		return nil, err
	}
	s, err := c.firstState(dim)
	if err != nil {
		return nil, err
	}
	s.Box, s.Total, s.BurnIn = c.Box, c.Steps, c.BurnIn
	s.Adapt = c.Adapt
	if c.Adapt == 0 {
		s.Adapt = c.BurnIn
	}
	s.Adapt = max(s.Adapt, 0)
	s.team = newTeam(c.Workers)
	return s, nil
}

func (c Config) firstState(dim int) (*State, error) {
	if c.Resume != nil {
		return c.resumedState(dim)
	}
	x := c.Init
	if x == nil {
		x = make([]float32, max(c.Chains, 1)*dim)
		c.key().Sub("init").Normals(x, 0, 0)
	}
	s, err := NewState(x, dim)
	if err != nil {
		return nil, err
	}
	for ch := range s.N {
		if !allFinite(s.row(s.X, ch)) {
			return nil, fmt.Errorf("samplers: the initial state of chain %d is not finite; give other initial states", ch)
		}
	}
	c.Box.apply(s.X, nil)
	return s, nil
}

func (c Config) resumedState(dim int) (*State, error) {
	old := c.Resume
	switch {
	case old.State == nil:
		return nil, fmt.Errorf("samplers: the result to resume from holds no state; start from the beginning")
	case old.State.Dim != dim || c.Chains > 0 && c.Chains != old.State.N:
		return nil, fmt.Errorf("samplers: the result to resume from has %d chains of dimension %d, this run %d of %d", old.State.N, old.State.Dim, c.Chains, dim)
	case c.Steps > 0 && old.State.Step > c.Steps:
		return nil, fmt.Errorf("samplers: the result to resume from has done %d iterations, more than %d; steps are the total", old.State.Step, c.Steps)
	}
	if old.Kept > 0 && (c.KeepDraws && len(old.Draws) == 0 || c.KeepEnergies && len(old.Energies) == 0 || c.KeepStats && len(old.Stats.Acceptance) == 0) {
		return nil, fmt.Errorf("samplers: the result to resume from did not keep all that this run is to keep; start from the beginning")
	}
	return old.State.Clone(), nil
}

// Steps is the run as an iterator: it yields the state after every iteration,
// the same *State each time, and ends after cfg.Steps of them (0: never), when
// the loop breaks, or after yielding an error. Of cfg it uses what concerns the
// chains, not what is kept.
func Steps(ctx context.Context, t Target, k Kernel, cfg Config) iter.Seq2[*State, error] {
	return func(yield func(*State, error) bool) {
		s, err := cfg.start(t.Dim())
		if err != nil {
			yield(nil, err)
			return
		}
		defer s.release()
		if err := k.Start(ctx, t, s); err != nil {
			yield(nil, err)
			return
		}
		key := cfg.key().Sub("steps")
		for cfg.Steps == 0 || s.Step < cfg.Steps {
			if err := ctx.Err(); err != nil {
				yield(s, err)
				return
			}
			if s.Last, err = k.Step(ctx, t, s, key); err != nil {
				yield(s, err)
				return
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

// Run moves the chains of cfg through cfg.Steps iterations. When ctx ends, or
// the target or a callback fails, the error comes with the result so far, which
// is whole and can be resumed.
func Run(ctx context.Context, t Target, k Kernel, cfg Config) (*Result, error) {
	s, err := cfg.start(t.Dim())
	if err != nil {
		return nil, err
	}
	defer s.release()
	r := &runner{ctx: ctx, t: t, k: k, cfg: cfg, s: s, key: cfg.key().Sub("steps")}
	r.res = newResult(cfg, s)
	err = r.run()
	r.res.finish(s)
	if err != nil && s.Step == 0 {
		return r.res, err
	}
	if err != nil {
		return r.res, fmt.Errorf("samplers: stopped after %d of %d iterations: %w", s.Step, cfg.Steps, err)
	}
	return r.res, nil
}

// runner is one call of Run.
type runner struct {
	ctx   context.Context
	t     Target
	k     Kernel
	cfg   Config
	s     *State
	key   rng.Key
	res   *Result
	chunk int // iterations to do in one go, by the clock

	accept []float32 // acceptances that are not kept
}

func (r *runner) run() error {
	if err := r.k.Start(r.ctx, r.t, r.s); err != nil {
		return err
	}
	r.record(0, r.s.Startup)
	r.s.Startup = Info{}
	// The start, or a draw whose energy an interrupted run did not get.
	if r.looksAtDraws() && r.res.Kept < r.due() {
		if err := r.keep(); err != nil {
			return err
		}
	}
	r.chunk = 16
	for r.s.Step < r.cfg.Steps {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := r.advance(); err != nil {
			return err
		}
		if err := r.look(); err != nil {
			return err
		}
	}
	return nil
}

// The wall time that a chunk of iterations aims at: what a cancelled run may
// lose, and how often progress is told. Results do not depend on chunks.
const chunkTime = 200 * time.Millisecond

// advance does iterations up to the next one that something looks at.
func (r *runner) advance() error {
	n := r.untilLook()
	begin := time.Now()
	from := r.s.Step
	accept := r.acceptance(from, n)
	var err error
	if m, ok := r.k.(multiStepper); ok && n > 1 {
		var info Info
		_, info, err = m.steps(r.ctx, r.t, r.s, r.key, accept)
		r.s.Last = info
		r.record(from, info)
	} else {
		for i := 0; i < n && err == nil; i++ {
			err = r.step(&accept[i])
		}
	}
	if took := time.Since(begin); n == r.chunk && took < chunkTime/2 {
		r.chunk = min(2*r.chunk, 4096)
	} else if took > chunkTime {
		r.chunk = max(1, n/2)
	}
	return err
}

// acceptance is where n iterations from the given one write theirs.
func (r *runner) acceptance(from, n int) []float32 {
	if r.res.Acceptance != nil {
		return r.res.Acceptance[from : from+n]
	}
	if cap(r.accept) < n {
		r.accept = make([]float32, n)
	}
	return r.accept[:n]
}

func (r *runner) step(accept *float32) error {
	from := r.s.Step
	info, err := r.k.Step(r.ctx, r.t, r.s, r.key)
	if err != nil {
		return err
	}
	r.s.Last = info
	*accept = float32(info.Acceptance())
	r.record(from, info)
	return nil
}

// record adds to the sums of burn-in or of what comes after it; a chunk never spans both.
func (r *runner) record(from int, info Info) {
	if from < r.cfg.BurnIn {
		r.res.Warmup.Add(info)
	} else {
		r.res.Sampling.Add(info)
	}
}

// due is how many draws there should be after the iterations done.
func (r *runner) due() int {
	done := r.cfg
	done.Steps = r.s.Step
	return done.Draws()
}

// untilLook is how many iterations may be done in one go.
func (r *runner) untilLook() int {
	if r.cfg.OnStep != nil {
		return 1
	}
	at, n := r.s.Step, min(r.chunk, r.cfg.Steps-r.s.Step)
	if at < r.cfg.BurnIn {
		n = min(n, r.cfg.BurnIn-at)
	} else if r.looksAtDraws() {
		thin := max(r.cfg.Thin, 1)
		n = min(n, thin-(at-r.cfg.BurnIn)%thin)
	}
	if r.cfg.Every > 0 && r.cfg.Checkpoint != nil {
		n = min(n, r.cfg.Every-at%r.cfg.Every)
	}
	return n
}

func (r *runner) looksAtDraws() bool {
	return r.cfg.KeepDraws || r.cfg.KeepEnergies || r.cfg.KeepStats || r.cfg.OnDraw != nil
}

// look does what is due after the iterations done so far.
func (r *runner) look() error {
	at := r.s.Step
	if r.cfg.OnStep != nil {
		if err := r.cfg.OnStep(r.s); err != nil {
			return err
		}
	}
	if r.looksAtDraws() && r.res.Kept < r.due() {
		if err := r.keep(); err != nil {
			return err
		}
	}
	if r.cfg.OnProgress != nil {
		r.cfg.OnProgress(at)
	}
	if r.cfg.Every > 0 && r.cfg.Checkpoint != nil && at%r.cfg.Every == 0 {
		r.res.State, r.res.Steps = r.s, at
		return r.cfg.Checkpoint(r.res)
	}
	return nil
}

// keep makes the state a draw.
func (r *runner) keep() error {
	if r.cfg.KeepEnergies {
		fresh := r.s.EnergyFresh
		if err := r.s.Energies(r.ctx, r.t); err != nil {
			return err
		}
		if !fresh {
			r.record(max(r.s.Step-1, 0), Info{Energies: r.s.N})
		}
	}
	i := r.res.Kept
	r.res.add(r.s)
	if r.cfg.OnDraw != nil {
		return r.cfg.OnDraw(i, r.s)
	}
	return nil
}
