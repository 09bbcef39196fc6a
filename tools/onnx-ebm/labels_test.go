package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// By class, denoising score matching learns each Gaussian of the circle apart: −f_y has its gradient (x − m_y)/(s² + σ²).
func TestTrainByClass(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	succeed(t, "train", "--data", "gaussian-mixture:n=2000:k=3:radius=1:std=0.3", "--model", "mlp:32,32:classes=3", "--loss", "dsm:sigma=0.3",
		"--by-class", "--cross-entropy", "0.1", "--steps", "500", "--lr", "cosine:5e-3,1e-4,500", "-o", path("c.onnx"))
	for class, at := range []float64{0, 2 * math.Pi / 3, 4 * math.Pi / 3} {
		one := path("one.onnx")
		succeed(t, "import", path("c.onnx"), "--output", "logits", "--as", "neglogit:"+string(rune('0'+class)), "-o", one)
		x := normals("points", 100)
		for i := range 50 {
			x[2*i], x[2*i+1] = float32(math.Cos(at))+0.4*x[2*i], float32(math.Sin(at))+0.4*x[2*i+1]
		}
		succeed(t, "eval", one, "--in", writeArray(t, path("x.npy"), x, 50, 2), "--gradient", path("g.npy"))
		g := readArray(t, path("g.npy"), 50, 2)
		diff, size := 0.0, 0.0
		for i := range 50 {
			for j, m := range []float64{math.Cos(at), math.Sin(at)} {
				want := (float64(x[2*i+j]) - m) / (0.3*0.3 + 0.3*0.3)
				diff += math.Pow(float64(g[2*i+j])-want, 2)
				size += want * want
			}
		}
		require.Less(t, diff/size, 0.05, "class %d", class)
	}
}

// The accuracies that train tells are those of the energies of the classes, and the same in the log, the output and a run of no learning.
func TestTrainAccuracy(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	const n, classes = 90, 3
	x, labels := normals("accuracy", 2*n), make([]float32, n)
	for i := range labels {
		labels[i] = float32(i % classes)
		x[2*i] += 1.5 * labels[i]
	}
	points := writeArray(t, path("x.npy"), x, n, 2)
	set := points + ":labels=" + writeArray(t, path("y.npy"), labels, n)
	results := func(args ...string) (j trainJSON, rows [][]string) {
		o := succeed(t, append([]string{"train", "--data", set, "--validation", set, "--loss", "dsm:sigma=0.3", "--json", "--log", path("log.csv")}, args...)...)
		require.NoError(t, json.Unmarshal([]byte(o.stdout), &j))
		rows, err := csv.NewReader(bytes.NewReader(readBytes(t, path("log.csv")))).ReadAll()
		require.NoError(t, err)
		require.Equal(t, []string{"accuracy", "validation", "validation_accuracy"}, rows[0][len(rows[0])-3:])
		return j, rows[1:]
	}
	for _, way := range [][]string{{"--by-class"}, {"--cross-entropy", "1"}} {
		j, rows := results(append(way, "--model", "mlp:16:classes=3", "--steps", "60", "--batch", "40", "--lr", "0.01", "--validate-every", "25", "--log-every", "7", "-o", path("c.onnx"))...)
		require.Len(t, rows, 8+3) // multiples of 7, and of 25 and the last
		for _, row := range rows {
			require.NotEmpty(t, row[len(row)-3], row)
		}
		last := rows[len(rows)-1]
		require.Equal(t, strconv.FormatFloat(float64(*j.Accuracy), 'g', -1, 64), last[len(last)-3])
		require.Equal(t, strconv.FormatFloat(float64(*j.ValidationAccuracy), 'g', -1, 64), last[len(last)-1])

		energies := make([][]float32, classes)
		for k := range energies {
			succeed(t, "import", path("c.onnx"), "--output", "logits", "--as", "neglogit:"+strconv.Itoa(k), "-o", path("one.onnx"))
			succeed(t, "eval", path("one.onnx"), "--in", points, "--energy", path("e.npy"))
			energies[k] = readArray(t, path("e.npy"), n)
		}
		right := 0
		for i := range n {
			k := i % classes
			if energies[k][i] <= min(energies[0][i], energies[1][i], energies[2][i]) {
				right++
			}
		}
		require.InDelta(t, float64(right)/n, float64(*j.ValidationAccuracy), 1e-12)
		if way[0] == "--cross-entropy" {
			require.Greater(t, right, n/2)
		}

		j, _ = results(append(way, "--model", path("c.onnx"), "--steps", "1", "--batch", "90", "--lr", "0", "-o", path("same.onnx"))...)
		require.InDelta(t, float64(right)/n, float64(*j.Accuracy), 1e-12)
	}
	o := succeed(t, "train", "--data", points, "--model", "mlp:4", "--loss", "dsm", "--steps", "1", "--json", "-o", path("d.onnx"))
	require.Contains(t, o.stdout, `"accuracy": null`)
}

