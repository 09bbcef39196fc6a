package onnxgo

import (
	"fmt"
	"slices"
)

// form is a form of an op that only some opsets have: with an attribute, with a number of operands, or at all.
type form struct {
	ops      []string
	attr     string
	operands int   // at least so many
	from, to int64 // opsets of ai.onnx; 0: the first, the last
}

var (
	reductions = []string{"ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"}
	arithmetic = []string{"Add", "Sub", "Mul", "Div", "Pow"}
)

// forms lists, from the changelog of ONNX, what shows that a model is of another opset than it is read in: read so nevertheless, most
// of these nodes would be valid and compute something else. The last rows are ops that com.microsoft has by the same name.
var forms = []form{
	{ops: arithmetic, attr: "broadcast", to: 6},
	{ops: []string{"Gemm"}, attr: "broadcast", to: 6},
	{ops: []string{"BatchNormalization"}, attr: "spatial", to: 8},
	{ops: []string{"BatchNormalization"}, attr: "training_mode", from: 14},
	{ops: []string{"Clip"}, attr: "min", to: 10},
	{ops: []string{"Clip"}, attr: "max", to: 10},
	{ops: []string{"Clip"}, operands: 2, from: 11},
	{ops: []string{"Dropout"}, attr: "ratio", to: 11},
	{ops: []string{"Dropout"}, operands: 2, from: 12},
	{ops: []string{"Pad"}, attr: "pads", to: 10},
	{ops: []string{"Pad"}, operands: 2, from: 11},
	{ops: []string{"Pad"}, operands: 4, from: 18},
	{ops: []string{"Slice"}, attr: "starts", to: 9},
	{ops: []string{"Slice"}, operands: 2, from: 10},
	{ops: []string{"TopK"}, attr: "k", to: 9},
	{ops: []string{"TopK"}, operands: 2, from: 10},
	{ops: []string{"Upsample"}, to: 9},
	{ops: []string{"Resize"}, from: 10},
	{ops: []string{"Resize"}, attr: "coordinate_transformation_mode", from: 11},
	{ops: []string{"Resize"}, operands: 3, from: 11},
	{ops: []string{"Resize"}, attr: "antialias", from: 18},
	{ops: []string{"Resize"}, attr: "axes", from: 18},
	{ops: []string{"Squeeze", "Unsqueeze", "ReduceSum"}, attr: "axes", to: 12},
	{ops: []string{"Squeeze", "Unsqueeze", "ReduceSum", "Split"}, operands: 2, from: 13},
	{ops: []string{"Split"}, attr: "split", to: 12},
	{ops: []string{"Split"}, attr: "num_outputs", from: 18},
	{ops: reductions, attr: "axes", to: 17},
	{ops: reductions, operands: 2, from: 18},
	{ops: []string{"Reshape"}, attr: "allowzero", from: 14},
	{ops: []string{"GridSample"}, from: 16},
	{ops: []string{"Trilu"}, from: 14},
	{ops: []string{"Gelu"}, from: 20},
	{ops: []string{"Attention", "RotaryEmbedding"}, from: 23},
}

// flattening ops took more axes than one before opset 13, and no node shows which is meant.
var flattening = []string{"Softmax", "LogSoftmax", "Hardmax"}

// checkForm refuses an operation that the opset of the model does not have in this form.
func (b *Backend) checkForm(o operation) error {
	if !b.stated && slices.Contains(flattening, o.op.Name) {
		return fmt.Errorf("%s: opset 13 changed what it computes, and onnx-go does not pass the opset on: pass WithModel or WithOpset", o.label())
	}
	for _, f := range forms {
		if !slices.Contains(f.ops, o.op.Name) || b.opset >= f.from && (f.to == 0 || b.opset <= f.to) || !f.fits(o) {
			continue
		}
		what := "the op"
		switch {
		case f.attr != "":
			what = fmt.Sprintf("the attribute %q", f.attr)
		case f.operands > 0:
			what = fmt.Sprintf("%d operands", len(o.in))
		}
		return fmt.Errorf("%s: opset %d of ai.onnx does not have %s: pass WithModel or WithOpset", o.label(), b.opset, what)
	}
	return nil
}

// fits reports whether the operation has the form.
func (f form) fits(o operation) bool {
	if f.attr != "" {
		_, ok := o.op.Attributes[f.attr]
		return ok
	}
	return len(o.in) >= f.operands
}
