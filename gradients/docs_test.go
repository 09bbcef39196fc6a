package gradients

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/docs"
)

var update = flag.Bool("update", false, "write the generated part of docs/ops.md anew")

// renamed are ops that are read as another one.
var renamed = map[string]string{"Scatter": "ScatterElements", "Upsample": "Resize"}

// kinks says which derivative is taken where there is none, or what a derivative leaves out.
var kinks = map[string]string{
	"Abs": "0 at 0", "Relu": "0 at 0", "LeakyRelu": "alpha at 0", "PRelu": "slope at 0", "Elu": "alpha at 0", "Selu": "alpha·gamma at 0", "Celu": "1 at 0",
	"Clip": "1 at the bounds; what is clipped moves with its bound", "HardSigmoid": "as Clip", "HardSwish": "as Clip",
	"Shrink": "0 at ±lambd", "ThresholdedRelu": "0 at alpha", "Softsign": "the second derivative jumps at 0",
	"Max": "ties share equally", "Min": "ties share equally", "ReduceMax": "ties share equally", "ReduceMin": "ties share equally", "GlobalMaxPool": "ties share equally",
	"MaxPool": "ties in a window: shared where windows lie side by side, else to the first", "TopK": "to the elements selected", "Unique": "to the first of equal elements",
	"ReduceL1": "0 at 0", "ReduceL2": "0 at 0", "LpNormalization": "0 at 0", "LpPool": "0 at 0", "GlobalLpPool": "0 at 0",
	"ReduceProd": "exact with zeros", "CumProd": "exact with zeros", "Pow": "by the exponent: 0 where the base is not positive",
	"Sqrt": "infinite at 0", "Mod": "jumps left out", "Cast": "between float types", "Dropout": "of inference, the identity",
	"ScatterElements": "reductions max and min: ties share equally", "ScatterND": "reductions max and min: ties share equally",
	"Scatter": "read as ScatterElements", "Upsample": "read as Resize", "GridSample": "mode nearest: 0 by the grid", "Where": "what is not taken may be infinite",
	"ReduceLogSumExp": "a row of −∞ has gradient 0", "Range": "not by the limit", "Resize": "linear: every mode is a product with matrices",
	"BatchNormalization": "training_mode too", "Einsum": "any number of operands",
	"Scan": "reversed for what has more than 16 steps or a number known only when it runs; ONNX Runtime runs no Scan of 0 steps", "Loop": "written out up to 16 iterations, else a Scan over those that took place, whatever ends it",
	"LSTM": "written out up to 16 steps, else a Scan", "GRU": "written out up to 16 steps, else a Scan", "RNN": "written out up to 16 steps, else a Scan",
}

// operandName is the name of input i of an op, and whether its derivative may differ from zero.
func (s schema) operandName(i int) (string, bool) {
	list := strings.Fields(s.inputs)
	for k, name := range list {
		if k == i || strings.Contains(name, "…") && i > k {
			return strings.TrimRight(name, "*…"), strings.HasSuffix(name, "*")
		}
	}
	return "", false
}

// differentiable lists the operands that need a gradient.
func (s schema) differentiable() []string {
	var list []string
	for _, name := range strings.Fields(s.inputs) {
		if strings.HasSuffix(name, "*") {
			list = append(list, strings.TrimRight(name, "*…"))
		}
	}
	return list
}

// checkedOperands finds by which operands of which ops the checked cases differentiate.
func checkedOperands(t *testing.T) map[string]map[string]bool {
	found := map[string]map[string]bool{}
	mark := func(op, name string) {
		if found[op] == nil {
			found[op] = map[string]bool{}
		}
		found[op][name] = true
	}
	for _, c := range cases {
		g, err := c.graph(static, graphs.Float64)
		require.NoError(t, err, c.name)
		wrt, err := named(g, c.wrt())
		require.NoError(t, err)
		active := dependents(g.Nodes, wrt)
		for _, n := range g.Nodes {
			for i, v := range n.In {
				if name, ok := schemas[n.Op].operandName(i); ok && active[v] {
					mark(n.Op, name)
				}
			}
			for _, a := range n.Attrs {
				if body, ok := a.(*graphs.Graph); ok {
					body.EachUse(func(v *Value) {
						if active[v] {
							mark(n.Op, "captured")
						}
					})
				}
			}
		}
	}
	for op, as := range renamed {
		for _, name := range schemas[op].differentiable() {
			if found[as][name] || found[as]["data"] && name == "X" {
				mark(op, name)
			}
		}
	}
	return found
}

