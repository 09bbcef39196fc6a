package graphs

// fusion rewrites a node whose operand i has no other user where single(i) holds: without that condition these rewrites add work.
type fusion func(b *Builder, n *Node, single func(i int) bool) *Value

var fusions = map[string][]fusion{
	"Add": {factorSum, gemmAddend},
	"Sub": {factorSum},
	"Mul": {scaleGemm, scaleSmaller},
}

// fuse applies the rewrites that need to know who else uses a value, hence the whole graph.
func fuse(g *Graph) (*Graph, error) {
	uses := g.Uses()
	b := NewBuilder(g.Name)
	b.inputs = g.Inputs
	m := map[*Value]*Value{}
	for _, n := range g.Nodes {
		c := cloneNode(n, m)
		out := []*Value(nil)
		single := func(i int) bool { return uses[n.In[i]] == 1 }
		if err := infer(c); err != nil {
			return nil, err
		}
		if n.Domain == "" {
			for _, f := range fusions[n.Op] {
				if v := f(b, c, single); v != nil && out == nil {
					out = only(v)
				}
			}
		}
		if out == nil {
			out = b.Add(c)
		}
		for i, r := range out {
			m[n.Out[i]] = r
		}
	}
	outs := make([]Output, len(g.Outputs))
	for i, o := range g.Outputs {
		outs[i] = Output{o.Name, mapped(m, o.Value)}
	}
	r, err := b.Graph(outs...)
	if err != nil {
		return nil, err
	}
	r.Doc, r.Metadata = g.Doc, g.Metadata
	return r, nil
}

// factorSum: a·g ± b·g = (a±b)·g.
func factorSum(b *Builder, n *Node, single func(int) bool) *Value {
	if !is(n.In[0], "Mul") || !is(n.In[1], "Mul") || n.In[0] == n.In[1] || !single(0) || !single(1) {
		return nil
	}
	p, q := n.In[0].Node.In, n.In[1].Node.In
	for i := range 2 {
		for j := range 2 {
			if p[i] != q[j] {
				continue
			}
			s, err := broadcastAll([]*Value{p[1-i], q[1-j]})
			if err != nil {
				continue
			}
			if full, err := s.Broadcast(p[i].Shape()); err != nil || !full.Same(n.Out[0].Shape()) {
				continue
			}
			return b.Op("Mul", nil, b.Op(n.Op, nil, p[1-i], q[1-j]), p[i])
		}
	}
	return nil
}

// gemmAddend: the sum of a product of matrices and anything that broadcasts into it is one Gemm.
func gemmAddend(b *Builder, n *Node, single func(int) bool) *Value {
	if n.Out[0].Type.DType != Float32 || n.Out[0].Rank() != 2 {
		return nil
	}
	for i := range 2 {
		p, c := n.In[i], n.In[1-i]
		if !single(i) || !keepsType(n, p) || c.Rank() < 1 {
			continue
		}
		switch {
		case is(p, "MatMul") && p.Node.In[0].Rank() == 2 && p.Node.In[1].Rank() == 2:
			return b.Op("Gemm", nil, p.Node.In[0], p.Node.In[1], c)
		case is(p, "Gemm") && len(p.Node.In) == 2:
			attrs := Attrs{"beta": float32(1)} // beta meant nothing without an addend
			for k, v := range p.Node.Attrs {
				if k != "beta" {
					attrs[k] = v
				}
			}
			return b.Op("Gemm", attrs, p.Node.In[0], p.Node.In[1], c)
		}
	}
	return nil
}

// scaleGemm: a scalar factor of a product of matrices is its alpha.
func scaleGemm(b *Builder, n *Node, single func(int) bool) *Value {
	if n.Out[0].Type.DType != Float32 { // alpha is one
		return nil
	}
	for i := range 2 {
		c, ok := scalar(n.In[1-i])
		p := n.In[i]
		if !ok || !single(i) || !is(p, "Gemm") || len(p.Node.In) != 2 || !keepsType(n, p) {
			continue
		}
		alpha := float64(p.Node.Float("alpha", 1)) * c
		return b.Op("Gemm", gemmAttrs(float32(alpha), 1, p.Node.Int("transA", 0) != 0, p.Node.Int("transB", 0) != 0), p.Node.In...)
	}
	return nil
}

// scaleSmaller: a scalar factor of a product goes to the operand that is broadcast, which has fewer elements: (a·b)·c = (a·c)·b.
func scaleSmaller(b *Builder, n *Node, single func(int) bool) *Value {
	for i := range 2 {
		p, c := n.In[i], n.In[1-i]
		if _, ok := scalar(c); !ok || !single(i) || !is(p, "Mul") || !keepsType(n, p) {
			continue
		}
		for j := range 2 {
			small, big := p.Node.In[j], p.Node.In[1-j]
			if broadcasts(small, p) && !broadcasts(big, p) && small.Rank() >= c.Rank() {
				return b.Op("Mul", nil, b.Op("Mul", nil, small, c), big)
			}
		}
	}
	return nil
}

// broadcasts reports whether v has an extent of 1, or none, where y has provably more.
func broadcasts(v, y *Value) bool {
	s, t := v.Shape(), y.Shape()
	for i, d := range t {
		k := i - (len(t) - len(s))
		one := k < 0 || s[k].Is(1)
		if one && (!d.IsStatic() || d.Size > 1) {
			return true
		}
	}
	return false
}
