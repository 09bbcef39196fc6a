package onnxgo

import (
	"fmt"
	"math"
	"testing"

	"github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend"
	"github.com/owulveryck/onnx-go/backend/x/gorgonnx"
	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// energies are made of ops that both engines have; they end in a Gemm, since gorgonnx has no reductions.
var energies = map[string]func(b *graphs.Builder, w *weights) *graphs.Value{
	"mlp tanh":      mlp("Tanh"),
	"mlp sigmoid":   mlp("Sigmoid"),
	"mlp relu":      mlp("Relu"),
	"mlp leakyrelu": mlp("LeakyRelu"),
	"mlp softplus":  mlp("Softplus"),
	"mlp sin":       mlp("Sin"),
	"mlp exp":       mlp("Exp"),
	"mlp abs":       mlp("Abs"),
	"residual": func(b *graphs.Builder, w *weights) *graphs.Value {
		x := b.Input("x", graphs.Float32, graphs.ShapeOf(5, 3))
		h := b.Op("Tanh", nil, b.Op("MatMul", nil, x, w.param(b, "w", 3, 3)))
		h = b.Op("Sub", nil, b.Op("Mul", nil, h, x), x)
		return b.Op("Gemm", nil, h, w.param(b, "v", 3, 1), w.param(b, "c", 1, 1))
	},
	"cnn": func(b *graphs.Builder, w *weights) *graphs.Value {
		x := b.Input("x", graphs.Float32, graphs.ShapeOf(4, 1, 6, 6))
		h := b.Op("Tanh", nil, b.Op("Add", nil, conv(b, 1, x, w.param(b, "w0", 3, 1, 3, 3)), w.param(b, "b0", 3, 1, 1)))
		h = b.Op("Sigmoid", nil, conv(b, 2, h, w.param(b, "w1", 2, 3, 2, 2), w.param(b, "b1", 2)))
		h = b.Op("Reshape", nil, h, b.Ints(4, 18))
		return b.Op("Gemm", nil, h, w.param(b, "v", 18, 1), w.param(b, "c", 1, 1))
	},
}

func conv(b *graphs.Builder, stride int64, in ...*graphs.Value) *graphs.Value {
	k := in[1].Shape()[2].Size
	pad := (k - 1) / 2
	return b.Op("Conv", graphs.Attrs{"kernel_shape": []int64{k, k}, "pads": []int64{pad, pad, pad, pad}, "strides": []int64{stride, stride},
		"dilations": []int64{1, 1}, "group": int64(1), "auto_pad": "NOTSET"}, in...)
}

func mlp(act string) func(*graphs.Builder, *weights) *graphs.Value {
	return func(b *graphs.Builder, w *weights) *graphs.Value {
		h := b.Input("x", graphs.Float32, graphs.ShapeOf(7, 2))
		for i, size := range [][2]int64{{2, 8}, {8, 5}} {
			h = b.Op("Gemm", nil, h, w.param(b, fmt.Sprint("w", i), size[0], size[1]), w.param(b, fmt.Sprint("b", i), 1, size[1]))
			h = b.Op(act, nil, h)
		}
		return b.Op("Gemm", nil, h, w.param(b, "v", 5, 1), w.param(b, "c", 1, 1))
	}
}

// weights draws parameters.
type weights struct{ count uint64 }

func (w *weights) draw(dims ...int64) *graphs.Tensor {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	data := make([]float32, n)
	rng.NewKey(w.count).Normals(data, 0, 0)
	w.count++
	return graphs.NewTensor(data, dims...)
}

func (w *weights) param(b *graphs.Builder, name string, dims ...int64) *graphs.Value {
	return b.Param(name, w.draw(dims...))
}

func energyFile(t testing.TB, build func(*graphs.Builder, *weights) *graphs.Value) (*graphs.Graph, []byte) {
	b := graphs.NewBuilder("energy")
	g, err := b.Graph(graphs.Output{Name: "energy", Value: build(b, &weights{count: 1})})
	require.NoError(t, err)
	file, err := graphs.Encode(g, graphs.WriteOptions{})
	require.NoError(t, err)
	return g, file
}

// inputOf draws a tensor for the first input.
func inputOf(g *graphs.Graph, seed uint64) *tensor.Dense {
	w := weights{count: seed}
	x := w.draw(g.Inputs[0].Shape().Ints()...)
	return dense(graphs.Data[float32](x), x.Dims...)
}

func dense(data []float32, dims ...int64) *tensor.Dense {
	return denseOf(data, dims).(*tensor.Dense)
}

// forward is the program of an onnx-go user.
func forward(t testing.TB, e backend.ComputationBackend, file []byte, inputs ...tensor.Tensor) []tensor.Tensor {
	m := onnx.NewModel(e)
	require.NoError(t, m.UnmarshalBinary(file))
	for i, x := range inputs {
		require.NoError(t, m.SetInput(i, x))
	}
	require.NoError(t, e.Run())
	out, err := m.GetOutputTensors()
	require.NoError(t, err)
	return out
}

func TestAgreesWithGorgonnx(t *testing.T) {
	rt := openRuntime(t)
	for name, build := range energies {
		t.Run(name, func(t *testing.T) {
			g, file := energyFile(t, build)
			x := inputOf(g, 100)
			want := forward(t, gorgonnx.NewGraph(), file, x.Clone().(*tensor.Dense))[0]
			for _, options := range [][]Option{nil, {WithModel(file)}} {
				got := forward(t, open(t, rt, options...), file, x)[0]
				require.Equal(t, want.Shape(), got.Shape())
				near(t, want.Data().([]float32), got, 2e-6)
			}
		})
	}
}

// near compares with a tolerance relative to the largest number.
func near[F float32 | float64](t testing.TB, want []F, got tensor.Tensor, tol float64) {
	t.Helper()
	data, err := elements[float32](got)
	require.NoError(t, err)
	require.Len(t, data, len(want))
	scale := 0.0
	for _, v := range want {
		scale = max(scale, math.Abs(float64(v)))
	}
	require.NotZero(t, scale)
	for i, v := range want {
		require.InDelta(t, v, data[i], tol*scale, "element %d", i)
	}
}

// TestGradientIsThatOfDifferences compares with central differences in float64 of an evaluator that knows no derivatives.
func TestGradientIsThatOfDifferences(t *testing.T) {
	rt := openRuntime(t)
	for name, build := range energies {
		t.Run(name, func(t *testing.T) {
			g, file := energyFile(t, build)
			x := inputOf(g, 200)
			for _, options := range [][]Option{nil, {WithModel(file)}} {
				b := open(t, rt, options...)
				forward(t, b, file, x)
				got, err := b.Gradient("energy", "x", "v")
				require.NoError(t, err)
				require.Equal(t, x.Shape(), got[0].Shape())
				near(t, differences(t, g, x, "x"), got[0], 5e-6)
				near(t, differences(t, g, x, "v"), got[1], 5e-6)
				all, err := b.Gradient("energy")
				require.NoError(t, err)
				require.Len(t, all, 1)
				near(t, got[0].Data().([]float32), all[0], 0)
			}
		})
	}
}

// differences is ∂ Σ energy by an input or a parameter.
func differences(t *testing.T, g *graphs.Graph, x *tensor.Dense, wrt string) []float64 {
	feeds := map[string]*graphs.Array{}
	for _, v := range append(g.Params(), g.Inputs...) {
		data := v.Tensor
		if data == nil {
			data = graphs.NewTensor(x.Data().([]float32), extents(x)...)
		}
		a, err := graphs.ArrayOf(data)
		require.NoError(t, err)
		feeds[v.Name] = a
	}
	at := feeds[wrt]
	total := func(i int, h float64) (sum float64) {
		moved := append([]float64(nil), at.F...)
		moved[i] += h
		feeds[wrt] = graphs.Floats(at.Dims, moved)
		out, err := graphs.Evaluate(g, feeds)
		require.NoError(t, err)
		for _, e := range out["energy"].F {
			sum += e
		}
		return sum
	}
	const h = 1e-5
	d := make([]float64, at.Len())
	for i := range d {
		d[i] = (total(i, h) - total(i, -h)) / (2 * h)
	}
	return d
}

func BenchmarkRun(b *testing.B) {
	_, file := energyFile(b, energies["mlp tanh"])
	x := dense(make([]float32, 14), 7, 2)
	b.Run("onnxruntime", func(b *testing.B) { benchmark(b, open(b, openRuntime(b)), file, x) })
	b.Run("gorgonnx", func(b *testing.B) { benchmark(b, gorgonnx.NewGraph(), file, x) })
}

func benchmark(b *testing.B, e backend.ComputationBackend, file []byte, x tensor.Tensor) {
	forward(b, e, file, x)
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Run(); err != nil {
			b.Fatal(err)
		}
	}
}
