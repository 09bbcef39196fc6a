package graphs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
	"github.com/onnx-ebm/onnx-ebm/internal/atomicfile"
)

// WriteOptions says how a graph becomes a file. The zero value writes the lowest opset from 18 on that has all ops.
type WriteOptions struct {
	MinOpset        int64            // 0 means 18, the lowest that the forms of the IR are written for
	MaxOpset        int64            // 0 means 26; an op that needs more is an error
	ParamsAsInputs  bool             // parameters become graph inputs after the graph's own, without data
	ParamPrefix     string           // put before the names of parameters
	InlineLimit     int64            // bytes of initializers from which on WriteFile puts them into a data file; 0 means InlineLimit
	ValueInfo       bool             // also write the types of intermediate values: ONNX Runtime plans memory by them, see docs/design.md
	Domains         map[string]int64 // versions of other domains, 1 where absent
	Producer        string
	ProducerVersion string
	Doc             string // doc_string of the model; the graph's own is written with the graph
}

const (
	baseOpset   = 18
	newestOpset = MaxReadOpset
)

// irVersions pairs opsets with the IR version that came with them; older runtimes read no later one.
var irVersions = []struct{ opset, ir int64 }{{25, 13}, {24, 12}, {23, 11}, {21, 10}, {19, 9}, {0, 8}}

// Encode writes g as an ONNX model. The same graph and options give the same bytes.
//
// Inputs and outputs have their names exactly, parameters unless an input or output of another value has it, other values where theirs is free. Parameters are initializers,
// float constants Constant nodes, other constants initializers; those that only a body uses are in that body.
func Encode(g *Graph, o WriteOptions) ([]byte, error) {
	m, err := model(g, o)
	if err != nil {
		return nil, fmt.Errorf("graphs: %w", err)
	}
	b, err := onnxpb.Encode(m)
	if err != nil {
		return nil, fmt.Errorf("graphs: %w", err)
	}
	return b, nil
}

// WriteFile writes g to a file that appears whole or not at all. Above the limit of the options, large initializers go to a second file beside it,
// DataName(path), which appears with it.
func WriteFile(path string, g *Graph, o WriteOptions) error {
	var set atomicfile.Set
	defer set.Abort()
	w, err := set.Add(path)
	if err == nil {
		err = Stage(&set, path, w, g, o)
	}
	if err == nil {
		err = set.Commit()
	}
	if err != nil {
		return fmt.Errorf("graphs: %w", err)
	}
	return nil
}

func model(g *Graph, o WriteOptions) (*onnxpb.Model, error) {
	opset, err := chooseOpset(g, o)
	if err != nil {
		return nil, err
	}
	m := &onnxpb.Model{ProducerName: o.Producer, ProducerVersion: o.ProducerVersion, DocString: o.Doc}
	for _, v := range irVersions {
		if opset >= v.opset {
			m.IRVersion = v.ir
			break
		}
	}
	m.OpsetImport = []*onnxpb.OperatorSetID{{Version: opset}}
	for _, d := range domains(g) {
		m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetID{Domain: d, Version: max(1, o.Domains[d])})
	}
	for _, k := range slices.Sorted(maps.Keys(g.Metadata)) {
		m.MetadataProps = append(m.MetadataProps, &onnxpb.StringStringEntry{Key: k, Value: g.Metadata[k]})
	}
	w := &writer{options: o, opset: opset, names: newNames(), labels: map[string]bool{}}
	m.Graph, err = w.main(g)
	return m, err
}

// eachNode calls f for all nodes, bodies included.
func eachNode(g *Graph, f func(*Node)) {
	for _, n := range g.Nodes {
		f(n)
		for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
			if body, ok := n.Attrs[name].(*Graph); ok {
				eachNode(body, f)
			}
		}
	}
}

func domains(g *Graph) []string {
	set := map[string]bool{}
	eachNode(g, func(n *Node) {
		if n.Domain != "" {
			set[n.Domain] = true
		}
	})
	return slices.Sorted(maps.Keys(set))
}

// laterOps are the ops after opset 18 that pass through and are not in the op table.
var laterOps = map[string]int64{
	"ImageDecoder": 20, "RegexFullMatch": 20, "StringConcat": 20, "StringSplit": 20, "TensorScatter": 24, "BitCast": 26,
}

