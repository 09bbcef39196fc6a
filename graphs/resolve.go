package graphs

// Resolve is Infer that also settles what exporters leave open though it depends on no input: integers in front of pads and shapes are
// computed, and an If of known condition becomes its branch. Floats are left alone.
func Resolve(g *Graph) (*Graph, error) {
	return rebuild(g, ruleSet{"": {foldIntegers}, "If": {KnownBranch}})
}

func foldIntegers(b *Builder, n *Node) []*Value {
	for _, v := range n.Out {
		if !v.Type.DType.IsInt() {
			return nil
		}
	}
	return foldConstants(b, n)
}

// KnownBranch puts the branch of a constant condition in place of an If; nil where the condition is open.
func KnownBranch(b *Builder, n *Node) []*Value {
	yes, ok := n.In[0].ConstBool()
	if !ok {
		return nil
	}
	body := n.Body("else_branch")
	if yes {
		body = n.Body("then_branch")
	}
	return b.Splice(body, nil)
}

// ConstBool returns the value of a constant bool.
func (v *Value) ConstBool() (value, ok bool) {
	for v.Kind == Computed && v.Node.Op == "Identity" {
		v = v.Node.In[0]
	}
	list, ok := v.ConstInts()
	if !ok || len(list) != 1 {
		return false, false
	}
	return list[0] != 0, true
}
