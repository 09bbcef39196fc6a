package graphs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ElementwiseDomain is the domain of the op Elementwise, which runs a program of element-wise instructions; the runtime describes it.
const ElementwiseDomain = "onnx-ebm"

// FuseElementwise puts connected element-wise nodes of float32 values and one shape into nodes of the op Elementwise, with the sums over
// neighbouring axes at their ends. The result runs where that op is known and nowhere else. constant says that parameters are
// constants there: what depends on nothing else is left to the runtime's constant folding.
//
// Each node has a level, the number of other nodes' stages before it; levels grow along every path that leaves the nodes of one shape, so
// that nodes of the same level and shape can be computed together whatever else there is.
func FuseElementwise(g *Graph, constant bool) (*Graph, error) {
	f := &fuser{g: g, units: map[*Node]*unit{}, users: map[*Value][]*Node{}, fixed: map[*Value]bool{}}
	f.classify(constant)
	f.sink()
	groups := f.groups()
	r := f.rebuild(groups)
	return r, Check(r)
}

// unit is what the pass knows of a node.
type unit struct {
	n      *Node
	level  int
	shape  Shape      // of the elements it computes or sums; nil for other nodes
	leaves []*Value   // float operands, those of the comparisons in front of it included
	sum    *reduction // of a reduction
	group  *group
}

func (u *unit) fusable() bool { return u.shape != nil }

// reduction is a sum over neighbouring axes, and the node that drops those that it keeps.
type reduction struct {
	axis, axes int
	keep       bool
	squeeze    *Node
}

type fuser struct {
	g     *Graph
	units map[*Node]*unit
	users map[*Value][]*Node // nil for a use by an output or a body
	fixed map[*Value]bool    // what is computed of constants alone
}

// instructions are the ops that are one instruction of the same name.
var instructions = fields("Add Sub Mul Div Max Min Neg Abs Sign Reciprocal Sqrt Relu Exp Log Tanh Sigmoid Softplus Erf Where")

// comparisons give truth values, which stay within a program.
var comparisons = fields("Equal Less LessOrEqual Greater GreaterOrEqual And Or Not")

// compositions are ops that are several instructions.
var compositions map[string]func(p *composer, n *Node) string

func init() {
	compositions = map[string]func(p *composer, n *Node) string{
		"Cast": func(p *composer, n *Node) string { return p.operand(n.In[0]) },
		"Gelu": func(p *composer, n *Node) string { return p.decomposed(n, DecomposeGelu) },
		"Elu": func(p *composer, n *Node) string {
			x := p.operand(n.In[0])
			below := p.emit("Mul", p.emit("Sub", p.emit("Exp", x), p.number(1)), p.number(n.Float("alpha", 1)))
			return p.emit("Where", p.emit("Less", x, p.number(0)), below, x)
		},
		"LeakyRelu": func(p *composer, n *Node) string {
			x := p.operand(n.In[0])
			return p.emit("Where", p.emit("Less", x, p.number(0)), p.emit("Mul", x, p.number(n.Float("alpha", 0.01))), x)
		},
	}
}

// slow are the ops whose own kernels in ONNX Runtime take several times as long as an instruction, so that a node alone is worth it.
var slow = fields("Log Softplus Elu")

func fields(s string) map[string]bool {
	set := map[string]bool{}
	for _, f := range strings.Fields(s) {
		set[f] = true
	}
	return set
}

// classify finds the nodes that can be fused, and levels.
func (f *fuser) classify(constant bool) {
	for _, n := range f.g.Nodes {
		for _, v := range n.In {
			if v != nil {
				f.users[v] = append(f.users[v], n)
			}
		}
		for _, v := range bodyUses(n) {
			f.users[v] = append(f.users[v], nil)
		}
	}
	for _, o := range f.g.Outputs {
		f.users[o.Value] = append(f.users[o.Value], nil)
	}
	isFixed := func(v *Value) bool {
		return v == nil || v.Kind == Constant || constant && v.Kind == Param || f.fixed[v]
	}
	for _, n := range f.g.Nodes {
		u := &unit{n: n}
		f.units[n] = u
		if !hasBody(n) && !slices.ContainsFunc(n.In, func(v *Value) bool { return !isFixed(v) }) {
			for _, v := range n.Out {
				f.fixed[v] = true
			}
		} else {
			f.choose(u)
		}
		f.place(u)
	}
}

