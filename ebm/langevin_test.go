package ebm_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Fused Langevin loops allocate per call, not per step.
func TestLangevinStepsAllocateNothing(t *testing.T) {
	e, err := ebm.New(openRuntime(t), mlp(t, 2, 64), ebm.Options{})
	require.NoError(t, err)
	defer e.Close()
	for _, n := range []int{1, 128, 1024} {
		x := make([]float32, n*e.Dim())
		allocs := func(steps int) float64 {
			eta, temp := slices.Repeat([]float32{0.01}, steps), slices.Repeat([]float32{1}, steps)
			return testing.AllocsPerRun(5, func() {
				require.NoError(t, e.LangevinSteps(t.Context(), x, n, eta, temp, rng.NewKey(1), 0))
			})
		}
		require.Less(t, allocs(200)-allocs(10), 5.0, "%d chains", n)
	}
}
