package gradients_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// openEnergy is an energy whose items have extents that are known at run time only.
type openEnergy struct {
	name  string
	item  graphs.Shape
	sizes [][]int64
	build func(l *layers, x *graphs.Value) *graphs.Value // the energy [N]
}

// layers builds networks with small random weights.
type layers struct {
	*graphs.Builder
	r     *rand.Rand
	count int
}

func (l *layers) weight(dims ...int64) *graphs.Value {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	w := make([]float64, n)
	for i := range w {
		w[i] = 0.5 * l.r.NormFloat64()
	}
	t, err := graphs.FromFloat64s(graphs.Float64, w, dims...)
	if err != nil {
		l.Fail(err)
	}
	l.count++
	return l.Param(fmt.Sprint("w", l.count), t)
}

func (l *layers) conv(x *graphs.Value, in, out int64, a graphs.Attrs) *graphs.Value {
	return l.Op("Conv", a, x, l.weight(out, in, 3, 3), l.weight(out))
}

func (l *layers) total(x *graphs.Value, axes ...int64) *graphs.Value {
	return l.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, x, l.Ints(axes...))
}

func (l *layers) reshape(x *graphs.Value, dims ...int64) *graphs.Value {
	return l.Op("Reshape", nil, x, l.Ints(dims...))
}

func (l *layers) transpose(x *graphs.Value, perm ...int64) *graphs.Value {
	return l.Op("Transpose", graphs.Attrs{"perm": perm}, x)
}

// attention has two heads of width 2: x [N, T, 4].
func (l *layers) attention(x *graphs.Value) *graphs.Value {
	head := func() *graphs.Value {
		return l.transpose(l.reshape(l.Op("MatMul", nil, x, l.weight(4, 4)), 0, 0, 2, 2), 0, 2, 1, 3)
	}
	scores := l.Op("MatMul", nil, head(), l.transpose(head(), 0, 1, 3, 2))
	y := l.Op("MatMul", nil, l.Op("Softmax", graphs.Attrs{"axis": int64(-1)}, scores), head())
	return l.reshape(l.transpose(y, 0, 2, 1, 3), 0, 0, 4)
}

// positions adds to x [N, T, 4] what depends on its place in the sequence.
func (l *layers) positions(x *graphs.Value) *graphs.Value {
	steps := l.Op("Squeeze", nil, l.Op("Shape", graphs.Attrs{"start": int64(1), "end": int64(2)}, x), l.Ints(0))
	at := l.Op("Cast", graphs.Attrs{"to": int64(graphs.Float64)}, l.Op("Range", nil, l.Int(0), steps, l.Int(1)))
	return l.Op("Add", nil, x, l.Op("Mul", nil, l.reshape(at, -1, 1), l.weight(1, 4)))
}

// recurrent is a layer of the given op over x [T, N, 4]; the energy is made of all of its states.
func (l *layers) recurrent(op string, gates int64, a graphs.Attrs, x *graphs.Value) *graphs.Value {
	all := graphs.Attrs{"hidden_size": int64(2)}
	for k, v := range a {
		all[k] = v
	}
	y := l.Ops(op, 1, all, x, l.weight(1, 2*gates, 4), l.weight(1, 2*gates, 2), l.weight(1, 4*gates))[0]
	return l.total(l.Op("Mul", nil, y, y), 0, 1, 3)
}

