package losses

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

func TestQueriesAreMerged(t *testing.T) {
	b := gaussianData(rng.NewKey(1), 4, 2)
	for text, calls := range map[string]int{
		"sm:gradient-penalty=0.1":  1, // the penalty is on the data, as the loss
		"ssm:gradient-penalty=0.1": 1,
		"dsm:gradient-penalty=0.1": 2, // blurred data and data
		"dsm:sigma=0.1,0.2,0.3":    1,
		"nce":                      1,
	} {
		loss, err := New(text, Options{})
		require.NoError(t, err)
		m := newMLP(1, 2, 3)
		d := make([]float32, len(m.theta))
		_, err = Run(context.Background(), m, loss, b, rng.NewKey(2), d)
		require.NoError(t, err)
		require.Len(t, m.calls, calls, text)
		require.Zero(t, m.open, text)
	}
}

// TestSeparateQueries: a user's loss with queries of different lengths, some about the same rows, with the same cotangents as apart.
func TestSeparateQueries(t *testing.T) {
	b := gaussianData(rng.NewKey(1), 4, 2)
	v := normals(rng.NewKey(2), 8)
	other := normals(rng.NewKey(3), 6)
	copied := append([]float32(nil), b.X...)
	run := func(x2 []float32) (float64, []float32, int) {
		loss := &Func{
			Label: "mixed",
			PlanFunc: func(_ context.Context, b Batch, _ rng.Key) ([]Query, error) {
				return []Query{
					{N: 4, X: b.X, Want: WantEnergy | WantGradient},
					{N: 3, X: other, Want: WantEnergy},
					{N: 4, X: x2, Want: WantGradient | WantHVP, V: v, K: 1},
				}, nil
			},
			ValueFunc: func(q []Query, got []Values) (Result, error) {
				require.Nil(t, got[2].E, "what was not asked for stays away")
				r := Result{Cotangents: []Values{
					{E: []float32{1, 2, 3, 4}, G: []float32{1, 1, 0, 0, 2, 2, 1, 1}},
					{E: []float32{1, -1, 1}},
					{G: []float32{3, 0, 3, 0, 3, 0, 3, 0}, HV: []float32{1, 2, 3, 4, 5, 6, 7, 8}},
				}}
				for i, ct := range r.Cotangents {
					r.Loss += dot(ct.E, got[i].E) + dot(ct.G, got[i].G) + dot(ct.HV, got[i].HV)
				}
				return r, nil
			},
		}
		m := newMLP(1, 2, 3)
		d := make([]float32, len(m.theta))
		res, err := Run(context.Background(), m, loss, b, rng.NewKey(0), d)
		require.NoError(t, err)
		return res.Loss, d, len(m.calls)
	}
	together, d1, calls := run(b.X)
	require.Equal(t, 2, calls)
	apart, d2, calls := run(copied)
	require.Equal(t, 3, calls)
	require.InDelta(t, apart, together, 1e-9)
	require.InDeltaSlice(t, d2, d1, 1e-4)
}

type evaluator struct {
	*testModel
	evaluated int
}

func (e *evaluator) Evaluate(ctx context.Context, q Query) (Values, error) {
	e.evaluated++
	v, p, err := (&testModel{dim: e.dim, theta: e.theta, energy: e.energy}).Linearize(ctx, q)
	return v, errors.Join(err, p.Close())
}

// TestEvaluator: without a gradient to make, the cheaper way is taken, with the same value.
func TestEvaluator(t *testing.T) {
	m := &evaluator{testModel: newMLP(1, 2, 3)}
	b := gaussianData(rng.NewKey(1), 4, 2)
	require.Equal(t, lossAt(t, m.testModel, &ScoreMatching{}, b, rng.NewKey(0)), lossAt(t, m, &ScoreMatching{}, b, rng.NewKey(0)))
	require.Equal(t, 1, m.evaluated)
	_, err := Run(context.Background(), m, &ScoreMatching{}, b, rng.NewKey(0), make([]float32, len(m.theta)))
	require.NoError(t, err)
	require.Equal(t, 1, m.evaluated)
}

func TestGradientIsAdded(t *testing.T) {
	m := newMLP(1, 2, 3)
	b := gaussianData(rng.NewKey(1), 4, 2)
	once, twice := make([]float32, len(m.theta)), make([]float32, len(m.theta))
	run := func(d []float32) {
		_, err := Run(context.Background(), m, &ScoreMatching{}, b, rng.NewKey(0), d)
		require.NoError(t, err)
	}
	run(once)
	run(twice)
	run(twice)
	for i := range once {
		require.Equal(t, 2*once[i], twice[i])
	}
}

