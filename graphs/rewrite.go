package graphs

import "slices"

// Expansion gives the values that stand for all outputs of a node whose types are inferred, or nil to leave the node.
type Expansion func(b *Builder, n *Node) []*Value

// RewriteNodes rebuilds and simplifies a graph with the given rewrites by op, applied after simplification and to what they themselves add.
func RewriteNodes(g *Graph, single map[string]Rewrite, all map[string]Expansion) (*Graph, error) {
	rules := ruleSet{}
	for op, list := range simplifying {
		rules[op] = slices.Clone(list)
	}
	for op, r := range single {
		rules[op] = append(rules[op], func(b *Builder, n *Node) []*Value {
			if v := r(b, n); v != nil {
				return only(v)
			}
			return nil
		})
	}
	for op, r := range all {
		rules[op] = append(rules[op], rule(r))
	}
	return rebuild(g, rules)
}
