package graphs

import (
	"fmt"
	"math"
	"slices"
)

// decompositions express ops by older ones: what a file of a given opset may not hold, and what has no kernel everywhere.
var decompositions = map[string]rule{
	"Gelu":  single(DecomposeGelu),
	"Swish": single(decomposeSwish),
}

// Rewrite gives the value that stands for the single output of a node whose types are inferred, or nil to leave the node.
type Rewrite func(b *Builder, n *Node) *Value

// RewriteOps rebuilds and simplifies a graph with the given rewrites by op, applied after simplification.
func RewriteOps(g *Graph, by map[string]Rewrite) (*Graph, error) {
	rules := ruleSet{}
	for op, list := range simplifying {
		rules[op] = slices.Clone(list)
	}
	for op, r := range by {
		rules[op] = append(rules[op], func(b *Builder, n *Node) []*Value {
			if v := r(b, n); v != nil {
				return only(v)
			}
			return nil
		})
	}
	return rebuild(g, rules)
}

// wholeShape takes the whole of a shape and then a part of it: ONNX Runtime's transpose optimizer moves a Transpose through a Shape with
// start and end wrongly (seen with 1.27: indices outside the shape's part).
func wholeShape(b *Builder, n *Node) []*Value {
	rank := n.In[0].Rank()
	if rank < 0 || n.Int("start", 0) == 0 && n.Int("end", int64(rank)) == int64(rank) {
		return nil
	}
	s := b.Op("Shape", nil, n.In[0])
	return only(b.Op("Slice", nil, s, b.Ints(n.Int("start", 0)), b.Ints(n.Int("end", int64(rank))), b.Ints(0)))
}

// Lower replaces ops newer than maxOpset by older ones. What cannot be is an *OpError.
func Lower(g *Graph, maxOpset int64) (*Graph, error) {
	rules := ruleSet{"Shape": {wholeShape}}
	for op, r := range decompositions {
		if info, ok := Info(op); ok && info.Since > maxOpset {
			rules[op] = []rule{r}
		}
	}
	newer := func(n *Node) bool {
		info, ok := Info(n.Op)
		return ok && info.Since > maxOpset
	}
	rules[""] = []rule{func(b *Builder, n *Node) []*Value { return lowerBodies(b, n, rules, newer) }}
	r, err := rebuild(g, rules)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(r.Nodes, newer); i >= 0 {
		n := r.Nodes[i]
		info, _ := Info(n.Op)
		return nil, &OpError{Op: n.Op, Node: n.Name, Reason: fmt.Sprintf("needs opset %d and has no form in opset %d", info.Since, maxOpset)}
	}
	return r, nil
}

// lowerBodies lowers the bodies of a node that have ops of newer opsets.
func lowerBodies(b *Builder, n *Node, rules ruleSet, newer func(*Node) bool) []*Value {
	attrs := Attrs{}
	for name, a := range n.Attrs {
		body, ok := a.(*Graph)
		if !ok || !slices.ContainsFunc(body.Nodes, func(n *Node) bool { return newer(n) && rules[n.Op] != nil }) {
			continue
		}
		lowered, err := rebuild(body, rules)
		if err != nil {
			b.Fail(err)
			return nil
		}
		attrs[name] = lowered
	}
	if len(attrs) == 0 {
		return nil
	}
	for name, a := range n.Attrs {
		if attrs[name] == nil {
			attrs[name] = a
		}
	}
	return b.Ops(n.Op, len(n.Out), attrs, n.In...)
}

func single(r Rewrite) rule {
	return func(b *Builder, n *Node) []*Value { return only(r(b, n)) }
}

// DecomposeGelu writes a Gelu node as x·Φ(x), or in its tanh form ½x(1+tanh(√(2/π)(x+0.044715x³))).
func DecomposeGelu(b *Builder, n *Node) *Value {
	x := n.In[0]
	half := b.FloatLike(x, 0.5)
	var t *Value
	if n.Text("approximate", "none") == "tanh" {
		cube := b.Op("Mul", nil, b.Op("Mul", nil, x, x), x)
		inner := b.Op("Add", nil, x, b.Op("Mul", nil, cube, b.FloatLike(x, 0.044715)))
		t = b.Op("Tanh", nil, b.Op("Mul", nil, inner, b.FloatLike(x, math.Sqrt(2/math.Pi))))
	} else {
		t = b.Op("Erf", nil, b.Op("Mul", nil, x, b.FloatLike(x, math.Sqrt2/2)))
	}
	phi := b.Op("Add", nil, b.Op("Mul", nil, t, half), half)
	return b.Op("Mul", nil, x, phi)
}

// decomposeSwish: x·σ(αx).
func decomposeSwish(b *Builder, n *Node) *Value {
	x := n.In[0]
	ax := x
	if alpha := n.Float("alpha", 1); alpha != 1 {
		ax = scale(b, x, float64(alpha))
	}
	return b.Op("Mul", nil, x, b.Op("Sigmoid", nil, ax))
}
