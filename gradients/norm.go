package gradients

import (
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	addRules(map[string]Rule{"LayerNormalization": standardize})
	expansions["LayerNormalization"] = layerNorm
	expansions["BatchNormalization"] = batchNorm
	rewrites["InstanceNormalization"] = func(b *graphs.Builder, n *graphs.Node) *Value {
		c := n.In[1].Shape()
		if c == nil || !c.IsStatic() {
			return nil
		}
		return groupNorm(b, n, c[0].Size)
	}
	rewrites["GroupNormalization"] = func(b *graphs.Builder, n *graphs.Node) *Value {
		return groupNorm(b, n, n.Int("num_groups", 0))
	}
	rewrites["RMSNormalization"] = rmsNorm
	rewrites["MeanVarianceNormalization"] = meanVarianceNorm
	rewrites["LpNormalization"] = lpNorm
	rewrites["LRN"] = localResponseNorm
	const shape = "the rank of its operand and the number of its channels must be known; give them in the file"
	for _, op := range []string{"LayerNormalization", "BatchNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization", "LRN"} {
		refusals[op] = shape
	}
	refusals["LpNormalization"] = "p must be 1 or 2"
}

// standardized is z = (x−m)·r over the axes from axis on, with r = 1/√(var+ε), as a LayerNormalization with unit scale that also gives m and r.
// All normalizations of a row are built on it: it is one kernel, and its derivative needs nothing but z and r.
func standardized(b *graphs.Builder, x *Value, axis int, epsilon float32) (z, mean, inverse *Value) {
	a := graphs.Attrs{"axis": int64(axis), "epsilon": epsilon}
	outs := b.Ops("LayerNormalization", 3, a, x, onesFrom(b, x, axis))
	if len(outs) < 3 {
		return outs[0], nil, nil
	}
	return outs[0], outs[1], outs[2]
}

// onesFrom returns ones of the extents of x from axis on.
func onesFrom(b *graphs.Builder, x *Value, axis int) *Value {
	s := x.Shape()[axis:]
	if !s.IsStatic() {
		return b.Op("Expand", nil, b.FloatLike(x, 1), b.Op("Shape", graphs.Attrs{"start": int64(axis)}, x))
	}
	t, err := graphs.FromFloat64s(x.Type.DType, slices.Repeat([]float64{1}, int(s.Size().Size)), s.Ints()...)
	if err != nil {
		b.Fail(err)
	}
	return b.Const(t)
}

func isOnes(v *Value) bool {
	if v.Kind == graphs.Computed && v.Node != nil && v.Node.Op == "Expand" {
		return isOnes(v.Node.In[0])
	}
	return v.IsConst() && !slices.ContainsFunc(v.Tensor.Float64s(), func(x float64) bool { return x != 1 })
}

// layerNorm: y = z·γ + β.
func layerNorm(b *graphs.Builder, n *graphs.Node) []*Value {
	if len(n.Out) == 3 && len(n.In) == 2 && isOnes(n.In[1]) {
		return nil
	}
	x := n.In[0]
	a, err := graphs.Axis(n.Int("axis", -1), x.Rank())
	if err != nil {
		return nil
	}
	z, mean, inverse := standardized(b, x, a, n.Float("epsilon", 1e-5))
	y := b.Op("Mul", nil, z, n.In[1])
	if n.Input(2) != nil {
		y = b.Op("Add", nil, y, n.In[2])
	}
	return []*Value{y, mean, inverse}[:len(n.Out)]
}

// standardize: with mean of a row written ⟨·⟩, n its length, and cotangents ḡ of z, m̄ of the mean, r̄ of the inverse deviation r,
//
//	dx = r·(ḡ − ⟨ḡ⟩ − z·(⟨ḡz⟩ + r̄·r/n)) + m̄/n.
func standardize(c *Context, n *graphs.Node, g []*Value) []*Value {
	out := make([]*Value, len(n.In))
	if len(n.Out) != 3 || len(n.In) != 2 || !isOnes(n.In[1]) {
		c.Fail(refusal(n))
		return out
	}
	x, z, r := n.In[0], n.Out[0], n.Out[2]
	a, err := graphs.Axis(n.Int("axis", -1), x.Rank())
	if err != nil {
		c.Fail(err)
		return out
	}
	axes := allAxes(x)[a:]
	inverse := c.Op("Reciprocal", nil, c.count(x, axes))
	var q, t *Value
	if g[0] != nil {
		q = c.reduceMean(c.mul(g[0], z), axes)
	}
	if g[2] != nil {
		s := c.mul(c.mul(g[2], r), inverse)
		if q == nil {
			q = s
		} else {
			q = c.add(q, s)
		}
	}
	switch {
	case g[0] != nil:
		t = c.mul(r, c.sub(g[0], c.add(c.reduceMean(g[0], axes), c.mul(z, q))))
	case q != nil:
		t = c.neg(c.mul(r, c.mul(z, q)))
	}
	if g[1] != nil {
		m := c.mul(g[1], inverse)
		if t != nil {
			m = c.add(t, m)
		}
		t = m
	}
	out[0] = t
	return out
}

