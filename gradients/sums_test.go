package gradients_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Finalize writes sums over directions as products, and changes no value.
func TestLeadingSums(t *testing.T) {
	e, err := models.Network("mlp:16,16", []int64{3}, rng.NewKey(1))
	require.NoError(t, err)
	g, err := gradients.Derive(e, gradients.Laplacian)
	require.NoError(t, err)
	f, err := gradients.Finalize(g, 19)
	require.NoError(t, err)
	leading := func(g *graphs.Graph) (count int) {
		for _, n := range g.Nodes {
			if axes, ok, _ := graphs.ReduceAxes(n); n.Op == "ReduceSum" && ok && len(axes) == 1 && axes[0] == 0 && !n.In[0].Shape().IsStatic() {
				count++
			}
		}
		return count
	}
	require.Positive(t, leading(g))
	require.Zero(t, leading(f), graphs.Print(f))
	feeds := map[string]*graphs.Array{"x": random(rand.New(rand.NewPCG(1, 1)), 4, 3)}
	want, err := graphs.Evaluate(g, feeds)
	require.NoError(t, err)
	got, err := graphs.Evaluate(f, feeds)
	require.NoError(t, err)
	require.Equal(t, want["laplacian"].Dims, got["laplacian"].Dims)
	require.Less(t, worst(got["laplacian"].F, want["laplacian"].F), 1e-12)
}
