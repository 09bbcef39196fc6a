package main

import (
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func TestTrain(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	args := func(out string, more ...string) []string {
		return append([]string{"train", "--data", "two-moons:n=300", "--model", "mlp:16,16", "--loss", "dsm:sigma=0.3", "--batch", "64", "--steps", "60", "-o", path(out)}, more...)
	}
	o := succeed(t, args("a.onnx", "--log", path("log.csv"), "--plot", path("loss.png"), "--validation", "two-moons:n=100", "--json")...)
	var j trainJSON
	require.NoError(t, json.Unmarshal([]byte(o.stdout), &j))
	require.Equal(t, 60, j.Steps)
	require.NotNil(t, j.Validation)
	lines := strings.Split(strings.TrimSpace(string(readBytes(t, path("log.csv")))), "\n")
	require.Len(t, lines, 61)
	require.True(t, strings.HasPrefix(lines[0], "step,epoch,loss,"))
	f, err := os.Open(path("loss.png"))
	require.NoError(t, err)
	defer f.Close()
	_, err = png.Decode(f)
	require.NoError(t, err)

	// The same bytes again, with one worker, and in two parts.
	succeed(t, args("b.onnx", "--workers", "1")...)
	require.Equal(t, readBytes(t, path("a.onnx")), readBytes(t, path("b.onnx")))
	part := args("c.onnx", "--checkpoint", path("run"))
	part[slices.Index(part, "--steps")+1] = "25"
	succeed(t, part...)
	succeed(t, args("c.onnx", "--checkpoint", path("run"), "--resume")...)
	require.Equal(t, readBytes(t, path("a.onnx")), readBytes(t, path("c.onnx")))
	succeed(t, args("d.onnx", "--seed", "1")...)
	require.NotEqual(t, readBytes(t, path("a.onnx")), readBytes(t, path("d.onnx")))

	// What is written is an energy file that the other commands take.
	succeed(t, "sample", path("a.onnx"), "--chains", "4", "--steps", "5", "--step-size", "0.01", "-o", path("s.npy"))
	readArray(t, path("s.npy"), 4, 2)
}

func TestTrainKeepsDataUnits(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	// Far from 0 and wide: without standardisation nothing is learned here.
	x := normals("data", 800)
	for i := range x {
		x[i] = 500 + 20*x[i]
	}
	data := writeArray(t, filepath.Join(dir, "x.npy"), x, 400, 2)
	out := filepath.Join(dir, "e.onnx")
	succeed(t, "train", "--data", data, "--model", "mlp:32", "--loss", "dsm:sigma=5", "--steps", "400", "--lr", "1e-2", "-o", out)
	grid := writeArray(t, filepath.Join(dir, "grid.npy"), []float32{500, 500, 560, 500, 500, 440}, 3, 2)
	energy := filepath.Join(dir, "energy.npy")
	succeed(t, "eval", out, "--in", grid, "--energy", energy)
	e := readArray(t, energy, 3)
	require.Greater(t, e[1], e[0]+1)
	require.Greater(t, e[2], e[0]+1)
}

func TestTrainOnlySome(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	start := writeNet(t, filepath.Join(dir, "start.onnx"), "mlp:6", 2)
	out := filepath.Join(dir, "out.onnx")
	args := []string{"train", "--data", "circle:n=100", "--model", start, "--loss", "cd", "--sampler-steps", "2", "--steps", "5", "-o", out}
	succeed(t, append(args, "--freeze", "layers.0.*")...)
	a, _, err := graphs.ReadFile(start)
	require.NoError(t, err)
	b, _, err := graphs.ReadFile(out)
	require.NoError(t, err)
	before := map[string][]float32{}
	for _, p := range a.Params() {
		before[p.Name] = graphs.Data[float32](p.Tensor)
	}
	require.Len(t, b.Params(), len(before))
	for _, p := range b.Params() {
		if strings.HasPrefix(p.Name, "layers.0.") {
			require.Equal(t, before[p.Name], graphs.Data[float32](p.Tensor), p.Name)
		}
	}
	require.NotEqual(t, before["layers.1.weight"], graphs.Data[float32](paramOf(t, b, "layers.1.weight")))
	fail(t, exitFailure, append(args, "--freeze", "nothing.*"), "nothing.*", "layers.0.weight")
	succeed(t, append(args, "--lr-scale", "layers.1.*=10", "--no-decay", "*.bias", "--clip-value", "0.5", "--drop-last", "--batch", "64", "--plot", filepath.Join(dir, "p.png"))...)
	fail(t, exitFailure, append(args, "--lr-scale", "nothing.*=2"), "nothing.*", "layers.0.weight")
	fail(t, exitUsage, append(args, "--lr-scale", "layers.1.*", "--clip-value", "0"), "GLOB=FACTOR", "--clip-value")
	for _, clamp := range []string{"3", "3,1", "a,b"} {
		fail(t, exitUsage, append(args, "--clamp", clamp), "--clamp "+clamp)
	}
	fail(t, exitFailure, append(args, "--data", writeArray(t, filepath.Join(dir, "x.npy"), normals("x", 30), 10, 3)), "[3]", "[N,2]")
}

// A step of an endless size leaves energies that are not finite; those after it are skipped, counted and told by the numbers that the log has.
func TestTrainSkips(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	out, log := filepath.Join(dir, "e.onnx"), filepath.Join(dir, "log.csv")
	args := []string{"train", "--data", "circle:n=50", "--model", "mlp:6", "--loss", "sm", "--steps", "4", "--lr", "multistep:1e30,1e-33,1", "-o", out, "--log", log}
	fail(t, exitFailure, args, "stopped after 1 of 4 steps", "step 2", "non-finite")
	o := succeed(t, append(args, "--non-finite", "skip")...)
	require.Contains(t, o.stdout, "finished after 4 steps, of which 3 were skipped")
	require.Contains(t, o.stderr, "step 2 skipped")
	require.NotContains(t, o.stderr, "step 1 skipped")
	require.Contains(t, string(readBytes(t, log)), "\n2,2,NaN,")
}

func paramOf(t *testing.T, g *graphs.Graph, name string) *graphs.Tensor {
	t.Helper()
	for _, p := range g.Params() {
		if p.Name == name {
			return p.Tensor
		}
	}
	require.Fail(t, "no parameter "+name)
	return nil
}