// laterFeatures are uses of older ops that need a newer opset.
var laterFeatures = []struct {
	op    string
	since int64
	uses  func(*Node) bool
}{
	{"AveragePool", 19, func(n *Node) bool {
		dilated := slices.ContainsFunc(n.IntList("dilations"), func(d int64) bool { return d != 1 })
		// Before 19, ONNX Runtime counts as pads what ceil_mode lets a window reach beyond the pads; PyTorch and the specification do not.
		return dilated || n.Int("ceil_mode", 0) != 0 && n.Int("count_include_pad", 0) != 0
	}},
	{"Pad", 19, func(n *Node) bool { return n.Text("mode", "constant") == "wrap" }},
	{"Resize", 19, func(n *Node) bool { return n.Text("coordinate_transformation_mode", "") == "half_pixel_symmetric" }},
	{"GridSample", 20, func(n *Node) bool { return n.In[0].Rank() > 4 }},
	{"ReduceMax", 20, inputOf(Bool)},
	{"ReduceMin", 20, inputOf(Bool)},
	{"Equal", 19, inputOf(String)},
	{"IsInf", 20, inputOf(Float16, BFloat16)},
	{"QuantizeLinear", 21, func(n *Node) bool { return blocked(n) || typed(n.Input(2), Int16, Uint16) }},
	{"DequantizeLinear", 21, func(n *Node) bool { return blocked(n) || typed(n.In[0], Int16, Uint16) }},
	{"QLinearMatMul", 21, func(n *Node) bool { return typed(n.Input(1), Float16, BFloat16) }},
	{"Attention", 24, func(n *Node) bool { return n.Input(6) != nil }},
}

func typed(v *Value, types ...DType) bool { return v != nil && slices.Contains(types, v.Type.DType) }

func inputOf(types ...DType) func(*Node) bool {
	return func(n *Node) bool { return typed(n.In[0], types...) }
}

func blocked(n *Node) bool {
	return n.Int("block_size", 0) != 0 || n.Int("output_dtype", 0) != 0 || n.Int("precision", 0) != 0
}

// opsetOf returns the lowest opset, 18 or later, whose form of n.Op is the IR's.
func opsetOf(n *Node) int64 {
	if n.Domain != "" {
		return baseOpset
	}
	since := max(baseOpset, laterOps[n.Op])
	if info, ok := Info(n.Op); ok && renamed[n.Op] == nil {
		since = max(since, info.Since)
	}
	for _, f := range laterFeatures {
		if f.op == n.Op && f.since > since && len(n.In) > 0 && n.In[0] != nil && f.uses(n) {
			since = f.since
		}
	}
	return since
}

func chooseOpset(g *Graph, o WriteOptions) (int64, error) {
	opset, limit := max(baseOpset, o.MinOpset), o.MaxOpset
	if limit == 0 {
		limit = newestOpset
	}
	var err error
	if opset > limit {
		return 0, fmt.Errorf("opset %d is asked for where at most %d is allowed; opsets %d to %d are written", opset, limit, baseOpset, newestOpset)
	}
	eachNode(g, func(n *Node) {
		since := opsetOf(n)
		if since > limit && err == nil {
			err = &OpError{Op: n.FullOp(), Node: n.Name, Reason: fmt.Sprintf("it needs opset %d and at most %d is allowed", since, limit)}
		}
		opset = max(opset, since)
	})
	return opset, err
}

// countsOutputs lists ops that have all their outputs also where nobody uses them: ONNX Runtime asks for both of TopK, its kernel of Split writes
// to each, and the outputs of bodies must be as many.
var countsOutputs = map[string]bool{"Split": true, "TopK": true, "If": true, "Loop": true, "Scan": true}

// names hands out names that are unique in the whole file, bodies included.
type names struct {
	taken map[string]bool
	next  int
}

func newNames() *names { return &names{taken: map[string]bool{}} }

// claim takes exactly this name.
func (n *names) claim(name, what string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s has no name", what)
	case n.taken[name]:
		return fmt.Errorf("the name %q of %s is taken by another input, output or parameter", name, what)
	}
	n.taken[name] = true
	return nil
}

// pick takes the name, or one made from it where it is taken or empty.
func (n *names) pick(name string) string {
	prefix := "v"
	if name != "" {
		prefix = name + "_"
	}
	for name == "" || n.taken[name] {
		name = prefix + strconv.Itoa(n.next)
		n.next++
	}
	n.taken[name] = true
	return name
}

type writer struct {
	options WriteOptions
	opset   int64
	names   *names
	labels  map[string]bool // names of nodes written, which a runtime wants to be unique
}

// level is the graph that is being written: the main graph or a body in it.
type level struct {
	outer *level
	names map[*Value]string
	graph *onnxpb.Graph
}

func (l *level) find(v *Value) string {
	for ; l != nil; l = l.outer {
		if name, ok := l.names[v]; ok {
			return name
		}
	}
	return ""
}

