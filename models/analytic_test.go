package models

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// specimen is a builtin with the region its test points come from.
type specimen struct {
	text  string
	reach float64
}

func specimens(t testing.TB) []specimen {
	means := saved(t, "means.npy", []int{3, 2}, -3, -2, 0, 1, 30, 4)
	design := saved(t, "x.npy", []int{4, 2}, 1, 2, -1, 0.5, 0.25, -3, 2, 1)
	labels := saved(t, "y.npy", []int{4}, 1, 0, 1, 0)
	signs := saved(t, "signs.npy", []int{4}, 1, -1, 1, -1)
	return []specimen{
		{"builtin:gaussian", 3},
		{"builtin:gaussian:dim=3:mean=1,-2,0.5:cov=0.5,2,3", 3},
		{"builtin:gaussian:mean=1,-2:cov=2,0.5,0.5,1", 3},
		{"builtin:gaussian:dim=1:mean=2:cov=3", 3},
		{"builtin:double-well", 2},
		{"builtin:double-well:dim=5:h=0.7:b=1.5", 2},
		{"builtin:harmonic:dim=3:k=2.5", 2},
		{"builtin:gaussian-mixture", 3},
		{"builtin:gaussian-mixture:dim=3:k=5:radius=1:std=0.5:weights=1,2,3,4,5", 2},
		{"builtin:gaussian-mixture:dim=1:k=3", 3},
		{"builtin:gaussian-mixture:std=1.5:means=@" + means, 20},
		{"builtin:gaussian-mixture:std=1.5:weights=1,2,3:means=@" + means, 20},
		{"builtin:rosenbrock", 2},
		{"builtin:rosenbrock:dim=5:a=0.5:b=10", 2},
		{"builtin:ackley", 3},
		{"builtin:ackley:dim=4:a=10:b=0.5:c=2", 3},
		{"builtin:rastrigin", 2},
		{"builtin:rastrigin:dim=1:a=3", 2},
		{"builtin:himmelblau", 4},
		{"builtin:styblinski-tang:dim=3", 3},
		{"builtin:banana", 12},
		{"builtin:banana:dim=4:curvature=0.1:std=2", 3},
		{"builtin:funnel", 3},
		{"builtin:funnel:dim=10:std=2", 2},
		{"builtin:funnel-noncentered", 3},
		{"builtin:funnel-noncentered:dim=10:std=2", 3},
		{"builtin:many-well", 2},
		{"builtin:many-well:dim=32", 2},
		{"builtin:rings", 2},
		{"builtin:rings:dim=3:radii=1.5:std=0.4", 2},
		{"builtin:rings:dim=1:radii=1,2,3:std=0.25", 3},
		{"builtin:eight-schools", 3},
		{"builtin:eight-schools-noncentered", 3},
		{"builtin:logistic:x=@" + design + ":y=@" + labels, 3},
		{"builtin:logistic:x=@" + design + ":y=@" + signs + ":std=2:intercept=true", 3},
		{"builtin:ackley+0.05*builtin:harmonic", 3},
		{"2*builtin:double-well:h=1e+0 + -1e-1*builtin:gaussian:mean=1,2", 2},
	}
}

func saved(t testing.TB, name string, shape []int, data ...float32) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, npy.WriteFile(path, npy.Array{Shape: shape, Data: data}))
	return path
}

func builtin(t testing.TB, text string) *Analytic {
	a, err := Builtin(text)
	require.NoError(t, err)
	return a
}

// points draws n uniform points of (−reach, reach)^dim that float32 represents.
func points(n, dim int, reach float64) []float64 {
	r := rand.New(rand.NewPCG(1, uint64(dim)))
	x := make([]float64, n*dim)
	for i := range x {
		x[i] = float64(float32(reach * (2*r.Float64() - 1)))
	}
	return x
}

