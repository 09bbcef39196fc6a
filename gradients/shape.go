package gradients

import (
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	addRules(map[string]Rule{
		"Reshape":   view,
		"Flatten":   view,
		"Squeeze":   view,
		"Unsqueeze": view,
		"Transpose": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			perm := graphs.Perm(n)
			inverse := make([]int64, len(perm))
			for i, p := range perm {
				inverse[p] = int64(i)
			}
			return only(c.transpose(g[0], inverse...))
		},
		"Expand": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			return []*Value{c.back(g[0], 0), nil}
		},
		"Concat": concat,
		"Split":  split,
		"Slice":  slice,
		"Pad":    pad,
	})
}

// view: the elements stay, the shape changes. A cotangent that is one number for all elements stays one number.
func view(c *Context, n *graphs.Node, g []*Value) []*Value {
	x, t := n.In[0], g[0]
	out := make([]*Value, len(n.In))
	if x.Rank() < 0 {
		return []*Value{c.Failf("%s: the rank of its operand is unknown", n.Label())}
	}
	if n.Op == "Squeeze" || n.Op == "Unsqueeze" {
		out[0] = c.viewAxes(n, t)
		return out
	}
	if t.Shape().Size().Is(1) {
		ones := make([]int64, x.Rank())
		for i := range ones {
			ones[i] = 1
		}
		out[0] = c.Op("Reshape", nil, t, c.Ints(ones...))
		return out
	}
	for _, target := range []func(t, x, y *Value) ([]int64, bool){keptAxes, keptSuffix} {
		if s, ok := target(t, x, n.Out[0]); ok {
			out[0] = c.Op("Reshape", nil, t, c.Ints(s...))
			return out
		}
	}
	out[0] = c.reshapeLike(c.real(t, n.Out[0]), x)
	return out
}

// viewAxes inserts or drops the axes of extent 1 without asking for the real shape.
func (c *Context) viewAxes(n *graphs.Node, t *Value) *Value {
	x, y := n.In[0], n.Out[0]
	if y.Rank() < 0 {
		return c.Failf("%s: the rank of its result is unknown", n.Label())
	}
	if x.Rank() > y.Rank() {
		return c.unsqueeze(t, unitAxes(n, x)...)
	}
	axes := unitAxes(n, y)
	list := make([]int64, len(axes))
	for i, a := range axes {
		list[i] = int64(a)
	}
	return c.Op("Squeeze", nil, t, c.Ints(list...))
}

// unitAxes returns the axes of the longer shape v that a Squeeze removes or an Unsqueeze inserts.
func unitAxes(n *graphs.Node, v *Value) []int {
	var axes []int
	list, ok := n.Input(1).ConstInts()
	if !ok {
		for i, d := range v.Shape() {
			if d.Is(1) {
				axes = append(axes, i)
			}
		}
		return axes
	}
	for _, a := range list {
		if i, err := graphs.Axis(a, v.Rank()); err == nil {
			axes = append(axes, i)
		}
	}
	return axes
}

// keptAxes is the target of a Reshape of an under-broadcast cotangent t of y back to x, where the leading axis is the same in both and
// t varies along that axis alone or is full behind it.
func keptAxes(t, x, y *Value) ([]int64, bool) {
	if x.Rank() < 1 || y.Rank() < 1 || !x.Shape()[0].Same(y.Shape()[0]) {
		return nil, false
	}
	rest := t.Shape()[1:]
	target := make([]int64, x.Rank())
	target[0] = -1
	if t.Shape()[0].Is(1) {
		target[0] = 1
	}
	switch {
	case rest.Size().Is(1):
		for i := range target[1:] {
			target[i+1] = 1
		}
	case rest.Same(y.Shape()[1:]) && x.Shape()[1:].IsStatic() && !slices.Contains(x.Shape()[1:], graphs.Static(0)):
		copy(target[1:], x.Shape()[1:].Ints())
	default:
		return nil, false
	}
	return target, true
}

// keptSuffix is the same where the last axes are the same in both and t varies along those alone.
func keptSuffix(t, x, y *Value) ([]int64, bool) {
	i, j := x.Rank(), y.Rank()
	for i > 0 && j > 0 && x.Shape()[i-1].Same(y.Shape()[j-1]) {
		i, j = i-1, j-1
	}
	if j == t.Rank() || !t.Shape()[:j].Size().Is(1) || !t.Shape()[j:].IsStatic() {
		return nil, false
	}
	target := make([]int64, i, x.Rank())
	for k := range target {
		target[k] = 1
	}
	return append(target, t.Shape()[j:].Ints()...), true
}

// concat: each operand gets its stretch of the cotangent.
func concat(c *Context, n *graphs.Node, g []*Value) []*Value {
	y, t := n.Out[0], g[0]
	a, err := graphs.Axis(n.Int("axis", 0), y.Rank())
	if err != nil {
		c.Fail(err)
		return nil
	}
	out := make([]*Value, len(n.In))
	if t.Shape()[a].Is(1) && !y.Shape()[a].Is(1) {
		for i := range out {
			out[i] = t
		}
		return out
	}
	if sizes, ok := c.stretches(a); ok {
		return c.Ops("Split", len(out), graphs.Attrs{"axis": int64(a)}, t, c.Ints(sizes...))
	}
	var at *Value = c.Ints(0)
	for i, v := range n.In {
		end := c.Op("Add", nil, at, c.extents(v, a, a+1))
		if c.Wants(i) {
			out[i] = c.Op("Slice", nil, t, at, end, c.Ints(int64(a)))
		}
		at = end
	}
	return out
}

