package optim

// RMSprop (Tieleman and Hinton 2012): v ← αv + (1−α)g², u ← μu + g/(√v + ε), θ ← θ − η·u; Centered divides by √(v − m²) + ε, m being
// the running mean of g. Weight decay is added to the gradient. Use NewRMSprop: α and ε are taken as they are.
type RMSprop struct {
	base
	Alpha, Eps  float64
	Momentum    float64
	WeightDecay float64
	Centered    bool
}

// NewRMSprop has α = 0.99 and ε = 1e-8.
func NewRMSprop() *RMSprop { return &RMSprop{Alpha: 0.99, Eps: 1e-8} }

// Name is "rmsprop".
func (*RMSprop) Name() string { return "rmsprop" }

// vectorCount is of v, u, m; u is kept whenever m is.
func (o *RMSprop) vectorCount() int {
	switch {
	case o.Centered:
		return 3
	case o.Momentum != 0:
		return 2
	}
	return 1
}

// Load restores what State gave.
func (o *RMSprop) Load(state []byte) error { return o.load(state, o.vectorCount()) }

// Step does one update.
func (o *RMSprop) Step(params, grads []float32, lr float64) error {
	if err := o.begin(params, grads, o.vectorCount()); err != nil {
		return err
	}
	for i := range o.cover {
		if s, ok := o.span(i, params, grads, lr, o.WeightDecay); ok {
			s.rmsprop(averaging(o.Alpha), float32(o.Eps), float32(o.Momentum))
		}
	}
	return nil
}

func (s span) rmsprop(alpha average, eps, mu float32) {
	lr, decay := float32(s.lr), float32(s.decay)
	p, v, u, m := s.p, s.v[0], s.v[1], s.v[2]
	for i, g := range s.g {
		g += decay * p[i]
		vi := alpha.keep*v[i] + alpha.take*g*g
		v[i] = vi
		if m != nil {
			mi := alpha.keep*m[i] + alpha.take*g
			m[i] = mi
			// v − m² ≥ 0 but for rounding.
			vi = max(vi-mi*mi, 0)
		}
		step := g / (sqrt(vi) + eps)
		if u != nil {
			step += mu * u[i]
			u[i] = step
		}
		p[i] -= lr * step
	}
}
