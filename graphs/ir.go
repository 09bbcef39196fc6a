package graphs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Type is what is known of a value before anything runs.
type Type struct {
	DType DType
	Shape Shape
}

// String returns "float32[N,2]".
func (t Type) String() string { return t.DType.String() + t.Shape.String() }

// Kind says where a value comes from.
type Kind uint8

// Kinds of values.
const (
	Computed Kind = iota // output of a node
	Input                // fed at every run
	Param                // float initializer that may be trained: has a tensor, is never folded
	Constant             // fixed tensor: may be folded
)

var kindNames = [...]string{"computed", "input", "param", "const"}

// String returns the kind's name.
func (k Kind) String() string { return kindNames[k] }

// Value is one tensor of a graph in static single assignment form. Values are made by a Builder or the reader and are not changed afterwards.
type Value struct {
	Name   string // name in the file, or empty: the writer then makes one
	Kind   Kind
	Type   Type
	Tensor *Tensor // of a Param (its initial value) or Constant
	Node   *Node   // producer of a Computed value
	Ints   []Dim   // elements of an integer scalar or vector, UnknownDim where one is not known; nil when none is
}

// Shape returns the value's shape; that of an absent operand is unknown.
func (v *Value) Shape() Shape {
	if v == nil {
		return nil
	}
	return v.Type.Shape
}

// Rank returns the number of axes, -1 when unknown.
func (v *Value) Rank() int { return v.Shape().Rank() }

// IsConst reports whether the value is a fixed tensor.
func (v *Value) IsConst() bool { return v != nil && v.Kind == Constant }

// ConstInts returns the elements of an integer value when all are known numbers.
func (v *Value) ConstInts() ([]int64, bool) {
	if v == nil {
		return nil, false
	}
	if v.Kind == Constant {
		ints := v.Tensor.Int64s()
		return ints, ints != nil
	}
	if v.Ints == nil {
		return nil, false
	}
	r := make([]int64, len(v.Ints))
	for i, d := range v.Ints {
		n, ok := d.constant()
		if !ok {
			return nil, false
		}
		r[i] = n
	}
	return r, true
}

// ConstFloat returns the value of a constant with one element.
func (v *Value) ConstFloat() (float64, bool) {
	if !v.IsConst() || v.Tensor.Len() != 1 {
		return 0, false
	}
	f := v.Tensor.Float64s()
	if len(f) != 1 {
		return 0, false
	}
	return f[0], true
}

// String returns the name and the type.
func (v *Value) String() string {
	if v == nil {
		return "none"
	}
	return v.Name + ":" + v.Type.String()
}

// Attrs holds a node's attributes by name. Values are int64, float32, string, []int64, []float32, []string, *Tensor or *Graph.
type Attrs map[string]any

// Node is one operation. An absent optional input is nil; an output that nobody uses still has a Value.
type Node struct {
	Op     string
	Domain string // "" for ai.onnx
	Name   string // name in the file, for messages
	Attrs  Attrs
	In     []*Value
	Out    []*Value
}

// Input returns input i, or nil when it is absent.
func (n *Node) Input(i int) *Value {
	if i < len(n.In) {
		return n.In[i]
	}
	return nil
}

// Int returns an integer attribute or its default.
func (n *Node) Int(name string, def int64) int64 { return attr(n.Attrs, name, def) }

// Float returns a float attribute or its default.
func (n *Node) Float(name string, def float32) float32 { return attr(n.Attrs, name, def) }

// Text returns a string attribute or its default.
func (n *Node) Text(name, def string) string { return attr(n.Attrs, name, def) }

// IntList returns an integer list attribute, nil when absent.
func (n *Node) IntList(name string) []int64 { return attr[[]int64](n.Attrs, name, nil) }

// FloatList returns a float list attribute, nil when absent.
func (n *Node) FloatList(name string) []float32 { return attr[[]float32](n.Attrs, name, nil) }

// Body returns a subgraph attribute, nil when absent.
func (n *Node) Body(name string) *Graph { return attr[*Graph](n.Attrs, name, nil) }

