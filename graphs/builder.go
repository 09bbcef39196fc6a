package graphs

import (
	wire "encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Builder makes graphs node by node: it infers types, shares equal nodes and equal constants, and applies rewrite rules as nodes are added.
//
// The first error is latched: later calls return placeholder values and Graph returns the error, so that a chain of
// operations needs one check at its end.
type Builder struct {
	name   string
	inputs []*Value
	nodes  []*Node
	rules  ruleSet
	share  map[string]*Node
	ids    map[*Value]uint64
	consts map[string]*Value
	err    error
}

// NewBuilder returns an empty builder that shares equal nodes and folds and simplifies nothing.
func NewBuilder(name string) *Builder {
	return &Builder{name: name, share: map[string]*Node{}, ids: map[*Value]uint64{}, consts: map[string]*Value{}}
}

// NewSimplifyingBuilder returns an empty builder that applies the rules of the passes fold and simplify to every node it adds.
func NewSimplifyingBuilder(name string) *Builder {
	b := NewBuilder(name)
	b.rules = simplifying
	return b
}

// Extend returns a simplifying builder that starts with g's inputs and nodes. g itself is shared, not changed.
func Extend(g *Graph) *Builder {
	b := NewSimplifyingBuilder(g.Name)
	b.inputs = slices.Clone(g.Inputs)
	b.nodes = slices.Clone(g.Nodes)
	for _, n := range b.nodes {
		b.share[b.key(n)] = n
	}
	g.EachUse(func(v *Value) {
		if v.IsConst() && v.Name == "" {
			if k, ok := constKey(v.Tensor); ok {
				b.consts[k] = v
			}
		}
	})
	return b
}

// Err returns the first error.
func (b *Builder) Err() error { return b.err }

// Fail latches an error.
func (b *Builder) Fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Failf latches a formatted error and returns a placeholder.
func (b *Builder) Failf(format string, args ...any) *Value {
	b.Fail(fmt.Errorf("graphs: "+format, args...))
	return &Value{}
}

// Input adds an input.
func (b *Builder) Input(name string, dt DType, s Shape) *Value {
	v := &Value{Name: name, Kind: Input, Type: Type{dt, s}}
	b.inputs = append(b.inputs, v)
	return v
}

// AddInput adds a value of kind Input made elsewhere, unless the builder has it.
func (b *Builder) AddInput(v *Value) {
	if !slices.Contains(b.inputs, v) {
		b.inputs = append(b.inputs, v)
	}
}

// Param makes a parameter with an initial value.
func (b *Builder) Param(name string, t *Tensor) *Value {
	return &Value{Name: name, Kind: Param, Type: Type{t.DType, t.Shape()}, Tensor: t}
}

// Const makes a constant; small equal ones are shared.
func (b *Builder) Const(t *Tensor) *Value {
	k, ok := constKey(t)
	if v := b.consts[k]; ok && v != nil {
		return v
	}
	v := constant(t)
	if ok {
		b.consts[k] = v
	}
	return v
}

// constant makes a Constant with its type and, where it is a short integer vector, its elements.
func constant(t *Tensor) *Value {
	v := &Value{Kind: Constant, Type: Type{t.DType, t.Shape()}, Tensor: t}
	v.Ints = constElements(t)
	return v
}

const maxTracked = 64 // longest integer vector whose elements are tracked: shapes, axes, pads

func constElements(t *Tensor) []Dim {
	if len(t.Dims) > 1 || t.Len() > maxTracked || !t.DType.IsInt() && t.DType != Bool {
		return nil
	}
	ints := t.Int64s()
	e := make([]Dim, len(ints))
	for i, n := range ints {
		e[i] = element(n)
	}
	return e
}

func constKey(t *Tensor) (string, bool) {
	if len(t.Raw) > 512 || t.DType == String {
		return "", false
	}
	k := wire.AppendVarint(nil, int64(t.DType))
	for _, d := range t.Dims {
		k = wire.AppendVarint(k, d)
	}
	return string(append(append(k, '|'), t.Raw...)), true
}

// Float makes a float32 scalar constant.
func (b *Builder) Float(f float64) *Value { return b.Const(ScalarTensor(float32(f))) }

// FloatLike makes a scalar constant of v's type.
func (b *Builder) FloatLike(v *Value, f float64) *Value {
	if v.Type.DType == Float64 {
		return b.Const(ScalarTensor(f))
	}
	return b.Float(f)
}

// Ints makes an int64 vector constant.
func (b *Builder) Ints(v ...int64) *Value { return b.Const(IntsTensor(v...)) }

// Int makes an int64 scalar constant.
func (b *Builder) Int(v int64) *Value { return b.Const(ScalarTensor(v)) }

// Op adds a node of ai.onnx and returns its first output.
func (b *Builder) Op(op string, a Attrs, in ...*Value) *Value {
	return b.Ops(op, 1, a, in...)[0]
}

// Ops adds a node of ai.onnx with nout outputs.
func (b *Builder) Ops(op string, nout int, a Attrs, in ...*Value) []*Value {
	for len(in) > 0 && in[len(in)-1] == nil {
		in = in[:len(in)-1]
	}
	n := &Node{Op: op, Attrs: a, In: slices.Clone(in), Out: make([]*Value, nout)}
	for i := range n.Out {
		n.Out[i] = &Value{Kind: Computed, Node: n}
	}
	return b.Add(n)
}

// Add adds a node made elsewhere, whose outputs it owns, and returns the values that stand for its outputs: the node's own,
// or those of an equal node or of what a rule put in its place.
func (b *Builder) Add(n *Node) []*Value {
	if b.err != nil {
		return n.Out
	}
	if err := infer(n); err != nil {
		b.Fail(err)
		return n.Out
	}
	if b.rules != nil {
		if r := b.rules.apply(b, n); r != nil {
			return r
		}
	}
	k := b.key(n)
	if m := b.share[k]; m != nil {
		return m.Out
	}
	b.share[k] = n
	b.nodes = append(b.nodes, n)
	return n.Out
}

// Nodes returns the nodes added so far.
func (b *Builder) Nodes() []*Node { return slices.Clone(b.nodes) }

func (b *Builder) id(v *Value) uint64 {
	if v == nil {
		return 0
	}
	id, ok := b.ids[v]
	if !ok {
		id = uint64(len(b.ids) + 1)
		b.ids[v] = id
	}
	return id
}

// own is an id that no other node has.
func (b *Builder) own(n *Node) uint64 {
	if len(n.Out) == 0 {
		return b.id(&Value{})
	}
	return b.id(n.Out[0])
}

// key is equal for nodes that compute the same. Random ops and nodes with bodies get keys of their own.
func (b *Builder) key(n *Node) string {
	k := make([]byte, 0, 64)
	k = append(k, n.Op...)
	k = append(k, 0)
	k = append(k, n.Domain...)
	k = append(k, 0, byte(len(n.Out)))
	for _, v := range n.In {
		k = wire.AppendUvarint(k, b.id(v))
	}
	for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
		k = append(append(k, 0), name...)
		k = append(k, '=')
		k = b.appendAttr(k, n.Attrs[name], n)
	}
	if info, ok := Info(n.Op); !ok || info.Random {
		k = wire.AppendUvarint(append(k, 0), b.own(n))
	}
	return string(k)
}

