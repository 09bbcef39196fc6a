package gradients

import (
	"math"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// unary makes a rule of f, which returns g·y′ from the cotangent g, the operand x and the result y.
func unary(f func(c *Context, g, x, y *Value) *Value) Rule {
	return func(c *Context, n *graphs.Node, g []*Value) []*Value {
		return only(f(c, g[0], n.In[0], n.Out[0]))
	}
}

func init() {
	addRules(map[string]Rule{
		// (a±b)′: ±g
		"Add": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			return []*Value{c.back(g[0], 0), c.back(g[0], 1)}
		},
		"Sub": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			return []*Value{c.back(g[0], 0), c.backIf(1, func() *Value { return c.neg(g[0]) })}
		},
		"Sum": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			out := make([]*Value, len(n.In))
			for i := range out {
				out[i] = c.back(g[0], i)
			}
			return out
		},
		// (ab)′: gb, ga
		"Mul": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			if n.In[0] == n.In[1] {
				return []*Value{c.mul(g[0], c.scale(n.In[0], 2)), nil}
			}
			return []*Value{
				c.backIf(0, func() *Value { return c.mul(g[0], n.In[1]) }),
				c.backIf(1, func() *Value { return c.mul(g[0], n.In[0]) }),
			}
		},
		// (a/b)′: r = g/b, −r·y
		"Div": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			r := c.div(g[0], n.In[1])
			return []*Value{
				c.backIf(0, func() *Value { return r }),
				c.backIf(1, func() *Value { return c.neg(c.mul(r, n.Out[0])) }),
			}
		},
		"Pow":   pow,
		"Where": where,
		"Min":   extremum,
		"Max":   extremum,
		"Clip":  clip,
		// trunc-free Mod of floats (fmod): a − b·trunc(a/b), so ∂a = g, ∂b = −g·trunc(a/b) = −g·(a−y)/b
		"Mod": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			return []*Value{c.back(g[0], 0), c.backIf(1, func() *Value {
				return c.neg(c.mul(g[0], c.Op("Round", nil, c.div(c.sub(n.In[0], n.Out[0]), n.In[1]))))
			})}
		},
		"Cast": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			if !n.Out[0].Type.DType.IsFloat() {
				return only(nil)
			}
			return only(c.cast(g[0], n.In[0].Type.DType))
		},
		"CastLike": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			return only(c.cast(g[0], n.In[0].Type.DType))
		},
		"Identity": unary(func(c *Context, g, _, _ *Value) *Value { return g }),
		"Dropout":  unary(func(c *Context, g, _, _ *Value) *Value { return g }),

		"Neg":        unary(func(c *Context, g, _, _ *Value) *Value { return c.neg(g) }),
		"Exp":        unary(func(c *Context, g, _, y *Value) *Value { return c.mul(g, y) }),
		"Log":        unary(func(c *Context, g, x, _ *Value) *Value { return c.div(g, x) }),
		"Sqrt":       unary(func(c *Context, g, _, y *Value) *Value { return c.scale(c.div(g, y), 0.5) }),
		"Reciprocal": unary(func(c *Context, g, _, y *Value) *Value { return c.neg(c.mul(g, c.mul(y, y))) }),
		"Tanh":       unary(func(c *Context, g, _, y *Value) *Value { return c.mul(g, c.oneMinus(c.mul(y, y))) }),
		"Sigmoid":    unary(func(c *Context, g, _, y *Value) *Value { return c.mul(g, c.mul(y, c.oneMinus(y))) }),
		"Relu":       unary(func(c *Context, g, x, _ *Value) *Value { return c.mul(g, c.mask("Greater", x, c.FloatLike(x, 0))) }),
		// d erf = 2/√π·exp(−x²)
		"Erf": unary(func(c *Context, g, x, _ *Value) *Value {
			return c.mul(g, c.scale(c.Op("Exp", nil, c.neg(c.mul(x, x))), 2/math.SqrtPi))
		}),
		// x·σ(αx): s + αy(1−s) with s = σ(αx)
		"Swish":    swish,
		"Gelu":     gelu,
		"Softplus": unary(func(c *Context, g, x, _ *Value) *Value { return c.mul(g, c.Op("Sigmoid", nil, x)) }),
		// 1/(1+|x|)²
		"Softsign": unary(func(c *Context, g, _, y *Value) *Value {
			d := c.oneMinus(c.Op("Abs", nil, y))
			return c.mul(g, c.mul(d, d))
		}),
		"Abs":  unary(func(c *Context, g, x, _ *Value) *Value { return c.mul(g, c.Op("Sign", nil, x)) }),
		"Sin":  unary(func(c *Context, g, x, _ *Value) *Value { return c.mul(g, c.Op("Cos", nil, x)) }),
		"Cos":  unary(func(c *Context, g, x, _ *Value) *Value { return c.neg(c.mul(g, c.Op("Sin", nil, x))) }),
		"Tan":  unary(func(c *Context, g, _, y *Value) *Value { return c.mul(g, c.add(c.mul(y, y), c.FloatLike(y, 1))) }),
		"Sinh": unary(func(c *Context, g, x, _ *Value) *Value { return c.mul(g, c.Op("Cosh", nil, x)) }),
		"Cosh": unary(func(c *Context, g, x, _ *Value) *Value { return c.mul(g, c.Op("Sinh", nil, x)) }),
		"Asin": unary(func(c *Context, g, x, _ *Value) *Value { return c.div(g, c.Op("Sqrt", nil, c.oneMinus(c.mul(x, x)))) }),
		"Acos": unary(func(c *Context, g, x, _ *Value) *Value {
			return c.neg(c.div(g, c.Op("Sqrt", nil, c.oneMinus(c.mul(x, x)))))
		}),
		"Atan": unary(func(c *Context, g, x, _ *Value) *Value { return c.div(g, c.add(c.mul(x, x), c.FloatLike(x, 1))) }),
		"Asinh": unary(func(c *Context, g, x, _ *Value) *Value {
			return c.div(g, c.Op("Sqrt", nil, c.add(c.mul(x, x), c.FloatLike(x, 1))))
		}),
		"Acosh": unary(func(c *Context, g, x, _ *Value) *Value {
			return c.div(g, c.Op("Sqrt", nil, c.sub(c.mul(x, x), c.FloatLike(x, 1))))
		}),
		"Atanh": unary(func(c *Context, g, x, _ *Value) *Value { return c.div(g, c.oneMinus(c.mul(x, x))) }),

		// Where(x>0, 1, α) is α + (1−α)·[x>0]
		"LeakyRelu": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			alpha := float64(n.Float("alpha", 0.01))
			m := c.mask("Greater", n.In[0], c.FloatLike(n.In[0], 0))
			return only(c.mul(g[0], c.add(c.scale(m, 1-alpha), c.FloatLike(m, alpha))))
		},
		// Elu: 1 above 0, α·exp(x) = y+α below
		"Elu": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			return only(c.mul(g[0], expUnit(c, n, float64(n.Float("alpha", 1)), 1)))
		},
		// Selu: γ above 0, γα·exp(x) = y+γα below
		"Selu": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			alpha, gamma := float64(n.Float("alpha", 1.67326319217681884765625)), float64(n.Float("gamma", 1.05070102214813232421875))
			return only(c.mul(g[0], expUnit(c, n, alpha*gamma, gamma)))
		},
	})
}

