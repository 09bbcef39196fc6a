package gradients

import (
	"fmt"
	"maps"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	addRules(map[string]Rule{"Scan": scanRule, "Loop": loopRule})
}

// steps is a Scan or a Loop as a recurrence: (s′, y) = f(s, x) for each step, states s carried from one to the next.
type steps struct {
	body   *graphs.Graph // inputs: states, then scanned values; outputs: new states, then results
	states []*Value      // initial values
	before []*Value      // states before each step, stacked along a new leading axis
	some   *Value        // whether there is a step at all, nil where that is certain
	xs, ys []scanned
}

// scanned is a value of which every step reads or writes one slice.
type scanned struct {
	v       *Value
	axis    int64
	reverse int64 // 1: the first step has the last slice
}

// scanParts reads the attributes of a Scan.
func scanParts(n *graphs.Node) (s steps, ok bool) {
	body, k := n.Body("body"), int(n.Int("num_scan_inputs", 0))
	states := len(n.In) - k
	if body == nil || k < 1 || states < 0 || len(body.Inputs) != len(n.In) || len(body.Outputs) != len(n.Out) || slices.Contains(n.In, nil) {
		return s, false
	}
	s = steps{body: body, states: n.In[:states]}
	at := func(name string, i int) int64 {
		if list := n.IntList(name); i < len(list) {
			return list[i]
		}
		return 0
	}
	for i, v := range n.In[states:] {
		s.xs = append(s.xs, scanned{v, at("scan_input_axes", i), at("scan_input_directions", i)})
	}
	for i, v := range n.Out[states:] {
		s.ys = append(s.ys, scanned{v, at("scan_output_axes", i), at("scan_output_directions", i)})
	}
	return s, true
}

// node makes the Scan of a recurrence.
func (s steps) node(b *graphs.Builder) []*Value {
	attrs := graphs.Attrs{"body": s.body, "num_scan_inputs": int64(len(s.xs))}
	inputs := slices.Clone(s.states)
	list := func(name string, of []scanned, get func(scanned) int64) {
		values := make([]int64, len(of))
		for i, x := range of {
			values[i] = get(x)
		}
		if slices.ContainsFunc(values, func(v int64) bool { return v != 0 }) {
			attrs[name] = values
		}
	}
	axis, reverse := func(x scanned) int64 { return x.axis }, func(x scanned) int64 { return x.reverse }
	list("scan_input_axes", s.xs, axis)
	list("scan_input_directions", s.xs, reverse)
	list("scan_output_axes", s.ys, axis)
	list("scan_output_directions", s.ys, reverse)
	for _, x := range s.xs {
		inputs = append(inputs, x.v)
	}
	return b.Ops("Scan", len(s.states)+len(s.ys), attrs, inputs...)
}

// keepsStates reports where the states before each step are among the results, as positions in the outputs of the body; nil where one is missing.
func keepsStates(body *graphs.Graph, states []*Value, from int, plain func(i int) bool) []int {
	list := make([]int, len(states))
	for i, v := range states {
		at := -1
		for j := from; j < len(body.Outputs); j++ {
			if body.Outputs[j].Value == v && plain(j-from) {
				at = j
				break
			}
		}
		if at < 0 {
			return nil
		}
		list[i] = at
	}
	return list
}

// withStates adds the states before each step to the results of a body.
func withStates(body *graphs.Graph, states []*Value) *graphs.Graph {
	c := *body
	c.Outputs = slices.Clone(body.Outputs)
	for i, v := range states {
		c.Outputs = append(c.Outputs, graphs.Output{Name: "before/" + bodyOutput(i), Value: v})
	}
	return &c
}

// keepScanStates makes a Scan hand out its states before each step, which its derivative needs.
func keepScanStates(b *graphs.Builder, n *graphs.Node) []*Value {
	s, ok := scanParts(n)
	if !ok || len(s.states) == 0 || s.kept() != nil {
		return nil
	}
	return s.extended(b)[:len(n.Out)]
}