// TestNonFiniteLoss: it is reported as it is, no gradient is added, and pullbacks are closed.
func TestNonFiniteLoss(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, text := range []string{"cd", "nce", "sm", "ssm", "ssm-vr", "dsm", "energy-discrepancy", "cd:gradient-penalty=1"} {
			loss, err := New(text, Options{})
			require.NoError(t, err)
			m := newMLP(1, 2, 3)
			m.evaluate = func(_ Query, v *Values) {
				for _, part := range [][]float32{v.E, v.G, v.HV, v.Lap} {
					if len(part) > 0 {
						part[0] = float32(bad)
					}
				}
			}
			b := gaussianData(rng.NewKey(1), 4, 2)
			b.Neg, b.M = make([]float32, 2), 1
			d := make([]float32, len(m.theta))
			res, err := Run(context.Background(), m, loss, b, rng.NewKey(0), d)
			require.ErrorIs(t, err, ErrNonFinite, "%s %g", text, bad)
			// −∞ is a perfect energy for a datum, by which logistic losses stay finite.
			saturates := (text == "nce" || text == "energy-discrepancy") && math.IsInf(bad, -1)
			require.Equal(t, saturates, finite(res.Loss), text)
			require.NotEmpty(t, res.Terms, text)
			require.Equal(t, make([]float32, len(d)), d, text)
			require.Zero(t, m.open, text)
		}
	}
}

type failing struct {
	*testModel
	at int
}

func (f *failing) Linearize(ctx context.Context, q Query) (Values, Pullback, error) {
	if len(f.calls) == f.at {
		return Values{}, nil, errors.New("out of memory")
	}
	return f.testModel.Linearize(ctx, q)
}

func TestErrors(t *testing.T) {
	ctx, key := context.Background(), rng.NewKey(0)
	m := newMLP(1, 2, 3)
	d := make([]float32, len(m.theta))
	good := gaussianData(key, 4, 2)
	dsm, err := New("dsm:gradient-penalty=1", Options{})
	require.NoError(t, err)
	check := func(says string, m Model, l Loss, b Batch, d []float32) {
		t.Helper()
		_, err := Run(ctx, m, l, b, key, d)
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, "losses: ")
	}
	with := func(change func(b *Batch)) Batch { b := good; change(&b); return b }
	check("2 values for a model of 3", newMLP(1, 3, 3), dsm, good, d)
	check("a gradient of 1 values", m, dsm, good, d[:1])
	check("holds 7 values", m, dsm, with(func(b *Batch) { b.X = b.X[:7] }), d)
	check("a batch of 0 rows", m, dsm, with(func(b *Batch) { b.N = 0 }), d)
	check("expected 4·2", m, dsm, with(func(b *Batch) { b.Noise = make([]float32, 7) }), d)
	check("a multiple of 4·2", m, &SlicedScoreMatching{}, with(func(b *Batch) { b.Vectors = make([]float32, 7) }), d)
	check("expected (1+M)·4·2", m, &EnergyDiscrepancy{}, with(func(b *Batch) { b.Noise = make([]float32, 8) }), d)
	check("no negatives", m, NewCD(), good, d)
	check("the negatives hold 3", m, NewCD(), with(func(b *Batch) { b.Neg, b.M = make([]float32, 3), 1 }), d)
	check("density 0 at row 1 of the data", m, &NCE{Noise: Uniform{Low: []float64{-1}, High: []float64{1}}}, with(func(b *Batch) { b.X = []float32{0, 0, 0, 1.5, 0, 0, 0, 0} }), d)
	check("log p_noise holds 3 values, expected 5", m, &NCE{}, with(func(b *Batch) { b.Neg, b.M, b.LogNoise = make([]float32, 2), 1, make([]float64, 3) }), d)
	check("without the negatives", m, &NCE{}, with(func(b *Batch) { b.LogNoise = make([]float64, 8) }), d)
	check("1 or 2", m, &NCE{Noise: Gaussian{Mean: make([]float64, 3)}}, good, d)
	check("σ = 0", m, &DenoisingScoreMatching{Sigmas: []float64{0}}, good, d)
	for at := range 2 {
		f := &failing{newMLP(1, 2, 3), at}
		check("out of memory", f, dsm, good, d)
		require.Zero(t, f.open)
	}
	short := newMLP(1, 2, 3)
	short.evaluate = func(_ Query, v *Values) { v.G = v.G[1:] }
	check("gave 7 values of gradient", short, dsm, good, d)
}

func TestCheckGradients(t *testing.T) {
	ctx := context.Background()
	b := gaussianData(rng.NewKey(1), 16, 2)
	for _, text := range []string{"dsm", "dsm:sigma=0.2,0.5:l2=0.1", "sm", "ssm", "ssm-vr", "nce", "energy-discrepancy", "cd", "pcd:l1=0.01"} {
		loss, err := New(text, Options{Chains: halving{}})
		require.NoError(t, err)
		m := newMLP(1, 2, 3)
		before := append([]float32(nil), m.theta...)
		report, err := CheckGradients(ctx, m, loss, b, CheckOptions{Key: rng.NewKey(5)})
		require.NoError(t, err)
		require.Equal(t, before, m.theta)
		require.Equal(t, len(before), report.Checked)
		require.Less(t, report.Worst.Error, 5e-3, "%s: %+v", text, report.Worst)
		require.Greater(t, m.changed, 2*len(before))
		require.Equal(t, text == "nce", report.Own != nil)
		if report.Own != nil {
			require.Less(t, report.Own.Error, 1e-3)
		}
	}
	m := newMLP(1, 2, 3)
	report, err := CheckGradients(ctx, m, &ScoreMatching{}, b, CheckOptions{Sample: 4})
	require.NoError(t, err)
	require.Equal(t, 4, report.Checked)
}