func bodyUses(n *Node) []*Value {
	var list []*Value
	for _, a := range n.Attrs {
		if body, ok := a.(*Graph); ok {
			body.EachUse(func(v *Value) { list = append(list, v) })
		}
	}
	return list
}

func (f *fuser) choose(u *unit) {
	n := u.n
	if n.Domain != "" || len(n.Out) != 1 || n.Out[0].Type.DType != Float32 {
		return
	}
	if s := reductionOf(n); s != nil {
		if p := f.units[n.In[0].Node]; p != nil && p.fusable() && p.sum == nil {
			u.sum, u.shape, u.leaves = s, p.shape, n.In[:1]
			f.absorbSqueeze(u)
		}
		return
	}
	if !instructions[n.Op] && compositions[n.Op] == nil || n.Out[0].Rank() < 1 {
		return
	}
	leaves, ok := f.operands(n, nil)
	shape := n.Out[0].Shape()
	ranked := func(v *Value) bool { _, number := v.ConstFloat(); return !number && v.Rank() == len(shape) } // the runtime sees no others' axes
	if ok && slices.ContainsFunc(leaves, ranked) && !slices.ContainsFunc(leaves, func(v *Value) bool { return !spreads(v.Shape(), shape) }) {
		u.shape, u.leaves = shape, leaves
	}
}

// operands lists the float operands of a node, through comparisons.
func (f *fuser) operands(n *Node, list []*Value) ([]*Value, bool) {
	ok := true
	for _, v := range n.In {
		switch {
		case v == nil:
			return nil, false
		case v.Type.DType == Float32:
			list = append(list, v)
		case v.Type.DType == Bool && v.Node != nil && v.Node.Domain == "" && comparisons[v.Node.Op]:
			if list, ok = f.operands(v.Node, list); !ok {
				return nil, false
			}
		default:
			return nil, false
		}
	}
	return list, true
}

// spreads reports whether v has the whole shape, or 1 in front and behind, or its first and last axes with 1 between.
func spreads(v, whole Shape) bool {
	if v == nil || len(v) > len(whole) {
		return false
	}
	lead := len(whole) - len(v)
	first, last, gaps := -1, -1, 0
	for i, d := range v {
		if d.Is(1) {
			continue
		}
		if !d.Same(whole[lead+i]) {
			return false
		}
		if first < 0 {
			first = i
		} else if !ones(whole[lead+last+1 : lead+i]) {
			gaps++
		}
		last = i
	}
	return gaps == 0 || gaps == 1 && ones(whole[:lead+first]) && ones(whole[lead+last+1:])
}

func ones(s Shape) bool { return !slices.ContainsFunc(s, func(d Dim) bool { return !d.Is(1) }) }

// reductionOf reads a reduction over neighbouring axes.
func reductionOf(n *Node) *reduction {
	if n.Op != "ReduceSum" || n.In[0].Rank() < 1 || n.Input(1) == nil {
		return nil
	}
	axes, ok := n.In[1].ConstInts()
	if !ok || len(axes) == 0 {
		return nil
	}
	axes = slices.Clone(axes)
	for i := range axes {
		if axes[i] < 0 {
			axes[i] += int64(n.In[0].Rank())
		}
	}
	slices.Sort(axes)
	for i, a := range axes {
		if a != axes[0]+int64(i) {
			return nil
		}
	}
	if axes[0] < 0 || axes[len(axes)-1] >= int64(n.In[0].Rank()) {
		return nil
	}
	return &reduction{axis: int(axes[0]), axes: len(axes), keep: n.Int("keepdims", 1) != 0}
}

