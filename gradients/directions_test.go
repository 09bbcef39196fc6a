package gradients_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// requireDirections compares K directions at once with one after the other, by reverse sweeps.
func requireDirections(t *testing.T, e *graphs.Graph, item []int64) {
	t.Helper()
	const n, k = 4, 3
	r := rand.New(rand.NewPCG(1, 2))
	dims := append([]int{n}, ints(item)...)
	x, v := random(r, dims...), random(r, append([]int{k}, dims...)...)
	all, err := gradients.Directions(e, gradients.Energy|gradients.Gradient|gradients.HVP, k)
	require.NoError(t, err)
	require.NoError(t, graphs.Check(all))
	got, err := graphs.Evaluate(all, map[string]*graphs.Array{"x": x, "v": v})
	require.NoError(t, err, graphs.Print(all))
	require.Equal(t, v.Dims, got["hvp"].Dims)
	one, err := gradients.Derive(e, gradients.Energy|gradients.Gradient|gradients.HVP)
	require.NoError(t, err)
	size := len(x.F)
	for i := range k {
		part := &graphs.Array{DType: graphs.Float32, Dims: dims, F: v.F[i*size : (i+1)*size]}
		want, err := graphs.Evaluate(one, map[string]*graphs.Array{"x": x, "v": part})
		require.NoError(t, err)
		require.Less(t, worst(got["hvp"].F[i*size:(i+1)*size], want["hvp"].F), 1e-8) // two orders of summation in float64
		require.Less(t, worst(got["gradient"].F, want["gradient"].F), 1e-9)
		require.Less(t, worst(got["energy"].F, want["energy"].F), 1e-9)
	}
}

func ints(v []int64) []int {
	var s []int
	for _, d := range v {
		s = append(s, int(d))
	}
	return s
}

func random(r *rand.Rand, dims ...int) *graphs.Array {
	n := 1
	for _, d := range dims {
		n *= d
	}
	f := make([]float64, n)
	for i := range f {
		f[i] = r.NormFloat64()
	}
	return &graphs.Array{DType: graphs.Float32, Dims: slices.Clone(dims), F: f}
}

func TestDirectionsOfNetworks(t *testing.T) {
	for _, c := range []struct {
		text string
		item []int64
	}{
		{"mlp:16,16", []int64{3}}, {"mlp:8,8:act=tanh", []int64{5}}, {"mlp:8:act=gelu", []int64{2}}, {"mlp:8:act=relu", []int64{2}},
		{"convnet:4,8", []int64{1, 8, 8}}, {"resnet:4,8", []int64{1, 8, 8}}, {"transformer:8", []int64{4, 6}},
	} {
		t.Run(c.text, func(t *testing.T) {
			g, err := models.Network(c.text, c.item, rng.NewKey(1))
			require.NoError(t, err)
			requireDirections(t, g, c.item)
		})
	}
}

func TestDirectionsOfBuiltins(t *testing.T) {
	for _, text := range []string{"gaussian:dim=3", "double-well:dim=4", "gaussian-mixture", "rosenbrock:dim=4", "ackley", "rastrigin", "himmelblau",
		"styblinski-tang", "banana", "funnel:dim=3", "many-well:dim=4", "rings", "harmonic", "eight-schools", "eight-schools-noncentered"} {
		t.Run(text, func(t *testing.T) {
			m, err := models.Builtin("builtin:" + text)
			require.NoError(t, err)
			requireDirections(t, m.Graph, m.Graph.Input("x").Shape()[1:].Ints())
		})
	}
}

func TestDirectionsOfFixtures(t *testing.T) {
	for name, f := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			g := energyOf(t, name, f)
			if len(g.Inputs) > 1 || !g.Input("x").Shape()[1:].IsStatic() || g.Input("x").Shape()[0].IsStatic() {
				t.Skip("of another form")
			}
			requireDirections(t, g, g.Input("x").Shape()[1:].Ints())
		})
	}
}

// A SiLU network needs one product a layer and direction, and slopes of the batch's size only.
func TestDirectionsShareSlopes(t *testing.T) {
	g, err := models.Network("mlp:16,16", []int64{3}, rng.NewKey(1))
	require.NoError(t, err)
	d, err := gradients.Directions(g, gradients.Gradient|gradients.HVP, 5)
	require.NoError(t, err)
	var products, others int
	for _, n := range d.Nodes {
		if n.Out[0].Rank() != 3 {
			continue
		}
		if n.Op == "MatMul" {
			products++
		} else {
			others++
		}
	}
	require.Equal(t, 4, products, graphs.Print(d))
	require.LessOrEqual(t, others, 5, graphs.Print(d))
}
