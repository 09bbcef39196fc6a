package losses

import (
	"context"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// EnergyDiscrepancy is mean log(w/M + (1/M) Σⱼ exp(E(x) − E(x + √t(ξ + ξ′ⱼ)))), ξ, ξ′ⱼ ~ N(0, I) (Schröder et al. 2023, eq. 10):
// the data is blurred once and blurred back M times, and no chain is run. w keeps the logarithm bounded.
// The zero value of each field means the default.
type EnergyDiscrepancy struct {
	Penalty
	T float64  // variance of the blur; 0 means 0.1
	M int      // blurs back; 0 means 16
	W *float64 // nil means 1

	query     [1]Query
	n         int // data rows of the plan
	x, eps, e []float32
	exps      []float64
	ct        [1]Values
	terms     [3]Term
}

// Name is "energy-discrepancy".
func (*EnergyDiscrepancy) Name() string { return "energy-discrepancy" }

// NeedsSecondOrder is false.
func (*EnergyDiscrepancy) NeedsSecondOrder() bool { return false }

func (l *EnergyDiscrepancy) settings() (t float64, m int, w float64) {
	t, m, w = l.T, l.M, 1
	if t == 0 {
		t = 0.1
	}
	if m == 0 {
		m = 16
	}
	if l.W != nil {
		w = *l.W
	}
	return t, m, w
}

// Plan asks for E at the data and at its M perturbations, as one query of (1+M)·N rows. Given noise sets M.
func (l *EnergyDiscrepancy) Plan(_ context.Context, b Batch, k rng.Key) ([]Query, error) {
	if err := b.check(l.Name()); err != nil {
		return nil, err
	}
	t, m, w := l.settings()
	if !(t > 0) || m < 1 || !(w >= 0) {
		return nil, fmt.Errorf("losses: energy-discrepancy: t = %g, m = %d, w = %g: t must be positive, m at least 1, w not negative", t, m, w)
	}
	size, noise := len(b.X), b.Noise
	if noise == nil {
		l.eps = grow(l.eps, (1+m)*size)
		k.Sub("noise").Normals(l.eps, 0, 0)
		noise = l.eps
	} else if m = len(noise)/size - 1; m < 1 || len(noise) != (1+m)*size {
		return nil, fmt.Errorf("losses: energy-discrepancy: the noise holds %d values, expected (1+M)·%d·%d: ξ, then ξ′₁ … ξ′_M", len(noise), b.N, b.Dim)
	}
	l.x = grow(l.x, (1+m)*size)
	copy(l.x, b.X)
	xi, root := noise[:size], float32(math.Sqrt(t))
	for j := 1; j <= m; j++ {
		back, x := noise[j*size:(j+1)*size], l.x[j*size:(j+1)*size]
		for i, v := range b.X {
			x[i] = v + root*(xi[i]+back[i])
		}
	}
	l.query[0] = Query{N: (1 + m) * b.N, X: l.x, Want: WantEnergy}
	l.n = b.N
	return l.query[:], nil
}

// Value also reports the mean energies of the data and of its perturbations. With pⱼ = exp(E − Eⱼ)/(w + Σ exp(E − Eᵢ)):
// Ē = Σⱼ pⱼ/N at the data, −pⱼ/N at the perturbations.
func (l *EnergyDiscrepancy) Value(q []Query, v []Values) (Result, error) {
	if err := answered(l.Name(), q, v, 1); err != nil {
		return Result{}, err
	}
	_, _, w := l.settings()
	n, energy := l.n, v[0].E
	m := len(energy)/n - 1
	l.e, l.exps = grow(l.e, len(energy)), grow(l.exps, m)
	var loss float64
	for i, e := range energy[:n] {
		top := math.Log(w)
		for j := range l.exps {
			l.exps[j] = float64(e) - float64(energy[(1+j)*n+i])
			top = max(top, l.exps[j])
		}
		total := math.Exp(math.Log(w) - top)
		for j, a := range l.exps {
			l.exps[j] = math.Exp(a - top)
			total += l.exps[j]
		}
		loss += top + math.Log(total/float64(m))
		var pulled float64
		for j, a := range l.exps {
			p := a / total / float64(n)
			pulled += p
			l.e[(1+j)*n+i] = float32(-p)
		}
		l.e[i] = float32(pulled)
	}
	loss /= float64(n)
	pos, neg := mean(energy[:n]), mean(energy[n:])
	l.terms = [3]Term{{"pos_energy", pos}, {"neg_energy", neg}, {"energy_gap", neg - pos}}
	l.ct[0] = Values{E: l.e}
	return Result{Loss: loss, Terms: l.terms[:], Cotangents: l.ct[:]}, nil
}
