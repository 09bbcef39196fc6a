package gradients

import (
	"maps"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	addRules(map[string]Rule{
		"Gather": gather,
		"GatherElements": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			t := c.real(g[0], n.Out[0])
			a := graphs.Attrs{"axis": n.Int("axis", 0), "reduction": "add"}
			return []*Value{c.Op("ScatterElements", a, c.zerosLike(n.In[0]), n.In[1], t), nil}
		},
		"ScatterElements": scatter("GatherElements"),
		"ScatterND":       scatter("GatherND"),
		"GatherND": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			if n.Int("batch_dims", 0) != 0 {
				return []*Value{c.undoMovement(c.real(g[0], n.Out[0]), n.In[0], func(iota *Value) *Value {
					return c.Op("GatherND", n.Attrs, iota, n.In[1])
				}), nil}
			}
			t := c.real(g[0], n.Out[0])
			return []*Value{c.Op("ScatterND", graphs.Attrs{"reduction": "add"}, c.zerosLike(n.In[0]), n.In[1], t), nil}
		},
	})
}

// gather: elements are added back to where they were taken from. A constant stretch of indices is a Slice, undone by padding.
func gather(c *Context, n *graphs.Node, g []*Value) []*Value {
	x, index := n.In[0], n.In[1]
	a, err := graphs.Axis(n.Int("axis", 0), x.Rank())
	if err != nil {
		c.Fail(err)
		return nil
	}
	t := c.realAlong(g[0], n.Out[0], gatheredAxes(a, index.Rank())...)
	if start, count, ok := stretch(index, x.Shape()[a]); ok {
		if index.Rank() == 0 {
			t = c.unsqueeze(t, a)
		}
		after := c.Op("Sub", nil, c.extents(x, a, a+1), c.Ints(start+count))
		pads := c.Op("Concat", graphs.Attrs{"axis": int64(0)}, c.Ints(start), after)
		return []*Value{c.Op("Pad", nil, t, pads, nil, c.Ints(int64(a))), nil}
	}
	flat := c.Op("Reshape", nil, index, c.Ints(-1))
	if index.Rank() == 0 {
		t = c.unsqueeze(t, a)
	} else if index.Rank() > 1 {
		t = c.mergeAxes(t, a, index)
	}
	return []*Value{c.scatterAlong(t, flat, c.extents(x, a, a+1), a), nil}
}

func gatheredAxes(a, rank int) []int {
	axes := make([]int, rank)
	for i := range axes {
		axes[i] = a + i
	}
	return axes
}

// stretch reports whether constant indices of rank ≤ 1 count up by one from a non-negative start.
func stretch(index *Value, extent graphs.Dim) (start, count int64, ok bool) {
	list, known := index.ConstInts()
	if !known || index.Rank() > 1 || len(list) == 0 {
		return 0, 0, false
	}
	start = list[0]
	if start < 0 && extent.IsStatic() {
		start += extent.Size
	}
	if start < 0 {
		return 0, 0, false
	}
	for i, k := range list {
		if k < 0 && extent.IsStatic() {
			k += extent.Size
		}
		if k != start+int64(i) {
			return 0, 0, false
		}
	}
	return start, int64(len(list)), true
}

// mergeAxes makes one axis of the axes of t from a on that have the extents of index.
func (c *Context) mergeAxes(t *Value, a int, index *Value) *Value {
	parts := []*Value{}
	if a > 0 {
		parts = append(parts, c.extents(t, 0, a))
	}
	parts = append(parts, c.unsqueeze(c.Op("Size", nil, index), 0))
	if end := a + index.Rank(); end < t.Rank() {
		parts = append(parts, c.extents(t, end, t.Rank()))
	}
	return c.reshape(t, c.Op("Concat", graphs.Attrs{"axis": int64(0)}, parts...))
}

// scatterAlong adds the slices of t along an axis into zeros with the given extent there, at the indices of a vector; duplicates add up.
func (c *Context) scatterAlong(t, index, extent *Value, axis int) *Value {
	front := make([]int64, 0, t.Rank())
	front = append(front, int64(axis))
	for i := range t.Rank() {
		if i != axis {
			front = append(front, int64(i))
		}
	}
	back := make([]int64, len(front))
	for i, p := range front {
		back[p] = int64(i)
	}
	moved := c.transpose(t, front...)
	shape := []*Value{extent}
	if t.Rank() > 1 {
		shape = append(shape, c.extents(moved, 1, t.Rank()))
	}
	zeroTensor, _ := graphs.FromFloat64s(t.Type.DType, []float64{0}, 1)
	zeros := c.Op("ConstantOfShape", graphs.Attrs{"value": zeroTensor}, c.Op("Concat", graphs.Attrs{"axis": int64(0)}, shape...))
	if index.Type.DType != graphs.Int64 { // Gather takes int32 too
		index = c.Op("Cast", graphs.Attrs{"to": int64(graphs.Int64)}, index)
	}
	sum := c.Op("ScatterND", graphs.Attrs{"reduction": "add"}, zeros, c.unsqueeze(index, 1), moved)
	return c.transpose(sum, back...)
}

// undoMovement is the derivative of any op that only moves elements: the op moves the positions of x's elements instead, and the
// cotangent is added up by position.
func (c *Context) undoMovement(t, x *Value, move func(iota *Value) *Value) *Value {
	size := c.Op("Size", nil, x)
	iota := c.reshapeLike(c.Op("Range", nil, c.Int(0), size, c.Int(1)), x)
	position := c.Op("Reshape", nil, move(iota), c.Ints(-1))
	zeroTensor, _ := graphs.FromFloat64s(t.Type.DType, []float64{0}, 1)
	zeros := c.Op("ConstantOfShape", graphs.Attrs{"value": zeroTensor}, c.unsqueeze(size, 0))
	flat := c.Op("Reshape", nil, t, c.Ints(-1))
	return c.reshapeLike(c.Op("ScatterElements", graphs.Attrs{"axis": int64(0), "reduction": "add"}, zeros, position, flat), x)
}

// scatter: with reduction add both operands get the cotangent, with none the overwritten elements of data get zero, with min and max
// those that attain the extremum share it. (Factors of mul would need a division by elements that may be zero.)
func scatter(gatherOp string) Rule {
	return func(c *Context, n *graphs.Node, g []*Value) []*Value {
		data, index, updates := n.In[0], n.In[1], n.In[2]
		t := c.real(g[0], n.Out[0])
		attrs := graphs.Attrs{}
		if n.Op == "ScatterElements" {
			attrs["axis"] = n.Int("axis", 0)
		}
		gathered := func(v *Value) *Value { return c.Op(gatherOp, attrs, v, index) }
		switch r := n.Text("reduction", "none"); r {
		case "add":
			return []*Value{t, nil, gathered(t)}
		case "none":
			return []*Value{c.Op(n.Op, attrs, t, index, c.zerosLike(updates)), nil, gathered(t)}
		case "min", "max":
			adding := maps.Clone(attrs)
			adding["reduction"] = "add"
			kept, taken := c.mask("Equal", data, n.Out[0]), c.mask("Equal", updates, gathered(n.Out[0]))
			share := c.div(t, c.Op(n.Op, adding, kept, index, taken))
			return []*Value{c.mul(share, kept), nil, c.mul(gathered(share), taken)}
		default:
			return []*Value{c.Failf("%s: no gradient for the reduction %q; supported: none, add, min, max", n.Label(), r)}
		}
	}
}