// absorbSqueeze lets a sum drop the axes that its only user drops.
func (f *fuser) absorbSqueeze(u *unit) {
	users := f.users[u.n.Out[0]]
	if !u.sum.keep || len(users) != 1 || users[0] == nil || users[0].Op != "Squeeze" || users[0].Domain != "" || len(users[0].In) != 2 {
		return
	}
	n := users[0]
	if n.Out[0].Rank() != n.In[0].Rank()-u.sum.axes {
		return
	}
	axes, ok := n.In[1].ConstInts()
	rank := n.In[0].Rank()
	for _, a := range axes {
		if a < 0 {
			a += int64(rank)
		}
		if a < int64(u.sum.axis) || a >= int64(u.sum.axis+u.sum.axes) {
			return
		}
	}
	if ok {
		u.sum.keep, u.sum.squeeze = false, n
	}
}

// place gives a node its level.
func (f *fuser) place(u *unit) {
	uses := append(slices.Clone(u.n.In), bodyUses(u.n)...)
	if u.fusable() {
		uses = u.leaves
	}
	for _, v := range uses {
		if v == nil {
			continue
		}
		p := f.units[v.Node]
		switch {
		case p == nil:
		case !u.fusable():
			u.level = max(u.level, p.level)
		case f.together(p, u):
			u.level = max(u.level, p.level)
		default:
			u.level = max(u.level, p.level+1)
		}
	}
}

// together reports whether the result of p may be an operand of u within a program.
func (f *fuser) together(p, u *unit) bool {
	return p.fusable() && p.sum == nil && p.shape.Same(u.shape)
}

// sink moves nodes to the level of their users where that takes no more traffic than to keep their results: a result that is only used later is
// then never written.
func (f *fuser) sink() {
	for i := len(f.g.Nodes) - 1; i >= 0; i-- {
		u := f.units[f.g.Nodes[i]]
		if !u.fusable() || u.sum != nil {
			continue
		}
		level, ok := f.userLevel(u)
		if !ok || level == u.level {
			continue
		}
		cost := -2 // writing and reading the result
		for j, v := range u.leaves {
			if slices.Contains(u.leaves[:j], v) || !v.Shape().Same(u.shape) {
				continue
			}
			if !f.readAt(v, level, u.shape) {
				cost++
			}
			if p := f.units[v.Node]; p != nil && f.together(p, u) && p.level < level && !f.crosses(v, p) {
				cost++
			}
		}
		if cost <= 0 {
			u.level = level
		}
	}
}

// userLevel is the level of all users of a result within programs.
func (f *fuser) userLevel(u *unit) (int, bool) {
	level := -1
	ok := f.eachUser(u.n.Out[0], func(w *unit) bool {
		if w == nil || !f.together(u, w) || level >= 0 && w.level != level {
			return false
		}
		level = w.level
		return true
	})
	return level, ok && level >= 0
}

// eachUser calls do for the users of a value, through comparisons, nil for others than nodes, until it returns false.
func (f *fuser) eachUser(v *Value, do func(u *unit) bool) bool {
	for _, n := range f.users[v] {
		switch {
		case n == nil:
			if !do(nil) {
				return false
			}
		case n.Domain == "" && comparisons[n.Op]:
			if !f.eachUser(n.Out[0], do) {
				return false
			}
		default:
			if !do(f.units[n]) {
				return false
			}
		}
	}
	return true
}

// readAt reports whether a program of the level reads a value.
func (f *fuser) readAt(v *Value, level int, s Shape) bool {
	return !f.eachUser(v, func(w *unit) bool { return w == nil || !w.fusable() || w.level != level || !w.shape.Same(s) })
}

// crosses reports whether the result of p is in memory: something else than programs of its level uses it.
func (f *fuser) crosses(v *Value, p *unit) bool {
	return !f.eachUser(v, func(w *unit) bool { return w != nil && f.together(p, w) && w.level == p.level })
}

// group is the nodes of one program.
type group struct {
	units []*unit
	alias *group // what it became a part of
}

func (g *group) root() *group {
	for g.alias != nil {
		g = g.alias
	}
	return g
}

func join(a, b *group) *group {
	a, b = a.root(), b.root()
	if a != b {
		b.alias = a
	}
	return a
}

// maxProgram bounds the nodes of a program; the runtime has room for some more operands.
const maxProgram = 60

