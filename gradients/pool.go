package gradients

import (
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	addRules(map[string]Rule{"AveragePool": averagePool, "MaxPool": maxPool, "MaxUnpool": maxUnpool})
	expansions["MaxPool"] = maxPoolIndices
	rewrites["AveragePool"] = averagePoolPads
	rewrites["LpPool"] = lpPool
	rewrites["GlobalAveragePool"] = globalPool("ReduceMean")
	rewrites["GlobalMaxPool"] = globalPool("ReduceMax")
	rewrites["GlobalLpPool"] = globalLpPool
	for _, op := range []string{"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"} {
		refusals[op] = "the rank of its operand must be known, with auto_pad and a stride also its extents; indices must be in row-major order"
	}
	refusals["LpPool"] = "the number of channels must be known, and ceil_mode is not supported"
}

func globalPool(reduce string) graphs.Rewrite {
	return func(b *graphs.Builder, n *graphs.Node) *Value {
		if n.In[0].Rank() < 3 {
			return nil
		}
		return b.Op(reduce, nil, n.In[0], b.Ints(spatialList(n.In[0])...))
	}
}

func spatialList(x *Value) []int64 {
	var list []int64
	for _, a := range spatial(x) {
		list = append(list, int64(a))
	}
	return list
}

func globalLpPool(b *graphs.Builder, n *graphs.Node) *Value {
	if n.In[0].Rank() < 3 {
		return nil
	}
	switch p := n.Int("p", 2); p {
	case 1:
		return globalPool("ReduceL1")(b, n)
	case 2:
		return globalPool("ReduceL2")(b, n)
	default:
		sum := b.Op("ReduceSum", nil, absPower(b, n.In[0], p), b.Ints(spatialList(n.In[0])...))
		return rootOf(b, sum, p)
	}
}

func absPower(b *graphs.Builder, x *Value, p int64) *Value {
	if p%2 == 1 {
		x = b.Op("Abs", nil, x)
	}
	return b.Op("Pow", nil, x, b.FloatLike(x, float64(p)))
}

// rootOf is s^(1/p), with the derivative 0 at 0.
func rootOf(b *graphs.Builder, s *Value, p int64) *Value {
	if p == 1 {
		return s
	}
	zero := b.Op("Equal", nil, s, b.FloatLike(s, 0))
	safe := b.Op("Where", nil, zero, b.FloatLike(s, 1), s)
	return b.Op("Where", nil, zero, b.FloatLike(s, 0), b.Op("Pow", nil, safe, b.FloatLike(s, 1/float64(p))))
}

// poolWindow reads the window of a pool and resolves auto_pad, which needs known extents where there is a stride.
func poolWindow(b *graphs.Builder, n *graphs.Node) (win graphs.Window, ok bool) {
	x := n.In[0]
	win, err := graphs.WindowOf(n, nil)
	if err != nil || x.Rank() != len(win.Kernel)+2 {
		return win, false
	}
	if !win.Same() {
		return win, true
	}
	for i, s := range win.Stride {
		if s > 1 && !x.Shape()[i+2].IsStatic() {
			return win, false
		}
	}
	samePads(b, x, &win)
	return win, true
}

func poolAttrs(n *graphs.Node, win graphs.Window) graphs.Attrs {
	a := windowAttrs(win, 1)
	if win.Ceil {
		a["ceil_mode"] = int64(1)
	}
	if k := n.Int("count_include_pad", 0); k != 0 {
		a["count_include_pad"] = k
	}
	if !dilated(win) {
		delete(a, "dilations")
	}
	return a
}

func dilated(win graphs.Window) bool {
	return slices.ContainsFunc(win.Dilation, func(d int64) bool { return d != 1 })
}

// averagePoolPads writes the pads that auto_pad stands for.
func averagePoolPads(b *graphs.Builder, n *graphs.Node) *Value {
	if n.Text("auto_pad", "NOTSET") == "NOTSET" {
		return nil
	}
	win, ok := poolWindow(b, n)
	if !ok {
		return nil
	}
	return b.Op("AveragePool", poolAttrs(n, win), n.In[0])
}

// tiles reports whether windows lie side by side and cover the image exactly.
func tiles(x *Value, win graphs.Window) bool {
	for i, k := range win.Kernel {
		d := x.Shape()[i+2]
		if win.Stride[i] != k || win.Dilation[i] != 1 || win.Before[i] != 0 || win.After[i] != 0 || !d.IsStatic() || d.Size%k != 0 {
			return false
		}
	}
	return true
}

