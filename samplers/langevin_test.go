package samplers_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/samplertest"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

func constant(v float64) schedule.Schedule { return schedule.Constant{Value: v} }

var background = context.Background()

// zWithin checks that the mean of independent estimates lies within 4.5
// standard errors of what it should be (odds of failing: 7e-6).
func zWithin(t *testing.T, want float64, estimates []float64, what string) {
	t.Helper()
	mean, sd := meanSD(estimates)
	z := (mean - want) / (sd / math.Sqrt(float64(len(estimates))))
	// Student's t with 19 degrees of freedom reaches 6 with odds 9e-6.
	require.Less(t, math.Abs(z), 6.0, "%s: %v ± %v, want %v", what, mean, sd/math.Sqrt(float64(len(estimates))), want)
}

func meanSD(v []float64) (mean, sd float64) {
	for _, x := range v {
		mean += x
	}
	mean /= float64(len(v))
	for _, x := range v {
		sd += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(sd / float64(len(v)-1))
}

// ULA on N(0,1) is the autoregression x ← (1−η)x + √(2η)ε: variance
// 1/(1−η/2), lag-1 correlation 1−η; at temperature T the variance is T times that.
func TestULAStationaryLaw(t *testing.T) {
	const eta, temp = 0.3, 2.0
	var variances, lags []float64
	for seed := range uint64(20) {
		const n = 4000
		sd := math.Sqrt(temp / (1 - eta/2))
		init := make([]float32, n)
		rng.NewKey(seed).Sub("exact").Normals(init, 0, 0)
		for i := range init {
			init[i] *= float32(sd)
		}
		res, err := samplers.Run(background, samplertest.StandardNormal(1),
			&samplers.Langevin{StepSize: constant(eta), Temperature: constant(temp)},
			samplers.Config{Steps: 8, Seed: seed, Init: init, KeepDraws: true})
		require.NoError(t, err)
		var v, c float64
		for i := range n {
			a, b := float64(res.Draws[i*8+6]), float64(res.Draws[i*8+7])
			v += b * b / n
			c += a * b / n
		}
		variances = append(variances, v)
		lags = append(lags, c/(temp/(1-eta/2)))
	}
	zWithin(t, temp/(1-eta/2), variances, "variance")
	zWithin(t, 1-eta, lags, "lag-1 correlation")
}

func TestULAConvergesFromAnywhere(t *testing.T) {
	target := samplertest.Gaussian{Mean: []float64{1, -2}, Std: []float64{0.5, 2}}
	res, err := samplers.Run(background, target, &samplers.Langevin{StepSize: constant(0.05)},
		samplers.Config{Chains: 20000, Steps: 400, Seed: 3})
	require.NoError(t, err)
	for j := range 2 {
		sum, sq := 0.0, 0.0
		for c := range res.N {
			v := float64(res.Final[c*2+j])
			sum += v / float64(res.N)
			sq += v * v / float64(res.N)
		}
		s2 := target.Std[j] * target.Std[j]
		want := s2 / (1 - 0.05/(2*s2))
		// After 400 steps the start has decayed by (1−.05/4)^400 = 0.0065.
		start := math.Pow(1-0.05/s2, 400)
		mean := target.Mean[j] * (1 - start)
		variance := want + (1-want)*start*start
		require.InDelta(t, mean, sum, 5*math.Sqrt(want/float64(res.N)))
		require.InDelta(t, variance, sq-sum*sum, 5*want*math.Sqrt(2/float64(res.N)))
	}
}

func run(t *testing.T, target samplers.Target, k samplers.Kernel, cfg samplers.Config) *samplers.Result {
	t.Helper()
	res, err := samplers.Run(background, target, k, cfg)
	require.NoError(t, err)
	return res
}

// The bytes do not depend on workers, on who runs the loop, nor on who looks.
func TestLangevinBytes(t *testing.T) {
	well := samplertest.DoubleWell{D: 5, H: 1, B: 1}
	kernel := func() samplers.Kernel {
		return &samplers.Langevin{StepSize: schedule.Linear{From: 0.02, To: 0.001, Steps: 60}, Temperature: schedule.Exponential{From: 2, Rate: 0.99}}
	}
	base := samplers.Config{Chains: 4001, Steps: 70, BurnIn: 10, Thin: 7, Seed: 5, KeepDraws: true, KeepEnergies: true, Workers: 1}
	want := run(t, well, kernel(), base)

	cfg := base
	cfg.Workers = 3
	require.Equal(t, want.Draws, run(t, well, kernel(), cfg).Draws)

	fused := &samplertest.Fused{Target: well}
	got := run(t, fused, kernel(), base)
	require.Equal(t, want.Draws, got.Draws)
	require.Equal(t, want.Energies, got.Energies)
	require.Equal(t, want.Warmup, got.Warmup)
	require.Equal(t, want.Sampling, got.Sampling)
	require.Equal(t, 70, fused.Steps)
	require.Less(t, fused.Calls, 15)

	cfg = base
	steps := 0
	cfg.OnStep = func(s *samplers.State) error { steps++; require.Equal(t, steps, s.Step); return nil }
	require.Equal(t, want.Draws, run(t, fused, kernel(), cfg).Draws)
	require.Equal(t, 70, steps)

	cfg = base
	cfg.KeepDraws, cfg.KeepEnergies = false, false
	require.Equal(t, want.Final, run(t, fused, kernel(), cfg).Final)
}

// Ten percent of a box would be lost in a NaN hole; chains stop at its rim,
// fused or not, and each refused step is counted.
func TestLangevinNonFinite(t *testing.T) {
	hole := samplertest.Hole{Target: samplertest.StandardNormal(3), Above: 1.2}
	cfg := samplers.Config{Chains: 300, Steps: 100, Seed: 2, KeepDraws: true, Thin: 50}
	k := func() samplers.Kernel { return &samplers.Langevin{StepSize: constant(0.05)} }
	want := run(t, hole, k(), cfg)
	require.Positive(t, want.Sampling.RejectedNonFinite)
	stuck := 0
	for c := range want.N {
		row := want.Final[c*3 : c*3+3]
		require.False(t, math.IsNaN(float64(row[0]+row[1]+row[2])))
		if row[0] > 1.2 {
			stuck++
		}
	}
	require.Positive(t, stuck)
	require.InDelta(t, want.Sampling.Accepted, float64(want.Sampling.Moves-want.Sampling.RejectedNonFinite), 1e-9)

	got := run(t, &samplertest.Fused{Target: hole}, k(), cfg)
	require.Equal(t, want.Draws, got.Draws)
	require.Equal(t, want.Sampling, got.Sampling)
	require.Equal(t, want.Acceptance, got.Acceptance)

	_, err := samplers.Run(background, hole, k(), samplers.Config{Steps: 1, Init: []float32{0, 0, 0, 0, float32(math.NaN()), 0}})
	require.ErrorContains(t, err, "chain 1 is not finite")
}

func TestDrawCounts(t *testing.T) {
	target := samplertest.StandardNormal(2)
	for _, c := range []struct{ steps, burn, thin, want int }{{10, 0, 0, 10}, {10, 3, 2, 3}, {10, 4, 2, 3}, {10, 10, 1, 0}, {10, 0, 11, 0}, {0, 0, 1, 0}} {
		cfg := samplers.Config{Chains: 3, Steps: c.steps, BurnIn: c.burn, Thin: c.thin, KeepDraws: true, KeepEnergies: true, KeepStats: true}
		res := run(t, target, &samplers.Langevin{}, cfg)
		require.Equal(t, c.want, res.Kept, c)
		require.Len(t, res.Draws, 3*c.want*2)
		require.Len(t, res.Energies, 3*c.want)
		require.Len(t, res.Acceptance, c.steps)
		cfg.WithStart = true
		with := run(t, target, &samplers.Langevin{}, cfg)
		require.Equal(t, c.want+1, with.Kept)
		for ch := range 3 {
			require.Equal(t, res.Draws[ch*c.want*2:(ch+1)*c.want*2], with.Draws[(ch*(c.want+1)+1)*2:(ch+1)*(c.want+1)*2])
			first := with.Draws[ch*(c.want+1)*2:][:2]
			require.InDelta(t, (first[0]*first[0]+first[1]*first[1])/2, with.Energies[ch*(c.want+1)], 1e-6)
		}
	}
}

func TestDrawsAreTheTrajectory(t *testing.T) {
	target := samplertest.StandardNormal(2)
	var trajectory [][]float32
	cfg := samplers.Config{Chains: 2, Steps: 9, Seed: 1}
	for s, err := range samplers.Steps(background, target, &samplers.Langevin{}, cfg) {
		require.NoError(t, err)
		trajectory = append(trajectory, append([]float32(nil), s.X...))
	}
	require.Len(t, trajectory, 9)
	cfg.BurnIn, cfg.Thin, cfg.KeepDraws = 2, 3, true
	res := run(t, target, &samplers.Langevin{}, cfg)
	require.Equal(t, 2, res.Kept)
	for i, at := range []int{4, 7} {
		for c := range 2 {
			require.Equal(t, trajectory[at][c*2:c*2+2], res.Draws[(c*2+i)*2:][:2])
		}
	}
	require.Equal(t, trajectory[8], res.Final)
}

// stopAfter cancels a context at the n-th evaluation.
type stopAfter struct {
	samplers.Target
	n      int
	cancel context.CancelFunc
}

func (s *stopAfter) EnergyGradient(ctx context.Context, x []float32, n int, e, g []float32) error {
	if s.n--; s.n == 0 {
		s.cancel()
	}
	return s.Target.EnergyGradient(ctx, x, n, e, g)
}

func TestCancelKeepsDrawsAndResumes(t *testing.T) {
	target := samplertest.DoubleWell{D: 2, H: 1, B: 1}
	cfg := samplers.Config{Chains: 5, Steps: 60, BurnIn: 10, Thin: 3, Seed: 4, KeepDraws: true, KeepEnergies: true, KeepStats: true, WithStart: true}
	want := run(t, target, &samplers.Langevin{}, cfg)
	for _, n := range []int{1, 2, 14, 15, 40} {
		for _, fused := range []bool{false, true} {
			ctx, cancel := context.WithCancel(background)
			var stopping samplers.Target = &stopAfter{target, n, cancel}
			if fused {
				stopping = &samplertest.Fused{Target: stopping}
			}
			part, err := samplers.Run(ctx, stopping, &samplers.Langevin{}, cfg)
			require.ErrorIs(t, err, context.Canceled)
			require.Len(t, part.Draws, 5*part.Kept*2)
			for c := range 5 {
				require.Equal(t, want.Draws[c*want.Kept*2:][:part.Kept*2], part.Draws[c*part.Kept*2:][:part.Kept*2])
			}
			data, err := part.MarshalBinary()
			require.NoError(t, err)
			var back samplers.Result
			require.NoError(t, back.UnmarshalBinary(data))
			again := cfg
			again.Resume = &back
			got := run(t, target, &samplers.Langevin{}, again)
			require.Equal(t, want.Draws, got.Draws)
			require.Equal(t, want.Energies, got.Energies)
			require.Equal(t, want.Stats, got.Stats)
			require.Equal(t, want.Acceptance, got.Acceptance)
			require.Equal(t, want.Warmup.Moves, got.Warmup.Moves)
			require.Equal(t, want.Sampling.Gradients, got.Sampling.Gradients)
		}
	}
}

func TestCheckpointBytes(t *testing.T) {
	target := samplertest.DoubleWell{D: 2, H: 1, B: 1}
	cfg := samplers.Config{Chains: 5, Steps: 50, BurnIn: 10, Seed: 4, KeepDraws: true}
	want := run(t, target, &samplers.Langevin{}, cfg)
	var saved [][]byte
	cfg.Every = 17
	cfg.Checkpoint = func(r *samplers.Result) error {
		data, err := r.MarshalBinary()
		saved = append(saved, data)
		return err
	}
	require.Equal(t, want.Draws, run(t, target, &samplers.Langevin{}, cfg).Draws)
	require.Len(t, saved, 2)
	for _, data := range saved {
		var r samplers.Result
		require.NoError(t, r.UnmarshalBinary(data))
		again := cfg
		again.Checkpoint, again.Resume = nil, &r
		require.Equal(t, want.Draws, run(t, target, &samplers.Langevin{}, again).Draws)
	}
	var r samplers.Result
	require.Error(t, r.UnmarshalBinary(saved[0][:len(saved[0])/2]))
}

func TestCallbackErrorsEndTheRun(t *testing.T) {
	enough := errors.New("enough")
	res, err := samplers.Run(background, samplertest.StandardNormal(1), &samplers.Langevin{}, samplers.Config{
		Steps: 10, KeepDraws: true, OnDraw: func(i int, _ *samplers.State) error {
			if i == 3 {
				return enough
			}
			return nil
		}})
	require.ErrorIs(t, err, enough)
	require.Equal(t, 4, res.Kept)
	require.Len(t, res.Draws, 4)
}

func TestBox(t *testing.T) {
	target := samplertest.StandardNormal(2)
	for _, mode := range []samplers.BoxMode{samplers.Clamp, samplers.Reflect} {
		res := run(t, target, &samplers.Langevin{StepSize: constant(0.3)}, samplers.Config{Chains: 500, Steps: 20, Box: samplers.Box{Lo: -0.5, Hi: 1, Mode: mode}, KeepDraws: true, WithStart: true})
		atWall := 0
		for _, v := range res.Draws {
			require.GreaterOrEqual(t, v, float32(-0.5))
			require.LessOrEqual(t, v, float32(1))
			if v == 1 {
				atWall++
			}
		}
		require.Equal(t, mode == samplers.Clamp, atWall > 100)
	}
	_, err := samplers.ParseBoxMode("bounce")
	require.ErrorContains(t, err, "clamp, reflect")
}

func TestConfigErrors(t *testing.T) {
	target := samplertest.StandardNormal(2)
	for want, cfg := range map[string]samplers.Config{
		"burn-in 5 is longer":       {Steps: 4, BurnIn: 5},
		"negative count":            {Steps: -1},
		"not whole states":          {Init: []float32{1}},
		"for 3 chains":              {Chains: 3, Init: []float32{1, 2}},
		"holds nothing":             {Box: samplers.Box{Lo: 2, Hi: 1}},
		"adapting for 5 iterations": {Steps: 10, Adapt: 5},
		"no initial states":         {Init: []float32{}},
	} {
		_, err := samplers.Run(background, target, &samplers.Langevin{}, cfg)
		require.ErrorContains(t, err, want)
	}
	_, err := samplers.Run(background, target, &samplers.Langevin{StepSize: schedule.Linear{From: 1, To: -1, Steps: 4}}, samplers.Config{Steps: 9})
	require.ErrorContains(t, err, "step size is -0.5 at step 3")
}

func TestAnnealedLangevinFindsTheDeepWell(t *testing.T) {
	// One well 3 lower than the other, behind a barrier of about 16: started in
	// the high one, plain Langevin stays there in the same number of steps.
	target := samplers.Func(1, func(x, g []float32) float32 {
		v := float64(x[0])
		if g != nil {
			g[0] = float32(64*v*(v*v-1) + 1.5)
		}
		return float32(16*(v*v-1)*(v*v-1) + 1.5*v)
	})
	init := make([]float32, 400)
	for i := range init {
		init[i] = 1
	}
	low := func(k samplers.Kernel) (n int) {
		res := run(t, target, k, samplers.Config{Steps: 3000, BurnIn: 2800, Init: init})
		for _, v := range res.Final {
			if v < 0 {
				n++
			}
		}
		return n
	}
	require.Zero(t, low(&samplers.Langevin{StepSize: constant(0.001)}))
	require.Greater(t, low(&samplers.AnnealedLangevin{Langevin: samplers.Langevin{StepSize: constant(0.001)}, Temperatures: []float64{10, 6, 4, 2, 1}}), 240)
}

func TestLangevinAllocatesNothing(t *testing.T) {
	for _, target := range []samplers.Target{samplertest.StandardNormal(16)} {
		next, stop := stepper(t, target, &samplers.Langevin{}, samplers.Config{Chains: 2000})
		require.Zero(t, testing.AllocsPerRun(20, next))
		stop()
	}
}

// stepper is one iteration of a started run, for allocation counts and benchmarks.
func stepper(t testing.TB, target samplers.Target, k samplers.Kernel, cfg samplers.Config) (next, stop func()) {
	step, stop, err := samplers.Stepper(target, k, cfg)
	require.NoError(t, err)
	return func() {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}, stop
}

func BenchmarkLangevin(b *testing.B) {
	next, stop := stepper(b, samplertest.StandardNormal(128), &samplers.Langevin{}, samplers.Config{Chains: 1024})
	defer stop()
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
}
