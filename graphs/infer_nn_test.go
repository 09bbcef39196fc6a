package graphs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Scales may be an initializer, and extents are float32 products: 5 · 1.4 is 7, as the evaluator has it.
func TestResizeExtents(t *testing.T) {
	b := NewBuilder("resize")
	x := b.Input("x", Float32, Shape{Symbol("N"), Static(1), Static(5)})
	y := b.Op("Resize", Attrs{"mode": "linear"}, x, nil, b.Param("scales", NewTensor([]float32{1, 1, 1.4}, 3)))
	g, err := b.Graph(Output{"y", y})
	require.NoError(t, err)
	require.Equal(t, Shape{Symbol("N"), Static(1), Static(7)}, y.Shape())
	got, err := Evaluate(g, map[string]*Array{"x": counting(2, 1, 5)})
	require.NoError(t, err)
	require.Equal(t, []int{2, 1, 7}, got["y"].Dims)
}

// What is known of a shape is kept where one extent is not: positions for a sequence, counted up to its length or cut from a table.
func TestPartlyKnownShapes(t *testing.T) {
	b := NewBuilder("positions")
	n, length := Symbol("N"), Symbol("T")
	x := b.Input("x", Float32, Shape{n, length, Static(2)})
	steps := b.Op("Gather", nil, b.Op("Shape", nil, x), b.Int(1))
	counted := b.Op("Range", nil, b.Float(0), b.Op("Cast", Attrs{"to": int64(Float32)}, steps), b.Float(1))
	require.Equal(t, Shape{length}, counted.Shape())
	require.Equal(t, ShapeOf(4), b.Op("Range", nil, b.Float(1), b.Float(9), b.Float(2)).Shape())
	require.Equal(t, Shape{UnknownDim}, b.Op("Range", nil, b.Float(0), b.Float(1), b.Float(0.3)).Shape())

	table := b.Param("table", NewTensor(make([]float32, 32), 1, 16, 2))
	y := b.Op("Add", nil, x, b.Op("Slice", nil, table, b.Ints(0), b.Op("Unsqueeze", nil, steps, b.Ints(0)), b.Ints(1)))
	require.Equal(t, Shape{n, UnknownDim, Static(2)}, y.Shape())
	front := b.Op("Slice", nil, b.Op("Shape", nil, y), b.Ints(0), b.Ints(2))
	heads := b.Op("Reshape", nil, y, b.Op("Concat", Attrs{"axis": int64(0)}, front, b.Ints(2, 1)))
	require.Equal(t, Shape{n, UnknownDim, Static(2), Static(1)}, heads.Shape())
	require.NoError(t, b.Err())

	other := b.Op("Shape", nil, b.Op("Concat", Attrs{"axis": int64(1)}, y, y))
	same := b.Op("Equal", nil, b.Op("Slice", nil, other, b.Ints(1), b.Ints(2)), b.Op("Slice", nil, b.Op("Shape", nil, y), b.Ints(1), b.Ints(2)))
	_, known := same.ConstInts()
	require.False(t, known, "two extents that are not known are not equal")
}
