package samplers

import (
	"context"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Stepper starts a kernel as Run does and returns a function that does one
// iteration, and one that ends it.
func Stepper(t Target, k Kernel, cfg Config) (next func() error, stop func(), err error) {
	s, err := cfg.start(t.Dim())
	if err != nil {
		return nil, nil, err
	}
	ctx := context.Background()
	if err := k.Start(ctx, t, s); err != nil {
		return nil, nil, err
	}
	key := cfg.key().Sub("steps")
	return func() error { _, err := k.Step(ctx, t, s, key); return err }, s.release, nil
}

// Leapfrog does one step of the integrator of HMC and NUTS on one chain.
func Leapfrog(t Target, x, p []float32, eps float64) {
	s, err := NewState(x, len(x))
	if err != nil {
		panic(err)
	}
	h := Hamiltonian{}
	ctx := context.Background()
	if err := h.start(ctx, t, s); err != nil {
		panic(err)
	}
	copy(h.p, p)
	h.s, h.eps, h.temp = s, eps, 1
	h.kickDrift(s.X, s.G, 0, 0.5, eps)
	if err := t.EnergyGradient(ctx, s.X, 1, nil, s.G); err != nil {
		panic(err)
	}
	h.kick(0, 0.5, eps)
	copy(x, s.X)
	copy(p, h.p)
}

// Hook lets tests of another package plant bugs.
type Hook = hook

// Plant sets the hook of a kernel.
func (m *MALA) Plant(h Hook) { m.hook = h }

// Plant sets the hook of a kernel.
func (m *RWM) Plant(h Hook) { m.hook = h }

// Plant sets the hook of a kernel.
func (h *Hamiltonian) Plant(f Hook) { h.hook = f }

// Plant sets the hook of a kernel.
func (u *Underdamped) Plant(h Hook) { u.hook = h }

// Plant sets the hook of a kernel.
func (p *ParallelTempering) Plant(h Hook) { p.hook = h }

// Halving is the kernel that moves the populations of log Z, at β = 1.
type Halving struct {
	StepSize  float64
	Leapfrogs int
	Mass      []float32
	hook      hook
	q         *population
}

// Plant sets the hook of a kernel.
func (h *Halving) Plant(f Hook) { h.hook = f }

// Start implements Kernel.
func (h *Halving) Start(ctx context.Context, t Target, s *State) error {
	p, err := newPath(t, LogZConfig{Leapfrogs: h.Leapfrogs})
	if err != nil {
		return err
	}
	p.beta = 1
	h.q = newPopulation(s.N, s.Dim)
	h.q.mover = newMover(p, s.N)
	h.q.mover.eps, h.q.mover.hook = h.StepSize, h.hook
	h.q.mover.metric, err = massMetric(h.Mass, s.Dim)
	copy(h.q.x, s.X)
	if err == nil {
		err = t.EnergyGradient(ctx, h.q.x, s.N, h.q.e, h.q.g)
	}
	return err
}

// Step implements Kernel.
func (h *Halving) Step(ctx context.Context, _ Target, s *State, k rng.Key) (Info, error) {
	_, info, err := h.q.mover.propose(ctx, h.q, k)
	copy(s.X, h.q.x)
	s.Step++
	return info, err
}
