package graphs

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Short constructors of operands for the tables below.
func arrF(dims []int, v ...float64) *Array { return reals(Float64, dims, v) }
func arrI(dims []int, v ...int64) *Array   { return integers(Int64, dims, v) }
func arrB(dims []int, v ...int64) *Array   { return integers(Bool, dims, v) }
func vecF(v ...float64) *Array             { return arrF([]int{len(v)}, v...) }
func vecI(v ...int64) *Array               { return arrI([]int{len(v)}, v...) }
func asType(dt DType, a *Array) *Array     { return &Array{DType: dt, Dims: a.Dims, F: a.F, I: a.I} }

var (
	posInf = math.Inf(1)
	notNum = math.NaN()
)

// node runs one op on operands.
func evalOp(op string, attrs Attrs, ins ...*Array) ([]*Array, error) {
	n := &Node{Op: op, Attrs: attrs, In: make([]*Value, len(ins)), Out: []*Value{{}}}
	return evaluateNode(n, ins)
}

// compareArrays compares dims, types and elements; NaN equals NaN, and all floating-point types are one.
func compareArrays(want, got *Array, rel, abs float64) error {
	if !slices.Equal(want.Dims, got.Dims) {
		return fmt.Errorf("want dims %v, got %v", want.Dims, got.Dims)
	}
	if want.DType != got.DType && !(want.DType.IsFloat() && got.DType.IsFloat()) {
		return fmt.Errorf("want type %v, got %v", want.DType, got.DType)
	}
	for i, w := range want.I {
		if w != got.I[i] {
			return fmt.Errorf("element %d: want %d, got %d", i, w, got.I[i])
		}
	}
	for i, w := range want.F {
		g := got.F[i]
		if w == g || math.IsNaN(w) && math.IsNaN(g) {
			continue
		}
		if !(math.Abs(w-g) <= abs+rel*math.Abs(w)) || math.IsInf(w, 0) {
			return fmt.Errorf("element %d: want %v, got %v", i, w, g)
		}
	}
	return nil
}

func requireArray(t *testing.T, want, got *Array, rel, abs float64) {
	t.Helper()
	require.NoError(t, compareArrays(want, got, rel, abs))
}

