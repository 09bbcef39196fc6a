package graphs

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A frozen transposed convolution is a convolution and gives the same values.
func TestFreeze(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = r.Float32() - 0.5
		}
		return v
	}
	for name, c := range map[string]struct {
		x, w []int64
		a    Attrs
		conv bool
	}{
		"2d":              {[]int64{2, 3, 4, 5}, []int64{3, 8, 3, 2}, Attrs{"pads": []int64{1, 0, 0, 1}}, true},
		"dilated":         {[]int64{1, 4, 6, 5}, []int64{4, 8, 2, 3}, Attrs{"dilations": []int64{2, 1}, "output_padding": []int64{1, 0}}, true},
		"groups":          {[]int64{1, 4, 6, 5}, []int64{4, 4, 2, 3}, Attrs{"group": int64(2)}, false},
		"depthwise 1d":    {[]int64{2, 8, 7}, []int64{8, 1, 3}, Attrs{"group": int64(8), "pads": []int64{1, 1}}, true},
		"few channels":    {[]int64{2, 3, 4}, []int64{3, 2, 3}, nil, false},
		"stride":          {[]int64{2, 3, 4}, []int64{3, 8, 3}, Attrs{"strides": []int64{2}}, false},
		"more than whole": {[]int64{2, 3, 4}, []int64{3, 8, 2}, Attrs{"pads": []int64{2, 0}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBuilder("convt")
			x := b.Input("x", Float32, ShapeOf(c.x...))
			w := NewTensor(random(ShapeOf(c.w...).Size().Size), c.w...)
			bias := NewTensor(random(c.w[1]*max(1, attr(c.a, "group", int64(1)))), c.w[1]*max(1, attr(c.a, "group", int64(1))))
			g, err := b.Graph(Output{"y", b.Op("ConvTranspose", c.a, x, b.Param("w", w), b.Param("b", bias))})
			require.NoError(t, err)
			f, err := Freeze(g)
			require.NoError(t, err)
			require.NoError(t, Check(f))
			require.Equal(t, c.conv, f.Ops()["Conv"] == 1)
			feed := map[string]*Array{"x": {DType: Float32, Dims: toInts(c.x), F: convert(random(x.Shape().Size().Size), func(v float32) float64 { return float64(v) })}}
			want, err := Evaluate(g, feed)
			require.NoError(t, err)
			got, err := Evaluate(f, feed)
			require.NoError(t, err)
			require.Equal(t, want["y"].Dims, got["y"].Dims)
			require.InDeltaSlice(t, want["y"].F, got["y"].F, 1e-12)
		})
	}
}
