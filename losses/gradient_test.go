package losses

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// reference states a loss once more, in float64 and as naively as the formula reads, as a function of θ.
type reference func(at func(x []float64) point, b Batch) float64

func average(n int, f func(i int) float64) (sum float64) {
	for i := range n {
		sum += f(i) / float64(n)
	}
	return sum
}

func square(x []float64) float64 { return inner(x, x) }

func shifted(x []float64, s float64, eps ...[]float64) []float64 {
	out := append([]float64(nil), x...)
	for _, e := range eps {
		for i := range out {
			out[i] += s * e[i]
		}
	}
	return out
}

func refContrastive(alpha, lambda float64) reference {
	return func(at func([]float64) point, b Batch) float64 {
		pos, neg := rows(b.X, b.Dim), rows(b.Neg, b.Dim)
		mean := func(x [][]float64, power float64) float64 {
			return average(len(x), func(i int) float64 { return math.Pow(at(x[i]).e, power) })
		}
		return mean(pos, 1) - alpha*mean(neg, 1) + lambda*(mean(pos, 2)+mean(neg, 2))
	}
}

func refNCE(nu, logZ float64) reference {
	return func(at func([]float64) point, b Batch) float64 {
		pos, neg := rows(b.X, b.Dim), rows(b.Neg, b.Dim)
		sigma := func(h float64) float64 { return 1 / (1 + math.Exp(-h)) }
		return -average(b.N, func(i int) float64 {
			return math.Log(sigma(-at(pos[i]).e - logZ - b.LogNoise[i] - math.Log(nu)))
		}) - nu*average(b.M, func(i int) float64 {
			return math.Log(sigma(-(-at(neg[i]).e - logZ - b.LogNoise[b.N+i] - math.Log(nu))))
		})
	}
}

func refSM(at func([]float64) point, b Batch) float64 {
	x := rows(b.X, b.Dim)
	return average(b.N, func(i int) float64 { p := at(x[i]); return square(p.g)/2 - p.lap() })
}

func refSSM(hutchinson bool) reference {
	return func(at func([]float64) point, b Batch) float64 {
		x, v := rows(b.X, b.Dim), rows(b.Vectors, b.Dim)
		return average(len(v), func(r int) float64 {
			p := at(x[r%b.N])
			if hutchinson {
				return square(p.g)/2 - inner(v[r], p.hv(v[r]))
			}
			return math.Pow(inner(v[r], p.g), 2)/2 - inner(v[r], p.hv(v[r]))
		})
	}
}

func refDSM(sigmas []float64, weighted bool) reference {
	return func(at func([]float64) point, b Batch) float64 {
		x, eps := rows(b.X, b.Dim), rows(b.Noise, b.Dim)
		return average(len(sigmas), func(s int) float64 {
			w, sigma := 1.0, sigmas[s]
			if weighted {
				w = sigma * sigma
			}
			return w * average(b.N, func(i int) float64 {
				e := eps[(s*b.N+i)%len(eps)]
				return square(shifted(at(shifted(x[i], sigma, e)).g, -1/sigma, e)) / 2
			})
		})
	}
}

func refDiscrepancy(t, w float64) reference {
	return func(at func([]float64) point, b Batch) float64 {
		x, eps := rows(b.X, b.Dim), rows(b.Noise, b.Dim)
		m := len(eps)/b.N - 1
		return average(b.N, func(i int) float64 {
			return math.Log(w/float64(m) + average(m, func(j int) float64 {
				return math.Exp(at(x[i]).e - at(shifted(x[i], math.Sqrt(t), eps[i], eps[(1+j)*b.N+i])).e)
			}))
		})
	}
}

func refGradientPenalty(lambda float64) reference {
	return func(at func([]float64) point, b Batch) float64 {
		x := rows(b.X, b.Dim)
		return lambda * average(b.N, func(i int) float64 { return square(at(x[i]).g) })
	}
}

func plusRef(a, b reference) reference {
	return func(at func([]float64) point, batch Batch) float64 { return a(at, batch) + b(at, batch) }
}

