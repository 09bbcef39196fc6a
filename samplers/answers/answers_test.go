package answers_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/diag"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

var background = context.Background()

// open puts a builtin into ONNX Runtime.
func open(t testing.TB, spec string) *ebm.Energy {
	t.Helper()
	a, err := models.Builtin(spec)
	require.NoError(t, err)
	return openGraph(t, a.Graph)
}

func openGraph(t testing.TB, g *graphs.Graph) *ebm.Energy {
	t.Helper()
	rt, err := runtime.Open(runtime.Options{})
	if err != nil {
		t.Skipf("needs ONNX Runtime: %v", err)
	}
	e, err := ebm.New(rt, g, ebm.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	return e
}

func run(t testing.TB, target samplers.Target, k samplers.Kernel, cfg samplers.Config) *samplers.Result {
	t.Helper()
	res, err := samplers.Run(background, target, k, cfg)
	require.NoError(t, err)
	return res
}

// statistic is a function of the state whose mean is known.
type statistic struct {
	name string
	want float64
	of   func(x []float32) float64
}

// estimate is the mean of a statistic over all draws, its Monte Carlo error
// and the effective size for it.
type estimate struct{ mean, mcse, ess float64 }

func (s statistic) estimate(r *samplers.Result) estimate {
	v := make([]float64, r.N*r.Kept)
	sum := 0.0
	for i := range v {
		v[i] = s.of(r.Draws[i*r.Dim : (i+1)*r.Dim])
		sum += v[i]
	}
	return estimate{sum / float64(len(v)), diag.MCSEMean(v, r.N), diag.ESSMean(v, r.N)}
}

// known is an energy, how to sample it, and what must come out.
type known struct {
	name, spec string
	kernel     func() samplers.Kernel
	cfg        samplers.Config
	seeds      int
	ess        float64 // every seed's, of every statistic, at least
	statistics []statistic
}

func coordinate(j int) func(x []float32) float64 {
	return func(x []float32) float64 { return float64(x[j]) }
}

func square(j int, mean float64) func(x []float32) float64 {
	return func(x []float32) float64 { return (float64(x[j]) - mean) * (float64(x[j]) - mean) }
}

// effect is θᵢ of the non-centred eight schools.
func effect(i int) func(x []float32) float64 {
	return func(x []float32) float64 { return float64(x[0]) + math.Exp(float64(x[1]))*float64(x[2+i]) }
}

func nuts(target float64) func() samplers.Kernel {
	return func() samplers.Kernel {
		return &samplers.NUTS{Hamiltonian: samplers.Hamiltonian{TargetAccept: target}}
	}
}

// schools are the means by quadrature.
func schools() []statistic {
	s := []statistic{
		{"mu", 4.39682, coordinate(0)}, {"log tau", 0.80214, coordinate(1)},
		{"tau", 3.59771, func(x []float32) float64 { return math.Exp(float64(x[1])) }},
	}
	for i, want := range []float64{6.2119, 4.9402, 3.9270, 4.7571, 3.6155, 4.0426, 6.2967, 4.8543} {
		s = append(s, statistic{"theta", want, effect(i)})
	}
	return s
}

// check runs the seeds: single estimates within 3 errors but for what chance
// allows, and z-scores over all seeds of mean 0 and spread 1.
func (k known) check(t *testing.T) {
	target := open(t, k.spec)
	z := make([][]float64, len(k.statistics))
	for seed := range k.seeds {
		cfg := k.cfg
		cfg.Seed, cfg.KeepDraws = uint64(seed), true
		r := run(t, target, k.kernel(), cfg)
		for i, s := range k.statistics {
			e := s.estimate(r)
			require.GreaterOrEqual(t, e.ess, k.ess, "%s, seed %d: effective draws for %s", k.name, seed, s.name)
			z[i] = append(z[i], (e.mean-s.want)/e.mcse)
		}
	}
	for i, s := range k.statistics {
		sum, squares, beyond := 0.0, 0.0, 0
		for _, v := range z[i] {
			sum += v
			squares += v * v
			if math.Abs(v) > 3 {
				beyond++
			}
		}
		n := float64(k.seeds)
		t.Logf("%s %s: mean z %.2f, mean z² %.2f, %d of %d beyond 3", k.name, s.name, sum/math.Sqrt(n), squares/n, beyond, k.seeds)
		// Odds of 6e-5 each; χ² in the normal approximation of its cube root (Wilson & Hilferty 1931).
		require.Less(t, math.Abs(sum)/math.Sqrt(n), 4.0, "%s: %s is biased", k.name, s.name)
		spread := (math.Cbrt(squares/n) - 1 + 2/(9*n)) / math.Sqrt(2/(9*n))
		require.Less(t, spread, 4.0, "%s: %s scatters more than its error says", k.name, s.name)
	}
}

// straightFunnel: x₁ ~ N(0, 9), and of what was the funnel, x = z·exp(x₁/2), logarithms, since its own moments are too large for averages:
// log|z| has mean −(γ+log 2)/2 and variance π²/8.
func straightFunnel() []statistic {
	const mean = -(0.5772156649015329 + math.Ln2) / 2
	logarithm := func(x []float32) float64 { return math.Log(math.Abs(float64(x[4]))) + float64(x[0])/2 }
	return []statistic{
		{"x₁", 0, coordinate(0)}, {"x₁²", 9, square(0, 0)}, {"z₂", 0, coordinate(1)}, {"z₁₀²", 1, square(9, 0)},
		{"log|x₅|", mean, logarithm},
		{"log²|x₅|", math.Pi*math.Pi/8 + 9.0/4, func(x []float32) float64 { d := logarithm(x) - mean; return d * d }},
	}
}

var quick = []known{
	{"funnel, non-centred", "builtin:funnel-noncentered:dim=10", nuts(0), samplers.Config{Chains: 8, Steps: 1100, BurnIn: 300}, 4, 2000, straightFunnel()},
	{"eight schools, non-centred", "builtin:eight-schools-noncentered", nuts(0.9), samplers.Config{Chains: 8, Steps: 1300, BurnIn: 300}, 4, 2000, schools()},
	{"bent Gaussian", "builtin:banana", nuts(0.98), samplers.Config{Chains: 64, Steps: 1400, BurnIn: 400}, 2, 2000,
		[]statistic{{"x₀", 0, coordinate(0)}, {"x₁", 0, coordinate(1)}, {"x₀²", 100, square(0, 0)}}},
}

func TestKnownAnswers(t *testing.T) {
	for _, k := range quick {
		t.Run(k.name, k.check)
	}
}

// The centred posteriors must not pass: the sampler reports divergences, or
// diagnostics fail.
func TestCentredIsReported(t *testing.T) {
	for _, spec := range []string{"builtin:eight-schools", "builtin:funnel:dim=10"} {
		target := open(t, spec)
		r := run(t, target, nuts(0)(), samplers.Config{Chains: 4, Steps: 1400, BurnIn: 400, KeepDraws: true, KeepStats: true})
		require.Positive(t, r.Sampling.Divergences, spec)
		summary, err := diag.Summarize(background, diag.Draws{X: r.Draws, Chains: 4, Draws: 1000, Dim: r.Dim}, diag.Options{})
		require.NoError(t, err)
		bfmi, err := diag.EBFMI(r.Stats.Energy, 4)
		require.NoError(t, err)
		verdict := diag.Judge(diag.Evidence{Summary: summary, Sampler: "nuts", Divergences: &r.Sampling.Divergences, EBFMI: bfmi}, diag.Limits{})
		require.False(t, verdict.Passed(), spec)
	}
}

// A double well tilted by 0.5x has its mass on the left and on the right in a
// proportion that quadrature gives; chains that all start on the right find it.
func TestTemperingFillsModesInProportion(t *testing.T) {
	target := open(t, "builtin:double-well:dim=1:h=6+0.25*builtin:gaussian:dim=1:mean=-1")
	left, total := 0.0, 0.0
	for i := range 80000 {
		x := -4 + 1e-4*(float64(i)+0.5)
		w := math.Exp(-6*(x*x-1)*(x*x-1) - 0.125*(x+1)*(x+1))
		total += w
		if x < 0 {
			left += w
		}
	}
	want := left / total
	init := make([]float32, 512)
	for i := range init {
		init[i] = 1
	}
	k := &samplers.ParallelTempering{StepSize: schedule.Constant{Value: 0.02}, Temperatures: []float64{1, 2, 4, 8}}
	r := run(t, target, k, samplers.Config{Steps: 700, BurnIn: 200, Init: init, KeepDraws: true})
	e := statistic{"left", want, func(x []float32) float64 {
		if x[0] < 0 {
			return 1
		}
		return 0
	}}.estimate(r)
	require.Greater(t, e.ess, 500.0)
	require.InDelta(t, want, e.mean, 4.5*e.mcse)
	require.Greater(t, math.Abs(want-0.5), 9*e.mcse, "the proportion is told from a half")
}
