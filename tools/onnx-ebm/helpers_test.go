package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

type outcome struct {
	code           int
	stdout, stderr string
}

// execute runs a command line in this process.
func execute(args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := run(args, strings.NewReader(""), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// succeed runs a command line that must succeed.
func succeed(t *testing.T, args ...string) outcome {
	t.Helper()
	o := execute(args...)
	require.Equal(t, exitOK, o.code, "%v: %s", args, o.stderr)
	return o
}

// fail runs a command line that must fail with the code and a short message
// that holds the parts.
func fail(t *testing.T, code int, args []string, parts ...string) outcome {
	t.Helper()
	o := execute(args...)
	require.Equal(t, code, o.code, "%v: %s%s", args, o.stdout, o.stderr)
	for _, p := range parts {
		require.Contains(t, o.stderr, p, "%v", args)
	}
	require.True(t, strings.HasPrefix(o.stderr, "onnx-ebm"), o.stderr)
	require.LessOrEqual(t, strings.Count(o.stderr, "\n"), maxErrorLines, o.stderr)
	require.NotContains(t, o.stderr, "Usage:")
	return o
}

// needRuntime skips a test where no ONNX Runtime is found.
func needRuntime(t *testing.T) {
	t.Helper()
	if _, err := runtime.Open(runtime.Options{}); err != nil {
		t.Skipf("needs ONNX Runtime: %v", err)
	}
}

// snapshot is the names and contents of a folder's files.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if e.IsDir() {
			files[e.Name()] = "folder"
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		files[e.Name()] = string(raw)
	}
	return files
}

func writeArray(t *testing.T, path string, data []float32, shape ...int) string {
	t.Helper()
	require.NoError(t, npy.WriteFile(path, npy.Array{Shape: shape, Data: data}))
	return path
}

func readArray(t *testing.T, path string, shape ...int) []float32 {
	t.Helper()
	a, err := npy.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, shape, a.Shape, path)
	return a.Data
}

// normals are n standard normal numbers.
func normals(label string, n int) []float32 {
	x := make([]float32, n)
	rng.NewKey(7).Sub(label).Normals(x, 0, 0)
	return x
}

// writeNet writes a small network as an energy file.
func writeNet(t *testing.T, path, spec string, item ...int64) string {
	t.Helper()
	g, err := models.Network(spec, item, rng.NewKey(3))
	require.NoError(t, err)
	return writeGraph(t, path, g)
}

func writeGraph(t *testing.T, path string, g *graphs.Graph) string {
	t.Helper()
	require.NoError(t, graphs.WriteFile(path, g, graphs.WriteOptions{}))
	return path
}

// builder makes a graph of the input x and writes it.
func writeBuilt(t *testing.T, path string, build func(b *graphs.Builder) []graphs.Output) string {
	t.Helper()
	b := graphs.NewBuilder("test")
	g, err := b.Graph(build(b)...)
	require.NoError(t, err)
	return writeGraph(t, path, g)
}

// requireClose compares with float64 values, relative to the largest.
func requireClose(t *testing.T, want []float64, got []float32, tolerance float64) {
	t.Helper()
	require.Len(t, got, len(want))
	largest := 1e-6
	for _, v := range want {
		largest = max(largest, math.Abs(v))
	}
	for i := range want {
		require.InDelta(t, want[i], float64(got[i]), tolerance*largest, "element %d", i)
	}
}

// doubleWell is E = 2Σ(x²−1)² with its derivatives at rows of two.
type doubleWell struct{}

func (doubleWell) energy(x []float64) (e float64) {
	for _, v := range x {
		e += 2 * (v*v - 1) * (v*v - 1)
	}
	return e
}

func (doubleWell) slope(v float64) float64 { return 8 * v * (v*v - 1) }

func (doubleWell) curvature(v float64) float64 { return 24*v*v - 8 }