func (c *Context) reduceMean(t *Value, axes []int) *Value {
	list := make([]int64, len(axes))
	for i, a := range axes {
		list[i] = int64(a)
	}
	return c.Op("ReduceMean", nil, t, c.Ints(list...))
}

// groupNorm standardizes rows [N, groups, …], then scales and shifts per channel.
func groupNorm(b *graphs.Builder, n *graphs.Node, groups int64) *Value {
	x := n.In[0]
	if x.Rank() < 3 || groups < 1 {
		return nil
	}
	rows := grouped(b, x, groups)
	z, _, _ := standardized(b, rows, 2, n.Float("epsilon", 1e-5))
	z = likeOf(b, z, x)
	return b.Op("Add", nil, b.Op("Mul", nil, z, perChannel(b, n.In[1], x)), perChannel(b, n.In[2], x))
}

// grouped views x [N, C, …] as [N, groups, elements].
func grouped(b *graphs.Builder, x *Value, groups int64) *Value {
	s := x.Shape()
	if rest := s[1:].Size(); rest.IsStatic() && groups > 0 {
		return b.Op("Reshape", nil, x, b.Ints(-1, groups, rest.Size/groups))
	}
	all := b.Op("ReduceProd", nil, b.Op("Shape", graphs.Attrs{"start": int64(1)}, x), b.Ints(0))
	parts := []*Value{b.Op("Shape", graphs.Attrs{"end": int64(1)}, x), b.Ints(groups), b.Op("Div", nil, all, b.Ints(groups))}
	return b.Op("Reshape", graphs.Attrs{"allowzero": int64(1)}, x, b.Op("Concat", graphs.Attrs{"axis": int64(0)}, parts...))
}

// likeOf gives t, of as many elements as x, the shape of x.
func likeOf(b *graphs.Builder, t, x *Value) *Value {
	return b.Op("Reshape", graphs.Attrs{"allowzero": int64(1)}, t, b.Op("Shape", nil, x))
}

// perChannel views a vector [C] so that it broadcasts into x [N, C, …].
func perChannel(b *graphs.Builder, v, x *Value) *Value {
	axes := make([]int64, 0, x.Rank())
	for i := 1; i < x.Rank()-1; i++ {
		axes = append(axes, int64(i))
	}
	if len(axes) == 0 {
		return v
	}
	return b.Op("Unsqueeze", nil, v, b.Ints(axes...))
}

// batchNorm: y = x·a + (β − μa) with a = γ/√(σ²+ε). After a convolution the factor goes into its weight, which is smaller than any image.
// With training_mode the moments are those of the batch.
func batchNorm(b *graphs.Builder, n *graphs.Node) []*Value {
	x, gamma, beta, mean, variance := n.In[0], n.In[1], n.In[2], n.In[3], n.In[4]
	if x.Rank() < 2 {
		return nil
	}
	outs := make([]*Value, len(n.Out))
	if n.Int("training_mode", 0) != 0 {
		m, v := batchMoments(b, x)
		momentum := float64(n.Float("momentum", 0.9))
		running := func(old, now *Value) *Value {
			return b.Op("Add", nil, b.Op("Mul", nil, old, b.FloatLike(old, momentum)), b.Op("Mul", nil, now, b.FloatLike(now, 1-momentum)))
		}
		for i, o := range []*Value{running(mean, m), running(variance, v)} {
			if i+1 < len(outs) {
				outs[i+1] = o
			}
		}
		mean, variance = m, v
	}
	std := b.Op("Sqrt", nil, b.Op("Add", nil, variance, b.FloatLike(variance, float64(n.Float("epsilon", 1e-5)))))
	a := b.Op("Div", nil, gamma, std)
	shift := b.Op("Sub", nil, beta, b.Op("Mul", nil, mean, a))
	if y := foldScale(b, x, a, shift); y != nil && len(n.Out) == 1 && n.Int("training_mode", 0) == 0 {
		return only(y)
	}
	outs[0] = b.Op("Add", nil, b.Op("Mul", nil, x, perChannel(b, a, x)), perChannel(b, shift, x))
	return outs
}

func batchMoments(b *graphs.Builder, x *Value) (mean, variance *Value) {
	axes := []int64{0}
	for i := 2; i < x.Rank(); i++ {
		axes = append(axes, int64(i))
	}
	m := b.Op("ReduceMean", nil, x, b.Ints(axes...))
	d := b.Op("Sub", nil, x, m)
	v := b.Op("ReduceMean", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, d, d), b.Ints(axes...))
	return b.Op("Squeeze", nil, m, b.Ints(axes...)), v
}

