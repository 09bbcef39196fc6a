package gradients

import (
	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	addRules(map[string]Rule{"DequantizeLinear": dequantize})
	expansions["SoftmaxCrossEntropyLoss"] = func(b *graphs.Builder, n *graphs.Node) []*Value {
		logp := b.Op("LogSoftmax", graphs.Attrs{"axis": int64(1)}, n.In[0])
		loss := labelLoss(b, n, logp)
		if loss == nil {
			return nil
		}
		return []*Value{loss, logp}[:len(n.Out)]
	}
	rewrites["NegativeLogLikelihoodLoss"] = func(b *graphs.Builder, n *graphs.Node) *Value { return labelLoss(b, n, n.In[0]) }
	refusals["SoftmaxCrossEntropyLoss"] = "the rank of its scores must be known"
	refusals["NegativeLogLikelihoodLoss"] = "the rank of its log-probabilities must be known"
	refusals["DequantizeLinear"] = "blocks of a tensor with scales of their own are not supported"
}

// labelLoss is −w[t]·logp[n, t, …] for the labels t, as it is, summed, or averaged by the weights of the labels that are not ignored.
func labelLoss(b *graphs.Builder, n *graphs.Node, logp *Value) *Value {
	labels, weight := n.In[1], n.Input(2)
	if logp.Rank() < 2 {
		return nil
	}
	var counted *Value
	if ignored, has := n.Attrs["ignore_index"].(int64); has {
		t, err := graphs.FromInt64s(labels.Type.DType, []int64{ignored, 0}, 2)
		if err != nil {
			return nil
		}
		pick := func(i int64) *Value { return b.Op("Gather", graphs.Attrs{"axis": int64(0)}, b.Const(t), b.Int(i)) }
		keep := b.Op("Not", nil, b.Op("Equal", nil, labels, pick(0)))
		labels = b.Op("Where", nil, keep, labels, pick(1))
		counted = b.Op("Cast", graphs.Attrs{"to": int64(logp.Type.DType)}, keep)
	}
	if weight != nil {
		w := b.Op("Gather", graphs.Attrs{"axis": int64(0)}, weight, labels)
		if counted != nil {
			w = b.Op("Mul", nil, w, counted)
		}
		counted = w
	}
	one := b.Ints(1)
	picked := b.Op("GatherElements", graphs.Attrs{"axis": int64(1)}, logp, b.Op("Unsqueeze", nil, labels, one))
	loss := b.Op("Neg", nil, b.Op("Squeeze", nil, picked, one))
	if counted != nil {
		loss = b.Op("Mul", nil, loss, counted)
	}
	keep := graphs.Attrs{"keepdims": int64(0)}
	switch n.Text("reduction", "mean") {
	case "none":
		return loss
	case "sum":
		return b.Op("ReduceSum", keep, loss)
	}
	if counted == nil {
		return b.Op("ReduceMean", keep, loss)
	}
	return b.Op("Div", nil, b.Op("ReduceSum", keep, loss), b.Op("ReduceSum", keep, counted))
}

// dequantize: y = (x − zero)·scale with integers x, so that only the scale has a derivative: the sum of g·(x − zero).
func dequantize(c *Context, n *graphs.Node, g []*Value) []*Value {
	out := make([]*Value, len(n.In))
	x, scale, y := n.In[0], n.In[1], n.Out[0]
	if n.Int("block_size", 0) != 0 || x.Rank() < 0 || scale.Rank() > 1 {
		c.Fail(refusal(n))
		return out
	}
	axis := 0
	if scale.Rank() == 1 && !scale.Shape()[0].Is(1) {
		a, err := graphs.Axis(n.Int("axis", 1), x.Rank())
		if err != nil {
			c.Fail(err)
			return out
		}
		axis = a
	}
	along := func(v *Value) *Value { // broadcasts over the axes behind
		if v.Rank() == 0 || v.Shape()[0].Is(1) {
			return v
		}
		axes := make([]int64, 0, x.Rank())
		for i := 1; i < x.Rank()-axis; i++ {
			axes = append(axes, int64(i))
		}
		if len(axes) == 0 {
			return v
		}
		return c.Op("Unsqueeze", nil, v, c.Ints(axes...))
	}
	number := c.cast(x, scale.Type.DType)
	if zero := n.Input(2); zero != nil {
		number = c.sub(number, c.cast(along(zero), scale.Type.DType))
	}
	t := c.unbroadcast(c.mul(g[0], number), y, along(scale))
	out[1] = c.reshapeLike(t, scale)
	return out
}

func init() {
	for _, op := range []string{"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"} {
		refusals[op] = "it computes in integers, whose derivative is zero almost everywhere; export the model unquantized"
	}
	for _, op := range []string{"SequenceAt", "SequenceConstruct", "SequenceInsert", "SequenceErase", "SequenceMap", "SplitToSequence", "ConcatFromSequence", "Optional", "OptionalGetElement"} {
		refusals[op] = "sequences and optional values are not supported; export the model with tensors"
	}
	refusals["MaxRoiPool"] = "use RoiAlign"
}
