package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

func parse(t testing.TB, text string) schedule.Schedule {
	t.Helper()
	s, err := schedule.Parse(text)
	require.NoError(t, err)
	return s
}

// covariance is that of the data (divisor N), plus σ² on the diagonal.
func covariance(t testing.TB, ds data.Dataset, sigma float64) *mat.SymDense {
	t.Helper()
	x, err := data.All(ds)
	require.NoError(t, err)
	d := data.Size(ds)
	rows := mat.NewDense(ds.Len(), d, nil)
	for i, v := range x {
		rows.Set(i/d, i%d, float64(v))
	}
	var c mat.SymDense
	stat.CovarianceMatrix(&c, rows, nil)
	n := float64(ds.Len())
	for i := range d {
		for j := i; j < d; j++ {
			v := c.At(i, j) * (n - 1) / n
			if i == j {
				v += sigma * sigma
			}
			c.SetSym(i, j, v)
		}
	}
	return &c
}

func inverse(t testing.TB, c *mat.SymDense) []float64 {
	t.Helper()
	var p mat.Dense
	require.NoError(t, p.Inverse(c))
	return p.RawMatrix().Data
}

// TestScoreMatchingRecoversPrecision: over all data at once, exact score matching of a quadratic has the minimum P = C⁻¹, b = −Pm.
func TestScoreMatchingRecoversPrecision(t *testing.T) {
	rt := open(t, 0)
	for seed := range uint64(3) {
		ds := gaussian(t, 500, seed, 0.8, 2)
		e := energy(t, rt, quadratic(t, 2), ebm.Options{})
		res, err := Run(context.Background(), e, newLoss(t, "sm", nil), ds, Config{Steps: 800, Batch: 500, Seed: seed, LR: parse(t, "polynomial:0.05,0,800,2")})
		require.NoError(t, err)
		require.Equal(t, Finished, res.Reason)
		require.InDeltaSlice(t, inverse(t, covariance(t, ds, 0)), precision(e), 1e-3)
		require.Equal(t, 800, res.Curve.Rows())
	}
}

// zscore checks that the mean error over seeds is zero within its Monte Carlo error, and that this error is small.
func zscore(t *testing.T, errs []float64, sd float64) {
	t.Helper()
	mean, std := stat.MeanStdDev(errs, nil)
	se := std / math.Sqrt(float64(len(errs)))
	require.Less(t, math.Abs(mean)/se, 4.0, "mean error %.4f ± %.4f", mean, se)
	require.Less(t, se, sd)
}

// seeds is over how many seeds a mean error is taken.
const seeds = 20

// TestStochasticScoreMatchingRecovers: sliced score matching, with Hutchinson's trace and without, has the minimum P = C⁻¹, b = −Pm of
// score matching; denoising score matching that of the blurred data, P = (C + σ²I)⁻¹.
func TestStochasticScoreMatchingRecovers(t *testing.T) {
	rt := open(t, 0)
	for _, c := range []struct {
		loss  string
		sigma float64
	}{{"ssm", 0}, {"sm-hutchinson:vectors=gaussian", 0}, {"dsm:sigma=0.5", 0.5}} {
		var errs [4][]float64
		for seed := range uint64(seeds) {
			ds := gaussian(t, 1024, 100+seed, 0.6, 1.5)
			x, err := data.All(ds)
			require.NoError(t, err)
			mean := [2]float64{}
			for i := range x {
				x[i] += []float32{1, -0.5}[i%2]
				mean[i%2] += float64(x[i]) / 1024
			}
			if ds, err = data.NewMemory([]int{2}, x); err != nil {
				require.NoError(t, err)
			}
			e := energy(t, rt, quadratic(t, 2), ebm.Options{})
			_, err = Run(context.Background(), e, newLoss(t, c.loss, nil), ds, Config{
				Steps: 400, Batch: 1024, Seed: seed, LR: parse(t, "polynomial:0.06,0,400,2"), EMA: 0.98,
			})
			require.NoError(t, err)
			want, got := inverse(t, covariance(t, ds, c.sigma)), precision(e)
			b, _ := e.Store().Lookup("b")
			shift := e.Store().Of(b)
			for i := range 2 {
				errs[i] = append(errs[i], got[3*i]/want[3*i]-1)
				// P·m + b = 0, in units of a standard deviation
				residue := got[2*i]*mean[0] + got[2*i+1]*mean[1] + float64(shift[i])
				errs[2+i] = append(errs[2+i], residue/math.Sqrt(got[3*i]))
			}
		}
		for i := range errs {
			t.Run(fmt.Sprint(c.loss, " ", []string{"P11", "P22", "m1", "m2"}[i]), func(t *testing.T) { zscore(t, errs[i], 0.01) })
		}
	}
}

