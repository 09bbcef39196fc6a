package answers_test

import (
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// Iterations on ONNX Runtime allocate nothing once every batch size has been seen, adaptation over.
func TestSamplersAllocateNothing(t *testing.T) {
	target := open(t, "builtin:double-well:dim=8")
	for _, s := range samplers.Samplers() {
		k := s.New(samplers.Options{StepSize: schedule.Constant{Value: 0.02}})
		next, stop := iter.Pull2(samplers.Steps(background, target, k, samplers.Config{Chains: 600, Workers: 2}))
		step := func() {
			_, err, ok := next()
			require.True(t, ok)
			require.NoError(t, err)
		}
		for range 20 {
			step()
		}
		require.Zero(t, testing.AllocsPerRun(10, step), s.Name)
		stop()
	}
}
