package ebm

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// batch is the symbol of the batch axis of every energy.
var batch = graphs.Symbol("N")

// freeBatch rebuilds g with the batch axis N in place of the extent `fixed` of x. Inputs that are set and share the fixed extent in front follow.
// A size that the exporter wrote into the graph (targets of reshapes, masks, initial states) is freed with it, see freer.
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
	var edit func(*graphs.Node)
	if fixed.IsStatic() {
		f := &freer{b: b, x: by[x], size: fixed.Size, minor: map[*graphs.Value]int64{}}
		edit = f.edit
	}
	outs := b.SpliceWith(g, by, edit)
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

// freer edits the nodes of a graph that was exported for batches of one size, so that they take any. It follows the axis that holds N: an
// extent c·N is the batch digit N between c/minor larger and minor smaller positions, as merging [T,N] or [N,heads] into one axis leaves it.
// Where two readings of a reshape are possible (only for a size of 1) it takes the usual one; CheckRows tells whether that was right.
type freer struct {
	b     *graphs.Builder
	x     *graphs.Value
	size  int64
	minor map[*graphs.Value]int64 // positions to the right of the batch digit within its axis, where a reshape merged
}

var errBatch = errors.New("the batch axis cannot be freed")

// edit is called for each copied node before it is added; its outputs still have the types of the fixed graph.
func (f *freer) edit(n *graphs.Node) {
	if f.b.Err() != nil || n.Domain != "" {
		return
	}
	if rule := freeRules[n.Op]; rule != nil {
		if err := rule(f, n); err != nil {
			f.b.Fail(fmt.Errorf("%s: %w", n.Label(), err))
		}
	}
}

var freeRules map[string]func(*freer, *graphs.Node) error

func init() {
	freeRules = map[string]func(*freer, *graphs.Node) error{
		"Reshape": (*freer).reshape, "Expand": (*freer).expand, "Slice": (*freer).slice, "Squeeze": (*freer).squeeze, "Resize": (*freer).resize,
		"Concat": (*freer).alongAxis, "ScatterElements": (*freer).alongAxis, "GatherElements": (*freer).alongAxis, "GridSample": (*freer).alike,
		"MatMul": func(f *freer, n *graphs.Node) error { return f.broadcast(n, 2) },
		"Gemm":   func(f *freer, n *graphs.Node) error { return f.gemmTerm(n) },
		"Split":  func(f *freer, n *graphs.Node) error { return f.notAlong(n, n.Int("axis", 0)) },
		"Gather": func(f *freer, n *graphs.Node) error { return f.notAlong(n, n.Int("axis", 0)) },
		"LSTM":   (*freer).states, "GRU": (*freer).states, "RNN": (*freer).states,
	}
	for _, op := range strings.Fields("Add Sub Mul Div Pow Max Min Mean Sum Where Equal Greater Less GreaterOrEqual LessOrEqual And Or Xor Mod PRelu") {
		freeRules[op] = func(f *freer, n *graphs.Node) error { return f.broadcast(n, 0) }
	}
	for _, op := range strings.Fields("ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSumExp ReduceSumSquare ReduceLogSum") {
		freeRules[op] = (*freer).reduce
	}
}

// axis finds the one axis of v with the extent c·N.
func (f *freer) axis(v *graphs.Value) (axis int, c int64, ok bool) {
	if v == nil {
		return 0, 0, false
	}
	for i, d := range v.Shape() {
		q := d.Over(batch)
		switch {
		case d.Sym == "" || !strings.Contains(d.Sym, batch.Sym):
		case ok || !q.IsStatic() || q.Times(batch) != d:
			return 0, 0, false
		default:
			axis, c, ok = i, q.Size, true
		}
	}
	return axis, c, ok
}

// minorOf is the number of positions to the right of the batch digit in an axis of extent c·N: as recorded for v or for what it was made of.
func (f *freer) minorOf(v *graphs.Value, c int64) int64 {
	if c == 1 {
		return 1
	}
	if m, ok := f.minor[v]; ok {
		return m
	}
	m := c
	if v.Node != nil {
		for _, in := range v.Node.In {
			if _, ci, ok := f.axis(in); ok && ci == c {
				m = f.minorOf(in, c)
				break
			}
		}
	}
	f.minor[v] = m
	return m
}

