package graphs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Print returns the graph as stable text, a node a line, for people and for golden tests:
//
//	graph energy(x float32[N,2])
//	  w = param float32[2,8]
//	  %0 = Gemm(x, w, b) {transB=1} : float32[N,8]
//	  return energy=%3
func Print(g *Graph) string {
	p := printer{names: map[*Value]string{}}
	p.graph(g, "")
	return p.String()
}

type printer struct {
	strings.Builder
	names map[*Value]string
	next  int
}

func (p *printer) graph(g *Graph, indent string) {
	in := make([]string, len(g.Inputs))
	for i, v := range g.Inputs {
		p.names[v] = v.Name
		in[i] = v.Name + " " + v.Type.String()
	}
	fmt.Fprintf(p, "%sgraph %s(%s)\n", indent, g.Name, strings.Join(in, ", "))
	if indent == "" {
		for _, v := range g.Params() {
			p.names[v] = v.Name
			fmt.Fprintf(p, "  %s = param %v\n", v.Name, v.Type)
		}
	}
	for _, n := range g.Nodes {
		p.node(n, indent+"  ")
	}
	outs := make([]string, len(g.Outputs))
	for i, o := range g.Outputs {
		outs[i] = o.Name + "=" + p.name(o.Value)
	}
	fmt.Fprintf(p, "%s  return %s\n", indent, strings.Join(outs, ", "))
}

func (p *printer) node(n *Node, indent string) {
	in, out, types := make([]string, len(n.In)), make([]string, len(n.Out)), make([]string, len(n.Out))
	for i, v := range n.In {
		in[i] = p.name(v)
	}
	for i, v := range n.Out {
		out[i] = fmt.Sprintf("%%%d", p.next)
		p.names[v] = out[i]
		p.next++
		types[i] = v.Type.String()
	}
	fmt.Fprintf(p, "%s%s = %s(%s)%s : %s\n", indent, strings.Join(out, ", "), n.FullOp(), strings.Join(in, ", "), attrText(n.Attrs), strings.Join(types, ", "))
	for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
		if body, ok := n.Attrs[name].(*Graph); ok {
			p.graph(body, indent+"  ")
		}
	}
}

func (p *printer) name(v *Value) string {
	if v == nil {
		return "_"
	}
	if s, ok := p.names[v]; ok {
		return s
	}
	if v.Kind == Constant {
		return constText(v)
	}
	return v.Name
}

// constText shows small constants by value, large ones by type.
func constText(v *Value) string {
	if v.Tensor.Len() > 8 || v.Type.DType == String {
		return v.Type.String()
	}
	var parts []string
	if v.Type.DType.IsFloat() {
		for _, f := range v.Tensor.Float64s() {
			parts = append(parts, fmt.Sprintf("%.7g", f))
		}
	} else {
		for _, i := range v.Tensor.Int64s() {
			parts = append(parts, fmt.Sprint(i))
		}
	}
	if v.Rank() == 0 {
		return strings.Join(parts, " ")
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func attrText(a Attrs) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		switch v := a[name].(type) {
		case *Graph:
			parts = append(parts, name+"=graph")
		case *Tensor:
			parts = append(parts, name+"="+constText(constant(v)))
		default:
			parts = append(parts, fmt.Sprintf("%s=%v", name, v))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " {" + strings.Join(parts, ", ") + "}"
}
