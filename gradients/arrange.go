package gradients

import (
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// Ops that repeat, select, reorder or accumulate elements.
func init() {
	addRules(map[string]Rule{
		"Tile":     tile,
		"OneHot":   oneHot,
		"Range":    rangeOf,
		"TopK":     topK,
		"Unique":   unique,
		"Trilu":    trilu,
		"CumSum":   cumSum,
		"Compress": compress,
		"ReverseSequence": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			return []*Value{c.Op("ReverseSequence", n.Attrs, c.real(g[0], n.Out[0]), n.In[1]), nil}
		},
		"DepthToSpace": depthToSpace,
		"SpaceToDepth": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			return only(c.Op("DepthToSpace", graphs.Attrs{"blocksize": n.Int("blocksize", 1)}, c.real(g[0], n.Out[0])))
		},
		"CenterCropPad": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			return []*Value{c.undoCropPad(n, c.real(g[0], n.Out[0])), nil}
		},
		// what is kept keeps its slope
		"Shrink": unary(func(c *Context, g, x, _ *Value) *Value {
			return c.mul(g, c.mask("Greater", c.Op("Abs", nil, x), c.FloatLike(x, float64(c.node.Float("lambd", 0.5)))))
		}),
		"ThresholdedRelu": unary(func(c *Context, g, x, _ *Value) *Value {
			return c.mul(g, c.mask("Greater", x, c.FloatLike(x, float64(c.node.Float("alpha", 1)))))
		}),
	})
	rewrites["CumProd"] = cumProd
	rewrites["Det"] = det
	rewrites["TensorScatter"] = tensorScatter
}

// tile: the copies of every axis lie side by side; seen as [r₀,d₀,r₁,d₁,…] they are summed over the rᵢ.
func tile(c *Context, n *graphs.Node, g []*Value) []*Value {
	x, reps := n.In[0], n.In[1]
	if x.Rank() < 1 {
		return []*Value{g[0], nil}
	}
	var parts []*Value
	var axes []int
	for i := range x.Rank() {
		parts = append(parts, c.Op("Slice", nil, reps, c.Ints(int64(i)), c.Ints(int64(i+1)), c.Ints(0)), c.extents(x, i, i+1))
		axes = append(axes, 2*i)
	}
	copies := c.reshape(c.real(g[0], n.Out[0]), c.Op("Concat", graphs.Attrs{"axis": int64(0)}, parts...))
	return []*Value{c.reduceSum(copies, axes, false), nil}
}

// oneHot: the values [off, on] get the sums of the cotangent off and on the hot elements.
func oneHot(c *Context, n *graphs.Node, g []*Value) []*Value {
	values := n.In[2]
	full := c.real(g[0], n.Out[0])
	unit, err := graphs.FromFloat64s(values.Type.DType, []float64{0, 1}, 2)
	if err != nil {
		c.Fail(err)
		return nil
	}
	hot := c.Op("OneHot", n.Attrs, n.In[0], n.In[1], c.Const(unit))
	total := func(v *Value) *Value { return c.unsqueeze(c.reduceSum(v, allAxes(v), false), 0) }
	on := total(c.mul(full, hot))
	return []*Value{nil, nil, c.Op("Concat", graphs.Attrs{"axis": int64(0)}, c.sub(total(full), on), on)}
}

// rangeOf: start + i·delta.
func rangeOf(c *Context, n *graphs.Node, g []*Value) []*Value {
	y := n.Out[0]
	full := c.real(g[0], y)
	steps := c.cast(c.Op("Range", nil, c.Int(0), c.Op("Size", nil, y), c.Int(1)), y.Type.DType)
	return []*Value{c.reduceSum(full, []int{0}, false), nil, c.reduceSum(c.mul(full, steps), []int{0}, false)}
}

// topK: what was selected gets its cotangent.
func topK(c *Context, n *graphs.Node, g []*Value) []*Value {
	outs := n.Out
	if len(outs) < 2 {
		outs = c.Ops("TopK", 2, n.Attrs, n.In...)
	}
	a := graphs.Attrs{"axis": n.Int("axis", -1), "reduction": "add"}
	return []*Value{c.Op("ScatterElements", a, c.zerosLike(n.In[0]), outs[1], c.real(g[0], n.Out[0])), nil}
}