// run evaluates a derived graph in float64.
func run(t testing.TB, g *graphs.Graph, want gradients.Want, dims []int, x, v []float64) map[string]*graphs.Array {
	d, err := gradients.Derive(g, want)
	require.NoError(t, err)
	feeds := map[string]*graphs.Array{"x": graphs.Floats(dims, x)}
	if v != nil {
		feeds["v"] = graphs.Floats(dims, v)
	}
	out, err := graphs.Evaluate(d, feeds)
	require.NoError(t, err)
	return out
}

// relative is the largest error relative to the largest magnitude of want, at least 1.
func relative(want, got []float64) float64 {
	size, worst := 1.0, 0.0
	for i, w := range want {
		size = max(size, math.Abs(w))
		if d := math.Abs(w - got[i]); !(d <= worst) {
			worst = d
		}
	}
	return worst / size
}

func TestGraphsAgreeWithClosedForms(t *testing.T) {
	for _, s := range specimens(t) {
		t.Run(s.text, func(t *testing.T) {
			a := builtin(t, s.text)
			g, err := a.graph(graphs.Float64)
			require.NoError(t, err)
			const n = 20
			x, v := points(n, a.Dim, s.reach), points(n, a.Dim, 1)
			out := run(t, g, gradients.Energy|gradients.Gradient|gradients.HVP, []int{n, a.Dim}, x, v)
			h := make([]float64, a.Dim*a.Dim)
			for i := range n {
				at := func(f []float64) []float64 { return f[i*a.Dim : (i+1)*a.Dim] }
				require.Less(t, relative([]float64{a.Energy(at(x))}, out["energy"].F[i:i+1]), 1e-12, "energy of %v", at(x))
				g := make([]float64, a.Dim)
				a.Gradient(g, at(x))
				require.Less(t, relative(g, at(out["gradient"].F)), 1e-12, "gradient at %v", at(x))
				a.Hessian(h, at(x))
				require.Less(t, relative(times(h, at(v)), at(out["hvp"].F)), 1e-12, "hvp at %v", at(x))
			}
		})
	}
}

// The graphs proper differ from those by constants rounded to float32; the angles of ackley and rastrigin are up to 6π.
func TestFloat32Graphs(t *testing.T) {
	for _, s := range specimens(t) {
		t.Run(s.text, func(t *testing.T) {
			a := builtin(t, s.text)
			require.NoError(t, graphs.Check(a.Graph))
			require.Equal(t, "float32[N]", a.Graph.Output("energy").Type.String())
			require.Empty(t, a.Graph.Params(), "builtins are fixed")
			const n = 20
			x := points(n, a.Dim, s.reach)
			out := run(t, a.Graph, gradients.Energy, []int{n, a.Dim}, x, nil)
			for i := range n {
				e := a.Energy(x[i*a.Dim : (i+1)*a.Dim])
				require.Less(t, relative([]float64{e}, out["energy"].F[i:i+1]), 6*math.Pi*0x1p-24)
			}
		})
	}
}

// The closed-form gradients agree with central differences of the closed-form energies.
func TestClosedFormGradients(t *testing.T) {
	for _, s := range specimens(t) {
		a := builtin(t, s.text)
		x := points(5, a.Dim, s.reach)
		for i := range 5 {
			p := x[i*a.Dim : (i+1)*a.Dim]
			g, numeric := make([]float64, a.Dim), make([]float64, a.Dim)
			a.Gradient(g, p)
			for j := range p {
				const h = 1e-3
				e := func(k float64) float64 {
					q := append([]float64(nil), p...)
					q[j] += k * h
					return a.Energy(q)
				}
				numeric[j] = (8*(e(1)-e(-1)) - (e(2) - e(-2))) / (12 * h)
			}
			require.Less(t, relative(g, numeric), 1e-7, "%s at %v", s.text, p)
		}
	}
}

// The closed-form Hessians are symmetric and agree with central differences of the closed-form gradients.
func TestClosedFormHessians(t *testing.T) {
	for _, s := range specimens(t) {
		a := builtin(t, s.text)
		x, d := points(5, a.Dim, s.reach), a.Dim
		for i := range 5 {
			p := x[i*d : (i+1)*d]
			h := filled(d*d, math.NaN())
			a.Hessian(h, p)
			for j := range d {
				unit := make([]float64, d)
				unit[j] = 1
				require.Less(t, relative(h[j*d:(j+1)*d], differences(a, p, unit)), 1e-7, "%s at %v", s.text, p)
				for k := range j {
					require.InDelta(t, h[j*d+k], h[k*d+j], 1e-12*(1+math.Abs(h[j*d+k])), s.text)
				}
			}
		}
	}
}