// groups finds the programs: nodes of one level and shape that pass results on or read the same value.
func (f *fuser) groups() []*group {
	readers := map[string]*group{}
	ids := map[*Value]int{}
	for _, n := range f.g.Nodes {
		u := f.units[n]
		if !u.fusable() {
			continue
		}
		u.group = &group{}
		for _, v := range u.leaves {
			if p := f.units[v.Node]; p != nil && f.together(p, u) && p.level == u.level {
				u.group = join(p.group, u.group)
			}
			if !v.Shape().Same(u.shape) {
				continue
			}
			if ids[v] == 0 {
				ids[v] = len(ids) + 1
			}
			key := fmt.Sprint(ids[v], " ", u.level, " ", u.shape)
			if readers[key] != nil {
				u.group = join(readers[key], u.group)
			}
			readers[key] = u.group
		}
	}
	var list []*group
	for _, n := range f.g.Nodes {
		u := f.units[n]
		if !u.fusable() {
			continue
		}
		r := u.group.root()
		if len(r.units) == 0 {
			list = append(list, r)
		}
		r.units = append(r.units, u)
		u.group = r
	}
	var chosen []*group
	for _, r := range list {
		for _, part := range f.split(r) {
			for _, u := range part.units {
				u.group = part
			}
			chosen = append(chosen, part)
		}
	}
	return chosen
}

// split cuts a long program and drops one that does not pay. A sum stays with what it adds up.
func (f *fuser) split(g *group) []*group {
	var parts []*group
	of := map[*Node]*group{}
	last := &group{}
	for _, u := range g.units {
		if u.sum != nil {
			if p := of[u.n.In[0].Node]; p != nil {
				p.units = append(p.units, u)
			}
			continue
		}
		if len(last.units) == 0 || len(last.units) >= maxProgram {
			last = &group{}
			parts = append(parts, last)
		}
		last.units = append(last.units, u)
		of[u.n] = last
	}
	for _, u := range g.units {
		u.group = nil
	}
	return slices.DeleteFunc(parts, func(p *group) bool { return len(p.units) == 1 && !slow[p.units[0].n.Op] })
}

// rebuild writes the graph with a node for each program, in topological order.
func (f *fuser) rebuild(groups []*group) *Graph {
	squeezed := map[*Node]*unit{}
	for _, g := range groups {
		for _, u := range g.units {
			if u.sum != nil && u.sum.squeeze != nil {
				squeezed[u.sum.squeeze] = u
			}
		}
	}
	m := map[*Value]*Value{}
	r := &Graph{Name: f.g.Name, Doc: f.g.Doc, Inputs: f.g.Inputs, Metadata: f.g.Metadata}
	done := map[*group]bool{}
	var need func(v *Value)
	visit := func(n *Node) {
		u := f.units[n]
		if u == nil || len(n.Out) > 0 && m[n.Out[0]] != nil {
			return
		}
		if s := squeezed[n]; s != nil {
			n, u = s.n, s
		}
		if u.group == nil {
			for _, v := range append(slices.Clone(n.In), bodyUses(n)...) {
				need(v)
			}
			c := cloneNode(n, m)
			for i, v := range n.Out {
				m[v] = c.Out[i]
			}
			r.Nodes = append(r.Nodes, c)
			return
		}
		if done[u.group] {
			return
		}
		done[u.group] = true
		p := newComposer(f, u.group)
		for _, v := range p.inputs {
			need(v)
		}
		r.Nodes = append(r.Nodes, p.node(m))
	}
	need = func(v *Value) {
		if v != nil && v.Node != nil && f.units[v.Node] != nil {
			visit(v.Node)
		}
	}
	for _, n := range f.g.Nodes {
		visit(n)
	}
	for _, o := range f.g.Outputs {
		r.Outputs = append(r.Outputs, Output{o.Name, mapped(m, o.Value)})
	}
	r.Nodes = liveNodes(r)
	return r
}

// composer writes the program of a group.
type composer struct {
	f         *fuser
	group     *group
	inputs    []*Value // operands from outside
	constants []float32
	code      []string
	results   int
	text      map[*Value]string // operands
	known     map[string]string // constants
	outputs   []*Value
}

