package ebm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/losses"
)

// Parameters may have the names of what is derived; those of an energy's own input and output are renamed. E = Σᵢ (Πₖ θₖ)ᵢ·xᵢ².
func TestParameterNames(t *testing.T) {
	rt := openRuntime(t)
	b := graphs.NewBuilder("names")
	y := b.Input("input", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(2)})
	y = b.Op("Mul", nil, y, y)
	for _, name := range []string{"v", "x", "energy", "gradient", "hvp"} {
		y = b.Op("Mul", nil, y, b.Param(name, graphs.NewTensor([]float32{2, 3}, 2)))
	}
	y = b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(1))
	src, err := b.Graph(graphs.Output{Name: "y", Value: y})
	require.NoError(t, err)
	g, notices, err := ebm.Import(src, ebm.ImportOptions{})
	require.NoError(t, err)
	require.Len(t, notices, 2)
	raw, err := graphs.Encode(g, graphs.WriteOptions{})
	require.NoError(t, err)
	g, _, err = graphs.Decode(raw, "")
	require.NoError(t, err)
	for _, trainable := range []bool{false, true} {
		e, err := ebm.New(rt, g, ebm.Options{Trainable: trainable})
		require.NoError(t, err)
		defer e.Close()
		require.ElementsMatch(t, []string{"v", "model.x", "model.energy", "gradient", "hvp"}, e.Store().Names())
		values, err := e.Evaluate(t.Context(), losses.Query{N: 1, X: []float32{1, -1}, V: []float32{1, 2}, K: 1, Want: losses.WantEnergy | losses.WantGradient | losses.WantHVP})
		require.NoError(t, err)
		require.Equal(t, []float32{32 + 243}, values.E)
		require.Equal(t, []float32{64, -486}, values.G)
		require.Equal(t, []float32{64, 972}, values.HV)
	}
}
