package gradients

import (
	"math"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	addRules(map[string]Rule{"Conv": conv, "ConvTranspose": convTranspose})
	rewrites["Conv"] = convPads
	rewrites["ConvTranspose"] = convTransposePads
	refusals["Conv"] = "the rank of its operand and the shape of its weight must be known; give them in the file"
	refusals["ConvTranspose"] = refusals["Conv"] + ", or export it with pads instead of output_shape"
}

// spatial returns the axes 2, 3, … of a tensor.
func spatial(v *Value) []int {
	axes := make([]int, 0, v.Rank())
	for i := 2; i < v.Rank(); i++ {
		axes = append(axes, i)
	}
	return axes
}

// convWindow reads the window of a Conv or ConvTranspose, whose weight must have a known shape.
func (c *Context) convWindow(n *graphs.Node) (graphs.Window, bool) {
	w := n.In[1]
	if !w.Shape().IsStatic() || n.In[0].Rank() != w.Rank() || n.Text("auto_pad", "NOTSET") != "NOTSET" || n.IntList("output_shape") != nil {
		c.Fail(refusal(n))
		return graphs.Window{}, false
	}
	win, err := graphs.WindowOf(n, w.Shape()[2:].Ints())
	if err != nil {
		c.Fail(err)
	}
	return win, err == nil
}

func windowAttrs(win graphs.Window, group int64) graphs.Attrs {
	a := graphs.Attrs{"kernel_shape": slices.Clone(win.Kernel), "strides": win.Stride, "dilations": win.Dilation, "pads": slices.Concat(win.Before, win.After)}
	if group != 1 {
		a["group"] = group
	}
	return a
}

// conv: y[n,o,p] = Σ x[n,c,p·s+k·d−pad]·w[o,c,k] + b[o]. The adjoint in x is the transposed convolution with the same weight;
// in w it is a product of g with the patches of x; in b a sum.
func conv(c *Context, n *graphs.Node, gs []*Value) []*Value {
	x, w, y := n.In[0], n.In[1], n.Out[0]
	out := make([]*Value, len(n.In))
	win, ok := c.convWindow(n)
	if !ok {
		return out
	}
	group := n.Int("group", 1)
	g := c.realAlong(gs[0], y, append(spatial(y), 1)...)
	if c.Wants(0) {
		out[0] = c.adjointConv(g, w, x, win, group)
	}
	if c.Wants(1) {
		out[1] = c.patchProducts(x, c.real(g, y), w, win, group)
	}
	if c.Wants(2) {
		out[2] = c.channelSum(gs[0], y)
	}
	return out
}

// adjointConv is the adjoint of Conv in its image x. A stride leaves up to s−1 elements of x untouched, which output_padding restores; where
// their number is known only at run time the result is cut or padded to x's extent.
func (c *Context) adjointConv(g, w, x *Value, win graphs.Window, group int64) *Value {
	win.Before, win.After = slices.Clone(win.Before), slices.Clone(win.After)
	rest := make([]int64, len(win.Kernel))
	crop := make([]*Value, 0, 2*len(rest))
	var after []*Value
	var axes []int64
	for i := range rest {
		d, s := x.Shape()[i+2], win.Stride[i]
		switch {
		case s == 1:
		case d.IsStatic():
			rest[i] = (d.Size + win.Before[i] + win.After[i] - win.Span(i)) % s
		default:
			axes = append(axes, int64(i+2))
			crop = append(crop, c.Ints(-win.Before[i]))
			win.Before[i], win.After[i] = 0, 0
		}
	}
	attrs := windowAttrs(win, group)
	if slices.ContainsFunc(rest, func(r int64) bool { return r != 0 }) {
		attrs["output_padding"] = rest
	}
	t := c.Op("ConvTranspose", attrs, g, w)
	if len(axes) == 0 {
		return t
	}
	for i, a := range axes {
		missing := c.Op("Sub", nil, c.extents(x, int(a), int(a)+1), c.extents(t, int(a), int(a)+1))
		after = append(after, c.Op("Sub", nil, missing, crop[i]))
	}
	pads := c.Op("Concat", graphs.Attrs{"axis": int64(0)}, append(crop, after...)...)
	return c.Op("Pad", nil, t, pads, nil, c.Ints(axes...))
}

