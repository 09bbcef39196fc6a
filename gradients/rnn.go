package gradients

import (
	"strings"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	expansions["LSTM"] = recurrent(4, []string{"Sigmoid", "Tanh", "Tanh"}, lstmCell)
	expansions["GRU"] = recurrent(3, []string{"Sigmoid", "Tanh"}, gruCell)
	expansions["RNN"] = recurrent(1, []string{"Tanh"}, rnnCell)
	for _, op := range []string{"LSTM", "GRU", "RNN"} {
		refusals[op] = "it needs weights of known shapes, and activations other than ThresholdedRelu"
	}
}

// maxUnrolled bounds the steps of a recurrent layer, Scan or Loop that is written out; one of more steps, or of a number that is not known, is a Scan.
// Measured on the gradient of an LSTM: level at 16 steps, and at 64 the Scan takes two thirds of the time and is built ten times as fast.
const maxUnrolled = 16

// cell is one direction of a recurrent layer; weights are [gates·hidden, …], biases [gates·hidden] or nil, peepholes [3·hidden] or nil.
type cell struct {
	*graphs.Builder                 // of the step
	around          *graphs.Builder // of what is the same for all steps
	n               *graphs.Node
	hidden          int64
	r               *Value
	wb, rb          *Value
	peep            *Value
	activations     []activation
}

type activation func(b *graphs.Builder, v *Value) *Value

// state is what a step hands to the next: h [N, hidden] and for LSTM c [N, hidden]; nil is zero.
type state struct{ h, c *Value }

func (l *cell) mul(a, b *Value) *Value { return l.Op("Mul", nil, a, b) }

// part returns the gates [from, to) of a value [N, gates·hidden].
func (l *cell) part(v *Value, from, to int64) *Value {
	return l.Op("Slice", nil, v, l.Ints(from*l.hidden), l.Ints(to*l.hidden), l.Ints(1))
}

// weight returns the gates [from, to) of a weight, bias or peephole, which have them in front.
func (l *cell) weight(v *Value, from, to int64) *Value {
	if v == nil {
		return nil
	}
	return l.around.Op("Slice", nil, v, l.around.Ints(from*l.hidden), l.around.Ints(to*l.hidden), l.around.Ints(0))
}

// gates splits [N, k·hidden] into k.
func (l *cell) gates(v *Value, k int) []*Value {
	sizes := make([]int64, k)
	for i := range sizes {
		sizes[i] = l.hidden
	}
	return l.Ops("Split", k, graphs.Attrs{"axis": int64(1)}, v, l.Ints(sizes...))
}

// recur is x + h·rᵀ.
func (l *cell) recur(h, r, x *Value) *Value {
	if h == nil {
		return x
	}
	return l.Op("Gemm", graphs.Attrs{"transB": int64(1)}, h, r, x)
}

func (l *cell) clip(v *Value) *Value {
	if t := l.n.Float("clip", 0); t > 0 {
		return l.Op("Clip", nil, v, l.FloatLike(v, -float64(t)), l.FloatLike(v, float64(t)))
	}
	return v
}

func (l *cell) activate(i int, v *Value) *Value { return l.activations[i](l.Builder, l.clip(v)) }

// rnnCell: h = f(Wx + Rh + b).
func rnnCell(l *cell, x *Value, s state) state {
	return state{h: l.activate(0, l.recur(s.h, l.r, x))}
}