// times is H·v.
func times(h, v []float64) []float64 {
	out := make([]float64, len(v))
	for i := range out {
		out[i] = dot(h[i*len(v):(i+1)*len(v)], v)
	}
	return out
}

// differences is ∇²E·v by central differences of the closed-form gradient, of fourth order.
func differences(a *Analytic, x, v []float64) []float64 {
	const h = 2e-4
	g := func(k float64) []float64 {
		p, d := make([]float64, len(x)), make([]float64, len(x))
		for i := range x {
			p[i] = x[i] + k*h*v[i]
		}
		a.Gradient(d, p)
		return d
	}
	m2, m1, p1, p2 := g(-2), g(-1), g(1), g(2)
	out := make([]float64, len(x))
	for i := range x {
		out[i] = (8*(p1[i]-m1[i]) - (p2[i] - m2[i])) / (12 * h)
	}
	return out
}

func TestMinima(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 0))
	with := 0
	for _, s := range specimens(t) {
		a := builtin(t, s.text)
		if len(a.Minima) > 0 {
			with++
		}
		for _, m := range a.Minima {
			require.InDelta(t, m.Energy, a.Energy(m.X), 1e-9*(1+math.Abs(m.Energy)), s.text)
			require.InDelta(t, a.Minima[0].Energy, m.Energy, 1e-9, "%s: equally low", s.text)
			g := make([]float64, a.Dim)
			a.Gradient(g, m.X)
			require.Less(t, relative(make([]float64, a.Dim), g), 1e-9, "%s: gradient at %v", s.text, m.X)
			for range 200 {
				x := append([]float64(nil), m.X...)
				width := s.reach * math.Pow(10, -3*r.Float64())
				for i := range x {
					x[i] += width * r.NormFloat64()
				}
				require.GreaterOrEqual(t, a.Energy(x), m.Energy-1e-9*(1+math.Abs(m.Energy)), "%s at %v", s.text, x)
			}
		}
	}
	require.GreaterOrEqual(t, with, 20)
	require.Len(t, builtin(t, "builtin:double-well:dim=3").Minima, 8)
	require.Len(t, builtin(t, "builtin:himmelblau").Minima, 4)
}

func TestKnownMinimum(t *testing.T) {
	a := builtin(t, "builtin:styblinski-tang:dim=4")
	require.InDelta(t, -39.16616570377142*4, a.Minima[0].Energy, 1e-10)
}

// moments integrates exp(−E) over a box of the plane by the product trapezoidal rule.
func moments(a *Analytic, lo, hi [2]float64, n int) (logZ float64, mean, std []float64) {
	var z float64
	var m1, m2 [2]float64
	h := [2]float64{(hi[0] - lo[0]) / float64(n), (hi[1] - lo[1]) / float64(n)}
	x := make([]float64, 2)
	for i := range n + 1 {
		for j := range n + 1 {
			x[0], x[1] = lo[0]+h[0]*float64(i), lo[1]+h[1]*float64(j)
			p := math.Exp(-a.Energy(x))
			z += p
			for k, t := range x {
				m1[k] += p * t
				m2[k] += p * t * t
			}
		}
	}
	for k := range m1 {
		m := m1[k] / z
		mean, std = append(mean, m), append(std, math.Sqrt(m2[k]/z-m*m))
	}
	return math.Log(z * h[0] * h[1]), mean, std
}

