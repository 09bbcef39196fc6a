package graphs

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Lowered normalizations give the values of LayerNormalization, whichever of its outputs are used.
func TestLowerNorms(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	feed := &Array{DType: Float32, Dims: []int{2, 3, 4}, F: make([]float64, 24)}
	for i := range feed.F {
		feed.F[i] = r.NormFloat64()
	}
	for name, c := range map[string]struct {
		axis int64
		outs int
		op   string
	}{
		"result": {-1, 1, "InstanceNormalization"}, "two axes": {1, 1, "InstanceNormalization"}, "moments": {2, 3, "ReduceMean"}, "moments of two axes": {1, 3, "ReduceMean"},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBuilder("norm")
			x := b.Input("x", Float32, Shape{Symbol("N"), Static(3), Static(4)})
			s := x.Shape()[(c.axis+3)%3:]
			w := make([]float32, s.Size().Size)
			for i := range w {
				w[i] = r.Float32()
			}
			scale, bias := b.Param("w", NewTensor(w, s.Ints()...)), b.Param("b", NewTensor(w, s.Ints()...))
			var outs []Output
			for i, v := range b.Ops("LayerNormalization", c.outs, Attrs{"axis": c.axis, "epsilon": float32(0.25)}, x, scale, bias) {
				outs = append(outs, Output{string(rune('a' + i)), v})
			}
			g, err := b.Graph(outs...)
			require.NoError(t, err)
			l, err := LowerNorms(g)
			require.NoError(t, err)
			require.NoError(t, Check(l))
			require.Zero(t, l.Ops()["LayerNormalization"])
			require.NotZero(t, l.Ops()[c.op])
			want, err := Evaluate(g, map[string]*Array{"x": feed})
			require.NoError(t, err)
			got, err := Evaluate(l, map[string]*Array{"x": feed})
			require.NoError(t, err)
			for name, v := range want {
				require.Equal(t, v.Dims, got[name].Dims)
				require.InDeltaSlice(t, v.F, got[name].F, 1e-12)
			}
		})
	}
}