// TestContrastiveDivergenceRecoversPrecision: the fixed point of CD and PCD with Langevin chains is the p whose chains keep the data's
// variance v, (1−ηp)²v + 2η = v, so p = (1 − √(1 − 2η/v))/η, for any number of steps.
func TestContrastiveDivergenceRecoversPrecision(t *testing.T) {
	rt := open(t, 0)
	const eta = 0.1
	for _, loss := range []string{"cd:k=5", "pcd:k=5:buffer=1024:reinit=0"} {
		var errs []float64
		for seed := range uint64(seeds) {
			ds := gaussian(t, 1024, 200+seed, 0.8)
			e := energy(t, rt, quadratic(t, 1), ebm.Options{Freeze: []string{"b"}})
			chains := &Chains{Target: e, Kernel: &samplers.Langevin{StepSize: schedule.Constant{Value: eta}}}
			_, err := Run(context.Background(), e, newLoss(t, loss, chains), ds, Config{
				Steps: 400, Batch: 1024, Seed: seed, LR: parse(t, "polynomial:0.05,0.001,400,2"), EMA: 0.98,
			})
			require.NoError(t, err)
			x, err := data.All(ds)
			require.NoError(t, err)
			var v float64
			for _, xi := range x {
				v += float64(xi) * float64(xi) / float64(len(x))
			}
			errs = append(errs, precision(e)[0]/((1-math.Sqrt(1-2*eta/v))/eta)-1)
		}
		zscore(t, errs, 0.01)
	}
}

// TestNCERecoversLogZ: log Z of ½px² is ½log(2π/p), and is learned by an optimiser of its own.
func TestNCERecoversLogZ(t *testing.T) {
	rt := open(t, 0)
	var errs []float64
	for seed := range uint64(seeds) {
		e := energy(t, rt, quadratic(t, 1), ebm.Options{Freeze: []string{"b"}})
		l := newLoss(t, "nce:noise=gaussian:std=1", nil)
		_, err := Run(context.Background(), e, l, gaussian(t, 4096, 300+seed, 0.7), Config{
			Steps: 400, Batch: 1024, Seed: seed, LR: parse(t, "polynomial:0.03,0,400,1"), OwnLR: parse(t, "polynomial:0.05,0,400,1"),
		})
		require.NoError(t, err)
		errs = append(errs, l.(*losses.NCE).LogZ()-0.5*math.Log(2*math.Pi*0.7*0.7))
	}
	zscore(t, errs, 0.02)
}

