//go:build slow

package answers_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/diag"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// Twenty seeds, and more samplers.
func TestKnownAnswersOfManySeeds(t *testing.T) {
	for _, k := range quick {
		k.seeds = 20
		t.Run(k.name, k.check)
	}
	for _, k := range []known{
		{"eight schools by hmc", "builtin:eight-schools-noncentered", func() samplers.Kernel { return &samplers.HMC{} },
			samplers.Config{Chains: 8, Steps: 2500, BurnIn: 500}, 20, 2000, schools()},
		{"Gaussian by mala", "builtin:gaussian:dim=3:mean=1,2,3:cov=1,0.25,4", func() samplers.Kernel { return &samplers.MALA{TargetAccept: 0.57} },
			samplers.Config{Chains: 64, Steps: 2500, BurnIn: 500}, 20, 2000,
			[]statistic{{"x₀", 1, coordinate(0)}, {"x₂", 3, coordinate(2)}, {"var x₁", 0.25, square(1, 2)}, {"var x₂", 4, square(2, 3)}}},
		{"Gaussian by rwm", "builtin:gaussian:dim=2", func() samplers.Kernel { return &samplers.RWM{TargetAccept: 0.3} },
			samplers.Config{Chains: 64, Steps: 2500, BurnIn: 500}, 20, 2000,
			[]statistic{{"x₀", 0, coordinate(0)}, {"var x₁", 1, square(1, 0)}}},
	} {
		t.Run(k.name, k.check)
	}
}

// Nearly every seed comes within 0.1.
func TestManyWellLogZ(t *testing.T) {
	const want = 164.695675
	target := open(t, "builtin:many-well:dim=32")
	var off []float64
	for seed := range uint64(10) {
		z, err := samplers.EstimateLogZ(background, target, samplers.LogZConfig{Seed: seed})
		require.NoError(t, err)
		t.Logf("seed %d: %.4f ± %.4f, %d temperatures", seed, z.LogZ, z.MCSE, len(z.Betas)-1)
		off = append(off, math.Abs(z.LogZ-want))
	}
	slices.Sort(off)
	t.Logf("median error %.4f, largest %.4f", (off[4]+off[5])/2, off[9])
	require.Less(t, off[8], 0.1)
}

// Errors of log Z are told: z-scores over 20 seeds, by both methods, of targets wide, narrow, far off, with modes apart, and of a funnel. The
// spread of 16 islands has 15 degrees of freedom: beyond 6 lie 2 in 10⁵ of them.
func TestLogZErrors(t *testing.T) {
	for _, spec := range []string{
		"builtin:gaussian:dim=20:cov=10000", "builtin:gaussian:dim=20:cov=0.0001", "builtin:gaussian:mean=30:dim=10", "builtin:double-well",
		"builtin:gaussian-mixture", "builtin:funnel:dim=10",
	} {
		a, err := models.Builtin(spec)
		require.NoError(t, err)
		target := open(t, spec)
		for _, method := range samplers.LogZMethods() {
			t.Run(method+" "+spec, func(t *testing.T) {
				var sum, squares, worst, mcse float64
				const seeds = 20
				for seed := range uint64(seeds) {
					got, err := samplers.EstimateLogZ(background, target, samplers.LogZConfig{Method: method, Seed: seed, Chains: 2048})
					require.NoError(t, err)
					z := (got.LogZ - a.LogZ) / got.MCSE
					sum, squares, worst, mcse = sum+z, squares+z*z, max(worst, math.Abs(z)), mcse+got.MCSE/seeds
				}
				t.Logf("z, summed over √20: %.2f, mean z² %.2f, largest %.1f, mean error %.3f", sum/math.Sqrt(seeds), squares/seeds, worst, mcse)
				require.Less(t, worst, 6.0)
				require.Less(t, math.Abs(sum)/math.Sqrt(seeds), 5.0)
			})
		}
	}
}

// efficiency is one row of the table of effective draws.
type efficiency struct {
	name  string
	graph func(t *testing.T) *graphs.Graph
	spec  string
	floor float64 // what a good sampler of this kind gives
}

