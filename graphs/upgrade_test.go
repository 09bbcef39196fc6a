package graphs

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
)

// counting returns 1, 2, 3, … with alternating signs, as dims.
func counting(dims ...int) *Array {
	a := &Array{DType: Float32, Dims: dims, F: make([]float64, product(dims))}
	for i := range a.F {
		a.F[i] = float64(i + 1)
		if i%3 == 1 {
			a.F[i] = -a.F[i] / 4
		}
	}
	return a
}

// upgradeCase is one old op with what it must compute, worked out here from its old definition.
type upgradeCase struct {
	name   string
	opset  int64
	op     string
	attrs  Attrs
	feeds  []*Array  // inputs a, b, c, …
	consts []*Tensor // initializers p, q, …, inputs after the feeds
	outs   string
	want   func(in []*Array) []float64
}

func at3(a *Array, i, j, k int) float64 { return a.F[(i*a.Dims[1]+j)*a.Dims[2]+k] }

// each3 collects f over a [I, J, K] array in order.
func each3(a *Array, f func(i, j, k int) float64) []float64 {
	var out []float64
	for i := range a.Dims[0] {
		for j := range a.Dims[1] {
			for k := range a.Dims[2] {
				out = append(out, f(i, j, k))
			}
		}
	}
	return out
}

func softmaxRows(x []float64, row int) []float64 {
	var out []float64
	for r := 0; r < len(x); r += row {
		sum := 0.0
		for _, v := range x[r : r+row] {
			sum += math.Exp(v)
		}
		for _, v := range x[r : r+row] {
			out = append(out, math.Exp(v)/sum)
		}
	}
	return out
}

func gelu(x float64) float64 { return x * (1 + math.Erf(x/math.Sqrt2)) / 2 }

