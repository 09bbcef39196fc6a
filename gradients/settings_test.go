package gradients

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// Scales of a Resize that lie among a model's initializers say how it works: they are no parameters, shapes follow from them, and the derivative is that
// of constant scales.
func TestSettingsAreNoParameters(t *testing.T) {
	build := func(scales func(b *graphs.Builder, t *graphs.Tensor) *Value) (*graphs.Graph, *Value) {
		b := graphs.NewBuilder("resize")
		x := b.Input(X, graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(1), graphs.Static(3)})
		s := scales(b, graphs.NewTensor([]float32{1, 1, 2}, 3))
		y := b.Op("Resize", graphs.Attrs{"mode": "linear"}, x, nil, s)
		require.Equal(t, "[N,1,6]", y.Shape().String())
		e := b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, y, y), b.Ints(1, 2))
		g, err := b.Graph(graphs.Output{Name: EnergyName, Value: e})
		require.NoError(t, err)
		return g, s
	}
	g, s := build(func(b *graphs.Builder, t *graphs.Tensor) *Value { return b.Param("scales", t) })
	require.Empty(t, DependsOn(g, []*Value{s}))
	constant, _ := build(func(b *graphs.Builder, t *graphs.Tensor) *Value { return b.Const(t) })
	got, err := Derive(g, Gradient)
	require.NoError(t, err)
	want, err := Derive(constant, Gradient)
	require.NoError(t, err)
	require.Equal(t, graphs.Print(want), graphs.Print(got))
}