// TestCheckGradientsFinds: a loss with a wrong cotangent, and parameters out of reach.
func TestCheckGradientsFinds(t *testing.T) {
	b := gaussianData(rng.NewKey(1), 8, 2)
	b.Neg, b.M = normals(rng.NewKey(2), 8), 4
	wrong := NewCD()
	wrong.Objective = func(pos, neg, dPos, dNeg []float32) float64 {
		fill(dPos, 1/float64(len(pos)))
		fill(dNeg, 1/float64(len(neg))) // should be negative
		return mean(pos) - mean(neg)
	}
	report, err := CheckGradients(context.Background(), newMLP(1, 2, 3), wrong, b, CheckOptions{})
	require.NoError(t, err)
	require.Greater(t, report.Worst.Error, 0.1)

	// A gradient that is no number, of one parameter.
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1))} {
		m := &spoiling{testModel: newMLP(1, 2, 3), at: 2, by: bad}
		report, err := CheckGradients(context.Background(), m, NewCD(), b, CheckOptions{})
		require.NoError(t, err)
		require.Equal(t, math.Inf(1), report.Worst.Error)
		require.Equal(t, 2, report.Worst.Index)
	}

	// An added constant has no influence on score matching; here it is the last parameter.
	offset := func(theta, x []float64) point {
		p := isotropic(theta[:1], x)
		p.e += theta[1]
		return p
	}
	m := &testModel{dim: 2, theta: []float32{1, 2}, energy: offset}
	report, err = CheckGradients(context.Background(), m, &ScoreMatching{}, b, CheckOptions{})
	require.NoError(t, err)
	require.Equal(t, []int{1}, report.NoGradient)
	require.Less(t, report.Worst.Error, 1e-3)
}

// spoiling has a parameter whose gradient is by.
type spoiling struct {
	*testModel
	at int
	by float32
}

type spoilt struct {
	Pullback
	m *spoiling
}

func (s *spoiling) Linearize(ctx context.Context, q Query) (Values, Pullback, error) {
	v, p, err := s.testModel.Linearize(ctx, q)
	return v, spoilt{p, s}, err
}

func (p spoilt) Add(ct Values, dTheta []float32) error {
	err := p.Pullback.Add(ct, dTheta)
	dTheta[p.m.at] = p.m.by
	return err
}

func TestDeterminism(t *testing.T) {
	b := gaussianData(rng.NewKey(1), 8, 2)
	for _, text := range []string{"dsm", "ssm", "ssm-vr:vectors=sphere", "nce", "energy-discrepancy", "cd", "mle", "pcd"} {
		value := func(key uint64) float64 {
			loss, err := New(text, Options{Chains: halving{}})
			require.NoError(t, err)
			return lossAt(t, newMLP(1, 2, 3), loss, b, rng.NewKey(key))
		}
		require.Equal(t, value(1), value(1), text)
		if text != "cd" { // its chains start at the data and halving draws nothing
			require.NotEqual(t, value(1), value(2), text)
		}
	}
}

func TestSecondOrder(t *testing.T) {
	for _, name := range Names() {
		loss, err := New(name, Options{})
		require.NoError(t, err)
		require.Equal(t, name == "sm" || name == "ssm" || name == "sm-hutchinson", NeedsSecondOrder(loss), name)
	}
	require.False(t, NeedsSecondOrder(&Func{}))
	require.Equal(t, "energy+laplacian", (WantEnergy | WantLaplacian).String())
}

// TestValueAllocatesNothing, once its buffers are there.
func TestValueAllocatesNothing(t *testing.T) {
	ctx := context.Background()
	b := gaussianData(rng.NewKey(1), 8, 2)
	m := newMLP(1, 2, 3)
	for _, text := range append(Names(), "dsm:sigma=0.1,0.2", "ssm:projections=3", "cd:energy-penalty=0.1") {
		loss, err := New(text, Options{Chains: chainFunc(func(start []float32, _, _, _ int) ([]float32, error) { return start, nil })})
		require.NoError(t, err)
		q, err := loss.Plan(ctx, b, rng.NewKey(2))
		require.NoError(t, err)
		v, _, err := m.Linearize(ctx, q[0])
		require.NoError(t, err)
		values := []Values{v}
		require.Zero(t, testing.AllocsPerRun(3, func() {
			if _, err := loss.Value(q, values); err != nil {
				t.Fatal(err)
			}
		}), text)
		require.Zero(t, testing.AllocsPerRun(3, func() {
			if _, err := loss.Plan(ctx, b, rng.NewKey(2)); err != nil {
				t.Fatal(err)
			}
		}), text)
	}
}
