package gradients

import (
	"maps"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	maps.Copy(forwardRules, map[string]forwardRule{
		"Add": forwardSum(1), "Sub": forwardSum(-1), "Sum": forwardSum(1),
		"Mul": forwardMul, "Div": forwardDiv, "Where": forwardWhere,
		"MatMul": forwardMatMul, "Gemm": forwardGemm,
		"ReduceSum": forwardReduce, "ReduceMean": forwardReduce,
		"ReduceLogSumExp": forwardLogSumExp, "Softmax": forwardSoftmax, "LogSoftmax": forwardSoftmax,
		"Reshape": forwardView, "Flatten": forwardView, "Squeeze": forwardView, "Unsqueeze": forwardView,
		"Transpose": forwardTranspose, "Concat": forwardConcat, "Slice": forwardSlice, "Split": forwardSplit, "Gather": forwardGather,
		"Expand": func(f *forward, n *graphs.Node, in []jet) []jet {
			return []jet{{j: f.align(in[0].j, in[0].v, n.Out[0].Rank()), l: f.alignL(in[0].l, n.Out[0].Rank())}}
		},
		"Conv": forwardPerRow, "ConvTranspose": forwardPerRow, "AveragePool": forwardPerRow, "GlobalAveragePool": forwardPerRow, "Resize": forwardPerRow,
	})
	for _, op := range elementwiseOps {
		forwardRules[op] = forwardUnary
	}
}

// elementwiseOps are functions of each element of their first operand.
var elementwiseOps = []string{"Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Tanh", "Sigmoid", "Relu", "Erf", "Swish", "Gelu", "Softplus", "Softsign",
	"Abs", "Sin", "Cos", "Tan", "Sinh", "Cosh", "Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh", "LeakyRelu", "Elu", "Selu", "Identity", "Cast", "Clip", "Pow", "Dropout"}

// align gives J, of a value v, the rank of a result: axes of extent 1 behind the direction axis.
func (f *forward) align(j, v *Value, rank int) *Value {
	if j == nil || v.Rank() == rank {
		return j
	}
	axes := make([]int, rank-v.Rank())
	for i := range axes {
		axes[i] = i + 1
	}
	return f.unsqueeze(j, axes...)
}

func (f *forward) alignL(l *Value, rank int) *Value {
	if l == nil || l.Rank() == rank {
		return l
	}
	axes := make([]int, rank-l.Rank())
	for i := range axes {
		axes[i] = i
	}
	return f.unsqueeze(l, axes...)
}

// plus adds what is not nil.
func (f *forward) plus(a, b *Value) *Value {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return f.add(a, b)
}

// times multiplies a derivative that may be nil.
func (f *forward) times(d, by *Value) *Value {
	if d == nil {
		return nil
	}
	return f.mul(d, by)
}

// overDirections is Σ_d a·b.
func (f *forward) overDirections(a, b *Value) *Value {
	return f.reduceSum(f.mul(a, b), []int{0}, false)
}

func forwardSum(sign float64) forwardRule {
	return func(f *forward, n *graphs.Node, in []jet) []jet {
		var r jet
		rank := n.Out[0].Rank()
		for i, t := range in {
			j, l := f.align(t.j, t.v, rank), f.alignL(t.l, rank)
			if i == 1 && sign < 0 {
				if j != nil {
					j = f.neg(j)
				}
				if l != nil {
					l = f.neg(l)
				}
			}
			r.j, r.l = f.plus(r.j, j), f.plus(r.l, l)
		}
		return []jet{r}
	}
}

// forwardMul: J = aJ_b + bJ_a, L = aL_b + bL_a + 2Σ J_a J_b.
func forwardMul(f *forward, n *graphs.Node, in []jet) []jet {
	a, b, rank := in[0], in[1], n.Out[0].Rank()
	ja, jb := f.align(a.j, a.v, rank), f.align(b.j, b.v, rank)
	r := jet{
		j: f.plus(f.times(ja, b.v), f.times(jb, a.v)),
		l: f.plus(f.times(f.alignL(a.l, rank), b.v), f.times(f.alignL(b.l, rank), a.v)),
	}
	if ja != nil && jb != nil && !f.first {
		r.l = f.plus(r.l, f.scale(f.overDirections(ja, jb), 2))
	}
	return []jet{r}
}