// TestValuesAndGradients checks every loss's value and gradient by θ against the formula in float64 and its differences.
func TestValuesAndGradients(t *testing.T) {
	const n, m, dim, directions, blurs = 7, 5, 3, 4, 6
	key := rng.NewKey(11)
	base := Batch{N: n, Dim: dim, X: normals(key.Sub("x"), n*dim)}
	with := func(change func(b *Batch)) Batch {
		b := base
		change(&b)
		return b
	}
	negatives := func(b *Batch) { b.Neg, b.M = normals(key.Sub("neg"), m*dim), m }
	contrast := with(func(b *Batch) {
		negatives(b)
		b.LogNoise = widen(normals(key.Sub("log"), n+m))
	})
	sliced := with(func(b *Batch) { b.Vectors = normals(key.Sub("v"), directions*n*dim) })
	blurred := with(func(b *Batch) { b.Noise = normals(key.Sub("eps"), n*dim) })
	twice := with(func(b *Batch) { b.Noise = normals(key.Sub("eps"), 2*n*dim) })
	discrepancy := with(func(b *Batch) { b.Noise = normals(key.Sub("eps"), (1+blurs)*n*dim) })

	cases := []struct {
		spec  string
		batch Batch
		ref   reference
	}{
		{"cd", contrast, refContrastive(1, 0)},
		{"mle:alpha=0.7", contrast, refContrastive(0.7, 0)},
		{"pcd:alpha=0.5:energy-penalty=0.3", contrast, refContrastive(0.5, 0.3)},
		{"cd:gradient-penalty=0.2", contrast, plusRef(refContrastive(1, 0), refGradientPenalty(0.2))},
		{"nce", contrast, refNCE(float64(m)/n, 0)},
		{"nce:nu=2.5:log-z=0.3", contrast, refNCE(2.5, 0.3)},
		{"sm", base, refSM},
		{"sm:gradient-penalty=0.4", base, plusRef(refSM, refGradientPenalty(0.4))},
		{"ssm", sliced, refSSM(false)},
		{"sm-hutchinson", sliced, refSSM(true)},
		{"SSM-VR", sliced, refSSM(true)},
		{"dsm:sigma=0.3", blurred, refDSM([]float64{0.3}, false)},
		{"dsm:sigma=0.3:weight=sigma2", blurred, refDSM([]float64{0.3}, true)},
		{"dsm:sigma=0.3,0.7", twice, refDSM([]float64{0.3, 0.7}, true)},
		{"dsm:sigma=0.3,0.7:weight=one", twice, refDSM([]float64{0.3, 0.7}, false)},
		{"dsm:sigma=0.3,0.7", blurred, refDSM([]float64{0.3, 0.7}, true)},
		{"energy-discrepancy", discrepancy, refDiscrepancy(0.1, 1)},
		{"energy-discrepancy:t=0.4:w=0", discrepancy, refDiscrepancy(0.4, 0)},
	}
	for _, model := range []*testModel{newQuartic(1, dim), newMLP(2, dim, 5)} {
		for _, c := range cases {
			loss, err := New(c.spec, Options{})
			require.NoError(t, err)
			checkLoss(t, c.spec, model, loss, c.batch, c.ref)
		}
		checkLoss(t, "gradient-penalty", model, &GradientPenalty{Lambda: 0.7}, base, refGradientPenalty(0.7))
	}
}

func checkLoss(t *testing.T, name string, model *testModel, loss Loss, batch Batch, ref reference) {
	t.Helper()
	value := func(theta []float64) float64 {
		return ref(func(x []float64) point { return model.energy(theta, x) }, batch)
	}
	got := make([]float32, len(model.theta))
	res, err := Run(context.Background(), model, loss, batch, rng.NewKey(0), got)
	require.NoError(t, err, name)
	want := value(widen(model.theta))
	require.InDelta(t, want, res.Loss, 2e-6*(1+math.Abs(want)), name)
	d := gradient(value, widen(model.theta))
	var scale float64
	for _, v := range d {
		scale = math.Max(scale, math.Abs(v))
	}
	for i, v := range d {
		require.InDelta(t, v, got[i], 3e-6*scale, "%s: parameter %d", name, i)
	}
	require.Zero(t, model.open, "%s: pullbacks left open", name)
}

func TestParameterPenalties(t *testing.T) {
	model := newMLP(3, 2, 4)
	model.theta[0] = 0
	batch := Batch{N: 2, Dim: 2, X: []float32{1, 2, -1, 0.5}, M: 1, Neg: []float32{0.3, 0.1}}
	run := func(spec string) (Result, []float32) {
		loss, err := New(spec, Options{})
		require.NoError(t, err)
		d := make([]float32, len(model.theta))
		res, err := Run(context.Background(), model, loss, batch, rng.NewKey(0), d)
		require.NoError(t, err)
		return res, d
	}
	plain, d0 := run("cd")
	res, d1 := run("cd:l1=0.1:l2=0.01")
	var want float64
	for i, v := range widen(model.theta) {
		want += 0.1*math.Abs(v) + 0.01*v*v
		sign := 0.0
		if v != 0 {
			sign = math.Copysign(1, v)
		}
		require.InDelta(t, 0.1*sign+0.02*v, d1[i]-d0[i], 1e-6)
	}
	reg, ok := res.Term("reg_loss")
	require.True(t, ok)
	require.InDelta(t, want, reg, 1e-9)
	require.InDelta(t, plain.Loss+want, res.Loss, 1e-9)
	require.Equal(t, []string{"pos_energy", "neg_energy", "energy_gap", "reg_loss"}, names(res.Terms))

	batch.Vectors = []float32{1, 1, 1, 1}
	res, _ = run("ssm:l2=1")
	require.Equal(t, []string{"gradient_term", "hessian_term", "reg_loss"}, names(res.Terms))
}