// reshape gives a constant target the free extent at the axis that takes the batch digit.
func (f *freer) reshape(n *graphs.Node) error {
	axis, c, ok := f.axis(n.In[0])
	out := n.Out[0].Shape()
	if _, fixed := n.In[1].ConstInts(); !ok || !fixed || !out.IsStatic() || !graphs.Shape(n.In[0].Shape()[axis+1:]).IsStatic() {
		return nil
	}
	minor := f.minorOf(n.In[0], c)
	stride := minor
	for _, d := range n.In[0].Shape()[axis+1:] {
		stride *= d.Size
	}
	j, right := f.digitAxis(out.Ints(), stride, axis)
	if j < 0 {
		return fmt.Errorf("%w: no axis of %v holds it", errBatch, out)
	}
	target := out.Ints()
	c = target[j] / f.size
	target[j] = -1
	n.In[1] = f.b.Ints(target...)
	n.Attrs = nil
	if c > 1 {
		f.minor[n.Out[0]] = right
	}
	return nil
}

// digitAxis finds the axis of a static shape that holds the batch digit, which has the given stride, and the positions to its right there.
func (f *freer) digitAxis(dims []int64, stride int64, near int) (axis int, right int64) {
	type place struct {
		axis  int
		right int64
	}
	var ones, fits []place
	s := int64(1)
	for j := len(dims) - 1; j >= 0; j-- {
		d := dims[j]
		if d > 0 && s <= stride && stride%s == 0 && stride*f.size <= s*d && (s*d)%(stride*f.size) == 0 {
			p := place{j, stride / s}
			fits = append(fits, p)
			if d == f.size {
				ones = append(ones, p)
			}
		}
		s *= d
	}
	distance := func(p place) int { return max(p.axis-near, near-p.axis) }
	closest := func(a, b place) int { return (distance(a)-distance(b))*len(dims) + a.axis - b.axis }
	switch {
	case len(fits) == 0:
		return -1, 0
	case len(ones) > 0: // an axis of the batch size alone
		p := slices.MinFunc(ones, closest)
		return p.axis, p.right
	case len(dims) == 2: // [T·N, features] for a dense layer
		p := slices.MinFunc(fits, func(a, b place) int { return a.axis - b.axis })
		return p.axis, p.right
	}
	// [T, N·heads, features]: the batch is the larger digit of the axis on the right
	p := slices.MaxFunc(fits, func(a, b place) int { return a.axis - b.axis })
	return p.axis, p.right
}

// expand leaves the batch axis of the operand as it is; an operand of the fixed size that a target with N would repeat becomes one row.
func (f *freer) expand(n *graphs.Node) error {
	axis, c, ok := f.axis(n.In[0])
	target, fixed := n.In[1].ConstInts()
	if !ok && !fixed {
		return f.expandFixed(n)
	}
	if !ok || !fixed {
		return nil
	}
	k := axis + len(target) - n.In[0].Rank()
	if k >= 0 && target[k] == c*f.size {
		target = slices.Clone(target)
		target[k] = 1
		n.In[1] = f.b.Ints(target...)
	}
	return nil
}

func (f *freer) expandFixed(n *graphs.Node) error {
	w := n.In[0]
	for k, d := range n.In[1].Ints {
		a := k - len(n.In[1].Ints) + w.Rank()
		if d != batch || a < 0 || f.size == 1 || !w.Shape()[a].Is(f.size) {
			continue
		}
		r, err := f.spread(w, a, 1, 1, false)
		if err != nil {
			return err
		}
		n.In[0] = r
	}
	return nil
}

const endless = int64(math.MaxInt64)

// slice lets a slice of the whole batch be one of any batch.
func (f *freer) slice(n *graphs.Node) error {
	axis, c, ok := f.axis(n.In[0])
	if !ok {
		return nil
	}
	starts, ok1 := n.In[1].ConstInts()
	ends, ok2 := n.In[2].ConstInts()
	if !ok1 || !ok2 {
		return nil
	}
	axes := make([]int64, len(starts))
	for i := range axes {
		axes[i] = int64(i)
	}
	if v := n.Input(3); v != nil {
		axes, _ = v.ConstInts()
	}
	steps, _ := n.Input(4).ConstInts()
	for i, a := range axes {
		if a < 0 {
			a += int64(n.In[0].Rank())
		}
		if a != int64(axis) {
			continue
		}
		if starts[i] > 0 || starts[i] < 0 && starts[i] > -c*f.size || ends[i] < c*f.size || i < len(steps) && steps[i] != 1 {
			return fmt.Errorf("%w: it takes a part of the batch", errBatch)
		}
		starts, ends = slices.Clone(starts), slices.Clone(ends)
		starts[i], ends[i] = 0, endless
		n.In[1], n.In[2] = f.b.Ints(starts...), f.b.Ints(ends...)
	}
	return nil
}