// TestAccumulation: two batches of half the size give the step of one whole batch.
func TestAccumulation(t *testing.T) {
	rt := open(t, 0)
	ds := gaussian(t, 200, 1, 1, 1)
	whole, halves := energy(t, rt, quadratic(t, 2), ebm.Options{}), energy(t, rt, quadratic(t, 2), ebm.Options{})
	cfg := Config{Steps: 4, Batch: 100, Optimizer: "sgd", LR: parse(t, "0.1")}
	a, err := Run(context.Background(), whole, newLoss(t, "sm", nil), ds, cfg)
	require.NoError(t, err)
	cfg.Batch, cfg.Accumulate = 50, 2
	b, err := Run(context.Background(), halves, newLoss(t, "sm", nil), ds, cfg)
	require.NoError(t, err)
	require.InDeltaSlice(t, whole.Params(), halves.Params(), 1e-6)
	require.InDelta(t, a.Loss, b.Loss, 1e-6)
	require.NotEqual(t, float32(1), whole.Params()[0])

	// An epoch of 60 + 60 + 30 items: the short batch counts by its items, so an epoch a step is the full gradient.
	ds = gaussian(t, 150, 2, 1, 1)
	whole, halves = energy(t, rt, quadratic(t, 2), ebm.Options{}), energy(t, rt, quadratic(t, 2), ebm.Options{})
	_, err = Run(context.Background(), whole, newLoss(t, "sm", nil), ds, Config{Epochs: 3, Batch: 150, Optimizer: "sgd", LR: parse(t, "0.1")})
	require.NoError(t, err)
	b, err = Run(context.Background(), halves, newLoss(t, "sm", nil), ds, Config{Epochs: 3, Batch: 60, Accumulate: 3, Optimizer: "sgd", LR: parse(t, "0.1")})
	require.NoError(t, err)
	require.Equal(t, 3, b.Steps)
	require.InDeltaSlice(t, whole.Params(), halves.Params(), 1e-6)
}

func TestClipping(t *testing.T) {
	rt := open(t, 0)
	ds := gaussian(t, 100, 1, 3, 3)
	for _, c := range []struct {
		cfg   Config
		check func(moved []float64)
	}{
		{Config{ClipNorm: 0.5}, func(m []float64) { require.InDelta(t, 0.5, math.Sqrt(dot(m)), 1e-5) }},
		{Config{ClipValue: 0.25}, func(m []float64) { require.InDelta(t, 0.25, slices.Max(m), 1e-5) }},
		{Config{ClipValue: 0.25, ClipNorm: 0.1}, func(m []float64) { require.InDelta(t, 0.1, math.Sqrt(dot(m)), 1e-5) }},
	} {
		e := energy(t, rt, quadratic(t, 2), ebm.Options{})
		before := slices.Clone(e.Params())
		cfg := c.cfg
		cfg.Steps, cfg.Optimizer, cfg.LR = 1, "sgd", parse(t, "1")
		var norm float64
		cfg.OnStep = func(p *Progress) error { norm = p.GradNorm; return nil }
		_, err := Run(context.Background(), e, newLoss(t, "sm", nil), ds, cfg)
		require.NoError(t, err)
		require.Greater(t, norm, 5.0, "reported before clipping")
		moved := make([]float64, len(before))
		for i, v := range e.Params() {
			moved[i] = math.Abs(float64(v - before[i]))
		}
		c.check(moved)
	}
}

func dot(v []float64) (sum float64) {
	for _, v := range v {
		sum += v * v
	}
	return sum
}

// TestFrozenStay: neither gradients, nor weight decay, nor averaging move a frozen parameter; groups scale the rest.
func TestFrozenStay(t *testing.T) {
	rt := open(t, 0)
	for _, optimizer := range []string{"adamw:weight-decay=0.5", "sgd:weight-decay=0.5", "lion:weight-decay=0.5", "rmsprop:weight-decay=0.5", "adam:weight-decay=0.5"} {
		e := energy(t, rt, mlp(t, 2, 8, 8), ebm.Options{Freeze: []string{"W2", "b1"}})
		before := slices.Clone(e.Params())
		_, err := Run(context.Background(), e, newLoss(t, "dsm", nil), gaussian(t, 64, 1, 1, 1), Config{
			Steps: 5, Optimizer: optimizer, EMA: 0.5, LR: parse(t, "0.01"),
			Group: func(p ebm.Param) (float64, bool) { return 1, p.Name == "W3" },
		})
		require.NoError(t, err)
		for _, p := range e.Store().List {
			same := slices.Equal(before[p.Offset:p.Offset+p.Len], e.Store().Of(p))
			require.Equal(t, !p.Trainable || p.Name == "b3", same, "%s %s", optimizer, p.Name) // E + c has no gradient in x
		}
	}
	e := energy(t, rt, mlp(t, 2, 4), ebm.Options{Freeze: []string{"*"}})
	_, err := Run(context.Background(), e, newLoss(t, "dsm", nil), gaussian(t, 64, 1, 1, 1), Config{Steps: 1})
	require.ErrorContains(t, err, "none of the 4 parameters is trainable")
}

