package losses

import (
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// TestBlocksOfDenoising: many blocks give the closed form, and the same bytes for any number of cores.
func TestBlocksOfDenoising(t *testing.T) {
	const n, dim = 1500, 37
	b := gaussianData(rng.NewKey(1), n, dim)
	run := func(procs int) (x, g []float32, loss float64) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		l := &DenoisingScoreMatching{Sigmas: []float64{0.5, 2}, Weight: WeightOne}
		q, err := l.Plan(t.Context(), b, rng.NewKey(3))
		require.NoError(t, err)
		x = slices.Clone(q[0].X)
		r, err := l.Value(q, []Values{{G: x}}) // E = ½‖x‖²
		require.NoError(t, err)
		return x, slices.Clone(r.Cotangents[0].G), r.Loss
	}
	x, g, loss := run(1)
	x3, g3, loss3 := run(3)
	require.Equal(t, x, x3)
	require.Equal(t, g, g3)
	require.Equal(t, loss, loss3)

	eps := make([]float32, 2*n*dim)
	k := rng.NewKey(3).Sub("noise")
	k.Normals(eps, 0, 0)
	want := 0.0
	for i, e := range eps {
		sigma := []float64{0.5, 2}[i/(n*dim)]
		noisy := b.X[i%(n*dim)] + float32(sigma)*e
		require.InDelta(t, noisy, x[i], 1e-6)
		r := float64(x[i]) - float64(e)/sigma
		require.InDelta(t, r/(2*n), float64(g[i]), 1e-8)
		want += r * r / (4 * n)
	}
	require.InEpsilon(t, want, loss, 1e-9)
}