var upgradeCases = []upgradeCase{
	{name: "Add axis", opset: 6, op: "Add", attrs: Attrs{"broadcast": int64(1), "axis": int64(1)}, feeds: []*Array{counting(2, 3, 2), counting(3)},
		want: func(in []*Array) []float64 {
			return each3(in[0], func(i, j, k int) float64 { return at3(in[0], i, j, k) + in[1].F[j] })
		}},
	{name: "Sub axis 0", opset: 6, op: "Sub", attrs: Attrs{"broadcast": int64(1), "axis": int64(0)}, feeds: []*Array{counting(2, 3, 2), counting(2, 3)},
		want: func(in []*Array) []float64 {
			return each3(in[0], func(i, j, k int) float64 { return at3(in[0], i, j, k) - in[1].F[i*3+j] })
		}},
	{name: "Mul from the end", opset: 6, op: "Mul", attrs: Attrs{"broadcast": int64(1), "axis": int64(-2)}, feeds: []*Array{counting(2, 3, 2), counting(3)},
		want: func(in []*Array) []float64 {
			return each3(in[0], func(i, j, k int) float64 { return at3(in[0], i, j, k) * in[1].F[j] })
		}},
	{name: "Div suffix", opset: 6, op: "Div", attrs: Attrs{"broadcast": int64(1)}, feeds: []*Array{counting(2, 3, 2), counting(3, 2)},
		want: func(in []*Array) []float64 {
			return each3(in[0], func(i, j, k int) float64 { return at3(in[0], i, j, k) / in[1].F[j*2+k] })
		}},
	{name: "PRelu per channel", opset: 6, op: "PRelu", feeds: []*Array{counting(2, 3, 2), counting(3)},
		want: func(in []*Array) []float64 {
			return each3(in[0], func(i, j, k int) float64 {
				x := at3(in[0], i, j, k)
				return max(x, 0) + in[1].F[j]*min(x, 0)
			})
		}},
	{name: "PRelu one slope", opset: 6, op: "PRelu", feeds: []*Array{counting(2, 3, 2)}, consts: []*Tensor{NewTensor([]float32{0.5}, 1)},
		want: func(in []*Array) []float64 {
			return each3(in[0], func(i, j, k int) float64 { x := at3(in[0], i, j, k); return max(x, 0) + 0.5*min(x, 0) })
		}},
	{name: "Gemm", opset: 6, op: "Gemm", attrs: Attrs{"broadcast": int64(1), "transB": int64(1)}, feeds: []*Array{counting(1, 2), counting(2, 2), counting(2)},
		want: func(in []*Array) []float64 {
			a, b, c := in[0].F, in[1].F, in[2].F
			return []float64{a[0]*b[0] + a[1]*b[1] + c[0], a[0]*b[2] + a[1]*b[3] + c[1]}
		}},
	{name: "Clip", opset: 6, op: "Clip", attrs: Attrs{"min": float32(-0.25), "max": float32(2)}, feeds: []*Array{counting(4)},
		want: func([]*Array) []float64 { return []float64{1, -0.25, 2, 2} }},
	{name: "Clip one side", opset: 10, op: "Clip", attrs: Attrs{"min": float32(0), "max": float32(math.MaxFloat32)}, feeds: []*Array{counting(4)},
		want: func([]*Array) []float64 { return []float64{1, 0, 3, 4} }},
	{name: "Pad", opset: 10, op: "Pad", attrs: Attrs{"pads": []int64{1, 0}, "value": float32(7)}, feeds: []*Array{counting(2)},
		want: func([]*Array) []float64 { return []float64{7, 1, -0.5} }},
	{name: "Slice", opset: 9, op: "Slice", attrs: Attrs{"starts": []int64{1}, "ends": []int64{3}, "axes": []int64{0}}, feeds: []*Array{counting(4)},
		want: func([]*Array) []float64 { return []float64{-0.5, 3} }},
	{name: "Slice without axes", opset: 6, op: "Slice", attrs: Attrs{"starts": []int64{0, 1}, "ends": []int64{1, 2}}, feeds: []*Array{counting(2, 2)},
		want: func([]*Array) []float64 { return []float64{-0.5} }},
	{name: "Split sizes", opset: 11, op: "Split", attrs: Attrs{"split": []int64{1, 3}}, feeds: []*Array{counting(4)}, outs: "u y",
		want: func([]*Array) []float64 { return []float64{-0.5, 3, 4} }},
	{name: "Split evenly", opset: 13, op: "Split", feeds: []*Array{counting(4)}, outs: "u y",
		want: func([]*Array) []float64 { return []float64{3, 4} }},
	{name: "Squeeze", opset: 11, op: "Squeeze", attrs: Attrs{"axes": []int64{0}}, feeds: []*Array{counting(1, 2)},
		want: func(in []*Array) []float64 { return in[0].F }},
	{name: "Unsqueeze", opset: 11, op: "Unsqueeze", attrs: Attrs{"axes": []int64{0}}, feeds: []*Array{counting(2)},
		want: func(in []*Array) []float64 { return in[0].F }},
	{name: "ReduceSum 11", opset: 11, op: "ReduceSum", attrs: Attrs{"axes": []int64{1}}, feeds: []*Array{counting(2, 2)},
		want: func(in []*Array) []float64 { return []float64{in[0].F[0] + in[0].F[1], in[0].F[2] + in[0].F[3]} }},
	{name: "ReduceMean 17", opset: 17, op: "ReduceMean", attrs: Attrs{"axes": []int64{0}, "keepdims": int64(0)}, feeds: []*Array{counting(2, 2)},
		want: func(in []*Array) []float64 {
			return []float64{(in[0].F[0] + in[0].F[2]) / 2, (in[0].F[1] + in[0].F[3]) / 2}
		}},
	{name: "ReduceMax all", opset: 6, op: "ReduceMax", attrs: Attrs{"axes": []int64{}}, feeds: []*Array{counting(2, 2)},
		want: func([]*Array) []float64 { return []float64{4} }},
	{name: "TopK", opset: 9, op: "TopK", attrs: Attrs{"k": int64(2)}, feeds: []*Array{counting(4)}, outs: "y i",
		want: func([]*Array) []float64 { return []float64{4, 3} }},
	{name: "Softmax rows", opset: 11, op: "Softmax", feeds: []*Array{counting(2, 2, 2)},
		want: func(in []*Array) []float64 { return softmaxRows(in[0].F, 4) }},
	{name: "Softmax whole", opset: 9, op: "Softmax", attrs: Attrs{"axis": int64(0)}, feeds: []*Array{counting(2, 2)},
		want: func(in []*Array) []float64 { return softmaxRows(in[0].F, 4) }},
	{name: "Softmax last", opset: 9, op: "Softmax", attrs: Attrs{"axis": int64(2)}, feeds: []*Array{counting(2, 2, 2)},
		want: func(in []*Array) []float64 { return softmaxRows(in[0].F, 2) }},
	{name: "Softmax -1", opset: 11, op: "Softmax", attrs: Attrs{"axis": int64(-1)}, feeds: []*Array{counting(2, 2, 2)},
		want: func(in []*Array) []float64 { return softmaxRows(in[0].F, 2) }},
	{name: "Softmax -2", opset: 11, op: "Softmax", attrs: Attrs{"axis": int64(-2)}, feeds: []*Array{counting(2, 2, 2)},
		want: func(in []*Array) []float64 { return softmaxRows(in[0].F, 4) }},
	{name: "LogSoftmax rows", opset: 11, op: "LogSoftmax", feeds: []*Array{counting(2, 2, 2)},
		want: func(in []*Array) []float64 {
			s := softmaxRows(in[0].F, 4)
			for i := range s {
				s[i] = math.Log(s[i])
			}
			return s
		}},
	{name: "BatchNormalization", opset: 8, op: "BatchNormalization", attrs: Attrs{"epsilon": float32(0.5)}, feeds: []*Array{counting(2, 3, 2), counting(3), counting(3)},
		consts: []*Tensor{NewTensor([]float32{1, 2, 3}, 3), NewTensor([]float32{0.5, 1.5, 3.5}, 3)},
		want: func(in []*Array) []float64 {
			return each3(in[0], func(i, j, k int) float64 {
				return (at3(in[0], i, j, k)-float64(j+1))/math.Sqrt([]float64{1, 2, 4}[j])*in[1].F[j] + in[2].F[j]
			})
		}},
	{name: "BatchNormalization by position", opset: 7, op: "BatchNormalization", attrs: Attrs{"epsilon": float32(0.5), "spatial": int64(0)},
		feeds:  []*Array{counting(2, 2, 1), counting(2, 1), counting(2, 1)},
		consts: []*Tensor{NewTensor([]float32{1, 2}, 2, 1), NewTensor([]float32{0.5, 3.5}, 2, 1)},
		want: func(in []*Array) []float64 {
			return each3(in[0], func(i, j, k int) float64 {
				return (at3(in[0], i, j, k)-float64(j+1))/float64(j+1)/[]float64{1, 1}[j]*in[1].F[j] + in[2].F[j]
			})
		}},
	{name: "GroupNormalization", opset: 18, op: "GroupNormalization", attrs: Attrs{"num_groups": int64(2), "epsilon": float32(0)},
		feeds: []*Array{counting(1, 4, 2), counting(2), counting(2)},
		want: func(in []*Array) []float64 {
			return each3(in[0], func(i, j, k int) float64 {
				g := j / 2
				part := in[0].F[g*4 : g*4+4]
				mean, sq := 0.0, 0.0
				for _, v := range part {
					mean += v / 4
				}
				for _, v := range part {
					sq += (v - mean) * (v - mean) / 4
				}
				return (at3(in[0], i, j, k)-mean)/math.Sqrt(sq)*in[1].F[g] + in[2].F[g]
			})
		}},
	{name: "Upsample 7", opset: 7, op: "Upsample", attrs: Attrs{"scales": []float32{1, 1, 2}}, feeds: []*Array{counting(1, 1, 3)},
		want: func([]*Array) []float64 { return []float64{1, 1, -0.5, -0.5, 3, 3} }},
	{name: "Upsample 9", opset: 9, op: "Upsample", attrs: Attrs{"mode": "linear"}, feeds: []*Array{counting(1, 1, 2)}, consts: []*Tensor{NewTensor([]float32{1, 1, 2}, 3)},
		want: func([]*Array) []float64 { return []float64{1, 0.25, -0.5, -0.5} }}, // at 0, ½, 1, 3⁄2, the last held at the edge
	{name: "Resize 10 smaller", opset: 10, op: "Resize", feeds: []*Array{counting(1, 1, 4)}, consts: []*Tensor{NewTensor([]float32{1, 1, 0.6}, 3)},
		want: func([]*Array) []float64 { return []float64{1, 3} }},
	{name: "Resize 10 both ways", opset: 10, op: "Resize", feeds: []*Array{counting(1, 4)}, consts: []*Tensor{NewTensor([]float32{2, 0.5}, 2)},
		want: func([]*Array) []float64 { return []float64{1, 3, 1, 3} }},
	{name: "Scatter", opset: 9, op: "Scatter", feeds: []*Array{counting(3), {DType: Int64, Dims: []int{2}, I: []int64{2, 0}}, counting(2)},
		want: func([]*Array) []float64 { return []float64{-0.5, -0.5, 1} }},
	{name: "Dropout", opset: 6, op: "Dropout", attrs: Attrs{"ratio": float32(0.9)}, feeds: []*Array{counting(3)},
		want: func(in []*Array) []float64 { return in[0].F }},
	{name: "Dropout mask", opset: 7, op: "Dropout", feeds: []*Array{counting(3)}, outs: "u y",
		want: func([]*Array) []float64 { return []float64{1, 1, 1} }},

	{name: "Gelu", op: "com.microsoft::Gelu", feeds: []*Array{counting(4)},
		want: func(in []*Array) []float64 { return mapped1(in[0].F, gelu) }},
	{name: "BiasGelu", op: "com.microsoft::BiasGelu", feeds: []*Array{counting(2, 2), counting(2)},
		want: func(in []*Array) []float64 {
			x, b := in[0].F, in[1].F
			return mapped1([]float64{x[0] + b[0], x[1] + b[1], x[2] + b[0], x[3] + b[1]}, gelu)
		}},
	{name: "FastGelu", op: "com.microsoft::FastGelu", feeds: []*Array{counting(4)},
		want: func(in []*Array) []float64 {
			return mapped1(in[0].F, func(x float64) float64 { return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) })
		}},
	{name: "QuickGelu", op: "com.microsoft::QuickGelu", attrs: Attrs{"alpha": float32(2)}, feeds: []*Array{counting(4)},
		want: func(in []*Array) []float64 {
			return mapped1(in[0].F, func(x float64) float64 { return x / (1 + math.Exp(-2*x)) })
		}},
	{name: "FusedMatMul", op: "com.microsoft::FusedMatMul", attrs: Attrs{"alpha": float32(0.5), "transA": int64(1)}, feeds: []*Array{counting(2, 1), counting(2, 2)},
		want: func(in []*Array) []float64 {
			a, b := in[0].F, in[1].F
			return []float64{(a[0]*b[0] + a[1]*b[2]) / 2, (a[0]*b[1] + a[1]*b[3]) / 2}
		}},
	{name: "FusedGemm", op: "com.microsoft::FusedGemm", attrs: Attrs{"activation": "LeakyRelu", "activation_alpha": float32(0.25), "transB": int64(1)},
		feeds: []*Array{counting(1, 2), counting(2, 2), counting(2)},
		want: func(in []*Array) []float64 {
			a, b, c := in[0].F, in[1].F, in[2].F
			return mapped1([]float64{a[0]*b[0] + a[1]*b[1] + c[0], a[0]*b[2] + a[1]*b[3] + c[1]}, func(x float64) float64 { return max(x, 0) + 0.25*min(x, 0) })
		}},
	{name: "SkipLayerNormalization", op: "com.microsoft::SkipLayerNormalization", attrs: Attrs{"epsilon": float32(0)},
		feeds: []*Array{counting(1, 1, 2), counting(1, 1, 2), counting(2), counting(2), counting(2)},
		want: func(in []*Array) []float64 {
			g, b := in[2].F, in[3].F
			return []float64{g[0] + b[0], -g[1] + b[1]} // the sum decreases: normalised, 1 and −1
		}},
	{name: "SkipLayerNormalization sum", op: "com.microsoft::SkipLayerNormalization", feeds: []*Array{counting(1, 1, 2), counting(1, 1, 2), counting(2)}, outs: "u - - y",
		want: func(in []*Array) []float64 { return []float64{2, -1} }},
	{name: "Erfc", op: "Erfc", feeds: []*Array{counting(3)}, want: func(in []*Array) []float64 { return mapped1(in[0].F, math.Erfc) }},
	{name: "ArrayFeatureExtractor", op: "ai.onnx.ml::ArrayFeatureExtractor", feeds: []*Array{counting(2, 3), Ints([]int{1, 2}, []int64{2, 0})},
		want: func(in []*Array) []float64 {
			x := in[0].F
			return []float64{x[2], x[0], x[5], x[3]}
		}},
}