// squeeze keeps the batch axis where a batch of 1 was squeezed with all other axes of extent 1.
func (f *freer) squeeze(n *graphs.Node) error {
	axis, _, ok := f.axis(n.In[0])
	if !ok {
		return nil
	}
	if n.Input(1) != nil {
		return f.notOver(n, 1, axis)
	}
	var axes []int64
	for i, d := range n.In[0].Shape() {
		if i != axis && d.Is(1) {
			axes = append(axes, int64(i))
		} else if i != axis && !d.IsStatic() {
			return nil
		}
	}
	n.In = []*graphs.Value{n.In[0], f.b.Ints(axes...)}
	return nil
}

// reduce refuses to reduce the batch; over a batch of 1 that changes nothing where the axis is kept.
func (f *freer) reduce(n *graphs.Node) error {
	axis, _, ok := f.axis(n.In[0])
	if !ok {
		return nil
	}
	if n.Input(1) == nil {
		return fmt.Errorf("%w: it is reduced", errBatch)
	}
	return f.notOver(n, 1, axis)
}

// notOver fails when the axes in operand i hold the batch axis.
func (f *freer) notOver(n *graphs.Node, i, axis int) error {
	axes, _ := n.Input(i).ConstInts()
	rank := int64(n.In[0].Rank())
	for _, a := range axes {
		if (a+rank)%rank == int64(axis) {
			return fmt.Errorf("%w: the axis is dropped", errBatch)
		}
	}
	return nil
}

// notAlong fails when the node takes the batch apart.
func (f *freer) notAlong(n *graphs.Node, along int64) error {
	axis, _, ok := f.axis(n.In[0])
	if rank := int64(n.In[0].Rank()); ok && (along+rank)%rank == int64(axis) {
		return fmt.Errorf("%w: it is taken apart", errBatch)
	}
	return nil
}

// resize leaves the batch axis out of constant sizes.
func (f *freer) resize(n *graphs.Node) error {
	axis, _, ok := f.axis(n.In[0])
	sizes, fixed := n.Input(3).ConstInts()
	if !ok || !fixed || n.IntList("axes") != nil || axis >= len(sizes) {
		return nil
	}
	axes := make([]int64, 0, len(sizes))
	for i := range sizes {
		if i != axis {
			axes = append(axes, int64(i))
		}
	}
	attrs := graphs.Attrs{"axes": axes}
	for k, v := range n.Attrs {
		attrs[k] = v
	}
	n.Attrs = attrs
	n.In[3] = f.b.Ints(slices.Delete(slices.Clone(sizes), axis, axis+1)...)
	return nil
}

// broadcast makes operands that hold the batch size as a number fit those that hold N. The last `keep` axes are not broadcast.
func (f *freer) broadcast(n *graphs.Node, keep int) error {
	for i, v := range n.In {
		axis, c, ok := f.axis(v)
		if !ok || axis >= v.Rank()-keep {
			continue
		}
		for k, w := range n.In {
			a := axis - v.Rank() + w.Rank()
			if k == i || a < 0 || !w.Shape()[a].Is(c*f.size) || w.Shape()[a].Is(1) {
				continue
			}
			r, err := f.spread(w, a, c, f.minorOf(v, c), false)
			if err != nil {
				return err
			}
			n.In[k] = r
		}
	}
	return nil
}

// alongAxis is for ops along an axis, which must not be the batch.
func (f *freer) alongAxis(n *graphs.Node) error {
	along := n.Int("axis", 0)
	for _, v := range n.In {
		if axis, _, ok := f.axis(v); ok && (along+int64(v.Rank()))%int64(v.Rank()) == int64(axis) {
			return fmt.Errorf("%w: %s is along it", errBatch, n.Op)
		}
	}
	return f.alike(n)
}

