package graphs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
)

const (
	maxReadNodes = 1 << 19 // after inlining: functions that call functions could grow without bound
	maxCalls     = 64      // nesting of functions
)

type functionID struct{ domain, name, overload string }

type reader struct {
	files     externalFiles
	functions map[functionID]*onnxpb.Function
	facts     map[*Value]fact
	params    map[string]int // how many parameters have the name: bodies may repeat one
	nodes     int
}

// context is what holds for all nodes of the main graph or of one call of a function.
type context struct {
	opsets map[string]int64
	attrs  map[string]*onnxpb.Attribute // what ref_attr_name refers to
	call   string                       // name of the function, empty in the main graph
	inside []*onnxpb.Function           // the calls around, outermost first
}

// scope finds values by name, in a body also those of the graphs around it.
type scope struct {
	outer  *scope
	values map[string]*Value
}

// find returns nil with ok for an optional input that the call of a function leaves out.
func (s *scope) find(name string) (v *Value, ok bool) {
	for ; s != nil; s = s.outer {
		if v, ok := s.values[name]; ok {
			return v, true
		}
	}
	return nil, false
}

func (s *scope) define(name string, v *Value) error {
	if _, ok := s.values[name]; ok {
		return fmt.Errorf("the name %q is defined twice", name)
	}
	s.values[name] = v
	return nil
}