// unique: of equal elements the first one gets the cotangent.
func unique(c *Context, n *graphs.Node, g []*Value) []*Value {
	x, first := n.In[0], n.Out
	if g[0] == nil {
		return only(nil)
	}
	if len(first) < 2 {
		first = c.Ops("Unique", 2, n.Attrs, n.In...)
	}
	t := c.real(g[0], n.Out[0])
	if _, ok := n.Attrs["axis"]; ok {
		a, err := graphs.Axis(n.Int("axis", 0), x.Rank())
		if err != nil {
			c.Fail(err)
			return nil
		}
		return only(c.scatterAlong(t, first[1], c.extents(x, a, a+1), a))
	}
	return only(c.reshapeLike(c.scatterAlong(t, first[1], c.unsqueeze(c.Op("Size", nil, x), 0), 0), x))
}

func trilu(c *Context, n *graphs.Node, g []*Value) []*Value {
	r := n.In[0].Rank()
	if r < 2 {
		return only(c.Failf("%s: its operand has the shape %v", n.Label(), n.In[0].Shape()))
	}
	t := c.realAlong(g[0], n.Out[0], r-2, r-1)
	return []*Value{c.Op("Trilu", n.Attrs, append([]*Value{t}, n.In[1:]...)...), nil}[:len(n.In)]
}

// cumSum: element i goes into the sums from i on, so the cotangent is summed the other way round.
func cumSum(c *Context, n *graphs.Node, g []*Value) []*Value {
	a := graphs.Attrs{"exclusive": n.Int("exclusive", 0), "reverse": 1 - n.Int("reverse", 0)}
	return []*Value{c.Op("CumSum", a, c.real(g[0], n.Out[0]), n.In[1]), nil}
}

// compress: rows where the condition holds go back to their places.
func compress(c *Context, n *graphs.Node, g []*Value) []*Value {
	x, y := n.In[0], n.Out[0]
	if _, ok := n.Attrs["axis"]; !ok {
		return []*Value{c.undoMovement(c.real(g[0], y), x, func(iota *Value) *Value { return c.Op("Compress", nil, iota, n.In[1]) }), nil}
	}
	a, err := graphs.Axis(n.Int("axis", 0), x.Rank())
	if err != nil {
		c.Fail(err)
		return nil
	}
	rows := c.Op("Squeeze", nil, c.Op("NonZero", nil, n.In[1]), c.Ints(0))
	return []*Value{c.scatterAlong(c.realAlong(g[0], y, a), rows, c.extents(x, a, a+1), a), nil}
}

// depthToSpace: SpaceToDepth undoes the mode DCR, in which the block is the slower part of the channel index; for CRD, where it is the
// faster part, channels change places afterwards.
func depthToSpace(c *Context, n *graphs.Node, g []*Value) []*Value {
	x, b := n.In[0], n.Int("blocksize", 1)
	t := c.Op("SpaceToDepth", graphs.Attrs{"blocksize": b}, c.real(g[0], n.Out[0]))
	if n.Text("mode", "DCR") == "DCR" {
		return only(t)
	}
	channels := x.Shape()[1]
	if !channels.IsStatic() {
		return only(c.Failf("%s: the number of channels of %v must be known", n.Label(), x.Shape()))
	}
	from := make([]int64, channels.Size)
	area, slow := b*b, channels.Size/(b*b)
	for k := range from {
		from[k] = int64(k)%area*slow + int64(k)/area
	}
	return only(c.Op("Gather", graphs.Attrs{"axis": int64(1)}, t, c.Ints(from...)))
}

// undoCropPad moves the positions of x's elements, counted from 1; what was padded has the position 0, which is dropped.
func (c *Context) undoCropPad(n *graphs.Node, t *Value) *Value {
	x := n.In[0]
	size := c.Op("Size", nil, x)
	end := c.add(size, c.Int(1))
	iota := c.reshapeLike(c.Op("Range", nil, c.Int(1), end, c.Int(1)), x)
	position := c.Op("Reshape", nil, c.Op("CenterCropPad", n.Attrs, iota, n.In[1]), c.Ints(-1))
	sum := c.scatterAlong(c.Op("Reshape", nil, t, c.Ints(-1)), position, c.unsqueeze(end, 0), 0)
	return c.reshapeLike(c.Op("Slice", nil, sum, c.Ints(1), c.unsqueeze(end, 0), c.Ints(0)), x)
}