func TestIntegralsInThePlane(t *testing.T) {
	box := func(r float64) [2][2]float64 { return [2][2]float64{{-r, -r}, {r, r}} }
	for text, b := range map[string][2][2]float64{
		"builtin:gaussian:mean=1,-2:cov=2,0.5,0.5,1":                  box(18),
		"builtin:gaussian:mean=1,-2:cov=2,0.5":                        box(18),
		"builtin:double-well":                                         box(3),
		"builtin:double-well:h=0.3:b=0":                               box(5),
		"builtin:harmonic:k=3":                                        box(6),
		"builtin:gaussian-mixture":                                    box(5),
		"builtin:gaussian-mixture:k=3:radius=1:std=0.5:weights=1,2,5": box(6),
		"builtin:rosenbrock:b=4":                                      {{-5, -3}, {7, 40}},
		"builtin:rosenbrock:a=0:b=4":                                  {{-5.5, -3}, {5.5, 34}},
		"builtin:rastrigin":                                           box(7),
		"builtin:himmelblau":                                          box(7),
		"builtin:styblinski-tang":                                     box(5),
		"builtin:banana:curvature=0.2:std=1.5":                        {{-13, -10}, {13, 40}},
		"builtin:many-well":                                           box(9),
		"builtin:rings":                                               box(4),
		"builtin:rings:radii=1.5:std=0.4":                             box(6),
		"builtin:funnel:std=0.5":                                      {{-5, -14}, {5, 14}},
	} {
		t.Run(text, func(t *testing.T) {
			a := builtin(t, text)
			logZ, mean, std := moments(a, b[0], b[1], 1200)
			require.True(t, a.LogZKnown)
			require.InDelta(t, logZ, a.LogZ, 1e-8)
			require.Less(t, relative(mean, a.Mean), 1e-7)
			require.Less(t, relative(std, a.Std), 1e-7)
		})
	}
}

func TestPublishedAnswers(t *testing.T) {
	require.InDelta(t, 164.695675, builtin(t, "builtin:many-well:dim=32").LogZ, 1e-6)

	banana := builtin(t, "builtin:banana")
	require.InDelta(t, 10, banana.Std[0], 1e-12)
	require.InDelta(t, 4.358899, banana.Std[1], 1e-6)

	funnel := builtin(t, "builtin:funnel:dim=10")
	require.InDelta(t, 3, funnel.Std[0], 1e-12)
	require.InDelta(t, 9.487736, funnel.Std[9], 1e-6)
	require.Zero(t, funnel.LogZ)

	straight := builtin(t, "builtin:funnel-noncentered:dim=10")
	require.Equal(t, []float64{3, 1, 1, 1, 1, 1, 1, 1, 1, 1}, straight.Std)
	require.Zero(t, straight.LogZ)

	schools := builtin(t, "builtin:eight-schools")
	want := []float64{4.39682, .80214, 6.2119, 4.9402, 3.9270, 4.7571, 3.6155, 4.0426, 6.2967, 4.8543}
	for i, m := range want {
		require.InDelta(t, m, schools.Mean[i], 6e-5, i)
	}
	require.InDelta(t, 3.31770, schools.Std[0], 6e-6)
	require.InDelta(t, schools.LogZ, builtin(t, "builtin:eight-schools-noncentered").LogZ, 1e-12)
}

// The moments of the draws of several seeds together agree with the known ones, by z-scores.
func TestDrawsHaveTheKnownMoments(t *testing.T) {
	const n, seeds = 4000, 10
	for _, s := range specimens(t) {
		a := builtin(t, s.text)
		if !a.CanDraw() {
			_, err := a.Draw(1, rng.NewKey(0))
			require.ErrorContains(t, err, "no exact sampler")
			continue
		}
		if strings.Contains(s.text, "funnel:dim=10") || s.text == "builtin:funnel" {
			continue // heavy tails: the mean of squares of 4000 draws is not normal
		}
		for j := range a.Dim {
			var means, squares, m4 float64
			for seed := range seeds {
				x, err := a.Draw(n, rng.NewKey(uint64(seed)))
				require.NoError(t, err)
				for i := range n {
					d := float64(x[i*a.Dim+j]) - a.Mean[j]
					means += d
					squares += d * d
					m4 += d * d * d * d
				}
			}
			total := float64(n * seeds)
			variance := a.Std[j] * a.Std[j]
			require.Less(t, math.Abs(means/total)/(a.Std[j]/math.Sqrt(total)), 4.5, "%s: mean of coordinate %d", s.text, j)
			spread := math.Sqrt(max(m4/total-variance*variance, 1e-12*variance*variance) / total)
			require.Less(t, math.Abs(squares/total-variance)/spread, 5.0, "%s: variance of coordinate %d", s.text, j)
			if j > 3 {
				break
			}
		}
	}
}