type partly struct{ *testModel }

func (partly) TrainableRanges() [][2]int { return [][2]int{{1, 3}, {5, 6}} }

func TestPenaltiesRegardTrainedParameters(t *testing.T) {
	m := partly{newMLP(3, 2, 4)}
	batch := Batch{N: 1, Dim: 2, X: []float32{1, 2}}
	loss := &GradientPenalty{}
	run := func(l Loss) (float64, []float32) {
		d := make([]float32, len(m.theta))
		res, err := Run(context.Background(), m, l, batch, rng.NewKey(0), d)
		require.NoError(t, err)
		return res.Loss, d
	}
	_, before := run(loss)
	value, d := run(&penalised{loss, Penalty{L2: 0.5}})
	var want float64
	for i, v := range widen(m.theta) {
		if i == 1 || i == 2 || i == 5 {
			want += 0.5 * v * v
			before[i] += m.theta[i]
		}
	}
	require.InDelta(t, want, value, 1e-9)
	require.Equal(t, before, d)
}

type penalised struct {
	Loss
	Penalty
}

func names(terms []Term) (out []string) {
	for _, t := range terms {
		out = append(out, t.Name)
	}
	return out
}

func TestTerms(t *testing.T) {
	model := newMLP(4, 2, 4)
	b := Batch{N: 2, Dim: 2, X: []float32{1, 2, -1, 0.5}, M: 3, Neg: []float32{0.3, 0.1, 2, 2, -1, 1}}
	run := func(spec string) Result {
		loss, err := New(spec, Options{})
		require.NoError(t, err)
		res, err := Run(context.Background(), model, loss, b, rng.NewKey(0), nil)
		require.NoError(t, err)
		return res
	}
	term := func(r Result, name string) float64 {
		v, ok := r.Term(name)
		require.True(t, ok, name)
		return v
	}
	cd := run("cd:alpha=0.5:energy-penalty=0.1")
	require.InDelta(t, cd.Loss, term(cd, "pos_energy")-0.5*term(cd, "neg_energy")+term(cd, "reg_loss"), 1e-12)
	require.InDelta(t, term(cd, "energy_gap"), term(cd, "neg_energy")-term(cd, "pos_energy"), 1e-12)
	require.Equal(t, b.Neg, cd.Negatives)
	nce := run("nce:log-z=0.25:noise=gaussian:std=2")
	require.Equal(t, []string{"pos_loss", "neg_loss", "log_z"}, names(nce.Terms))
	require.InDelta(t, nce.Loss, term(nce, "pos_loss")+term(nce, "neg_loss"), 1e-12)
	require.Equal(t, 0.25, term(nce, "log_z"))
	sm := run("sm")
	require.InDelta(t, sm.Loss, term(sm, "gradient_term")-term(sm, "hessian_term"), 1e-12)
	dsm := run("dsm:sigma=0.30,1e-1")
	require.Equal(t, []string{"loss_sigma_0.30", "loss_sigma_1e-1"}, names(dsm.Terms))
	require.InDelta(t, dsm.Loss, (0.09*term(dsm, "loss_sigma_0.30")+0.01*term(dsm, "loss_sigma_1e-1"))/2, 1e-9*dsm.Loss)
	require.Equal(t, []string{"loss_sigma_0.1"}, names(run("dsm").Terms))
}

// TestOwnGradient checks the gradient by log Z by differences of the loss in log Z.
func TestOwnGradient(t *testing.T) {
	model := newMLP(5, 2, 4)
	key := rng.NewKey(9)
	b := Batch{N: 6, Dim: 2, X: normals(key.Sub("x"), 12), M: 4, Neg: normals(key.Sub("n"), 8)}
	at := func(logZ float64) Result {
		res, err := Run(context.Background(), model, &NCE{Nu: 1.5, InitLogZ: logZ}, b, key, nil)
		require.NoError(t, err)
		return res
	}
	res := at(0.4)
	require.Len(t, res.Own, 1)
	require.InDelta(t, (at(0.4+1e-4).Loss-at(0.4-1e-4).Loss)/2e-4, res.Own[0], 1e-6)

	fixed := &NCE{FixedLogZ: true}
	require.Nil(t, fixed.OwnParams())
	res, err := Run(context.Background(), model, fixed, b, key, nil)
	require.NoError(t, err)
	require.Nil(t, res.Own)
}
