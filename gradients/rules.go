package gradients

import (
	"maps"
	"slices"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// rules holds the VJP of every differentiable op. Files of rules add their families in init.
var rules = map[string]Rule{}

func addRules(family map[string]Rule) { maps.Copy(rules, family) }

// Supported returns the ops that have a derivative, by rule or by rewriting into ops that have one, sorted.
func Supported() []string {
	ops := slices.AppendSeq(slices.Collect(maps.Keys(rules)), maps.Keys(rewrites))
	ops = slices.AppendSeq(ops, maps.Keys(expansions))
	slices.Sort(ops)
	return slices.Compact(ops)
}

// HasRule reports whether the op (of ai.onnx) has a derivative or one that is zero.
func HasRule(op string) bool {
	info, ok := graphs.Info(op)
	return rules[op] != nil || rewrites[op] != nil || expansions[op] != nil || ok && info.Flat
}

func ruleOf(n *graphs.Node) (Rule, error) {
	if info, ok := graphs.Info(n.Op); ok && info.Flat && n.Domain == "" {
		return nil, nil
	}
	if r := rules[n.Op]; r != nil && n.Domain == "" {
		return r, nil
	}
	return nil, refusal(n)
}

// refusal says why a node has no derivative.
func refusal(n *graphs.Node) *graphs.OpError {
	reason := "has no gradient; supported: " + strings.Join(Supported(), " ")
	if why := refusals[n.Op]; why != "" && n.Domain == "" {
		reason = "has no gradient here: " + why
	}
	return &graphs.OpError{Op: n.FullOp(), Node: nodeName(n), Reason: reason}
}

// refusals says what a rewritten op must fulfil when its rewrite does not apply.
var refusals = map[string]string{
	"ReduceProd": "axes and extents of what is multiplied must be known; give them in the file",
	"CumProd":    "the axis and its extent must be known; give them in the file",
	"Det":        "the number of rows must be known and at most 3",
	"Einsum":     "the ranks of its operands must be known, the result must keep the ellipsis and name no label twice",
}

func nodeName(n *graphs.Node) string {
	if n.Name == "" && len(n.Out) > 0 {
		return n.Out[0].Name
	}
	return n.Name
}
