package main

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func decode(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	return img
}

func TestPlot(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	samples := writeArray(t, path("s.npy"), normals("s", 60), 5, 6, 2)
	succeed(t, "plot", "builtin:rings", "-o", path("a.png"), "--samples", samples, "--data", "rings:n=100")
	img := decode(t, path("a.png"))
	require.Greater(t, img.Bounds().Dx(), 600)
	succeed(t, "plot", "builtin:rings", "-o", path("b.png"), "--samples", samples, "--data", "rings:n=100", "--workers", "1")
	require.Equal(t, readBytes(t, path("a.png")), readBytes(t, path("b.png")))
	succeed(t, "plot", "builtin:rosenbrock", "-o", path("log.png"), "--range", "-2,2,-1,3", "--log")
	decode(t, path("log.png"))
	line := writeArray(t, path("l.npy"), normals("l", 50), 50, 1)
	succeed(t, "plot", "builtin:double-well:dim=1", "-o", path("line.png"), "--samples", line, "--range", "-2,2")
	decode(t, path("line.png"))
	succeed(t, "sample", "builtin:funnel:dim=5", "--chains", "3", "--steps", "30", "--step-size", "0.01", "-o", path("f.npy"), "--plot", path("trace.png"))
	decode(t, path("trace.png"))
	succeed(t, "sample", "builtin:rings", "--chains", "30", "--steps", "30", "--step-size", "0.01", "-o", path("f.npy"), "--plot", path("over.png"))
	decode(t, path("over.png"))
	// Images side by side: two rows of two, the last place empty.
	succeed(t, "train", "--data", "strokes:n=20:size=8", "--model", "convnet:2,2", "--loss", "dsm:sigma=0.3", "--steps", "1", "-o", path("strokes.onnx"))
	succeed(t, "sample", path("strokes.onnx"), "--chains", "3", "--steps", "2", "--step-size", "0.01", "-o", path("f.npy"), "--plot", path("grid.png"))
	grid := decode(t, path("grid.png"))
	require.Equal(t, grid.Bounds().Dx(), grid.Bounds().Dy())
	// The same picture of the file, with the model and without.
	succeed(t, "plot", path("strokes.onnx"), "--grid", "--samples", path("f.npy"), "-o", path("again.png"))
	require.Equal(t, readBytes(t, path("grid.png")), readBytes(t, path("again.png")))
	succeed(t, "plot", "--grid", "--samples", path("f.npy"), "-o", path("alone.png"))
	require.Equal(t, readBytes(t, path("grid.png")), readBytes(t, path("alone.png")))
	succeed(t, "plot", "--grid", "--data", "strokes:n=5", "-o", path("data.png"))
	decode(t, path("data.png"))
	fail(t, exitFailure, []string{"plot", path("strokes.onnx"), "-o", path("x.png")}, "D = 64", "--grid")
	fail(t, exitFailure, []string{"plot", path("strokes.onnx"), "--grid", "--data", "strokes:n=5", "-o", path("x.png")}, "[1,16,16]", "[N,1,8,8]")
	fail(t, exitFailure, []string{"plot", "--grid", "--samples", line, "-o", path("x.png")}, "[N, H, W]")
	fail(t, exitUsage, []string{"plot", "--grid", "--log"}, "--samples or --data", "--log", "-o")
	white := color.NRGBA{0xff, 0xff, 0xff, 0xff}
	last := grid.Bounds().Max
	require.Equal(t, white, color.NRGBAModel.Convert(grid.At(last.X*3/4, last.Y*3/4)))
	grey := 0
	for x := range last.X {
		if color.NRGBAModel.Convert(grid.At(x, last.Y/4)) != white {
			grey++
		}
	}
	require.Greater(t, grey, last.X*3/4)
}