// forwardDiv: a/b is a·(1/b).
func forwardDiv(f *forward, n *graphs.Node, in []jet) []jet {
	if in[1].j == nil {
		inverse := f.Op("Reciprocal", nil, in[1].v)
		rank := n.Out[0].Rank()
		return []jet{{j: f.times(f.align(in[0].j, in[0].v, rank), inverse), l: f.times(f.alignL(in[0].l, rank), inverse)}}
	}
	inv := f.Op("Reciprocal", nil, in[1].v)
	u := f.unary(inv.Node, in[1])
	u.v = inv
	return forwardMul(f, n, []jet{in[0], u})
}

// forwardUnary takes the slope and the curvature from the op's VJP, applied twice.
func forwardUnary(f *forward, n *graphs.Node, in []jet) []jet {
	if slices.ContainsFunc(in[1:], func(t jet) bool { return t.j != nil }) {
		return nil
	}
	return []jet{f.unary(n, in[0])}
}

// unary differentiates the node twice in a graph of its own, so that the slope and the curvature are functions of its operand alone.
func (f *forward) unary(n *graphs.Node, x jet) jet {
	b := graphs.NewSimplifyingBuilder(n.Op)
	u := b.Input("u", x.v.Type.DType, x.v.Shape())
	y := b.Op(n.Op, n.Attrs, append([]*Value{u}, n.In[1:]...)...)
	unit, _ := graphs.FromFloat64s(x.v.Type.DType, []float64{1}, slices.Repeat([]int64{1}, x.v.Rank())...)
	curve := (*Value)(nil)
	slope := f.derivative(b, y, u, unit)
	if slope == nil {
		return jet{}
	}
	outs := []graphs.Output{{Name: "slope", Value: slope}}
	if !f.first {
		curve = f.derivative(b, slope, u, unit)
	}
	if curve != nil {
		outs = append(outs, graphs.Output{Name: "curvature", Value: curve})
	}
	g, err := b.Graph(outs...)
	if err != nil {
		f.Fail(err)
		return jet{}
	}
	d := f.Splice(g, map[*Value]*Value{u: x.v})
	r := jet{j: f.times(x.j, d[0]), l: f.times(x.l, d[0])}
	if curve != nil && x.j != nil {
		r.l = f.plus(r.l, f.mul(d[1], f.overDirections(x.j, x.j)))
	}
	return r
}

func (f *forward) derivative(b *graphs.Builder, y, u *Value, unit *graphs.Tensor) *Value {
	if y == u {
		return b.Const(unit)
	}
	d, err := Pull(b, b.Nodes(), []Seed{{y, b.Const(unit)}}, []*Value{u})
	if err != nil {
		f.Fail(err)
		return nil
	}
	return d[0]
}

func forwardWhere(f *forward, n *graphs.Node, in []jet) []jet {
	c, rank := in[0].v, n.Out[0].Rank()
	zero := f.FloatLike(n.Out[0], 0)
	pick := func(a, b *Value) *Value {
		if a == nil && b == nil {
			return nil
		}
		if a == nil {
			a = zero
		}
		if b == nil {
			b = zero
		}
		return f.Op("Where", nil, c, a, b)
	}
	return []jet{{
		j: pick(f.align(in[1].j, in[1].v, rank), f.align(in[2].j, in[2].v, rank)),
		l: pick(f.alignL(in[1].l, rank), f.alignL(in[2].l, rank)),
	}}
}

// forwardMatMul: the bilinear rule; with one active operand it is linear, and the direction axis is one more axis of the batch.
func forwardMatMul(f *forward, n *graphs.Node, in []jet) []jet {
	a, b := in[0], in[1]
	if a.v.Rank() < 2 || b.v.Rank() < 2 {
		return nil
	}
	rank := n.Out[0].Rank()
	left := func(x *Value) *Value {
		if x == nil {
			return nil
		}
		return f.product(x, b.v)
	}
	right := func(y *Value) *Value {
		if y == nil {
			return nil
		}
		return f.product(a.v, y)
	}
	if b.j == nil && a.v.Rank() == 2 && b.v.Rank() == 2 && f.isSeed(a.j, b.v) {
		return []jet{{j: f.seeded(b.v), l: nil}}
	}
	ja, jb := f.contracted(a, n, -1), f.contracted(b, n, -2)
	ja, jb = f.align(ja, a.v, rank), f.align(jb, b.v, rank)
	r := jet{j: f.plus(left(ja), right(jb)), l: f.plus(left(f.contractedL(a, -1)), right(f.contractedL(b, -2)))}
	if ja != nil && jb != nil && !f.first {
		r.l = f.plus(r.l, f.scale(f.reduceSum(f.product(ja, jb), []int{0}, false), 2))
	}
	return []jet{r}
}