// back is unbroadcast of a cotangent of the node's result to that of input i, nil where nobody wants it.
func (c *Context) back(t *Value, i int) *Value {
	return c.backIf(i, func() *Value { return t })
}

func (c *Context) backIf(i int, t func() *Value) *Value {
	if !c.Wants(i) {
		return nil
	}
	return c.unbroadcast(t(), c.node.Out[0], c.node.In[i])
}

// expUnit is the slope of an exponential unit: above for x > 0, y + below elsewhere.
func expUnit(c *Context, n *graphs.Node, below, above float64) *Value {
	x, y := n.In[0], n.Out[0]
	return c.Op("Where", nil, c.Op("Greater", nil, x, c.FloatLike(x, 0)), c.FloatLike(x, above), c.add(y, c.FloatLike(y, below)))
}

// pow: g·b·a^(b−1), and g·y·log a where a > 0.
func pow(c *Context, n *graphs.Node, g []*Value) []*Value {
	a, b, y := n.In[0], n.In[1], n.Out[0]
	return []*Value{
		c.backIf(0, func() *Value {
			e := c.cast(b, a.Type.DType)
			return c.mul(g[0], c.mul(e, c.Op("Pow", nil, a, c.sub(e, c.FloatLike(a, 1)))))
		}),
		c.backIf(1, func() *Value {
			positive := c.Op("Greater", nil, a, c.FloatLike(a, 0))
			safe := c.Op("Where", nil, positive, a, c.FloatLike(a, 1))
			return c.mul(g[0], c.mul(y, c.Op("Log", nil, safe)))
		}),
	}
}

