package graphs

import (
	"maps"
	"slices"
)

// bodies rebuilds the bodies of a node as the builder rebuilds graphs: types are inferred, and its rules apply.
func (b *Builder) bodies(n *Node) error {
	if !hasBody(n) {
		return nil
	}
	n.Attrs = maps.Clone(n.Attrs)
	for name, a := range n.Attrs {
		body, ok := a.(*Graph)
		if !ok {
			continue
		}
		rebuild := b.body
		if n.Op == "Loop" && n.Domain == "" {
			rebuild = b.loopBody
		}
		r, err := rebuild(body, bodyInputs(n, body))
		if err != nil {
			return err
		}
		n.Attrs[name] = r
	}
	return nil
}

// body rebuilds a body whose inputs have the given types.
func (b *Builder) body(g *Graph, types []Type) (*Graph, error) {
	c := NewBuilder(g.Name)
	c.rules = b.rules
	m := map[*Value]*Value{}
	for i, v := range g.Inputs {
		w := *v
		w.Type = types[i]
		m[v] = &w
		c.inputs = append(c.inputs, &w)
	}
	outs := c.Splice(g, m)
	named := make([]Output, len(outs))
	for i, v := range outs {
		named[i] = Output{g.Outputs[i].Name, v}
	}
	r, err := c.Graph(named...)
	if err != nil {
		return nil, err
	}
	r.Doc, r.Metadata = g.Doc, g.Metadata
	return r, nil
}

// loopBody is body for a Loop, whose states start with the given types and may change their shapes: what changes is not known.
func (b *Builder) loopBody(g *Graph, types []Type) (*Graph, error) {
	for {
		r, err := b.body(g, types)
		if err != nil {
			return nil, err
		}
		stable := true
		for i := 2; i < len(types) && i-1 < len(r.Outputs); i++ {
			t := joinTypes(types[i], r.Outputs[i-1].Value.Type)
			if (t.Shape == nil) != (types[i].Shape == nil) || !slices.Equal(t.Shape, types[i].Shape) {
				types[i], stable = t, false
			}
		}
		if stable {
			return r, nil
		}
	}
}

// bodyInputs gives the types of a body's inputs that follow from the inputs of its node.
func bodyInputs(n *Node, g *Graph) []Type {
	types := make([]Type, len(g.Inputs))
	for i, v := range g.Inputs {
		types[i] = v.Type
	}
	from := func(i int, t Type) {
		if i < len(types) && t.DType != Undefined {
			types[i] = mergeTypes(t, types[i])
		}
	}
	switch {
	case n.Domain != "":
	case n.Op == "Scan":
		states := len(n.In) - int(n.Int("num_scan_inputs", 0))
		axes := n.IntList("scan_input_axes")
		for i, v := range n.In {
			t := v.Type
			if i >= states && t.Shape != nil {
				axis := int64(0)
				if i-states < len(axes) {
					axis = axes[i-states]
				}
				a, err := Axis(axis, len(t.Shape))
				if err != nil {
					continue // the node's own inference says what is wrong
				}
				t.Shape = slices.Delete(slices.Clone(t.Shape), a, a+1)
			}
			from(i, t)
		}
	case n.Op == "Loop":
		from(0, Type{Int64, Shape{}})
		from(1, Type{Bool, Shape{}})
		for i := 2; i < len(n.In); i++ {
			if v := n.In[i]; v != nil && i < len(types) {
				types[i] = v.Type // what the file declares is for all iterations, this for the first: loopBody joins them
			}
		}
	}
	return types
}