func TestEvaluateNode(t *testing.T) {
	m23 := arrF([]int{2, 3}, 1, 2, 3, 4, 5, 6)
	cases := []struct {
		name  string
		op    string
		attrs Attrs
		in    []*Array
		want  []*Array
	}{
		{"broadcast both ways", "Add", nil, []*Array{arrF([]int{2, 1}, 10, 20), vecF(1, 2, 3)}, []*Array{arrF([]int{2, 3}, 11, 12, 13, 21, 22, 23)}},
		{"empty", "Mul", nil, []*Array{arrF([]int{0, 3}), vecF(1, 2, 3)}, []*Array{arrF([]int{0, 3})}},
		{"int8 wraps", "Add", nil, []*Array{asType(Int8, vecI(127)), asType(Int8, vecI(1))}, []*Array{asType(Int8, vecI(-128))}},
		{"uint8 wraps", "Sub", nil, []*Array{asType(Uint8, vecI(1)), asType(Uint8, vecI(2))}, []*Array{asType(Uint8, vecI(255))}},
		{"int division truncates", "Div", nil, []*Array{vecI(-7, 7), vecI(2, -2)}, []*Array{vecI(-3, -3)}},
		{"uint64 division", "Div", nil, []*Array{asType(Uint64, vecI(-2)), asType(Uint64, vecI(2))}, []*Array{asType(Uint64, vecI(math.MaxInt64))}},
		{"uint64 order", "Less", nil, []*Array{asType(Uint64, vecI(-1)), asType(Uint64, vecI(1))}, []*Array{arrB([]int{1}, 0)}},
		{"mod has the divisor's sign", "Mod", nil, []*Array{vecI(-7, 7), vecI(3, -3)}, []*Array{vecI(2, -2)}},
		{"fmod has the dividend's sign", "Mod", Attrs{"fmod": int64(1)}, []*Array{vecF(-7, 7.5), vecF(3, -3)}, []*Array{vecF(-1, 1.5)}},
		{"integer power", "Pow", nil, []*Array{vecI(2, -1, 3), vecI(10, -3, -1)}, []*Array{vecI(1024, -1, 0)}},
		{"float base, int exponent", "Pow", nil, []*Array{vecF(2, 0), vecI(-1, 0)}, []*Array{vecF(0.5, 1)}},
		{"int base, float exponent", "Pow", nil, []*Array{vecI(2), vecF(0.5)}, []*Array{vecI(1)}},
		{"round half to even", "Round", nil, []*Array{vecF(0.5, 1.5, -2.5)}, []*Array{vecF(0, 2, -2)}},
		{"cast truncates", "Cast", Attrs{"to": int64(Int32)}, []*Array{vecF(-1.9, 1.9, notNum)}, []*Array{asType(Int32, vecI(-1, 1, 0))}},
		{"cast does not round", "Cast", Attrs{"to": int64(Float32)}, []*Array{vecF(1.0 / 3)}, []*Array{vecF(1.0 / 3)}},
		{"cast to bool", "Cast", Attrs{"to": int64(Bool)}, []*Array{vecF(0, 0.1, -2)}, []*Array{arrB([]int{3}, 0, 1, 1)}},
		{"clip without bounds", "Clip", nil, []*Array{vecF(-9, 9), nil, nil}, []*Array{vecF(-9, 9)}},
		{"clip above", "Clip", nil, []*Array{vecF(-9, 9), nil, arrF(nil, 2)}, []*Array{vecF(-9, 2)}},
		{"min propagates NaN", "Min", nil, []*Array{vecF(notNum, 1), vecF(-posInf, 2)}, []*Array{vecF(notNum, 1)}},
		{"comparison with NaN", "GreaterOrEqual", nil, []*Array{vecF(notNum, 1), vecF(1, 1)}, []*Array{arrB([]int{2}, 0, 1)}},
		{"where", "Where", nil, []*Array{arrB([]int{2, 1}, 1, 0), vecF(1, 2), arrF(nil, notNum)}, []*Array{arrF([]int{2, 2}, 1, 2, notNum, notNum)}},
		{"softplus tails", "Softplus", nil, []*Array{vecF(-100, 0, 800)}, []*Array{vecF(math.Exp(-100), math.Ln2, 800)}},
		{"sigmoid tails", "Sigmoid", nil, []*Array{vecF(-100, 0, 100)}, []*Array{vecF(math.Exp(-100)/(1+math.Exp(-100)), 0.5, 1)}},
		{"gelu tail", "Gelu", nil, []*Array{vecF(-3, 0)}, []*Array{vecF(-3*0.5*math.Erfc(3/math.Sqrt2), 0)}},

		{"sum of all", "ReduceSum", Attrs{"keepdims": int64(0)}, []*Array{m23}, []*Array{arrF(nil, 21)}},
		{"sum of an axis", "ReduceSum", nil, []*Array{m23, vecI(-2)}, []*Array{arrF([]int{1, 3}, 5, 7, 9)}},
		{"no axes is a no-op", "ReduceSumSquare", Attrs{"noop_with_empty_axes": int64(1)}, []*Array{vecF(2, 3), vecI()}, []*Array{vecF(4, 9)}},
		{"sum of nothing", "ReduceSum", nil, []*Array{arrF([]int{2, 0}), vecI(1)}, []*Array{arrF([]int{2, 1}, 0, 0)}},
		{"product of nothing", "ReduceProd", nil, []*Array{arrF([]int{0}), vecI(0)}, []*Array{vecF(1)}},
		{"maximum of nothing", "ReduceMax", nil, []*Array{arrF([]int{0}), vecI(0)}, []*Array{vecF(-posInf)}},
		{"mean of integers", "ReduceMean", nil, []*Array{vecI(1, 2, 4), vecI(0)}, []*Array{vecI(2)}},
		{"maximum with NaN", "ReduceMax", nil, []*Array{vecF(1, notNum, 3)}, []*Array{vecF(notNum)}},
		{"log-sum-exp", "ReduceLogSumExp", nil, []*Array{arrF([]int{3, 2}, -posInf, -posInf, 1000, 1000, posInf, 1), vecI(1)}, []*Array{arrF([]int{3, 1}, -posInf, 1000+math.Ln2, posInf)}},
		{"last of equal maxima", "ArgMax", Attrs{"select_last_index": int64(1), "keepdims": int64(0)}, []*Array{vecF(3, 1, 3)}, []*Array{arrI(nil, 2)}},
		{"exclusive reverse sums", "CumSum", Attrs{"exclusive": int64(1), "reverse": int64(1)}, []*Array{vecF(1, 2, 3), arrI(nil, 0)}, []*Array{vecF(5, 3, 0)}},

		{"reshape", "Reshape", nil, []*Array{m23, vecI(0, -1, 1)}, []*Array{arrF([]int{2, 3, 1}, 1, 2, 3, 4, 5, 6)}},
		{"reshape to empty", "Reshape", Attrs{"allowzero": int64(1)}, []*Array{arrF([]int{0, 3}), vecI(3, 0)}, []*Array{arrF([]int{3, 0})}},
		{"transpose", "Transpose", nil, []*Array{m23}, []*Array{arrF([]int{3, 2}, 1, 4, 2, 5, 3, 6)}},
		{"shape slice", "Shape", Attrs{"start": int64(-1)}, []*Array{m23}, []*Array{vecI(3)}},
		{"squeeze all", "Squeeze", nil, []*Array{arrF([]int{1, 2, 1}, 1, 2)}, []*Array{vecF(1, 2)}},
		{"unsqueeze", "Unsqueeze", nil, []*Array{vecF(1, 2), vecI(-1, 0)}, []*Array{arrF([]int{1, 2, 1}, 1, 2)}},
		{"expand", "Expand", nil, []*Array{arrF([]int{2, 1}, 1, 2), vecI(2, 1, 2)}, []*Array{arrF([]int{2, 2, 2}, 1, 1, 2, 2, 1, 1, 2, 2)}},
		{"slice backwards", "Slice", nil, []*Array{vecF(0, 1, 2, 3, 4), vecI(-1), vecI(math.MinInt64), vecI(0), vecI(-2)}, []*Array{vecF(4, 2, 0)}},
		{"slice out of range", "Slice", nil, []*Array{vecF(0, 1, 2), vecI(1), vecI(math.MaxInt64)}, []*Array{vecF(1, 2)}},
		{"slice empty", "Slice", nil, []*Array{vecF(0, 1, 2), vecI(5), vecI(9)}, []*Array{arrF([]int{0})}},
		{"pad constant, negative", "Pad", nil, []*Array{vecF(1, 2, 3), vecI(-1, 2), arrF(nil, 9)}, []*Array{vecF(2, 3, 9, 9)}},
		{"pad reflect", "Pad", Attrs{"mode": "reflect"}, []*Array{vecF(1, 2, 3), vecI(4, 1)}, []*Array{vecF(1, 2, 3, 2, 1, 2, 3, 2)}},
		{"pad edge of an axis", "Pad", Attrs{"mode": "edge"}, []*Array{m23, vecI(1, 0), nil, vecI(-1)}, []*Array{arrF([]int{2, 4}, 1, 1, 2, 3, 4, 4, 5, 6)}},
		{"pad wrap", "Pad", Attrs{"mode": "wrap"}, []*Array{vecF(1, 2, 3), vecI(1, 2)}, []*Array{vecF(3, 1, 2, 3, 1, 2)}},
		{"tile", "Tile", nil, []*Array{arrF([]int{1, 2}, 1, 2), vecI(2, 2)}, []*Array{arrF([]int{2, 4}, 1, 2, 1, 2, 1, 2, 1, 2)}},
		{"concat", "Concat", Attrs{"axis": int64(-1)}, []*Array{arrF([]int{2, 1}, 1, 2), arrF([]int{2, 2}, 3, 4, 5, 6)}, []*Array{arrF([]int{2, 3}, 1, 3, 4, 2, 5, 6)}},
		{"split", "Split", Attrs{"axis": int64(1)}, []*Array{m23, vecI(1, 2)}, []*Array{arrF([]int{2, 1}, 1, 4), arrF([]int{2, 2}, 2, 3, 5, 6)}},
		{"lower triangle", "Trilu", Attrs{"upper": int64(0)}, []*Array{m23, arrI(nil, 1)}, []*Array{arrF([]int{2, 3}, 1, 2, 0, 4, 5, 6)}},
		{"range down", "Range", nil, []*Array{arrI(nil, 5), arrI(nil, 0), arrI(nil, -2)}, []*Array{vecI(5, 3, 1)}},

		{"gather", "Gather", Attrs{"axis": int64(1)}, []*Array{m23, vecI(-1, 0)}, []*Array{arrF([]int{2, 2}, 3, 1, 6, 4)}},
		{"gather elements", "GatherElements", Attrs{"axis": int64(1)}, []*Array{m23, arrI([]int{2, 1}, 2, -3)}, []*Array{arrF([]int{2, 1}, 3, 4)}},
		{"scatter elements adds duplicates", "ScatterElements", Attrs{"reduction": "add"}, []*Array{vecF(1, 1), vecI(0, 0, 1), vecF(1, 2, 3)}, []*Array{vecF(4, 4)}},
		{"gather nd", "GatherND", Attrs{"batch_dims": int64(1)}, []*Array{m23, arrI([]int{2, 1}, 2, 0)}, []*Array{vecF(3, 4)}},
		{"scatter nd adds duplicates", "ScatterND", Attrs{"reduction": "add"}, []*Array{vecF(1, 1), arrI([]int{3, 1}, 0, 0, -1), vecF(1, 2, 3)}, []*Array{vecF(4, 4)}},
		{"one hot", "OneHot", nil, []*Array{vecI(1, -1, 7), arrI(nil, 2), vecF(5, 9)}, []*Array{arrF([]int{3, 2}, 5, 9, 5, 9, 5, 5)}},
		{"non-zero", "NonZero", nil, []*Array{arrF([]int{2, 2}, 0, 1, 1, 0)}, []*Array{arrI([]int{2, 2}, 0, 1, 1, 0)}},
		{"top two", "TopK", nil, []*Array{vecF(1, 3, 2, 3), vecI(2)}, []*Array{vecF(3, 3), vecI(1, 3)}},

		{"vector times matrix", "MatMul", nil, []*Array{vecF(1, 2), m23}, []*Array{vecF(9, 12, 15)}},
		{"batched product", "MatMul", nil, []*Array{arrF([]int{2, 1, 2}, 1, 0, 0, 1), arrF([]int{2, 2, 1}, 1, 2, 3, 4)}, []*Array{arrF([]int{2, 1, 1}, 1, 4)}},
		{"inner product", "MatMul", nil, []*Array{vecF(1, 2), vecF(3, 4)}, []*Array{arrF(nil, 11)}},
		{"zero times infinity", "MatMul", nil, []*Array{vecF(0), vecF(posInf)}, []*Array{arrF(nil, notNum)}},
		{"gemm", "Gemm", Attrs{"transA": int64(1), "alpha": float32(2), "beta": float32(3)}, []*Array{m23, arrF([]int{2, 1}, 1, -1), arrF(nil, 1)}, []*Array{arrF([]int{3, 1}, -3, -3, -3)}},
		{"einsum of a trace", "Einsum", Attrs{"equation": "ii->"}, []*Array{arrF([]int{2, 2}, 1, 2, 3, 4)}, []*Array{arrF(nil, 5)}},
		{"einsum of three", "Einsum", Attrs{"equation": "ij,j,...k->ik..."}, []*Array{m23, vecF(1, 0, -1), arrF([]int{1, 2}, 1, 2)}, []*Array{arrF([]int{2, 2, 1}, -2, -4, -2, -4)}},
		{"determinant", "Det", nil, []*Array{arrF([]int{2, 2}, 0, 2, 3, 4)}, []*Array{arrF(nil, -6)}},
		{"softmax of a scalar column", "Softmax", Attrs{"axis": int64(0)}, []*Array{arrF([]int{2, 1}, 1000, 1000)}, []*Array{arrF([]int{2, 1}, 0.5, 0.5)}},
		{"log-softmax", "LogSoftmax", nil, []*Array{vecF(0, 0)}, []*Array{vecF(-math.Ln2, -math.Ln2)}},

		{"convolution, uneven pads", "Conv", Attrs{"pads": []int64{1, 0}}, []*Array{arrF([]int{1, 1, 3}, 1, 2, 3), arrF([]int{1, 1, 2}, 1, 10), vecF(100)}, []*Array{arrF([]int{1, 1, 3}, 110, 121, 132)}},
		{"grouped strided convolution", "Conv", Attrs{"group": int64(2), "strides": []int64{2}}, []*Array{arrF([]int{1, 2, 3}, 1, 2, 3, 4, 5, 6), arrF([]int{2, 1, 1}, 1, 10)}, []*Array{arrF([]int{1, 2, 2}, 1, 3, 40, 60)}},
		{"transposed convolution", "ConvTranspose", Attrs{"strides": []int64{2}, "pads": []int64{0, 1}, "output_padding": []int64{1}}, []*Array{arrF([]int{1, 1, 2}, 1, 2), arrF([]int{1, 1, 3}, 1, 10, 100)}, []*Array{arrF([]int{1, 1, 5}, 1, 10, 102, 20, 200)}},
		{"max pool with pads", "MaxPool", Attrs{"kernel_shape": []int64{2}, "pads": []int64{1, 0}}, []*Array{arrF([]int{1, 1, 3}, -3, -1, -2)}, []*Array{arrF([]int{1, 1, 3}, -3, -1, -1), arrI([]int{1, 1, 3}, 0, 1, 1)}},
		{"average pool with ceil", "AveragePool", Attrs{"kernel_shape": []int64{2}, "strides": []int64{2}, "ceil_mode": int64(1), "count_include_pad": int64(1)}, []*Array{arrF([]int{1, 1, 3}, 1, 3, 5)}, []*Array{arrF([]int{1, 1, 2}, 2, 5)}},
		{"layer norm", "LayerNormalization", Attrs{"epsilon": float32(0)}, []*Array{arrF([]int{1, 2}, 1, 3), vecF(2, 2), vecF(1, 1)}, []*Array{arrF([]int{1, 2}, -1, 3), arrF([]int{1, 1}, 2), arrF([]int{1, 1}, 1)}},
		{"group norm", "GroupNormalization", Attrs{"epsilon": float32(0), "num_groups": int64(2)}, []*Array{arrF([]int{1, 4}, 1, 3, 10, 30), vecF(1, 1, 1, 2), vecF(0, 0, 0, 5)}, []*Array{arrF([]int{1, 4}, -1, 1, -1, 7)}},
		{"rms norm", "RMSNormalization", Attrs{"epsilon": float32(0)}, []*Array{vecF(3, 3), vecF(1, 2)}, []*Array{vecF(1, 2)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			out, err := evalOp(c.op, c.attrs, c.in...)
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(out), len(c.want))
			for i, w := range c.want {
				requireArray(t, w, out[i], 1e-14, 0)
			}
		})
	}
}

