package gradients

import (
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// FastSums writes sums over leading axes, such as one of directions, in the way that ONNX Runtime computes fast.
func FastSums(g *graphs.Graph) (*graphs.Graph, error) {
	return graphs.RewriteOps(g, map[string]graphs.Rewrite{"ReduceSum": leadingSum})
}

// leadingSum writes a sum over a leading axis of known extent K, such as one of directions, as the product of a row of K ones with the
// matrix [K, rest]: ONNX Runtime's CPU does that ten times as fast.
func leadingSum(b *graphs.Builder, n *graphs.Node) *Value {
	x, y := n.In[0], n.Out[0]
	axes, ok, err := graphs.ReduceAxes(n)
	if err != nil || !ok || len(axes) != 1 || axes[0] != 0 || x.Type.DType != graphs.Float32 || x.Rank() < 2 {
		return nil
	}
	k, rest := x.Shape()[0], x.Shape()[1:]
	if !k.IsStatic() || k.Size < 2 || rest.IsStatic() {
		return nil // sums of parameters are small
	}
	target, open := make([]int64, 0, x.Rank()), 0
	for _, d := range y.Shape() {
		size := int64(-1)
		if d.IsStatic() {
			size = d.Size
		} else {
			open++
		}
		target = append(target, size)
	}
	ones := make([]float64, k.Size)
	for i := range ones {
		ones[i] = 1
	}
	t, err := graphs.FromFloat64s(graphs.Float32, ones, 1, k.Size)
	if err != nil || open != 1 || slices.Contains(target, 0) {
		return nil
	}
	sum := b.Op("Gemm", nil, b.Const(t), b.Op("Reshape", nil, x, b.Ints(k.Size, -1)))
	return b.Op("Reshape", nil, sum, b.Ints(target...))
}
