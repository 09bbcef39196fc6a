package gradients

import (
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	addRules(map[string]Rule{"If": branches})
	expansions["If"] = graphs.KnownBranch
	expansions["Scan"] = firstOf(unrollScan, keepScanStates)
	expansions["Loop"] = firstOf(unrollLoop, keepLoopStates)
	refusals["Loop"] = "the values that it carries must keep their shapes, which must be known"
}

// firstOf tries expansions in order.
func firstOf(list ...graphs.Expansion) graphs.Expansion {
	return func(b *graphs.Builder, n *graphs.Node) []*Value {
		for _, e := range list {
			if out := e(b, n); out != nil {
				return out
			}
		}
		return nil
	}
}

// branches: the cotangents of what the branches use from around them are computed by an If with the same condition, whose branches compute
// their values again and pull the cotangents of the results back.
func branches(c *Context, n *graphs.Node, g []*Value) []*Value {
	then, otherwise := n.Body("then_branch"), n.Body("else_branch")
	wrt := c.capturedBy(then, otherwise)
	if len(wrt) == 0 {
		return only(nil)
	}
	attrs := graphs.Attrs{}
	for name, body := range map[string]*graphs.Graph{"then_branch": then, "else_branch": otherwise} {
		pulled, err := pullBody(body, g, wrt)
		if err != nil {
			c.Fail(err)
			return only(nil)
		}
		attrs[name] = pulled
	}
	outs := c.Ops("If", len(wrt), attrs, n.In[0])
	for i, v := range wrt {
		if i < len(outs) {
			outs[i].Type = v.Type
			c.captured = append(c.captured, Seed{v, outs[i]})
		}
	}
	return only(nil)
}

// capturedBy returns the values from around bodies that they use and whose cotangents matter, in order of first use.
func (c *Context) capturedBy(bodies ...*graphs.Graph) []*Value {
	var list []*Value
	for _, body := range bodies {
		body.EachUse(func(v *Value) {
			if c.active[v] && !slices.Contains(list, v) {
				list = append(list, v)
			}
		})
	}
	return list
}

// pullBody returns a body that computes the cotangents of wrt from those of the given body's outputs.
func pullBody(body *graphs.Graph, g []*Value, wrt []*Value) (*graphs.Graph, error) {
	body, err := Prepare(body)
	if err != nil {
		return nil, err
	}
	b := graphs.Extend(body)
	c := &Context{Builder: b, node: &graphs.Node{Op: "If"}}
	var seeds []Seed
	for i, o := range body.Outputs {
		if g[i] != nil && o.Value.Type.DType.IsFloat() {
			seeds = append(seeds, Seed{o.Value, c.real(g[i], o.Value)})
		}
	}
	grads, err := pullFull(b, body.Nodes, seeds, wrt)
	if err != nil {
		return nil, err
	}
	outs := make([]graphs.Output, len(wrt))
	for i, v := range grads {
		if v.Kind != graphs.Computed { // the result of a branch is computed in it
			v = b.Op("Identity", nil, v)
		}
		outs[i] = graphs.Output{Name: bodyOutput(i), Value: v}
	}
	r, err := b.Graph(outs...)
	if err != nil {
		return nil, err
	}
	return copyBody(r)
}

func bodyOutput(i int) string { return "out/" + string(rune('a'+i%26)) + string(rune('0'+i/26)) }

// copyBody gives a body nodes of its own, so that no value is computed in two places.
func copyBody(g *graphs.Graph) (*graphs.Graph, error) {
	b := graphs.NewBuilder(g.Name)
	outs := make([]graphs.Output, len(g.Outputs))
	for i, v := range b.Splice(g, nil) {
		outs[i] = graphs.Output{Name: g.Outputs[i].Name, Value: v}
	}
	return b.Graph(outs...)
}

// unrollScan writes the steps of a Scan of known length out.
func unrollScan(b *graphs.Builder, n *graphs.Node) []*Value {
	body, k := n.Body("body"), int(n.Int("num_scan_inputs", 0))
	states := len(n.In) - k
	if body == nil || k < 1 || states < 0 || len(body.Inputs) != len(n.In) || len(body.Outputs) != len(n.Out) {
		return nil
	}
	attr := func(name string, i int) int64 {
		if list := n.IntList(name); i < len(list) {
			return list[i]
		}
		return 0
	}
	axes := make([]int64, k)
	var steps int64
	for i := range k {
		v := n.In[states+i]
		a, err := graphs.Axis(attr("scan_input_axes", i), v.Rank())
		if err != nil || !v.Shape()[a].IsStatic() || v.Shape()[a].Size > maxUnrolled {
			return nil
		}
		axes[i], steps = int64(a), v.Shape()[a].Size
	}
	if steps == 0 {
		return nil
	}
	carried := slices.Clone(n.In[:states])
	stacks := make([][]*Value, len(n.Out)-states)
	for t := range steps {
		replace := map[*Value]*Value{}
		for i, v := range carried {
			replace[body.Inputs[i]] = v
		}
		for i := range k {
			at := t
			if attr("scan_input_directions", i) != 0 {
				at = steps - 1 - t
			}
			replace[body.Inputs[states+i]] = b.Op("Gather", graphs.Attrs{"axis": axes[i]}, n.In[states+i], b.Int(at))
		}
		outs := b.Splice(body, replace)
		copy(carried, outs)
		for i := range stacks {
			stacks[i] = append(stacks[i], outs[states+i])
		}
	}
	results := carried
	for i, list := range stacks {
		if attr("scan_output_directions", i) != 0 {
			slices.Reverse(list)
		}
		axis := attr("scan_output_axes", i)
		if axis < 0 {
			axis += int64(list[0].Rank()) + 1
		}
		results = append(results, stack(b, list, axis))
	}
	return results
}

// unrollLoop writes the iterations of a Loop out whose number is a constant and whose condition stays true.
func unrollLoop(b *graphs.Builder, n *graphs.Node) []*Value {
	body := n.Body("body")
	trips, ok := n.Input(0).ConstInts()
	if len(n.In) < 2 || body == nil || !ok || len(trips) != 1 || trips[0] > maxUnrolled || trips[0] < 1 {
		return nil
	}
	if n.In[1] != nil {
		if going, known := n.In[1].ConstBool(); !known || !going {
			return nil
		}
	}
	states := len(n.In) - 2
	always := b.Const(graphs.NewTensor([]bool{true}))
	carried := slices.Clone(n.In[2:])
	stacks := make([][]*Value, len(n.Out)-states)
	for t := range trips[0] {
		replace := map[*Value]*Value{body.Inputs[0]: b.Int(t), body.Inputs[1]: always}
		for i, v := range carried {
			replace[body.Inputs[i+2]] = v
		}
		outs := b.Splice(body, replace)
		going, known := outs[0].ConstBool()
		if !known {
			return nil
		}
		copy(carried, outs[1:])
		for i := range stacks {
			stacks[i] = append(stacks[i], outs[1+states+i])
		}
		if !going {
			break
		}
	}
	results := carried
	for _, list := range stacks {
		results = append(results, stack(b, list, 0))
	}
	return results
}

// hasBodies reports whether a graph branches or loops: the values that bodies use from around them are no residuals.
func hasBodies(g *graphs.Graph) bool {
	return slices.ContainsFunc(g.Nodes, func(n *graphs.Node) bool {
		for _, a := range n.Attrs {
			if _, ok := a.(*graphs.Graph); ok {
				return true
			}
		}
		return false
	})
}
