package ebm_test

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// The graphs' pass and the runtime's op agree on the name and the instructions.
func TestElementwiseOps(t *testing.T) {
	require.Equal(t, graphs.ElementwiseDomain, runtime.ElementwiseDomain)
	require.Subset(t, slices.Collect(maps.Keys(runtime.ElementwiseOps())), graphs.ElementwiseInstructions())
}

// pairOf opens an energy with fused programs and one with ONNX's ops alone.
func pairOf(t *testing.T, g *graphs.Graph, o ebm.Options) [2]*ebm.Energy {
	var pair [2]*ebm.Energy
	for i := range pair {
		o.Unfused = i == 1
		e, err := ebm.New(openRuntime(t), g, o)
		require.NoError(t, err)
		t.Cleanup(func() { e.Close() })
		pair[i] = e
	}
	return pair
}

// requireAlike compares what two energies give at n items.
func requireAlike(t *testing.T, pair [2]*ebm.Energy, x []float32, n int, tol float64) {
	t.Helper()
	dim := pair[0].Dim()
	v := make([]float32, n*dim)
	rng.NewKey(5).Normals(v, 0, 0)
	var e, g, hv, lap [2][]float32
	for i, p := range pair {
		e[i], g[i], hv[i], lap[i] = make([]float32, n), make([]float32, n*dim), make([]float32, n*dim), make([]float32, n)
		require.NoError(t, p.EnergyGradient(t.Context(), x, n, e[i], g[i]))
		require.NoError(t, p.HVP(t.Context(), x, v, n, hv[i]))
		if dim <= 32 {
			require.NoError(t, p.Laplacian(t.Context(), x, n, lap[i]))
		}
		alone := make([]float32, n*dim)
		require.NoError(t, p.EnergyGradient(t.Context(), x, n, nil, alone))
		requireNear(t, g[i], alone, tol, "gradient without energies")
	}
	requireNear(t, e[1], e[0], tol, "energy")
	requireNear(t, g[1], g[0], tol, "gradient")
	requireNear(t, hv[1], hv[0], tol, "hvp")
	requireNear(t, lap[1], lap[0], tol, "laplacian")
}

// Fused trainable programs of the reference models give what plain ones give; TestReferenceValues has the frozen ones.
func TestFusedFixtures(t *testing.T) {
	for name, f := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			e, x := f.open(t, openRuntime(t), ebm.Options{})
			requireAlike(t, pairOf(t, e.Graph(), ebm.Options{Trainable: true, Item: e.Item()}), x.Data, x.Shape[0], 2e-5)
		})
	}
}

// Networks and analytic energies, at odd numbers of items.
func TestFusedModels(t *testing.T) {
	check := func(name string, g *graphs.Graph, item []int64) {
		t.Run(name, func(t *testing.T) {
			pair := pairOf(t, g, ebm.Options{Item: item})
			for _, n := range []int{0, 1, 3, 37, 1001} {
				x := make([]float32, n*pair[0].Dim())
				rng.NewKey(2).Normals(x, 0, 0)
				if n > 100 && pair[0].Dim() > 64 {
					continue
				}
				requireAlike(t, pair, x, n, 5e-6)
			}
		})
	}
	for _, c := range []struct {
		text string
		item []int64
	}{
		{"mlp:33,17", []int64{3}}, {"mlp:16,16:act=gelu:out=softplus", []int64{5}}, {"mlp:16:act=tanh", []int64{2}}, {"mlp:16:act=softplus", []int64{2}},
		{"mlp:16:act=elu", []int64{2}}, {"mlp:128,128:act=relu", []int64{130}}, {"convnet:4,8", []int64{1, 8, 8}}, {"resnet:8,16:groups=4", []int64{2, 8, 8}}, {"transformer:16:heads=2", []int64{6, 3}},
	} {
		g, err := models.Network(c.text, c.item, rng.NewKey(1))
		require.NoError(t, err)
		check(c.text, g, c.item)
	}
	for _, h := range models.Help() {
		if h.Name == "logistic" {
			continue // needs data
		}
		m, err := models.Builtin("builtin:" + h.Name)
		require.NoError(t, err)
		check(h.Name, m.Graph, nil)
	}
}

// Parameter gradients of losses that use every derivative.
func TestFusedLosses(t *testing.T) {
	for _, text := range []string{"dsm:sigma=0.1", "ssm:projections=3", "sm", "cd:k=3"} {
		g, err := models.Network("mlp:32,16", []int64{5}, rng.NewKey(1))
		require.NoError(t, err)
		const n = 301
		x := make([]float32, n*5)
		rng.NewKey(2).Normals(x, 0, 0)
		neg := slices.Clone(x)
		slices.Reverse(neg)
		var d [2][]float32
		for i, e := range pairOf(t, g, ebm.Options{Trainable: true}) {
			b := losses.Batch{N: n, Dim: 5, X: x}
			if text == "cd:k=3" {
				b.Neg, b.M = neg, n
			}
			l, err := losses.New(text, losses.Options{})
			require.NoError(t, err)
			d[i] = make([]float32, len(e.Params()))
			_, err = losses.Run(t.Context(), e, l, b, rng.NewKey(3), d[i])
			require.NoError(t, err)
		}
		requireNear(t, d[1], d[0], 5e-6, text)
	}
}

// What is not finite stays so, and denormal items do no harm.
func TestFusedNonFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, text := range []string{"mlp:8,8", "mlp:8:act=softplus", "mlp:8:act=tanh", "mlp:8:act=gelu"} {
		g, err := models.Network(text, []int64{2}, rng.NewKey(1))
		require.NoError(t, err)
		x := []float32{nan, 0, inf, 0, -inf, 1, 1e38, 1e38, 1e-40, -1e-42, 0, 0, 1e30, -1e30, 3, nan}
		n := len(x) / 2
		var e, grad [2][]float32
		for i, p := range pairOf(t, g, ebm.Options{}) {
			e[i], grad[i] = make([]float32, n), make([]float32, 2*n)
			require.NoError(t, p.EnergyGradient(t.Context(), x, n, e[i], grad[i]))
		}
		for i := range n {
			bad := x[2*i] != x[2*i] || x[2*i+1] != x[2*i+1]
			if bad {
				require.True(t, e[0][i] != e[0][i], "%s: E(%v) = %g", text, x[2*i:2*i+2], e[0][i])
				continue
			}
			require.Equal(t, math.IsNaN(float64(e[1][i])), math.IsNaN(float64(e[0][i])), "%s: E(%v) = %g, %g", text, x[2*i:2*i+2], e[1][i], e[0][i])
			if math.Abs(float64(e[1][i])) < math.MaxFloat32 {
				require.InEpsilon(t, e[1][i], e[0][i], 1e-5)
			} else if e[1][i] == e[1][i] {
				require.Equal(t, e[1][i], e[0][i])
			}
		}
	}
}
