package graphs

import (
	"fmt"
	"math"
	"slices"
)

// upgrade rewrites one op of the opsets from ≤ v < below (0: any) to the form of the IR.
// It changes the node in place and may emit nodes before it; it takes the node away by clearing its Op.
type upgrade struct {
	op          string // with domain
	from, below int64
	do          func(e *emitter, n *Node) error
}

// upgrades is applied from top to bottom, so that one row can hand on to a later one. Ops that are not listed have had
// the IR's form since opset 6, but for element types.
var upgrades = []upgrade{
	{"Constant", 0, 0, constantNode},
	{"Identity", 0, 0, passThrough},
	{"Dropout", 0, 12, inferenceDropout},
	{"Dropout", 12, 0, dropout},

	{"Add", 0, 7, axisBroadcast}, {"Sub", 0, 7, axisBroadcast}, {"Mul", 0, 7, axisBroadcast}, {"Div", 0, 7, axisBroadcast},
	{"Pow", 0, 7, axisBroadcast}, {"And", 0, 7, axisBroadcast}, {"Or", 0, 7, axisBroadcast}, {"Xor", 0, 7, axisBroadcast},
	{"Equal", 0, 7, axisBroadcast}, {"Greater", 0, 7, axisBroadcast}, {"Less", 0, 7, axisBroadcast},
	{"Gemm", 0, 7, without("broadcast")},
	{"PRelu", 0, 7, channelSlope},
	{"RNN", 0, 7, without("output_sequence")}, {"GRU", 0, 7, without("output_sequence")}, {"LSTM", 0, 7, without("output_sequence")},

	{"Cast", 0, 0, castTarget},
	{"Cast", 19, 0, without("saturate", "round_mode")}, {"CastLike", 19, 0, without("saturate", "round_mode")}, // for 8-bit floats only
	{"Clip", 0, 11, clipBounds},
	{"Pad", 0, 11, padInputs},
	{"Slice", 0, 10, sliceInputs},
	{"TopK", 0, 10, topKInput},
	{"Split", 0, 13, intsToInput("split", 1)},
	{"Split", 0, 18, splitOutputs},
	{"Squeeze", 0, 13, intsToInput("axes", 1)},
	{"Unsqueeze", 0, 13, intsToInput("axes", 1)},
	{"ReduceSum", 0, 13, intsToInput("axes", 1)},
	{"ReduceMean", 0, 18, intsToInput("axes", 1)}, {"ReduceMax", 0, 18, intsToInput("axes", 1)},
	{"ReduceMin", 0, 18, intsToInput("axes", 1)}, {"ReduceProd", 0, 18, intsToInput("axes", 1)},
	{"ReduceL1", 0, 18, intsToInput("axes", 1)}, {"ReduceL2", 0, 18, intsToInput("axes", 1)},
	{"ReduceSumSquare", 0, 18, intsToInput("axes", 1)}, {"ReduceLogSum", 0, 18, intsToInput("axes", 1)},
	{"ReduceLogSumExp", 0, 18, intsToInput("axes", 1)},

	{"Softmax", 0, 13, flattenSoftmax}, {"LogSoftmax", 0, 13, flattenSoftmax}, {"Hardmax", 0, 13, flattenSoftmax},
	{"BatchNormalization", 0, 14, oldBatchNorm},
	{"GroupNormalization", 18, 21, groupScales},
	{"Upsample", 0, 7, upsampleSides}, {"Upsample", 7, 9, upsampleScales}, {"Upsample", 9, 0, upsampleInput},
	{"Resize", 10, 11, upsampleInput},
	{"Resize", 11, 0, resizeEmptyInputs},
	{"Scatter", 0, 0, rename("ScatterElements")},
	{"Erfc", 0, 0, complement},
	{"RoiAlign", 10, 16, roiAlignMode},
	{"DFT", 17, 20, dftAxis},
	{"GridSample", 20, 0, gridSampleMode},
	{"Scan", 0, 9, refuse("the batched Scan of opset 8 is not supported; export again with opset 9 or later")},

	{"com.microsoft::Gelu", 0, 0, msGelu("none")},
	{"com.microsoft::BiasGelu", 0, 0, msGelu("none")},
	{"com.microsoft::FastGelu", 0, 0, msGelu("tanh")},
	{"com.microsoft::QuickGelu", 0, 0, msQuickGelu},
	{"com.microsoft::FusedMatMul", 0, 0, msFusedMatMul},
	{"com.microsoft::FusedGemm", 0, 0, msFusedGemm},
	{"com.microsoft::SkipLayerNormalization", 0, 0, msSkipLayerNorm},

	{"ai.onnx.ml::Scaler", 0, 0, mlScaler},
	{"ai.onnx.ml::Normalizer", 0, 0, mlNormalizer},
	{"ai.onnx.ml::LinearRegressor", 0, 0, mlLinearRegressor},
	{"ai.onnx.ml::LinearClassifier", 0, 0, mlLinearClassifier},
	{"ai.onnx.ml::SVMRegressor", 0, 0, mlSVMRegressor},
	{"ai.onnx.ml::ArrayFeatureExtractor", 0, 0, mlArrayFeatureExtractor},
}

