package samplers

import (
	"context"
	"errors"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// Hamiltonian is what HMC and NUTS share: the leapfrog integrator of
//
//	H(x, p) = E(x)/T + ½pᵀM⁻¹p
//
// and the adaptation of its step size and mass. In a run that adapts, the step
// size is scaled to TargetAccept by dual averaging and, unless Mass is given,
// the mass is learned from draws and gradients; both are then fixed.
type Hamiltonian struct {
	StepSize    schedule.Schedule // ε; nil: 0.1
	Temperature schedule.Schedule // T; nil: 1
	// Mass is M: its diagonal [D], or all of it [D·D]; nil: the identity, or what adaptation finds.
	Mass []float32
	// DenseMass learns a full matrix, from the covariance of the draws.
	DenseMass bool
	// TargetAccept is the mean acceptance to adapt to; 0: 0.8 (NUTS: 0.78).
	TargetAccept float64

	hook          hook
	metric        metric
	p, v          []float32 // momenta; scratch [N·D]
	x0, g0        []float32 // where the iteration began
	e0            []float32
	dev           []float64
	s             *State
	key           rng.Key
	eps, temp     float64
	trialEnergies []float64
	trialBegin    func(lo, hi int)
	trialEnd      func(lo, hi int)
	defaultTarget float64
	// pull is by how much larger steps than the first guess are tried at first.
	pull float64
}

func (h *Hamiltonian) goal() float64 {
	switch {
	case h.TargetAccept != 0:
		return h.TargetAccept
	case h.defaultTarget != 0:
		return h.defaultTarget
	}
	return 0.8
}

func (h *Hamiltonian) start(ctx context.Context, t Target, s *State) error {
	if err := validGoal(h.TargetAccept); err != nil {
		return err
	}
	gradients, err := s.refresh(ctx, t)
	if err != nil {
		return err
	}
	s.Startup.Gradients += gradients
	n := len(s.X)
	h.p, h.v, h.x0, h.g0, h.e0 = sized(h.p, n), sized(h.v, n), sized(h.x0, n), sized(h.g0, n), sized(h.e0, s.N)
	h.dev = sized(h.dev, s.Dim)
	h.trialEnergies = sized(h.trialEnergies, s.N)
	h.trialBegin, h.trialEnd = h.beginTrial, h.endTrial
	h.s = s
	if h.metric, err = massMetric(h.Mass, s.Dim); err != nil {
		return err
	}
	if err := h.useTuning(); err != nil {
		return err
	}
	if s.Box.active() && s.Box.Mode == Reflect && (h.metric.cov != nil || h.DenseMass) {
		return errors.New("samplers: reflecting walls need a diagonal mass matrix")
	}
	return nil
}

// useTuning takes up the mass that has been adapted, if any.
func (h *Hamiltonian) useTuning() error {
	tu := h.s.Tuning
	switch {
	case tu == nil:
		return nil
	case !tu.fits(h.s.Dim):
		return errors.New("samplers: the adaptation to resume from is of another dimension; start from the beginning")
	case len(tu.Cov) > 0:
		return h.metric.setDense(tu.Cov)
	case len(tu.Inv) > 0:
		h.metric.setDiagonal(tu.Inv)
	}
	return nil
}

// prepare sets ε and T of the coming iteration, and begins adaptation in the first.
func (h *Hamiltonian) prepare(ctx context.Context, t Target, s *State, k rng.Key, info *Info) error {
	base := value(h.StepSize, s.Step, defaultMetropolisStep)
	temp := value(h.Temperature, s.Step, 1)
	if err := errors.Join(positive("the step size", base, s.Step, false), positive("the temperature", temp, s.Step, false)); err != nil {
		return err
	}
	h.s, h.key, h.temp, h.eps = s, k, temp, base
	if s.Tuning == nil && s.Step < s.Adapt {
		s.Tuning = &Tuning{Factor: 1}
		if err := h.begin(ctx, t, base, info); err != nil {
			s.Tuning = nil
			return err
		}
	}
	if s.Tuning != nil {
		h.eps = base * s.Tuning.Factor
	}
	return nil
}

// begin makes the first guesses of mass and step size.
func (h *Hamiltonian) begin(ctx context.Context, t Target, base float64, info *Info) error {
	s, tu := h.s, h.s.Tuning
	if h.Mass == nil {
		tu.Foreground, tu.Background = newMoments(s.Dim, h.DenseMass), newMoments(s.Dim, h.DenseMass)
		tu.Inv = firstMass(s)
		h.metric.setDiagonal(tu.Inv)
	}
	if err := h.findStep(ctx, t, base, info); err != nil {
		return err
	}
	tu.restart(h.pull)
	return nil
}

// firstMass is M⁻¹ᵢ = 1/rms ∂ᵢE over the chains: right within a factor for starts
// one unit from a mode, whatever the curvature.
func firstMass(s *State) []float32 {
	inv := make([]float32, s.Dim)
	for i := range inv {
		sum := 0.0
		for c := range s.N {
			g := float64(s.G[c*s.Dim+i])
			sum += g * g
		}
		v := float32(1 / math.Sqrt(sum/float64(s.N)))
		inv[i] = 1
		if v > 1e-10 && v < 1e10 {
			inv[i] = v
		}
	}
	return inv
}

// findStep doubles or halves the factor until the mean acceptance of one
// leapfrog crosses 0.8 (after algorithm 4 of Hoffman & Gelman 2014).
func (h *Hamiltonian) findStep(ctx context.Context, t Target, base float64, info *Info) error {
	s := h.s
	copy(h.x0, s.X)
	copy(h.g0, s.G)
	copy(h.e0, s.E)
	back := func() {
		copy(s.X, h.x0)
		copy(s.G, h.g0)
		copy(s.E, h.e0)
	}
	defer back()
	factor, up := 1.0, false
	for try := range 60 {
		h.eps = base * factor
		back()
		s.rows(h.trialBegin)
		if err := evaluate(ctx, t, s.X, s.N, s.E, s.G); err != nil {
			return err
		}
		info.Gradients += s.N
		s.rows(h.trialEnd)
		mean := 0.0
		for _, a := range s.Accept {
			mean += float64(a) / float64(s.N)
		}
		if try == 0 {
			up = mean > 0.8
		} else if up != (mean > 0.8) {
			break
		}
		if up {
			factor *= 2
		} else {
			factor /= 2
		}
	}
	s.Tuning.Factor = bounded(factor)
	return nil
}

func (h *Hamiltonian) beginTrial(lo, hi int) {
	h.drawMomenta(h.key.Sub("trial"), lo, hi)
	for c := lo; c < hi; c++ {
		h.trialEnergies[c] = h.energy(c, h.s.E[c])
		h.kickDrift(h.s.row(h.s.X, c), h.s.row(h.s.G, c), c, 0.5, h.eps)
	}
}

func (h *Hamiltonian) endTrial(lo, hi int) {
	for c := lo; c < hi; c++ {
		h.kick(c, 0.5, h.eps)
		h.s.Accept[c] = 0
		if d := h.trialEnergies[c] - h.energy(c, h.s.E[c]); finite64(d) {
			h.s.Accept[c] = float32(math.Exp(min(0, d)))
		}
	}
}

// drawMomenta fills p of chains lo…hi−1 with draws from N(0, M).
func (h *Hamiltonian) drawMomenta(k rng.Key, lo, hi int) {
	d := h.s.Dim
	k.Normals(h.p[lo*d:hi*d], uint64(h.s.Step), uint64(lo*d))
	for c := lo; c < hi; c++ {
		h.metric.momentum(h.s.row(h.p, c))
	}
}

// energy is H of chain c where its energy is e.
func (h *Hamiltonian) energy(c int, e float32) float64 {
	return float64(e)/h.hook.at("temperature", h.temp) + h.hook.at("kinetic", h.metric.kinetic(h.s.row(h.p, c), h.s.row(h.v, c)))
}

// kick is p ← p − part·ε∇E/T.
func (h *Hamiltonian) kick(c int, part, eps float64) {
	kick(h.s.row(h.p, c), h.s.row(h.s.G, c), float32(part*eps/h.temp))
}

// kickDrift is a kick by g, then x ← x + ε·M⁻¹p within reflecting walls, of chain c.
func (h *Hamiltonian) kickDrift(x, g []float32, c int, part, eps float64) {
	s := h.s
	p := s.row(h.p, c)
	h.metric.kickDrift(x, p, g, s.row(h.v, c), float32(part*eps/h.temp), float32(h.hook.at("drift", eps)))
	if s.Box.Mode == Reflect {
		s.Box.apply(x, p)
	}
}

// Adaptation goes through early windows of earlyWindow iterations (the first
// earlyPart of it), windows of lateWindow, and a last part in which the mass is
// fixed and only the step size moves. From the end of the early windows the step
// size is averaged without a break.
const (
	earlyPart   = 0.3
	massPart    = 0.85
	earlyWindow = 10
	lateWindow  = 80
	// The diagonal takes its first values from this many draws.
	fewDraws = 10
)

// divergenceCost is the acceptance that a divergence is worth beyond its own: a
// mean of 0.8 hides that ε is unstable in a part of the space, where chains then
// stick. One trajectory in 100 costs 0.2.
const divergenceCost = 20

// learn adapts after iteration s.Step. Divergences count from the end of the early
// windows; before it chains are on their way and the mass is a guess.
func (h *Hamiltonian) learn(info Info) {
	s, tu := h.s, h.s.Tuning
	if s.Step >= s.Adapt {
		return
	}
	accept := info.Acceptance()
	if s.Step >= int(earlyPart*float64(s.Adapt)) {
		accept -= divergenceCost * float64(info.Divergences) / float64(info.Moves)
	}
	tu.average(accept, h.goal())
	if tu.Foreground != nil {
		h.learnMass()
	}
	if s.Step == s.Adapt-1 {
		tu.settle()
		tu.Foreground, tu.Background = nil, nil
	}
}

func (h *Hamiltonian) learnMass() {
	s, tu := h.s, h.s.Tuning
	end := int(massPart * float64(s.Adapt))
	early := int(earlyPart * float64(s.Adapt))
	if s.Step >= end {
		return
	}
	for c := range s.N {
		tu.Foreground.add(s.row(s.X, c), s.row(s.G, c), h.dev)
		tu.Background.add(s.row(s.X, c), s.row(s.G, c), h.dev)
	}
	tu.Window++
	window := lateWindow
	if s.Step < early {
		window = earlyWindow
	}
	switched := tu.Window >= window && s.Step+window < end
	if switched {
		tu.Foreground, tu.Background = tu.Background, tu.Foreground
		tu.Background.reset()
		tu.Window = 0
	}
	h.takeMass(switched || s.Step == end-1)
	if s.Step == early {
		tu.Factor = bounded(math.Exp(tu.LogBar))
		tu.restart(1)
		tu.Settled = true
	}
}

// takeMass makes the mass of the foreground: a diagonal at every iteration, a
// matrix, whose factors cost D³, at the end of a window only. A covariance that
// float64 finds singular leaves the mass as it was.
func (h *Hamiltonian) takeMass(windowEnds bool) {
	tu := h.s.Tuning
	m := tu.Foreground
	if !h.DenseMass || m.Count < float64(2*h.s.Dim) {
		if m.Count >= fewDraws && tu.Cov == nil {
			m.diagonal(tu.Inv)
			h.metric.setDiagonal(tu.Inv)
		}
		return
	}
	if !windowEnds {
		return
	}
	cov := make([]float64, h.s.Dim*h.s.Dim)
	m.dense(cov)
	if h.metric.setDense(cov) == nil {
		tu.Cov = cov
	}
}
