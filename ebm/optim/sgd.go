package optim

// SGD is stochastic gradient descent. With momentum μ (Polyak 1964; Sutskever et al. 2013, in the form without the learning rate
// inside the velocity): u ← μu + (1−δ)(g + λθ), θ ← θ − η·u; Nesterov: θ ← θ − η(g + λθ + μu). The first velocity is the gradient,
// undamped. The zero value is plain descent.
type SGD struct {
	base
	Momentum    float64 // μ
	Dampening   float64 // δ
	WeightDecay float64 // λ, added to the gradient
	Nesterov    bool
}

// Name is "sgd".
func (*SGD) Name() string { return "sgd" }

func (o *SGD) vectorCount() int {
	if o.Momentum == 0 {
		return 0
	}
	return 1
}

// Load restores what State gave.
func (o *SGD) Load(state []byte) error { return o.load(state, o.vectorCount()) }

// Step does one update.
func (o *SGD) Step(params, grads []float32, lr float64) error {
	if err := o.begin(params, grads, o.vectorCount()); err != nil {
		return err
	}
	keep := 1 - o.Dampening
	if o.steps == 1 {
		keep = 1
	}
	for i := range o.cover {
		s, ok := o.span(i, params, grads, lr, o.WeightDecay)
		switch {
		case !ok:
		case o.Momentum == 0:
			s.descend()
		default:
			s.momentum(float32(o.Momentum), float32(keep), o.Nesterov)
		}
	}
	return nil
}

func (s span) descend() {
	lr, decay := float32(s.lr), float32(s.decay)
	p := s.p[:len(s.g)]
	for i, g := range s.g {
		p[i] -= lr * (g + decay*p[i])
	}
}

func (s span) momentum(mu, keep float32, nesterov bool) {
	lr, decay := float32(s.lr), float32(s.decay)
	p, u := s.p[:len(s.g)], s.v[0][:len(s.g)]
	for i, g := range s.g {
		g += decay * p[i]
		v := mu*u[i] + keep*g
		u[i] = v
		if nesterov {
			v = g + mu*v
		}
		p[i] -= lr * v
	}
}