// complement: erfc x = 1 − erf x. Erfc is no op of ONNX, but tf2onnx leaves it where TensorFlow has it, as in Keras's gelu.
func complement(e *emitter, n *Node) error {
	if err := need(n, 1); err != nil {
		return err
	}
	one := e.op("Cast", Attrs{"to": int64(e.r.dtype(n.In[0]))}, constant(ScalarTensor(float32(1))))
	n.become("Sub", nil, one, e.op("Erf", nil, n.In[0]))
	return nil
}

// upgrade brings n to the form of the IR.
func (e *emitter) upgrade(n *Node) error {
	v := e.c.opsets[n.Domain]
	for _, u := range upgrades {
		if u.op == n.FullOp() && v >= u.from && (u.below == 0 || v < u.below) {
			if err := u.do(e, n); err != nil {
				return err
			}
		}
	}
	n.In = trimValues(n.In)
	return nil
}

func without(attrs ...string) func(*emitter, *Node) error {
	return func(_ *emitter, n *Node) error {
		for _, a := range attrs {
			delete(n.Attrs, a)
		}
		return nil
	}
}

func rename(op string) func(*emitter, *Node) error {
	return func(_ *emitter, n *Node) error {
		n.Op = op
		return nil
	}
}

func refuse(reason string) func(*emitter, *Node) error {
	return func(*emitter, *Node) error { return fmt.Errorf("%s", reason) }
}

// need checks that the node has its first k inputs.
func need(n *Node, k int) error {
	for i := range k {
		if n.Input(i) == nil {
			return fmt.Errorf("its input %d is missing", i)
		}
	}
	if len(n.Out) == 0 {
		return fmt.Errorf("it has no output")
	}
	return nil
}

func setInput(n *Node, i int, v *Value) {
	for len(n.In) <= i {
		n.In = append(n.In, nil)
	}
	n.In[i] = v
}

// intsToInput turns an integer list attribute into input i. An empty list means the same as none.
func intsToInput(attr string, i int) func(*emitter, *Node) error {
	return func(_ *emitter, n *Node) error {
		if list := n.IntList(attr); len(list) > 0 {
			setInput(n, i, ints(list...))
		}
		delete(n.Attrs, attr)
		return nil
	}
}

var constantForms = map[string]func(a any) *Tensor{
	"value":        func(a any) *Tensor { t, _ := a.(*Tensor); return t },
	"value_float":  func(a any) *Tensor { return ScalarTensor(a.(float32)) },
	"value_int":    func(a any) *Tensor { return ScalarTensor(a.(int64)) },
	"value_floats": func(a any) *Tensor { v := a.([]float32); return NewTensor(v, int64(len(v))) },
	"value_ints":   func(a any) *Tensor { return IntsTensor(a.([]int64)...) },
	"value_string": func(a any) *Tensor { return &Tensor{DType: String, Strings: []string{a.(string)}} },
	"value_strings": func(a any) *Tensor {
		v := a.([]string)
		return &Tensor{DType: String, Dims: []int64{int64(len(v))}, Strings: v}
	},
}