func (b *Builder) appendAttr(k []byte, a any, n *Node) []byte {
	switch a := a.(type) {
	case int64:
		return wire.AppendVarint(k, a)
	case float32:
		return wire.LittleEndian.AppendUint32(k, math.Float32bits(a))
	case string:
		return append(k, a...)
	case []int64:
		for _, x := range a {
			k = wire.AppendVarint(k, x)
		}
		return k
	case []float32:
		for _, x := range a {
			k = wire.LittleEndian.AppendUint32(k, math.Float32bits(x))
		}
		return k
	case []string:
		for _, s := range a {
			k = append(append(k, s...), 0)
		}
		return k
	case *Tensor:
		if ck, ok := constKey(a); ok {
			return append(k, ck...)
		}
	}
	return wire.AppendUvarint(k, b.own(n))
}

// Graph returns what was built with the given outputs, without the nodes that no output needs.
func (b *Builder) Graph(outs ...Output) (*Graph, error) {
	if b.err != nil {
		return nil, b.err
	}
	for _, o := range outs {
		if o.Value == nil {
			return nil, fmt.Errorf("graphs: output %q has no value", o.Name)
		}
	}
	g := &Graph{Name: b.name, Inputs: slices.Clone(b.inputs), Outputs: outs, Nodes: b.nodes}
	g.Nodes = liveNodes(g)
	return g, nil
}

