package gradients

import (
	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	addRules(map[string]Rule{"MatMul": matMul, "Gemm": gemm})
}

// matMul: dA = g·Bᵀ, dB = Aᵀ·g over the last two axes, summed over broadcast batch axes.
// Vectors are matrices with an axis of extent 1 for the time of the rule.
func matMul(c *Context, n *graphs.Node, gs []*Value) []*Value {
	a, b, g := n.In[0], n.In[1], gs[0]
	rowVector, colVector := a.Rank() == 1, b.Rank() == 1
	y := n.Out[0]
	if rowVector || colVector {
		if colVector {
			b, g, y = c.unsqueeze(b, 1), c.unsqueeze(g, g.Rank()), c.unsqueeze(y, y.Rank())
		}
		if rowVector {
			a, g, y = c.unsqueeze(a, 0), c.unsqueeze(g, g.Rank()-1), c.unsqueeze(y, y.Rank()-1)
		}
	}
	da := func() *Value { return c.unbroadcastMatrix(c.product(g, c.swapLast(c.contractible(b, g, y, -1))), a, y) }
	db := func() *Value {
		if b.Rank() == 2 && a.Rank() > 2 {
			return c.weightGradient(a, g, y)
		}
		return c.unbroadcastMatrix(c.product(c.swapLast(c.contractible(a, g, y, -2)), g), b, y)
	}
	out := make([]*Value, 2)
	if c.Wants(0) {
		out[0] = da()
		if rowVector {
			out[0] = c.Op("Squeeze", nil, out[0], c.Ints(0))
		}
	}
	if c.Wants(1) {
		out[1] = db()
		if colVector {
			out[1] = c.Op("Squeeze", nil, out[1], c.Ints(1))
		}
	}
	return out
}

func (c *Context) product(a, b *Value) *Value { return c.Op("MatMul", nil, a, b) }

// contractible prepares the other operand v of a product that is contracted over an axis (counted from the end) of the result y:
// where g is constant along that axis, v is summed over it instead of g being expanded.
func (c *Context) contractible(v, g, y *Value, axis int) *Value {
	k := g.Rank() + axis
	if g.Shape()[k].Is(1) && !y.Shape()[k].Is(1) {
		return c.reduceSum(v, []int{v.Rank() + axis}, true)
	}
	return v
}

// unbroadcastMatrix sums t over the batch axes along which the operand x was broadcast; its last two axes are x's. Where x was
// broadcast along an axis, the other operand was not, so that t has its real extent there.
func (c *Context) unbroadcastMatrix(t, x, y *Value) *Value {
	lead := y.Rank() - x.Rank()
	batch := y.Rank() - 2
	var sum []int
	unsure := false
	for i, d := range y.Shape()[:batch] {
		if i < lead || x.Shape()[i-lead].Is(1) && !d.Is(1) {
			sum = append(sum, i)
		} else if !d.Same(x.Shape()[i-lead]) && !x.Shape()[i-lead].IsStatic() {
			unsure = true
		}
	}
	if unsure {
		extents := c.Op("Concat", graphs.Attrs{"axis": int64(0)}, c.extents(y, 0, batch), c.extents(x, x.Rank()-2, x.Rank()))
		return c.sumToShape(c.Op("Expand", nil, t, extents), x)
	}
	return c.dropLeading(c.reduceSum(t, sum, true), lead)
}

// weightGradient is Aᵀ·g over all leading axes at once: one product of [K, rows] and [rows, P] matrices, half the time of a
// batched product and a sum.
func (c *Context) weightGradient(a, g, y *Value) *Value {
	k, p := a.Shape()[a.Rank()-1], y.Shape()[y.Rank()-1]
	lead := make([]int, y.Rank()-1)
	for i := range lead {
		lead[i] = i
	}
	g = c.realAlong(g, y, lead...)
	rows := func(v *Value, width graphs.Dim) *Value {
		if v.Shape()[v.Rank()-1].IsStatic() {
			return c.Op("Reshape", nil, v, c.Ints(-1, v.Shape()[v.Rank()-1].Size))
		}
		return c.Op("Flatten", graphs.Attrs{"axis": int64(v.Rank() - 1)}, v)
	}
	return c.Op("Gemm", graphs.Attrs{"transA": int64(1)}, rows(a, k), rows(g, p))
}

// gemm: y = αA′B′ + βC with A′, B′ transposed or not: dA′ = αg·B′ᵀ, dB′ = αA′ᵀ·g, each one Gemm by flags; dC = βg summed to C.
func gemm(c *Context, n *graphs.Node, gs []*Value) []*Value {
	a, b, g, y := n.In[0], n.In[1], gs[0], n.Out[0]
	alpha, beta := n.Float("alpha", 1), n.Float("beta", 1)
	ta, tb := n.Int("transA", 0) != 0, n.Int("transB", 0) != 0
	rowsConstant := g.Shape()[0].Is(1) && !y.Shape()[0].Is(1)
	colsConstant := g.Shape()[1].Is(1) && !y.Shape()[1].Is(1)
	out := make([]*Value, len(n.In))
	if c.Wants(0) {
		v := b
		if colsConstant { // contract over the columns of y
			v = c.reduceSum(b, []int{flip(1, tb)}, true)
		}
		if ta {
			out[0] = c.gemmOf(v, g, alpha, tb, true)
		} else {
			out[0] = c.gemmOf(g, v, alpha, false, !tb)
		}
	}
	if c.Wants(1) {
		v := a
		if rowsConstant { // contract over the rows of y
			v = c.reduceSum(a, []int{flip(0, ta)}, true)
		}
		if tb {
			out[1] = c.gemmOf(g, v, alpha, true, ta)
		} else {
			out[1] = c.gemmOf(v, g, alpha, !ta, false)
		}
	}
	if c.Wants(2) {
		out[2] = c.unbroadcast(c.scale(g, float64(beta)), y, n.In[2])
	}
	return out
}

// flip returns the axis of a stored matrix that is the given axis of its possibly transposed use.
func flip(axis int, transposed bool) int {
	if transposed {
		return 1 - axis
	}
	return axis
}

func (c *Context) gemmOf(a, b *Value, alpha float32, ta, tb bool) *Value {
	attrs := graphs.Attrs{}
	if alpha != 1 {
		attrs["alpha"] = alpha
	}
	if ta {
		attrs["transA"] = int64(1)
	}
	if tb {
		attrs["transB"] = int64(1)
	}
	return c.Op("Gemm", attrs, a, b)
}