// patchProducts is the adjoint of Conv in its weight: Σ over samples n and positions p of g[n,o,p]·x[n,c,p·s+k·d−pad], as one product of
// the matrices [O, N·P] and [C·K, N·P]ᵀ. Channels come first, so that every patch is a strided slice and all copies are of long runs; that is
// several times faster than the convolution with exchanged roles of strides and dilations.
func (c *Context) patchProducts(x, g, w *Value, win graphs.Window, group int64) *Value {
	dims := w.Shape().Ints()
	r := len(win.Kernel)
	perm := make([]int64, r+2)
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[0], perm[1] = 1, 0
	image := c.transpose(c.padSpatial(x, win.Before, win.After), perm...)
	cols := c.patches(image, win)
	left := c.transpose(g, perm...)
	perGroup := dims[1] * count(win.Kernel)
	var dw *Value
	if group == 1 {
		dw = c.Op("Gemm", graphs.Attrs{"transB": int64(1)}, c.Op("Reshape", nil, left, c.Ints(dims[0], -1)), c.Op("Reshape", nil, cols, c.Ints(perGroup, -1)))
	} else {
		left = c.Op("Reshape", nil, left, c.Ints(group, dims[0]/group, -1))
		cols = c.Op("Reshape", nil, cols, c.Ints(group, perGroup, -1))
		dw = c.product(left, c.swapLast(cols))
	}
	return c.Op("Reshape", nil, dw, c.Ints(dims...))
}

func count(v []int64) int64 {
	p := int64(1)
	for _, k := range v {
		p *= k
	}
	return p
}

// patches returns, of a padded image [C, N, D…], the elements that each tap of the kernel meets, tap after tap along axis 1: [C, K·N, P…].
// A slice that ends as far from the end as the last tap is from this one has one element for every position, whatever the extent.
func (c *Context) patches(image *Value, win graphs.Window) *Value {
	r := len(win.Kernel)
	axes := make([]int64, r)
	for i := range axes {
		axes[i] = int64(i + 2)
	}
	taps := make([]*Value, count(win.Kernel))
	for t := range taps {
		start, end := make([]int64, r), make([]int64, r)
		left := int64(t)
		for i := r - 1; i >= 0; i-- {
			start[i] = left % win.Kernel[i] * win.Dilation[i]
			left /= win.Kernel[i]
			if end[i] = start[i] - win.Span(i) + 1; end[i] == 0 {
				end[i] = math.MaxInt64
			}
		}
		taps[t] = c.Op("Slice", nil, image, c.Ints(start...), c.Ints(end...), c.Ints(axes...), c.Ints(win.Stride...))
	}
	return c.Op("Concat", graphs.Attrs{"axis": int64(1)}, taps...)
}

// padSpatial pads the spatial axes with zeros; negative pads cut.
func (c *Context) padSpatial(x *Value, before, after []int64) *Value {
	pads := make([]int64, 2*x.Rank())
	copy(pads[2:], before)
	copy(pads[x.Rank()+2:], after)
	return c.Op("Pad", nil, x, c.Ints(pads...))
}

// channelSum sums a cotangent of y over all axes but 1.
func (c *Context) channelSum(g, y *Value) *Value {
	s := slices.Repeat(graphs.Shape{graphs.Static(1)}, y.Rank())
	s[1] = y.Shape()[1]
	like := &Value{Type: graphs.Type{DType: y.Type.DType, Shape: s}}
	return c.Op("Reshape", nil, c.unbroadcast(g, y, like), c.Ints(-1))
}

// convTranspose is the adjoint of a convolution, so that its own adjoint in x is that convolution, with the weight unchanged; in w the
// operands of the product of patches change roles.
func convTranspose(c *Context, n *graphs.Node, gs []*Value) []*Value {
	x, w, y := n.In[0], n.In[1], n.Out[0]
	out := make([]*Value, len(n.In))
	win, ok := c.convWindow(n)
	if !ok {
		return out
	}
	group := n.Int("group", 1)
	g := c.realAlong(gs[0], y, append(spatial(y), 1)...)
	if c.Wants(0) {
		out[0] = c.cutPositions(c.Op("Conv", windowAttrs(win, group), g, w), win)
	}
	if c.Wants(1) {
		after := slices.Clone(win.After)
		for i, p := range win.OutputPadding {
			after[i] -= p
		}
		cut := win
		cut.After = after
		out[1] = c.patchProducts(c.real(g, y), x, w, cut, group)
	}
	if c.Wants(2) {
		out[2] = c.channelSum(gs[0], y)
	}
	return out
}

// cutPositions drops the positions that an output padding of a stride or more adds.
func (c *Context) cutPositions(t *Value, win graphs.Window) *Value {
	var axes, starts, ends []int64
	for i, p := range win.OutputPadding {
		if extra := p / win.Stride[i]; extra > 0 {
			axes, starts, ends = append(axes, int64(i+2)), append(starts, 0), append(ends, -extra)
		}
	}
	if axes == nil {
		return t
	}
	return c.Op("Slice", nil, t, c.Ints(starts...), c.Ints(ends...), c.Ints(axes...))
}