// contracted makes the axis of J real along which a product contracts.
func (f *forward) contracted(t jet, n *graphs.Node, axis int) *Value {
	if t.j == nil {
		return nil
	}
	k := t.j.Rank() + axis
	if t.j.Shape()[k].Same(t.v.Shape()[k-1]) {
		return t.j
	}
	return f.realJ(t.j, t.v)
}

func (f *forward) contractedL(t jet, axis int) *Value {
	if t.l == nil {
		return nil
	}
	return f.realAlong(t.l, t.v, t.v.Rank()+axis)
}

// isSeed reports whether j is the unit vectors, and w as long.
func (f *forward) isSeed(j, w *Value) bool {
	return f.seed != nil && j == f.seed && w.Shape()[0].Same(f.dim)
}

// seeded is the product of the unit vectors with a matrix [D, H]: its rows, as [D, 1, H].
func (f *forward) seeded(w *Value) *Value {
	return f.unsqueeze(w, 1)
}

// forwardGemm: J and L go through the product alone, without the bias.
func forwardGemm(f *forward, n *graphs.Node, in []jet) []jet {
	a, b := in[0], in[1]
	if n.Int("transA", 0) != 0 || b.j != nil || len(in) > 2 && in[2].j != nil || a.j == nil {
		return nil
	}
	w := b.v
	if n.Int("transB", 0) != 0 {
		w = f.swapLast(w)
	}
	if alpha := n.Float("alpha", 1); alpha != 1 {
		w = f.scale(w, float64(alpha))
	}
	if f.isSeed(a.j, w) {
		return []jet{{j: f.seeded(w)}}
	}
	r := jet{j: f.product(f.contracted(a, n, -1), w)}
	if a.l != nil {
		r.l = f.product(f.contractedL(a, -1), w)
	}
	return []jet{r}
}

// forwardReduce sums what has the real extent, and multiplies by the extent what is under-broadcast.
func forwardReduce(f *forward, n *graphs.Node, in []jet) []jet {
	axes, ok, err := graphs.ReduceAxes(n)
	if err != nil || !ok {
		return nil
	}
	x := in[0]
	keep := n.Int("keepdims", 1) != 0
	reduce := func(t *Value, shift int) *Value {
		if t == nil {
			return nil
		}
		var repeat, all []int
		for _, a := range axes {
			if t.Shape()[a+shift].Is(1) && !x.v.Shape()[a].Is(1) {
				repeat = append(repeat, a)
			}
			all = append(all, a+shift)
		}
		if len(repeat) > 0 {
			t = f.mul(t, f.count(x.v, repeat))
		}
		t = f.reduceSum(t, all, keep)
		if n.Op == "ReduceMean" {
			t = f.mul(t, f.Op("Reciprocal", nil, f.count(x.v, axes)))
		}
		return t
	}
	return []jet{{j: reduce(x.j, 1), l: reduce(x.l, 0)}}
}

// forwardLogSumExp with p = softmax: J = Σ pJ, L = Σ pL + Σ_d[Σ pJ² − (Σ pJ)²].
func forwardLogSumExp(f *forward, n *graphs.Node, in []jet) []jet {
	axes, ok, err := graphs.ReduceAxes(n)
	if err != nil || !ok {
		return nil
	}
	y := n.Out[0]
	keep := n.Int("keepdims", 1) != 0
	if !keep {
		y = f.unsqueeze(y, axes...)
	}
	j, l := f.logSumExp(in[0], f.Op("Exp", nil, f.sub(in[0].v, y)), axes)
	if !keep {
		j, l = f.Op("Squeeze", nil, j, f.Ints(shifted(axes, 1)...)), f.Op("Squeeze", nil, l, f.Ints(shifted(axes, 0)...))
	}
	return []jet{{j: j, l: l}}
}

