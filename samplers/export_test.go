package samplers

import "context"

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
	h.kickDrift(0, 0.5, eps)
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