// convPads writes the pads that auto_pad stands for. Where they depend on an extent that is known only at run time they become a Pad.
func convPads(b *graphs.Builder, n *graphs.Node) *Value {
	x, w := n.In[0], n.In[1]
	mode := n.Text("auto_pad", "NOTSET")
	if mode == "NOTSET" || !w.Shape()[2:].IsStatic() {
		return nil
	}
	win, err := graphs.WindowOf(n, w.Shape()[2:].Ints())
	if err != nil {
		return nil
	}
	in := slices.Clone(n.In)
	if win.Same() {
		in[0] = samePads(b, x, &win)
	}
	return b.Op("Conv", windowAttrs(win, n.Int("group", 1)), in...)
}

// samePads sets the pads of SAME_UPPER and SAME_LOWER, total = max((⌈d/s⌉−1)·s + span − d, 0), and returns the operand, padded where total is
// known only at run time.
func samePads(b *graphs.Builder, x *Value, win *graphs.Window) *Value {
	r := len(win.Kernel)
	win.Before, win.After = make([]int64, r), make([]int64, r)
	var before, after []*Value
	var axes []int64
	for i, s := range win.Stride {
		d := x.Shape()[i+2]
		if !d.IsStatic() && s > 1 {
			p, q := dynamicSamePads(b, x, *win, i)
			before, after, axes = append(before, p), append(after, q), append(axes, int64(i+2))
			continue
		}
		total := win.Span(i) - 1
		if s > 1 {
			total = max(((d.Size+s-1)/s-1)*s+win.Span(i)-d.Size, 0)
		}
		win.Before[i], win.After[i] = total/2, total-total/2
		if win.Mode == "SAME_LOWER" {
			win.Before[i], win.After[i] = win.After[i], win.Before[i]
		}
	}
	if axes == nil {
		return x
	}
	pads := b.Op("Concat", graphs.Attrs{"axis": int64(0)}, append(before, after...)...)
	return b.Op("Pad", nil, x, pads, nil, b.Ints(axes...))
}

func dynamicSamePads(b *graphs.Builder, x *Value, win graphs.Window, i int) (before, after *Value) {
	s := win.Stride[i]
	d := b.Op("Shape", graphs.Attrs{"start": int64(i + 2), "end": int64(i + 3)}, x)
	last := b.Op("Mul", nil, b.Op("Div", nil, b.Op("Sub", nil, d, b.Ints(1)), b.Ints(s)), b.Ints(s)) // (⌈d/s⌉−1)·s
	total := b.Op("Max", nil, b.Op("Sub", nil, b.Op("Add", nil, last, b.Ints(win.Span(i))), d), b.Ints(0))
	half := b.Op("Div", nil, total, b.Ints(2))
	rest := b.Op("Sub", nil, total, half)
	if win.Mode == "SAME_LOWER" {
		return rest, half
	}
	return half, rest
}

// convTransposePads writes the pads that auto_pad or output_shape stand for: total = s·(d−1) + output_padding + span − extent.
func convTransposePads(b *graphs.Builder, n *graphs.Node) *Value {
	x, w := n.In[0], n.In[1]
	mode, given := n.Text("auto_pad", "NOTSET"), n.IntList("output_shape")
	if mode == "NOTSET" && given == nil || !w.Shape()[2:].IsStatic() {
		return nil
	}
	win, err := graphs.WindowOf(n, w.Shape()[2:].Ints())
	if err != nil {
		return nil
	}
	r := len(win.Kernel)
	if len(given) == r+2 {
		given = given[2:]
	}
	if given != nil || win.Same() {
		win.Before, win.After = make([]int64, r), make([]int64, r)
		for i, s := range win.Stride {
			d := x.Shape()[i+2]
			total := win.OutputPadding[i] + win.Span(i) - s // extent d·s
			if given != nil {
				if !d.IsStatic() {
					return nil
				}
				total = s*(d.Size-1) + win.OutputPadding[i] + win.Span(i) - given[i]
			}
			total = max(total, 0)
			win.Before[i], win.After[i] = total-total/2, total/2
			if mode == "SAME_UPPER" {
				win.Before[i], win.After[i] = total/2, total-total/2
			}
		}
	}
	attrs := windowAttrs(win, n.Int("group", 1))
	attrs["output_padding"] = win.OutputPadding
	y := b.Op("ConvTranspose", attrs, n.In...)
	if given != nil && y.Shape()[2:].IsStatic() && !slices.Equal(y.Shape()[2:].Ints(), given) {
		return nil
	}
	return y
}