// tensorScatter writes the update [B, …, T, …] over the cache [B, …, S, …] from position w[b] on: ScatterElements at w[b]+t, modulo S in a circular cache.
func tensorScatter(b *graphs.Builder, n *graphs.Node) *Value {
	cache, update := n.In[0], n.In[1]
	a, err := graphs.Axis(n.Int("axis", -2), cache.Rank())
	if err != nil || update.Rank() != cache.Rank() {
		return nil
	}
	extent := func(v *Value) *Value {
		return b.Op("Shape", graphs.Attrs{"start": int64(a), "end": int64(a + 1)}, v)
	}
	along, rows := slices.Repeat([]int64{1}, cache.Rank()), slices.Repeat([]int64{1}, cache.Rank())
	along[a], rows[0] = -1, -1
	steps := b.Op("Range", nil, b.Int(0), b.Op("Squeeze", nil, extent(update), b.Ints(0)), b.Int(1))
	index := b.Op("Reshape", nil, steps, b.Ints(along...))
	if w := n.Input(2); w != nil {
		index = b.Op("Add", nil, index, b.Op("Reshape", nil, w, b.Ints(rows...)))
	}
	if n.Text("mode", "linear") == "circular" {
		index = b.Op("Mod", nil, index, extent(cache))
	}
	index = b.Op("Expand", nil, index, b.Op("Shape", nil, update))
	return b.Op("ScatterElements", graphs.Attrs{"axis": int64(a)}, cache, index, update)
}

// cumProd multiplies each element with the one 1, 2, 4, … places before it: log₂ products, exact for zeros at every order.
func cumProd(b *graphs.Builder, n *graphs.Node) *Value {
	x := n.In[0]
	list, ok := n.In[1].ConstInts()
	if !ok || len(list) != 1 {
		return nil
	}
	a, err := graphs.Axis(list[0], x.Rank())
	if err != nil || !x.Shape()[a].IsStatic() {
		return nil
	}
	axis, extent := b.Ints(int64(a)), x.Shape()[a].Size
	reverse := n.Int("reverse", 0) != 0
	moved := func(v *Value, by int64) *Value { // ones come in at the border
		pads, start, end := []int64{by, 0}, int64(0), extent-by
		if reverse {
			pads, start, end = []int64{0, by}, by, extent
		}
		v = b.Op("Slice", nil, v, b.Ints(start), b.Ints(end), axis)
		return b.Op("Pad", nil, v, b.Ints(pads...), b.FloatLike(x, 1), axis)
	}
	if n.Int("exclusive", 0) != 0 && extent > 0 {
		x = moved(x, 1)
	}
	for by := int64(1); by < extent; by *= 2 {
		x = b.Op("Mul", nil, x, moved(x, by))
	}
	return x
}

// det expands determinants of up to three rows.
func det(b *graphs.Builder, n *graphs.Node) *Value {
	x := n.In[0]
	r := x.Rank()
	if r < 2 || !x.Shape()[r-1].IsStatic() || x.Shape()[r-1].Size > 3 {
		return nil
	}
	at := func(i, j int64) *Value {
		row := b.Op("Gather", graphs.Attrs{"axis": int64(r - 2)}, x, b.Int(i))
		return b.Op("Gather", graphs.Attrs{"axis": int64(r - 2)}, row, b.Int(j))
	}
	mul := func(u, v *Value) *Value { return b.Op("Mul", nil, u, v) }
	minor := func(j, k int64) *Value { // of the last two rows
		i := x.Shape()[r-1].Size - 2
		return b.Op("Sub", nil, mul(at(i, j), at(i+1, k)), mul(at(i, k), at(i+1, j)))
	}
	switch x.Shape()[r-1].Size {
	case 1:
		return at(0, 0)
	case 2:
		return minor(0, 1)
	case 3:
		sum := b.Op("Sub", nil, mul(at(0, 0), minor(1, 2)), mul(at(0, 1), minor(0, 2)))
		return b.Op("Add", nil, sum, mul(at(0, 2), minor(0, 1)))
	}
	return nil
}