// gruCell: z, r = f(…); h̃ = g(Wx + R(r⊙h) + b), with linear_before_reset g(Wx + b_W + r⊙(Rh + b_R)); h = h̃ + z⊙(h − h̃).
func gruCell(l *cell, x *Value, s state) state {
	linear := l.n.Int("linear_before_reset", 0) != 0
	zr := l.gates(l.activate(0, l.recur(s.h, l.weight(l.r, 0, 2), l.part(x, 0, 2))), 2)
	z, r := zr[0], zr[1]
	own, weight, bias := l.part(x, 2, 3), l.weight(l.r, 2, 3), l.weight(l.rb, 2, 3)
	switch {
	case linear && s.h != nil:
		own = l.Op("Add", nil, own, l.mul(r, l.Op("Gemm", graphs.Attrs{"transB": int64(1)}, s.h, weight, bias)))
	case linear && bias != nil:
		own = l.Op("Add", nil, own, l.mul(r, bias))
	case !linear && s.h != nil:
		own = l.recur(l.mul(r, s.h), weight, own)
	}
	next := l.activate(1, own)
	if s.h == nil {
		return state{h: l.Op("Sub", nil, next, l.mul(z, next))}
	}
	return state{h: l.Op("Add", nil, next, l.mul(z, l.Op("Sub", nil, s.h, next)))}
}

// lstmCell has the gates i, o, f, c in this order: c = f⊙c + i⊙g(…), h = o⊙h(c). Without peepholes the first three are one activation.
func lstmCell(l *cell, x *Value, s state) state {
	all := l.recur(s.h, l.r, x)
	var gate [4]*Value
	coupled := l.n.Int("input_forget", 0) != 0
	if l.peep == nil {
		copy(gate[:], l.gates(l.activate(0, l.part(all, 0, 3)), 3))
		gate[3] = l.part(all, 3, 4)
	} else {
		copy(gate[:], l.gates(all, 4))
		gate[0] = l.activate(0, l.peek(gate[0], 0, s.c))
		gate[2] = l.activate(0, l.peek(gate[2], 2, s.c))
	}
	if coupled {
		gate[2] = l.Op("Sub", nil, l.FloatLike(gate[0], 1), gate[0])
	}
	c := l.mul(gate[0], l.activate(1, gate[3]))
	if s.c != nil {
		c = l.Op("Add", nil, l.mul(gate[2], s.c), c)
	}
	if l.peep != nil {
		gate[1] = l.activate(0, l.peek(gate[1], 1, c))
	}
	return state{h: l.mul(gate[1], l.activations[2](l.Builder, c)), c: c}
}

// peek adds the k-th peephole's product with the cell state.
func (l *cell) peek(v *Value, k int64, c *Value) *Value {
	if c == nil {
		return v
	}
	return l.Op("Add", nil, v, l.mul(l.weight(l.peep, k, k+1), c))
}

// recurrent writes a layer out step by step, or as a Scan: X [T, N, I], W [D, gates·H, I], R [D, gates·H, H], B [D, 2·gates·H], lengths [N], initial states
// [D, N, H], peepholes [D, 3H]; with layout 1 the batch comes first. All input products are one Gemm.
func recurrent(gates int64, defaults []string, step stepFunc) graphs.Expansion {
	return func(b *graphs.Builder, n *graphs.Node) []*Value {
		x, w, r := n.In[0], n.In[1], n.In[2]
		batchFirst := n.Int("layout", 0) != 0
		if x.Rank() != 3 || !w.Shape().IsStatic() || !r.Shape().IsStatic() {
			return nil
		}
		if batchFirst {
			x = permuted(b, x, 1, 0, 2)
		}
		steps := x.Shape()[0]
		written := steps.IsStatic() && steps.Size >= 1 && steps.Size <= maxUnrolled
		dirs := r.Shape()[0].Size
		acts, ok := activations(n, defaults, int(dirs))
		if !ok {
			return nil
		}
		lengths := n.Input(4)
		if list, ok := lengths.ConstInts(); ok && written && allEqual(list, steps.Size) {
			lengths = nil
		}
		var ys, hs, cs []*Value
		for d := range dirs {
			row := func(i int) *Value {
				if n.Input(i) == nil {
					return nil
				}
				return b.Op("Gather", graphs.Attrs{"axis": int64(0)}, n.In[i], b.Int(d))
			}
			first := func(i int) *Value {
				if n.Input(i) == nil || i == 6 && gates != 4 {
					return nil
				}
				axis := int64(0)
				if batchFirst {
					axis = 1
				}
				return b.Op("Gather", graphs.Attrs{"axis": axis}, n.In[i], b.Int(d))
			}
			l := &cell{Builder: b, around: b, n: n, hidden: r.Shape()[2].Size, r: row(2), activations: acts[d]}
			if bias := row(3); bias != nil {
				l.wb, l.rb = l.weight(bias, 0, gates), l.weight(bias, gates, 2*gates)
			}
			if gates == 4 {
				l.peep = row(7)
			}
			reverse := d == 1 || n.Text("direction", "forward") == "reverse"
			run := l.scan
			if written {
				run = l.unroll
			}
			y, last := run(x, row(1), lengths, state{first(5), first(6)}, gates, reverse, step)
			ys, hs, cs = append(ys, y), append(hs, last.h), append(cs, last.c)
		}
		outs := []*Value{stack(b, ys, 1), stack(b, hs, 0)}
		if gates == 4 {
			outs = append(outs, stack(b, cs, 0))
		}
		if batchFirst {
			outs[0] = permuted(b, outs[0], 2, 0, 1, 3)
			for i := 1; i < len(outs); i++ {
				outs[i] = permuted(b, outs[i], 1, 0, 2)
			}
		}
		return outs[:len(n.Out)]
	}
}