// TestPatterns: a step of gradient descent is as much larger as the first pattern says, and free of weight decay where one says so.
func TestPatterns(t *testing.T) {
	rt := open(t, 0)
	moved := func(decay string, patterns ...Pattern) map[string][]float64 {
		e := energy(t, rt, mlp(t, 2, 8, 8), ebm.Options{})
		before := slices.Clone(e.Params())
		_, err := Run(context.Background(), e, newLoss(t, "dsm", nil), gaussian(t, 64, 1, 1, 1), Config{
			Steps: 1, Optimizer: "sgd:weight-decay=" + decay, LR: parse(t, "0.01"), Patterns: patterns,
		})
		require.NoError(t, err)
		by := map[string][]float64{}
		for _, p := range e.Store().List {
			for i := range p.Len {
				by[p.Name] = append(by[p.Name], float64(e.Params()[p.Offset+i])-float64(before[p.Offset+i]))
			}
		}
		return by
	}
	plain, decayed := moved("0"), moved("0.5")
	got := moved("0.5", Pattern{Glob: "W2", Scale: 4}, Pattern{Glob: "W?", Scale: 2}, Pattern{Glob: "W3", NoDecay: true})
	for name, factor := range map[string]float64{"W1": 2, "W2": 4, "W3": 2, "b1": 1, "b2": 1} {
		want := decayed[name]
		if name == "W3" {
			want = plain[name]
		}
		for i, v := range want {
			require.InDelta(t, factor*v, got[name][i], 1e-6, name)
		}
	}
	require.Greater(t, math.Abs(plain["W3"][0]-decayed["W3"][0]), 1e-4)
	e := energy(t, rt, mlp(t, 2, 4), ebm.Options{})
	_, err := Run(context.Background(), e, newLoss(t, "dsm", nil), gaussian(t, 64, 1, 1, 1), Config{Steps: 1, Patterns: []Pattern{{Glob: "head.*", Scale: 2}}})
	require.ErrorContains(t, err, `no parameter matches "head.*"; there are W1`)
}

func TestTrainableRanges(t *testing.T) {
	rt := open(t, 0)
	e := energy(t, rt, mlp(t, 2, 4), ebm.Options{Freeze: []string{"b1"}})
	var want [][2]int
	at := func(name string) [2]int {
		p, ok := e.Store().Lookup(name)
		require.True(t, ok)
		return [2]int{p.Offset, p.Offset + p.Len}
	}
	w1, w2, b2 := at("W1"), at("W2"), at("b2")
	require.Equal(t, w2[1], b2[0])
	want = append(want, w1, [2]int{w2[0], b2[1]})
	require.Equal(t, want, e.TrainableRanges())
}

// broken is score matching that goes wrong at the given calls.
func broken(at map[int]float64, gradient bool) losses.Loss {
	inner, call := &losses.ScoreMatching{}, 0
	return &losses.Func{Label: "broken", PlanFunc: inner.Plan, ValueFunc: func(q []losses.Query, v []losses.Values) (losses.Result, error) {
		res, err := inner.Value(q, v)
		if bad, ok := at[call]; ok && gradient {
			res.Cotangents[0].G[0] = float32(bad)
		} else if ok {
			res.Loss = bad
		}
		call++
		return res, err
	}}
}