func constantNode(_ *emitter, n *Node) error {
	if len(n.Out) != 1 || len(n.In) != 0 || len(n.Attrs) != 1 {
		return fmt.Errorf("a Constant has no input, one output and one value")
	}
	for name, a := range n.Attrs {
		form := constantForms[name]
		if form == nil {
			return fmt.Errorf("a Constant with attribute %q is not supported", name)
		}
		t := form(a)
		if t == nil {
			return fmt.Errorf("attribute %q must be a tensor", name)
		}
		v := constant(t)
		v.Name = n.Out[0].Name
		n.Out[0] = v
	}
	n.Op = ""
	return nil
}

// passThrough makes the output another name of the input.
func passThrough(_ *emitter, n *Node) error {
	if err := need(n, 1); err != nil {
		return err
	}
	n.Out[0], n.Op = n.In[0], ""
	return nil
}

// dropout keeps the node where it may be in training mode.
func dropout(e *emitter, n *Node) error {
	if mode := n.Input(2); mode != nil {
		on, ok := mode.ConstInts()
		if !ok || len(on) != 1 || on[0] != 0 {
			return nil
		}
	}
	return inferenceDropout(e, n)
}

// inferenceDropout: y = x, and a mask of ones where somebody looks at it.
func inferenceDropout(e *emitter, n *Node) error {
	if err := need(n, 1); err != nil {
		return err
	}
	x := n.In[0]
	if len(n.Out) > 1 && e.used[1] {
		ones := Attrs{"value": NewTensor([]bool{true}, 1)}
		shape := e.op("Shape", nil, x)
		if e.c.opsets[""] >= 10 {
			e.opTo(n.Out[1:2], "ConstantOfShape", ones, shape)
		} else {
			e.opTo(n.Out[1:2], "CastLike", nil, e.op("ConstantOfShape", ones, shape), x)
		}
	}
	return passThrough(e, n)
}

// axisBroadcast: before opset 7 the second operand matched the axes of the first from `axis` on; now shapes align at their ends,
// so the second operand gets trailing axes of extent 1.
func axisBroadcast(e *emitter, n *Node) error {
	if err := need(n, 2); err != nil {
		return err
	}
	axis, given := n.Attrs["axis"].(int64)
	on := n.Int("broadcast", 0) != 0
	delete(n.Attrs, "axis")
	delete(n.Attrs, "broadcast")
	if !on || !given {
		return nil
	}
	b := n.In[1]
	if axis < -maxRank || axis > maxRank {
		return fmt.Errorf("axis %d is out of range", axis)
	}
	if k, known := e.trailingAxes(n.In[0], b, axis); known {
		if k > 0 {
			axes := make([]int64, k)
			for i := range axes {
				axes[i] = int64(e.rank(b) + i)
			}
			n.In[1] = e.op("Unsqueeze", nil, b, ints(axes...))
		}
		return nil
	}
	shape := e.op("Shape", nil, b)
	after := ints(-axis) // axes of the first operand from `axis` on
	if axis >= 0 {
		after = e.op("Sub", nil, e.op("Shape", nil, e.op("Shape", nil, n.In[0])), ints(axis))
	}
	count := e.op("Sub", nil, after, e.op("Shape", nil, shape))
	n.In[1] = e.op("Reshape", nil, b, e.op("Concat", Attrs{"axis": int64(0)}, shape, e.ones(count)))
	return nil
}

// trailingAxes counts the axes of a after those that b matches from axis on, where the ranks are known.
func (e *emitter) trailingAxes(a, b *Value, axis int64) (k int, known bool) {
	ra, rb := e.rank(a), e.rank(b)
	switch {
	case rb < 0:
		return 0, false
	case axis < 0:
		return int(-axis) - rb, true
	}
	return ra - int(axis) - rb, ra >= 0
}

// channelSlope: before opset 7 the slope of PRelu was one number or one a channel (axis 1).
func channelSlope(e *emitter, n *Node) error {
	if err := need(n, 2); err != nil {
		return err
	}
	x, slope := n.In[0], n.In[1]
	if e.rank(slope) == 0 || slope.Type.Shape.Size().Is(1) {
		return nil
	}
	if r := e.rank(x); r >= 0 {
		shape := []int64{-1}
		for range r - 2 {
			shape = append(shape, 1)
		}
		n.In[1] = e.op("Reshape", nil, slope, ints(shape...))
		return nil
	}
	count := e.op("Sub", nil, e.op("Shape", nil, e.op("Shape", nil, x)), ints(2))
	n.In[1] = e.op("Reshape", nil, slope, e.op("Concat", Attrs{"axis": int64(0)}, ints(-1), e.ones(count)))
	return nil
}