var openEnergies = []openEnergy{
	{"convolutions", graphs.Shape{graphs.Static(2), graphs.Symbol("H"), graphs.Symbol("W")}, [][]int64{{2, 3, 4}, {2, 4, 3}, {2, 5, 2}}, func(l *layers, x *graphs.Value) *graphs.Value {
		y := l.Op("Tanh", nil, l.conv(x, 2, 3, graphs.Attrs{"pads": []int64{1, 1, 1, 1}}))
		y = l.Op("Sigmoid", nil, l.conv(y, 3, 2, graphs.Attrs{"pads": []int64{1, 1, 1, 1}, "strides": []int64{2, 2}}))
		return l.total(l.Op("Mul", nil, y, y), 1, 2, 3)
	}},
	{"transposed convolution and means", graphs.Shape{graphs.Static(1), graphs.Symbol("H"), graphs.Symbol("W")}, [][]int64{{1, 2, 3}, {1, 3, 2}}, func(l *layers, x *graphs.Value) *graphs.Value {
		y := l.Op("Softplus", nil, l.Op("ConvTranspose", graphs.Attrs{"strides": []int64{2, 2}}, x, l.weight(1, 2, 3, 3)))
		y = l.Op("AveragePool", graphs.Attrs{"kernel_shape": []int64{2, 2}}, y)
		y = l.reshape(l.Op("GlobalAveragePool", nil, l.Op("Sin", nil, y)), 0, 2)
		return l.total(l.Op("Exp", nil, l.Op("MatMul", nil, y, l.weight(2, 3))), 1)
	}},
	{"maxima of reflected images", graphs.Shape{graphs.Static(1), graphs.Symbol("H"), graphs.Symbol("W")}, [][]int64{{1, 3, 4}, {1, 4, 3}}, func(l *layers, x *graphs.Value) *graphs.Value {
		y := l.Op("Pad", graphs.Attrs{"mode": "reflect"}, x, l.Ints(0, 0, 1, 1, 0, 0, 1, 1))
		y = l.Op("MaxPool", graphs.Attrs{"kernel_shape": []int64{2, 2}}, l.Op("Sin", nil, l.conv(y, 1, 2, nil)))
		return l.total(l.Op("Mul", nil, l.Op("Mul", nil, y, y), y), 1, 2, 3)
	}},
	{"upsampled beside", graphs.Shape{graphs.Static(1), graphs.Symbol("H"), graphs.Symbol("W")}, [][]int64{{1, 2, 3}, {1, 4, 2}}, func(l *layers, x *graphs.Value) *graphs.Value {
		up := l.Op("Resize", graphs.Attrs{"mode": "linear"}, x, nil, l.Const(graphs.NewTensor([]float32{1, 1, 2, 2}, 4)))
		y := l.Op("Concat", graphs.Attrs{"axis": int64(1)}, up, l.Op("Sin", nil, up))
		return l.total(l.Op("Tanh", nil, l.conv(y, 2, 2, graphs.Attrs{"pads": []int64{1, 1, 1, 1}})), 1, 2, 3)
	}},
	{"attention", graphs.Shape{graphs.Symbol("T"), graphs.Static(4)}, [][]int64{{1, 4}, {2, 4}, {3, 4}}, func(l *layers, x *graphs.Value) *graphs.Value {
		y := l.positions(x)
		y = l.Op("Add", nil, y, l.attention(y))
		y = l.Op("LayerNormalization", graphs.Attrs{"axis": int64(-1)}, y, l.weight(4), l.weight(4))
		y = l.Op("Tanh", nil, l.Op("MatMul", nil, y, l.weight(4, 3)))
		return l.total(l.Op("MatMul", nil, y, l.weight(3, 1)), 1, 2)
	}},
	{"chain", graphs.Shape{graphs.Symbol("D")}, [][]int64{{2}, {5}, {3}}, func(l *layers, x *graphs.Value) *graphs.Value {
		last := l.Op("Sub", nil, l.Op("Shape", graphs.Attrs{"start": int64(1)}, x), l.Ints(1))
		d := l.Op("Sub", nil, l.Op("Slice", nil, x, l.Ints(1), l.Ints(1<<40), l.Ints(1)), l.Op("Slice", nil, x, l.Ints(0), last, l.Ints(1)))
		return l.total(l.Op("Cos", nil, l.Op("Mul", nil, d, d)), 1)
	}},
	{"unnamed", graphs.Shape{graphs.UnknownDim, graphs.UnknownDim}, [][]int64{{2, 3}, {1, 4}}, func(l *layers, x *graphs.Value) *graphs.Value {
		y := l.Op("MatMul", nil, x, l.transpose(x, 0, 2, 1))
		return l.total(l.Op("Softplus", nil, y), 1, 2)
	}},
	{"halves", graphs.Shape{graphs.Symbol("T"), graphs.Static(2)}, [][]int64{{2, 2}, {5, 2}}, func(l *layers, x *graphs.Value) *graphs.Value {
		steps := l.Op("Shape", graphs.Attrs{"start": int64(1), "end": int64(2)}, x)
		first := l.Op("Div", nil, steps, l.Ints(2))
		sizes := l.Op("Concat", graphs.Attrs{"axis": int64(0)}, first, l.Op("Sub", nil, steps, first))
		parts := l.Ops("Split", 2, graphs.Attrs{"axis": int64(1)}, l.Op("Exp", nil, x), sizes)
		return l.total(l.Op("Mul", nil, l.total(parts[0], 1), l.total(parts[1], 1)), 1)
	}},
	{"GRU", graphs.Shape{graphs.Symbol("T"), graphs.Static(4)}, [][]int64{{1, 4}, {3, 4}}, func(l *layers, x *graphs.Value) *graphs.Value {
		return l.recurrent("GRU", 3, graphs.Attrs{"linear_before_reset": int64(1)}, l.transpose(x, 1, 0, 2))
	}},
	{"LSTM backwards", graphs.Shape{graphs.Symbol("T"), graphs.Static(4)}, [][]int64{{1, 4}, {3, 4}}, func(l *layers, x *graphs.Value) *graphs.Value {
		return l.recurrent("LSTM", 4, graphs.Attrs{"direction": "reverse"}, l.transpose(x, 1, 0, 2))
	}},
	{"Scan", graphs.Shape{graphs.Symbol("T"), graphs.Static(2)}, [][]int64{{1, 2}, {4, 2}}, func(l *layers, x *graphs.Value) *graphs.Value {
		row := graphs.Type{DType: graphs.Float64, Shape: graphs.Shape{x.Shape()[0], graphs.Static(2)}}
		w := l.weight(2)
		b := graphs.NewBuilder("step")
		h, in := b.Input("h", row.DType, row.Shape), b.Input("in", row.DType, row.Shape)
		next := b.Op("Sin", nil, b.Op("Add", nil, b.Op("Mul", nil, h, w), in))
		step, err := b.Graph(graphs.Output{Name: "next", Value: next}, graphs.Output{Name: "y", Value: b.Op("Mul", nil, next, in)})
		if err != nil {
			l.Fail(err)
		}
		start := l.Op("Mul", nil, l.Op("ReduceMean", graphs.Attrs{"keepdims": int64(0)}, x, l.Ints(1)), l.FloatLike(x, 0.5))
		attrs := graphs.Attrs{"body": step, "num_scan_inputs": int64(1), "scan_input_axes": []int64{1}, "scan_output_axes": []int64{1}}
		return l.total(l.Ops("Scan", 2, attrs, start, x)[1], 1, 2)
	}},
	{"Loop", graphs.Shape{graphs.Symbol("T"), graphs.Static(2)}, [][]int64{{1, 2}, {4, 2}}, func(l *layers, x *graphs.Value) *graphs.Value {
		b := graphs.NewBuilder("step")
		at, going := b.Input("at", graphs.Int64, graphs.Shape{}), b.Input("going", graphs.Bool, graphs.Shape{})
		h := b.Input("h", graphs.Float64, graphs.Shape{x.Shape()[0], graphs.Static(2)})
		next := b.Op("Tanh", nil, b.Op("Add", nil, b.Op("Mul", nil, h, l.weight(2)), b.Op("Gather", graphs.Attrs{"axis": int64(1)}, x, at)))
		step, err := b.Graph(graphs.Output{Name: "more", Value: b.Op("Identity", nil, going)}, graphs.Output{Name: "next", Value: next})
		if err != nil {
			l.Fail(err)
		}
		steps := l.Op("Squeeze", nil, l.Op("Shape", graphs.Attrs{"start": int64(1), "end": int64(2)}, x), l.Ints(0))
		first := l.Op("Gather", graphs.Attrs{"axis": int64(1)}, x, l.Int(0))
		last := l.Op("Loop", graphs.Attrs{"body": step}, steps, l.Const(graphs.ScalarTensor(true)), first)
		return l.total(l.Op("Mul", nil, last, last), 1)
	}},
}

