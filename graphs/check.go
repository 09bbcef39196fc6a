package graphs

import (
	"errors"
	"fmt"
)

// Check verifies the invariants of a graph: nodes in topological order, arity, one producer a value, outputs with unique names,
// inputs with unique names, types that inference does not contradict. It returns all problems, joined.
func Check(g *Graph) error { return errors.Join(check(g, map[*Value]bool{})...) }

func check(g *Graph, outer map[*Value]bool) []error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf("graphs: "+format, args...)) }
	defined := map[*Value]bool{}
	for v := range outer {
		defined[v] = true
	}
	names := map[string]bool{}
	for _, v := range g.Inputs {
		if names[v.Name] {
			fail("two inputs are named %q", v.Name)
		}
		names[v.Name] = true
		defined[v] = true
	}
	usable := func(v *Value) bool {
		return defined[v] || v.Tensor != nil && (v.Kind == Param || v.Kind == Constant)
	}
	for _, n := range g.Nodes {
		for i, v := range n.In {
			if v != nil && !usable(v) {
				fail("%s uses %q (input %d) before it is computed", n.Label(), v.Name, i)
			}
		}
		if info, ok := Info(n.Op); ok && n.Domain == "" {
			if err := checkArity(n, info); err != nil {
				errs = append(errs, err)
			}
		}
		for _, a := range n.Attrs {
			if body, ok := a.(*Graph); ok {
				errs = append(errs, check(body, defined)...)
			}
		}
		for _, v := range n.Out {
			if v.Node != n {
				fail("%s does not own its output %q", n.Label(), v.Name)
			}
			if defined[v] {
				fail("%q is computed twice", v.Name)
			}
			defined[v] = true
		}
	}
	outs := map[string]bool{}
	for _, o := range g.Outputs {
		if outs[o.Name] {
			fail("two outputs are named %q", o.Name)
		}
		outs[o.Name] = true
		if !usable(o.Value) {
			fail("output %q is not computed", o.Name)
		}
	}
	return errs
}
