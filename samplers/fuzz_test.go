package samplers_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/samplertest"
)

// A damaged checkpoint is an error or a state that can go on; it never panics.
func FuzzResume(f *testing.F) {
	target := samplertest.StandardNormal(2)
	cfg := samplers.Config{Chains: 2, Steps: 12, BurnIn: 8, KeepDraws: true}
	for _, k := range []samplers.Kernel{&samplers.NUTS{}, &samplers.ParallelTempering{}, &samplers.Underdamped{}} {
		res, err := samplers.Run(background, target, k, cfg)
		require.NoError(f, err)
		data, err := res.MarshalBinary()
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var res samplers.Result
		if res.UnmarshalBinary(data) != nil || res.N > 100 || res.Dim != 2 || res.State.Step > 100 {
			return
		}
		for _, k := range []samplers.Kernel{&samplers.NUTS{MaxDepth: 3}, &samplers.ParallelTempering{}, &samplers.Underdamped{}, &samplers.Nesterov{}} {
			_, _ = samplers.Run(background, target, k, samplers.Config{Steps: res.State.Step + 2, BurnIn: res.State.Step + 1, KeepDraws: true, Resume: &res})
		}
	})
}