func TestNonFinite(t *testing.T) {
	rt := open(t, 0)
	ds := gaussian(t, 100, 1, 1, 1)
	for _, gradient := range []bool{false, true} {
		e := energy(t, rt, quadratic(t, 2), ebm.Options{})
		var last []float32
		cfg := Config{Steps: 6, Batch: 50, LR: parse(t, "0.1"), OnStep: func(*Progress) error { last = slices.Clone(e.Params()); return nil }}
		res, err := Run(context.Background(), e, broken(map[int]float64{3: math.NaN()}, gradient), ds, cfg)
		require.ErrorIs(t, err, losses.ErrNonFinite)
		require.ErrorContains(t, err, "stopped after 3 of 6 steps")
		require.Equal(t, 3, res.Steps)
		require.Equal(t, last, e.Params(), "the bad step must not move anything")

		var notices []string
		var steps []Progress
		cfg.NonFinite, cfg.Notice = Skip, func(s string) { notices = append(notices, s) }
		cfg.OnStep = func(p *Progress) error { steps = append(steps, *p); return nil }
		skipping := energy(t, rt, quadratic(t, 2), ebm.Options{})
		res, err = Run(context.Background(), skipping, broken(map[int]float64{2: math.Inf(1), 3: math.NaN()}, gradient), ds, cfg)
		require.NoError(t, err)
		require.Equal(t, 2, res.Skipped)
		require.Len(t, notices, 2)
		require.True(t, steps[2].NonFinite && steps[3].NonFinite && !steps[4].NonFinite)
		require.Equal(t, 2, steps[5].Skipped)
		column := ColumnLoss
		if gradient {
			column = ColumnGradNorm
		}
		_, values := res.Curve.Column(column)
		require.Len(t, values, 6, "a value that is not finite is shown")
		require.True(t, math.IsNaN(values[3]))

		cfg.SkipLimit = 1
		res, err = Run(context.Background(), energy(t, rt, quadratic(t, 2), ebm.Options{}), broken(map[int]float64{2: math.NaN(), 3: math.NaN()}, gradient), ds, cfg)
		require.ErrorIs(t, err, losses.ErrNonFinite)
		require.ErrorContains(t, err, "the limit")
		require.Equal(t, 2, res.Skipped)
	}
}

// TestParametersOverflow: finite gradients with an absurd rate are found out too.
func TestParametersOverflow(t *testing.T) {
	e := energy(t, open(t, 0), quadratic(t, 2), ebm.Options{})
	_, err := Run(context.Background(), e, newLoss(t, "sm", nil), gaussian(t, 100, 1, 3, 3), Config{Steps: 1, Optimizer: "sgd", LR: parse(t, "1e38")})
	require.ErrorIs(t, err, losses.ErrNonFinite)
	require.ErrorContains(t, err, `parameter "W" holds`)
}

// TestEarlyStopping: the training precision is 9, the validation precision 4; training passes through the latter from 1.
func TestEarlyStopping(t *testing.T) {
	rt := open(t, 0)
	e := energy(t, rt, quadratic(t, 1), ebm.Options{Freeze: []string{"b"}})
	kept := map[int][]float32{}
	cfg := Config{
		Steps: 5000, Batch: 400, LR: parse(t, "0.01"), Validation: gaussian(t, 5000, 2, 0.5), ValidateEvery: 5, Patience: 4,
		OnStep: func(p *Progress) error { kept[p.Step] = slices.Clone(e.Params()); return nil },
	}
	res, err := Run(context.Background(), e, newLoss(t, "sm", nil), gaussian(t, 400, 1, 1./3), cfg)
	require.NoError(t, err)
	require.Equal(t, EarlyStopped, res.Reason)
	require.Equal(t, res.BestStep+20, res.Steps)
	require.Equal(t, kept[res.BestStep], e.Params())
	require.InDelta(t, inverse(t, covariance(t, cfg.Validation, 0))[0], precision(e)[0], 0.15)
	require.Less(t, res.Best, res.Validation)
	steps, values := res.Curve.Column(ColumnValidation)
	require.Len(t, values, res.Steps/5)
	require.InDelta(t, res.Best, slices.Min(values), 0)
	require.Equal(t, float64(5), steps[0])
}