// Stein's identity E[∂ⱼE(x)·xₖ] = δⱼₖ ties the samplers to the energies, funnel and schools included.
func TestDrawsObeySteinsIdentity(t *testing.T) {
	const n = 20000
	for _, s := range specimens(t) {
		a := builtin(t, s.text)
		if !a.CanDraw() {
			continue
		}
		x, err := a.Draw(n, rng.NewKey(3))
		require.NoError(t, err)
		dim := min(a.Dim, 4)
		sum, sum2 := make([]float64, dim*dim), make([]float64, dim*dim)
		p, g := make([]float64, a.Dim), make([]float64, a.Dim)
		for i := range n {
			for j := range p {
				p[j] = float64(x[i*a.Dim+j])
			}
			a.Gradient(g, p)
			for j := range dim {
				for k := range dim {
					v := g[j] * p[k]
					sum[j*dim+k] += v
					sum2[j*dim+k] += v * v
				}
			}
		}
		for i := range sum {
			want := 0.0
			if i/dim == i%dim {
				want = 1
			}
			mean := sum[i] / n
			se := math.Sqrt((sum2[i]/n - mean*mean) / n)
			require.Less(t, math.Abs(mean-want)/se, 5.0, "%s: element %d, %d", s.text, i/dim, i%dim)
		}
	}
}

func TestDrawsAreReproducible(t *testing.T) {
	a := builtin(t, "builtin:rings")
	few, err := a.Draw(3, rng.NewKey(7))
	require.NoError(t, err)
	many, err := a.Draw(9, rng.NewKey(7))
	require.NoError(t, err)
	require.Equal(t, few, many[:6])
	other, err := a.Draw(3, rng.NewKey(8))
	require.NoError(t, err)
	require.NotEqual(t, few, other)
	_, err = a.Draw(-1, rng.NewKey(7))
	require.Error(t, err)
}

// At the cones of ackley and rings the gradient is 0, and no derivative of graph or closed form is NaN.
func TestConesAreSafe(t *testing.T) {
	for _, text := range []string{"builtin:ackley:dim=3", "builtin:rings:dim=3", "builtin:rings:dim=3:radii=1"} {
		a := builtin(t, text)
		x, v := make([]float64, 3), []float64{1, 2, 3}
		out := run(t, a.Graph, gradients.Energy|gradients.Gradient|gradients.HVP, []int{1, 3}, x, v)
		require.Equal(t, make([]float64, 3), out["gradient"].F, text)
		g, h := filled(3, math.NaN()), filled(9, math.NaN())
		a.Gradient(g, x)
		require.Equal(t, make([]float64, 3), g, text)
		a.Hessian(h, x)
		for _, h := range append(h, out["hvp"].F...) {
			require.False(t, math.IsNaN(h) || math.IsInf(h, 0), text)
		}
		require.InDelta(t, a.Energy(x), out["energy"].F[0], 1e-5, text)
	}
}

// Far from every component the energy stays finite and quadratic.
func TestMixtureFarAway(t *testing.T) {
	a := builtin(t, "builtin:gaussian-mixture")
	x := []float64{1000, -2000}
	out := run(t, a.Graph, gradients.Energy|gradients.Gradient, []int{1, 2}, x, nil)
	g := make([]float64, 2)
	a.Gradient(g, x)
	require.InEpsilon(t, a.Energy(x), out["energy"].F[0], 1e-6)
	require.Less(t, relative(g, out["gradient"].F), 1e-6)
}

