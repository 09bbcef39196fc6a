package graphs

import (
	"maps"
	"slices"
)

// Replace rebuilds a graph with other values in place of some of its leaves (inputs, parameters, constants).
func Replace(g *Graph, by map[*Value]*Value) (*Graph, error) {
	b := NewBuilder(g.Name)
	for _, v := range g.Inputs {
		if r := mapped(by, v); r.Kind == Input {
			b.AddInput(r)
		}
	}
	outs := b.Splice(g, by)
	named := make([]Output, len(outs))
	for i, v := range outs {
		named[i] = Output{g.Outputs[i].Name, v}
	}
	r, err := b.Graph(named...)
	if err != nil {
		return nil, err
	}
	r.Doc, r.Metadata = g.Doc, maps.Clone(g.Metadata)
	return r, nil
}

// Reshaped rebuilds a graph with other shapes of its inputs, and infers everything again.
func Reshaped(g *Graph, shapes map[*Value]Shape) (*Graph, error) {
	by := map[*Value]*Value{}
	for v, s := range shapes {
		c := *v
		c.Type.Shape = s
		by[v] = &c
	}
	return Replace(g, by)
}

// WithTensors rebuilds a graph whose parameters have other values, by name. The tensors must have the parameters' types.
func WithTensors(g *Graph, tensors map[string]*Tensor) (*Graph, error) {
	by := map[*Value]*Value{}
	for _, v := range g.Params() {
		if t := tensors[v.Name]; t != nil {
			c := *v
			c.Tensor = t
			by[v] = &c
		}
	}
	return Replace(g, by)
}

// ToFloat32 makes every float16, bfloat16 and float64 value of a graph float32, and returns the types that were there.
func ToFloat32(g *Graph) (*Graph, []DType, error) {
	found := map[DType]bool{}
	other := func(t DType) bool {
		if t.IsFloat() && t != Float32 {
			found[t] = true
			return true
		}
		return false
	}
	by := map[*Value]*Value{}
	narrow := func(v *Value) {
		if v.Kind == Computed || by[v] != nil || !other(v.Type.DType) {
			return
		}
		c := *v
		c.Type.DType = Float32
		if v.Tensor != nil {
			c.Tensor = toFloat32(v.Tensor)
		}
		by[v] = &c
	}
	for _, v := range g.Inputs {
		narrow(v)
	}
	g.EachUse(narrow)
	b := NewBuilder(g.Name)
	for _, v := range g.Inputs {
		b.AddInput(mapped(by, v))
	}
	widen := func(values []*Value) {
		for _, v := range values {
			if other(v.Type.DType) {
				v.Type.DType = Float32
			}
		}
	}
	var edit func(n *Node)
	edit = func(n *Node) {
		for _, name := range []string{"to", "dtype"} {
			if t, ok := n.Attrs[name].(int64); ok && other(DType(t)) {
				n.Attrs = maps.Clone(n.Attrs)
				n.Attrs[name] = int64(Float32)
			}
		}
		if t, ok := n.Attrs["value"].(*Tensor); ok && other(t.DType) {
			n.Attrs = maps.Clone(n.Attrs)
			n.Attrs["value"] = toFloat32(t)
		}
		widen(n.Out)
		for _, a := range n.Attrs {
			if body, ok := a.(*Graph); ok {
				widen(body.Inputs)
				for _, m := range body.Nodes {
					edit(m)
				}
			}
		}
	}
	outs := b.SpliceWith(g, by, edit)
	named := make([]Output, len(outs))
	for i, v := range outs {
		named[i] = Output{g.Outputs[i].Name, v}
	}
	if len(found) == 0 {
		return g, nil, nil
	}
	r, err := b.Graph(named...)
	if err != nil {
		return nil, nil, err
	}
	r.Doc, r.Metadata = g.Doc, g.Metadata
	return r, slices.Sorted(maps.Keys(found)), nil
}

func toFloat32(t *Tensor) *Tensor {
	return NewTensor(convert(t.Float64s(), func(x float64) float32 { return float32(x) }), t.Dims...)
}

// FLOPs counts the floating-point operations of products of matrices and of convolutions (2 a multiply-add) with every symbolic extent equal to n.
func FLOPs(g *Graph, n int64) float64 {
	total := 0.0
	for _, node := range g.Nodes {
		total += nodeFLOPs(node, n)
	}
	return total
}

func nodeFLOPs(n *Node, size int64) float64 {
	if n.Domain != "" || len(n.Out) == 0 || n.Out[0].Shape() == nil {
		return 0
	}
	out := n.Out[0].Shape().Size().at(size)
	switch n.Op {
	case "MatMul":
		s := n.In[0].Shape()
		if len(s) == 0 {
			return 0
		}
		return 2 * out * s[len(s)-1].at(size)
	case "Gemm":
		s := n.In[0].Shape()
		if len(s) != 2 {
			return 0
		}
		k := s[1]
		if n.Int("transA", 0) != 0 {
			k = s[0]
		}
		return 2 * out * k.at(size)
	case "Conv":
		if w := n.In[1].Shape(); len(w) > 1 {
			return 2 * out * w[1:].Size().at(size)
		}
	case "ConvTranspose":
		if w := n.In[1].Shape(); len(w) > 1 {
			return 2 * n.In[0].Shape().Size().at(size) * w[1:].Size().at(size)
		}
	}
	return 0
}

// at is the extent with every symbol equal to n, 1 where it is unknown.
func (d Dim) at(n int64) float64 {
	p, ok := d.poly()
	if !ok {
		return 1
	}
	sum := 0.0
	for _, t := range p {
		v := float64(t.coef)
		for range t.vars {
			v *= float64(n)
		}
		sum += v
	}
	return max(sum, 0)
}