// repeatTiles repeats every element of t over its window.
func (c *Context) repeatTiles(t *Value, kernel []int64) *Value {
	scales := append([]float32{1, 1}, make([]float32, len(kernel))...)
	for i, k := range kernel {
		scales[i+2] = float32(k)
	}
	a := graphs.Attrs{"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
	return c.Op("Resize", a, t, nil, c.Const(graphs.NewTensor(scales, int64(len(scales)))))
}

// averagePool is linear: windows side by side give g/K to each of their elements; others give what the matrices of the axes give, since
// both the window and its count of elements are products over the axes.
func averagePool(c *Context, n *graphs.Node, gs []*Value) []*Value {
	x, y, g := n.In[0], n.Out[0], gs[0]
	win, ok := poolWindow(c.Builder, n)
	if !ok {
		c.Fail(refusal(n))
		return only(nil)
	}
	if tiles(x, win) {
		g = c.scale(g, 1/float64(count(win.Kernel)))
		if c.constantAlong(g, y, spatial(y)) {
			return only(g)
		}
		return only(c.repeatTiles(c.realAlong(g, y, spatial(y)...), win.Kernel))
	}
	g = c.realAlong(g, y, spatial(y)...)
	attrs := poolAttrs(n, win)
	for i := range win.Kernel {
		one := graphs.Attrs{}
		for name, v := range attrs {
			one[name] = v
		}
		one["kernel_shape"], one["strides"] = list1(win.Kernel[i]), list1(win.Stride[i])
		one["pads"] = []int64{win.Before[i], win.After[i]}
		if dilated(win) {
			one["dilations"] = list1(win.Dilation[i])
		}
		m := c.matrixOf(x, i+2, func(b *graphs.Builder, eye *Value) *Value {
			return b.Op("Squeeze", nil, b.Op("AveragePool", one, b.Op("Unsqueeze", nil, eye, b.Ints(0))), b.Ints(0))
		})
		g = c.applyAlong(m, g, i+2)
	}
	return only(g)
}

func list1(v int64) []int64 { return []int64{v} }

// constantAlong reports whether t, a cotangent of y, is kept as one element along all of the axes where y has more.
func (c *Context) constantAlong(t, y *Value, axes []int) bool {
	for _, a := range axes {
		if !t.Shape()[a].Is(1) || y.Shape()[a].Is(1) {
			return false
		}
	}
	return true
}

// matrixOf returns the matrix [d, result] of an operation f that is linear along an axis of x of extent d, as f(identity), where f works
// along the last axis of a matrix.
func (c *Context) matrixOf(x *Value, axis int, f func(b *graphs.Builder, eye *Value) *Value) *Value {
	d := x.Shape()[axis]
	if !d.IsStatic() {
		extent := c.extents(x, axis, axis+1)
		t, _ := graphs.FromFloat64s(x.Type.DType, []float64{0}, 1)
		zeros := c.Op("ConstantOfShape", graphs.Attrs{"value": t}, c.Op("Concat", graphs.Attrs{"axis": int64(0)}, extent, extent))
		return f(c.Builder, c.Op("EyeLike", nil, zeros))
	}
	eye := make([]float64, d.Size*d.Size)
	for i := range d.Size {
		eye[i*d.Size+i] = 1
	}
	t, err := graphs.FromFloat64s(x.Type.DType, eye, d.Size, d.Size)
	if err != nil {
		return c.Failf("%s: %w", c.node.Label(), err)
	}
	b := graphs.NewBuilder("matrix")
	g, err := b.Graph(graphs.Output{Name: "m", Value: f(b, b.Const(t))})
	if err != nil {
		return c.Failf("%s: %w", c.node.Label(), err)
	}
	m, err := graphs.Evaluate(g, nil)
	if err != nil { // depends on more than constants
		return f(c.Builder, c.Const(t))
	}
	if t, err = m["m"].Tensor(x.Type.DType); err != nil {
		return c.Failf("%s: %w", c.node.Label(), err)
	}
	return c.Const(t)
}

// applyAlong contracts an axis of t with the last axis of the matrix m.
func (c *Context) applyAlong(m, t *Value, axis int) *Value {
	switch last := t.Rank() - 1; axis {
	case last:
		return c.product(t, c.swapLast(m))
	case last - 1:
		return c.product(m, t)
	default:
		perm := make([]int64, t.Rank())
		for i := range perm {
			perm[i] = int64(i)
		}
		perm[axis], perm[last-1] = perm[last-1], perm[axis]
		return c.transpose(c.product(m, c.transpose(t, perm...)), perm...)
	}
}

// maxPoolIndices gives a MaxPool its second output, the positions of the maxima, unless the windows lie side by side: then comparing is
// several times faster.
func maxPoolIndices(b *graphs.Builder, n *graphs.Node) []*Value {
	auto := n.Text("auto_pad", "NOTSET") != "NOTSET"
	if len(n.Out) == 2 && !auto {
		return nil
	}
	win, ok := poolWindow(b, n)
	if !ok {
		return nil
	}
	outs := 2
	if len(n.Out) == 1 && tiles(n.In[0], win) {
		outs = 1
		if !auto {
			return nil
		}
	}
	return b.Ops("MaxPool", outs, poolAttrs(n, win), n.In[0])[:len(n.Out)]
}

// maxPool: every maximum gets the cotangents of the windows that it is the maximum of. With positions that is a scatter; where windows lie
// side by side, a comparison with the repeated maxima, and equal maxima share.
func maxPool(c *Context, n *graphs.Node, gs []*Value) []*Value {
	x, y := n.In[0], n.Out[0]
	if gs[0] == nil {
		return only(nil)
	}
	g := c.realAlong(gs[0], y, spatial(y)...)
	if len(n.Out) == 2 && n.Int("storage_order", 0) == 0 {
		return only(c.scatterFlat(c.real(g, y), n.Out[1], x))
	}
	win, ok := poolWindow(c.Builder, n)
	if !ok || !tiles(x, win) {
		c.Fail(refusal(n))
		return only(nil)
	}
	m := c.mask("Equal", x, c.repeatTiles(y, win.Kernel))
	ties := c.scale(c.Op("AveragePool", graphs.Attrs{"kernel_shape": win.Kernel, "strides": win.Stride}, m), float64(count(win.Kernel)))
	return only(c.mul(m, c.repeatTiles(c.div(g, ties), win.Kernel)))
}

// scatterFlat adds the elements of t up at positions in the flattened x.
func (c *Context) scatterFlat(t, position, x *Value) *Value {
	size := c.unsqueeze(c.Op("Size", nil, x), 0)
	zero, _ := graphs.FromFloat64s(t.Type.DType, []float64{0}, 1)
	zeros := c.Op("ConstantOfShape", graphs.Attrs{"value": zero}, size)
	flat := func(v *Value) *Value { return c.Op("Reshape", nil, v, c.Ints(-1)) }
	sum := c.Op("ScatterElements", graphs.Attrs{"axis": int64(0), "reduction": "add"}, zeros, flat(position), flat(t))
	return c.reshapeLike(sum, x)
}

// maxUnpool puts elements at given positions of zeros; the cotangents are taken from there.
func maxUnpool(c *Context, n *graphs.Node, gs []*Value) []*Value {
	out := make([]*Value, len(n.In))
	flat := func(v *Value) *Value { return c.Op("Reshape", nil, v, c.Ints(-1)) }
	g := c.real(gs[0], n.Out[0])
	picked := c.Op("Gather", graphs.Attrs{"axis": int64(0)}, flat(g), flat(n.In[1]))
	out[0] = c.reshapeLike(picked, n.In[0])
	return out
}

// lpPool: (Σ|x|^p)^(1/p), the sum as a convolution with ones per channel.
func lpPool(b *graphs.Builder, n *graphs.Node) *Value {
	x := n.In[0]
	win, ok := poolWindow(b, n)
	if !ok {
		return nil
	}
	if win.Ceil || !x.Shape()[1].IsStatic() {
		return nil
	}
	channels, p := x.Shape()[1].Size, n.Int("p", 2)
	ones, err := graphs.FromFloat64s(x.Type.DType, slices.Repeat([]float64{1}, int(channels*count(win.Kernel))), append([]int64{channels, 1}, win.Kernel...)...)
	if err != nil {
		return b.Failf("%s: %w", n.Label(), err)
	}
	return rootOf(b, b.Op("Conv", windowAttrs(win, channels), absPower(b, x, p), b.Const(ones)), p)
}