func (o openEnergy) graph(t *testing.T, item graphs.Shape) *graphs.Graph {
	l := &layers{Builder: graphs.NewBuilder("energy"), r: rand.New(rand.NewPCG(3, 4))}
	x := l.Input(gradients.X, graphs.Float64, append(graphs.Shape{graphs.Symbol("N")}, item...))
	g, err := l.Graph(graphs.Output{Name: gradients.EnergyName, Value: o.build(l, x)})
	require.NoError(t, err)
	return g
}

// A graph derived once serves items of any extents: it gives what the graph of items of those extents gives, and what finite differences of the
// gradient give.
func TestOpenExtents(t *testing.T) {
	for _, o := range openEnergies {
		t.Run(o.name, func(t *testing.T) {
			open := o.graph(t, o.item)
			lap, err := gradients.Derive(open, gradients.Energy|gradients.Gradient|gradients.Laplacian)
			require.NoError(t, err)
			require.NoError(t, graphs.Check(lap))
			hess, err := gradients.Hessian(open)
			require.NoError(t, err)
			require.NoError(t, graphs.Check(hess))
			r := rand.New(rand.NewPCG(5, 6))
			for _, size := range o.sizes {
				x := random(r, append([]int{3}, ints(size)...)...)
				x.DType = graphs.Float64
				feeds := map[string]*graphs.Array{gradients.X: x}
				closed := o.graph(t, graphs.ShapeOf(size...))
				l := requireSame(t, lap, feeds, closed, func(g *graphs.Graph) (*graphs.Graph, error) {
					return gradients.Derive(g, gradients.Energy|gradients.Gradient|gradients.Laplacian)
				})
				h := requireSame(t, hess, feeds, closed, gradients.Hessian)
				want := differences(t, closed, x)
				require.Less(t, worst(h[gradients.HessianName].F, want), 1e-7)
				d := len(x.F) / 3
				trace := make([]float64, 3)
				for n := range trace {
					for i := range d {
						trace[n] += want[n*d*d+i*d+i]
					}
				}
				require.Less(t, worst(l[gradients.LaplacianName].F, trace), 1e-7)
			}
		})
	}
}