// Malformed operands are reported; what the kernels overlook must not escape as a panic either.
func TestEvaluateNodeErrors(t *testing.T) {
	cases := []struct {
		op    string
		attrs Attrs
		in    []*Array
	}{
		{"Add", nil, []*Array{vecF(1, 2), vecF(1, 2, 3)}},
		{"Add", nil, []*Array{vecF(1), vecI(1)}},
		{"Add", nil, []*Array{vecF(1), nil}},
		{"Div", nil, []*Array{vecI(1), vecI(0)}},
		{"Exp", nil, []*Array{vecI(1)}},
		{"Reshape", nil, []*Array{vecF(1, 2), vecI(3)}},
		{"Reshape", nil, []*Array{vecF(1, 2), vecI(-1, -1)}},
		{"Reshape", nil, []*Array{vecF(1, 2), vecI(0, 0, 2)}},
		{"ConstantOfShape", nil, []*Array{vecI(1<<40, 1<<40)}},
		{"Expand", nil, []*Array{vecF(1), vecI(1 << 62)}},
		{"Range", nil, []*Array{arrF(nil, 0), arrF(nil, posInf), arrF(nil, 1)}},
		{"Slice", nil, []*Array{vecF(1), vecI(0), vecI(1), vecI(0), vecI(0)}},
		{"Gather", nil, []*Array{vecF(1), vecI(1)}},
		{"MatMul", nil, []*Array{vecF(1, 2), vecF(1)}},
		{"Gemm", nil, []*Array{vecF(1), vecF(1)}},
		{"Einsum", Attrs{"equation": "ij->k"}, []*Array{arrF([]int{1, 1}, 1)}},
		{"Conv", nil, []*Array{arrF([]int{1, 1, 1}, 1), arrF([]int{1, 1, 5}, 1, 2, 3, 4, 5)}},
		{"Conv", Attrs{"strides": []int64{0}}, []*Array{arrF([]int{1, 1, 1}, 1), arrF([]int{1, 1, 1}, 1)}},
		{"Transpose", Attrs{"perm": []int64{0, 0}}, []*Array{arrF([]int{1, 1}, 1)}},
		{"Softmax", Attrs{"axis": int64(3)}, []*Array{vecF(1)}},
		{"Tile", nil, []*Array{vecF(1), vecI(1 << 60)}},
		{"NoSuchOp", nil, []*Array{vecF(1)}},
	}
	for _, c := range cases {
		_, err := evalOp(c.op, c.attrs, c.in...)
		require.Error(t, err, c.op)
	}
	_, err := evalOp("NoSuchOp", nil)
	var opErr *OpError
	require.ErrorAs(t, err, &opErr)
	require.True(t, CanEvaluate("Add"))
	require.False(t, CanEvaluate("NoSuchOp"))
}

