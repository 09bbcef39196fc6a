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
