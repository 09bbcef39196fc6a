package ebm_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/losses"
)

// Parameters may have the names of what is derived; those of an energy's own input and output are renamed. E = Σᵢ (Πₖ θₖ)ᵢ·xᵢ².
func TestParameterNames(t *testing.T) {
	rt := openRuntime(t)
	b := graphs.NewBuilder("names")
	y := b.Input("input", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(2)})
	y = b.Op("Mul", nil, y, y)
	for _, name := range []string{"v", "x", "energy", "gradient", "hvp"} {
		y = b.Op("Mul", nil, y, b.Param(name, graphs.NewTensor([]float32{2, 3}, 2)))
	}
	y = b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(1))
	src, err := b.Graph(graphs.Output{Name: "y", Value: y})
	require.NoError(t, err)
	g, notices, err := ebm.Import(src, ebm.ImportOptions{})
	require.NoError(t, err)
	require.Len(t, notices, 2)
	raw, err := graphs.Encode(g, graphs.WriteOptions{})
	require.NoError(t, err)
	g, _, err = graphs.Decode(raw, "")
	require.NoError(t, err)
	for _, trainable := range []bool{false, true} {
		e, err := ebm.New(rt, g, ebm.Options{Trainable: trainable})
		require.NoError(t, err)
		defer e.Close()
		require.ElementsMatch(t, []string{"v", "model.x", "model.energy", "gradient", "hvp"}, e.Store().Names())
		values, err := e.Evaluate(t.Context(), losses.Query{N: 1, X: []float32{1, -1}, V: []float32{1, 2}, K: 1, Want: losses.WantEnergy | losses.WantGradient | losses.WantHVP})
		require.NoError(t, err)
		require.Equal(t, []float32{32 + 243}, values.E)
		require.Equal(t, []float32{64, -486}, values.G)
		require.Equal(t, []float32{64, 972}, values.HV)
	}
}

// Scalars that exporters invent and masks are parameters whose values stay; what a model calls by a name of its own is trained.
// E = Σᵢ (s·wᵢ·xᵢ + mᵢ).
func TestTrainable(t *testing.T) {
	scalars := map[string]bool{
		"val_7": false, "scalar_tensor_default": false, "min_val_cast": false, "beta_cast_1": false, // PyTorch
		"onnx::Mul_12": false, "/net/Constant_output_0": false,
		"const_3": false, "dot_bias_0": false, "ipow_exp_1": false, "dpa_scale_0": false, // jax2onnx
		"model/layer_normalization/add/y:0": false, "model/Gelu/Cast/x:0": false, "model/lstm/zeros/Const:0": false, "relu6_max__102": false, // tf2onnx
		"unity": false, "exponent": false, // skl2onnx
		"log_scale": true, "net.temperature": true, "t": true, "broadcast": true, "scale_0": true, "model/scale/ReadVariableOp:0": true,
	}
	for name, trainable := range scalars {
		b := graphs.NewBuilder("names")
		y := b.Op("Mul", nil, b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(2)}), b.Param("w", graphs.NewTensor([]float32{2, 3}, 2)))
		y = b.Op("Add", nil, b.Op("Mul", nil, y, b.Param(name, graphs.NewTensor([]float32{2}))), b.Param("mask", graphs.NewTensor([]float32{0, float32(math.Inf(-1))}, 2)))
		g, err := b.Graph(graphs.Output{Name: "energy", Value: b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(1))})
		require.NoError(t, err)
		e, err := ebm.New(nil, g, ebm.Options{All: true})
		require.NoError(t, err)
		got := map[string]bool{}
		for _, p := range e.Store().List {
			got[p.Name] = p.Trainable
		}
		require.Equal(t, map[string]bool{"w": true, name: trainable, "mask": false}, got)
	}
}

// Running statistics are none of what is trained, also where instance normalization repeats them for every item.
func TestStatistics(t *testing.T) {
	b := graphs.NewBuilder("statistics")
	x := b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(2), graphs.Static(3)})
	row := func(name string) *graphs.Value { return b.Param(name, graphs.NewTensor([]float32{1, 2}, 2)) }
	y := b.Op("BatchNormalization", nil, x, row("scale"), row("bias"), row("mean"), row("var"))
	twice := func(name string) *graphs.Value { return b.Op("Tile", nil, row(name), b.Ints(2)) }
	y = b.Op("Reshape", nil, y, b.Ints(-1, 4, 3))
	y = b.Op("BatchNormalization", nil, y, twice("scale2"), twice("bias2"), twice("mean2"), twice("var2"))
	g, err := b.Graph(graphs.Output{Name: "energy", Value: b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(1, 2))})
	require.NoError(t, err)
	e, err := ebm.New(nil, g, ebm.Options{})
	require.NoError(t, err)
	for _, p := range e.Store().List {
		require.Equal(t, strings.HasPrefix(p.Name, "scale") || strings.HasPrefix(p.Name, "bias"), p.Trainable, p.Name)
	}
	require.Len(t, e.Store().List, 8)
}

// An exporter's statement that an output has its example's batch size is not believed where the nodes do not show it: E = Σ f(x)ᵢ of
// f(x) = x, reshaped by a size that nothing is known about.
func TestStatedBatch(t *testing.T) {
	b := graphs.NewBuilder("stated")
	x := b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(2)})
	rows := b.Op("Shape", nil, b.Op("NonZero", nil, b.Op("Cast", graphs.Attrs{"to": int64(graphs.Bool)}, b.Op("Abs", nil, b.Op("Add", nil, x, x)))))
	y := b.Op("Reshape", nil, x, b.Op("Concat", graphs.Attrs{"axis": int64(0)}, b.Op("Div", nil, b.Op("Slice", nil, rows, b.Ints(1), b.Ints(2)), b.Ints(2)), b.Ints(2)))
	y = b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(1))
	src, err := b.Graph(graphs.Output{Name: "y", Value: y})
	require.NoError(t, err)
	require.False(t, y.Shape()[0].IsStatic())
	y.Type.Shape, y.Name = graphs.ShapeOf(3), "y"
	g, _, err := ebm.Import(src, ebm.ImportOptions{})
	require.NoError(t, err)
	e, err := ebm.New(openRuntime(t), g, ebm.Options{})
	require.NoError(t, err)
	defer e.Close()
	got, err := e.Energy(t.Context(), []float32{1, 2, 3, 4}, 2)
	require.NoError(t, err)
	require.Equal(t, []float32{3, 7}, got)
}