func (s steps) kept() []int {
	plain := func(j int) bool { return s.ys[j].axis == 0 && s.ys[j].reverse == 0 }
	return keepsStates(s.body, s.body.Inputs[:len(s.states)], len(s.states), plain)
}

// extended adds the Scan that hands out states, and returns all of its outputs.
func (s steps) extended(b *graphs.Builder) []*Value {
	s.body = withStates(s.body, s.body.Inputs[:len(s.states)])
	s.ys = slices.Concat(s.ys, make([]scanned, len(s.states)))
	return s.node(b)
}

// scanRule: the cotangents of a Scan come from a Scan over the same slices in the opposite order, see steps.pull.
func scanRule(c *Context, n *graphs.Node, g []*Value) []*Value {
	s, ok := scanParts(n)
	if !ok {
		c.Fail(refusal(n))
		return nil
	}
	outs := n.Out
	at := s.kept()
	if at == nil {
		outs = s.extended(c.Builder)
		for i := range s.states {
			at = append(at, len(n.Out)+i)
		}
	}
	for _, j := range at {
		s.before = append(s.before, outs[j])
	}
	states, xs := s.pull(c, n, g, c.Wants)
	return append(states, xs...)
}

// guarded is extended for a number of steps that may be 0, which ONNX Runtime's Scan does not take: states stay as they are then.
func (s steps) guarded(b *graphs.Builder, some *Value) []*Value {
	then := graphs.NewSimplifyingBuilder("some")
	all := s.extended(then)
	otherwise := graphs.NewSimplifyingBuilder("none")
	none := make([]*Value, 0, len(all))
	for _, v := range s.states {
		none = append(none, otherwise.Op("Identity", nil, v))
	}
	for _, v := range s.states {
		zero, _ := graphs.FromFloat64s(v.Type.DType, []float64{0}, 1)
		extents := otherwise.Op("Concat", graphs.Attrs{"axis": int64(0)}, otherwise.Ints(0), otherwise.Op("Shape", nil, v))
		none = append(none, otherwise.Op("ConstantOfShape", graphs.Attrs{"value": zero}, extents))
	}
	attrs := graphs.Attrs{}
	for name, branch := range map[string]struct {
		b    *graphs.Builder
		outs []*Value
	}{"then_branch": {then, all}, "else_branch": {otherwise, none}} {
		named := make([]graphs.Output, len(branch.outs))
		for i, v := range branch.outs {
			named[i] = graphs.Output{Name: bodyOutput(i), Value: v}
		}
		g, err := branch.b.Graph(named...)
		if err != nil {
			b.Fail(err)
			return all
		}
		attrs[name] = g
	}
	return b.Ops("If", len(all), attrs, some)
}

