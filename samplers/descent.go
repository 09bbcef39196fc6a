package samplers

import (
	"context"
	"errors"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// GradientDescent is x ← x − η∇E(x): Langevin at T = 0, for modes rather than
// samples.
type GradientDescent struct {
	StepSize schedule.Schedule // η; nil: 0.01

	cold Langevin
}

// Start implements Kernel.
func (g *GradientDescent) Start(ctx context.Context, t Target, s *State) error {
	g.cold.StepSize = g.StepSize
	g.cold.Temperature = schedule.Constant{Value: 0}
	return g.cold.Start(ctx, t, s)
}

// Step implements Kernel.
func (g *GradientDescent) Step(ctx context.Context, t Target, s *State, k rng.Key) (Info, error) {
	return g.cold.Step(ctx, t, s, k)
}

func (g *GradientDescent) steps(ctx context.Context, t Target, s *State, k rng.Key, accept []float32) (int, Info, error) {
	return g.cold.steps(ctx, t, s, k, accept)
}

// Nesterov is descent with Nesterov's momentum in the form of Sutskever et al. (2013),
//
//	v ← μv − η∇E(x+μv),  x ← x + v.
//
// State.Aux is v [N·D], which starts at 0. A step to what is not finite is
// rejected, with v set to 0, and counted.
type Nesterov struct {
	StepSize schedule.Schedule // η; nil: 0.01
	Momentum schedule.Schedule // μ; nil: 0.9

	y, prev    []float32
	s          *State
	eta, mu    float32
	look, move func(lo, hi int)
}

// Start implements Kernel.
func (n *Nesterov) Start(_ context.Context, _ Target, s *State) error {
	n.y, n.prev = sized(n.y, len(s.X)), sized(n.prev, len(s.X))
	s.Aux = sized(s.Aux, len(s.X))
	n.look, n.move = n.lookAhead, n.update
	return nil
}

// Step implements Kernel.
func (n *Nesterov) Step(ctx context.Context, t Target, s *State, _ rng.Key) (Info, error) {
	eta, mu := value(n.StepSize, s.Step, defaultLangevinStep), value(n.Momentum, s.Step, 0.9)
	if err := errors.Join(positive("the step size", eta, s.Step, true), positive("the momentum", mu, s.Step, true)); err != nil {
		return Info{}, err
	}
	n.s, n.eta, n.mu = s, float32(eta), float32(mu)
	s.rows(n.look)
	if err := evaluate(ctx, t, n.y, s.N, nil, s.G); err != nil {
		return Info{}, err
	}
	s.rows(n.move)
	s.EnergyFresh, s.GradientFresh = false, false
	s.StepSize = n.eta
	s.Step++
	info := tally(s)
	info.Gradients = s.N
	return info, nil
}

func (n *Nesterov) lookAhead(lo, hi int) {
	a, b := lo*n.s.Dim, hi*n.s.Dim
	copy(n.y[a:b], n.s.X[a:b])
	drift(n.y[a:b], n.s.Aux[a:b], n.mu)
}

func (n *Nesterov) update(lo, hi int) {
	s := n.s
	a, b := lo*s.Dim, hi*s.Dim
	copy(n.prev[a:b], s.X[a:b])
	scale(s.Aux[a:b], n.mu)
	kick(s.Aux[a:b], s.G[a:b], n.eta)
	drift(s.X[a:b], s.Aux[a:b], 1)
	keepFinite(s, n.prev[a:b], s.Aux, lo, hi)
	s.Box.apply(s.X[a:b], s.Aux[a:b])
}