func newComposer(f *fuser, g *group) *composer {
	p := &composer{f: f, group: g, text: map[*Value]string{}, known: map[string]string{}}
	for _, u := range g.units {
		if u.sum == nil {
			p.text[u.n.Out[0]] = p.result(u.n)
		}
	}
	for _, u := range g.units {
		v := u.n.Out[0]
		switch {
		case u.sum != nil:
			keep := 0
			if u.sum.keep {
				keep = 1
			}
			p.code = append(p.code, fmt.Sprintf("Sum %s %d %d %d", p.text[u.n.In[0]], u.sum.axis, u.sum.axes, keep))
			if u.sum.squeeze != nil {
				v = u.sum.squeeze.Out[0]
			}
		case p.leaves(v):
			p.code = append(p.code, "Out "+p.text[v])
		default:
			continue
		}
		p.outputs = append(p.outputs, v)
	}
	return p
}

// leaves reports whether a result is needed outside of the program.
func (p *composer) leaves(v *Value) bool {
	return !p.f.eachUser(v, func(u *unit) bool { return u != nil && u.group == p.group })
}

// result emits the instructions of a node.
func (p *composer) result(n *Node) string {
	if c := compositions[n.Op]; c != nil {
		t := c(p, n)
		if !strings.HasPrefix(t, "t") || p.isResult(t) {
			t = p.emit("Max", t, t) // results are the program's own
		}
		return t
	}
	in := make([]string, len(n.In))
	for i, v := range n.In {
		in[i] = p.operand(v)
	}
	t := in[0]
	if len(in) > 2 && n.Op != "Where" { // Max and Min of many
		for _, x := range in[1:] {
			t = p.emit(n.Op, t, x)
		}
		return t
	}
	if n.Op != "Where" && len(in) == 1 && (n.Op == "Max" || n.Op == "Min") {
		in = append(in, in[0])
	}
	return p.emit(n.Op, in...)
}

// isResult reports whether another float value of the program has the name.
func (p *composer) isResult(t string) bool {
	for v, s := range p.text {
		if s == t && v.Type.DType == Float32 {
			return true
		}
	}
	return false
}

// operand gives the name of a value, after the instructions of comparisons.
func (p *composer) operand(v *Value) string {
	if t, ok := p.text[v]; ok {
		return t
	}
	t := ""
	if c, ok := v.ConstFloat(); ok && v.Type.DType == Float32 {
		t = p.number(float32(c))
	} else if v.Type.DType == Bool {
		t = p.result(v.Node)
	} else {
		t = fmt.Sprint("a", len(p.inputs))
		p.inputs = append(p.inputs, v)
	}
	p.text[v] = t
	return t
}

func (p *composer) number(c float32) string {
	key := fmt.Sprintf("%x", c)
	if t, ok := p.known[key]; ok {
		return t
	}
	t := fmt.Sprint("c", len(p.constants))
	p.constants = append(p.constants, c)
	p.known[key] = t
	return t
}

func (p *composer) emit(op string, operands ...string) string {
	p.code = append(p.code, op+" "+strings.Join(operands, " "))
	p.results++
	return fmt.Sprint("t", p.results-1)
}

// decomposed emits the nodes that a rewrite makes of n.
func (p *composer) decomposed(n *Node, rewrite Rewrite) string {
	b := NewBuilder("")
	v := rewrite(b, n)
	for _, d := range b.nodes {
		p.text[d.Out[0]] = p.result(d)
	}
	t := p.text[v]
	delete(p.text, v)
	return t
}

// node is the group's node; m gets the values that stand for its results.
func (p *composer) node(m map[*Value]*Value) *Node {
	n := &Node{Op: "Elementwise", Domain: ElementwiseDomain, Attrs: Attrs{"program": strings.Join(p.code, "; ")}}
	if len(p.constants) > 0 {
		n.Attrs["constants"] = p.constants
	}
	for _, v := range p.inputs {
		n.In = append(n.In, mapped(m, v))
	}
	for _, v := range p.outputs {
		m[v] = &Value{Name: v.Name, Kind: Computed, Type: v.Type, Node: n}
		n.Out = append(n.Out, m[v])
	}
	return n
}

// ElementwiseInstructions lists the instructions that FuseElementwise emits.
func ElementwiseInstructions() []string {
	all := maps.Clone(instructions)
	maps.Copy(all, comparisons)
	return slices.Sorted(maps.Keys(all))
}
