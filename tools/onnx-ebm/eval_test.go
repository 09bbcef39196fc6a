package main

import (
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/internal/npy"
)

func TestEvalAgainstClosedForms(t *testing.T) {
	needRuntime(t)
	// Several chunks, the last one shorter.
	old := chunkValues
	defer func() { chunkValues = old }()
	chunkValues = 14
	const n = 31
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name+".npy") }
	x, v := normals("x", 2*n), normals("v", 2*n)
	writeArray(t, path("x"), x, n, 2)
	writeArray(t, path("v"), v, n, 2)
	o := succeed(t, "eval", "builtin:double-well", "--in", path("x"), "--energy", path("e"), "--gradient", path("g"), "--score", path("s"),
		"--vector", path("v"), "--hvp", path("h"), "--laplacian", path("l"), "--log-z", "1.5", "--log-density", path("lp"), "--json")
	var well doubleWell
	energy, logp, lap := make([]float64, n), make([]float64, n), make([]float64, n)
	gradient, score, hvp := make([]float64, 2*n), make([]float64, 2*n), make([]float64, 2*n)
	mean := 0.0
	for i := range n {
		row := float64s(x[2*i : 2*i+2])
		energy[i] = well.energy(row)
		mean += energy[i] / n
		logp[i] = -energy[i] - 1.5
		lap[i] = well.curvature(row[0]) + well.curvature(row[1])
		for j := range 2 {
			gradient[2*i+j] = well.slope(row[j])
			score[2*i+j] = -gradient[2*i+j]
			hvp[2*i+j] = well.curvature(row[j]) * float64(v[2*i+j])
		}
	}
	requireClose(t, energy, readArray(t, path("e"), n), 1e-6)
	requireClose(t, gradient, readArray(t, path("g"), n, 2), 1e-6)
	requireClose(t, score, readArray(t, path("s"), n, 2), 1e-6)
	requireClose(t, hvp, readArray(t, path("h"), n, 2), 1e-6)
	requireClose(t, lap, readArray(t, path("l"), n), 1e-6)
	requireClose(t, logp, readArray(t, path("lp"), n), 1e-6)
	var j struct {
		Rows   int
		Item   []int
		Energy struct{ Mean, Min, Max float64 }
	}
	require.NoError(t, json.Unmarshal([]byte(o.stdout), &j))
	require.Equal(t, n, j.Rows)
	require.Equal(t, []int{2}, j.Item)
	require.InEpsilon(t, mean, j.Energy.Mean, 1e-5)
}

func TestEvalReadsFloat64AndEmptyBatches(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	e := filepath.Join(dir, "e.npy")
	empty := writeArray(t, filepath.Join(dir, "none.npy"), nil, 0, 2)
	succeed(t, "eval", "builtin:gaussian", "--in", empty, "--energy", e)
	readArray(t, e, 0)
	// A float64 file in Fortran order, which is not mapped.
	in := filepath.Join("..", "..", "internal", "npy", "testdata", "fortran_big_f8.npy")
	a, err := npy.ReadFile(in)
	require.NoError(t, err)
	if len(a.Shape) != 2 {
		t.Skipf("%s has the shape %v", in, a.Shape)
	}
	model := "builtin:harmonic:k=2:dim=" + shapeText(a.Shape[1:])[1:len(shapeText(a.Shape[1:]))-1]
	succeed(t, "eval", model, "--in", in, "--energy", e)
	want := make([]float64, a.Shape[0])
	for i := range want {
		for _, v := range a.Data[i*a.RowLen() : (i+1)*a.RowLen()] {
			want[i] += float64(v) * float64(v)
		}
	}
	requireClose(t, want, readArray(t, e, a.Shape[0]), 1e-6)
}

func TestEvalReportsWhatIsNotFinite(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	in := writeArray(t, filepath.Join(dir, "x.npy"), []float32{0, 1e15, 2}, 3, 1)
	e := filepath.Join(dir, "e.npy")
	o := succeed(t, "eval", "builtin:double-well:dim=1", "--in", in, "--energy", e, "--json")
	require.Contains(t, o.stderr, "1 of 3 rows")
	require.Contains(t, o.stderr, "row 1")
	require.Contains(t, o.stdout, `"nonfinite": 1`)
	require.True(t, math.IsInf(float64(readArray(t, e, 3)[1]), 1))
	require.Empty(t, succeed(t, "eval", "builtin:double-well:dim=1", "--in", in, "--energy", e, "-q").stderr)
}

func TestSumsOfBuiltins(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	in := writeArray(t, filepath.Join(dir, "x.npy"), []float32{1, 2, -3, 0.5}, 2, 2)
	e := filepath.Join(dir, "e.npy")
	succeed(t, "eval", "builtin:gaussian+0.5*builtin:harmonic:k=4", "--in", in, "--energy", e)
	requireClose(t, []float64{2.5 + 5, 4.625 + 9.25}, readArray(t, e, 2), 1e-6)
}
