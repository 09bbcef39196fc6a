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
	// Jitter j draws each chain's ε uniformly from ε(1±j) at every iteration,
	// against periodic orbits; within [0, 1).
	Jitter float64

	steps0    int
	chainEps  []float64
	h0        []float64
	verdicts  []verdict
	half      float64
	last      bool
	beginRows func(lo, hi int)
	leapRows  func(lo, hi int)
	endRows   func(lo, hi int)
}

// divergence is the energy error, in units of T, above which a trajectory
// counts as divergent (Betancourt 2017 and Stan).
const divergence = 1000

// Start implements Kernel.
func (h *HMC) Start(ctx context.Context, t Target, s *State) error {
	if h.Leapfrogs < 0 || h.Jitter < 0 || h.Jitter >= 1 || math.IsNaN(h.Jitter) {
		return fmt.Errorf("samplers: hmc with %d leapfrog steps and jitter %v; give at least 1, and jitter within [0, 1)", h.Leapfrogs, h.Jitter)
	}
	h.steps0 = h.Leapfrogs
	if h.steps0 == 0 {
		h.steps0 = 10
	}
	if err := h.start(ctx, t, s); err != nil {
		return err
	}
	h.chainEps, h.h0, h.verdicts = sized(h.chainEps, s.N), sized(h.h0, s.N), sized(h.verdicts, s.N)
	h.beginRows, h.leapRows, h.endRows = h.begins, h.leaps, h.ends
	return nil
}

// Step implements Kernel.
func (h *HMC) Step(ctx context.Context, t Target, s *State, k rng.Key) (Info, error) {
	var info Info
	if err := h.prepare(ctx, t, s, k, &info); err != nil {
		return Info{}, err
	}
	h.half = h.hook.at("half kick", 0.5)
	copy(h.x0, s.X)
	copy(h.g0, s.G)
	copy(h.e0, s.E)
	s.rows(h.beginRows)
	for l := range h.steps0 {
		h.last = l == h.steps0-1
		var e []float32
		if h.last {
			e = s.E
		}
		if err := evaluate(ctx, t, s.X, s.N, e, s.G); err != nil {
			copy(s.X, h.x0)
			copy(s.G, h.g0)
			copy(s.E, h.e0)
			return Info{}, err
		}
		s.rows(h.leapRows)
	}
	s.rows(h.endRows)
	s.StepSize = float32(h.eps)
	info.Add(count(s.Accept, h.verdicts))
	info.Gradients += h.steps0 * s.N
	for _, d := range s.Diverged {
		if d {
			info.Divergences++
		}
	}
	h.learn(info.Acceptance())
	s.Step++
	return info, nil
}

func (h *HMC) begins(lo, hi int) {
	h.drawMomenta(h.key.Sub("momentum"), lo, hi)
	wobble := h.key.Sub("jitter")
	for c := lo; c < hi; c++ {
		if h.hook != nil {
			scale(h.s.row(h.p, c), float32(h.hook.at("momentum", 1)))
		}
		h.h0[c] = h.energy(c)
		h.chainEps[c] = h.eps
		if h.Jitter > 0 {
			h.chainEps[c] *= 1 + h.Jitter*(2*wobble.Float64(uint64(h.s.Step), uint64(c))-1)
		}
		h.kickDrift(c, h.half, h.chainEps[c])
	}
}

func (h *HMC) leaps(lo, hi int) {
	for c := lo; c < hi; c++ {
		if h.last {
			h.kick(c, h.hook.at("last kick", 0.5), h.chainEps[c])
			continue
		}
		h.kickDrift(c, 1, h.chainEps[c])
	}
}

func (h *HMC) ends(lo, hi int) {
	s := h.s
	coin := h.key.Sub("accept")
	for c := lo; c < hi; c++ {
		x, g := s.row(s.X, c), s.row(s.G, c)
		r := h.hook.at("log ratio", h.h0[c]-h.energy(c))
		switch {
		case !allFinite(x) || !allFinite(g) || !finite64(r):
			r = h.hook.at("not finite", math.NaN())
		case !s.Box.contains(x):
			r = math.Inf(-1)
		}
		s.Diverged[c] = r < -divergence && finite64(r)
		s.Leapfrogs[c] = int32(h.steps0)
		h.verdicts[c], s.Accept[c] = decide(r, coin, s.Step, c)
		if h.verdicts[c] != accepted {
			copy(x, s.row(h.x0, c))
			s.E[c] = h.e0[c]
			if h.hook.at("restore gradient", 1) != 0 {
				copy(g, s.row(h.g0, c))
			}
		}
	}
}
