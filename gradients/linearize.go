package gradients

import (
	"fmt"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// Policy says how a pullback comes by the intermediate values of its forward graph.
type Policy uint8

// Policies.
const (
	Keep      Policy = iota // the forward graph hands them out as residuals
	Recompute               // the pullback computes them again from the inputs
	Lean                    // Keep, but sums, products and the like that the pullback has in sums and products alone are computed again
)

// Linear is a program and its linearization: Forward computes the outputs and the residuals, Pullback turns cotangents of the
// outputs into gradients.
type Linear struct {
	Forward   *graphs.Graph // outputs of the program, then residuals
	Pullback  *graphs.Graph // inputs: residuals, those of the program's inputs it needs, and ct/OUT; outputs: grad/NAME
	Residuals []string      // names of the residuals: outputs of Forward and inputs of Pullback
}

// Linearize splits the program f and its VJP with respect to wrt (parameters or inputs of f) for cotangents of the named outputs.
// Ops newer than maxOpset are decomposed in both; FastSums is left to the caller.
//
// With Keep, residuals are the float values with f's batch axis, in front or behind directions, that the pullback needs; what is derived from parameters alone, views
// and masks are computed again, since they cost less than their traffic.
func Linearize(f *graphs.Graph, outs []string, wrt []*Value, p Policy, maxOpset int64) (*Linear, error) {
	b := graphs.Extend(f)
	seeds, err := cotangentInputs(b, f, outs)
	if err != nil {
		return nil, err
	}
	grads, err := pullFull(b, f.Nodes, seeds, wrt)
	if err != nil {
		return nil, err
	}
	joint, err := finish(b, f, append(slices.Clone(f.Outputs), gradOutputs(wrt, grads)...)...)
	if err != nil {
		return nil, err
	}
	if joint, err = Lower(joint, maxOpset); err != nil {
		return nil, err
	}
	forward, pullback := *joint, *joint
	forward.Outputs, pullback.Outputs = joint.Outputs[:len(f.Outputs)], joint.Outputs[len(f.Outputs):]
	forward.Inputs = f.Inputs
	l := &Linear{}
	if p == Recompute || hasBodies(joint) {
		l.Forward, l.Pullback = graphs.Prune(&forward), graphs.Prune(&pullback)
		return l, nil
	}
	return cut(graphs.Prune(&forward), graphs.Prune(&pullback), p == Lean)
}

// Finalize simplifies a graph, decomposes ops newer than maxOpset and those that the CPU computes slowly, and simplifies what came of it.
func Finalize(g *graphs.Graph, maxOpset int64) (*graphs.Graph, error) {
	g, err := Lower(g, maxOpset)
	if err != nil {
		return nil, err
	}
	return FastSums(g)
}

// Lower is Finalize without FastSums.
func Lower(g *graphs.Graph, maxOpset int64) (*graphs.Graph, error) {
	g, err := graphs.Simplify(g)
	if err != nil {
		return nil, err
	}
	if g, err = graphs.Lower(g, maxOpset); err != nil {
		return nil, err
	}
	if g, err = graphs.LowerNorms(g); err != nil {
		return nil, err
	}
	if g, err = graphs.Simplify(g); err != nil {
		return nil, err
	}
	return graphs.TrimSteps(g)
}

// cutter moves a pullback's uses of forward values to residuals.
type cutter struct {
	lean    bool
	direct  map[*Value]bool // operands of the pullback's nodes that are not cheap
	forward map[*graphs.Node]bool
	batch   graphs.Dim
	fed     map[*Value]bool // depends on an input
	b       *graphs.Builder
	m       map[*Value]*Value
	kept    []*Value
	folded  *graphs.Builder // views of forward values as rows of the batch
}

func cut(forward, pullback *graphs.Graph, lean bool) (*Linear, error) {
	c := &cutter{lean: lean, direct: map[*Value]bool{}, forward: map[*graphs.Node]bool{}, fed: map[*Value]bool{}, b: graphs.NewBuilder(pullback.Name), m: map[*Value]*Value{},
		folded: graphs.NewBuilder(forward.Name)}
	for _, v := range forward.Inputs {
		c.fed[v] = true
		if v.Name == X && v.Rank() > 0 {
			c.batch = v.Shape()[0]
		}
	}
	for _, n := range forward.Nodes {
		c.forward[n] = true
		if slices.ContainsFunc(n.In, func(v *Value) bool { return c.fed[v] }) {
			for _, v := range n.Out {
				c.fed[v] = true
			}
		}
	}
	for _, v := range pullback.Inputs {
		c.b.AddInput(v)
	}
	for _, n := range pullback.Nodes {
		if !c.forward[n] && !cheap[n.Op] {
			for _, v := range n.In {
				c.direct[v] = true
			}
		}
	}
	for _, n := range pullback.Nodes {
		if !c.forward[n] {
			c.copy(n)
		}
	}
	outs := make([]graphs.Output, len(pullback.Outputs))
	for i, o := range pullback.Outputs {
		outs[i] = graphs.Output{Name: o.Name, Value: c.value(o.Value)}
	}
	pull, err := c.b.Graph(outs...)
	if err != nil {
		return nil, err
	}
	l := &Linear{Pullback: graphs.Prune(pull)}
	f := *forward
	f.Nodes = append(slices.Clone(forward.Nodes), c.folded.Nodes()...)
	f.Outputs = slices.Clone(forward.Outputs)
	for i, v := range c.kept {
		l.Residuals = append(l.Residuals, residualName(i))
		f.Outputs = append(f.Outputs, graphs.Output{Name: residualName(i), Value: v})
	}
	l.Forward = &f
	return l, nil
}

func residualName(i int) string { return fmt.Sprintf("res/%d", i) }

func (c *cutter) copy(n *graphs.Node) {
	in := make([]*Value, len(n.In))
	for i, v := range n.In {
		if v != nil {
			in[i] = c.value(v)
		}
	}
	for i, v := range c.b.Ops(n.Op, len(n.Out), n.Attrs, in...) {
		c.m[n.Out[i]] = v
	}
}

// value returns what stands for v in the pullback: itself for leaves, a residual, or its node computed again.
func (c *cutter) value(v *Value) *Value {
	if r, ok := c.m[v]; ok {
		return r
	}
	if v.Kind != graphs.Computed {
		return v
	}
	switch k := c.rowsPerItem(v); {
	case c.keeps(v):
		c.m[v] = c.residual(v)
	case k > 0 && c.keepsKind(v):
		// [k·N, …] is handed over as [N, k, …], which is cut into tiles like everything else.
		rest := v.Shape()[1:].Ints()
		rows := c.folded.Op("Reshape", nil, v, c.folded.Ints(append([]int64{-1, k}, rest...)...))
		c.m[v] = c.b.Op("Reshape", nil, c.residual(rows), c.b.Ints(append([]int64{-1}, rest...)...))
	default:
		c.copy(v.Node)
	}
	return c.m[v]
}

func (c *cutter) residual(v *Value) *Value {
	c.kept = append(c.kept, v)
	return c.b.Input(residualName(len(c.kept)-1), v.Type.DType, v.Shape())
}

// rowsPerItem is k of a value of shape [k·N, D…], 0 for others.
func (c *cutter) rowsPerItem(v *Value) int64 {
	s := v.Shape()
	if len(s) == 0 || !s[1:].IsStatic() || slices.Contains(s.Ints(), 0) {
		return 0
	}
	if k := s[0].Over(c.batch); k.IsStatic() {
		return k.Size
	}
	return 0
}

// cheap are the ops that cost less than reading their result from memory, where they are computed with what uses it.
var cheap = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Neg": true, "Abs": true, "Relu": true, "Max": true, "Min": true, "Where": true}

var views = map[string]bool{"Reshape": true, "Squeeze": true, "Unsqueeze": true, "Flatten": true, "Cast": true, "Expand": true}

func (c *cutter) keeps(v *Value) bool { return c.keepsKind(v) && BatchAxis(v.Shape(), c.batch) >= 0 }

// keepsKind reports whether handing a value over costs less than computing it again.
func (c *cutter) keepsKind(v *Value) bool {
	return c.fed[v] && v.Type.DType == graphs.Float32 && !views[v.Node.Op] && !(c.lean && cheap[v.Node.Op] && !c.direct[v])
}

// BatchAxis finds the batch axis of a tensor: the first, or the second behind directions; −1 where there is none, or other extents are open.
func BatchAxis(s graphs.Shape, batch graphs.Dim) int {
	for i := range min(len(s), 2) {
		if s[i].Same(batch) && s[:i].IsStatic() && s[i+1:].IsStatic() {
			return i
		}
	}
	return -1
}