// Every loss trains with classes, by class and with the cross-entropy; what is written is an ordinary energy of the items; a run in two
// parts, with another number of workers, ends with the same bytes.
func TestTrainWithClasses(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, loss := range []string{"mle:k=2", "cd:k=2", "pcd:k=2:buffer=64", "nce", "sm", "ssm", "sm-hutchinson", "dsm:gradient-penalty=0.1", "energy-discrepancy:m=2"} {
		for _, way := range [][]string{{"--by-class"}, {"--cross-entropy", "0.5"}} {
			args := append([]string{"train", "--data", "two-moons:n=100", "--model", "mlp:8:classes=2", "--loss", loss, "--batch", "32", "--ema", "0.9", "--json"}, way...)
			o := succeed(t, append(args, "--steps", "6", "-o", path("a.onnx"))...)
			require.True(t, json.Valid([]byte(o.stdout)))
			run := path("run-" + loss[:2] + loss[len(loss)-1:] + way[0])
			succeed(t, append(args, "--steps", "3", "-o", path("b.onnx"), "--checkpoint", run)...)
			succeed(t, append(args, "--steps", "6", "-o", path("b.onnx"), "--checkpoint", run, "--resume", "--workers", "1")...)
			require.Equal(t, readBytes(t, path("a.onnx")), readBytes(t, path("b.onnx")), "%s %v", loss, way)
		}
	}
	g, _, err := graphs.ReadFile(path("a.onnx"))
	require.NoError(t, err)
	require.Equal(t, []int64{2}, g.Inputs[0].Shape()[1:].Ints())
	require.Equal(t, "energy", g.Outputs[0].Name)
	require.Equal(t, "energy-discrepancy:m=2", g.Metadata["onnx-ebm.loss"])
	require.Equal(t, "6", g.Metadata["onnx-ebm.steps"])
	// A file goes on, and so does a classifier that was imported as a joint energy.
	succeed(t, "import", path("a.onnx"), "--output", "logits", "--as", "neglogsumexp", "-o", path("again.onnx"))
	for _, model := range []string{"a.onnx", "again.onnx"} {
		succeed(t, "train", "--data", "two-moons:n=100", "--model", path(model), "--loss", "cd:k=1", "--cross-entropy", "1", "--steps", "2", "-o", path("c.onnx"))
	}

	out := []string{"--steps", "1", "-o", path("x.onnx"), "--by-class"}
	fail(t, exitFailure, append([]string{"train", "--data", "swiss-roll", "--model", "mlp:8:classes=2", "--loss", "dsm"}, out...), "swiss-roll has no classes")
	fail(t, exitFailure, append([]string{"train", "--data", "two-moons", "--model", "mlp:8", "--loss", "dsm"}, out...), "classes=K")
	fail(t, exitFailure, append([]string{"train", "--data", "rings", "--model", "mlp:8:classes=3", "--loss", "dsm"}, out...), "labels go up to 3")
	fail(t, exitUsage, append([]string{"train", "--data", "rings", "--model", "mlp:8:classes=4", "--loss", "dsm", "--cross-entropy", "-1"}, out...), "greater than 0")
}
