package ebm_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// An energy whose parameters are too large to be compiled in, read from a data file, gives what the compiled one gives, and saves the same.
func TestLargeEnergy(t *testing.T) {
	rt := openRuntime(t)
	g, err := models.Network("mlp:128,128", []int64{3}, rng.NewKey(5))
	require.NoError(t, err)
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	require.NoError(t, graphs.WriteFile(path, g, graphs.WriteOptions{InlineLimit: 1}))
	require.FileExists(t, graphs.DataName(path))
	back, err := ebm.ReadFile(path)
	require.NoError(t, err)

	ctx, n := context.Background(), 7
	x, v := make([]float32, n*3), make([]float32, n*3)
	rng.NewKey(1).Normals(x, 0, 0)
	rng.NewKey(2).Normals(v, 0, 0)
	results := func(g *graphs.Graph) (all [][]float32) {
		require.NoError(t, ebm.CheckRows(ctx, rt, g, nil))
		e, err := ebm.New(rt, g, ebm.Options{})
		require.NoError(t, err)
		defer e.Close()
		energy, grad, hv, lap := make([]float32, n), make([]float32, n*3), make([]float32, n*3), make([]float32, n)
		require.NoError(t, e.EnergyGradient(ctx, x, n, energy, grad))
		require.NoError(t, e.HVP(ctx, x, v, n, hv))
		require.NoError(t, e.Laplacian(ctx, x, n, lap))
		steps := append([]float32(nil), x...)
		require.NoError(t, e.LangevinSteps(ctx, steps, n, []float32{0.01, 0.01}, []float32{1, 1}, rng.NewKey(3), 0))
		return append(all, energy, grad, hv, lap, steps)
	}
	want := results(g)
	defer ebm.CompileAtMost(1000)()
	got := results(back)
	for i := range want {
		for j := range want[i] {
			require.InDelta(t, want[i][j], got[i][j], 2e-5, "%d %d", i, j)
		}
	}

	e, err := ebm.New(rt, back, ebm.Options{Trainable: true})
	require.NoError(t, err)
	defer e.Close()
	for i := range e.Params() {
		e.Params()[i] *= 1.01
	}
	saved, err := e.SavedGraph(nil)
	require.NoError(t, err)
	for i, p := range saved.Params() {
		before := graphs.Data[float32](back.Params()[i].Tensor)
		for j, f := range graphs.Data[float32](p.Tensor) {
			require.Equal(t, before[j]*1.01, f)
		}
	}
}