// requireSame evaluates a graph and compares it with what is derived of a twin.
func requireSame(t *testing.T, g *graphs.Graph, feeds map[string]*graphs.Array, twin *graphs.Graph, derive func(*graphs.Graph) (*graphs.Graph, error)) map[string]*graphs.Array {
	t.Helper()
	got, err := graphs.Evaluate(g, feeds)
	require.NoError(t, err, graphs.Print(g))
	twin, err = derive(twin)
	require.NoError(t, err)
	want, err := graphs.Evaluate(twin, feeds)
	require.NoError(t, err)
	for name, a := range want {
		require.Equal(t, a.Dims, got[name].Dims, name)
		require.Less(t, worst(got[name].F, a.F), 1e-12, name)
	}
	return got
}

// differences is the Hessian [N, D, D] by central differences of the gradient, of the fourth order.
func differences(t *testing.T, e *graphs.Graph, x *graphs.Array) []float64 {
	t.Helper()
	g, err := gradients.Derive(e, gradients.Gradient)
	require.NoError(t, err)
	n := x.Dims[0]
	d := len(x.F) / n
	h := make([]float64, n*d*d)
	const step = 1e-3
	for i := range d {
		for _, c := range []struct{ at, weight float64 }{{-2, 1.0 / 12}, {-1, -8.0 / 12}, {1, 8.0 / 12}, {2, -1.0 / 12}} {
			moved := *x
			moved.F = append([]float64{}, x.F...)
			for row := range n {
				moved.F[row*d+i] += c.at * step
			}
			out, err := graphs.Evaluate(g, map[string]*graphs.Array{gradients.X: &moved})
			require.NoError(t, err)
			for row := range n {
				for j := range d {
					h[(row*d+i)*d+j] += c.weight / step * out[gradients.GradientName].F[row*d+j]
				}
			}
		}
	}
	return h
}