// Splice adds copies of g's nodes with the given values in place of g's own and returns the values that stand for g's outputs.
// Values of g that are not replaced (parameters, constants, inputs) are used as they are.
func (b *Builder) Splice(g *Graph, replace map[*Value]*Value) []*Value {
	return b.SpliceWith(g, replace, nil)
}

// SpliceWith is Splice with a function that may change the operands of each copied node before it is added.
func (b *Builder) SpliceWith(g *Graph, replace map[*Value]*Value, edit func(*Node)) []*Value {
	m := maps.Clone(replace)
	if m == nil {
		m = map[*Value]*Value{}
	}
	b.copyNodes(g.Nodes, m, edit)
	outs := make([]*Value, len(g.Outputs))
	for i, o := range g.Outputs {
		outs[i] = mapped(m, o.Value)
	}
	return outs
}

func mapped(m map[*Value]*Value, v *Value) *Value {
	if r, ok := m[v]; ok {
		return r
	}
	return v
}

func (b *Builder) copyNodes(nodes []*Node, m map[*Value]*Value, edit func(*Node)) {
	for _, n := range nodes {
		c := cloneNode(n, m)
		if edit != nil {
			edit(c)
		}
		if err := b.bodies(c); err != nil {
			b.Fail(err)
			return
		}
		for i, r := range b.Add(c) {
			m[n.Out[i]] = r
		}
		if b.err != nil {
			return
		}
	}
}

// cloneNode copies n with inputs (also those of bodies) replaced by m. Output names are kept; types are inferred again.
func cloneNode(n *Node, m map[*Value]*Value) *Node {
	c := &Node{Op: n.Op, Domain: n.Domain, Name: n.Name, Attrs: n.Attrs, In: make([]*Value, len(n.In)), Out: make([]*Value, len(n.Out))}
	for i, v := range n.In {
		if v != nil {
			c.In[i] = mapped(m, v)
		}
	}
	for i, v := range n.Out {
		c.Out[i] = &Value{Name: v.Name, Kind: Computed, Node: c, Type: v.Type}
	}
	for name, a := range n.Attrs {
		if body, ok := a.(*Graph); ok {
			c.Attrs = maps.Clone(c.Attrs)
			c.Attrs[name] = cloneBody(body, m)
		}
	}
	return c
}

// cloneBody copies a body whose outer values are replaced by m.
func cloneBody(g *Graph, outer map[*Value]*Value) *Graph {
	m := maps.Clone(outer)
	c := &Graph{Name: g.Name, Doc: g.Doc, Metadata: g.Metadata}
	for _, v := range g.Inputs {
		w := *v
		m[v] = &w
		c.Inputs = append(c.Inputs, &w)
	}
	for _, n := range g.Nodes {
		d := cloneNode(n, m)
		for i, v := range n.Out {
			m[v] = d.Out[i]
		}
		c.Nodes = append(c.Nodes, d)
	}
	for _, o := range g.Outputs {
		c.Outputs = append(c.Outputs, Output{o.Name, mapped(m, o.Value)})
	}
	return c
}

// liveNodes returns the nodes that the outputs depend on, in order.
func liveNodes(g *Graph) []*Node {
	live := map[*Node]bool{}
	var need func(v *Value)
	mark := func(n *Node) { live[n] = true }
	need = func(v *Value) {
		if v != nil && v.Kind == Computed && v.Node != nil {
			mark(v.Node)
		}
	}
	for _, o := range g.Outputs {
		need(o.Value)
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		if !live[n] {
			continue
		}
		for _, v := range n.In {
			need(v)
		}
		for _, a := range n.Attrs {
			if body, ok := a.(*Graph); ok {
				body.EachUse(need)
			}
		}
	}
	var nodes []*Node
	for _, n := range g.Nodes {
		if live[n] {
			nodes = append(nodes, n)
		}
	}
	return nodes
}
