package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// The area under the curve is the share of pairs that are in order, ties counting half.
func TestAUROC(t *testing.T) {
	in, out := make([]float32, 60), make([]float32, 40)
	rng.NewKey(1).Normals(in, 0, 0)
	rng.NewKey(2).Normals(out, 0, 0)
	for i := range in {
		in[i] = float32(int(3 * in[i])) // many ties
	}
	for i := range out {
		out[i] = float32(int(3*out[i])) + 1
	}
	want := 0.0
	for _, a := range in {
		for _, b := range out {
			switch {
			case b > a:
				want++
			case b == a:
				want += 0.5
			}
		}
	}
	require.InDelta(t, want/2400, auroc(in, out), 1e-12)
	require.Equal(t, 1.0, auroc([]float32{0, 1}, []float32{2}))
	require.Equal(t, 0.0, auroc([]float32{3}, []float32{2}))
}

func TestDistant(t *testing.T) {
	reference := []float32{0, 0, 10, 0}
	fresh := []float32{0, 1, 10, 2}
	require.Equal(t, []float32{1, 4}, nearest(fresh, reference, 2))
	x := []float32{0, 1.5, 10, 3, 5, 5}
	require.Equal(t, []float32{10, 3, 5, 5}, distant(x, fresh, reference, 2, 0.99))
}
