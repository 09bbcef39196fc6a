package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// derivedOpset is the newest opset of derived files, so that ONNX Runtime 1.16 reads them.
const derivedOpset = 19

// derivative is something that derive makes of an energy graph.
type derivative struct {
	name  string
	about string
	graph func(*graphs.Graph) (*graphs.Graph, error)
}

var derivatives = []derivative{
	{"gradient", "∇ₓE [N, D…]", derive(gradients.Gradient)},
	{"score", "−∇ₓE [N, D…]", gradients.Score},
	{"hvp", "∇²ₓE·v [N, D…], a second input v [N, D…]", derive(gradients.HVP)},
	{"laplacian", "tr ∇²ₓE [N]", derive(gradients.Laplacian)},
	{"hessian", "∇²ₓE [N, D, D], items flattened", gradients.Hessian},
	{"param-gradients", "Σ cotangentₙ ∂Eₙ/∂θ as grad/NAME for every parameter, a second input cotangent [N]", paramGradients},
}

func derive(w gradients.Want) func(*graphs.Graph) (*graphs.Graph, error) {
	return func(g *graphs.Graph) (*graphs.Graph, error) { return gradients.Derive(g, w) }
}

func paramGradients(g *graphs.Graph) (*graphs.Graph, error) {
	e, err := ebm.New(nil, g, ebm.Options{All: true})
	if err != nil {
		return nil, err
	}
	params := e.Graph().Params()
	if len(params) == 0 {
		return nil, errors.New("the energy has no parameters to derive gradients of; inspect lists a model's")
	}
	return gradients.ParamGradients(e.Graph(), params)
}

func derivativeNames() []string {
	names := make([]string, len(derivatives))
	for i, d := range derivatives {
		names[i] = d.name
	}
	return names
}

func (a *app) deriveCommand() *cobra.Command {
	var out, what string
	names := strings.Join(derivativeNames(), ", ")
	var list strings.Builder
	for _, d := range derivatives {
		fmt.Fprintf(&list, "  %-17s %s\n", d.name, d.about)
	}
	c := &cobra.Command{
		Use:   "derive MODEL --what WHAT -o OUT.onnx",
		Short: "Write a derivative of an energy as an ONNX file",
		Long: `Writes a graph with the input x [N, D…] and one output, named as WHAT (param-gradients: one for each parameter):
` + list.String() + `The file is plain ONNX of opset 19 or less: any ONNX Runtime from 1.16 on runs it.
` + dataFileHelp + `

` + modelHelp,
		Example: `  onnx-ebm derive energy.onnx --what score -o score.onnx
  onnx-ebm derive builtin:rings --what hvp -o hvp.onnx`,
		RunE: func(c *cobra.Command, args []string) error { return a.derive(c, args, what, out) },
	}
	c.Flags().StringVar(&what, "what", "", names)
	c.Flags().StringVarP(&out, "out", "o", "", "output `FILE`: the derived file")
	return c
}

func (a *app) derive(c *cobra.Command, args []string, what, path string) error {
	u := newUsage(c, args, "MODEL")
	u.need("what", "out")
	u.files("out")
	var chosen *derivative
	for i := range derivatives {
		if derivatives[i].name == what {
			chosen = &derivatives[i]
		}
	}
	if chosen == nil && what != "" {
		u.check(spec.Unknown("--what", what, derivativeNames()))
	}
	if err := u.err(); err != nil {
		return err
	}
	var out outputs
	defer out.abort()
	if err := out.add("graph", path); err != nil {
		return err
	}
	m, err := readModel(args[0])
	if err != nil {
		return err
	}
	g, err := chosen.graph(m.graph)
	if err != nil {
		return fmt.Errorf("%s: %w", m.text, err)
	}
	if g, err = gradients.Finalize(g, derivedOpset); err != nil {
		return fmt.Errorf("%s: %w", m.text, err)
	}
	if err := out.graph("graph", g, graphs.WriteOptions{MaxOpset: derivedOpset, ValueInfo: true, Producer: ebm.Producer}); err != nil {
		return err
	}
	return out.commit()
}