// exp(−E) is Z times the density that Draw follows: p(log τ)·p(μ | log τ)·Π p(θᵢ | μ, τ), at every point.
func TestSchoolsFactorise(t *testing.T) {
	logNormal := func(x, mean, variance float64) float64 {
		return -0.5 * (log2Pi + math.Log(variance) + (x-mean)*(x-mean)/variance)
	}
	for _, noncentred := range []bool{false, true} {
		a := builtin(t, map[bool]string{false: "builtin:eight-schools", true: "builtin:eight-schools-noncentered"}[noncentred])
		x := points(20, schoolsDim, 3)
		for i := range 20 {
			p := x[i*schoolsDim : (i+1)*schoolsDim]
			m, precision, energy := schoolsGiven(p[1])
			want := -energy + logNormal(p[0], m, 1/precision)
			for j, v := range p[2:] {
				mean, variance := schoolGiven(j, math.Exp(p[1]), p[0], noncentred)
				want += logNormal(v, mean, variance)
			}
			require.InEpsilon(t, want, -a.Energy(p), 1e-12)
		}
	}
}

func TestLogisticByHand(t *testing.T) {
	x := saved(t, "x.npy", []int{3, 1}, 1, 2, -4)
	y := saved(t, "y.npy", []int{3}, 1, 0, 1)
	a := builtin(t, "builtin:logistic:intercept=true:std=3:x=@"+x+":y=@"+y)
	require.Equal(t, 2, a.Dim)
	sigma := func(z float64) float64 { return 1 / (1 + math.Exp(-z)) }
	b := []float64{0.5, -0.25} // intercept, slope
	want := -math.Log(sigma(0.25)) - math.Log(1-sigma(0)) - math.Log(sigma(1.5))
	want += 0.5*(0.25+0.0625)/9 + math.Log(2*math.Pi*9)
	require.InDelta(t, want, a.Energy(b), 1e-12)
}

func TestSums(t *testing.T) {
	a := builtin(t, "0.5*builtin:gaussian:dim=3+2*builtin:harmonic:dim=3:k=4")
	require.Equal(t, 3, a.Dim)
	require.InDelta(t, 0.5*0.5*3+2*2*3, a.Energy([]float64{1, 1, 1}), 1e-12)
	require.False(t, a.LogZKnown)
	require.Nil(t, a.Minima)

	scaled := builtin(t, "3*builtin:himmelblau")
	require.Len(t, scaled.Minima, 4)
	require.False(t, scaled.LogZKnown)
	require.True(t, builtin(t, "1*builtin:gaussian").LogZKnown)
}

func TestIsBuiltin(t *testing.T) {
	require.True(t, IsBuiltin(" 2*builtin:x"))
	require.False(t, IsBuiltin("gaussian.onnx"))
}

func TestSplitSum(t *testing.T) {
	for text, want := range map[string][]string{
		"builtin:a":                             {"builtin:a"},
		"builtin:a+builtin:b":                   {"builtin:a", "builtin:b"},
		"1e+3*builtin:a:k=1e+3+-2e-1*builtin:b": {"1e+3*builtin:a:k=1e+3", "-2e-1*builtin:b"},
		"builtin:a:x=@a+b.npy + 1e+2*builtin:c": {"builtin:a:x=@a+b.npy ", " 1e+2*builtin:c"},
	} {
		require.Equal(t, want, splitSum(text))
	}
}

func TestMetadataHoldsNoPaths(t *testing.T) {
	means := saved(t, "means.npy", []int{1, 2}, 1, 2)
	a := builtin(t, "2*builtin:gaussian-mixture:means=@"+means+":std=2+builtin:gaussian:mean=@"+means)
	require.Equal(t, "2*builtin:gaussian-mixture:means=@FILE:std=2+builtin:gaussian:mean=@FILE", a.Graph.Metadata[MetadataModel])
	require.Equal(t, "energy", a.Graph.Metadata[MetadataRole])
}