// clipBounds turns min and max into inputs. The old defaults, the ends of float32, mean no bound.
func clipBounds(e *emitter, n *Node) error {
	if err := need(n, 1); err != nil {
		return err
	}
	for i, name := range []string{"min", "max"} {
		if v, ok := n.Attrs[name].(float32); ok && math.Abs(float64(v)) < math.MaxFloat32 {
			setInput(n, i+1, e.scalarLike(n.In[0], v))
		}
		delete(n.Attrs, name)
	}
	return nil
}

func padInputs(e *emitter, n *Node) error {
	if err := need(n, 1); err != nil {
		return err
	}
	pads, ok := n.Attrs["pads"].([]int64)
	if !ok {
		return fmt.Errorf("attribute \"pads\" is missing")
	}
	setInput(n, 1, ints(pads...))
	value, _ := n.Attrs["value"].(float32)
	if value != 0 && n.Text("mode", "constant") == "constant" {
		setInput(n, 2, e.scalarLike(n.In[0], value))
	}
	delete(n.Attrs, "pads")
	delete(n.Attrs, "value")
	return nil
}

func sliceInputs(_ *emitter, n *Node) error {
	for i, name := range []string{"starts", "ends", "axes"} {
		if list, ok := n.Attrs[name].([]int64); ok {
			setInput(n, i+1, ints(list...))
		} else if name != "axes" {
			return fmt.Errorf("attribute %q is missing", name)
		}
		delete(n.Attrs, name)
	}
	return nil
}

func castTarget(_ *emitter, n *Node) error { return supported(DType(n.Int("to", 0))) }

func topKInput(_ *emitter, n *Node) error {
	k, ok := n.Attrs["k"].(int64)
	if !ok {
		return fmt.Errorf("attribute \"k\" is missing")
	}
	setInput(n, 1, ints(k))
	delete(n.Attrs, "k")
	return nil
}

// splitOutputs: opset 18 wants the number of parts where their sizes are not given.
func splitOutputs(_ *emitter, n *Node) error {
	if n.Input(1) == nil {
		n.setAttr("num_outputs", int64(len(n.Out)))
	}
	return nil
}

// flattenSoftmax: before opset 13 the tensor was seen as a matrix, with the axes from `axis` on as its rows.
func flattenSoftmax(e *emitter, n *Node) error {
	if err := need(n, 1); err != nil {
		return err
	}
	x, axis, rank := n.In[0], n.Int("axis", 1), e.rank(n.In[0])
	if axis == -1 || rank > 0 && axis == int64(rank)-1 {
		n.setAttr("axis", int64(-1))
		return nil
	}
	flat := e.op("Flatten", Attrs{"axis": axis}, x)
	soft := e.op(n.Op, Attrs{"axis": int64(-1)}, flat)
	n.become("Reshape", nil, soft, e.op("Shape", nil, x))
	return nil
}

// oldBatchNorm brings the forms before opset 14 to inference with one output. Where the statistics of the batch are used,
// training_mode says so.
func oldBatchNorm(e *emitter, n *Node) error {
	if err := need(n, 5); err != nil {
		return err
	}
	spatial, test := n.Int("spatial", 1), n.Int("is_test", 0)
	delete(n.Attrs, "spatial")
	delete(n.Attrs, "is_test")
	if test == 0 && len(n.Out) > 1 && slices.Contains(e.used[1:], true) {
		n.setAttr("training_mode", int64(1))
		n.Out = n.Out[:min(3, len(n.Out))]
		return nil
	}
	n.Out = n.Out[:1]
	if spatial != 0 {
		return nil
	}
	// Statistics for every position: (x−μ)/√(v+ε)·s + b.
	x, s, b, mean, variance := n.In[0], n.In[1], n.In[2], n.In[3], n.In[4]
	std := e.op("Sqrt", nil, e.op("Add", nil, variance, e.scalarLike(x, n.Float("epsilon", 1e-5))))
	z := e.op("Div", nil, e.op("Sub", nil, x, mean), std)
	n.become("Add", nil, e.op("Mul", nil, z, s), b)
	return nil
}

