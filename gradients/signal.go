package gradients

import (
	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	addRules(map[string]Rule{"DFT": dft})
	rewrites["STFT"] = stft
	refusals["DFT"] = "its axis must be a constant; a one-sided inverse also needs a known length of ⌊n/2⌋+1 bins"
	refusals["STFT"] = "the rank of its signal and the length of its frames must be known"
}

// dft: y = S·F·P·x, where P cuts or pads the signal to length n, F is the transform and S keeps the first bins. The adjoint in real numbers is
// Pᵀ·Fᴴ·Sᵀ: Fᴴ is n times the inverse transform, and for the inverse transform F/n; Sᵀ pads with zeros, as a transform of length n does.
func dft(c *Context, n *graphs.Node, gs []*Value) []*Value {
	x, y := n.In[0], n.Out[0]
	out := make([]*Value, len(n.In))
	axis, ok := dftAxis(n)
	if !ok {
		c.Fail(refusal(n))
		return out
	}
	inverse, oneSided := n.Int("inverse", 0) != 0, n.Int("onesided", 0) != 0
	g := c.real(gs[0], y)
	if inverse && oneSided {
		out[0] = c.adjointHermitian(n, g, axis)
		return out
	}
	length := n.Input(1)
	if length == nil {
		length = c.Op("Squeeze", nil, c.extents(x, axis, axis+1), c.Ints(0))
	}
	attrs := graphs.Attrs{}
	if !inverse {
		attrs["inverse"] = int64(1)
	}
	t := c.Op("DFT", attrs, g, length, c.Int(int64(axis)))
	scale := c.cast(c.Op("Reshape", nil, length, c.Ints(1)), x.Type.DType)
	if inverse {
		t = c.div(t, scale)
	} else {
		t = c.mul(t, scale)
	}
	if n.Input(1) != nil {
		missing := c.Op("Sub", nil, c.extents(x, axis, axis+1), c.Op("Reshape", nil, length, c.Ints(1)))
		pads := c.Op("Concat", graphs.Attrs{"axis": int64(0)}, c.Ints(0), missing)
		t = c.Op("Pad", nil, t, pads, nil, c.Ints(int64(axis)))
	}
	if last := x.Rank() - 1; !x.Shape()[last].Is(2) {
		t = c.Op("Slice", nil, t, c.Ints(0), c.extents(x, last, last+1), c.Ints(int64(last)))
	}
	out[0] = t
	return out
}

func dftAxis(n *graphs.Node) (int, bool) {
	axis := int64(-2)
	if v := n.Input(2); v != nil {
		list, ok := v.ConstInts()
		if !ok || len(list) != 1 {
			return 0, false
		}
		axis = list[0]
	}
	a, err := graphs.Axis(axis, n.In[0].Rank())
	return a, err == nil
}

// adjointHermitian: a real signal from half a spectrum h is y[t] = 1/n·Σ_k c_k·Re(h[k]·e^{2πikt/n}), with c_k = 1 for the mean and the middle
// frequency and 2 for the others; its adjoint is c_k/n times the half spectrum of g.
func (c *Context) adjointHermitian(n *graphs.Node, g *Value, axis int) *Value {
	bins, length := n.In[0].Shape()[axis], n.Out[0].Shape()[axis]
	if !bins.IsStatic() || !length.IsStatic() || length.Size/2+1 != bins.Size {
		c.Fail(refusal(n))
		return nil
	}
	weights := make([]float64, bins.Size)
	for k := range weights {
		weights[k] = 2 / float64(length.Size)
		if k == 0 || int64(2*k) == length.Size {
			weights[k] = 1 / float64(length.Size)
		}
	}
	shape := make([]int64, n.In[0].Rank())
	for i := range shape {
		shape[i] = 1
	}
	shape[axis] = bins.Size
	t, err := graphs.FromFloat64s(g.Type.DType, weights, shape...)
	if err != nil {
		return c.Failf("%s: %w", n.Label(), err)
	}
	half := c.Op("DFT", graphs.Attrs{"onesided": int64(1)}, g, nil, c.Int(int64(axis)))
	return c.mul(half, c.Const(t))
}

// stft gathers frames, weights them by the window and transforms each.
func stft(b *graphs.Builder, n *graphs.Node) *Value {
	x, step, window := n.In[0], n.In[1], n.Input(2)
	if x.Rank() != 3 {
		return nil
	}
	one := func(v *Value) *Value { return b.Op("Reshape", nil, v, b.Ints()) }
	var length *Value
	switch {
	case n.Input(3) != nil:
		length = one(n.In[3])
	case window != nil:
		length = one(b.Op("Shape", nil, window))
	default:
		length = one(extentsOf(b, x, 1, 2))
	}
	long := func(v *Value) *Value { return b.Op("Cast", graphs.Attrs{"to": int64(graphs.Int64)}, v) }
	length = long(length)
	end := b.Op("Add", nil, b.Op("Sub", nil, one(extentsOf(b, x, 1, 2)), length), b.Int(1))
	starts := b.Op("Range", nil, b.Int(0), end, long(one(step)))
	index := b.Op("Add", nil, b.Op("Unsqueeze", nil, starts, b.Ints(1)), b.Op("Range", nil, b.Int(0), length, b.Int(1)))
	frames := b.Op("Gather", graphs.Attrs{"axis": int64(1)}, x, index)
	if window != nil {
		frames = b.Op("Mul", nil, frames, b.Op("Unsqueeze", nil, window, b.Ints(1)))
	}
	return b.Op("DFT", graphs.Attrs{"onesided": n.Int("onesided", 1)}, frames, nil, b.Int(2))
}
