package graphs

import "slices"

// LowerNorms replaces every LayerNormalization by what ONNX Runtime's CPU provider computes faster: its kernel takes 5 ns an element (version 1.27),
// against 0.4 of InstanceNormalization, and against 0.6 to 1 of the arithmetic itself, which is needed where the deviation is used.
func LowerNorms(g *Graph) (*Graph, error) {
	if !slices.ContainsFunc(g.Nodes, func(n *Node) bool { return n.FullOp() == "LayerNormalization" }) {
		return g, nil
	}
	uses := g.Uses()
	b := NewSimplifyingBuilder(g.Name)
	b.inputs = g.Inputs
	m := map[*Value]*Value{}
	for _, n := range g.Nodes {
		c := cloneNode(n, m)
		out := []*Value(nil)
		if n.FullOp() == "LayerNormalization" {
			moments := len(n.Out) > 1 && uses[n.Out[1]] > 0 || len(n.Out) > 2 && uses[n.Out[2]] > 0
			out = lowerLayerNorm(b, c, moments)
		}
		if out == nil {
			out = b.Add(c)
		}
		for i, v := range out {
			m[n.Out[i]] = v
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

// lowerLayerNorm gives z·γ + β, the mean and 1/√(var+ε), with z = (x − mean)/√(var+ε); nil where the extents of the rows are not known.
func lowerLayerNorm(b *Builder, n *Node, moments bool) []*Value {
	x := n.In[0]
	a, err := Axis(n.Int("axis", -1), x.Rank())
	if err != nil || !x.Shape()[a:].IsStatic() || n.Input(1) == nil || x.Type.DType != Float32 {
		return nil
	}
	y, mean, inverse := (*Value)(nil), (*Value)(nil), (*Value)(nil)
	if moments {
		y, mean, inverse = rowMoments(b, x, a, n.Float("epsilon", 1e-5))
	} else {
		y = rowsNormalized(b, x, x.Shape()[a:].Size().Size, n.Float("epsilon", 1e-5))
	}
	y = b.Op("Mul", nil, y, n.In[1])
	if n.Input(2) != nil {
		y = b.Op("Add", nil, y, n.In[2])
	}
	if mean == nil {
		mean, inverse = y, y // nobody uses them
	}
	return []*Value{y, mean, inverse}[:len(n.Out)]
}

// rowsNormalized views x as rows of one channel each.
func rowsNormalized(b *Builder, x *Value, length int64, epsilon float32) *Value {
	one, zero := b.Const(NewTensor([]float32{1}, 1)), b.Const(NewTensor([]float32{0}, 1))
	rows := b.Op("Reshape", nil, x, b.Ints(-1, 1, length))
	y := b.Op("InstanceNormalization", Attrs{"epsilon": epsilon}, rows, one, zero)
	return b.Op("Reshape", Attrs{"allowzero": int64(1)}, y, b.Op("Shape", nil, x))
}

func rowMoments(b *Builder, x *Value, axis int, epsilon float32) (z, mean, inverse *Value) {
	axes := make([]int64, 0, x.Rank())
	for i := axis; i < x.Rank(); i++ {
		axes = append(axes, int64(i))
	}
	mean = b.Op("ReduceMean", nil, x, b.Ints(axes...))
	d := b.Op("Sub", nil, x, mean)
	variance := b.Op("ReduceMean", nil, b.Op("Mul", nil, d, d), b.Ints(axes...))
	inverse = b.Op("Reciprocal", nil, b.Op("Sqrt", nil, b.Op("Add", nil, variance, b.FloatLike(x, float64(epsilon)))))
	return b.Op("Mul", nil, d, inverse), mean, inverse
}
