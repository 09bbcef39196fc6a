package losses

import (
	"context"
	"math"
	"testing"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// point is an energy at one row, in float64.
type point struct {
	e float64
	g []float64   // [D]
	h [][]float64 // [D][D]
}

func (p point) hv(v []float64) []float64 {
	out := make([]float64, len(v))
	for i := range p.h {
		for j, vj := range v {
			out[i] += p.h[i][j] * vj
		}
	}
	return out
}

func (p point) lap() (sum float64) {
	for i := range p.h {
		sum += p.h[i][i]
	}
	return sum
}

// energy is a family of energies with closed-form derivatives in x.
type energy func(theta, x []float64) point

// testModel is a Model whose pullback is a five-point difference in θ, in float64.
type testModel struct {
	dim    int
	theta  []float32
	energy energy

	calls    []Query
	open     int
	changed  int
	evaluate func(q Query, v *Values) // spoils the answers, where set
}

func (m *testModel) Dim() int          { return m.dim }
func (m *testModel) Params() []float32 { return m.theta }
func (m *testModel) ParamsChanged()    { m.changed++ }

func (m *testModel) Linearize(_ context.Context, q Query) (Values, Pullback, error) {
	m.calls = append(m.calls, q)
	m.open++
	var v Values
	for n := range q.N {
		x := widen(q.X[n*m.dim : (n+1)*m.dim])
		p := m.energy(widen(m.theta), x)
		if q.Want.Has(WantEnergy) {
			v.E = append(v.E, float32(p.e))
		}
		if q.Want.Has(WantGradient) {
			v.G = append(v.G, narrow(p.g)...)
		}
		if q.Want.Has(WantLaplacian) {
			v.Lap = append(v.Lap, float32(p.lap()))
		}
	}
	if q.Want.Has(WantHVP) {
		for r := range q.K * q.N {
			n := r % q.N
			p := m.energy(widen(m.theta), widen(q.X[n*m.dim:(n+1)*m.dim]))
			v.HV = append(v.HV, narrow(p.hv(widen(q.V[r*m.dim:(r+1)*m.dim])))...)
		}
	}
	if m.evaluate != nil {
		m.evaluate(q, &v)
	}
	return v, &testPullback{m, q}, nil
}

type testPullback struct {
	m *testModel
	q Query
}

func (p *testPullback) Close() error { p.m.open--; return nil }

func (p *testPullback) Add(ct Values, dTheta []float32) error {
	contract := func(theta []float64) (sum float64) {
		dim := p.m.dim
		for n := range p.q.N {
			at := p.m.energy(theta, widen(p.q.X[n*dim:(n+1)*dim]))
			if ct.E != nil {
				sum += float64(ct.E[n]) * at.e
			}
			if ct.G != nil {
				sum += inner(widen(ct.G[n*dim:(n+1)*dim]), at.g)
			}
			if ct.Lap != nil {
				sum += float64(ct.Lap[n]) * at.lap()
			}
			for k := 0; ct.HV != nil && k < p.q.K; k++ {
				r := k*p.q.N + n
				sum += inner(widen(ct.HV[r*dim:(r+1)*dim]), at.hv(widen(p.q.V[r*dim:(r+1)*dim])))
			}
		}
		return sum
	}
	for i, d := range gradient(contract, widen(p.m.theta)) {
		dTheta[i] += float32(d)
	}
	return nil
}

// gradient is the five-point central difference, error O(h⁴).
func gradient(f func([]float64) float64, theta []float64) []float64 {
	const h = 1e-3
	out := make([]float64, len(theta))
	for i, old := range theta {
		at := func(d float64) float64 {
			theta[i] = old + d
			return f(theta)
		}
		out[i] = (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h)
		theta[i] = old
	}
	return out
}

// quartic is ½(x−μ)ᵀA(x−μ) + κ·Σx³ + q·Σx⁴, θ = (μ [D], A [D·D], κ, q), A taken symmetric.
func quartic(theta, x []float64) point {
	d := len(x)
	mu, a, kappa, q := theta[:d], theta[d:d+d*d], theta[d+d*d], theta[d+d*d+1]
	p := point{g: make([]float64, d), h: make([][]float64, d)}
	for i := range d {
		p.h[i] = make([]float64, d)
		for j := range d {
			s := (a[i*d+j] + a[j*d+i]) / 2
			p.h[i][j] = s
			p.g[i] += s * (x[j] - mu[j])
		}
		p.e += (x[i] - mu[i]) * p.g[i] / 2
	}
	for i, v := range x {
		p.e += kappa*v*v*v + q*v*v*v*v
		p.g[i] += 3*kappa*v*v + 4*q*v*v*v
		p.h[i][i] += 6*kappa*v + 12*q*v*v
	}
	return p
}

// mlp is w·tanh(Wx + b) + ½c‖x‖², θ = (W [H·D], b [H], w [H], c).
func mlp(theta, x []float64) point {
	d := len(x)
	hidden := (len(theta) - 1) / (d + 2)
	in, bias, out, c := theta[:hidden*d], theta[hidden*d:hidden*(d+1)], theta[hidden*(d+1):hidden*(d+2)], theta[len(theta)-1]
	p := point{g: make([]float64, d), h: make([][]float64, d)}
	for i := range d {
		p.e += c * x[i] * x[i] / 2
		p.g[i] = c * x[i]
		p.h[i] = make([]float64, d)
		p.h[i][i] = c
	}
	for k := range hidden {
		w := in[k*d : (k+1)*d]
		t := math.Tanh(bias[k] + inner(w, x))
		first, second := out[k]*(1-t*t), -2*out[k]*t*(1-t*t)
		p.e += out[k] * t
		for i := range d {
			p.g[i] += first * w[i]
			for j := range d {
				p.h[i][j] += second * w[i] * w[j]
			}
		}
	}
	return p
}

// isotropic is ½a‖x‖², θ = (a).
func isotropic(theta, x []float64) point {
	p := point{e: theta[0] * inner(x, x) / 2, g: make([]float64, len(x)), h: make([][]float64, len(x))}
	for i := range x {
		p.g[i] = theta[0] * x[i]
		p.h[i] = make([]float64, len(x))
		p.h[i][i] = theta[0]
	}
	return p
}

func newQuartic(seed uint64, dim int) *testModel {
	theta := normals(rng.NewKey(seed).Sub("quartic"), dim+dim*dim+2)
	for i := range theta {
		theta[i] *= 0.3
	}
	for i := range dim {
		theta[dim+i*dim+i]++
	}
	return &testModel{dim: dim, theta: theta, energy: quartic}
}

func newMLP(seed uint64, dim, hidden int) *testModel {
	return &testModel{dim: dim, theta: normals(rng.NewKey(seed).Sub("mlp"), hidden*(dim+2)+1), energy: mlp}
}

func newIsotropic(dim int, a float32) *testModel {
	return &testModel{dim: dim, theta: []float32{a}, energy: isotropic}
}

func normals(k rng.Key, n int) []float32 {
	x := make([]float32, n)
	k.Normals(x, 0, 0)
	return x
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

func inner(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// rows views x [n·dim] in float64, row by row.
func rows(x []float32, dim int) [][]float64 {
	var out [][]float64
	for ; len(x) > 0; x = x[dim:] {
		out = append(out, widen(x[:dim]))
	}
	return out
}

// newtonIsotropic minimises a loss that is quadratic in the a of ½a‖x‖², from gradients at two points.
func newtonIsotropic(t *testing.T, dim int, l Loss, b Batch, k rng.Key) float64 {
	t.Helper()
	slope := func(a float32) float64 {
		d := make([]float32, 1)
		if _, err := Run(context.Background(), newIsotropic(dim, a), l, b, k, d); err != nil {
			t.Fatal(err)
		}
		return float64(d[0])
	}
	at0, at1 := slope(0), slope(1)
	return -at0 / (at1 - at0)
}