// stretches lists the extents of the node's operands along an axis, where all are known and wanted: then one Split does.
func (c *Context) stretches(axis int) ([]int64, bool) {
	sizes := make([]int64, len(c.node.In))
	for i, v := range c.node.In {
		if d := v.Shape()[axis]; d.IsStatic() && c.Wants(i) {
			sizes[i] = d.Size
			continue
		}
		return nil, false
	}
	return sizes, len(sizes) > 1
}

// split: the operand gets the cotangents of the parts in a row, zeros for parts without one.
func split(c *Context, n *graphs.Node, g []*Value) []*Value {
	a, err := graphs.Axis(n.Int("axis", 0), n.In[0].Rank())
	if err != nil {
		c.Fail(err)
		return nil
	}
	parts := make([]*Value, len(n.Out))
	for i, v := range n.Out {
		if parts[i] = g[i]; g[i] == nil {
			parts[i] = c.zerosLike(v)
			continue
		}
		parts[i] = c.real(g[i], v)
	}
	return []*Value{c.Op("Concat", graphs.Attrs{"axis": int64(a)}, parts...), nil}[:len(n.In)]
}

// slice with step 1 is undone by padding with zeros; other steps put the elements back by index.
func slice(c *Context, n *graphs.Node, g []*Value) []*Value {
	x, t := n.In[0], g[0]
	out := make([]*Value, len(n.In))
	ranges, ok, err := graphs.SliceSpec(n)
	if err != nil {
		c.Fail(err)
		return out
	}
	if !ok {
		out[0] = c.sliceDynamic(n, t)
		return out
	}
	var axes []int
	for _, r := range ranges {
		axes = append(axes, r.Axis)
	}
	t = c.realAlong(t, n.Out[0], axes...)
	zero := make([]*Value, 0, 2*len(ranges))
	after := make([]*Value, 0, len(ranges))
	var padded []int64
	for _, r := range ranges {
		if r.Step != 1 {
			t = c.undoStrided(t, x, r)
			continue
		}
		before, rest := c.slicePads(x, r)
		zero, after, padded = append(zero, before), append(after, rest), append(padded, int64(r.Axis))
	}
	if len(padded) > 0 {
		pads := c.Op("Concat", graphs.Attrs{"axis": int64(0)}, append(zero, after...)...)
		t = c.Op("Pad", nil, t, pads, nil, c.Ints(padded...))
	}
	out[0] = t
	return out
}

// slicePads returns how many elements of x's axis lie before and after the range, as vectors of one element.
func (c *Context) slicePads(x *Value, r graphs.SliceRange) (before, after *Value) {
	d := x.Shape()[r.Axis]
	if d.IsStatic() {
		r = r.Normalise(d.Size)
		return c.Ints(r.Start), c.Ints(d.Size - r.Start - r.Len())
	}
	extent := c.extents(x, r.Axis, r.Axis+1)
	start, end := c.clampIndex(c.Ints(r.Start), extent), c.clampIndex(c.Ints(r.End), extent)
	end = c.Op("Max", nil, start, end)
	return start, c.Op("Sub", nil, extent, end)
}

// clampIndex counts a negative index from the end and clamps it to [0, extent].
func (c *Context) clampIndex(i, extent *Value) *Value {
	if list, ok := i.ConstInts(); !ok || list[0] < 0 {
		negative := c.Op("Less", nil, i, c.Ints(0))
		i = c.Op("Where", nil, negative, c.Op("Add", nil, i, extent), i)
		i = c.Op("Max", nil, i, c.Ints(0))
	}
	return c.Op("Min", nil, i, extent)
}

// sliceDynamic undoes a Slice whose bounds are computed at run time: iota of the operand is sliced alike, the cotangent is put back by index.
func (c *Context) sliceDynamic(n *graphs.Node, t *Value) *Value {
	x := n.In[0]
	return c.undoMovement(c.real(t, n.Out[0]), x, func(iota *Value) *Value {
		return c.Op("Slice", nil, append([]*Value{iota}, n.In[1:]...)...)
	})
}

// undoStrided puts elements back that were taken along one axis with a step other than 1.
func (c *Context) undoStrided(t, x *Value, r graphs.SliceRange) *Value {
	extent := c.extents(x, r.Axis, r.Axis+1)
	all := c.Op("Range", nil, c.Int(0), c.Op("Squeeze", nil, extent, c.Ints(0)), c.Int(1))
	index := c.Op("Slice", nil, all, c.Ints(r.Start), c.Ints(r.End), c.Ints(0), c.Ints(r.Step))
	return c.scatterAlong(t, index, extent, r.Axis)
}

// pad: the cotangent is cut to the operand; constants that were padded with move with what was cut off.
func pad(c *Context, n *graphs.Node, g []*Value) []*Value {
	x, y, t := n.In[0], n.Out[0], g[0]
	out := make([]*Value, len(n.In))
	if mode := n.Text("mode", "constant"); mode != "constant" {
		out[0] = c.undoMovement(c.real(t, y), x, func(iota *Value) *Value {
			return c.Op("Pad", n.Attrs, append([]*Value{iota}, n.In[1:]...)...)
		})
		return out
	}
	full := c.real(t, y)
	cut := c.Op("Pad", nil, full, c.Op("Neg", nil, n.In[1]), nil, n.Input(3))
	out[0] = cut
	if c.Wants(2) {
		all := func(v *Value) *Value { return c.reduceSum(v, allAxes(v), false) }
		out[2] = c.reshapeLike(c.sub(all(full), all(cut)), n.In[2])
	}
	return out
}

func allAxes(v *Value) []int {
	axes := make([]int, v.Rank())
	for i := range axes {
		axes[i] = i
	}
	return axes
}
