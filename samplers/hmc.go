package samplers

import (
	"context"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// HMC is Hamiltonian Monte Carlo (Duane et al. 1987; Neal 2011): momenta p ~
// N(0, M), L leapfrog steps of size ε, and a Metropolis test of H. The gradient
// at the end serves the next iteration: L evaluations a proposal.
type HMC struct {
	Hamiltonian
	Leapfrogs int // L; 0: 10
	// Jitter j draws each chain's ε uniformly from ε(1±j) at every iteration:
	// trajectories of one length can be whole periods, as on a Gaussian with εL
	// near 2π, and return to where they began. Below 1; 0: 0.3, negative: none.
	Jitter float64

	steps0    int
	jitter    float64
	chainEps  []float64
	h0        []float64
	verdicts  []verdict
	half      float64
	last      bool
	beginRows func(lo, hi int)
	leapRows  func(lo, hi int)
	endRows   func(lo, hi int)
	x, g, e   []float32 // states, gradients and energies after the iteration
	tile      func(ctx context.Context, t Tile) error
}

// divergence is the energy error, in units of T, above which a trajectory
// counts as divergent (Betancourt 2017 and Stan).
const divergence = 1000

// defaultJitter makes phases of 2π spread over ±1.9: successive states then correlate
// by sin(1.9)/1.9 = ½, where without it they do by 1.
const defaultJitter = 0.3

// Start implements Kernel.
func (h *HMC) Start(ctx context.Context, t Target, s *State) error {
	if h.Leapfrogs < 0 || h.Jitter >= 1 || math.IsNaN(h.Jitter) {
		return fmt.Errorf("samplers: hmc with %d leapfrog steps and jitter %v; give at least 1, and jitter below 1", h.Leapfrogs, h.Jitter)
	}
	h.steps0 = h.Leapfrogs
	if h.steps0 == 0 {
		h.steps0 = 10
	}
	h.jitter = max(h.Jitter, 0)
	if h.Jitter == 0 {
		h.jitter = defaultJitter
	}
	// Of a fixed length, a trajectory at too large a step runs on until it
	// overflows; a tree stops at once.
	h.pull = 1
	if err := h.start(ctx, t, s); err != nil {
		return err
	}
	h.chainEps, h.h0, h.verdicts = sized(h.chainEps, s.N), sized(h.h0, s.N), sized(h.verdicts, s.N)
	h.x, h.g, h.e = sized(h.x, len(s.X)), sized(h.g, len(s.X)), sized(h.e, s.N)
	d := s.Dim
	h.beginRows = func(lo, hi int) { h.begins(lo, hi, h.x[lo*d:hi*d]) }
	h.leapRows = func(lo, hi int) { h.leaps(lo, hi, h.x[lo*d:hi*d], h.g[lo*d:hi*d], h.last) }
	h.endRows = func(lo, hi int) { h.ends(lo, hi, h.x[lo*d:hi*d], h.g[lo*d:hi*d], h.e[lo:hi]) }
	h.tile = h.trajectory
	return nil
}

// Step implements Kernel.
func (h *HMC) Step(ctx context.Context, t Target, s *State, k rng.Key) (Info, error) {
	var info Info
	if err := h.prepare(ctx, t, s, k, &info); err != nil {
		return Info{}, err
	}
	h.half = h.hook.at("half kick", 0.5)
	if err := h.integrate(ctx, t); err != nil {
		return Info{}, err
	}
	s.X, h.x = h.x, s.X
	s.G, h.g = h.g, s.G
	s.E, h.e = h.e, s.E
	s.StepSize = float32(h.eps)
	info.Add(count(s.Accept, h.verdicts))
	info.Gradients += h.steps0 * s.N
	for _, d := range s.Diverged {
		if d {
			info.Divergences++
		}
	}
	h.learn(info)
	s.Step++
	return info, nil
}

// integrate takes all chains along their trajectories and decides about the ends.
func (h *HMC) integrate(ctx context.Context, t Target) error {
	s := h.s
	if tiled, ok := t.(Tiled); ok {
		if err := tiled.EachTile(ctx, s.N, h.tile); err != nil {
			return fmt.Errorf("samplers: trajectories of %d states: %w", s.N, err)
		}
		return nil
	}
	s.rows(h.beginRows)
	for l := range h.steps0 {
		h.last = l == h.steps0-1
		var e []float32
		if h.last {
			e = h.e
		}
		if err := evaluate(ctx, t, h.x, s.N, e, h.g); err != nil {
			return err
		}
		s.rows(h.leapRows)
	}
	s.rows(h.endRows)
	return nil
}

// trajectory does the same for the chains of one tile, in the tile's memory.
func (h *HMC) trajectory(ctx context.Context, t Tile) error {
	lo, hi := t.Range()
	x := t.X()
	h.begins(lo, hi, x)
	for l := range h.steps0 {
		last := l == h.steps0-1
		e, g, err := t.EnergyGradient(ctx, last)
		if err != nil {
			return err
		}
		h.leaps(lo, hi, x, g, last)
		if last {
			h.ends(lo, hi, x, g, e)
		}
	}
	return nil
}

// begins puts chains lo…hi−1 into x, with a kick and a drift. The state stays as it was until all trajectories have ended: an error leaves it whole.
func (h *HMC) begins(lo, hi int, x []float32) {
	s, d := h.s, h.s.Dim
	copy(x, s.X[lo*d:hi*d])
	h.drawMomenta(h.key.Sub("momentum"), lo, hi)
	wobble := h.key.Sub("jitter")
	for c := lo; c < hi; c++ {
		if h.hook != nil {
			scale(s.row(h.p, c), float32(h.hook.at("momentum", 1)))
		}
		h.h0[c] = h.energy(c, s.E[c])
		h.chainEps[c] = h.eps
		if h.jitter > 0 {
			h.chainEps[c] *= 1 + h.jitter*(2*wobble.Float64(uint64(s.Step), uint64(c))-1)
		}
		h.kickDrift(x[(c-lo)*d:(c-lo+1)*d], s.row(s.G, c), c, h.half, h.chainEps[c])
	}
}

func (h *HMC) leaps(lo, hi int, x, g []float32, last bool) {
	d := h.s.Dim
	for c := lo; c < hi; c++ {
		from, to := (c-lo)*d, (c-lo+1)*d
		h.leap(x[from:to], g[from:to], c, last)
	}
}

// leap is the kick of a leapfrog step, with the drift of the next unless it is the last, of chain c, whose state is at x and gradient at g.
func (h *HMC) leap(x, g []float32, c int, last bool) {
	p, eps := h.s.row(h.p, c), h.chainEps[c]
	if last {
		kick(p, g, float32(h.hook.at("last kick", 0.5)*eps/h.temp))
		return
	}
	h.kickDrift(x, g, c, 1, eps)
}

// ends decides about where trajectories end, and puts what chains lo…hi−1 are then into x, g and e of h.
func (h *HMC) ends(lo, hi int, xs, gs, es []float32) {
	s, d := h.s, h.s.Dim
	coin := h.key.Sub("accept")
	for c := lo; c < hi; c++ {
		from, to := (c-lo)*d, (c-lo+1)*d
		x, g, e := xs[from:to], gs[from:to], es[c-lo]
		r := h.hook.at("log ratio", h.h0[c]-h.energy(c, e))
		s.Hamiltonian[c] = float32(h.h0[c] - r)
		switch {
		case !allFinite(x) || !finite64(r): // a gradient that is not finite has made p, and so r, not finite
			r = h.hook.at("not finite", math.NaN())
		case !s.Box.contains(x):
			r = math.Inf(-1)
		}
		s.Diverged[c] = r < -divergence && finite64(r)
		s.Leapfrogs[c] = int32(h.steps0)
		h.verdicts[c], s.Accept[c] = decide(r, coin, s.Step, c)
		if h.verdicts[c] != accepted {
			x, e = s.row(s.X, c), s.E[c]
			s.Hamiltonian[c] = float32(h.h0[c])
			if h.hook.at("restore gradient", 1) != 0 {
				g = s.row(s.G, c)
			}
		}
		copy(s.row(h.x, c), x)
		copy(s.row(h.g, c), g)
		h.e[c] = e
	}
}
