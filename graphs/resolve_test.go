package graphs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// PyTorch pads by pairs in the opposite order: the pads become numbers, and an If on an extent its branch.
func TestResolve(t *testing.T) {
	b := NewBuilder("pad")
	x := b.Input("x", Float32, Shape{Symbol("N"), Static(2)})
	zeros := b.Op("ConstantOfShape", Attrs{"value": NewTensor([]int64{0}, 1)}, b.Ints(2))
	pairs := b.Op("Reshape", nil, b.Op("Concat", Attrs{"axis": int64(0)}, b.Ints(1, 0), zeros), b.Ints(-1, 2))
	pads := b.Op("Transpose", nil, b.Op("Slice", nil, pairs, b.Ints(-1), b.Ints(-9), b.Ints(0), b.Ints(-1)))
	y := b.Op("Pad", nil, x, b.Op("Cast", Attrs{"to": int64(Int64)}, b.Op("Reshape", nil, pads, b.Ints(-1))))
	branch := func(op string, in ...*Value) *Graph {
		b := NewBuilder(op)
		g, err := b.Graph(Output{"out", b.Op(op, nil, in...)})
		require.NoError(t, err)
		return g
	}
	wide := b.Op("Equal", nil, b.Op("Gather", nil, b.Op("Shape", nil, y), b.Int(1)), b.Int(3))
	z := b.Op("If", Attrs{"then_branch": branch("Exp", y), "else_branch": branch("Log", y)}, wide)
	g, err := b.Graph(Output{"z", z})
	require.NoError(t, err)
	g, err = Resolve(g)
	require.NoError(t, err)
	require.Equal(t, Shape{Symbol("N"), Static(3)}, g.Outputs[0].Value.Shape())
	require.Equal(t, []string{"Pad", "Exp"}, []string{g.Nodes[0].Op, g.Nodes[1].Op})
	require.Equal(t, []int64{0, 1, 0, 0}, Data[int64](g.Nodes[0].In[1].Tensor))
}

// Extents that only a Reshape states stay known.
func TestSimplifyKeepsExtents(t *testing.T) {
	b := NewBuilder("rows")
	x := b.Input("x", Float32, Shape{Symbol("N"), Static(2)})
	k := b.Input("k", Int64, Shape{Static(1)})
	rows := b.Op("ReduceSum", Attrs{"keepdims": int64(0)}, b.Op("Slice", nil, x, b.Ints(0), k, b.Ints(0)), b.Ints(1))
	g, err := b.Graph(Output{"y", b.Op("Reshape", nil, rows, b.Op("Shape", Attrs{"start": int64(0), "end": int64(1)}, x))})
	require.NoError(t, err)
	g, err = Simplify(g)
	require.NoError(t, err)
	require.Equal(t, Shape{Symbol("N")}, g.Outputs[0].Value.Shape())
}