// An output without a name at the end counts where the number of outputs says how the op works.
func TestReadUnnamedOutputs(t *testing.T) {
	sizes := Attrs{"value": NewTensor([]int64{1, 1, 1}, 3)}
	g := readProto(t, protoModel(18, []*onnxpb.ValueInfo{floatInput("x", ShapeOf(3))}, "y", protoNode("Constant", "", "s", sizes), protoNode("Split", "x s", "y - -", nil)))
	require.Len(t, g.Nodes[len(g.Nodes)-1].Out, 3)
	one := Attrs{"value": NewTensor([]int64{1}, 1)}
	g = readProto(t, protoModel(18, []*onnxpb.ValueInfo{floatInput("x", ShapeOf(3))}, "y", protoNode("Constant", "", "k", one), protoNode("TopK", "x k", "y -", nil)))
	require.Len(t, g.Nodes[len(g.Nodes)-1].Out, 2)
}

func init() {
	// a row of [1, −0.5], through each of ai.onnx.ml's formulas
	x := []*Array{counting(1, 2)}
	svm := func(kernel string, k func(dot, square float64) float64) upgradeCase {
		return upgradeCase{name: "SVMRegressor " + kernel, op: "ai.onnx.ml::SVMRegressor", feeds: x, attrs: Attrs{"kernel_type": kernel, "kernel_params": []float32{0.5, 1, 2},
			"n_supports": int64(2), "support_vectors": []float32{1, 2, -1, 0}, "coefficients": []float32{3, -2}, "rho": []float32{0.25}},
			want: func([]*Array) []float64 { return []float64{3*k(0, 6.25) - 2*k(-1, 4.25) + 0.25} }}
	}
	upgradeCases = append(upgradeCases,
		upgradeCase{name: "Scaler", op: "ai.onnx.ml::Scaler", feeds: x, attrs: Attrs{"offset": []float32{2, 1}, "scale": []float32{0.5, -1}},
			want: func([]*Array) []float64 { return []float64{-0.5, 1.5} }},
		upgradeCase{name: "Normalizer", op: "ai.onnx.ml::Normalizer", feeds: x, attrs: Attrs{"norm": "L1"},
			want: func([]*Array) []float64 { return []float64{1 / 1.5, -0.5 / 1.5} }},
		upgradeCase{name: "LinearRegressor", op: "ai.onnx.ml::LinearRegressor", feeds: x,
			attrs: Attrs{"coefficients": []float32{1, 2, 3, 4}, "intercepts": []float32{10, 20}, "targets": int64(2)},
			want:  func([]*Array) []float64 { return []float64{10, 21} }},
		upgradeCase{name: "LinearClassifier", op: "ai.onnx.ml::LinearClassifier", feeds: x, outs: "- y",
			attrs: Attrs{"coefficients": []float32{1, 2, 3, 4}, "intercepts": []float32{0, 1}, "classlabels_ints": []int64{0, 1}, "post_transform": "SOFTMAX"},
			want:  func([]*Array) []float64 { return []float64{1 / (1 + math.Exp(2)), 1 / (1 + math.Exp(-2))} }},
		upgradeCase{name: "ArrayFeatureExtractor", op: "ai.onnx.ml::ArrayFeatureExtractor", feeds: x, consts: []*Tensor{NewTensor([]int64{1}, 1)},
			want: func([]*Array) []float64 { return []float64{-0.5} }},
		svm("LINEAR", func(dot, _ float64) float64 { return dot }),
		svm("POLY", func(dot, _ float64) float64 { return math.Pow(dot/2+1, 2) }),
		svm("SIGMOID", func(dot, _ float64) float64 { return math.Tanh(dot/2 + 1) }),
		svm("RBF", func(_, square float64) float64 { return math.Exp(-square / 2) }),
	)
}

