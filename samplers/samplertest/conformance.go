package samplertest

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers"
)

// TestKernel checks what every kernel promises: the same bytes for any number
// of workers, for any observer, resumed or not; an unharmed state after an
// error; rejection and count of what is not finite; states that stay in a box.
// What it does not check is the law; see samplers' own rank tests.
func TestKernel(t *testing.T, kernel func() samplers.Kernel) {
	t.Run("workers", func(t *testing.T) { sameBytesForWorkers(t, kernel) })
	t.Run("resume", func(t *testing.T) { sameBytesResumed(t, kernel) })
	t.Run("watched", func(t *testing.T) { sameBytesWatched(t, kernel) })
	t.Run("error", func(t *testing.T) { unharmedByError(t, kernel) })
	t.Run("not finite", func(t *testing.T) { rejectsNotFinite(t, kernel) })
	t.Run("box", func(t *testing.T) { staysInBox(t, kernel) })
}

func run(t *testing.T, target samplers.Target, k samplers.Kernel, cfg samplers.Config) *samplers.Result {
	t.Helper()
	res, err := samplers.Run(context.Background(), target, k, cfg)
	require.NoError(t, err)
	return res
}

func sameBytesForWorkers(t *testing.T, kernel func() samplers.Kernel) {
	cfg := samplers.Config{Chains: 2500, Steps: 5, BurnIn: 3, Seed: 7, Workers: 1, KeepStats: true}
	target := DoubleWell{D: 12, H: 1, B: 1}
	want := run(t, target, kernel(), cfg)
	cfg.Workers = 5
	got := run(t, target, kernel(), cfg)
	require.Equal(t, want.Final, got.Final)
	require.Equal(t, want.Acceptance, got.Acceptance)
	require.Equal(t, want.Warmup, got.Warmup)
}

func sameBytesResumed(t *testing.T, kernel func() samplers.Kernel) {
	cfg := samplers.Config{Chains: 6, Steps: 60, BurnIn: 40, Thin: 3, Seed: 7, KeepDraws: true, KeepEnergies: true, KeepStats: true}
	target := DoubleWell{D: 3, H: 1, B: 1}
	want := run(t, target, kernel(), cfg)
	for _, at := range []int{1, 17, 40, 47} {
		part := cfg
		var data []byte
		part.Every = at
		part.Checkpoint = func(r *samplers.Result) (err error) {
			if data == nil {
				data, err = r.MarshalBinary()
			}
			return err
		}
		run(t, target, kernel(), part)
		var r samplers.Result
		require.NoError(t, r.UnmarshalBinary(data))
		require.Equal(t, at, r.State.Step)
		rest := cfg
		rest.Resume = &r
		got := run(t, target, kernel(), rest)
		require.Equal(t, want.Draws, got.Draws, "resumed at %d", at)
		require.Equal(t, want.Energies, got.Energies)
		require.Equal(t, want.Stats, got.Stats)
		require.Equal(t, want.Acceptance, got.Acceptance)
		require.Equal(t, want.Warmup, got.Warmup)
		require.Equal(t, want.Sampling, got.Sampling)
	}
}

func sameBytesWatched(t *testing.T, kernel func() samplers.Kernel) {
	cfg := samplers.Config{Chains: 6, Steps: 30, BurnIn: 20, Seed: 8}
	target := &Counted{Target: DoubleWell{D: 3, H: 1, B: 1}}
	want := run(t, target, kernel(), cfg)
	require.Equal(t, target.Gradients, want.Warmup.Gradients+want.Sampling.Gradients, "gradients are counted")
	cfg.OnStep = func(*samplers.State) error { return nil }
	cfg.KeepDraws, cfg.KeepEnergies = true, true
	got := run(t, target, kernel(), cfg)
	require.Equal(t, want.Final, got.Final)
	e := make([]float32, 6)
	require.NoError(t, target.EnergyGradient(context.Background(), got.Final, 6, e, nil))
	for c := range e {
		require.Equal(t, e[c], got.Energies[c*10+9], "energies belong to the draws")
	}
}

// failing fails at the n-th evaluation.
type failing struct {
	samplers.Target
	n int
}

func (f *failing) EnergyGradient(ctx context.Context, x []float32, n int, e, g []float32) error {
	if f.n--; f.n == 0 {
		return context.DeadlineExceeded
	}
	return f.Target.EnergyGradient(ctx, x, n, e, g)
}

func unharmedByError(t *testing.T, kernel func() samplers.Kernel) {
	cfg := samplers.Config{Chains: 3, Steps: 25, BurnIn: 20, Seed: 9}
	target := DoubleWell{D: 2, H: 1, B: 1}
	want := run(t, target, kernel(), cfg)
	for _, n := range []int{2, 3, 7, 12, 23} {
		part, err := samplers.Run(context.Background(), &failing{target, n}, kernel(), cfg)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		rest := cfg
		rest.Resume = part
		require.Equal(t, want.Final, run(t, target, kernel(), rest).Final, "failed at evaluation %d", n)
	}
}

func rejectsNotFinite(t *testing.T, kernel func() samplers.Kernel) {
	init := make([]float32, 200)
	for c := range 100 {
		init[2*c+1] = float32(c%11-5) / 5
	}
	hole := Hole{Target: Gaussian{Mean: []float64{0.3, 0}, Std: []float64{1, 1}}, Above: 0.15}
	res := run(t, hole, kernel(), samplers.Config{Steps: 60, Init: init, KeepDraws: true})
	for _, v := range res.Draws {
		require.False(t, math.IsNaN(float64(v)) || math.IsInf(float64(v), 0))
	}
	require.Positive(t, res.Sampling.RejectedNonFinite)
	require.Less(t, res.Sampling.Acceptance(), 1.0)
}

func staysInBox(t *testing.T, kernel func() samplers.Kernel) {
	for _, mode := range []samplers.BoxMode{samplers.Clamp, samplers.Reflect} {
		cfg := samplers.Config{Chains: 50, Steps: 40, Seed: 3, Box: samplers.Box{Lo: -0.4, Hi: 0.6, Mode: mode}, KeepDraws: true, WithStart: true}
		res, err := samplers.Run(context.Background(), StandardNormal(2), kernel(), cfg)
		if mode == samplers.Reflect && err != nil {
			require.ErrorContains(t, err, "use clamp")
			continue
		}
		require.NoError(t, err)
		for _, v := range res.Draws {
			require.True(t, v >= -0.4 && v <= 0.6, v)
		}
	}
}
