package gradients

import (
	"fmt"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// Value is a value of a graph.
type Value = graphs.Value

// Rule is the vector-Jacobian product of one op: from the cotangents g of the node's outputs (nil where absent) it returns those
// of its inputs (nil where zero). It emits nodes through the context, which also says which inputs matter.
type Rule func(c *Context, n *graphs.Node, g []*Value) []*Value

// Seed is a value and its cotangent.
type Seed struct{ Value, Cotangent *Value }

// Pull adds to b, which must hold the nodes of g (see graphs.Extend), the cotangents of wrt that follow from the seeds:
// Σ seeds ⟨cotangent, ∂value⟩. Cotangents may be under-broadcast; so are the results, nil where the derivative is zero.
func Pull(b *graphs.Builder, nodes []*graphs.Node, seeds []Seed, wrt []*Value) ([]*Value, error) {
	active := dependents(nodes, wrt)
	cot := map[*Value]*Value{}
	for _, s := range seeds {
		accumulate(b, cot, s.Value, s.Cotangent)
	}
	for _, n := range slices.Backward(nodes) {
		g := make([]*Value, len(n.Out))
		any := false
		for i, v := range n.Out {
			if active[v] && cot[v] != nil {
				g[i], any = cot[v], true
			}
		}
		if !any {
			continue
		}
		if err := pullNode(b, n, g, active, cot); err != nil {
			return nil, err
		}
	}
	out := make([]*Value, len(wrt))
	for i, v := range wrt {
		out[i] = cot[v]
	}
	return out, b.Err()
}

func pullNode(b *graphs.Builder, n *graphs.Node, g []*Value, active map[*Value]bool, cot map[*Value]*Value) error {
	rule, err := ruleOf(n)
	if err != nil {
		return err
	}
	if rule == nil {
		return nil
	}
	for i, v := range n.Out {
		if g[i] != nil && (v.Rank() < 0 || g[i].Rank() < 0) {
			return &graphs.OpError{Op: n.FullOp(), Node: nodeName(n), Reason: "has no gradient here: the rank of its result is unknown; give its shape in the file"}
		}
	}
	c := &Context{Builder: b, node: n, active: active}
	for i, t := range rule(c, n, g) {
		if t == nil || !active[n.In[i]] {
			continue
		}
		if !fits(t.Shape(), n.In[i].Shape()) {
			return fmt.Errorf("gradients: the rule of %s gave input %d of shape %v a cotangent of shape %v", n.Label(), i, n.In[i].Shape(), t.Shape())
		}
		accumulate(b, cot, n.In[i], t)
	}
	for _, t := range c.captured {
		accumulate(b, cot, t.Value, t.Cotangent)
	}
	if err := b.Err(); err != nil {
		return fmt.Errorf("gradients: derivative of %s: %w", n.Label(), err)
	}
	return nil
}

// fits reports whether a cotangent of shape t can belong to a value of shape s.
func fits(t, s graphs.Shape) bool {
	if t == nil || s == nil {
		return true
	}
	if len(t) != len(s) {
		return false
	}
	for i := range t {
		if t[i].IsStatic() && s[i].IsStatic() && t[i] != s[i] && !t[i].Is(1) {
			return false
		}
	}
	return true
}

func accumulate(b *graphs.Builder, cot map[*Value]*Value, v, t *Value) {
	if old := cot[v]; old != nil {
		t = b.Op("Add", nil, old, t)
	}
	cot[v] = t
}

// eachInBodies calls f for what the bodies of a control-flow node use, values of the graph around it among them.
func eachInBodies(n *graphs.Node, f func(*Value)) {
	for _, a := range n.Attrs {
		if body, ok := a.(*graphs.Graph); ok {
			body.EachUse(f)
		}
	}
}

// dependents returns the float values that depend on wrt through ops with a derivative.
func dependents(nodes []*graphs.Node, wrt []*Value) map[*Value]bool {
	active := map[*Value]bool{}
	for _, v := range wrt {
		active[v] = true
	}
	for _, n := range nodes {
		if info, ok := graphs.Info(n.Op); ok && info.Flat && n.Domain == "" {
			continue
		}
		uses := false
		for i, v := range n.In {
			uses = uses || v != nil && active[v] && !slices.Contains(settings[n.Op], i)
		}
		eachInBodies(n, func(v *Value) { uses = uses || active[v] })
		if !uses {
			continue
		}
		for _, v := range n.Out {
			if dt := v.Type.DType; dt.IsFloat() || dt == graphs.Undefined {
				active[v] = true
			}
		}
	}
	return active
}

// settings are operands, floats among them, that say how an op works: there is no derivative by them.
var settings = map[string][]int{"Resize": {1, 2}, "Dropout": {1}}

// DependsOn reports which of the values the outputs depend on differentiably.
func DependsOn(g *graphs.Graph, values []*Value) map[*Value]bool {
	used := map[*Value]bool{}
	all := dependents(g.Nodes, values)
	for _, o := range g.Outputs {
		if all[o.Value] {
			used[o.Value] = true
		}
	}
	for _, n := range slices.Backward(g.Nodes) {
		if info, ok := graphs.Info(n.Op); ok && info.Flat && n.Domain == "" {
			continue
		}
		if !slices.ContainsFunc(n.Out, func(v *Value) bool { return used[v] }) {
			continue
		}
		mark := func(v *Value) {
			if v != nil && all[v] {
				used[v] = true
			}
		}
		for i, v := range n.In {
			if !slices.Contains(settings[n.Op], i) {
				mark(v)
			}
		}
		for _, a := range n.Attrs {
			if body, ok := a.(*graphs.Graph); ok {
				body.EachUse(mark)
			}
		}
	}
	return used
}
