package gradients

import (
	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	addRules(map[string]Rule{
		// the cotangent stays of extent 1 along the summed axes
		"ReduceSum": reduction(func(c *Context, g, x, y *Value, axes []int) *Value { return g }),
		"ReduceMean": reduction(func(c *Context, g, x, y *Value, axes []int) *Value {
			return c.mul(g, c.Op("Reciprocal", nil, c.count(x, axes)))
		}),
		// exp(x−y), which is the softmax; a row of −∞ has y = −∞ and weight 0
		"ReduceLogSumExp": reduction(func(c *Context, g, x, y *Value, axes []int) *Value {
			low := c.FloatLike(y, -3e38)
			safe := c.Op("Where", nil, c.Op("Less", nil, y, low), low, y)
			return c.mul(g, c.Op("Exp", nil, c.sub(x, safe)))
		}),
		// x/‖x‖, 0 at 0
		"ReduceL2": reduction(func(c *Context, g, x, y *Value, axes []int) *Value {
			zero := c.Op("Equal", nil, y, c.FloatLike(y, 0))
			safe := c.Op("Where", nil, zero, c.FloatLike(y, 1), y)
			return c.mul(c.mul(g, c.Op("Reciprocal", nil, safe)), x)
		}),
		"ReduceMax": reduction(shareOfTies),
		"ReduceMin": reduction(shareOfTies),
		// t − y·Σt with t = y∘g
		"Softmax": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			y := n.Out[0]
			t := c.mul(y, g[0])
			return only(c.sub(t, c.mul(y, c.reduceSum(t, c.softmaxAxis(n), true))))
		},
		// g − exp(y)·Σg
		"LogSoftmax": func(c *Context, n *graphs.Node, g []*Value) []*Value {
			y, axis := n.Out[0], c.softmaxAxis(n)
			full := c.realAlong(g[0], y, axis...)
			return only(c.sub(full, c.mul(c.Op("Exp", nil, y), c.reduceSum(full, axis, true))))
		},
	})
}

func (c *Context) softmaxAxis(n *graphs.Node) []int {
	a, err := graphs.Axis(n.Int("axis", -1), n.In[0].Rank())
	if err != nil {
		c.Fail(err)
	}
	return []int{a}
}

// reduction makes a rule of f, which gets the cotangent g and the result y with the reduced axes kept.
func reduction(f func(c *Context, g, x, y *Value, axes []int) *Value) Rule {
	return func(c *Context, n *graphs.Node, gs []*Value) []*Value {
		x, y, g := n.In[0], n.Out[0], gs[0]
		axes, ok, err := graphs.ReduceAxes(n)
		if err != nil {
			c.Fail(err)
			return []*Value{nil}
		}
		if !ok {
			return c.reduceDynamic(n, g)
		}
		if n.Int("keepdims", 1) == 0 && len(axes) > 0 {
			g, y = c.unsqueeze(g, axes...), c.unsqueeze(y, axes...)
		}
		return only(f(c, g, x, y, axes))
	}
}

// reduceDynamic handles sums over axes known at run time only, as un-broadcasting emits them (with keepdims): g itself.
func (c *Context) reduceDynamic(n *graphs.Node, g *Value) []*Value {
	if n.Op != "ReduceSum" || n.Int("keepdims", 1) == 0 {
		return only(c.Failf("%s: axes that are computed at run time are not supported; export the model with constant axes", n.Label()))
	}
	return only(c.Op("Expand", nil, c.real(g, n.Out[0]), c.shape(n.In[0])))
}

// shareOfTies gives equal parts to all elements that attain the extremum.
func shareOfTies(c *Context, g, x, y *Value, axes []int) *Value {
	m := c.mask("Equal", x, y)
	return c.mul(m, c.div(g, c.reduceSum(m, axes, true)))
}