// swish: y = x·s, s = σ(αx); y′ = s + αy(1−s).
func swish(c *Context, n *graphs.Node, g []*Value) []*Value {
	x, y := n.In[0], n.Out[0]
	alpha := float64(n.Float("alpha", 1))
	s := c.Op("Sigmoid", nil, c.scale(x, alpha))
	return only(c.mul(g[0], c.add(s, c.scale(c.mul(y, c.oneMinus(s)), alpha))))
}

// gelu: Φ(x) + x·φ(x) with Φ = ½(1+erf(x/√2)), φ = exp(−x²/2)/√2π. The tanh form is rewritten before.
func gelu(c *Context, n *graphs.Node, g []*Value) []*Value {
	x := n.In[0]
	cdf := c.add(c.scale(c.Op("Erf", nil, c.scale(x, math.Sqrt2/2)), 0.5), c.FloatLike(x, 0.5))
	pdf := c.scale(c.Op("Exp", nil, c.scale(c.mul(x, x), -0.5)), 1/math.Sqrt(2*math.Pi))
	return only(c.mul(g[0], c.add(cdf, c.mul(x, pdf))))
}

// where is safe for non-finite values in the branch that is not taken.
func where(c *Context, n *graphs.Node, g []*Value) []*Value {
	zero := c.FloatLike(n.Out[0], 0)
	return []*Value{
		nil,
		c.backIf(1, func() *Value { return c.Op("Where", nil, n.In[0], g[0], zero) }),
		c.backIf(2, func() *Value { return c.Op("Where", nil, n.In[0], zero, g[0]) }),
	}
}

// extremum: operands that are equal to the result share the cotangent in equal parts.
func extremum(c *Context, n *graphs.Node, g []*Value) []*Value {
	y := n.Out[0]
	masks := make([]*Value, len(n.In))
	var count *Value
	for i, v := range n.In {
		masks[i] = c.mask("Equal", y, v)
		if count == nil {
			count = masks[i]
		} else {
			count = c.add(count, masks[i])
		}
	}
	share := c.div(g[0], count)
	out := make([]*Value, len(n.In))
	for i := range n.In {
		out[i] = c.backIf(i, func() *Value { return c.mul(share, masks[i]) })
	}
	return out
}

// clip: 1 inside the bounds and on them; what is clipped moves with its bound. ONNX clips below, then above: of crossed bounds the upper wins.
func clip(c *Context, n *graphs.Node, g []*Value) []*Value {
	x, lo, hi := n.In[0], n.Input(1), n.Input(2)
	out := make([]*Value, len(n.In))
	var inside *Value
	if lo != nil {
		inside = c.Op("GreaterOrEqual", nil, x, lo)
	}
	if hi != nil {
		below := c.Op("LessOrEqual", nil, x, hi)
		if inside != nil {
			below = c.Op("And", nil, inside, below)
		}
		inside = below
	}
	if inside == nil {
		out[0] = g[0]
		return out
	}
	out[0] = c.mul(g[0], c.cast(inside, x.Type.DType))
	if lo != nil {
		out[1] = c.backIf(1, func() *Value {
			t := c.mul(g[0], c.mask("Less", x, lo))
			if hi != nil {
				t = c.mul(t, c.mask("LessOrEqual", lo, hi))
			}
			return t
		})
	}
	if hi != nil {
		out[2] = c.backIf(2, func() *Value {
			raised := x
			if lo != nil {
				raised = c.Op("Max", nil, x, lo)
			}
			return c.mul(g[0], c.mask("Greater", raised, hi))
		})
	}
	return out
}