// main writes the outermost graph. Names of inputs, outputs and parameters are taken first, in this order.
func (w *writer) main(g *Graph) (*onnxpb.Graph, error) {
	l := &level{nil, map[*Value]string{}, &onnxpb.Graph{Name: graphName(g), DocString: g.Doc}}
	for _, v := range g.Inputs {
		if err := w.names.claim(v.Name, "an input"); err != nil {
			return nil, err
		}
		l.names[v] = v.Name
		l.graph.Input = append(l.graph.Input, valueInfo(v.Name, v.Type))
	}
	params := g.Params()
	own := producedBy(g)
	for _, out := range g.Outputs {
		if l.names[out.Value] == out.Name {
			continue // an input that is returned under its own name
		}
		if err := w.names.claim(out.Name, "an output"); err != nil {
			return nil, err
		}
		v := out.Value
		if own[v] && l.names[v] == "" || v.Kind == Param && w.options.ParamPrefix+v.Name == out.Name {
			l.names[v] = out.Name
		}
	}
	for _, v := range params {
		if v.Name == "" {
			return nil, fmt.Errorf("a parameter has no name")
		}
		name := w.options.ParamPrefix + v.Name
		if l.names[v] != name {
			if w.options.ParamsAsInputs {
				if err := w.names.claim(name, "a parameter"); err != nil {
					return nil, err
				}
			} else {
				name = w.names.pick(name)
			}
			l.names[v] = name
		}
		if w.options.ParamsAsInputs {
			l.graph.Input = append(l.graph.Input, valueInfo(name, v.Type))
		} else {
			l.graph.Initializer = append(l.graph.Initializer, tensorProto(name, v.Tensor))
		}
	}
	if err := w.nodes(g, l); err != nil {
		return nil, err
	}
	for _, out := range g.Outputs {
		if err := w.output(out.Value, out.Name, l); err != nil {
			return nil, err
		}
	}
	return l.graph, nil
}

// body writes a subgraph. Its outputs are matched by position, so their names need only be unique.
func (w *writer) body(g *Graph, outer *level) (*onnxpb.Graph, error) {
	l := &level{outer, map[*Value]string{}, &onnxpb.Graph{Name: graphName(g), DocString: g.Doc}}
	for _, v := range g.Inputs {
		l.names[v] = w.names.pick(v.Name)
		l.graph.Input = append(l.graph.Input, valueInfo(l.names[v], v.Type))
	}
	own := producedBy(g)
	outs := make([]string, len(g.Outputs))
	for i, out := range g.Outputs {
		outs[i] = w.names.pick(out.Name)
		if v := out.Value; own[v] && l.names[v] == "" {
			l.names[v] = outs[i]
		}
	}
	if err := w.nodes(g, l); err != nil {
		return nil, err
	}
	for i, out := range g.Outputs {
		if err := w.output(out.Value, outs[i], l); err != nil {
			return nil, err
		}
	}
	return l.graph, nil
}

func graphName(g *Graph) string {
	if g.Name == "" {
		return "graph"
	}
	return g.Name
}

func producedBy(g *Graph) map[*Value]bool {
	own := map[*Value]bool{}
	for _, n := range g.Nodes {
		for _, v := range n.Out {
			own[v] = true
		}
	}
	return own
}

// output adds a graph output, with an Identity where the value has another name.
func (w *writer) output(v *Value, name string, l *level) error {
	if l.names[v] != name {
		from, err := w.use(v, l)
		if err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
		l.graph.Node = append(l.graph.Node, &onnxpb.Node{OpType: "Identity", Input: []string{from}, Output: []string{name}})
	}
	l.graph.Output = append(l.graph.Output, valueInfo(name, v.Type))
	return nil
}

// use returns the name of a value that a node reads. A constant is written at its first use: as a Constant node where it
// holds floats, so that it is told from a parameter when the file is read again, and as an initializer otherwise.
func (w *writer) use(v *Value, l *level) (string, error) {
	if name := l.find(v); name != "" {
		return name, nil
	}
	if v.Kind != Constant || v.Tensor == nil {
		return "", fmt.Errorf("%s value %q is used and not defined", v.Kind, v.Name)
	}
	name := w.names.pick(v.Name)
	l.names[v] = name
	if v.Tensor.DType.IsFloat() {
		value := &onnxpb.Attribute{Name: "value", Type: onnxpb.AttrTensor, T: tensorProto("", v.Tensor)}
		l.graph.Node = append(l.graph.Node, &onnxpb.Node{OpType: "Constant", Output: []string{name}, Attribute: []*onnxpb.Attribute{value}})
	} else {
		l.graph.Initializer = append(l.graph.Initializer, tensorProto(name, v.Tensor))
	}
	return name, nil
}

func (w *writer) nodes(g *Graph, l *level) error {
	used := g.Uses()
	for _, n := range g.Nodes {
		p, err := w.node(n, l, used)
		if err != nil {
			return fmt.Errorf("%s: %w", n.Label(), err)
		}
		l.graph.Node = append(l.graph.Node, p)
	}
	return nil
}

