package gradients

import (
	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// rewrites express ops without a rule of their own by ops that have one; they run on a graph before it is differentiated.
var rewrites = map[string]graphs.Rewrite{
	"Mul": swishPattern,
	"Mean": func(b *graphs.Builder, n *graphs.Node) *Value {
		return b.Op("Mul", nil, b.Op("Sum", nil, n.In...), b.FloatLike(n.In[0], 1/float64(len(n.In))))
	},
	"Gelu":        geluTanh,
	"Celu":        celu,
	"HardSigmoid": hardSigmoid,
	"HardSwish": func(b *graphs.Builder, n *graphs.Node) *Value {
		return b.Op("Mul", nil, n.In[0], hardSwishGate(b, n.In[0]))
	},
	"Mish": func(b *graphs.Builder, n *graphs.Node) *Value {
		return b.Op("Mul", nil, n.In[0], b.Op("Tanh", nil, b.Op("Softplus", nil, n.In[0])))
	},
	"ReduceL1": func(b *graphs.Builder, n *graphs.Node) *Value {
		return reduceOf(b, n, "ReduceSum", b.Op("Abs", nil, n.In[0]))
	},
	"ReduceSumSquare": func(b *graphs.Builder, n *graphs.Node) *Value {
		return reduceOf(b, n, "ReduceSum", b.Op("Mul", nil, n.In[0], n.In[0]))
	},
	"ReduceLogSum": func(b *graphs.Builder, n *graphs.Node) *Value {
		return b.Op("Log", nil, reduceOf(b, n, "ReduceSum", n.In[0]))
	},
	"ReduceProd": reduceProd,
	"PRelu":      prelu,
}

// Prepare rewrites a graph into ops that have rules of their own.
func Prepare(g *graphs.Graph) (*graphs.Graph, error) {
	return graphs.RewriteNodes(g, rewrites, expansions)
}

// expansions are rewrites of ops with several outputs.
var expansions = map[string]graphs.Expansion{}

func reduceOf(b *graphs.Builder, n *graphs.Node, op string, x *Value) *Value {
	return b.Op(op, n.Attrs, append([]*Value{x}, n.In[1:]...)...)
}

// swishPattern finds x·σ(x), which the exporters write for SiLU: as one op it has a derivative of half the nodes.
func swishPattern(b *graphs.Builder, n *graphs.Node) *Value {
	for i := range 2 {
		s := n.In[i].Node
		if n.In[i].Kind == graphs.Computed && s.Op == "Sigmoid" && s.Domain == "" && s.In[0] == n.In[1-i] {
			return b.Op("Swish", nil, n.In[1-i])
		}
	}
	return nil
}

func geluTanh(b *graphs.Builder, n *graphs.Node) *Value {
	if n.Text("approximate", "none") != "tanh" {
		return nil
	}
	return graphs.DecomposeGelu(b, n)
}

// celu: max(0,x) + min(0, α(exp(x/α)−1)) is Elu of x/α scaled by α.
func celu(b *graphs.Builder, n *graphs.Node) *Value {
	x, alpha := n.In[0], float64(n.Float("alpha", 1))
	y := b.Op("Elu", nil, b.Op("Mul", nil, x, b.FloatLike(x, 1/alpha)))
	return b.Op("Mul", nil, y, b.FloatLike(x, alpha))
}

func hardSigmoid(b *graphs.Builder, n *graphs.Node) *Value {
	return hardGate(b, n.In[0], float64(n.Float("alpha", 0.2)), float64(n.Float("beta", 0.5)))
}

func hardSwishGate(b *graphs.Builder, x *Value) *Value { return hardGate(b, x, 1.0/6, 0.5) }

// hardGate is αx+β clipped to [0, 1].
func hardGate(b *graphs.Builder, x *Value, alpha, beta float64) *Value {
	z := b.Op("Add", nil, b.Op("Mul", nil, x, b.FloatLike(x, alpha)), b.FloatLike(x, beta))
	return b.Op("Clip", nil, z, b.FloatLike(x, 0), b.FloatLike(x, 1))
}

// prelu: max(x,0) + s·min(x,0).
func prelu(b *graphs.Builder, n *graphs.Node) *Value {
	x := n.In[0]
	pos := b.Op("Relu", nil, x)
	return b.Op("Add", nil, pos, b.Op("Mul", nil, n.In[1], b.Op("Sub", nil, x, pos)))
}

// reduceProd multiplies halves of the axis until one element is left: log₂ products a axis, and exact for zeros at every order.
func reduceProd(b *graphs.Builder, n *graphs.Node) *Value {
	axes, ok, err := graphs.ReduceAxes(n)
	if err != nil || !ok {
		return nil
	}
	x := n.In[0]
	var list []int64
	for _, a := range axes {
		d := x.Shape()[a]
		if !d.IsStatic() || d.Is(0) {
			return nil
		}
		x = productAlong(b, x, int64(a), d.Size)
		list = append(list, int64(a))
	}
	if n.Int("keepdims", 1) == 0 && len(list) > 0 {
		return b.Op("Squeeze", nil, x, b.Ints(list...))
	}
	return x
}

func productAlong(b *graphs.Builder, x *Value, axis, extent int64) *Value {
	part := func(v *Value, from, to int64) *Value {
		return b.Op("Slice", nil, v, b.Ints(from), b.Ints(to), b.Ints(axis))
	}
	for extent > 1 {
		half := extent / 2
		p := b.Op("Mul", nil, part(x, 0, half), part(x, half, 2*half))
		if extent%2 == 1 {
			p = b.Op("Concat", graphs.Attrs{"axis": axis}, p, part(x, extent-1, extent))
		}
		x, extent = p, half+extent%2
	}
	return x
}