// TestEffectiveDraws prints the table of docs/samplers.md: the smallest bulk ESS
// over coordinates for 1000 gradients, 4 chains of 1000 draws after 400
// iterations of warm-up from N(0, I), over ten seeds.
func TestEffectiveDraws(t *testing.T) {
	scales := make([]string, 100)
	for i := range scales {
		scales[i] = strconv.FormatFloat(math.Pow(10, -4+4*float64(i)/99), 'g', 8, 64)
	}
	for _, c := range []efficiency{
		{name: "N(0, I), d = 100", spec: "builtin:gaussian:dim=100", floor: 215},
		{name: "diagonal, sd 0.01 to 1, d = 100", spec: "builtin:gaussian:dim=100:cov=" + strings.Join(scales, ","), floor: 208},
		{name: "AR(1), rho = 0.9, d = 50", graph: autoregression, floor: 9.1},
		{name: "eight schools, non-centred", spec: "builtin:eight-schools-noncentered", floor: 69},
		{name: "banana, 0.03", spec: "builtin:banana", floor: 9},
	} {
		var e samplers.Target
		if c.graph != nil {
			e = openGraph(t, c.graph(t))
		} else {
			e = open(t, c.spec)
		}
		var after, all []float64
		for seed := range uint64(10) {
			r := run(t, e, &samplers.NUTS{}, samplers.Config{Chains: 4, Steps: 1400, BurnIn: 400, Seed: seed, KeepDraws: true})
			s, err := diag.Summarize(background, diag.Draws{X: r.Draws, Chains: 4, Draws: 1000, Dim: r.Dim}, diag.Options{})
			require.NoError(t, err)
			least := slices.Min(s.ESSBulk)
			after = append(after, 1000*least/float64(r.Sampling.Gradients))
			all = append(all, 1000*least/float64(r.Sampling.Gradients+r.Warmup.Gradients))
		}
		slices.Sort(after)
		slices.Sort(all)
		median := (after[4] + after[5]) / 2
		fmt.Printf("| %s | %.3g (%.3g) | %.3g–%.3g |\n", c.name, median, (all[4]+all[5])/2, after[0], after[9])
		require.GreaterOrEqual(t, median, c.floor, c.name)
	}
}

// autoregression is x₁ ~ N(0,1), xᵢ ~ N(ρxᵢ₋₁, 1−ρ²), ρ = 0.9, d = 50.
func autoregression(t *testing.T) *graphs.Graph {
	const d, rho = 50, 0.9
	b := graphs.NewBuilder("ar1")
	x := b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(d)})
	first := b.Op("Slice", nil, x, b.Ints(0), b.Ints(1), b.Ints(1))
	before := b.Op("Slice", nil, x, b.Ints(0), b.Ints(d-1), b.Ints(1))
	now := b.Op("Slice", nil, x, b.Ints(1), b.Ints(d), b.Ints(1))
	r := b.Op("Sub", nil, now, b.Op("Mul", nil, before, b.Float(rho)))
	half := func(v *graphs.Value, scale float64) *graphs.Value {
		sq := b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, v, v), b.Ints(1))
		return b.Op("Mul", nil, sq, b.Float(scale))
	}
	g, err := b.Graph(graphs.Output{Name: "energy", Value: b.Op("Add", nil, half(first, 0.5), half(r, 0.5/(1-rho*rho)))})
	require.NoError(t, err)
	return g
}

// TestMillionSteps runs 1000 chains through a million Langevin steps; resident
// memory at the end is within 5 % of that after ten thousand, and the last tenth
// is as fast as the first.
func TestMillionSteps(t *testing.T) {
	const steps, early = 1_000_000, 10_000
	target := open(t, "builtin:double-well:dim=2")
	memory, at := map[int]int{}, map[int]time.Time{}
	// Looking every 10⁴ steps leaves the fused loops whole in between.
	cfg := samplers.Config{Chains: 1000, Steps: steps, Every: early}
	cfg.Checkpoint = func(r *samplers.Result) error {
		memory[r.Steps], at[r.Steps] = resident(t), time.Now()
		return nil
	}
	begin := time.Now()
	r := run(t, target, &samplers.Langevin{StepSize: schedule.Constant{Value: 0.01}}, cfg)
	require.Equal(t, steps, r.Steps)
	first := at[steps/10].Sub(at[early]).Seconds() / (steps/10 - early)
	last := at[steps].Sub(at[steps-steps/10]).Seconds() / (steps / 10)
	fmt.Printf("resident %d KiB after 10^4 steps, %d KiB after 10^6; %.1f µs a step at first, %.1f at last; %.0f s in all\n",
		memory[early], memory[steps], 1e6*first, 1e6*last, time.Since(begin).Seconds())
	require.Less(t, float64(memory[steps]), 1.05*float64(memory[early]))
}

// resident is the resident memory of this process in KiB.
func resident(t *testing.T) int {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("resident memory is read from /proc")
	}
	for line := range bytes.Lines(raw) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			n, err := strconv.Atoi(strings.Fields(string(rest))[0])
			require.NoError(t, err)
			return n
		}
	}
	t.Skip("resident memory is not told")
	return 0
}
