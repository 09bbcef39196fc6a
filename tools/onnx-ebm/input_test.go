package main

import (
	"bytes"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
)

var rowsOf2 = graphs.Shape{graphs.Symbol("N"), graphs.Static(2)}

// badModels writes files that are no energies, with what the error must say.
func badModels(t *testing.T, dir string) map[string][]string {
	path := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(path("text.onnx"), []byte("this is no model\n"), 0o600))
	whole, err := os.ReadFile(writeNet(t, path("net.onnx"), "mlp:8", 2))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path("truncated.onnx"), whole[:len(whole)/2], 0o600))
	require.NoError(t, os.WriteFile(path("empty.onnx"), nil, 0o600))
	writeBuilt(t, path("ints.onnx"), func(b *graphs.Builder) []graphs.Output {
		x := b.Input("tokens", graphs.Int64, rowsOf2)
		return []graphs.Output{{Name: "y", Value: b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Cast", graphs.Attrs{"to": int64(graphs.Float32)}, x), b.Ints(1))}}
	})
	writeBuilt(t, path("two.onnx"), func(b *graphs.Builder) []graphs.Output {
		x, z := b.Input("left", graphs.Float32, rowsOf2), b.Input("right", graphs.Float32, rowsOf2)
		return []graphs.Output{{Name: "y", Value: b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, x, z), b.Ints(1))}}
	})
	writeBuilt(t, path("wide.onnx"), func(b *graphs.Builder) []graphs.Output {
		return []graphs.Output{{Name: "logits", Value: b.Op("Tanh", nil, b.Input("x", graphs.Float32, rowsOf2))}}
	})
	// A node reads a name that no one gives, or the name of what is computed from it.
	var patched bytes.Buffer
	b := graphs.NewBuilder("test")
	x := b.Input("x", graphs.Float32, rowsOf2)
	h := b.Op("Add", nil, x, b.Param("energi", graphs.NewTensor([]float32{1, 2}, 2)))
	g, err := b.Graph(graphs.Output{Name: "energy", Value: b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, h, b.Ints(1))})
	require.NoError(t, err)
	raw, err := graphs.Encode(g, graphs.WriteOptions{})
	require.NoError(t, err)
	patched.Write(bytes.Replace(raw, []byte("energi"), []byte("energy"), 1))
	require.NoError(t, os.WriteFile(path("cycle.onnx"), patched.Bytes(), 0o600))
	require.NoError(t, os.WriteFile(path("dangling.onnx"), bytes.Replace(raw, []byte("energi"), []byte("nobody"), 1), 0o600))
	return map[string][]string{
		"text.onnx":      {"text.onnx", "ONNX"},
		"truncated.onnx": {"truncated.onnx"},
		"empty.onnx":     {"empty.onnx"},
		"ints.onnx":      {"no float input", "tokens"},
		"two.onnx":       {"left", "right", "--input"},
		"wide.onnx":      {"[N,2]", "--as"},
		"cycle.onnx":     {"cycle"},
		"dangling.onnx":  {"nobody"},
		"absent.onnx":    {"absent.onnx"},
	}
}

func TestBadModels(t *testing.T) {
	dir, outDir := t.TempDir(), t.TempDir()
	bad := badModels(t, dir)
	x := writeArray(t, filepath.Join(dir, "x.npy"), normals("x", 20), 10, 2)
	out := filepath.Join(outDir, "out")
	require.NoError(t, os.WriteFile(out, []byte("old"), 0o600))
	before := snapshot(t, outDir)
	for name, parts := range bad {
		m := filepath.Join(dir, name)
		for _, args := range [][]string{
			{"import", m, "-o", out},
			{"derive", m, "--what", "gradient", "-o", out},
			{"eval", m, "--in", x, "--energy", out},
			{"loss", m, "--in", x, "--loss", "sm", "--grads", out},
			{"sample", m, "--chains", "2", "--steps", "2", "--step-size", "0.1", "-o", out},
		} {
			fail(t, exitFailure, args, parts...)
			require.Equal(t, before, snapshot(t, outDir), "%v", args)
		}
	}
}

type oddOp struct {
	op    string
	attrs graphs.Attrs
	more  func(b *graphs.Builder) []*graphs.Value
	sum   float32 // over the result at x = 1 2 3 4
}

// underivable are ops that have an ONNX Runtime kernel and, at least some of
// them, no gradient: from x [N,1,4] to a tensor whose sum is known.
var underivable = []oddOp{
	{"Col2Im", nil, func(b *graphs.Builder) []*graphs.Value { return []*graphs.Value{b.Ints(2, 2), b.Ints(1, 1)} }, 10},
	{"DFT", graphs.Attrs{"onesided": int64(0)}, func(b *graphs.Builder) []*graphs.Value { return nil }, 10},
}