// TestValidationLeavesNoTrace: a run with validation trains as one without, replay buffer and all.
func TestValidationLeavesNoTrace(t *testing.T) {
	rt := open(t, 0)
	var params [][]float32
	for _, set := range []data.Dataset{nil, gaussian(t, 130, 5, 1, 1)} {
		e := energy(t, rt, mlp(t, 2, 8), ebm.Options{})
		cfg := Config{Steps: 12, Batch: 32, Validation: set, ValidateEvery: 5}
		res, err := Run(context.Background(), e, newLoss(t, "pcd:k=3:buffer=64", &Chains{Target: e}), gaussian(t, 100, 1, 1, 1), cfg)
		require.NoError(t, err)
		require.Equal(t, set == nil, IsAbsent(res.Validation))
		params = append(params, slices.Clone(e.Params()))
	}
	require.Equal(t, params[0], params[1])
}

// TestValidationIsTheMean: over batches of unlike sizes as over all of the data at once.
func TestValidationIsTheMean(t *testing.T) {
	rt := open(t, 0)
	var values []float64
	for _, batch := range []int{50, 20} {
		res, err := Run(context.Background(), energy(t, rt, mlp(t, 2, 4), ebm.Options{}), newLoss(t, "sm", nil), gaussian(t, 50, 1, 1, 1), Config{
			Steps: 1, Batch: batch, LR: parse(t, "0"), Validation: gaussian(t, 50, 2, 1, 1), ValidateEvery: 1,
		})
		require.NoError(t, err)
		values = append(values, res.Validation)
	}
	require.InEpsilon(t, values[0], values[1], 1e-5)
}

// TestValidationRepeats: parameters that stay have the same validation loss every time, whatever the loss draws, and not the loss of a step.
func TestValidationRepeats(t *testing.T) {
	rt := open(t, 0)
	for _, text := range []string{"dsm:sigma=0.3", "ssm", "nce", "energy-discrepancy:m=2"} {
		res, err := Run(context.Background(), energy(t, rt, mlp(t, 2, 4), ebm.Options{}), newLoss(t, text, nil), gaussian(t, 50, 1, 1, 1), Config{
			Steps: 3, Batch: 20, LR: parse(t, "0"), OwnLR: parse(t, "0"), Validation: gaussian(t, 50, 2, 1, 1), ValidateEvery: 1,
		})
		require.NoError(t, err, text)
		_, values := res.Curve.Column(ColumnValidation)
		require.Len(t, values, 3)
		require.Equal(t, values[0], values[1], text)
		require.Equal(t, values[0], values[2], text)
		_, steps := res.Curve.Column(ColumnLoss)
		require.NotEqual(t, steps[0], steps[1], text)
	}
}

// TestWorkers: the number of workers changes no bit.
func TestWorkers(t *testing.T) {
	for _, text := range []string{"dsm:sigma=0.3", "ssm", "sm", "cd:k=3", "pcd:k=3:buffer=3000", "nce", "energy-discrepancy:m=4"} {
		var first []float32
		for _, workers := range []int{1, 2, 3} {
			e := energy(t, open(t, workers), mlp(t, 2, 64, 64), ebm.Options{})
			chains := &Chains{Target: e, Workers: workers}
			_, err := Run(context.Background(), e, newLoss(t, text, chains), dataset(t, "two-moons:n=2000", 1), Config{Steps: 3, Batch: 1500, ClipNorm: 0.1, Seed: 3})
			require.NoError(t, err)
			if first == nil {
				first = slices.Clone(e.Params())
			}
			require.Equal(t, first, e.Params(), "%s, %d workers", text, workers)
		}
	}
}