func TestBuiltinErrors(t *testing.T) {
	asymmetric := "builtin:gaussian:cov=1,0.5,0.4,1"
	x := saved(t, "x.npy", []int{2, 1}, 1, 2)
	bad := saved(t, "y.npy", []int{2}, 1, 2)
	short := saved(t, "s.npy", []int{1}, 1)
	for text, want := range map[string]string{
		"gaussian":                                  "is no builtin; write builtin:NAME",
		"builtin:":                                  "has no name",
		"builtin:guassian":                          "did you mean gaussian?",
		"builtin:nothing":                           "valid: ackley, banana, double-well",
		"builtin:double-well:depth=3":               "unknown key depth; valid for double-well: dim, h, b",
		"builtin:double-well:dim=0":                 "dim must be at least 1",
		"builtin:double-well:dim=99999999":          "dim must be at most",
		"builtin:double-well:h=-1":                  "h must be greater than 0",
		"builtin:many-well:dim=3":                   "dim must be even",
		"builtin:himmelblau:dim=3":                  "dim must be 2",
		"builtin:rosenbrock:dim=1":                  "dim must be at least 2",
		"builtin:gaussian:mean=1,2,3:dim=2":         "mean must have 1 or 2 numbers, not 3",
		"builtin:gaussian:cov=1,2,3":                "cov must have 1, 2 or 2·2 numbers, not 3",
		"builtin:gaussian:cov=-1":                   "cov must be positive",
		"builtin:gaussian:cov=1,2,2,1":              "not positive definite",
		asymmetric:                                  "not symmetric: element 2,1 is 0.4 and 1,2 is 0.5",
		"builtin:gaussian:cov=@nowhere.npy":         "nowhere.npy",
		"builtin:gaussian-mixture:means=1,2":        "a file is written @FILE",
		"builtin:gaussian-mixture:weights=1":        "weights must have 8 numbers",
		"builtin:gaussian-mixture:k=0":              "k must be at least 1",
		"builtin:gaussian-mixture:means=@" + bad:    "means must be of shape [K, D]",
		"builtin:rings:radii=1,-1":                  "radii must be greater than 0",
		"builtin:eight-schools:dim=10":              "takes no keys",
		"builtin:logistic":                          "x=@FILE.npy is missing",
		"builtin:logistic:x=@" + x + ":y=@" + bad:   "label 1 is 2",
		"builtin:logistic:x=@" + x + ":y=@" + short: "y must have 2 labels",
		"builtin:gaussian+builtin:harmonic:dim=3":   "one dimension, not 2 and 3",
		"a*builtin:gaussian":                        "is no builtin; write",
		"1e999*builtin:gaussian":                    "is not a finite number",
		"energy.onnx+builtin:gaussian":              "is no builtin; write",
		"builtin:harmonic:k=1e300":                  "beyond float32",
		"builtin:gaussian + energy.onnx":            "energy.onnx",
	} {
		_, err := Builtin(text)
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, "models: ", text)
		require.LessOrEqual(t, strings.Count(err.Error(), "\n"), 5)
	}
}

// Help lists exactly the keys that the readers ask for, and the defaults it states are the real ones.
func TestHelpIsTrue(t *testing.T) {
	for _, e := range Help() {
		require.NotEmpty(t, e.Formula)
		_, err := Builtin("builtin:" + e.Name + ":zzz=1")
		require.Error(t, err)
		if e.Name == "logistic" {
			continue
		}
		var names []string
		text := "builtin:" + e.Name
		for _, k := range e.Keys {
			_, def, _ := strings.Cut(k, "=")
			names = append(names, cutKey(k))
			if def != "…" && !strings.HasPrefix(def, "@") {
				text += ":" + k
			}
		}
		if names != nil {
			require.ElementsMatch(t, names, validKeys(err), e.Name)
		}
		a, b := builtin(t, "builtin:"+e.Name), builtin(t, text)
		require.Equal(t, graphs.Print(a.Graph), graphs.Print(b.Graph), e.Name)
	}
}

func cutKey(text string) string {
	key, _, _ := strings.Cut(text, "=")
	return key
}

// validKeys are those that an error about an unknown key lists.
func validKeys(err error) []string {
	_, valid, _ := strings.Cut(err.Error(), "valid for ")
	_, list, _ := strings.Cut(valid, ": ")
	return strings.Split(list, ", ")
}