func opsets(op string) (read, written string) {
	s := schemas[op]
	from, to := max(s.from, graphs.MinReadOpset), int64(graphs.MaxReadOpset)
	if op == "Scan" {
		from = 9
	}
	if s.to > 0 {
		to = s.to
	}
	as := op
	if r := renamed[op]; r != "" {
		as = r
	}
	info, _ := graphs.Info(as)
	return fmt.Sprintf("%d–%d", from, to), fmt.Sprint(max(info.Since, 18))
}

func describe(t *testing.T) (text string, complete int) {
	checked := checkedOperands(t)
	supported := append(Supported(), slices.Collect(maps.Keys(renamed))...)
	slices.Sort(supported)
	var table strings.Builder
	table.WriteString("| op | read | written | gradients by | notes |\n|---|---|---|---|---|\n")
	for _, op := range supported {
		s, ok := schemas[op]
		require.True(t, ok, "%s is no op of ONNX", op)
		all := s.differentiable()
		var with []string
		for _, name := range all {
			if checked[op][name] {
				with = append(with, name)
			}
		}
		if len(with) == len(all) {
			complete++
		}
		var notes []string
		for _, note := range []string{kinks[op], refusals[op]} {
			if note != "" {
				notes = append(notes, note)
			}
		}
		if len(with) < len(all) {
			notes = append(notes, "not by "+strings.Join(slices.DeleteFunc(slices.Clone(all), func(name string) bool { return checked[op][name] }), ", "))
		}
		read, written := opsets(op)
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s |\n", op, read, written, strings.Join(with, ", "), strings.Join(notes, "; "))
	}
	var zero, refused []string
	for _, op := range slices.Sorted(maps.Keys(schemas)) {
		switch info, known := graphs.Info(op); {
		case slices.Contains(supported, op):
		case known && info.Flat || op == "Constant":
			zero = append(zero, op)
		default:
			refused = append(refused, op)
		}
	}
	// Ops of older opsets that are read as others of the table.
	older := []string{"Scatter", "Upsample"}
	text = fmt.Sprintf("%d ops have rules, %d of them for every operand that a derivative can be taken by; with those of older opsets that are read as one of them (%s) "+
		"that makes %d.\n\n%s\n"+
		"**Gradient zero** (constant almost everywhere, or no floats): %s.\n\n**Refused by name**, when a derivative is asked for or on reading: %s.\n",
		len(supported), complete, strings.Join(older, ", "), complete+len(older), table.String(), strings.Join(zero, ", "), strings.Join(refused, ", "))
	return text, complete + len(older)
}

// TestDocs keeps docs/ops.md true, and the number of ops with all their gradients from falling.
func TestDocs(t *testing.T) {
	const path = "../docs/ops.md"
	text, complete := describe(t)
	t.Logf("%d ops with rules for every differentiable operand", complete)
	require.GreaterOrEqual(t, complete, 136)
	if *update {
		require.NoError(t, docs.Update(path, "gradients", text))
	}
	have, err := docs.Section(path, "gradients")
	require.NoError(t, err)
	require.Equal(t, text, have, "docs/ops.md is out of date: go test ./gradients -run Docs -update")
}

// TestClosed: whatever a rule emits has a derivative itself. The graphs are those of all cases, differentiated twice without simplification.
func TestClosed(t *testing.T) {
	emitted := map[string]bool{}
	for _, c := range cases {
		if slices.Contains(c.refuses, shared) {
			continue
		}
		g, err := c.graph(shared, graphs.Float64)
		require.NoError(t, err, c.name)
		for range 2 {
			g, err = plainVJP(g, outputNames(g), c.wrt())
			require.NoError(t, err, c.name)
			rename(g, 1)
			for op := range g.Ops() {
				emitted[op] = true
			}
		}
	}
	for _, op := range slices.Sorted(maps.Keys(emitted)) {
		require.True(t, HasRule(op), "%s is emitted by a rule and has no derivative", op)
	}
	t.Logf("%d ops are emitted: %s", len(emitted), strings.Join(slices.Sorted(maps.Keys(emitted)), " "))
}