func TestOpWithoutGradient(t *testing.T) {
	dir := t.TempDir()
	at := slices.IndexFunc(underivable, func(u oddOp) bool { return !slices.Contains(gradients.Supported(), u.op) })
	if at < 0 {
		t.Skip("every op that this test knows has a gradient")
	}
	u := underivable[at]
	m := filepath.Join(dir, "m.onnx")
	writeBuilt(t, m, func(b *graphs.Builder) []graphs.Output {
		x := b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(1), graphs.Static(4)})
		n := &graphs.Node{Op: u.op, Name: "the/odd/node", Attrs: u.attrs, In: append([]*graphs.Value{x}, u.more(b)...)}
		n.Out = []*graphs.Value{{Node: n}}
		y := b.Add(n)[0]
		flat := b.Op("Flatten", graphs.Attrs{"axis": int64(1)}, y)
		return []graphs.Output{{Name: "energy", Value: b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, flat, b.Ints(1))}}
	})
	out := filepath.Join(dir, "g.onnx")
	fail(t, exitFailure, []string{"derive", m, "--what", "gradient", "-o", out}, u.op, "the/odd/node", "no gradient", "Gemm")
	require.NoFileExists(t, out)
	require.Contains(t, succeed(t, "inspect", m).stdout, "no gradient")

	needRuntime(t)
	in := writeArray(t, filepath.Join(dir, "x.npy"), []float32{1, 2, 3, 4}, 1, 1, 4)
	e := filepath.Join(dir, "e.npy")
	succeed(t, "eval", m, "--in", in, "--energy", e)
	require.InDelta(t, u.sum, readArray(t, e, 1)[0], 1e-5)
	fail(t, exitFailure, []string{"eval", m, "--in", in, "--gradient", out}, u.op)
	require.NoFileExists(t, out)
}

func TestBadArrays(t *testing.T) {
	needRuntime(t)
	dir, outDir := t.TempDir(), t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	good := writeArray(t, path("good.npy"), normals("x", 8), 4, 2)
	nan := normals("nan", 8)
	nan[5] = float32(math.NaN())
	inf := normals("inf", 8)
	inf[7] = float32(math.Inf(1))
	whole, err := os.ReadFile(good)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path("cut.npy"), whole[:len(whole)-4], 0o600))
	require.NoError(t, os.WriteFile(path("ints.npy"), bytes.Replace(whole, []byte("'<f4'"), []byte("'<i4'"), 1), 0o600))
	require.NoError(t, os.WriteFile(path("text.npy"), []byte("1 2 3"), 0o600))
	cases := map[string][]string{
		writeArray(t, path("wide.npy"), normals("w", 12), 4, 3):   {"[4,3]", "[N,2]"},
		writeArray(t, path("flat.npy"), normals("f", 4), 4):       {"[4]", "[N,2]"},
		writeArray(t, path("deep.npy"), normals("d", 8), 2, 2, 2): {"[2,2,2]", "[N,2]"},
		writeArray(t, path("nan.npy"), nan, 4, 2):                 {"nan.npy", "row 2", "NaN"},
		writeArray(t, path("inf.npy"), inf, 4, 2):                 {"inf.npy", "row 3", "infinity"},
		path("cut.npy"):    {"cut.npy"},
		path("ints.npy"):   {"ints.npy", "int32"},
		path("text.npy"):   {"text.npy"},
		path("absent.npy"): {"absent.npy"},
	}
	out := filepath.Join(outDir, "out.npy")
	require.NoError(t, os.WriteFile(out, []byte("old"), 0o600))
	before := snapshot(t, outDir)
	for bad, parts := range cases {
		for _, args := range [][]string{
			{"eval", "builtin:gaussian", "--in", bad, "--energy", out},
			{"loss", "builtin:gaussian", "--in", bad, "--loss", "sm", "--grads", out},
			{"loss", "builtin:gaussian", "--in", good, "--loss", "cd", "--neg", bad, "--grads", out},
			{"sample", "builtin:gaussian", "--init", bad, "--steps", "2", "--step-size", "0.1", "-o", out},
		} {
			fail(t, exitFailure, args, parts...)
			require.Equal(t, before, snapshot(t, outDir), "%v", args)
		}
	}
	short := writeArray(t, path("short.npy"), normals("s", 6), 3, 2)
	fail(t, exitFailure, []string{"eval", "builtin:gaussian", "--in", good, "--vector", short, "--hvp", out}, "[3,2]", "[4,2]")
	fail(t, exitFailure, []string{"loss", "builtin:gaussian", "--in", good, "--loss", "dsm", "--noise", short}, "[3,2]", "[4,2]")
	fail(t, exitFailure, []string{"loss", "builtin:gaussian", "--in", good, "--loss", "ssm", "--vector", short}, "[3,2]", "[4,2]")
	fail(t, exitFailure, []string{"loss", "builtin:gaussian", "--in", good, "--loss", "energy-discrepancy", "--noise", good}, "[1+M,4,2]")
	fail(t, exitFailure, []string{"loss", "builtin:gaussian", "--in", good, "--loss", "nce", "--neg", good, "--noise-logp", writeArray(t, path("lp.npy"), normals("lp", 5), 5)}, "[5]", "[8]")
	fail(t, exitFailure, []string{"sample", "builtin:gaussian", "--init", good, "--chains", "3", "--steps", "2", "--step-size", "0.1", "-o", out}, "[4,2]", "3 chains")
	fail(t, exitFailure, []string{"plot", "builtin:gaussian:dim=3", "-o", filepath.Join(outDir, "p.png")}, "D = 3", "D = 1 and D = 2")
	fail(t, exitFailure, []string{"plot", "builtin:gaussian", "-o", filepath.Join(outDir, "p.png"), "--range", "0,1"}, "needs 4")
	fail(t, exitFailure, []string{"plot", "builtin:gaussian", "-o", filepath.Join(outDir, "p.png"), "--samples", path("wide.npy")}, "[4,3]", "[N,2]")
	require.Equal(t, before, snapshot(t, outDir))
}

