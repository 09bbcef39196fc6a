package optim

// Lion (Chen et al. 2023): θ ← θ − η(sign(β₁m + (1−β₁)g) + λθ), then m ← β₂m + (1−β₂)g. Its rate is some 3 to 10 times less than
// Adam's. Use NewLion: β are taken as they are.
type Lion struct {
	base
	Beta1, Beta2 float64
	WeightDecay  float64
}

// NewLion has β₁ = 0.9, β₂ = 0.99 and no weight decay.
func NewLion() *Lion { return &Lion{Beta1: 0.9, Beta2: 0.99} }

// Name is "lion".
func (*Lion) Name() string { return "lion" }

// Load restores what State gave.
func (o *Lion) Load(state []byte) error { return o.load(state, 1) }

// Step does one update.
func (o *Lion) Step(params, grads []float32, lr float64) error {
	if err := o.begin(params, grads, 1); err != nil {
		return err
	}
	for i := range o.cover {
		if s, ok := o.span(i, params, grads, lr, o.WeightDecay); ok {
			s.lion(averaging(o.Beta1), averaging(o.Beta2))
		}
	}
	return nil
}

func (s span) lion(a1, a2 average) {
	lr, shrink := float32(s.lr), float32(1-s.lr*s.decay)
	p, m := s.p[:len(s.g)], s.v[0][:len(s.g)]
	for i, g := range s.g {
		direction := a1.keep*m[i] + a1.take*g
		m[i] = a2.keep*m[i] + a2.take*g
		p[i] = shrink*p[i] - lr*sign(direction)
	}
}

// sign is −1, 0 or 1, and NaN of NaN: a bad gradient shows.
func sign(x float32) float32 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}
