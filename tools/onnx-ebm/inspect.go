package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/models"
)

func (a *app) inspectCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "inspect MODEL [--json]",
		Short: "Show a model's inputs, outputs, ops and parameters",
		Long: `Shows inputs, outputs, opset, the ops with their number and whether they have gradients, and the parameters of the
energy: float initializers that E depends on, trainable or not. Any .onnx file can be inspected.

` + modelHelp + "\n\n" + builtinHelp(),
		Example: `  onnx-ebm inspect model.onnx
  onnx-ebm inspect builtin:rings --json`,
		RunE: func(c *cobra.Command, args []string) error { return a.inspect(c, args) },
	}
	a.global.addJSON(c.Flags())
	return c
}

// inspection is what inspect --json prints.
type inspection struct {
	Inputs         []port            `json:"inputs"`
	Outputs        []port            `json:"outputs"`
	Opset          int64             `json:"opset,omitempty"`
	IRVersion      int64             `json:"ir_version,omitempty"`
	Opsets         map[string]int64  `json:"opsets,omitempty"`
	Producer       string            `json:"producer,omitempty"`
	Nodes          int               `json:"nodes"`
	Ops            []opUse           `json:"ops"`
	Energy         bool              `json:"energy"`           // can be used as MODEL
	Reason         string            `json:"reason,omitempty"` // why it cannot
	Parameters     []parameter       `json:"parameters"`
	ParameterCount int               `json:"parameter_count"`
	TrainableCount int               `json:"trainable_count"`
	Metadata       map[string]string `json:"metadata,omitempty"`
}

type port struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []any  `json:"shape"` // numbers, symbols, or null where unknown; null for an unknown rank
	text  string
}

type opUse struct {
	Op       string `json:"op"`
	Count    int    `json:"count"`
	Gradient bool   `json:"gradient"`
}

type parameter struct {
	Name      string  `json:"name"`
	Shape     []int64 `json:"shape"`
	Trainable bool    `json:"trainable"`
}

func (a *app) inspect(c *cobra.Command, args []string) error {
	u := newUsage(c, args, "MODEL")
	if err := u.err(); err != nil {
		return err
	}
	report, err := inspectModel(args[0])
	if err != nil {
		return err
	}
	if a.global.json {
		return a.printJSON(report)
	}
	report.print(a)
	return nil
}

func inspectModel(text string) (*inspection, error) {
	var (
		g    *graphs.Graph
		info = &graphs.FileInfo{}
		r    = &inspection{Parameters: []parameter{}}
	)
	if models.IsBuiltin(text) {
		m, err := readModel(text)
		if err != nil {
			return nil, err
		}
		g = m.graph
		r.parameters(g)
	} else {
		var err error
		if g, info, err = graphs.ReadFile(text); err != nil {
			return nil, err
		}
		if e, err := ebm.AsEnergy(g); err != nil {
			r.Reason = prefixes.ReplaceAllString(err.Error(), "$1")
		} else {
			r.parameters(e)
		}
	}
	if inferred, err := graphs.Infer(g); err == nil {
		g = inferred
	}
	r.Opset, r.IRVersion, r.Opsets = info.Opsets[""], info.IRVersion, info.Opsets
	r.Producer = strings.TrimSpace(info.Producer + " " + info.ProducerVersion)
	r.Metadata = g.Metadata
	for _, v := range g.Inputs {
		r.Inputs = append(r.Inputs, portOf(v.Name, v))
	}
	for _, o := range g.Outputs {
		r.Outputs = append(r.Outputs, portOf(o.Name, o.Value))
	}
	r.Nodes = g.CountNodes()
	supported := gradients.Supported()
	counts := g.Ops()
	r.Ops = []opUse{}
	for _, op := range slices.Sorted(maps.Keys(counts)) {
		known, _ := graphs.Info(op)
		r.Ops = append(r.Ops, opUse{op, counts[op], known.Flat || slices.Contains(supported, op)})
	}
	return r, nil
}

// parameters lists those of an energy graph.
func (r *inspection) parameters(g *graphs.Graph) {
	e, err := ebm.New(nil, g, ebm.Options{All: true})
	if err != nil {
		r.Reason = prefixes.ReplaceAllString(err.Error(), "$1")
		return
	}
	r.Energy = true
	for _, p := range e.Store().List {
		r.Parameters = append(r.Parameters, parameter{p.Name, append([]int64{}, p.Shape...), p.Trainable})
		r.ParameterCount += p.Len
		if p.Trainable {
			r.TrainableCount += p.Len
		}
	}
}

func portOf(name string, v *graphs.Value) port {
	p := port{Name: name, Type: v.Type.DType.String(), text: v.Type.String()}
	if v.Shape() == nil {
		return p
	}
	p.Shape = []any{}
	for _, d := range v.Shape() {
		switch {
		case d.IsStatic():
			p.Shape = append(p.Shape, d.Size)
		case d.Sym != "":
			p.Shape = append(p.Shape, d.Sym)
		default:
			p.Shape = append(p.Shape, nil)
		}
	}
	return p
}

func (r *inspection) print(a *app) {
	for _, p := range r.Inputs {
		a.printf("input      %s %s\n", p.Name, p.text)
	}
	for _, p := range r.Outputs {
		a.printf("output     %s %s\n", p.Name, p.text)
	}
	if r.Opset > 0 {
		a.printf("file       opset %s, IR %d, by %s\n", opsetText(r.Opsets), r.IRVersion, cmp.Or(r.Producer, "an unnamed producer"))
	}
	a.printf("nodes      %d\n", r.Nodes)
	for _, op := range r.Ops {
		gradient := ""
		if !op.Gradient {
			gradient = "  no gradient"
		}
		a.printf("  %-22s %5d%s\n", op.Op, op.Count, gradient)
	}
	if !r.Energy {
		a.printf("energy     no: %s\n", r.Reason)
		return
	}
	a.printf("parameters %d, of which %d are trainable\n", r.ParameterCount, r.TrainableCount)
	for _, p := range r.Parameters {
		fixed := ""
		if !p.Trainable {
			fixed = "  not trainable"
		}
		a.printf("  %-32s %s%s\n", p.Name, shapeText(p.Shape), fixed)
	}
}

func opsetText(opsets map[string]int64) string {
	var parts []string
	for _, domain := range slices.Sorted(maps.Keys(opsets)) {
		text := fmt.Sprint(opsets[domain])
		if domain != "" {
			text = domain + " " + text
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}
