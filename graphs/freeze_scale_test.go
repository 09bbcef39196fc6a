package graphs

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFreezeAbsorbsScale(t *testing.T) {
	for transB := range int64(2) {
		t.Run(fmt.Sprint("transB=", transB), func(t *testing.T) {
			b := NewBuilder("scale")
			x := b.Input("x", Float32, Shape{Symbol("N"), Static(2)})
			dims := []int64{2, 3}
			if transB == 1 {
				dims = []int64{3, 2}
			}
			w := b.Param("w", NewTensor([]float32{1, 2, 3, 4, 5, 6}, dims...))
			r := b.Param("r", NewTensor([]float32{2, -1}, 1, 2))
			y := b.Op("Gemm", Attrs{"transB": transB}, b.Op("Mul", nil, b.Op("Tanh", nil, x), r), w)
			g, err := b.Graph(Output{Name: "y", Value: y})
			require.NoError(t, err)
			f, err := Freeze(g)
			require.NoError(t, err)
			for _, n := range f.Nodes {
				require.False(t, n.Op == "Mul" && !frozen(n.Out[0]), Print(f))
			}
			feeds := map[string]*Array{"x": {DType: Float32, Dims: []int{2, 2}, F: []float64{0.1, 0.2, -0.3, 0.4}}}
			want, err := Evaluate(g, feeds)
			require.NoError(t, err)
			got, err := Evaluate(f, feeds)
			require.NoError(t, err)
			require.InDeltaSlice(t, want["y"].F, got["y"].F, 1e-12)
		})
	}
}
