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
	"github.com/onnx-ebm/onnx-ebm/runtime"
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

// Files derived of an energy of images of any size, and of one of sequences of any length, give at every size what eval gives there, and the
// second differences of the energy.
func TestDerivedFilesOfOpenExtents(t *testing.T) {
	needRuntime(t)
	rt, err := runtime.Open(runtime.Options{})
	require.NoError(t, err)
	dir := t.TempDir()
	param := func(b *graphs.Builder, name string, dims ...int64) *graphs.Value {
		w := normals(name, int(graphs.ShapeOf(dims...).Size().Size))
		for i := range w {
			w[i] /= 2
		}
		return b.Param(name, graphs.NewTensor(w, dims...))
	}
	total := func(b *graphs.Builder, y *graphs.Value, axes ...int64) []graphs.Output {
		e := b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Sin", nil, y), b.Ints(axes...))
		return []graphs.Output{{Name: "energy", Value: e}}
	}
	images := writeBuilt(t, filepath.Join(dir, "images.onnx"), func(b *graphs.Builder) []graphs.Output {
		x := b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(1), graphs.Symbol("H"), graphs.Symbol("W")})
		y := b.Op("Tanh", nil, b.Op("Conv", graphs.Attrs{"pads": []int64{1, 1, 1, 1}}, x, param(b, "first", 3, 1, 3, 3), param(b, "bias", 3)))
		return total(b, b.Op("Conv", graphs.Attrs{"strides": []int64{2, 2}}, y, param(b, "second", 2, 3, 2, 2)), 1, 2, 3)
	})
	sequences := writeBuilt(t, filepath.Join(dir, "sequences.onnx"), func(b *graphs.Builder) []graphs.Output {
		x := b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Symbol("T"), graphs.Static(2)})
		steps := b.Op("Transpose", graphs.Attrs{"perm": []int64{1, 0, 2}}, x)
		y := b.Op("GRU", graphs.Attrs{"hidden_size": int64(3)}, steps, param(b, "w", 1, 9, 2), param(b, "r", 1, 9, 3))
		return total(b, y, 0, 1, 3)
	})
	const n = 2
	for _, c := range []struct {
		model string
		items [][]int64
	}{{images, [][]int64{{1, 3, 4}, {1, 4, 2}}}, {sequences, [][]int64{{1, 2}, {5, 2}}}} {
		energy, _, err := graphs.ReadFile(c.model)
		require.NoError(t, err)
		for _, what := range []string{"laplacian", "hessian"} {
			path := filepath.Join(dir, what+".onnx")
			succeed(t, "derive", c.model, "--what", what, "-o", path)
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			for _, item := range c.items {
				d := graphs.ShapeOf(item...).Size().Size
				result := map[string][]int64{"laplacian": nil, "hessian": {d, d}}[what]
				p, err := rt.Compile(runtime.Model{Name: what, Bytes: raw, Inputs: []runtime.Port{{Name: "x", Item: item}}, Outputs: []runtime.Port{{Name: what, Item: result}}})
				require.NoError(t, err)
				b, err := p.Bind(n, runtime.BindOptions{})
				require.NoError(t, err)
				x := normals(fmt.Sprint(item), n*int(d))
				copy(b.In("x"), x)
				require.NoError(t, b.Run(t.Context()))
				hess := secondDifferences(t, energy, graphs.Floats(append([]int{n}, ints(item)...), float64s(x)))
				if what == "hessian" {
					requireClose(t, hess, b.Out(what), 2e-5)
				} else {
					lap := filepath.Join(dir, "lap.npy")
					in := writeArray(t, filepath.Join(dir, "x.npy"), x, append([]int{n}, ints(item)...)...)
					succeed(t, "eval", c.model, "--in", in, "--laplacian", lap)
					trace := make([]float64, n)
					for i := range hess {
						if row := int64(i) / d; row%d == int64(i)%d {
							trace[row/d] += hess[i]
						}
					}
					requireClose(t, trace, b.Out(what), 2e-5)
					requireClose(t, trace, readArray(t, lap, n), 2e-5)
				}
				require.NoError(t, b.Close())
				require.NoError(t, p.Close())
			}
		}
	}
}

// secondDifferences is the Hessian [N, D, D] of an energy graph, evaluated in float64.
func secondDifferences(t *testing.T, energy *graphs.Graph, x *graphs.Array) []float64 {
	t.Helper()
	n := x.Dims[0]
	d := len(x.F) / n
	const h = 1e-4
	moved := func(i, j int, si, sj float64) []float64 {
		y := *x
		y.F = append([]float64{}, x.F...)
		for row := range n {
			y.F[row*d+i] += si * h
			y.F[row*d+j] += sj * h
		}
		out, err := graphs.Evaluate(energy, map[string]*graphs.Array{"x": &y})
		require.NoError(t, err)
		return out["energy"].F
	}
	hess := make([]float64, n*d*d)
	for i := range d {
		for j := range d {
			a, b, c, e := moved(i, j, 1, 1), moved(i, j, 1, -1), moved(i, j, -1, 1), moved(i, j, -1, -1)
			for row := range n {
				hess[(row*d+i)*d+j] = (a[row] - b[row] - c[row] + e[row]) / (4 * h * h)
			}
		}
	}
	return hess
}