func attr[T any](a Attrs, name string, def T) T {
	if v, ok := a[name].(T); ok {
		return v
	}
	return def
}

// FullOp returns the op with its domain, "com.microsoft::Gelu", or the bare name for ai.onnx.
func (n *Node) FullOp() string {
	if n.Domain == "" {
		return n.Op
	}
	return n.Domain + "::" + n.Op
}

// Label names the node in messages.
func (n *Node) Label() string {
	if n.Name != "" {
		return fmt.Sprintf("%s %q", n.FullOp(), n.Name)
	}
	if len(n.Out) > 0 && n.Out[0].Name != "" {
		return fmt.Sprintf("%s → %q", n.FullOp(), n.Out[0].Name)
	}
	return n.FullOp()
}

// Output is a named result of a graph.
type Output struct {
	Name  string
	Value *Value
}

// Graph is a computation: nodes in topological order over inputs, parameters and constants.
// A body of If, Loop or Scan is a Graph whose nodes may also use values of the graph around it.
type Graph struct {
	Name     string
	Doc      string
	Inputs   []*Value
	Outputs  []Output
	Nodes    []*Node
	Metadata map[string]string // metadata_props of the file
}

// Input returns the input with the given name, or nil.
func (g *Graph) Input(name string) *Value {
	for _, v := range g.Inputs {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// Output returns the output with the given name, or nil.
func (g *Graph) Output(name string) *Value {
	for _, o := range g.Outputs {
		if o.Name == name {
			return o.Value
		}
	}
	return nil
}

// Params returns the parameters that the graph uses, in order of first use, bodies included.
func (g *Graph) Params() []*Value { return g.leaves(Param) }

// Constants returns the constants that the graph uses, in order of first use, bodies included.
func (g *Graph) Constants() []*Value { return g.leaves(Constant) }

func (g *Graph) leaves(k Kind) []*Value {
	var list []*Value
	seen := map[*Value]bool{}
	g.EachUse(func(v *Value) {
		if v.Kind == k && !seen[v] {
			seen[v] = true
			list = append(list, v)
		}
	})
	return list
}

// EachUse calls f for every value that a node or an output of the graph or of its bodies uses, in order, with repetitions.
func (g *Graph) EachUse(f func(*Value)) {
	for _, n := range g.Nodes {
		for _, v := range n.In {
			if v != nil {
				f(v)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
			if body, ok := n.Attrs[name].(*Graph); ok {
				body.EachUse(f)
			}
		}
	}
	for _, o := range g.Outputs {
		f(o.Value)
	}
}

// Uses returns how often each value is used by nodes, bodies and outputs.
func (g *Graph) Uses() map[*Value]int {
	uses := map[*Value]int{}
	g.EachUse(func(v *Value) { uses[v]++ })
	return uses
}

// CountNodes returns the number of nodes, bodies included, without Constant and Identity.
func (g *Graph) CountNodes() int {
	c := 0
	for _, n := range g.Nodes {
		if n.Op != "Constant" && n.Op != "Identity" {
			c++
		}
		for _, a := range n.Attrs {
			if body, ok := a.(*Graph); ok {
				c += body.CountNodes()
			}
		}
	}
	return c
}

// Ops returns how often each op occurs, bodies included.
func (g *Graph) Ops() map[string]int {
	ops := map[string]int{}
	for _, n := range g.Nodes {
		ops[n.FullOp()]++
		for _, a := range n.Attrs {
			if body, ok := a.(*Graph); ok {
				for k, c := range body.Ops() {
					ops[k] += c
				}
			}
		}
	}
	return ops
}

// OpError reports an operation that the toolkit cannot handle.
type OpError struct {
	Op, Node, Reason string
}

// Error implements error.
func (e *OpError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "graphs: op %s", e.Op)
	if e.Node != "" {
		fmt.Fprintf(&b, " (node %q)", e.Node)
	}
	return b.String() + ": " + e.Reason
}