// An Array that lies about its dims is refused before a kernel sees it.
func TestEvaluateFeeds(t *testing.T) {
	x := &Value{Name: "x", Kind: Input, Type: Type{DType: Float32}}
	w := &Value{Name: "w", Kind: Param, Type: Type{DType: Float32}, Tensor: NewTensor([]float32{2}, 1)}
	y := &Value{Name: "y"}
	n := &Node{Op: "Mul", In: []*Value{x, w}, Out: []*Value{y}}
	y.Node = n
	g := &Graph{Inputs: []*Value{x}, Nodes: []*Node{n}, Outputs: []Output{{"y", y}}}

	out, err := Evaluate(g, map[string]*Array{"x": vecF(1, 1.0/3)})
	require.NoError(t, err)
	require.Equal(t, Float32, out["y"].DType)
	requireArray(t, vecF(2, 2.0/3), out["y"], 0, 0)

	out, err = Evaluate(g, map[string]*Array{"x": vecF(1), "w": vecF(5)})
	require.NoError(t, err)
	requireArray(t, vecF(5), out["y"], 0, 0)

	for _, feeds := range []map[string]*Array{nil, {"x": arrF([]int{3}, 1)}, {"x": vecI(1)}} {
		_, err = Evaluate(g, feeds)
		require.Error(t, err)
	}
}

func TestArrayTensor(t *testing.T) {
	tensor := NewTensor([]float32{1, 2.5}, 2)
	a, err := ArrayOf(tensor)
	require.NoError(t, err)
	requireArray(t, vecF(1, 2.5), a, 0, 0)
	back, err := a.Tensor(Undefined)
	require.NoError(t, err)
	require.Equal(t, tensor.Raw, back.Raw)
	wide, err := a.Tensor(Float64)
	require.NoError(t, err)
	require.Equal(t, []float64{1, 2.5}, Data[float64](wide))
	_, err = ArrayOf(&Tensor{DType: String, Strings: []string{"a"}, Dims: []int64{1}})
	require.Error(t, err)
	_, err = ArrayOf(&Tensor{DType: Float32, Dims: []int64{7}})
	require.Error(t, err)
}