// foldScale returns Conv(…)·a + shift as one Conv, nil where x is none.
func foldScale(b *graphs.Builder, x, a, shift *Value) *Value {
	if x.Kind != graphs.Computed || x.Node.Op != "Conv" || x.Node.Domain != "" {
		return nil
	}
	w := x.Node.In[1]
	axes := make([]int64, 0, w.Rank())
	for i := 1; i < w.Rank(); i++ {
		axes = append(axes, int64(i))
	}
	scaled := b.Op("Mul", nil, w, b.Op("Unsqueeze", nil, a, b.Ints(axes...)))
	if bias := x.Node.Input(2); bias != nil {
		shift = b.Op("Add", nil, b.Op("Mul", nil, bias, a), shift)
	}
	return b.Op("Conv", x.Node.Attrs, x.Node.In[0], scaled, shift)
}

// rmsNorm: x·γ/√(⟨x²⟩+ε).
func rmsNorm(b *graphs.Builder, n *graphs.Node) *Value {
	x := n.In[0]
	a, err := graphs.Axis(n.Int("axis", -1), x.Rank())
	if err != nil {
		return nil
	}
	axes := make([]int64, 0, x.Rank())
	for i := a; i < x.Rank(); i++ {
		axes = append(axes, int64(i))
	}
	square := b.Op("ReduceMean", nil, b.Op("Mul", nil, x, x), b.Ints(axes...))
	r := b.Op("Reciprocal", nil, b.Op("Sqrt", nil, b.Op("Add", nil, square, b.FloatLike(x, float64(n.Float("epsilon", 1e-5))))))
	return b.Op("Mul", nil, b.Op("Mul", nil, x, r), n.In[1])
}

// meanVarianceNorm: (x−m)/(s+10⁻⁹) with the deviation s, as the specification has it.
func meanVarianceNorm(b *graphs.Builder, n *graphs.Node) *Value {
	x := n.In[0]
	axes := n.IntList("axes")
	if axes == nil {
		axes = []int64{0, 2, 3}
	}
	d := b.Op("Sub", nil, x, b.Op("ReduceMean", nil, x, b.Ints(axes...)))
	std := b.Op("Sqrt", nil, b.Op("ReduceMean", nil, b.Op("Mul", nil, d, d), b.Ints(axes...)))
	return b.Op("Div", nil, d, b.Op("Add", nil, std, b.FloatLike(x, 1e-9)))
}

// lpNorm: x/‖x‖, 0 at 0.
func lpNorm(b *graphs.Builder, n *graphs.Node) *Value {
	x := n.In[0]
	reduce := map[int64]string{1: "ReduceL1", 2: "ReduceL2"}[n.Int("p", 2)]
	if reduce == "" {
		return nil
	}
	norm := b.Op(reduce, nil, x, b.Ints(n.Int("axis", -1)))
	zero := b.Op("Equal", nil, norm, b.FloatLike(x, 0))
	return b.Op("Div", nil, x, b.Op("Where", nil, zero, b.FloatLike(x, 1), norm))
}

// localResponseNorm: x·D^(−β), D = k + α/size·Σ x² over a window of channels, the sum as a product with a band matrix [C, C].
func localResponseNorm(b *graphs.Builder, n *graphs.Node) *Value {
	x := n.In[0]
	if x.Rank() < 3 || !x.Shape()[1].IsStatic() {
		return nil
	}
	channels, size := x.Shape()[1].Size, n.Int("size", 1)
	band := make([]float64, channels*channels)
	for i := range channels {
		for j := max(0, i-(size-1)/2); j <= min(channels-1, i+size/2); j++ {
			band[i*channels+j] = 1
		}
	}
	t, err := graphs.FromFloat64s(x.Type.DType, band, channels, channels)
	if err != nil {
		return b.Failf("%s: %w", n.Label(), err)
	}
	sum := likeOf(b, b.Op("MatMul", nil, b.Const(t), grouped(b, b.Op("Mul", nil, x, x), channels)), x)
	d := b.Op("Mul", nil, sum, b.FloatLike(x, float64(n.Float("alpha", 1e-4))/float64(size)))
	d = b.Op("Add", nil, d, b.FloatLike(x, float64(n.Float("bias", 1))))
	beta := float64(n.Float("beta", 0.75))
	if beta == 0.75 { // two square roots cost a tenth of a power
		s := b.Op("Sqrt", nil, d)
		return b.Op("Div", nil, x, b.Op("Mul", nil, s, b.Op("Sqrt", nil, s)))
	}
	return b.Op("Mul", nil, x, b.Op("Pow", nil, d, b.FloatLike(x, -beta)))
}
