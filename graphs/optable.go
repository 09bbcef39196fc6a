package graphs

import (
	"maps"
	"slices"
)

// OpInfo describes one op of the IR.
type OpInfo struct {
	Name   string
	Since  int64 // first ai.onnx opset that has the IR's form of the op
	MinIn  int
	MaxIn  int // -1: any number
	MaxOut int
	Infer  func(*Node) error // sets types and known elements of the outputs
	Random bool              // differs from run to run: never shared nor folded
	Flat   bool              // result is constant almost everywhere or not a float: the derivative is zero
}

// opTable is the one table of ops, read by builder, checker, writer, printer and documentation.
var opTable = map[string]OpInfo{}

func addOps(infos ...OpInfo) {
	for _, o := range infos {
		opTable[o.Name] = o
	}
}

// Info returns the entry of an ai.onnx op.
func Info(op string) (OpInfo, bool) {
	o, ok := opTable[op]
	return o, ok
}

// KnownOps returns the names of all ops of the table, sorted.
func KnownOps() []string { return slices.Sorted(maps.Keys(opTable)) }

func init() {
	for _, op := range []string{"Add", "Sub", "Mul", "Div"} {
		addOps(OpInfo{Name: op, Since: 14, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferArithmetic})
	}
	for op, since := range map[string]int64{
		"Neg": 13, "Exp": 13, "Log": 13, "Sqrt": 13, "Reciprocal": 13, "Tanh": 13, "Sigmoid": 13, "Relu": 14, "Erf": 13,
		"Gelu": 20, "Swish": 24, "Softplus": 1, "Softsign": 1, "Abs": 13, "Sin": 7, "Cos": 7, "Tan": 7, "Sinh": 9, "Cosh": 9,
		"Asin": 7, "Acos": 7, "Atan": 7, "Asinh": 9, "Acosh": 9, "Atanh": 9, "LeakyRelu": 16, "Elu": 6, "Selu": 6, "Celu": 12,
		"HardSigmoid": 6, "HardSwish": 14, "Mish": 18, "ThresholdedRelu": 10, "Shrink": 9, "Identity": 13,
		"Softmax": 13, "LogSoftmax": 13,
	} {
		addOps(OpInfo{Name: op, Since: since, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferSame})
	}
	for op, since := range map[string]int64{"Sign": 13, "Floor": 13, "Ceil": 13, "Round": 11, "Hardmax": 13} {
		addOps(OpInfo{Name: op, Since: since, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferSame, Flat: true})
	}
	for op, since := range map[string]int64{"Min": 13, "Max": 13, "Sum": 13, "Mean": 13} {
		addOps(OpInfo{Name: op, Since: since, MinIn: 1, MaxIn: -1, MaxOut: 1, Infer: inferBroadcast})
	}
	for op, since := range map[string]int64{"Equal": 13, "Greater": 13, "Less": 13, "GreaterOrEqual": 16, "LessOrEqual": 16, "And": 7, "Or": 7, "Xor": 7} {
		addOps(OpInfo{Name: op, Since: since, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferCompare, Flat: true})
	}
	for op, since := range map[string]int64{"Not": 1, "IsNaN": 13, "IsInf": 10} {
		addOps(OpInfo{Name: op, Since: since, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferBool, Flat: true})
	}
	for op, since := range map[string]int64{
		"ReduceSum": 13, "ReduceMean": 18, "ReduceMax": 18, "ReduceMin": 18, "ReduceProd": 18, "ReduceL1": 18, "ReduceL2": 18,
		"ReduceSumSquare": 18, "ReduceLogSum": 18, "ReduceLogSumExp": 18,
	} {
		addOps(OpInfo{Name: op, Since: since, MinIn: 1, MaxIn: 2, MaxOut: 1, Infer: inferReduce})
	}
	for op, since := range map[string]int64{"ArgMax": 13, "ArgMin": 13} {
		addOps(OpInfo{Name: op, Since: since, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferArg, Flat: true})
	}
	addOps(
		OpInfo{Name: "Pow", Since: 15, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferBroadcast},
		OpInfo{Name: "Mod", Since: 13, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferMod},
		OpInfo{Name: "PRelu", Since: 16, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferSame},
		OpInfo{Name: "Clip", Since: 13, MinIn: 1, MaxIn: 3, MaxOut: 1, Infer: inferSame},
		OpInfo{Name: "Cast", Since: 13, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferCast},
		OpInfo{Name: "CastLike", Since: 15, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferCastLike},
		OpInfo{Name: "Dropout", Since: 13, MinIn: 1, MaxIn: 3, MaxOut: 2, Infer: inferDropout},
		OpInfo{Name: "Where", Since: 16, MinIn: 3, MaxIn: 3, MaxOut: 1, Infer: inferWhere},
		OpInfo{Name: "MatMul", Since: 13, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferMatMul},
		OpInfo{Name: "Gemm", Since: 13, MinIn: 2, MaxIn: 3, MaxOut: 1, Infer: inferGemm},
		OpInfo{Name: "Einsum", Since: 12, MinIn: 1, MaxIn: -1, MaxOut: 1, Infer: inferEinsum},
		OpInfo{Name: "Reshape", Since: 14, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferReshape},
		OpInfo{Name: "Flatten", Since: 13, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferFlatten},
		OpInfo{Name: "Squeeze", Since: 13, MinIn: 1, MaxIn: 2, MaxOut: 1, Infer: inferSqueeze},
		OpInfo{Name: "Unsqueeze", Since: 13, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferUnsqueeze},
		OpInfo{Name: "Transpose", Since: 13, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferTranspose},
		OpInfo{Name: "Expand", Since: 13, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferExpand},
		OpInfo{Name: "Tile", Since: 13, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferTile},
		OpInfo{Name: "Concat", Since: 13, MinIn: 1, MaxIn: -1, MaxOut: 1, Infer: inferConcat},
		OpInfo{Name: "Split", Since: 18, MinIn: 1, MaxIn: 2, MaxOut: -1, Infer: inferSplit},
		OpInfo{Name: "Slice", Since: 13, MinIn: 3, MaxIn: 5, MaxOut: 1, Infer: inferSlice},
		OpInfo{Name: "Pad", Since: 18, MinIn: 2, MaxIn: 4, MaxOut: 1, Infer: inferPad},
		OpInfo{Name: "Gather", Since: 13, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferGather},
		OpInfo{Name: "GatherElements", Since: 13, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferGatherElements},
		OpInfo{Name: "GatherND", Since: 13, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferGatherND},
		OpInfo{Name: "ScatterElements", Since: 18, MinIn: 3, MaxIn: 3, MaxOut: 1, Infer: inferSame},
		OpInfo{Name: "ScatterND", Since: 18, MinIn: 3, MaxIn: 3, MaxOut: 1, Infer: inferSame},
		OpInfo{Name: "Trilu", Since: 14, MinIn: 1, MaxIn: 2, MaxOut: 1, Infer: inferSame},
		OpInfo{Name: "CumSum", Since: 14, MinIn: 2, MaxIn: 2, MaxOut: 1, Infer: inferSame},
		OpInfo{Name: "Shape", Since: 15, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferShape, Flat: true},
		OpInfo{Name: "Size", Since: 13, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferSize, Flat: true},
		OpInfo{Name: "ConstantOfShape", Since: 9, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferConstantOfShape, Flat: true},
		OpInfo{Name: "Range", Since: 11, MinIn: 3, MaxIn: 3, MaxOut: 1, Infer: inferRange},
		OpInfo{Name: "NonZero", Since: 13, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferNonZero, Flat: true},
		OpInfo{Name: "EyeLike", Since: 9, MinIn: 1, MaxIn: 1, MaxOut: 1, Infer: inferEyeLike, Flat: true},
		OpInfo{Name: "OneHot", Since: 11, MinIn: 3, MaxIn: 3, MaxOut: 1, Infer: inferOneHot},
	)
}