func shifted(axes []int, by int) []int64 {
	s := make([]int64, len(axes))
	for i, a := range axes {
		s[i] = int64(a + by)
	}
	return s
}

// logSumExp returns J and L of the log-sum-exp with the reduced axes kept.
func (f *forward) logSumExp(x jet, p *Value, axes []int) (j, l *Value) {
	behind := make([]int, len(axes))
	for i, a := range axes {
		behind[i] = a + 1
	}
	pj := f.mul(p, x.j)
	j = f.reduceSum(pj, behind, true)
	spread := f.sub(f.reduceSum(f.mul(pj, x.j), behind, true), f.mul(j, j))
	l = f.reduceSum(spread, []int{0}, false)
	if x.l != nil {
		l = f.add(l, f.reduceSum(f.mul(p, x.l), axes, true))
	}
	return j, l
}

// forwardSoftmax: u = x − logsumexp x is LogSoftmax, and exp u is Softmax.
func forwardSoftmax(f *forward, n *graphs.Node, in []jet) []jet {
	axes := f.softmaxAxis(n)
	p := n.Out[0]
	if n.Op == "LogSoftmax" {
		p = f.Op("Exp", nil, p)
	}
	j, l := f.logSumExp(in[0], p, axes)
	u := jet{j: f.sub(in[0].j, j), l: f.neg(l)}
	if in[0].l != nil {
		u.l = f.sub(in[0].l, l)
	}
	if n.Op == "LogSoftmax" {
		return []jet{u}
	}
	return []jet{{j: f.mul(p, u.j), l: f.mul(p, f.add(u.l, f.overDirections(u.j, u.j)))}}
}

// forwardView reshapes J behind its direction axis.
func forwardView(f *forward, n *graphs.Node, in []jet) []jet {
	x, y := in[0], n.Out[0]
	r := jet{}
	if n.Op == "Squeeze" || n.Op == "Unsqueeze" {
		move := func(t *Value, shift int) *Value {
			if t == nil {
				return nil
			}
			long := x.v
			if n.Op == "Unsqueeze" {
				long = y
			}
			return f.Op(n.Op, nil, t, f.Ints(shifted(unitAxes(n, long), shift)...))
		}
		return []jet{{j: move(x.j, 1), l: move(x.l, 0)}}
	}
	r.j = f.reshape(f.realJ(x.j, x.v), f.shapeJ(y))
	if x.l != nil {
		r.l = f.reshapeLike(f.real(x.l, x.v), y)
	}
	return []jet{r}
}

func forwardTranspose(f *forward, n *graphs.Node, in []jet) []jet {
	perm := graphs.Perm(n)
	r := jet{j: f.transpose(in[0].j, append([]int64{0}, shifted(perm, 1)...)...)}
	if in[0].l != nil {
		r.l = f.transpose(in[0].l, shifted(perm, 0)...)
	}
	return []jet{r}
}

func forwardConcat(f *forward, n *graphs.Node, in []jet) []jet {
	a, err := graphs.Axis(n.Int("axis", 0), n.Out[0].Rank())
	if err != nil {
		return nil
	}
	js, ls := make([]*Value, len(in)), make([]*Value, len(in))
	anyL := false
	for i, t := range in {
		if t.j == nil {
			js[i] = f.Op("Expand", nil, f.zerosLike(t.v), f.shapeJ(t.v))
		} else {
			js[i] = f.realJ(t.j, t.v)
		}
		if t.l == nil {
			ls[i] = f.zerosLike(t.v)
			continue
		}
		ls[i], anyL = f.real(t.l, t.v), true
	}
	r := jet{j: f.Op("Concat", graphs.Attrs{"axis": int64(a + 1)}, js...)}
	if anyL {
		r.l = f.Op("Concat", graphs.Attrs{"axis": int64(a)}, ls...)
	}
	return []jet{r}
}

// sliceAxes returns the axes of a Slice, whose starts and ends may be known at run time only.
func sliceAxes(n *graphs.Node) (axes []int, ok bool) {
	list, ok := n.Input(3).ConstInts()
	if n.Input(3) == nil {
		if s := n.In[1].Shape(); len(s) == 1 && s[0].IsStatic() {
			for i := range int(s[0].Size) {
				axes = append(axes, i)
			}
		}
		return axes, axes != nil
	}
	for _, a := range list {
		i, err := graphs.Axis(a, n.In[0].Rank())
		if err != nil {
			return nil, false
		}
		axes = append(axes, i)
	}
	return axes, ok
}

