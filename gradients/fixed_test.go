package gradients

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// A graph with a batch size of its own has the Laplacian and the Hessian of the same graph for any batch, also where an op without a forward
// rule (CumSum) makes them of Hessian-vector products.
func TestFixedBatch(t *testing.T) {
	build := func(rows graphs.Dim) *graphs.Graph {
		b := graphs.NewBuilder("cumulative")
		x := b.Input(X, graphs.Float32, graphs.Shape{rows, graphs.Static(3)})
		y := b.Op("Sin", nil, b.Op("CumSum", nil, x, b.Int(1)))
		y = b.Op("Mul", nil, y, b.Op("Mul", nil, x, x))
		e := b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(1))
		g, err := b.Graph(graphs.Output{Name: EnergyName, Value: e})
		require.NoError(t, err)
		return g
	}
	x := graphs.Floats([]int{2, 3}, []float64{0.3, -0.8, 1.1, 0.5, 0.9, -0.2})
	v := graphs.Floats([]int{2, 2, 3}, []float64{1, 0, 2, -1, 0.5, 0, 0, 1, 1, 0.3, 0, -2})
	for _, derive := range []func(*graphs.Graph) (*graphs.Graph, error){
		Hessian,
		func(g *graphs.Graph) (*graphs.Graph, error) { return Derive(g, Laplacian) },
		func(g *graphs.Graph) (*graphs.Graph, error) { return Directions(g, HVP, 2) },
	} {
		var values [2]map[string]*graphs.Array
		for i, rows := range []graphs.Dim{graphs.Symbol("N"), graphs.Static(2)} {
			d, err := derive(build(rows))
			require.NoError(t, err)
			values[i], err = graphs.Evaluate(d, map[string]*graphs.Array{X: x, V: v})
			require.NoError(t, err)
		}
		for name, want := range values[0] {
			require.NotZero(t, want.F[0])
			require.InDeltaSlice(t, want.F, values[1][name].F, 1e-12)
			require.Equal(t, want.Dims, values[1][name].Dims)
		}
	}
}
