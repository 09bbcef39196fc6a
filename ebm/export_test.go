package ebm_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// export is a small model as an exporter wrote it (testdata/exports/README.md), with values of the framework's own differentiation in float64.
type export struct {
	Energy string
	Set    map[string]float64
	Shape  []int
	X, V   []float64
	Values map[string][]float64
}

var exportWants = map[string]gradients.Want{
	gradients.EnergyName: gradients.Energy, gradients.GradientName: gradients.Gradient,
	gradients.HVPName: gradients.HVP, gradients.LaplacianName: gradients.Laplacian,
}

// Models of PyTorch's two exporters with batch sizes written into reshapes, masks, initial states and sizes: all become dynamic, and the
// derivative graphs give the framework's values in double precision.
func TestExports(t *testing.T) {
	dir := "testdata/exports"
	raw, err := os.ReadFile(filepath.Join(dir, "values.json"))
	require.NoError(t, err)
	all := map[string]export{}
	require.NoError(t, json.Unmarshal(raw, &all))
	require.NotEmpty(t, all)
	for name, f := range all {
		t.Run(name, func(t *testing.T) {
			src, _, err := graphs.ReadFile(filepath.Join(dir, name+".onnx"))
			require.NoError(t, err)
			o := ebm.ImportOptions{As: f.Energy, Set: map[string]ebm.SetValue{}}
			for k, v := range f.Set {
				o.Set[k] = ebm.SetValue{Number: v}
			}
			g, _, err := ebm.Import(src, o)
			require.NoError(t, err)
			require.Equal(t, graphs.Symbol("N"), g.Inputs[0].Shape()[0])
			for what, want := range f.Values {
				t.Run(what, func(t *testing.T) {
					d, err := gradients.Derive(g, exportWants[what])
					require.NoError(t, err)
					feeds := map[string]*graphs.Array{gradients.X: graphs.Floats(f.Shape, f.X)}
					if what == gradients.HVPName {
						feeds[gradients.V] = graphs.Floats(f.Shape, f.V)
					}
					got, err := graphs.Evaluate(d, feeds)
					require.NoError(t, err)
					requireClose(t, want, got[what].F, 1e-5)
				})
			}
		})
	}
}

// requireClose compares within tol of the largest magnitude.
func requireClose(t *testing.T, want, got []float64, tol float64) {
	t.Helper()
	require.Len(t, got, len(want))
	scale := 1e-6
	for _, w := range want {
		scale = max(scale, w, -w)
	}
	for i := range want {
		require.InDelta(t, want[i], got[i], tol*scale, fmt.Sprint("element ", i))
	}
}

// A model with its batch size kept runs in batches of that size, which are proved as well.
func TestKeptBatch(t *testing.T) {
	rt := openRuntime(t)
	mixed := func(mix bool) *graphs.Graph {
		b := graphs.NewBuilder("fixed")
		x := b.Input("input", graphs.Float32, graphs.ShapeOf(3, 2))
		y := x
		if mix {
			y = b.Op("Sub", nil, x, b.Op("ReduceMean", graphs.Attrs{"keepdims": int64(1)}, x, b.Ints(0)))
		}
		y = b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, y, y), b.Ints(1))
		g, err := b.Graph(graphs.Output{Name: "y", Value: y})
		require.NoError(t, err)
		return g
	}
	g, _, err := ebm.Import(mixed(false), ebm.ImportOptions{KeepBatch: true})
	require.NoError(t, err)
	require.Equal(t, graphs.Static(3), g.Inputs[0].Shape()[0])
	require.NoError(t, ebm.CheckRows(t.Context(), rt, g, nil))
	e, err := ebm.New(rt, g, ebm.Options{})
	require.NoError(t, err)
	defer e.Close()
	got, err := e.Energy(t.Context(), []float32{1, 0, 0, 2, 3, 0, 1, 1}, 4)
	require.NoError(t, err)
	require.Equal(t, []float32{1, 4, 9, 2}, got)

	// E = s(c₀) + s(c₁) of the running sums c, an op without a forward rule, and s = SiLU, which older opsets lack: tr ∇²E = s″(c₀) + 2s″(c₁).
	b := graphs.NewBuilder("sums")
	c := b.Op("CumSum", nil, b.Input("input", graphs.Float32, graphs.ShapeOf(3, 2)), b.Int(1))
	y := b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, c, b.Op("Sigmoid", nil, c)), b.Ints(1))
	g, err = b.Graph(graphs.Output{Name: "y", Value: y})
	require.NoError(t, err)
	g, _, err = ebm.Import(g, ebm.ImportOptions{KeepBatch: true})
	require.NoError(t, err)
	s, err := ebm.New(rt, g, ebm.Options{})
	require.NoError(t, err)
	defer s.Close()
	x, lap := []float32{1, 0, 0, 2, 3, 0, 1, 1}, make([]float32, 4)
	require.NoError(t, s.Laplacian(t.Context(), x, 4, lap))
	curvature := func(z float64) float64 {
		p := 1 / (1 + math.Exp(-z))
		return p * (1 - p) * (2 + z*(1-2*p))
	}
	for i, l := range lap {
		first, second := float64(x[2*i]), float64(x[2*i]+x[2*i+1])
		require.InDelta(t, curvature(first)+2*curvature(second), l, 1e-5)
	}

	g, notices, err := ebm.Import(mixed(true), ebm.ImportOptions{})
	require.NoError(t, err)
	require.Len(t, notices, 1)
	require.ErrorContains(t, ebm.CheckRows(t.Context(), rt, g, nil), "rows influence each other")
}

// What no machine holds, contradicts itself or draws random numbers is refused before it costs anything.
func TestImportRefuses(t *testing.T) {
	build := func(f func(b *graphs.Builder, x *graphs.Value) *graphs.Value) *graphs.Graph {
		b := graphs.NewBuilder("bad")
		y := f(b, b.Input("input", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(4)}))
		g, err := b.Graph(graphs.Output{Name: "y", Value: y})
		require.NoError(t, err)
		return g
	}
	sum := func(b *graphs.Builder, y *graphs.Value) *graphs.Value {
		return b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(1))
	}
	_, _, err := ebm.Import(build(func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		return sum(b, b.Op("Tile", nil, x, b.Ints(1, 1<<40)))
	}), ebm.ImportOptions{})
	require.ErrorContains(t, err, "more than 2147483648 elements")

	g := build(func(b *graphs.Builder, x *graphs.Value) *graphs.Value { return sum(b, b.Op("Neg", nil, x)) })
	g.Nodes[0].Out[0].Name = "negated"
	g.Nodes[0].Out[0].Type.Shape = graphs.Shape{graphs.Symbol("N"), graphs.Static(9)}
	_, _, err = ebm.Import(g, ebm.ImportOptions{})
	require.ErrorContains(t, err, "the file states the shape [N,9]")

	_, _, err = ebm.Import(build(func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		return sum(b, b.Op("Reshape", nil, x, b.Ints(-1, 1)))
	}), ebm.ImportOptions{})
	require.ErrorContains(t, err, "4*N rows for N items")

	random := func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		return sum(b, b.Op("Mul", nil, x, b.Op("RandomNormalLike", nil, x)))
	}
	_, _, err = ebm.Import(build(random), ebm.ImportOptions{})
	require.ErrorContains(t, err, "random numbers")
	rt := openRuntime(t)
	g = build(random)
	g.Inputs[0].Name, g.Outputs[0].Name = gradients.X, gradients.EnergyName
	require.ErrorContains(t, ebm.CheckRows(t.Context(), rt, g, nil), "random numbers")
}