func mapped1(x []float64, f func(float64) float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = f(v)
	}
	return out
}

// TestUpgrades evaluates each old op twice: with the shapes of its inputs stated, and with nothing stated, where upgrades must
// work from the shapes that appear when the graph runs. The written file must mean the same.
func TestUpgrades(t *testing.T) {
	for _, c := range upgradeCases {
		t.Run(c.name, func(t *testing.T) {
			for _, stated := range []bool{true, false} {
				m, feeds := c.model(stated)
				g := readProto(t, m)
				again, _, err := Decode(mustEncode(t, g, WriteOptions{}), "")
				require.NoError(t, err)
				for _, g := range []*Graph{g, again} {
					for _, n := range g.Nodes {
						require.Empty(t, n.Domain)
					}
					got, err := Evaluate(g, feeds)
					require.NoError(t, err)
					near(t, c.want(c.feeds), got["y"].F, c.name)
				}
			}
		})
	}
}

func (c upgradeCase) model(stated bool) (*onnxpb.Model, map[string]*Array) {
	opset := c.opset
	if opset == 0 {
		opset = 18
	}
	feeds := map[string]*Array{}
	var inputs []*onnxpb.ValueInfo
	names := ""
	for i, a := range c.feeds {
		name := string(rune('a' + i))
		names += " " + name
		feeds[name] = a
		typ := Type{DType: a.DType}
		if stated {
			typ.Shape = make(Shape, len(a.Dims))
			for k, d := range a.Dims {
				typ.Shape[k] = Static(int64(d))
			}
		}
		inputs = append(inputs, valueInfo(name, typ))
	}
	m := protoModel(opset, inputs, "y")
	for i, k := range c.consts {
		name := string(rune('p' + i))
		names += " " + name
		m.Graph.Initializer = append(m.Graph.Initializer, tensorProto(name, k))
	}
	outs := c.outs
	if outs == "" {
		outs = "y"
	}
	m.Graph.Node = []*onnxpb.Node{protoNode(c.op, names, outs, c.attrs)}
	return m, feeds
}

