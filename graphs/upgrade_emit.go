package graphs

import "strings"

// emitter appends nodes to a graph that is being read.
type emitter struct {
	r    *reader
	g    *Graph
	c    *context
	used []bool // which outputs of the node at hand somebody uses
}

// append adds a complete node.
func (e *emitter) append(n *Node) {
	for _, v := range n.Out {
		v.Node = n
	}
	e.g.Nodes = append(e.g.Nodes, n)
	if len(n.Out) > 0 {
		e.r.note(n)
	}
}

// op adds a node of ai.onnx and returns its output.
func (e *emitter) op(op string, a Attrs, in ...*Value) *Value {
	out := []*Value{{Kind: Computed}}
	e.opTo(out, op, a, in...)
	return out[0]
}

// opTo adds a node of ai.onnx with given outputs.
func (e *emitter) opTo(out []*Value, op string, a Attrs, in ...*Value) {
	e.append(&Node{Op: op, Attrs: a, In: trimValues(in), Out: out})
}

// become makes n another op of ai.onnx with the same outputs.
func (n *Node) become(op string, a Attrs, in ...*Value) {
	n.Op, n.Domain, n.Attrs, n.In = op, "", a, in
}

func (n *Node) setAttr(name string, v any) {
	if n.Attrs == nil {
		n.Attrs = Attrs{}
	}
	n.Attrs[name] = v
}

func ints(v ...int64) *Value { return constant(IntsTensor(v...)) }

// ones returns a vector of count ones; count is a vector of length 1.
func (e *emitter) ones(count *Value) *Value {
	return e.op("ConstantOfShape", Attrs{"value": NewTensor([]int64{1}, 1)}, count)
}

// scalarLike returns f as a scalar of x's type.
func (e *emitter) scalarLike(x *Value, f float32) *Value {
	if t, err := FromFloat64s(e.r.dtype(x), []float64{float64(f)}); err == nil {
		return constant(t)
	}
	return e.op("CastLike", nil, constant(ScalarTensor(f)), x)
}

// maxRank bounds what counts as a known rank, so that a file cannot make the reader write out shapes of absurd length.
const maxRank = 64

// rank returns the number of axes as far as the file or the few rules below tell, else -1.
func (e *emitter) rank(v *Value) int { return e.r.rank(v) }

// fact is what the reader works out for a value whose type the file does not state. It serves upgrades only; types are inferred later.
type fact struct {
	dtype DType
	rank  int
}

func (r *reader) dtype(v *Value) DType {
	if v.Type.DType != Undefined {
		return v.Type.DType
	}
	return r.facts[v].dtype
}

func (r *reader) rank(v *Value) int {
	if v == nil {
		return -1
	}
	k := v.Rank()
	if f, ok := r.facts[v]; ok && k < 0 {
		k = f.rank
	}
	if k > maxRank {
		return -1
	}
	return k
}

func opSet(list string) map[string]bool {
	m := map[string]bool{}
	for _, op := range strings.Fields(list) {
		m[op] = true
	}
	return m
}

var (
	sameRankOps = opSet(`Abs Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Cast CastLike Ceil Celu Clip Concat Conv
		ConvTranspose Cos Cosh CumSum Elu Erf Exp Floor Gelu GlobalAveragePool GlobalLpPool GlobalMaxPool GroupNormalization
		HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Log LogSoftmax
		LpNormalization LpPool MaxPool Mish Neg Not Pad Reciprocal Relu Resize Round Selu Shrink Sigmoid Sign Sin Sinh Slice
		Softmax Softplus Softsign Split Sqrt Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu`)
	broadcastOps = opSet(`Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or PRelu Pow Sub Sum Where Xor`)
	reduceOps    = opSet(`ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare`)
	int64Ops     = opSet(`ArgMax ArgMin NonZero Shape Size`)
	boolOps      = opSet(`And Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Not Or Xor`)
	opaqueOps    = opSet(`ConvInteger DequantizeLinear If Loop MatMulInteger QuantizeLinear Scan`)
)

// note records the element type and rank of n's first output (of all of Split's).
func (r *reader) note(n *Node) {
	f := fact{r.outputDType(n), r.outputRank(n)}
	r.facts[n.Out[0]] = f
	if n.Op == "Split" {
		for _, v := range n.Out[1:] {
			r.facts[v] = f
		}
	}
}

func (r *reader) outputDType(n *Node) DType {
	from := 0
	switch {
	case n.Domain != "" || opaqueOps[n.Op]:
		return Undefined
	case int64Ops[n.Op]:
		return Int64
	case boolOps[n.Op]:
		return Bool
	case n.Op == "Cast":
		return DType(n.Int("to", 0))
	case n.Op == "ConstantOfShape":
		if t, ok := n.Attrs["value"].(*Tensor); ok {
			return t.DType
		}
		return Float32
	case n.Op == "Where" || n.Op == "CastLike":
		from = 1
	case n.Op == "OneHot":
		from = 2
	}
	if v := n.Input(from); v != nil {
		return r.dtype(v)
	}
	return Undefined
}

func (r *reader) outputRank(n *Node) int {
	x := r.rank(n.Input(0))
	switch {
	case n.Domain != "":
		return -1
	case sameRankOps[n.Op]:
		return x
	case broadcastOps[n.Op]:
		return r.broadcastRank(n)
	case reduceOps[n.Op]:
		return reduceRank(n, x)
	}
	switch n.Op {
	case "Gemm", "Flatten", "NonZero":
		return 2
	case "Shape":
		return 1
	case "MatMul":
		if y := r.rank(n.Input(1)); x >= 2 && y >= 2 {
			return max(x, y)
		}
	case "Gather":
		if y := r.rank(n.Input(1)); x >= 0 && y >= 0 {
			return x + y - 1
		}
	case "Reshape":
		if s := n.Input(1).Shape(); len(s) == 1 && s[0].IsStatic() {
			return int(s[0].Size)
		}
	case "Unsqueeze":
		if axes, ok := n.Input(1).ConstInts(); ok && x >= 0 {
			return x + len(axes)
		}
	case "Squeeze":
		if axes, ok := n.Input(1).ConstInts(); ok && x >= len(axes) {
			return x - len(axes)
		}
	}
	return -1
}

func (r *reader) broadcastRank(n *Node) int {
	k := 0
	for _, v := range n.In {
		if v == nil || r.rank(v) < 0 {
			return -1
		}
		k = max(k, r.rank(v))
	}
	return k
}

func reduceRank(n *Node, x int) int {
	if n.Int("keepdims", 1) != 0 || x < 0 {
		return x
	}
	if n.Input(1) == nil {
		if n.Int("noop_with_empty_axes", 0) != 0 {
			return x
		}
		return 0
	}
	if axes, ok := n.Input(1).ConstInts(); ok && len(axes) > 0 && len(axes) <= x {
		return x - len(axes)
	}
	return -1
}
