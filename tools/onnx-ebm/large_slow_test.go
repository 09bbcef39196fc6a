//go:build slow && linux

package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

const (
	largeWidth  = 8192
	largeLayers = 9 // of 256 MiB
	largeDim    = 4
)

// largeNet is E(x) = u·tanh(W…tanh(W tanh(Vx))) with one matrix W in all layers, of which every layer has its own copy in the file.
type largeNet struct{ v, w, u []float32 }

func newLargeNet() largeNet {
	draw := func(label string, n, fan int) []float32 {
		s := make([]float32, n)
		rng.NewKey(11).Sub(label).Normals(s, 0, 0)
		for i := range s {
			s[i] /= float32(math.Sqrt(float64(fan)))
		}
		return s
	}
	return largeNet{draw("v", largeDim*largeWidth, largeDim), draw("w", largeWidth*largeWidth, largeWidth), draw("u", largeWidth, largeWidth)}
}

func (m largeNet) write(t *testing.T, path string) {
	b := graphs.NewBuilder("large")
	h := b.Input("input", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(largeDim)})
	layer := func(name string, w []float32, in, out int64) {
		h = b.Op("MatMul", nil, h, b.Param(name, graphs.NewTensor(w, in, out)))
	}
	layer("v", m.v, largeDim, largeWidth)
	for i := range largeLayers {
		h = b.Op("Tanh", nil, h)
		layer(fmt.Sprint("w", i), m.w, largeWidth, largeWidth)
	}
	h = b.Op("Tanh", nil, h)
	layer("u", m.u, largeWidth, 1)
	g, err := b.Graph(graphs.Output{Name: "y", Value: h})
	require.NoError(t, err)
	require.True(t, graphs.NeedsData(g, graphs.WriteOptions{}))
	writeGraph(t, path, g)
}

// energy is E in float64.
func (m largeNet) energy(x []float64) float64 {
	times := func(h []float64, w []float32, out int) []float64 {
		y := make([]float64, out)
		for i, a := range h {
			for j, b := range w[i*out : (i+1)*out] {
				y[j] += a * float64(b)
			}
		}
		return y
	}
	tanh := func(h []float64) []float64 {
		for i := range h {
			h[i] = math.Tanh(h[i])
		}
		return h
	}
	h := times(x, m.v, largeWidth)
	for range largeLayers {
		h = times(tanh(h), m.w, largeWidth)
	}
	return times(tanh(h), m.u, 1)[0]
}

// roomFor skips a test where memory or disk are short.
func roomFor(t *testing.T, dir string, memory, disk uint64) {
	var info syscall.Sysinfo_t
	require.NoError(t, syscall.Sysinfo(&info))
	var fs syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &fs))
	if free := (info.Freeram + info.Bufferram) * uint64(info.Unit); free < memory {
		t.Skipf("%d MiB of memory are free", free>>20)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < disk {
		t.Skipf("%d MiB of disk are free", free>>20)
	}
}

// Every command takes a model above protobuf's 2 GiB, within a multiple of its size: once for those that only read parameters, three times (parameters,
// a batch's gradient and the sum of gradients) for those that differentiate by them.
func TestLargeModel(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	roomFor(t, dir, 9<<30, 12<<30)
	path := func(name string) string { return filepath.Join(dir, name) }
	net := newLargeNet()
	net.write(t, path("src.onnx"))
	st, err := os.Stat(graphs.DataName(path("src.onnx")))
	require.NoError(t, err)
	require.Greater(t, st.Size(), int64(2)<<30)

	n := 3
	x, v := normals("x", n*largeDim), normals("v", n*largeDim)
	writeArray(t, path("x.npy"), x, n, largeDim)
	writeArray(t, path("v.npy"), v, n, largeDim)
	measured := func(most float64, args ...string) {
		c := asProcess(nil, args...)
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%v: %s", args, out)
		peak := c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
		ratio := float64(peak) / float64(st.Size())
		t.Logf("%s: peak memory %.2f times the model's", args[0], ratio)
		require.Less(t, ratio, most, args[0])
	}
	measured(0.2, "inspect", path("src.onnx"))
	measured(1.2, "import", path("src.onnx"), "-o", path("e.onnx"))
	require.FileExists(t, path("e.onnx.data"))
	for _, name := range []string{"src.onnx", "src.onnx.data"} {
		require.NoError(t, os.Remove(path(name)))
	}
	measured(1.2, "eval", path("e.onnx"), "--in", path("x.npy"), "--energy", path("energy.npy"), "--gradient", path("g.npy"))
	measured(1.2, "sample", path("e.onnx"), "--sampler", "langevin", "--chains", "2", "--steps", "2", "--step-size", "0.01", "-o", path("s.npy"))
	measured(3.3, "loss", path("e.onnx"), "--loss", "cd", "--in", path("x.npy"), "--neg", path("v.npy"), "--grads", path("grads.npz"))
	require.NoError(t, os.Remove(path("grads.npz")))
	measured(1.2, "derive", path("e.onnx"), "--what", "score", "-o", path("score.onnx"))
	require.FileExists(t, path("score.onnx.data"))
	require.NoError(t, os.Remove(path("score.onnx.data")))
	measured(3.3, "train", "--data", path("x.npy"), "--model", path("e.onnx"), "--loss", "cd:k=1", "--optimizer", "sgd", "--steps", "1", "--batch", "2", "-o", path("t.onnx"))
	require.FileExists(t, path("t.onnx.data"))

	energies, gradient := readArray(t, path("energy.npy"), n), readArray(t, path("g.npy"), n, largeDim)
	const h = 1e-4
	for i := range n {
		at := func(step float64) float64 {
			p := make([]float64, largeDim)
			for j := range p {
				p[j] = float64(x[i*largeDim+j]) + step*float64(v[i*largeDim+j])
			}
			return net.energy(p)
		}
		require.InDelta(t, at(0), energies[i], 1e-4)
		along := 0.0
		for j := range largeDim {
			along += float64(gradient[i*largeDim+j]) * float64(v[i*largeDim+j])
		}
		require.InDelta(t, (at(h)-at(-h))/(2*h), along, 1e-3*math.Max(1, math.Abs(along)))
	}
}
