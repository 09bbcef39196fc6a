package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/runtime"
)

type importOptions struct {
	out, input, output, as string
	set                    []string
}

func (a *app) importCommand() *cobra.Command {
	var o importOptions
	c := &cobra.Command{
		Use:   "import SRC.onnx -o ENERGY.onnx [--input NAME] [--output NAME] [--set NAME=VALUE]… [--as HOW]",
		Short: "Make an energy file of an ONNX model",
		Long: `Makes an energy file, input x [N, D…] and output energy [N], of a model that any exporter wrote.
Initializers keep their names, shapes and values. Double and float16 models become float32.
A fixed batch size becomes dynamic. A model whose rows influence each other is refused.
External data of SRC.onnx must lie in its folder. ` + dataFileHelp + `

--as says how the energy is made of the output y:
  identity          y itself, [N], [N,1] or [N,1,1]
  negate            −y
  sum               Σ y over the item's axes
  sqnorm            Σ y²
  neglogsumexp      −logsumexp of the last axis (a classifier as an energy)
  neglogit:K        −y[:,K]`,
		Example: `  onnx-ebm import classifier.onnx -o energy.onnx --as neglogsumexp
  onnx-ebm import conditional.onnx -o energy.onnx --input x --set t=0.5 --set label=@label.npy`,
		RunE: func(c *cobra.Command, args []string) error { return a.importModel(c, args, o) },
	}
	f := c.Flags()
	f.StringVarP(&o.out, "out", "o", "", "output `FILE`: the energy file")
	f.StringVar(&o.input, "input", "", "`NAME` of the input that becomes x (default: the only float input)")
	f.StringVar(&o.output, "output", "", "`NAME` of the output that the energy is made of (default: the only one)")
	f.StringArrayVar(&o.set, "set", nil, "`NAME=VALUE` of another input: a number fills its shape; or NAME=@FILE.npy; may be repeated")
	f.StringVar(&o.as, "as", "identity", "identity, negate, sum, sqnorm, neglogsumexp or neglogit:K")
	a.global.addRuntime(f)
	return c
}

// asModes are the names that --as knows.
var asModes = []string{"identity", "negate", "sum", "sqnorm", "neglogsumexp", "neglogit"}

func (o importOptions) check(c *cobra.Command, args []string, g *global) (map[string]ebm.SetValue, error) {
	u := newUsage(c, args, "SRC.onnx")
	u.need("out")
	u.files("out")
	u.runtime(g)
	mode, class, hasClass := strings.Cut(o.as, ":")
	switch {
	case !contains(asModes, mode) || hasClass && mode != "neglogit":
		u.bad("unknown --as %q; valid: identity, negate, sum, sqnorm, neglogsumexp, neglogit:K", o.as)
	case mode == "neglogit" && !isCount(class):
		u.bad("--as %s: give the class, neglogit:K with K ≥ 0", o.as)
	}
	for _, s := range o.set {
		if name, value, ok := strings.Cut(s, "="); !ok || name == "" || value == "" {
			u.bad("--set %s: write NAME=VALUE or NAME=@FILE.npy", s)
		}
	}
	if err := u.err(); err != nil {
		return nil, err
	}
	set := map[string]ebm.SetValue{}
	for _, s := range o.set {
		name, value, err := ebm.ParseSet(s)
		if err != nil {
			if strings.Contains(s, "=@") {
				return nil, err
			}
			return nil, &usageError{err}
		}
		if _, twice := set[name]; twice {
			return nil, usageErrorf("--set %s is given twice", name)
		}
		set[name] = value
	}
	return set, nil
}

func (a *app) importModel(c *cobra.Command, args []string, o importOptions) error {
	set, err := o.check(c, args, &a.global)
	if err != nil {
		return err
	}
	var out outputs
	defer out.abort()
	if err := out.add("energy", o.out); err != nil {
		return err
	}
	src, _, err := graphs.ReadFile(args[0])
	if err != nil {
		return err
	}
	options := ebm.ImportOptions{Input: o.input, Output: o.output, Set: set, As: o.as}
	g, notices, unproved, err := a.importProved(c.Context(), src, options)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if unproved != "" {
		notices = append(notices, unproved)
	}
	if err := out.graph("energy", g, graphs.WriteOptions{Producer: ebm.Producer}); err != nil {
		return err
	}
	if err := out.commit(); err != nil {
		return err
	}
	for _, n := range notices {
		a.notice("%s", n)
	}
	return nil
}

// importProved imports a model and proves that its rows do not influence each other. Where that fails for a batch axis that was freed, the
// model keeps its batch size.
func (a *app) importProved(ctx context.Context, src *graphs.Graph, o ebm.ImportOptions) (g *graphs.Graph, notices []string, unproved string, err error) {
	if g, notices, err = ebm.Import(src, o); err != nil {
		return nil, nil, "", err
	}
	if unproved, err = a.proveRows(ctx, g); err == nil || o.KeepBatch {
		return g, notices, unproved, err
	}
	o.KeepBatch = true
	kept, notices, keptErr := ebm.Import(src, o)
	if keptErr != nil || !kept.Inputs[0].Shape()[0].IsStatic() {
		return nil, nil, "", err
	}
	unproved, err = a.proveRows(ctx, kept)
	return kept, notices, unproved, err
}

// proveRows refuses a model whose rows influence each other. Where that
// cannot be tried the reason comes back.
func (a *app) proveRows(ctx context.Context, g *graphs.Graph) (unproved string, err error) {
	if !itemIsFixed(g) {
		return fmt.Sprintf("that rows do not influence each other was not tried, since the items' extents are open: %v", g.Inputs[0].Shape()), nil
	}
	rt, err := a.openRuntime()
	if errors.Is(err, runtime.ErrNoLibrary) {
		return "that rows do not influence each other was not tried, since there is no ONNX Runtime (onnx-ebm doctor tells more)", nil
	}
	if err != nil {
		return "", err
	}
	return "", ebm.CheckRows(ctx, rt, g, nil)
}