func allEqual(list []int64, v int64) bool {
	for _, x := range list {
		if x != v {
			return false
		}
	}
	return true
}

// stack joins values along a new axis.
func stack(b *graphs.Builder, list []*Value, axis int64) *Value {
	parts := make([]*Value, len(list))
	for i, v := range list {
		parts[i] = b.Op("Unsqueeze", nil, v, b.Ints(axis))
	}
	return b.Op("Concat", graphs.Attrs{"axis": axis}, parts...)
}

// unroll runs one direction over x [T, N, I] and returns Y [T, N, H] and the last state. Samples that have ended keep their state and give zeros.
func (l *cell) unroll(x, w, lengths *Value, s state, gates int64, reverse bool, step stepFunc) (*Value, state) {
	steps := x.Shape()[0].Size
	turn := l.turn(reverse, lengths)
	parts := l.timeSteps(l.inputs(turn(x), w, gates), steps)
	ys := make([]*Value, steps)
	for i := range steps {
		t := i
		if reverse && lengths == nil {
			t = steps - 1 - i
		}
		next := step(l, parts[t], s)
		ys[t] = next.h
		if lengths != nil {
			next, ys[t] = l.hold(next, s, lengths, l.count(lengths, i))
		}
		s = next
	}
	return turn(stack(l.Builder, ys, 0)), s
}

// stepFunc makes the state after a step from its part of the inputs' products and the state before.
type stepFunc func(l *cell, x *Value, s state) state

// turn returns what reverses the steps of each sample where they have lengths of their own.
func (l *cell) turn(reverse bool, lengths *Value) func(*Value) *Value {
	if !reverse || lengths == nil {
		return func(v *Value) *Value { return v }
	}
	long := l.Op("Cast", graphs.Attrs{"to": int64(graphs.Int64)}, lengths)
	return func(v *Value) *Value {
		return l.Op("ReverseSequence", graphs.Attrs{"time_axis": int64(0), "batch_axis": int64(1)}, v, long)
	}
}