// TestChains: fused chains move as a run of the sampler does, and restart their schedules at every call.
func TestChains(t *testing.T) {
	e := energy(t, open(t, 2), mlp(t, 2, 16), ebm.Options{})
	kernel := func() samplers.Kernel { return &samplers.Langevin{StepSize: parse(t, "linear:0.2,0.01,8")} }
	start := make([]float32, 20)
	rng.NewKey(1).Normals(start, 0, 0)
	c := &Chains{Target: e, Kernel: kernel()}
	for i := range 2 {
		got, err := c.Draw(context.Background(), slices.Clone(start), 10, 2, 8, rng.NewKey(9))
		require.NoError(t, err)
		want, err := samplers.Run(context.Background(), plainTarget{e}, kernel(), samplers.Config{Steps: 8, Init: start, Key: rng.NewKey(9)})
		require.NoError(t, err)
		require.Equal(t, want.Final, got, "call %d", i)
	}
	info := c.Take()
	require.Equal(t, 160, info.Moves)
	require.Zero(t, c.Take().Moves)
	still, err := c.Draw(context.Background(), start, 10, 2, 0, rng.NewKey(9))
	require.NoError(t, err)
	require.Equal(t, start, still)
}

// TestChainsHold: what is held stays, and the rest moves as chains of the conditional energy do.
func TestChainsHold(t *testing.T) {
	e := energy(t, open(t, 2), mlp(t, 3, 16), ebm.Options{})
	start := make([]float32, 30)
	rng.NewKey(1).Normals(start, 0, 0)
	free := make([]float32, 0, 20)
	for i := range 10 {
		free = append(free, start[3*i:3*i+2]...)
	}
	c := &Chains{Target: e, Hold: []float32{0.25}}
	got, err := c.Draw(context.Background(), slices.Clone(start), 10, 3, 8, rng.NewKey(9))
	require.NoError(t, err)
	want, err := samplers.Run(context.Background(), samplers.Hold(e, c.Hold), &samplers.Langevin{}, samplers.Config{Steps: 8, Init: free, Key: rng.NewKey(9)})
	require.NoError(t, err)
	for i := range 10 {
		require.Equal(t, append(slices.Clone(want.Final[2*i:2*i+2]), 0.25), got[3*i:3*i+3])
	}
	c.Hold = make([]float32, 3)
	_, err = c.Draw(context.Background(), start, 10, 3, 8, rng.NewKey(9))
	require.ErrorContains(t, err, "cannot hold 3")
}

// TestChainsHeld: each chain keeps its own last value, and moves as chains of the conditional energy do.
func TestChainsHeld(t *testing.T) {
	e := energy(t, open(t, 2), mlp(t, 3, 16), ebm.Options{})
	start := make([]float32, 30)
	rng.NewKey(1).Normals(start, 0, 0)
	tails := []float32{0.25, -1}
	free := [2][]float32{}
	for i := range 10 {
		start[3*i+2] = tails[i%2]
		free[i%2] = append(free[i%2], start[3*i:3*i+2]...)
	}
	c := &Chains{Target: e, Held: 1}
	got, err := c.Draw(context.Background(), slices.Clone(start), 10, 3, 8, rng.NewKey(9))
	require.NoError(t, err)
	for g, key := range []rng.Key{rng.NewKey(9), rng.NewKey(9).Derive(1)} {
		want, err := samplers.Run(context.Background(), samplers.Hold(e, tails[g:g+1]), &samplers.Langevin{}, samplers.Config{Steps: 8, Init: free[g], Key: key})
		require.NoError(t, err)
		for i := range 5 {
			row := 2*i + g
			require.Equal(t, append(slices.Clone(want.Final[2*i:2*i+2]), tails[g]), got[3*row:3*row+3])
		}
	}
}

// plainTarget hides the fused loop.
type plainTarget struct{ e *ebm.Energy }

