package ebm

import (
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// freeBatch rebuilds g with the batch axis N in place of the extent `fixed` of x. Inputs that are set and share the fixed extent in front follow.
// Where a Reshape or Expand names the fixed extent as a constant in front, it gets the free one.
func freeBatch(g *graphs.Graph, x *graphs.Value, fixed graphs.Dim, set map[string]SetValue) (*graphs.Graph, *graphs.Value, error) {
	by := map[*graphs.Value]*graphs.Value{}
	b := graphs.NewBuilder(g.Name)
	for _, v := range g.Inputs {
		c := *v
		_, isSet := set[v.Name]
		if v == x || isSet && v.Rank() > 0 && (v.Shape()[0] == fixed || v.Shape()[0] == graphs.UnknownDim) {
			c.Type.Shape = append(graphs.Shape{batch}, v.Shape()[1:]...)
		}
		by[v] = &c
		b.AddInput(&c)
	}
	var patch map[*graphs.Value]*graphs.Value
	if fixed.IsStatic() {
		patch = fixedTargets(b, g, fixed.Size)
	}
	outs := b.SpliceWith(g, by, func(n *graphs.Node) {
		if len(n.In) > 1 && patch[n.In[1]] != nil && n.In[0] != nil && n.In[0].Rank() > 0 && n.In[0].Shape()[0] == batch {
			n.In[1] = patch[n.In[1]]
		}
	})
	named := make([]graphs.Output, len(outs))
	for i, v := range outs {
		named[i] = graphs.Output{Name: g.Outputs[i].Name, Value: v}
	}
	free, err := b.Graph(named...)
	if err != nil {
		return nil, nil, err
	}
	if fixed.IsStatic() {
		for _, o := range free.Outputs {
			if s := o.Value.Shape(); len(s) > 0 && s[0].IsStatic() {
				return nil, nil, fmt.Errorf("the output %q keeps the extent %v", o.Name, s[0])
			}
		}
	}
	free.Doc, free.Metadata = g.Doc, g.Metadata
	return free, by[x], nil
}

// fixedTargets maps constant targets of reshapes that start with the fixed batch size to targets that copy the extent of the operand (0).
func fixedTargets(b *graphs.Builder, g *graphs.Graph, size int64) map[*graphs.Value]*graphs.Value {
	m := map[*graphs.Value]*graphs.Value{}
	for _, n := range g.Nodes {
		if n.Op != "Reshape" || n.Domain != "" || n.Int("allowzero", 0) != 0 {
			continue
		}
		target, ok := n.In[1].ConstInts()
		if !ok || len(target) == 0 || target[0] != size {
			continue
		}
		m[n.In[1]] = b.Ints(append([]int64{0}, target[1:]...)...)
	}
	return m
}