func (w *writer) node(n *Node, l *level, used map[*Value]int) (*onnxpb.Node, error) {
	p := &onnxpb.Node{OpType: n.Op, Domain: n.Domain}
	if !w.labels[n.Name] {
		p.Name, w.labels[n.Name] = n.Name, true
	}
	for _, v := range n.In {
		if v == nil {
			p.Input = append(p.Input, "")
			continue
		}
		name, err := w.use(v, l)
		if err != nil {
			return nil, err
		}
		p.Input = append(p.Input, name)
	}
	attrs := n.Attrs
	if fix := renamed[n.Op]; fix != nil && n.Domain == "" {
		attrs = fix(attrs, w.opset)
	}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		a, err := w.attribute(name, attrs[name], l)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", name, err)
		}
		p.Attribute = append(p.Attribute, a)
	}
	for i, v := range n.Out {
		name := l.names[v]
		switch {
		case name != "":
		case i > 0 && used[v] == 0 && !countsOutputs[n.Op]:
			p.Output = append(p.Output, "")
			continue
		default:
			name = w.names.pick(v.Name)
			l.names[v] = name
			if w.options.ValueInfo && v.Type.DType != Undefined {
				l.graph.ValueInfo = append(l.graph.ValueInfo, valueInfo(name, v.Type))
			}
		}
		p.Output = append(p.Output, name)
	}
	if !countsOutputs[n.Op] {
		for len(p.Output) > 1 && p.Output[len(p.Output)-1] == "" {
			p.Output = p.Output[:len(p.Output)-1]
		}
	}
	return p, nil
}

// renamed holds the ops that are written in the form of the file's opset, where opsets only differ in the names of attributes.
var renamed = map[string]func(a Attrs, opset int64) Attrs{
	"GridSample": func(a Attrs, opset int64) Attrs {
		names := map[string]string{"linear": "bilinear", "cubic": "bicubic"}
		if opset >= 20 {
			names = map[string]string{"bilinear": "linear", "bicubic": "cubic"}
		}
		mode, _ := a["mode"].(string)
		if names[mode] != "" {
			a = maps.Clone(a)
			a["mode"] = names[mode]
		}
		return a
	},
}

func (w *writer) attribute(name string, v any, l *level) (*onnxpb.Attribute, error) {
	a := &onnxpb.Attribute{Name: name}
	switch v := v.(type) {
	case int64:
		a.Type, a.I = onnxpb.AttrInt, v
		a.Mark(onnxpb.FieldI)
	case float32:
		a.Type, a.F = onnxpb.AttrFloat, v
		a.Mark(onnxpb.FieldF)
	case string:
		a.Type, a.S = onnxpb.AttrString, []byte(v)
		a.Mark(onnxpb.FieldS)
	case []int64:
		a.Type, a.Ints = onnxpb.AttrInts, v
	case []float32:
		a.Type, a.Floats = onnxpb.AttrFloats, v
	case []string:
		a.Type = onnxpb.AttrStrings
		for _, s := range v {
			a.Strings = append(a.Strings, []byte(s))
		}
	case *Tensor:
		a.Type, a.T = onnxpb.AttrTensor, tensorProto("", v)
	case *Graph:
		body, err := w.body(v, l)
		if err != nil {
			return nil, err
		}
		a.Type, a.G = onnxpb.AttrGraph, body
	default:
		return nil, fmt.Errorf("values of type %T have no ONNX form", v)
	}
	return a, nil
}

func tensorProto(name string, t *Tensor) *onnxpb.Tensor {
	p := &onnxpb.Tensor{Name: name, Dims: t.Dims, DataType: int32(t.DType)}
	if t.DType == String {
		for _, s := range t.Strings {
			p.StringData = append(p.StringData, []byte(s))
		}
		return p
	}
	p.RawData = t.Raw
	p.Mark(onnxpb.FieldRawData)
	return p
}

func valueInfo(name string, t Type) *onnxpb.ValueInfo {
	v := &onnxpb.ValueInfo{Name: name}
	if t.DType == Undefined {
		return v
	}
	tensor := &onnxpb.TensorType{ElemType: int32(t.DType)}
	if t.Shape != nil {
		tensor.Shape = &onnxpb.Shape{}
		for _, d := range t.Shape {
			tensor.Shape.Dim = append(tensor.Shape.Dim, dimension(d))
		}
	}
	v.Type = &onnxpb.Type{Tensor: tensor}
	return v
}

// dimension writes a symbol under its name and an expression as its text.
func dimension(d Dim) *onnxpb.Dim {
	p := &onnxpb.Dim{}
	switch {
	case d.IsStatic():
		p.Value = d.Size
		p.Mark(onnxpb.FieldDimValue)
	case d.Sym != "":
		p.Param = d.Sym
		if inner := strings.TrimSuffix(strings.TrimPrefix(d.Sym, "{"), "}"); len(inner) == len(d.Sym)-2 && !strings.ContainsAny(inner, "{}") {
			p.Param = inner
		}
	}
	return p
}
