package graphs

import (
	"maps"
	"slices"
)

// TrimSteps removes what nobody uses from Scan and Loop: results beside the states, and slices that a Scan's body does not read. Derivatives keep
// the history of states for derivatives of a higher order; this is for graphs that are not differentiated again.
func TrimSteps(g *Graph) (*Graph, error) {
	for {
		t, changed, err := trimSteps(g)
		if err != nil || !changed {
			return g, err
		}
		g = t
	}
}

// trimSteps does one round. A body keeps its inputs, as its node gives them.
func trimSteps(g *Graph) (*Graph, bool, error) {
	uses := g.Uses()
	b := NewBuilder(g.Name)
	b.inputs = g.Inputs
	m := map[*Value]*Value{}
	changed := false
	for _, n := range g.Nodes {
		c := cloneNode(n, m)
		for name, a := range c.Attrs {
			inner, ok := a.(*Graph)
			if !ok {
				continue
			}
			t, did, err := trimSteps(inner)
			if err != nil {
				return nil, false, err
			}
			c.Attrs[name], changed = t, changed || did
		}
		kept := n.Out
		if first := firstResult(n); first >= 0 {
			var did bool
			if kept, did = trimResults(c, n, first, uses); did {
				changed = true
			}
			if n.Op == "Scan" && trimSlices(c, first) {
				changed = true
			}
		}
		for i, r := range b.Add(c) {
			m[kept[i]] = r
		}
		if b.err != nil {
			return nil, false, b.err
		}
	}
	outs := make([]Output, len(g.Outputs))
	for i, o := range g.Outputs {
		outs[i] = Output{o.Name, mapped(m, o.Value)}
	}
	r, err := b.Graph(outs...)
	if err != nil {
		return nil, false, err
	}
	r.Doc, r.Metadata = g.Doc, g.Metadata
	return r, changed || len(r.Nodes) < len(g.Nodes), nil
}

// firstResult is the position of the first output that is no state, −1 for other nodes.
func firstResult(n *Node) int {
	states := -1
	switch {
	case n.Domain != "" || n.Body("body") == nil:
	case n.Op == "Scan":
		states = len(n.In) - int(n.Int("num_scan_inputs", 0))
	case n.Op == "Loop":
		states = max(len(n.In)-2, 0)
	}
	if states > len(n.Out) || states > len(n.In) {
		return -1
	}
	return states
}

// trimResults removes results from c, a copy of n, and returns the outputs of n that are left.
func trimResults(c, n *Node, first int, uses map[*Value]int) (kept []*Value, changed bool) {
	body := *c.Body("body")
	lead := len(body.Outputs) - len(n.Out) // the condition of a Loop
	if lead < 0 {
		return n.Out, false
	}
	var at []int
	for i, v := range n.Out {
		if i < first || uses[v] > 0 {
			at = append(at, i)
		}
	}
	if len(at) == len(n.Out) || len(at) == 0 {
		return n.Out, false
	}
	outputs := slices.Clone(body.Outputs[:lead])
	c.Out = nil
	for _, i := range at {
		kept = append(kept, n.Out[i])
		outputs = append(outputs, body.Outputs[lead+i])
		c.Out = append(c.Out, &Value{Name: n.Out[i].Name, Kind: Computed, Node: c, Type: n.Out[i].Type})
	}
	body.Outputs = outputs
	body.Nodes = liveNodes(&body)
	c.Attrs["body"] = &body
	keepEntries(c, at[first:], first, "scan_output_axes", "scan_output_directions")
	return kept, true
}

// trimSlices removes scanned inputs that the body does not read, but for one, which says how many steps there are.
func trimSlices(c *Node, states int) (changed bool) {
	body := *c.Body("body")
	uses := body.Uses()
	var at []int
	for i := states; i < len(body.Inputs); i++ {
		if uses[body.Inputs[i]] > 0 || len(at) == 0 && i == len(body.Inputs)-1 {
			at = append(at, i)
		}
	}
	if len(at) == len(body.Inputs)-states {
		return false
	}
	inputs, in := slices.Clone(body.Inputs[:states]), slices.Clone(c.In[:states])
	for _, i := range at {
		inputs, in = append(inputs, body.Inputs[i]), append(in, c.In[i])
	}
	body.Inputs, c.In = inputs, in
	c.Attrs["body"] = &body
	c.Attrs["num_scan_inputs"] = int64(len(at))
	keepEntries(c, at, states, "scan_input_axes", "scan_input_directions")
	return true
}

// keepEntries keeps the entries of list attributes that belong to the positions at, counted from first.
func keepEntries(n *Node, at []int, first int, names ...string) {
	for _, name := range names {
		old := n.IntList(name)
		if old == nil {
			continue
		}
		var list []int64
		for _, i := range at {
			list = append(list, old[i-first])
		}
		if list == nil {
			n.Attrs = maps.Clone(n.Attrs)
			delete(n.Attrs, name)
			continue
		}
		n.Attrs[name] = list
	}
}