func TestUpgradeKeepsTraining(t *testing.T) {
	m := protoModel(9, nil, "y m", protoNode("BatchNormalization", "x s b mean var", "y m v - -", nil))
	for _, name := range []string{"x", "s", "b", "mean", "var"} {
		m.Graph.Input = append(m.Graph.Input, floatInput(name, nil))
	}
	g := readProto(t, m)
	require.EqualValues(t, 1, g.Nodes[0].Int("training_mode", 0))

	on := NewTensor([]bool{true})
	m = protoModel(13, vector, "y", protoNode("Dropout", "x - on", "y", nil))
	m.Graph.Initializer = []*onnxpb.Tensor{tensorProto("on", on)}
	require.Equal(t, "Dropout", readProto(t, m).Nodes[0].Op)
	m.Graph.Initializer = []*onnxpb.Tensor{tensorProto("on", NewTensor([]bool{false}))}
	require.Empty(t, readProto(t, m).Nodes)
}

func TestUpgradeForms(t *testing.T) {
	g := readProto(t, protoModel(17, vector, "y", protoNode("DFT", "x", "y", Attrs{"axis": int64(1)})))
	require.Equal(t, []int64{1}, g.Nodes[0].In[2].Tensor.Int64s())
	require.Nil(t, g.Nodes[0].In[1])
	require.Empty(t, g.Nodes[0].Attrs)

	m := protoModel(13, vector, "y", protoNode("Resize", "x roi empty sizes", "y", nil))
	m.Graph.Initializer = []*onnxpb.Tensor{
		tensorProto("roi", NewTensor([]float32{}, 0)), tensorProto("empty", NewTensor([]float32{}, 0)), tensorProto("sizes", IntsTensor(4, 4)),
	}
	n := readProto(t, m).Nodes[0]
	require.Nil(t, n.In[1])
	require.Nil(t, n.In[2])
	require.Equal(t, []int64{4, 4}, n.In[3].Tensor.Int64s())

	rnn := protoModel(6, vector, "y", protoNode("LSTM", "x w r", "y", Attrs{"hidden_size": int64(2), "output_sequence": int64(1)}))
	rnn.Graph.Initializer = []*onnxpb.Tensor{tensorProto("w", NewTensor(make([]float32, 16), 1, 8, 2)), tensorProto("r", NewTensor(make([]float32, 16), 1, 8, 2))}
	require.Equal(t, Attrs{"hidden_size": int64(2)}, readProto(t, rnn).Nodes[0].Attrs)

	roi := protoModel(11, vector, "y", protoNode("RoiAlign", "x x x", "y", nil))
	require.Equal(t, "output_half_pixel", readProto(t, roi).Nodes[0].Text("coordinate_transformation_mode", ""))
}

