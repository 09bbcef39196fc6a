package graphs

// absorbScale turns (u·r)·W, with a row r of factors that depends on parameters alone, into u·(diag(r)·W): a frozen program's weights are
// multiplied once, when it is compiled.
func absorbScale(b *Builder, n *Node) *Value {
	x, w := n.In[0], n.In[1]
	if n.Int("transA", 0) != 0 || !frozen(w) || w.Rank() != 2 || x.Kind != Computed || x.Node.Op != "Mul" || x.Node.Domain != "" || !x.Shape()[1].IsStatic() {
		return nil
	}
	for i, r := range x.Node.In {
		u := x.Node.In[1-i]
		if !frozen(r) || frozen(u) || r.Rank() != 2 || !r.Shape()[0].Is(1) || !r.Shape()[1].Same(x.Shape()[1]) || !u.Shape().Same(x.Shape()) {
			continue
		}
		if n.Int("transB", 0) == 0 {
			r = b.Op("Reshape", nil, r, b.Ints(x.Shape()[1].Size, 1))
		}
		return b.Op("Gemm", n.Attrs, append([]*Value{u, b.Op("Mul", nil, w, r)}, n.In[2:]...)...)
	}
	return nil
}

// frozen reports whether a value depends on no input.
func frozen(v *Value) bool {
	if v.Kind == Input {
		return false
	}
	if v.Kind != Computed {
		return true
	}
	for _, in := range v.Node.In {
		if in != nil && !frozen(in) {
			return false
		}
	}
	return len(v.Node.In) > 0
}
