package ebm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// fixedMLP is mlp for batches of exactly n rows.
func fixedMLP(tb testing.TB, n, d, h int64) *graphs.Graph {
	b := newNet()
	x := b.Input(gradients.X, graphs.Float32, graphs.ShapeOf(n, d))
	return b.energy(tb, b.dense(b.silu(b.dense(b.silu(b.dense(x, d, h)), h, h)), h, 1))
}

// Several directions at once give what one after the other gives, and so do their pullbacks: with several tiles, and with batches that are
// padded to a fixed size.
func TestDirectionsTogether(t *testing.T) {
	rt := openRuntime(t)
	const k = 3
	for _, c := range []struct {
		name string
		g    *graphs.Graph
		n    int
	}{{"one tile", mlp(t, 3, 16), 10}, {"tiles", mlp(t, 3, 64), 1500}, {"padded", fixedMLP(t, 4, 3, 16), 10}, {"convnet", convnet(t), 5}} {
		t.Run(c.name, func(t *testing.T) {
			e, err := ebm.New(rt, c.g, ebm.Options{Trainable: true})
			require.NoError(t, err)
			defer e.Close()
			size := c.n * e.Dim()
			x, v, ct, cg := make([]float32, size), make([]float32, k*size), make([]float32, k*size), make([]float32, size)
			for i, s := range [][]float32{x, v, ct, cg} {
				rng.NewKey(3).Normals(s, uint64(i), 0)
			}
			q := losses.Query{N: c.n, X: x, V: v, K: k, Want: losses.WantGradient | losses.WantHVP}
			seen, err := e.Evaluate(t.Context(), q)
			require.NoError(t, err)
			values, pull, err := e.Linearize(t.Context(), q)
			require.NoError(t, err)
			require.Equal(t, seen.HV, values.HV)
			got, want := make([]float32, len(e.Params())), make([]float32, len(e.Params()))
			require.NoError(t, pull.Add(losses.Values{G: cg, HV: ct}, got))
			for i := range k {
				one := q
				one.K, one.V = 1, v[i*size:(i+1)*size]
				single, pull, err := e.Linearize(t.Context(), one)
				require.NoError(t, err)
				requireNear(t, single.HV, values.HV[i*size:(i+1)*size], 1e-5, "hvp")
				requireNear(t, single.G, values.G, 1e-5, "gradient")
				cotangent := losses.Values{HV: ct[i*size : (i+1)*size]}
				if i == 0 {
					cotangent.G = cg
				}
				require.NoError(t, pull.Add(cotangent, want))
				require.NoError(t, pull.Close())
			}
			requireNear(t, want, got, 1e-5, "parameter gradient")
			require.NoError(t, pull.Add(losses.Values{G: cg}, want)) // an absent cotangent is zero
			require.NoError(t, pull.Close())
		})
	}
}