// alike gives all operands the batch axis of one of them.
func (f *freer) alike(n *graphs.Node) error {
	for i, v := range n.In {
		axis, c, ok := f.axis(v)
		if !ok {
			continue
		}
		for k, w := range n.In {
			if k == i || w.Rank() != v.Rank() || !w.Shape()[axis].Is(c*f.size) {
				continue
			}
			r, err := f.spread(w, axis, c, f.minorOf(v, c), true)
			if err != nil {
				return err
			}
			n.In[k] = r
		}
	}
	return nil
}

func (f *freer) gemmTerm(n *graphs.Node) error {
	row := int(n.Int("transA", 0))
	axis, c, ok := f.axis(n.In[0])
	t := n.Input(2)
	if !ok || axis != row || t == nil || t.Rank() != 2 || !t.Shape()[0].Is(c*f.size) || t.Shape()[0].Is(1) {
		return nil
	}
	r, err := f.spread(t, 0, c, f.minorOf(n.In[0], c), false)
	if err == nil {
		n.In[2] = r
	}
	return err
}

// states spreads initial states and lengths of a recurrent layer, whose input is [T, N, I].
func (f *freer) states(n *graphs.Node) error {
	axis, c, ok := f.axis(n.In[0])
	if !ok || c != 1 || axis != 1 || n.Int("layout", 0) != 0 {
		return nil
	}
	for i, a := range map[int]int{4: 0, 5: 1, 6: 1} {
		if w := n.Input(i); w != nil && w.Shape()[a].Is(f.size) {
			r, err := f.spread(w, a, 1, 1, true)
			if err != nil {
				return err
			}
			n.In[i] = r
		}
	}
	return nil
}

// spread gives w, which holds c times the fixed batch size at an axis and is the same for all rows, the extent c·N there; unless full, an extent of 1
// that broadcasts will do.
func (f *freer) spread(w *graphs.Value, axis int, c, minor int64, full bool) (*graphs.Value, error) {
	if !w.Shape().IsStatic() {
		return nil, fmt.Errorf("%w: %v has no known shape", errBatch, w)
	}
	dims := w.Shape().Ints()
	split := slices.Concat(dims[:axis], []int64{c / minor, f.size, minor}, dims[axis+1:])
	if f.size > 1 && !f.sameRows(w, split, axis+1) {
		return nil, fmt.Errorf("%w: %v differs from row to row", errBatch, w)
	}
	y, at := w, axis
	if c > 1 {
		y, at = f.b.Op("Reshape", nil, y, f.b.Ints(split...)), axis+1
	} else {
		split = slices.Clone(dims)
	}
	if f.size > 1 {
		y = f.b.Op("Slice", nil, y, f.b.Ints(0), f.b.Ints(1), f.b.Ints(int64(at)))
	}
	if c == 1 && !full {
		return y, nil
	}
	rows := f.b.Op("Shape", graphs.Attrs{"start": int64(0), "end": int64(1)}, f.x)
	target := []*graphs.Value{rows}
	if at > 0 {
		target = append([]*graphs.Value{f.b.Ints(split[:at]...)}, target...)
	}
	if at+1 < len(split) {
		target = append(target, f.b.Ints(split[at+1:]...))
	}
	if len(target) > 1 {
		rows = f.b.Op("Concat", graphs.Attrs{"axis": int64(0)}, target...)
	}
	y = f.b.Op("Expand", nil, y, rows)
	if c > 1 {
		merged := slices.Clone(dims)
		merged[axis] = -1
		y = f.b.Op("Reshape", nil, y, f.b.Ints(merged...))
		f.minor[y] = minor
	}
	return y, f.b.Err()
}

// sameRows reports whether w depends on no input and is constant along one axis of the given shape.
func (f *freer) sameRows(w *graphs.Value, dims []int64, axis int) bool {
	g, err := f.b.Graph(graphs.Output{Name: "w", Value: w})
	if err != nil {
		return false
	}
	g.Inputs = nil
	values, err := graphs.Evaluate(g, nil)
	if err != nil {
		return false
	}
	t, err := values["w"].Tensor(graphs.Float64)
	if err != nil {
		return false
	}
	data := t.Float64s()
	inner := int64(1)
	for _, d := range dims[axis+1:] {
		inner *= d
	}
	for i, v := range data {
		first := int64(i) - (int64(i)/inner%dims[axis])*inner
		if v != data[first] {
			return false
		}
	}
	return true
}
