package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func TestDerivedFiles(t *testing.T) {
	dir := t.TempDir()
	const n = 5
	x, v := normals("x", 2*n), normals("v", 2*n)
	var well doubleWell
	want := map[string][]float64{}
	for i := range n {
		lap := 0.0
		for j := range 2 {
			at := float64(x[2*i+j])
			want["gradient"] = append(want["gradient"], well.slope(at))
			want["score"] = append(want["score"], -well.slope(at))
			want["hvp"] = append(want["hvp"], well.curvature(at)*float64(v[2*i+j]))
			lap += well.curvature(at)
			row := []float64{0, 0}
			row[j] = well.curvature(at)
			want["hessian"] = append(want["hessian"], row...)
		}
		want["laplacian"] = append(want["laplacian"], lap)
	}
	shapes := map[string]string{"gradient": "[N,2]", "score": "[N,2]", "hvp": "[N,2]", "laplacian": "[N]", "hessian": "[N,2,2]"}
	for what := range want {
		path := filepath.Join(dir, what+".onnx")
		succeed(t, "derive", "builtin:double-well", "--what", what, "-o", path)
		g, info, err := graphs.ReadFile(path)
		require.NoError(t, err)
		require.LessOrEqual(t, info.Opsets[""], int64(19), what)
		require.LessOrEqual(t, info.IRVersion, int64(9), what)
		require.Len(t, info.Opsets, 1, what)
		feeds := map[string]*graphs.Array{"x": graphs.Floats([]int{n, 2}, float64s(x))}
		if what == "hvp" {
			feeds["v"] = graphs.Floats([]int{n, 2}, float64s(v))
		}
		require.Len(t, g.Inputs, len(feeds), what)
		require.Len(t, g.Outputs, 1, what)
		require.Equal(t, what, g.Outputs[0].Name)
		require.Equal(t, shapes[what], g.Outputs[0].Value.Shape().String())
		out, err := graphs.Evaluate(g, feeds)
		require.NoError(t, err)
		require.InDeltaSlice(t, want[what], out[what].F, 1e-5, what)
	}
}

func TestDerivedParameterGradients(t *testing.T) {
	dir := t.TempDir()
	m := writeNet(t, filepath.Join(dir, "net.onnx"), "mlp:5", 2)
	path := filepath.Join(dir, "pg.onnx")
	succeed(t, "derive", m, "--what", "param-gradients", "-o", path)
	g, _, err := graphs.ReadFile(path)
	require.NoError(t, err)
	require.NotNil(t, g.Input("cotangent"))
	source, _, err := graphs.ReadFile(m)
	require.NoError(t, err)
	const n = 4
	x := graphs.Floats([]int{n, 2}, float64s(normals("x", 2*n)))
	weights := []float64{1, -2, 0.5, 3}
	out, err := graphs.Evaluate(g, map[string]*graphs.Array{"x": x, "cotangent": graphs.Floats([]int{n}, weights)})
	require.NoError(t, err)
	require.Len(t, out, len(source.Params()))
	// Central differences of Σ weightₙ Eₙ in float64.
	total := func(name string, a *graphs.Array) (sum float64) {
		e, err := graphs.Evaluate(source, map[string]*graphs.Array{"x": x, name: a})
		require.NoError(t, err)
		for i, w := range weights {
			sum += w * e["energy"].F[i]
		}
		return sum
	}
	for _, p := range source.Params() {
		got := out["grad/"+p.Name]
		require.NotNil(t, got, p.Name)
		base, err := graphs.ArrayOf(p.Tensor)
		require.NoError(t, err)
		require.Equal(t, base.Dims, got.Dims)
		const h = 1e-5
		for i := range base.F {
			moved := func(d float64) float64 {
				v := append([]float64{}, base.F...)
				v[i] += d
				return total(p.Name, graphs.Floats(base.Dims, v))
			}
			require.InDelta(t, (moved(h)-moved(-h))/(2*h), got.F[i], 1e-6, "%s[%d]", p.Name, i)
		}
	}
}

func TestDerivedParameterGradientsNeedParameters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pg.onnx")
	fail(t, exitFailure, []string{"derive", "builtin:rosenbrock", "--what", "param-gradients", "-o", path}, "no parameters")
	require.NoFileExists(t, path)
}