func TestUnwritableOutputsAreFoundFirst(t *testing.T) {
	dir := t.TempDir()
	for _, out := range []string{filepath.Join(dir, "missing", "out.png"), dir} {
		part := "missing does not exist"
		if out == dir {
			part = "folder"
		}
		// The model does not exist either: the output must be what is named.
		for _, args := range [][]string{
			{"import", "absent.onnx", "-o", out},
			{"derive", "absent.onnx", "--what", "gradient", "-o", out},
			{"eval", "absent.onnx", "--in", "absent.npy", "--energy", out},
			{"loss", "absent.onnx", "--in", "absent.npy", "--loss", "sm", "--grads", out},
			{"sample", "absent.onnx", "--chains", "2", "--steps", "2", "--step-size", "0.1", "-o", out},
			{"train", "--data", "absent.npy", "--model", "mlp:3", "--loss", "dsm", "--steps", "1", "-o", out},
		} {
			fail(t, exitFailure, args, part)
		}
	}
	fail(t, exitFailure, []string{"plot", "absent.onnx", "-o", filepath.Join(dir, "missing", "out.png")}, "missing does not exist")
	twice := filepath.Join(dir, "same.npy")
	fail(t, exitFailure, []string{"eval", "absent.onnx", "--in", "absent.npy", "--energy", twice, "--gradient", twice}, "two outputs")
	require.Empty(t, snapshot(t, dir))
}

// TestMain lets the test binary stand for the command, for what concerns a
// whole process.
func TestMain(m *testing.M) {
	if os.Getenv("ONNX_EBM_TEST_AS_COMMAND") != "" {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// asProcess runs a command line in a process of its own, with the given
// environment added.
func asProcess(env []string, args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(append(os.Environ(), "ONNX_EBM_TEST_AS_COMMAND=1"), env...)
	return c
}

func TestRuntimeThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	noLibrary := filepath.Join(dir, "libonnxruntime.so")
	require.NoError(t, os.WriteFile(noLibrary, []byte("no library"), 0o600))
	x := writeArray(t, filepath.Join(dir, "x.npy"), normals("x", 4), 2, 2)
	out := filepath.Join(dir, "e.npy")
	eval := []string{"eval", "builtin:gaussian", "--in", x, "--energy", out}
	clean := []string{"ONNXRUNTIME_SHARED_LIBRARY_PATH=", "ORT_DYLIB_PATH=", "XDG_DATA_HOME=" + dir, "LD_LIBRARY_PATH="}
	cases := []struct {
		env  []string
		args []string
		part string
	}{
		{nil, append(eval, "--runtime", filepath.Join(dir, "nowhere.so")), "nowhere.so"},
		{nil, append(eval, "--runtime", noLibrary), noLibrary},
		{append(clean, "ONNXRUNTIME_SHARED_LIBRARY_PATH="+noLibrary), eval, noLibrary},
		{append(clean, "ORT_DYLIB_PATH="+filepath.Join(dir, "gone")), eval, "gone"},
		{append(clean, "ORT_DYLIB_PATH="+noLibrary), []string{"doctor", "--json"}, noLibrary},
	}
	for _, c := range cases {
		var stderr bytes.Buffer
		command := asProcess(c.env, c.args...)
		command.Stderr = &stderr
		err := command.Run()
		require.Error(t, err, "%v", c.args)
		require.Equal(t, exitFailure, command.ProcessState.ExitCode(), stderr.String())
		require.Contains(t, stderr.String(), c.part)
		require.Contains(t, stderr.String(), "runtime install")
		require.LessOrEqual(t, bytes.Count(stderr.Bytes(), []byte("\n")), maxErrorLines)
		require.NoFileExists(t, out)
	}
}