// groupScales: in opsets 18 to 20 scale and bias were per group, now they are per channel.
func groupScales(e *emitter, n *Node) error {
	if err := need(n, 3); err != nil {
		return err
	}
	groups, ok := n.Attrs["num_groups"].(int64)
	if !ok || groups < 1 {
		return fmt.Errorf("attribute \"num_groups\" is missing")
	}
	channels := e.op("Slice", nil, e.op("Shape", nil, n.In[0]), ints(1), ints(2), ints(0))
	size := e.op("Div", nil, channels, ints(groups))
	shape := e.op("Concat", Attrs{"axis": int64(0)}, ints(groups), size)
	for i := 1; i <= 2; i++ {
		wide := e.op("Expand", nil, e.op("Unsqueeze", nil, n.In[i], ints(1)), shape)
		n.In[i] = e.op("Reshape", nil, wide, ints(-1))
	}
	return nil
}

func upsampleSides(e *emitter, n *Node) error {
	scales := []float32{1, 1, n.Float("height_scale", 1), n.Float("width_scale", 1)}
	delete(n.Attrs, "height_scale")
	delete(n.Attrs, "width_scale")
	setInput(n, 1, constant(NewTensor(scales, 4)))
	return upsampleInput(e, n)
}

func upsampleScales(e *emitter, n *Node) error {
	scales := n.FloatList("scales")
	delete(n.Attrs, "scales")
	setInput(n, 1, constant(NewTensor(scales, int64(len(scales)))))
	return upsampleInput(e, n)
}

// upsampleInput: Upsample and the Resize of opset 10 map a coordinate to x/scale and round down where they enlarge and up where
// they shrink (as ONNX Runtime does; the specification is silent).
func upsampleInput(e *emitter, n *Node) error {
	if err := need(n, 2); err != nil {
		return err
	}
	mode := n.Text("mode", "nearest")
	if mode == "bilinear" {
		mode = "linear"
	}
	x, scales := n.In[0], n.In[1]
	attrs := func(rounding string) Attrs {
		a := Attrs{"mode": mode, "coordinate_transformation_mode": "asymmetric"}
		if mode == "nearest" {
			a["nearest_mode"] = rounding
		}
		return a
	}
	factors := Data[float32](scales.Tensor)
	up, down := slices.Clone(factors), slices.Clone(factors)
	for i, f := range factors {
		up[i], down[i] = max(f, 1), min(f, 1)
	}
	rounding := "floor"
	if mode == "nearest" && slices.ContainsFunc(factors, func(f float32) bool { return f < 1 }) {
		rounding = "ceil"
		if slices.ContainsFunc(factors, func(f float32) bool { return f > 1 }) {
			dims := int64(len(factors))
			x = e.op("Resize", attrs("floor"), x, nil, constant(NewTensor(up, dims)))
			scales = constant(NewTensor(down, dims))
		}
	}
	n.become("Resize", attrs(rounding), x, nil, scales)
	return nil
}

// resizeEmptyInputs: an empty tensor once stood for an input that is left out.
func resizeEmptyInputs(_ *emitter, n *Node) error {
	for i := 1; i < len(n.In); i++ {
		if v := n.In[i]; v != nil && v.Tensor != nil && v.Tensor.Len() == 0 {
			n.In[i] = nil
		}
	}
	if len(n.In) > 1 && n.Text("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize" {
		n.In[1] = nil
	}
	return nil
}

func roiAlignMode(_ *emitter, n *Node) error {
	n.setAttr("coordinate_transformation_mode", "output_half_pixel")
	return nil
}

func dftAxis(_ *emitter, n *Node) error {
	setInput(n, 2, constant(ScalarTensor(n.Int("axis", 1))))
	delete(n.Attrs, "axis")
	return nil
}

// gridSampleMode: opset 20 renamed the modes; the IR has the names of opset 18.
func gridSampleMode(_ *emitter, n *Node) error {
	switch n.Text("mode", "linear") {
	case "linear":
		n.setAttr("mode", "bilinear")
	case "cubic":
		n.setAttr("mode", "bicubic")
	}
	return nil
}