func (p plainTarget) Dim() int { return p.e.Dim() }
func (p plainTarget) EnergyGradient(ctx context.Context, x []float32, n int, e, g []float32) error {
	return p.e.EnergyGradient(ctx, x, n, e, g)
}

func TestProgress(t *testing.T) {
	e := energy(t, open(t, 0), mlp(t, 2, 8), ebm.Options{})
	var seen []Progress
	res, err := Run(context.Background(), e, newLoss(t, "cd:k=2", &Chains{Target: e}), gaussian(t, 100, 1, 1, 1), Config{
		Epochs: 3, Batch: 30, LR: parse(t, "linear:0.01,0,10"),
		OnStep: func(p *Progress) error {
			c := *p
			c.Terms = slices.Clone(p.Terms)
			seen = append(seen, c)
			if p.Step == 8 {
				return ErrStop
			}
			return nil
		},
	})
	require.NoError(t, err)
	require.Equal(t, Told, res.Reason)
	require.Len(t, seen, 8)
	last := seen[7]
	require.Equal(t, 12, last.Total)
	require.Equal(t, 2.0, last.Epoch)
	require.InDelta(t, 0.003, last.LR, 1e-12)
	require.Positive(t, last.GradNorm)
	require.Positive(t, last.Rate)
	require.Positive(t, last.ETA)
	require.Equal(t, 2*10, last.Chains.Moves, "the short batch")
	pos, _ := last.Term("pos_energy")
	neg, _ := last.Term("neg_energy")
	gap, ok := last.Term("energy_gap")
	require.True(t, ok)
	require.InDelta(t, neg-pos, gap, 1e-12)
	require.InDelta(t, pos-neg, last.Loss, 1e-6)

	boom := errors.New("boom")
	_, err = Run(context.Background(), e, newLoss(t, "dsm", nil), gaussian(t, 100, 1, 1, 1), Config{Steps: 2, OnStep: func(*Progress) error { return boom }})
	require.ErrorIs(t, err, boom)
}

func TestRefuses(t *testing.T) {
	e := energy(t, open(t, 0), quadratic(t, 2), ebm.Options{})
	ds := gaussian(t, 100, 1, 1, 1)
	dir := t.TempDir()
	for says, cfg := range map[string]Config{
		"give a positive number of one":    {},
		"0 steps and -1 epochs":            {Epochs: -1},
		"negative count":                   {Steps: 1, Batch: -1},
		"EMA decay 1":                      {Steps: 1, EMA: 1},
		"clip norm -1":                     {Steps: 1, ClipNorm: -1},
		"early stopping needs":             {Steps: 1, Patience: 1},
		"resuming needs":                   {Steps: 1, Resume: true},
		"must end in .csv or .jsonl":       {Steps: 1, Log: dir + "/x.txt"},
		"does not exist; create it first":  {Steps: 1, Log: dir + "/none/x.csv"},
		"checkpoint folder " + dir + "/no": {Steps: 1, Checkpoint: dir + "/no/no"},
		"TensorBoard folder":               {Steps: 1, TensorBoard: dir + "/no/no"},
		"optim: ":                          {Steps: 1, Optimizer: "adamm"},
		"validation data have items":       {Steps: 1, Validation: gaussian(t, 5, 1, 1)},
		"learning rate is -1 at step 0":    {Steps: 1, LR: schedule.Constant{Value: -1}},
		"data: a batch of 256":             {Steps: 1, DropLast: true},
	} {
		_, err := Run(context.Background(), e, newLoss(t, "sm", nil), ds, cfg)
		require.ErrorContains(t, err, says, fmt.Sprint(cfg))
		require.Regexp(t, "^train: ", err.Error())
	}
	_, err := Run(context.Background(), e, newLoss(t, "sm", nil), gaussian(t, 10, 1, 1, 1, 1), Config{Steps: 1})
	require.ErrorContains(t, err, "the energy takes 2")
}