// scan is unroll for a number of steps that is large or not known.
func (l *cell) scan(x, w, lengths *Value, s state, gates int64, reverse bool, step stepFunc) (*Value, state) {
	turn := l.turn(reverse, lengths)
	b := graphs.NewSimplifyingBuilder("step")
	r := steps{xs: []scanned{{v: l.inputs(turn(x), w, gates)}}, ys: []scanned{{}}}
	if reverse && lengths == nil {
		r.xs[0].reverse, r.ys[0].reverse = 1, 1
	}
	carry := func(name string, v *Value) *Value {
		r.states = append(r.states, v)
		return b.Input(name, v.Type.DType, v.Shape())
	}
	start := func(v *Value) *Value {
		if v != nil {
			return v
		}
		extent := l.Op("Shape", graphs.Attrs{"start": int64(1), "end": int64(2)}, x)
		return l.Op("Expand", nil, l.FloatLike(x, 0), l.Op("Concat", graphs.Attrs{"axis": int64(0)}, extent, l.Ints(l.hidden)))
	}
	old := state{h: carry("h", start(s.h))}
	if gates == 4 {
		old.c = carry("c", start(s.c))
	}
	var at *Value
	if lengths != nil {
		at = carry("t", l.count(lengths, 0))
	}
	inner := *l
	inner.Builder = b
	part := r.xs[0].v
	next := step(&inner, b.Input("x", part.Type.DType, part.Shape()[1:]), old)
	y := next.h
	if lengths != nil {
		next, y = inner.hold(next, old, lengths, at)
	}
	outs := []graphs.Output{{Name: "h/next", Value: next.h}}
	if next.c != nil {
		outs = append(outs, graphs.Output{Name: "c/next", Value: next.c})
	}
	if at != nil {
		outs = append(outs, graphs.Output{Name: "t/next", Value: b.Op("Add", nil, at, inner.count(lengths, 1))})
	}
	var err error
	if r.body, err = b.Graph(append(outs, graphs.Output{Name: "y", Value: y})...); err != nil {
		l.Fail(err)
		return x, s
	}
	all := r.node(l.Builder)
	last := state{h: all[0]}
	if gates == 4 {
		last.c = all[1]
	}
	return turn(all[len(all)-1]), last
}

// inputs is x·wᵀ + biases for all steps: [T, N, gates·H]. The recurrence bias that a reset gate multiplies stays out.
func (l *cell) inputs(x, w *Value, gates int64) *Value {
	width := w.Shape()[1].Size
	bias := l.wb
	if l.rb != nil {
		rb := l.rb
		if gates == 3 && l.n.Int("linear_before_reset", 0) != 0 {
			kept := l.weight(rb, 0, 2)
			rb = l.Op("Pad", nil, kept, l.Ints(0, l.hidden))
		}
		bias = l.Op("Add", nil, bias, rb)
	}
	in := []*Value{l.Op("Reshape", nil, x, l.Ints(-1, width)), w}
	if bias != nil {
		in = append(in, bias)
	}
	y := l.Op("Gemm", graphs.Attrs{"transB": int64(1)}, in...)
	if d := x.Shape()[0]; d.IsStatic() {
		return l.Op("Reshape", nil, y, l.Ints(d.Size, -1, gates*l.hidden))
	}
	lead := l.Op("Shape", graphs.Attrs{"start": int64(0), "end": int64(2)}, x)
	return l.Op("Reshape", graphs.Attrs{"allowzero": int64(1)}, y, l.Op("Concat", graphs.Attrs{"axis": int64(0)}, lead, l.Ints(gates*l.hidden)))
}

// timeSteps splits along the first axis.
func (l *cell) timeSteps(v *Value, steps int64) []*Value {
	sizes := make([]int64, steps)
	for i := range sizes {
		sizes[i] = 1
	}
	parts := l.Ops("Split", int(steps), graphs.Attrs{"axis": int64(0)}, v, l.Ints(sizes...))
	out := make([]*Value, steps)
	for i := range out {
		out[i] = l.Op("Squeeze", nil, parts[i], l.Ints(0))
	}
	return out
}

// count is a number in the type of the lengths.
func (l *cell) count(lengths *Value, i int64) *Value {
	t, err := graphs.FromInt64s(lengths.Type.DType, []int64{i})
	if err != nil {
		l.Fail(err)
		return lengths
	}
	return l.Const(t)
}