func TestUpgradeRefusesIncompleteNodes(t *testing.T) {
	for _, u := range upgrades {
		for _, in := range []string{"", "x", "x x"} {
			opset := max(u.from, 6)
			m := protoModel(opset, vector, "x", protoNode(u.op, in, "", nil))
			_, _, err := Decode(encodeProto(t, m), "") // an error or a node that later checks refuse, never a panic
			if err != nil {
				require.NotContains(t, err.Error(), "runtime error")
			}
			m = protoModel(opset, vector, "y", protoNode(u.op, in, "y", nil))
			_, _, _ = Decode(encodeProto(t, m), "")
		}
	}
}

func TestUpgradeIsBounded(t *testing.T) {
	m := protoModel(6, vector, "y", protoNode("Add", "x x", "y", Attrs{"broadcast": int64(1), "axis": int64(-1 << 50)}))
	require.ErrorContains(t, readError(t, m), "out of range")
	inputs := append([]*onnxpb.ValueInfo{valueInfo("s", Type{Int64, ShapeOf(1 << 50)}), floatInput("k", nil)}, vector...)
	m = protoModel(6, inputs, "y", protoNode("Reshape", "x s", "r", nil), protoNode("PRelu", "r k", "y", nil))
	require.Equal(t, "PRelu", readProto(t, m).Outputs[0].Value.Node.Op)
}
