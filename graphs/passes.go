package graphs

import "fmt"

// Pass is one transformation of a graph.
type Pass struct {
	Name string
	Run  func(*Graph) (*Graph, error)
}

// Passes is what Simplify runs, in order: inlined functions and older forms are gone after reading, so that what is left is
// to compute what is constant, to share what is equal and to rewrite by algebra, in one sweep, since each feeds the others; to merge nodes by who
// uses them; and to drop what nobody uses.
var Passes = []Pass{
	{"simplify", func(g *Graph) (*Graph, error) { return rebuild(g, simplifying) }},
	{"fuse", fuse},
	{"deadcode", deadCode},
}

// Simplify runs the passes until the node count stays the same, at most maxRounds times.
func Simplify(g *Graph) (*Graph, error) {
	const maxRounds = 4
	for range maxRounds {
		before := len(g.Nodes)
		for _, p := range Passes {
			var err error
			if g, err = p.Run(g); err != nil {
				return nil, fmt.Errorf("graphs: pass %s: %w", p.Name, err)
			}
		}
		if len(g.Nodes) == before {
			break
		}
	}
	return g, nil
}

// Infer rebuilds the graph with the type of every value inferred from the inputs and nothing else changed but equal nodes shared.
func Infer(g *Graph) (*Graph, error) { return rebuild(g, nil) }

// rule rewrites a node whose types are inferred: it returns the values that stand for its outputs, or nil for no change.
type rule func(b *Builder, n *Node) []*Value

// ruleSet holds rules by op; those under "" apply to every op, first.
type ruleSet map[string][]rule

func (s ruleSet) apply(b *Builder, n *Node) []*Value {
	for _, op := range [2]string{"", n.Op} {
		if op == n.Op && n.Domain != "" {
			return nil
		}
		for _, r := range s[op] {
			if out := r(b, n); out != nil {
				return out
			}
		}
	}
	return nil
}

func rebuild(g *Graph, rules ruleSet) (*Graph, error) {
	b := NewBuilder(g.Name)
	b.rules = rules
	b.inputs = g.Inputs
	outs := b.Splice(g, nil)
	named := make([]Output, len(outs))
	for i, v := range outs {
		named[i] = Output{g.Outputs[i].Name, v}
	}
	r, err := b.Graph(named...)
	if err != nil {
		return nil, err
	}
	r.Doc, r.Metadata = g.Doc, g.Metadata
	return r, nil
}

func deadCode(g *Graph) (*Graph, error) {
	c := *g
	c.Nodes = liveNodes(g)
	return &c, nil
}

// Prune returns the graph without the nodes and inputs that no output needs.
func Prune(g *Graph) *Graph {
	c := *g
	c.Nodes = liveNodes(g)
	used := c.Uses()
	c.Inputs = nil
	for _, v := range g.Inputs {
		if used[v] > 0 {
			c.Inputs = append(c.Inputs, v)
		}
	}
	return &c
}

// foldConstants replaces a node whose inputs are all constants by its value, and integer vectors whose elements are known numbers by constants.
func foldConstants(b *Builder, n *Node) []*Value {
	if len(n.Out) == 1 {
		if ints, ok := n.Out[0].ConstInts(); ok {
			dims := []int64{int64(len(ints))}
			if n.Out[0].Rank() == 0 {
				dims = nil
			}
			if t, err := FromInt64s(n.Out[0].Type.DType, ints, dims...); err == nil {
				return []*Value{b.Const(t)}
			}
		}
	}
	info, ok := Info(n.Op)
	if !ok || info.Random || n.Domain != "" || !CanEvaluate(n.Op) || hasBody(n) {
		return nil
	}
	for _, v := range n.In {
		if v != nil && !v.IsConst() {
			return nil
		}
	}
	if !smallResult(n) {
		return nil
	}
	in := make([]*Array, len(n.In))
	for i, v := range n.In {
		if v == nil {
			continue
		}
		a, err := ArrayOf(v.Tensor)
		if err != nil {
			return nil
		}
		in[i] = a
	}
	arrays, err := evaluateNode(n, in)
	if err != nil || len(arrays) < len(n.Out) {
		return nil
	}
	outs := make([]*Value, len(n.Out))
	for i := range n.Out {
		t, err := arrays[i].Tensor(n.Out[i].Type.DType)
		if err != nil {
			return nil
		}
		outs[i] = b.Const(t)
	}
	return outs
}

func hasBody(n *Node) bool {
	for _, a := range n.Attrs {
		if _, ok := a.(*Graph); ok {
			return true
		}
	}
	return false
}

// maxFolded bounds the elements of a folded constant that is larger than its inputs: an expanded constant costs memory and saves little.
const maxFolded = 1 << 16

func smallResult(n *Node) bool {
	in := int64(0)
	for _, v := range n.In {
		if v != nil {
			in += v.Tensor.Len()
		}
	}
	for _, v := range n.Out {
		size := v.Shape().Size()
		if !size.IsStatic() || size.Size > maxFolded && size.Size > in {
			return false
		}
	}
	return true
}