func TestImportModes(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "src.onnx")
	writeBuilt(t, src, func(b *graphs.Builder) []graphs.Output {
		x := b.Input("image", graphs.Float32, graphs.Shape{graphs.Symbol("batch"), graphs.Static(3)})
		s := b.Input("scale", graphs.Float32, graphs.ShapeOf())
		w := b.Param("net.weight", graphs.NewTensor([]float32{1, 2, 3}, 3))
		return []graphs.Output{{Name: "logits", Value: b.Op("Mul", nil, b.Op("Mul", nil, x, w), s)}, {Name: "spare", Value: b.Op("Neg", nil, x)}}
	})
	out := filepath.Join(dir, "energy.onnx")
	fail(t, exitFailure, []string{"import", src, "-o", out, "--as", "sum", "--set", "scale=2"}, "logits, spare", "--output")
	fail(t, exitFailure, []string{"import", src, "-o", out, "--as", "sum", "--output", "logits"}, "image", "scale")
	// x = (1, 1, 2): y = 2·(1, 2, 6).
	want := map[string]float64{"sum": 18, "sqnorm": 4 + 16 + 144, "neglogit:1": -4, "neglogsumexp": -12 - math.Log1p(math.Exp(-10)+math.Exp(-8))}
	for as, energy := range want {
		succeed(t, "import", src, "-o", out, "--as", as, "--output", "logits", "--input", "image", "--set", "scale=2")
		g, _, err := graphs.ReadFile(out)
		require.NoError(t, err)
		require.Equal(t, "x", g.Inputs[0].Name)
		require.Equal(t, "energy", g.Outputs[0].Name)
		require.Equal(t, "net.weight", g.Params()[0].Name)
		e, err := graphs.Evaluate(g, map[string]*graphs.Array{"x": graphs.Floats([]int{1, 3}, []float64{1, 1, 2})})
		require.NoError(t, err)
		require.InDelta(t, energy, e["energy"].F[0], 1e-5, as)
	}
}

func TestImportRefusesRowsThatInfluenceEachOther(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	src, out := filepath.Join(dir, "src.onnx"), filepath.Join(dir, "energy.onnx")
	writeBuilt(t, src, func(b *graphs.Builder) []graphs.Output {
		x := b.Input("x", graphs.Float32, rowsOf2)
		centred := b.Op("Sub", nil, x, b.Op("ReduceMean", graphs.Attrs{"keepdims": int64(1)}, x, b.Ints(0)))
		return []graphs.Output{{Name: "energy", Value: b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, centred, centred), b.Ints(1))}}
	})
	fail(t, exitFailure, []string{"import", src, "-o", out}, "rows influence each other")
	require.NoFileExists(t, out)
}

func TestInspect(t *testing.T) {
	dir := t.TempDir()
	m := writeNet(t, filepath.Join(dir, "net.onnx"), "mlp:5", 2)
	var j inspection
	require.NoError(t, json.Unmarshal([]byte(succeed(t, "inspect", m, "--json").stdout), &j))
	require.True(t, j.Energy)
	require.Equal(t, 2*5+5+5+1, j.ParameterCount)
	require.Equal(t, j.ParameterCount, j.TrainableCount)
	require.Equal(t, "x", j.Inputs[0].Name)
	require.Equal(t, []any{"N", 2.0}, j.Inputs[0].Shape)
	for _, op := range j.Ops {
		require.True(t, op.Gradient, op.Op)
	}
	text := succeed(t, "inspect", m).stdout
	require.Contains(t, text, "parameters 21, of which 21 are trainable")
	require.Contains(t, text, "Gemm")
}

func TestDoctor(t *testing.T) {
	needRuntime(t)
	var d diagnosis
	require.NoError(t, json.Unmarshal([]byte(succeed(t, "doctor", "--json").stdout), &d))
	require.True(t, d.OK)
	require.NotEmpty(t, d.Runtime.Version)
	require.Contains(t, d.Runtime.Providers, "CPUExecutionProvider")
	require.Contains(t, succeed(t, "doctor").stdout, "test run    ok")
}

// TestReferenceModels holds import, eval and loss against values of PyTorch.
func TestReferenceModels(t *testing.T) {
	needRuntime(t)
	root := filepath.Join("..", "..", "..", "shared", "fixtures")
	raw, err := os.ReadFile(filepath.Join(root, "index.json"))
	if err != nil {
		t.Skipf("no reference values: %v", err)
	}
	var index map[string]struct {
		Tier   int
		Energy string
		Sigma  float64
		Losses map[string]float64
	}
	require.NoError(t, json.Unmarshal(raw, &index))
	tried := 0
	for name, m := range index {
		if m.Tier != 1 {
			continue
		}
		tried++
		t.Run(name, func(t *testing.T) {
			file := func(base string) string { return filepath.Join(root, name, base) }
			dir := t.TempDir()
			out := func(base string) string { return filepath.Join(dir, base) }
			succeed(t, "import", file("model.onnx"), "-o", out("e.onnx"), "--as", m.Energy)
			succeed(t, "eval", out("e.onnx"), "--in", file("x.npy"), "--energy", out("e.npy"), "--gradient", out("g.npy"), "--vector", file("v.npy"), "--hvp", out("h.npy"))
			for base, tolerance := range map[string]float64{"e:energy": 1e-5, "g:gradient": 1e-4, "h:hvp": 1e-3} {
				want, _, err := readRows(file(base[2:]+".npy"), nil)
				require.NoError(t, err)
				got, _, err := readRows(out(base[:1]+".npy"), nil)
				require.NoError(t, err)
				requireClose(t, float64s(want), got, tolerance)
			}
			if want, ok := m.Losses["dsm"]; ok {
				o := succeed(t, "loss", out("e.onnx"), "--loss", "dsm", "--in", file("x.npy"), "--noise", file("eps.npy"), "--sigma", fmt.Sprint(m.Sigma), "--json")
				var j struct{ Loss float64 }
				require.NoError(t, json.Unmarshal([]byte(o.stdout), &j))
				require.InEpsilon(t, want, j.Loss, 1e-4)
			}
		})
	}
	require.Positive(t, tried)
}
