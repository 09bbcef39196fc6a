package optim

import "math"

// Adam (Kingma and Ba 2015): m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², θ ← θ − η·m̂/(√v̂ + ε) with m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ).
// Weight decay λ is added to the gradient, or, Decoupled (AdamW; Loshchilov and Hutter 2019), taken off first: θ ← θ − ηλθ.
// Use NewAdam or NewAdamW: β and ε are taken as they are.
type Adam struct {
	base
	Beta1, Beta2, Eps float64
	WeightDecay       float64
	Decoupled         bool
}

// NewAdam has β₁ = 0.9, β₂ = 0.999, ε = 1e-8 and no weight decay.
func NewAdam() *Adam { return &Adam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8} }

// NewAdamW is NewAdam with decoupled weight decay 0.01.
func NewAdamW() *Adam {
	o := NewAdam()
	o.WeightDecay, o.Decoupled = 0.01, true
	return o
}

// Name is "adam" or "adamw".
func (o *Adam) Name() string {
	if o.Decoupled {
		return "adamw"
	}
	return "adam"
}

// Load restores what State gave.
func (o *Adam) Load(state []byte) error { return o.load(state, 2) }

// Step does one update.
func (o *Adam) Step(params, grads []float32, lr float64) error {
	if err := o.begin(params, grads, 2); err != nil {
		return err
	}
	t := float64(o.steps)
	first, second := 1-math.Pow(o.Beta1, t), 1-math.Pow(o.Beta2, t)
	for i := range o.cover {
		s, ok := o.span(i, params, grads, lr, o.WeightDecay)
		if !ok {
			continue
		}
		l2, shrink := s.decay, 1.0
		if o.Decoupled {
			l2, shrink = 0, 1-s.lr*s.decay
		}
		s.adam(adamRates{
			averaging(o.Beta1), averaging(o.Beta2),
			float32(s.lr / first), float32(1 / math.Sqrt(second)), float32(o.Eps), float32(l2), float32(shrink),
		})
	}
	return nil
}

// adamRates are the numbers of one update: rate = η/(1−β₁ᵗ), root = 1/√(1−β₂ᵗ).
type adamRates struct {
	m1, m2                      average
	rate, root, eps, l2, shrink float32
}

// adam does the update, as many elements as possible by a kernel with the bytes of the loop here. Products are rounded before they
// are added, on every architecture.
func (s span) adam(c adamRates) {
	n := len(s.g)
	p, m, v := s.p[:n], s.v[0][:n], s.v[1][:n]
	for i := adamKernel(p, m, v, s.g, &c); i < n; i++ {
		g := s.g[i] + float32(c.l2*p[i])
		mi := float32(c.m1.keep*m[i]) + float32(c.m1.take*g)
		vi := float32(c.m2.keep*v[i]) + float32(float32(c.m2.take*g)*g)
		m[i], v[i] = mi, vi
		p[i] = float32(c.shrink*p[i]) - float32(c.rate*mi)/(float32(c.root*sqrt(vi))+c.eps)
	}
}

// average is a running mean, a ← βa + (1−β)x. 1 − β is rounded once: 1 − float32(0.999) is wrong by 5e-5.
type average struct{ keep, take float32 }

func averaging(beta float64) average { return average{float32(beta), float32(1 - beta)} }

// sqrt compiles to the float32 instruction.
func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }
