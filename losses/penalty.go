package losses

import (
	"context"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// regTerm is the name under which all regularisation is reported.
const regTerm = "reg_loss"

// Penalty regularises any loss that embeds it: L1·Σ|θ| + L2·Σθ² + Gradient·mean‖∇ₓE(x)‖² over the data. Run adds it to the loss
// and to the term reg_loss. θ is what is trained: all of Model.Params, or as PartlyTrainable says.
type Penalty struct {
	L1, L2, Gradient float64
}

// Penalties is the penalty itself, found by Run through the embedding.
func (p Penalty) Penalties() Penalty { return p }

// Penalised is implemented by losses that Run shall regularise; embedding Penalty is enough.
type Penalised interface{ Penalties() Penalty }

// trained lists the stretches of Params that are penalised.
func trained(m Model) [][2]int {
	if p, ok := m.(PartlyTrainable); ok {
		return p.TrainableRanges()
	}
	return [][2]int{{0, len(m.Params())}}
}

// params is L1·Σ|θ| + L2·Σθ².
func (p Penalty) params(m Model) float64 {
	if p.L1 == 0 && p.L2 == 0 {
		return 0
	}
	var abs, square float64
	for _, r := range trained(m) {
		for _, t := range m.Params()[r[0]:r[1]] {
			v := float64(t)
			abs += math.Abs(v)
			square += v * v
		}
	}
	return p.L1*abs + p.L2*square
}

// addParams does dTheta += L1·sign(θ) + 2·L2·θ, with sign(0) = 0.
func (p Penalty) addParams(m Model, dTheta []float32) {
	if p.L1 == 0 && p.L2 == 0 {
		return
	}
	l1, l2 := float32(p.L1), float32(2*p.L2)
	for _, r := range trained(m) {
		d := dTheta[r[0]:r[1]]
		for i, t := range m.Params()[r[0]:r[1]] {
			d[i] += l2 * t
			if t > 0 {
				d[i] += l1
			} else if t < 0 {
				d[i] -= l1
			}
		}
	}
}

// GradientPenalty is λ·mean‖∇ₓE(x)‖² over the data, as a loss of its own. Penalty.Gradient adds it to another loss.
type GradientPenalty struct {
	Lambda float64

	query [1]Query
	g     []float32
	ct    [1]Values
	terms [1]Term
}

// Name is "gradient-penalty".
func (*GradientPenalty) Name() string { return "gradient-penalty" }

// Plan asks for ∇E at the data.
func (l *GradientPenalty) Plan(_ context.Context, b Batch, _ rng.Key) ([]Query, error) {
	if err := b.check(l.Name()); err != nil {
		return nil, err
	}
	l.query[0] = Query{N: b.N, X: b.X, Want: WantGradient}
	return l.query[:], nil
}

// Value gives λ·mean‖∇E‖², ḡ = 2λ∇E/N.
func (l *GradientPenalty) Value(q []Query, v []Values) (Result, error) {
	if err := answered(l.Name(), q, v, 1); err != nil {
		return Result{}, err
	}
	n, g := float64(q[0].N), v[0].G
	l.g = grow(l.g, len(g))
	scaled(l.g, g, 2*l.Lambda/n)
	loss := l.Lambda * dot(g, g) / n
	l.terms[0] = Term{regTerm, loss}
	l.ct[0] = Values{G: l.g}
	return Result{Loss: loss, Terms: l.terms[:], Cotangents: l.ct[:]}, nil
}