func forwardSlice(f *forward, n *graphs.Node, in []jet) []jet {
	axes, ok := sliceAxes(n)
	if !ok {
		return nil
	}
	cut := func(t *Value, shift int) *Value {
		return f.Op("Slice", nil, t, n.In[1], n.In[2], f.Ints(shifted(axes, shift)...), n.Input(4))
	}
	r := jet{j: cut(f.realJ(in[0].j, in[0].v), 1)}
	if in[0].l != nil {
		r.l = cut(f.real(in[0].l, in[0].v), 0)
	}
	return []jet{r}
}

func forwardSplit(f *forward, n *graphs.Node, in []jet) []jet {
	list, axis, ok, err := graphs.SplitSizes(n)
	if err != nil || !ok && n.Input(1) == nil {
		return nil
	}
	sizes := n.Input(1)
	if sizes == nil {
		sizes = f.Ints(list...)
	}
	parts := func(t *Value, axis int) []*Value {
		return f.Ops("Split", len(n.Out), graphs.Attrs{"axis": int64(axis)}, t, sizes)
	}
	out := make([]jet, len(n.Out))
	for i, j := range parts(f.realJ(in[0].j, in[0].v), axis+1) {
		out[i].j = j
	}
	if in[0].l != nil {
		for i, l := range parts(f.real(in[0].l, in[0].v), axis) {
			out[i].l = l
		}
	}
	return out
}

func forwardGather(f *forward, n *graphs.Node, in []jet) []jet {
	a, err := graphs.Axis(n.Int("axis", 0), in[0].v.Rank())
	if err != nil || in[0].j == nil {
		return nil
	}
	r := jet{j: f.Op("Gather", graphs.Attrs{"axis": int64(a + 1)}, f.realJ(in[0].j, in[0].v), n.In[1])}
	if in[0].l != nil {
		r.l = f.Op("Gather", graphs.Attrs{"axis": int64(a)}, f.real(in[0].l, in[0].v), n.In[1])
	}
	return []jet{r}
}

// forwardPerRow: an op that is linear in its first operand, row by row, takes directions as more rows. Biases do not enter.
func forwardPerRow(f *forward, n *graphs.Node, in []jet) []jet {
	if slices.ContainsFunc(in[1:], func(t jet) bool { return t.j != nil }) {
		return nil
	}
	x, y := in[0], n.Out[0]
	rest := n.In[1:]
	if (n.Op == "Conv" || n.Op == "ConvTranspose") && len(rest) == 2 {
		rest = rest[:1]
	}
	attrs := n.Attrs
	if n.Op == "Resize" && n.Input(3) != nil && attrs["axes"] == nil { // sizes name the rows too
		behind := make([]int64, x.v.Rank()-1)
		for i := range behind {
			behind[i] = int64(i + 1)
		}
		attrs, rest = maps.Clone(attrs), slices.Clone(rest)
		if attrs == nil {
			attrs = graphs.Attrs{}
		}
		attrs["axes"], rest[2] = behind, f.Op("Slice", nil, rest[2], f.Ints(1), f.Ints(int64(x.v.Rank())))
	}
	apply := func(t *Value) *Value { return f.Op(n.Op, attrs, append([]*Value{t}, rest...)...) }
	j := x.j
	if !j.Shape()[2:].Same(x.v.Shape()[1:]) {
		j = f.realJ(j, x.v)
	}
	item := func(v *Value, front ...*Value) *Value {
		return f.Op("Concat", graphs.Attrs{"axis": int64(0)}, append(front, f.Ints(-1), f.extents(v, 1, v.Rank()))...)
	}
	rows := apply(f.Op("Reshape", nil, j, item(x.v)))
	r := jet{j: f.Op("Reshape", nil, rows, item(y, f.extent))}
	if x.l != nil {
		axes := make([]int, x.v.Rank()-1)
		for i := range axes {
			axes[i] = i + 1
		}
		r.l = apply(f.realAlong(x.l, x.v, axes...))
	}
	return []jet{r}
}