// hold keeps the old state of samples that ended before the step with the number at, and makes their result zero.
func (l *cell) hold(next, old state, lengths, at *Value) (state, *Value) {
	live := l.Op("Unsqueeze", nil, l.Op("Greater", nil, lengths, at), l.Ints(1))
	keep := func(v, old *Value) *Value {
		if v == nil {
			return nil
		}
		if old == nil {
			old = l.FloatLike(v, 0)
		}
		return l.Op("Where", nil, live, v, old)
	}
	return state{keep(next.h, old.h), keep(next.c, old.c)}, keep(next.h, nil)
}

// activations resolves the activation functions of each direction; parameters are consumed in order by those that take them.
func activations(n *graphs.Node, defaults []string, dirs int) (list [][]activation, ok bool) {
	names, _ := n.Attrs["activations"].([]string)
	if len(names) == 0 {
		for range dirs {
			names = append(names, defaults...)
		}
	}
	if len(names) != dirs*len(defaults) {
		return nil, false
	}
	alphas, betas := n.FloatList("activation_alpha"), n.FloatList("activation_beta")
	take := func(list *[]float32, def float64) float64 {
		if len(*list) == 0 {
			return def
		}
		v := float64((*list)[0])
		*list = (*list)[1:]
		return v
	}
	list = make([][]activation, dirs)
	for i, name := range names {
		op, known := unitOps[strings.ToLower(name)]
		if !known {
			return nil, false
		}
		alpha, beta := 0.0, 0.0
		if op.hasAlpha {
			alpha = take(&alphas, op.alpha)
		}
		if op.hasBeta {
			beta = take(&betas, op.beta)
		}
		d := i / len(defaults)
		list[d] = append(list[d], func(b *graphs.Builder, v *Value) *Value { return op.apply(b, v, alpha, beta) })
	}
	return list, true
}

type unitOp struct {
	hasAlpha, hasBeta bool
	alpha, beta       float64
	apply             func(b *graphs.Builder, v *Value, alpha, beta float64) *Value
}

func plainUnit(op string) unitOp {
	return unitOp{apply: func(b *graphs.Builder, v *Value, _, _ float64) *Value { return b.Op(op, nil, v) }}
}

func times(b *graphs.Builder, v *Value, f float64) *Value {
	return b.Op("Mul", nil, v, b.FloatLike(v, f))
}

// unitOps holds the activations of recurrent layers by lower-case name, with the defaults of their parameters.
var unitOps = map[string]unitOp{
	"relu": plainUnit("Relu"), "tanh": plainUnit("Tanh"), "sigmoid": plainUnit("Sigmoid"), "softsign": plainUnit("Softsign"), "softplus": plainUnit("Softplus"),
	"affine": {true, true, 1, 0, func(b *graphs.Builder, v *Value, alpha, beta float64) *Value {
		return b.Op("Add", nil, times(b, v, alpha), b.FloatLike(v, beta))
	}},
	"leakyrelu": {true, false, 0.01, 0, func(b *graphs.Builder, v *Value, alpha, _ float64) *Value {
		return b.Op("LeakyRelu", graphs.Attrs{"alpha": float32(alpha)}, v)
	}},
	"elu": {true, false, 1, 0, func(b *graphs.Builder, v *Value, alpha, _ float64) *Value {
		return b.Op("Elu", graphs.Attrs{"alpha": float32(alpha)}, v)
	}},
	"scaledtanh": {true, true, 1, 1, func(b *graphs.Builder, v *Value, alpha, beta float64) *Value {
		return times(b, b.Op("Tanh", nil, times(b, v, beta)), alpha)
	}},
	"hardsigmoid": {true, true, 0.2, 0.5, func(b *graphs.Builder, v *Value, alpha, beta float64) *Value {
		return hardGate(b, v, alpha, beta)
	}},
}