// pull differentiates the recurrence (s′, y) = f(s, x; w), w being values from around the body: it runs the steps in the opposite order with
//
//	(s̄, x̄, w̄ᵗ) = pullback of f at (s, x) applied to (s̄′, ȳ),   w̄ ← w̄ + w̄ᵗ,
//
// s̄ and w̄ carried, and s as it was before the step. f is computed again. g holds the cotangents of final states and results; wants says which
// initial states and scanned values matter. Cotangents of w go to the context.
func (s steps) pull(c *Context, n *graphs.Node, g []*Value, wants func(i int) bool) (states, xs []*Value) {
	captured := c.capturedBy(s.body)
	b := graphs.NewSimplifyingBuilder("steps")
	r := steps{}
	names := 0
	declare := func(t graphs.DType, s graphs.Shape) *Value {
		names++
		return b.Input(fmt.Sprint("in/", names), t, s)
	}
	input := func(v *Value) *Value { return declare(v.Type.DType, v.Shape()) }
	scan := func(v *Value, axis, reverse int64) *Value {
		r.xs = append(r.xs, scanned{v, axis, reverse})
		shape := v.Shape()
		if a, err := graphs.Axis(axis, v.Rank()); err == nil {
			shape = slices.Delete(slices.Clone(shape), a, a+1)
		}
		return declare(v.Type.DType, shape)
	}

	// Carried: cotangents of the float states, then those of captured values.
	var carried []*Value // inputs of the new body
	var floats []int     // states that have cotangents
	for i, v := range s.states {
		if !v.Type.DType.IsFloat() {
			continue
		}
		floats = append(floats, i)
		carried = append(carried, input(v))
		ct := g[i]
		if ct == nil {
			ct = c.zerosLike(v)
		}
		r.states = append(r.states, c.real(ct, v))
	}
	for _, v := range captured {
		carried = append(carried, input(v))
		r.states = append(r.states, c.zerosLike(v))
	}

	// Scanned: states before the step, what the step read, cotangents of its results.
	replace := map[*Value]*Value{}
	var wrt []*Value
	for i, v := range s.body.Inputs[:len(s.states)] {
		replace[v] = scan(s.before[i], 0, 1)
	}
	for _, i := range floats {
		wrt = append(wrt, replace[s.body.Inputs[i]])
	}
	wrt = append(wrt, captured...)
	var wanted []int
	for i, x := range s.xs {
		in := scan(x.v, x.axis, 1-x.reverse)
		replace[s.body.Inputs[len(s.states)+i]] = in
		if x.v.Type.DType.IsFloat() && wants(len(s.states)+i) {
			wanted = append(wanted, i)
			wrt = append(wrt, in)
		}
	}
	type pair struct{ of, ct *Value }
	var results []pair
	for j, y := range s.ys {
		if ct := g[len(s.states)+j]; ct != nil {
			results = append(results, pair{s.body.Outputs[len(s.states)+j].Value, scan(c.real(ct, y.v), y.axis, 1-y.reverse)})
		}
	}

	outs := b.Splice(s.body, replace)
	at := map[*Value]*Value{}
	for i, o := range s.body.Outputs {
		at[o.Value] = outs[i]
	}
	var seeds []Seed
	for k, i := range floats {
		seeds = append(seeds, Seed{outs[i], carried[k]})
	}
	for _, p := range results {
		seeds = append(seeds, Seed{at[p.of], p.ct})
	}
	grads, err := pullFull(b, b.Nodes(), seeds, wrt)
	if err != nil {
		c.Fail(err)
		return nil, nil
	}
	for k := range captured {
		k += len(floats)
		grads[k] = b.Op("Add", nil, carried[k], grads[k])
	}
	r.ys = make([]scanned, len(wanted))
	for k, i := range wanted {
		r.ys[k] = scanned{axis: s.xs[i].axis, reverse: 1 - s.xs[i].reverse}
	}
	named := make([]graphs.Output, len(grads))
	for i, v := range grads {
		named[i] = graphs.Output{Name: bodyOutput(i), Value: v}
	}
	if r.body, err = b.Graph(named...); err != nil {
		c.Fail(err)
		return nil, nil
	}
	r.dropUnread()
	var result []*Value
	if s.some != nil {
		result = r.guarded(c.Builder, s.some)
	} else {
		result = r.extended(c.Builder)
	}

	states = make([]*Value, len(s.states))
	for k, i := range floats {
		states[i] = result[k]
	}
	for k, v := range captured {
		c.captured = append(c.captured, Seed{v, result[len(floats)+k]})
	}
	xs = make([]*Value, len(s.xs))
	for k, i := range wanted {
		xs[i] = result[len(carried)+k]
	}
	return states, xs
}

// dropUnread removes scanned values that the body does not use; one stays, since it says how many steps there are.
func (s *steps) dropUnread() {
	uses := s.body.Uses()
	body := *s.body
	body.Inputs = slices.Clone(body.Inputs[:len(s.states)])
	var xs []scanned
	for i, x := range s.xs {
		if v := s.body.Inputs[len(s.states)+i]; uses[v] > 0 || len(xs) == 0 && i == len(s.xs)-1 {
			xs = append(xs, x)
			body.Inputs = append(body.Inputs, v)
		}
	}
	s.body, s.xs = &body, xs
}

