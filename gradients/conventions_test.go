package gradients

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// What finite differences cannot tell: derivatives at kinks, ties and infinities are conventions.
func TestConventions(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		name  string
		in    []operand
		build builds
		want  [][]float64 // gradients of the sum of the result
	}{
		{"Relu at 0", []operand{values([]int{3}, -1, 0, 1)}, op("Relu", nil), [][]float64{{0, 0, 1}}},
		{"Abs at 0", []operand{values([]int{3}, -1, 0, 1)}, op("Abs", nil), [][]float64{{-1, 0, 1}}},
		{"LeakyRelu at 0", []operand{values([]int{2}, 0, 1)}, op("LeakyRelu", graphs.Attrs{"alpha": float32(0.5)}), [][]float64{{0.5, 1}}},
		{"Elu at 0", []operand{values([]int{1}, 0)}, op("Elu", graphs.Attrs{"alpha": float32(0.5)}), [][]float64{{0.5}}},
		{"Clip at its bounds", []operand{values([]int{4}, -2, -1, 1, 2), values(nil, -1), values(nil, 1)}, op("Clip", nil), [][]float64{{0, 1, 1, 0}, {1}, {1}}},
		{"Max of ties", []operand{values([]int{3}, 1, 2, 3), values([]int{3}, 1, 3, 2)}, op("Max", nil), [][]float64{{.5, 0, 1}, {.5, 1, 0}}},
		{"Min of three ties", []operand{values([]int{1}, 1), values([]int{1}, 1), values([]int{1}, 1)}, op("Min", nil), [][]float64{{1. / 3}, {1. / 3}, {1. / 3}}},
		{"ReduceMax of ties", []operand{values([]int{2, 3}, 1, 3, 3, 2, 0, 1)}, with("ReduceMax", nil, list(1)), [][]float64{{0, .5, .5, 1, 0, 0}}},
		{"ReduceL2 at 0", []operand{values([]int{2, 2}, 0, 0, 3, 4)}, with("ReduceL2", nil, list(1)), [][]float64{{0, 0, .6, .8}}},
		{"ReduceProd with zeros", []operand{values([]int{3, 3}, 0, 2, 3, 0, 0, 5, 1, 2, 3)}, with("ReduceProd", nil, list(1)), [][]float64{{6, 0, 0, 0, 0, 0, 6, 3, 2}}},
		{"ReduceLogSumExp with −∞", []operand{values([]int{2, 2}, -inf, 0, -inf, -inf)}, with("ReduceLogSumExp", nil, list(1)), [][]float64{{0, 1, 0, 0}}},
		{"Where hides what it does not take", []operand{values([]int{2}, -1, 4)}, chain(func(b *graphs.Builder, x *Value) *Value {
			zero := b.FloatLike(x, 0)
			positive := b.Op("Greater", nil, x, zero)
			return b.Op("Where", nil, positive, b.Op("Sqrt", nil, b.Op("Where", nil, positive, x, b.FloatLike(x, 1))), zero)
		}), [][]float64{{0, .25}}},
		{"Pow of 0", []operand{values([]int{2}, 0, 2), values([]int{2}, 3, 0)}, op("Pow", nil), [][]float64{{0, 0}, {0, math.Ln2}}},
		{"Pow constant at 0", []operand{values([]int{2}, 0, -2)}, chain(func(b *graphs.Builder, x *Value) *Value { return b.Op("Pow", nil, x, b.FloatLike(x, 2)) }), [][]float64{{0, -4}}},
		{"Softmax far apart", []operand{values([]int{2}, -1000, 1000)}, op("Softmax", nil), [][]float64{{0, 0}}},
		{"Softplus far out", []operand{values([]int{2}, -1000, 1000)}, op("Softplus", nil), [][]float64{{0, 1}}},
		{"not a number stays", []operand{values([]int{1}, nan)}, op("Tanh", nil), [][]float64{{nan}}},
		{"ScatterElements max of ties", []operand{values([]int{2}, 1, 0), indices([]int{2}, 0, 1), values([]int{2}, 1, 3)}, op("ScatterElements", graphs.Attrs{"reduction": "max"}), [][]float64{{.5, 0}, {.5, 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := gradCase{in: c.in, build: c.build}
			g, err := k.graph(static, graphs.Float64)
			require.NoError(t, err)
			d, err := VJP(g, outputNames(g), k.wrt())
			require.NoError(t, err)
			feeds := k.feeds(nil, -1)
			y := evaluate(t, g, feeds)["f0"]
			ones := make([]float64, len(y.F))
			for i := range ones {
				ones[i] = 1
			}
			out := evaluate(t, d, merge(feeds, map[string]*graphs.Array{"ct/f0": {DType: graphs.Float64, Dims: y.Dims, F: ones}}))
			for i, name := range k.wrt() {
				for j, w := range c.want[i] {
					if math.IsNaN(w) {
						require.True(t, math.IsNaN(out[GradPrefix+name].F[j]))
						continue
					}
					require.InDelta(t, w, out[GradPrefix+name].F[j], 1e-12, "%s[%d]\n%s", name, j, graphs.Print(d))
				}
			}
		})
	}
}
