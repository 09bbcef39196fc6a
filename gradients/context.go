package gradients

import (
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// Context is what a rule works with: the builder, and the small vocabulary that rules share.
type Context struct {
	*graphs.Builder
	node   *graphs.Node
	active map[*Value]bool
	// captured holds cotangents of values that the node's bodies use from the graph around them.
	captured []Seed
}

// Wants reports whether the cotangent of the node's input i matters.
func (c *Context) Wants(i int) bool {
	return i < len(c.node.In) && c.node.In[i] != nil && c.active[c.node.In[i]]
}

func (c *Context) mul(a, b *Value) *Value { return c.Op("Mul", nil, a, b) }
func (c *Context) add(a, b *Value) *Value { return c.Op("Add", nil, a, b) }
func (c *Context) sub(a, b *Value) *Value { return c.Op("Sub", nil, a, b) }
func (c *Context) div(a, b *Value) *Value { return c.Op("Div", nil, a, b) }
func (c *Context) neg(a *Value) *Value    { return c.Op("Neg", nil, a) }

// scale returns s·x.
func (c *Context) scale(x *Value, s float64) *Value { return c.mul(x, c.FloatLike(x, s)) }

// oneMinus returns 1−x.
func (c *Context) oneMinus(x *Value) *Value { return c.sub(c.FloatLike(x, 1), x) }

// mask returns 1 where the comparison op of a with b holds and 0 elsewhere, in the type of a.
func (c *Context) mask(op string, a, b *Value) *Value {
	return c.cast(c.Op(op, nil, a, b), a.Type.DType)
}

func (c *Context) cast(v *Value, dt graphs.DType) *Value {
	return c.Op("Cast", graphs.Attrs{"to": int64(dt)}, v)
}

// zerosLike returns zeros of x's shape and type.
func (c *Context) zerosLike(x *Value) *Value {
	t, _ := graphs.FromFloat64s(x.Type.DType, []float64{0}, 1)
	return c.Op("ConstantOfShape", graphs.Attrs{"value": t}, c.shape(x))
}

// shape returns the extents of x as an integer vector.
func (c *Context) shape(x *Value) *Value { return c.Op("Shape", nil, x) }

// extents returns the extents of axes [from, to) of x as an integer vector.
func (c *Context) extents(x *Value, from, to int) *Value {
	return c.Op("Shape", graphs.Attrs{"start": int64(from), "end": int64(to)}, x)
}

// count returns the number of elements along the axes of x, as a scalar of x's type.
func (c *Context) count(x *Value, axes []int) *Value {
	n := graphs.Static(1)
	for _, a := range axes {
		n = n.Times(x.Shape()[a])
	}
	if n.IsStatic() {
		return c.FloatLike(x, float64(n.Size))
	}
	var parts []*Value
	for _, a := range axes {
		parts = append(parts, c.extents(x, a, a+1))
	}
	all := parts[0]
	for _, p := range parts[1:] {
		all = c.Op("Mul", nil, all, p)
	}
	return c.cast(c.Op("Squeeze", nil, all, c.Ints(0)), x.Type.DType)
}

// unbroadcast turns t, a cotangent (perhaps under-broadcast) of a tensor of y's shape into which x was broadcast, into a
// cotangent of x: it sums over the axes along which x was repeated.
func (c *Context) unbroadcast(t, y, x *Value) *Value {
	ly, lx := y.Shape(), x.Shape()
	if ly == nil || lx == nil {
		return c.Failf("%s: the rank of an operand is unknown; give its shape in the file", c.node.Label())
	}
	lead := len(ly) - len(lx)
	var sum, repeat []int
	for i, d := range ly {
		if i < lead || lx[i-lead].Is(1) && !d.Is(1) {
			sum = append(sum, i)
			if t.Shape()[i].Is(1) && !d.Is(1) {
				repeat = append(repeat, i)
			}
		} else if !d.Same(lx[i-lead]) && !lx[i-lead].IsStatic() {
			return c.sumToShape(c.real(t, y), x)
		}
	}
	if len(repeat) > 0 {
		t = c.mul(t, c.count(y, repeat))
	}
	return c.dropLeading(c.reduceSum(t, sum, true), lead)
}

// dropLeading removes leading axes of extent 1.
func (c *Context) dropLeading(t *Value, count int) *Value {
	if count == 0 {
		return t
	}
	axes := make([]int64, count)
	for i := range axes {
		axes[i] = int64(i)
	}
	return c.Op("Squeeze", nil, t, c.Ints(axes...))
}

// sumToShape sums t over the axes along which x turns out to be repeated, for extents that are only known then:
// axes = NonZero(Shape(x) ≠ Shape(t)).
func (c *Context) sumToShape(t, x *Value) *Value {
	extents := c.shape(x)
	if lead := t.Rank() - x.Rank(); lead > 0 {
		extents = c.Op("Concat", graphs.Attrs{"axis": int64(0)}, c.Ints(slices.Repeat([]int64{1}, lead)...), extents)
	}
	differs := c.Op("Not", nil, c.Op("Equal", nil, extents, c.shape(t)))
	axes := c.Op("Squeeze", nil, c.Op("NonZero", nil, differs), c.Ints(0))
	s := c.Op("ReduceSum", graphs.Attrs{"keepdims": int64(1), "noop_with_empty_axes": int64(1)}, t, axes)
	return c.reshapeLike(s, x)
}

// reduceSum sums over axes.
func (c *Context) reduceSum(t *Value, axes []int, keep bool) *Value {
	if len(axes) == 0 {
		return t
	}
	list := make([]int64, len(axes))
	for i, a := range axes {
		list[i] = int64(a)
	}
	k := int64(0)
	if keep {
		k = 1
	}
	return c.Op("ReduceSum", graphs.Attrs{"keepdims": k}, t, c.Ints(list...))
}

// real expands an under-broadcast cotangent to the shape of the value it belongs to.
func (c *Context) real(t, v *Value) *Value {
	if t.Shape().Same(v.Shape()) {
		return t
	}
	y := c.Op("Expand", nil, t, c.shape(v))
	if y.Shape().Same(v.Shape()) {
		return y
	}
	return c.reshapeLike(y, v) // extents of t are unknown, as behind a loop; a cotangent's are 1 or those of v
}

// realAlong expands only the given axes.
func (c *Context) realAlong(t, v *Value, axes ...int) *Value {
	if t.Rank() < 0 {
		return c.real(t, v)
	}
	target := make([]*Value, 0, t.Rank())
	expand := false
	for i, d := range t.Shape() {
		if slices.Contains(axes, i) && d.Is(1) && !v.Shape()[i].Is(1) {
			target = append(target, c.extents(v, i, i+1))
			expand = true
			continue
		}
		target = append(target, c.Ints(1))
	}
	if !expand {
		return t
	}
	return c.Op("Expand", nil, t, c.Op("Concat", graphs.Attrs{"axis": int64(0)}, target...))
}

// reshapeLike gives t, of as many elements as x, the shape of x.
func (c *Context) reshapeLike(t, x *Value) *Value { return c.reshape(t, c.shape(x)) }

// reshape takes the extents as they are: 0 is no extent to copy but one of an empty batch.
func (c *Context) reshape(t, extents *Value) *Value {
	return c.Op("Reshape", graphs.Attrs{"allowzero": int64(1)}, t, extents)
}

// unsqueeze restores axes of extent 1.
func (c *Context) unsqueeze(t *Value, axes ...int) *Value {
	if len(axes) == 0 {
		return t
	}
	list := make([]int64, len(axes))
	for i, a := range axes {
		list[i] = int64(a)
	}
	return c.Op("Unsqueeze", nil, t, c.Ints(list...))
}

func (c *Context) transpose(t *Value, perm ...int64) *Value {
	return c.Op("Transpose", graphs.Attrs{"perm": perm}, t)
}

// swapLast exchanges the last two axes.
func (c *Context) swapLast(t *Value) *Value {
	perm := make([]int64, t.Rank())
	for i := range perm {
		perm[i] = int64(i)
	}
	n := len(perm)
	perm[n-2], perm[n-1] = perm[n-1], perm[n-2]
	return c.transpose(t, perm...)
}

func only(v *Value) []*Value { return []*Value{v} }