// keepLoopStates makes a Loop hand out its states and its counter before each iteration, which its derivative needs.
func keepLoopStates(b *graphs.Builder, n *graphs.Node) []*Value {
	body := n.Body("body")
	if !wellFormedLoop(n) || loopKept(body) != nil {
		return nil
	}
	return extendedLoop(b, n)[:len(n.Out)]
}

func wellFormedLoop(n *graphs.Node) bool {
	body := n.Body("body")
	return body != nil && len(n.In) >= 2 && len(body.Inputs) == len(n.In) && len(body.Outputs) == len(n.Out)+1 && !slices.Contains(n.In[2:], nil)
}

// loopHistory is what the derivative of a Loop reads of each iteration: states and counter.
func loopHistory(body *graphs.Graph) []*Value {
	return append(slices.Clone(body.Inputs[2:]), body.Inputs[0])
}

func loopKept(body *graphs.Graph) []int {
	at := keepsStates(body, loopHistory(body), len(body.Inputs)-1, func(int) bool { return true })
	for i := range at {
		at[i]-- // the first output of the body is the condition
	}
	return at
}

func extendedLoop(b *graphs.Builder, n *graphs.Node) []*Value {
	body := n.Body("body")
	history := loopHistory(body)
	attrs := maps.Clone(n.Attrs)
	attrs["body"] = withStates(body, history)
	return b.Ops("Loop", len(n.Out)+len(history), attrs, n.In...)
}

// loopRule: whatever ends a Loop, the iterations that took place are a recurrence over what they started from, see steps.pull.
func loopRule(c *Context, n *graphs.Node, g []*Value) []*Value {
	if !wellFormedLoop(n) {
		c.Fail(refusal(n))
		return nil
	}
	body := n.Body("body")
	for i, v := range body.Inputs[2:] {
		if v.Rank() < 0 || !v.Shape().Same(n.In[2+i].Shape()) {
			c.Fail(refusal(n))
			return nil
		}
	}
	outs, at := n.Out, loopKept(body)
	if at == nil {
		outs = extendedLoop(c.Builder, n)
		for i := range len(body.Inputs) - 1 {
			at = append(at, len(n.Out)+i)
		}
	}
	states := len(n.In) - 2
	s := steps{states: n.In[2:], xs: []scanned{{v: outs[at[states]]}}}
	for i := range states {
		s.before = append(s.before, outs[at[i]])
	}
	for _, v := range n.Out[states:] {
		s.ys = append(s.ys, scanned{v: v})
	}
	if !begins(n) {
		s.some = c.Op("Greater", nil, c.Op("Size", nil, s.xs[0].v), c.Int(0))
	}
	var err error
	if s.body, err = iteration(body); err != nil {
		c.Fail(err)
		return nil
	}
	cts, _ := s.pull(c, n, g, func(int) bool { return false })
	return append([]*Value{nil, nil}, cts...)
}

// iteration is the body of a Loop as that of a recurrence: its condition is true where it runs, and the counter comes last.
func iteration(body *graphs.Graph) (*graphs.Graph, error) {
	b := graphs.NewBuilder(body.Name)
	replace := map[*Value]*Value{body.Inputs[1]: b.Const(graphs.ScalarTensor(true))}
	for _, v := range loopHistory(body) {
		replace[v] = b.Input(v.Name, v.Type.DType, v.Shape())
	}
	var outs []graphs.Output
	for i, v := range b.Splice(body, replace)[1:] {
		outs = append(outs, graphs.Output{Name: body.Outputs[i+1].Name, Value: v})
	}
	return b.Graph(outs...)
}

// begins reports whether a Loop has an iteration as far as the graph tells: a condition that starts true, and no limit or one that is an extent.
func begins(n *graphs.Node) bool {
	if cond := n.In[1]; cond != nil {
		if going, known := cond.ConstBool(); !known || !going {
			return false
		}
	}
	trips := n.In[0]
	return trips == nil || len(trips.Ints) == 1 && trips.Ints[0] != graphs.UnknownDim
}
