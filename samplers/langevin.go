package samplers

import (
	"context"
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// Langevin is the unadjusted Langevin algorithm (Roberts & Tweedie 1996),
//
//	x ← x − η∇E(x) + √(2ηT) ε,  ε ~ N(0, I).
//
// It samples exp(−E/T) up to a bias of order η: on N(0, 1) its stationary
// variance is 1/(1−η/2). T = 0 is gradient descent. Where the target can run
// the loop by itself (FusedLangevin) and nothing wants to look in between, it
// does; the bytes are the same.
//
// A step to a state that is not finite is rejected for that chain and counted;
// the chain tries again at the next iteration, with new noise.
type Langevin struct {
	StepSize    schedule.Schedule // η; nil: 0.01
	Temperature schedule.Schedule // T; nil: 1

	levels     *levels // annealed Langevin
	prev       []float32
	eta, temp  []float32
	careful    bool // the last fused chunk had to be replayed
	s          *State
	key        rng.Key
	etaNow     float32
	sigmaNow   float32
	updateRows func(lo, hi int)
}

const defaultLangevinStep = 0.01

// Start implements Kernel.
func (l *Langevin) Start(_ context.Context, _ Target, s *State) error {
	l.prev = sized(l.prev, len(s.X))
	l.careful = false
	l.updateRows = l.update
	if l.levels != nil {
		return l.levels.start(s)
	}
	return nil
}

// at is η and T at one step.
func (l *Langevin) at(step int) (eta, temp float32, err error) {
	e := value(l.StepSize, step, defaultLangevinStep)
	t := value(l.Temperature, step, 1)
	if l.levels != nil {
		t *= l.levels.at(step)
	}
	if err := positive("the step size", e, step, true); err != nil {
		return 0, 0, err
	}
	if err := positive("the temperature", t, step, true); err != nil {
		return 0, 0, err
	}
	return float32(e), float32(t), nil
}

// Step implements Kernel.
func (l *Langevin) Step(ctx context.Context, t Target, s *State, k rng.Key) (Info, error) {
	eta, temp, err := l.at(s.Step)
	if err != nil {
		return Info{}, err
	}
	if err := evaluate(ctx, t, s.X, s.N, nil, s.G); err != nil {
		return Info{}, err
	}
	l.s, l.key, l.etaNow, l.sigmaNow = s, k, eta, NoiseScale(eta, temp)
	s.rows(l.updateRows)
	s.EnergyFresh, s.GradientFresh = false, false
	s.StepSize = eta
	s.Step++
	info := tally(s)
	info.Gradients = s.N
	return info, nil
}

// update moves chains lo…hi−1, a few rows at a time so that they stay in cache.
func (l *Langevin) update(lo, hi int) {
	s, d := l.s, l.s.Dim
	block := max(1, 1024/d)
	for a := lo; a < hi; a += block {
		b := min(a+block, hi)
		x, prev := s.X[a*d:b*d], l.prev[a*d:b*d]
		copy(prev, x)
		l.key.Langevin(x, s.G[a*d:b*d], l.etaNow, l.sigmaNow, uint64(s.Step), uint64(a*d))
		keepFinite(s, prev, nil, a, b)
		s.Box.apply(x, nil)
	}
}

// keepFinite sets Accept of chains a…b−1: 1 for those that moved to a finite
// state, 0 for the others, which are put back to prev (the rows a…b−1 alone)
// and whose velocity v [N·D], if there is one, is stopped.
func keepFinite(s *State, prev, v []float32, a, b int) {
	whole := allFinite(s.X[a*s.Dim : b*s.Dim])
	for c := a; c < b; c++ {
		s.Accept[c] = 1
		if whole || allFinite(s.row(s.X, c)) {
			continue
		}
		s.Accept[c] = 0
		copy(s.row(s.X, c), prev[(c-a)*s.Dim:])
		if v != nil {
			clear(s.row(v, c))
		}
	}
}

// tally sums Accept where a move fails only by not being finite.
func tally(s *State) Info {
	info := Info{Moves: s.N}
	for _, a := range s.Accept {
		info.Accepted += float64(a)
	}
	info.RejectedNonFinite = s.N - int(info.Accepted)
	return info
}

// steps does len(accept) iterations, fused where the target can. The first
// state that is not finite stays so to the end of a fused loop, so looking at
// the end is enough; the chunk is then replayed step by step to find where it
// happened.
func (l *Langevin) steps(ctx context.Context, t Target, s *State, k rng.Key, accept []float32) (int, Info, error) {
	fused, ok := t.(FusedLangevin)
	if !ok || l.careful || len(accept) == 1 || s.Box.active() {
		return l.oneByOne(ctx, t, s, k, accept)
	}
	n := len(accept)
	l.eta, l.temp = grown(l.eta, n), grown(l.temp, n)
	for i := range n {
		var err error
		if l.eta[i], l.temp[i], err = l.at(s.Step + i); err != nil {
			return 0, Info{}, err
		}
	}
	copy(l.prev, s.X)
	if err := fused.LangevinSteps(ctx, s.X, s.N, l.eta[:n], l.temp[:n], k, uint64(s.Step)); err != nil {
		copy(s.X, l.prev)
		return 0, Info{}, fmt.Errorf("samplers: %d Langevin steps: %w", n, err)
	}
	if !allFinite(s.X) {
		copy(s.X, l.prev)
		l.careful = true
		return l.oneByOne(ctx, t, s, k, accept)
	}
	s.EnergyFresh, s.GradientFresh = false, false
	s.StepSize = l.eta[n-1]
	s.Step += n
	for i := range accept {
		accept[i] = 1
	}
	for c := range s.Accept {
		s.Accept[c] = 1
	}
	return n, Info{Moves: n * s.N, Accepted: float64(n * s.N), Gradients: n * s.N}, nil
}

func (l *Langevin) oneByOne(ctx context.Context, t Target, s *State, k rng.Key, accept []float32) (int, Info, error) {
	var sum Info
	for i := range accept {
		info, err := l.Step(ctx, t, s, k)
		if err != nil {
			return i, sum, err
		}
		accept[i] = float32(info.Acceptance())
		sum.Add(info)
	}
	return len(accept), sum, nil
}

// grown is v with at least n elements, whatever they hold.
func grown(v []float32, n int) []float32 {
	if len(v) >= n {
		return v
	}
	return make([]float32, n)
}