// graph converts the main graph (outer is nil) or a body.
func (r *reader) graph(p *onnxpb.Graph, outer *scope, c *context) (*Graph, error) {
	g := &Graph{Name: p.Name, Doc: p.DocString}
	s := &scope{outer, map[string]*Value{}}
	if len(p.SparseInitializer) > 0 {
		return nil, fmt.Errorf("sparse initializers are not supported")
	}
	for _, t := range p.Initializer {
		v, err := r.initializer(t)
		if err == nil {
			err = s.define(t.Name, v)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := r.inputs(g, p, s); err != nil {
		return nil, err
	}
	e := &emitter{r: r, g: g, c: c}
	types, err := declaredTypes(p.Input, p.Output, p.ValueInfo)
	if err != nil {
		return nil, err
	}
	outputs := make([]string, len(p.Output))
	for i, o := range p.Output {
		outputs[i] = o.Name
		if outer == nil && o.Type != nil && o.Type.Tensor == nil {
			return nil, fmt.Errorf("output %q is no tensor; only tensors are supported", o.Name)
		}
	}
	if err := e.run(p.Node, s, types, outputs); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, name := range outputs {
		v, _ := s.find(name)
		switch {
		case v == nil:
			return nil, fmt.Errorf("graph output %q is produced by nothing", name)
		case seen[name]:
			return nil, fmt.Errorf("graph output %q is listed twice", name)
		}
		seen[name] = true
		refine(v, types[name])
		g.Outputs = append(g.Outputs, Output{name, v})
	}
	return g, nil
}

func (r *reader) initializer(t *onnxpb.Tensor) (*Value, error) {
	if t.Name == "" {
		return nil, fmt.Errorf("an initializer has no name")
	}
	tensor, err := r.tensor(t)
	if err != nil {
		return nil, fmt.Errorf("initializer %q: %w", t.Name, err)
	}
	v := constant(tensor)
	v.Name = t.Name
	if tensor.DType.IsFloat() {
		v.Kind = Param
		if k := r.params[t.Name]; k > 0 {
			v.Name = fmt.Sprintf("%s/%d", t.Name, k)
		}
		r.params[t.Name]++
	}
	return v, nil
}

// inputs adds the graph inputs. Those that are initializers too (all were, before IR version 4) stay initializers.
func (r *reader) inputs(g *Graph, p *onnxpb.Graph, s *scope) error {
	main, seen := s.outer == nil, map[string]bool{}
	for _, in := range p.Input {
		if in.Name == "" {
			return fmt.Errorf("a graph input has no name")
		}
		if seen[in.Name] {
			return fmt.Errorf("the name %q is defined twice", in.Name)
		}
		seen[in.Name] = true
		if s.values[in.Name] != nil {
			continue
		}
		t, ok, err := typeOf(in)
		switch {
		case err != nil:
			return err
		case !ok && main:
			return fmt.Errorf("input %q is no tensor; only tensors are supported", in.Name)
		case t.DType == Undefined && main:
			return fmt.Errorf("input %q states no element type", in.Name)
		}
		v := &Value{Name: in.Name, Kind: Input, Type: t}
		s.values[in.Name] = v
		g.Inputs = append(g.Inputs, v)
	}
	return nil
}

// declaredTypes collects the types that the file states; what is no tensor is left out.
func declaredTypes(lists ...[]*onnxpb.ValueInfo) (map[string]Type, error) {
	types := map[string]Type{}
	for _, list := range lists {
		for _, v := range list {
			t, ok, err := typeOf(v)
			if err != nil {
				return nil, err
			}
			if ok {
				types[v.Name] = t
			}
		}
	}
	return types, nil
}

// typeOf returns the declared type; ok is false where it is missing or no tensor.
func typeOf(v *onnxpb.ValueInfo) (t Type, ok bool, err error) {
	if v.Type == nil || v.Type.Tensor == nil {
		return Type{}, false, nil
	}
	p := v.Type.Tensor
	t.DType = DType(p.ElemType)
	if err := supported(t.DType); err != nil && t.DType != Undefined {
		return Type{}, false, fmt.Errorf("value %q: %w", v.Name, err)
	}
	if p.Shape == nil {
		return t, true, nil
	}
	t.Shape = make(Shape, len(p.Shape.Dim))
	for i, d := range p.Shape.Dim {
		switch {
		case d.Param != "":
			t.Shape[i] = parseSymbol(d.Param)
		case !d.Has(onnxpb.FieldDimValue):
			t.Shape[i] = UnknownDim
		case d.Value < 0:
			t.Shape[i] = UnknownDim // some exporters write -1 for an axis that they do not know
		default:
			t.Shape[i] = Static(d.Value)
		}
	}
	return t, true, nil
}

// parseSymbol reads a dim_param: a name, or a polynomial over names such as "2*s0 + 1".
func parseSymbol(text string) Dim {
	if plainSymbol(text) {
		return Symbol(text)
	}
	d := Dim{Size: -1, Sym: strings.ReplaceAll(text, " ", "")}
	p, _ := d.poly()
	named := false
	for _, t := range p {
		for _, v := range t.vars {
			if v == "" || !plainSymbol(v) {
				return Symbol(text)
			}
			named = true
		}
	}
	if !named {
		return Symbol(text)
	}
	return p.dim()
}

// refine adds to what is known of a value under another of its names.
func refine(v *Value, t Type) {
	if v.Kind != Computed {
		return
	}
	if v.Type.DType == Undefined {
		v.Type.DType = t.DType
	}
	if v.Type.Shape == nil {
		v.Type.Shape = t.Shape
	}
}

// run converts nodes into e's graph. Names in used count as used beside those that the nodes use.
func (e *emitter) run(nodes []*onnxpb.Node, s *scope, types map[string]Type, used []string) error {
	order, uses, err := sortNodes(nodes)
	if err != nil {
		return err
	}
	for _, name := range used {
		uses[name] = true
	}
	for _, i := range order {
		p := nodes[i]
		if e.r.nodes++; e.r.nodes > maxReadNodes {
			return fmt.Errorf("the graph has more than %d nodes", maxReadNodes)
		}
		if err := e.node(p, s, types, uses); err != nil {
			return fmt.Errorf("%s: %w", nodeLabel(p), err)
		}
	}
	return nil
}

func nodeLabel(p *onnxpb.Node) string {
	n := Node{Op: p.OpType, Domain: domainOf(p.Domain), Name: p.Name}
	for _, o := range p.Output {
		if o != "" {
			n.Out = append(n.Out, &Value{Name: o})
			break
		}
	}
	return n.Label()
}

func (e *emitter) node(p *onnxpb.Node, s *scope, types map[string]Type, uses map[string]bool) error {
	n := &Node{Op: p.OpType, Domain: domainOf(p.Domain), Name: p.Name}
	for _, name := range p.Input {
		if name == "" {
			n.In = append(n.In, nil)
			continue
		}
		v, ok := s.find(name)
		if !ok {
			return fmt.Errorf("its input %q is produced by nothing", name)
		}
		n.In = append(n.In, v)
	}
	n.In = trimValues(n.In)

	names := p.Output
	for len(names) > 0 && names[len(names)-1] == "" && !(n.Domain == "" && countsOutputs[n.Op]) {
		names = names[:len(names)-1]
	}
	for _, name := range names {
		v := &Value{Kind: Computed, Type: types[name], Node: n}
		if e.c.call == "" {
			v.Name = name
		}
		n.Out = append(n.Out, v)
	}

	f := e.r.functions[functionID{n.Domain, n.Op, p.Overload}]
	var err error
	if f != nil {
		err = e.inline(f, n, p)
	} else {
		err = e.standard(n, p, s, names, uses)
	}
	if err != nil {
		return err
	}
	for i, name := range names[:min(len(names), len(n.Out))] {
		if name == "" {
			continue
		}
		if n.Out[i].Name == "" && e.c.call == "" {
			n.Out[i].Name = name
		}
		refine(n.Out[i], types[name])
		if err := s.define(name, n.Out[i]); err != nil {
			return err
		}
	}
	return nil
}

func trimValues(v []*Value) []*Value {
	for len(v) > 0 && v[len(v)-1] == nil {
		v = v[:len(v)-1]
	}
	return v
}

// standard converts a node that is no function call.
func (e *emitter) standard(n *Node, p *onnxpb.Node, s *scope, names []string, uses map[string]bool) error {
	attrs, err := e.attributes(p, s)
	if err != nil {
		return err
	}
	n.Attrs = attrs
	if n.Domain == "" {
		if e.c.opsets[""] == 0 {
			return fmt.Errorf("the file does not say which opset of ai.onnx it uses")
		}
		if err := checkAttributes(n.Attrs); err != nil {
			return err
		}
	}
	e.used = make([]bool, len(names))
	for i, name := range names {
		e.used[i] = uses[name]
	}
	if err := e.upgrade(n); err != nil {
		return err
	}
	if n.Op != "" {
		e.append(n)
	}
	return nil
}

// inline puts the nodes of a model-local function in the place of its call.
func (e *emitter) inline(f *onnxpb.Function, n *Node, p *onnxpb.Node) error {
	if slices.Contains(e.c.inside, f) {
		return fmt.Errorf("function %s calls itself", f.Name)
	}
	if len(e.c.inside) >= maxCalls {
		return fmt.Errorf("functions are nested more than %d deep", maxCalls)
	}
	if len(n.In) > len(f.Input) || len(n.Out) > len(f.Output) {
		return fmt.Errorf("function %s has %d inputs and %d outputs, the call %d and %d", f.Name, len(f.Input), len(f.Output), len(n.In), len(n.Out))
	}
	versions, err := opsets(f.OpsetImport)
	if err != nil {
		return fmt.Errorf("function %s: %w", f.Name, err)
	}
	c := &context{opsets: versions, attrs: map[string]*onnxpb.Attribute{}, call: f.Name, inside: append(slices.Clone(e.c.inside), f)}
	for _, a := range f.AttributeProto {
		c.attrs[a.Name] = a
	}
	for _, a := range p.Attribute {
		if a, err = e.resolve(a); err != nil {
			return err
		}
		if a != nil {
			c.attrs[a.Name] = a
		}
	}
	s := &scope{nil, map[string]*Value{}}
	for i, name := range f.Input {
		s.values[name] = n.Input(i)
	}
	types, err := declaredTypes(f.ValueInfo)
	if err != nil {
		return err
	}
	inner := &emitter{r: e.r, g: e.g, c: c}
	if err := inner.run(f.Node, s, types, f.Output); err != nil {
		return fmt.Errorf("function %s: %w", f.Name, err)
	}
	for i, out := range n.Out {
		v := s.values[f.Output[i]]
		if v == nil {
			return fmt.Errorf("function %s: output %q is produced by nothing", f.Name, f.Output[i])
		}
		refine(v, out.Type)
		n.Out[i] = v
	}
	return nil
}

// resolve replaces a reference to an attribute of the function around by its value, nil where the call leaves it out.
func (e *emitter) resolve(a *onnxpb.Attribute) (*onnxpb.Attribute, error) {
	if a.RefAttrName == "" {
		return a, nil
	}
	if e.c.call == "" {
		return nil, fmt.Errorf("attribute %q refers to %q outside a function", a.Name, a.RefAttrName)
	}
	v := e.c.attrs[a.RefAttrName]
	if v == nil {
		return nil, nil
	}
	c := *v
	c.Name = a.Name
	return &c, nil
}

// sortNodes returns a topological order that keeps the file's order where that is one, and the names that nodes use.
func sortNodes(nodes []*onnxpb.Node) ([]int, map[string]bool, error) {
	producer := map[string]int{}
	for i, n := range nodes {
		for _, name := range n.Output {
			if name == "" {
				continue
			}
			if j, ok := producer[name]; ok {
				return nil, nil, fmt.Errorf("the name %q is defined twice: by %s and by %s", name, nodeLabel(nodes[j]), nodeLabel(n))
			}
			producer[name] = i
		}
	}
	uses := map[string]bool{}
	deps := make([][]int, len(nodes))
	for i, n := range nodes {
		for _, name := range usedNames(n) {
			uses[name] = true
			if j, ok := producer[name]; ok {
				deps[i] = append(deps[i], j)
			}
		}
	}
	order, err := depthFirst(deps, func(i int) string { return nodeLabel(nodes[i]) })
	return order, uses, err
}

// depthFirst orders 0…len(deps)-1 so that each comes after its dependencies. It keeps its own stack: files may be deep.
func depthFirst(deps [][]int, label func(int) string) ([]int, error) {
	const open, done = 1, 2
	state := make([]uint8, len(deps))
	next := make([]int, len(deps))
	order := make([]int, 0, len(deps))
	var stack []int
	for root := range deps {
		if state[root] != 0 {
			continue
		}
		state[root] = open
		stack = append(stack[:0], root)
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			if next[i] == len(deps[i]) {
				state[i] = done
				order = append(order, i)
				stack = stack[:len(stack)-1]
				continue
			}
			j := deps[i][next[i]]
			next[i]++
			switch state[j] {
			case open:
				return nil, cycleError(stack[slices.Index(stack, j):], label)
			case 0:
				state[j] = open
				stack = append(stack, j)
			}
		}
	}
	return order, nil
}

func cycleError(cycle []int, label func(int) string) error {
	const shown = 8
	var names []string
	for _, i := range cycle[:min(shown, len(cycle))] {
		names = append(names, label(i))
	}
	if len(cycle) > shown {
		names = append(names, fmt.Sprintf("%d more", len(cycle)-shown))
	}
	return fmt.Errorf("the graph has a cycle through %s", strings.Join(names, ", "))
}

// usedNames returns the names that a node uses, those that its bodies take from outside included.
func usedNames(n *onnxpb.Node) []string {
	var names []string
	for _, name := range n.Input {
		if name != "" {
			names = append(names, name)
		}
	}
	for _, a := range n.Attribute {
		if a.G != nil {
			names = append(names, freeNames(a.G)...)
		}
	}
	return names
}

// freeNames returns the names that a body uses and does not define.
func freeNames(g *onnxpb.Graph) []string {
	own := map[string]bool{}
	for _, v := range g.Input {
		own[v.Name] = true
	}
	for _, t := range g.Initializer {
		own[t.Name] = true
	}
	for _, n := range g.Node {
		for _, name := range n.Output {
			own[name] = true
		}
	}
	var free []string
	add := func(name string) {
		if !own[name] {
			own[name] = true
			free = append(free, name)
		}
	}
	for _, n := range g.Node {
		for _, name := range usedNames(n) {
			add(name)
		}
	}
	for _, v := range g.Output {
		add(v.Name)
	}
	return free
}
