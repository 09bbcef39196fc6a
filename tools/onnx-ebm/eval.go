package main

import (
	"context"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/losses"
)

type evalOptions struct {
	in, vector                                        string
	energy, gradient, score, hvp, laplacian, logDense string
	logZ                                              float64
}

func (a *app) evalCommand() *cobra.Command {
	var o evalOptions
	c := &cobra.Command{
		Use:   "eval MODEL --in x.npy [--energy e.npy] [--gradient g.npy] …",
		Short: "Evaluate E, ∇E, the score, Hessian-vector products, Laplacians and log-densities",
		Long: `Evaluates a model at the rows of a .npy file, [N, D…]. Outputs are float32: [N] for the energy, the Laplacian
and the log-density −E − C, [N, D…] for the gradient ∇E, the score −∇E and the Hessian-vector product ∇²E·v.
Without outputs, or with --json, a summary is printed.

` + modelHelp,
		Example: `  onnx-ebm eval energy.onnx --in x.npy --energy e.npy --gradient g.npy
  onnx-ebm eval builtin:rings --in x.npy --vector v.npy --hvp hv.npy --laplacian l.npy
  onnx-ebm eval builtin:gaussian --in x.npy --log-z 1.8378771 --log-density lp.npy`,
		RunE: func(c *cobra.Command, args []string) error { return a.eval(c, args, o) },
	}
	f := c.Flags()
	f.StringVar(&o.in, "in", "", "`FILE`: where to evaluate, [N, D…]")
	f.StringVar(&o.energy, "energy", "", "output `FILE`: E [N]")
	f.StringVar(&o.gradient, "gradient", "", "output `FILE`: ∇E [N, D…]")
	f.StringVar(&o.score, "score", "", "output `FILE`: −∇E [N, D…]")
	f.StringVar(&o.vector, "vector", "", "`FILE` of the direction v [N, D…] of --hvp")
	f.StringVar(&o.hvp, "hvp", "", "output `FILE`: ∇²E·v [N, D…]")
	f.StringVar(&o.laplacian, "laplacian", "", "output `FILE`: tr ∇²E [N]")
	f.Float64Var(&o.logZ, "log-z", 0, "log Z, the C of --log-density")
	f.StringVar(&o.logDense, "log-density", "", "output `FILE`: −E − C [N]")
	a.global.addJSON(f)
	a.global.addRuntime(f)
	return c
}

func (o evalOptions) check(c *cobra.Command, args []string, g *global) error {
	u := newUsage(c, args, "MODEL")
	u.need("in")
	if u.has("vector") || u.has("hvp") {
		u.need("vector", "hvp")
	}
	if u.has("log-density") || u.has("log-z") {
		u.need("log-z", "log-density")
	}
	if math.IsNaN(o.logZ) || math.IsInf(o.logZ, 0) {
		u.bad("--log-z %v: must be a finite number", o.logZ)
	}
	u.files("in", "vector", "energy", "gradient", "score", "hvp", "laplacian", "log-density")
	u.runtime(g)
	return u.err()
}

// evalJSON is what eval --json prints.
type evalJSON struct {
	Rows       int      `json:"rows"`
	Item       []int    `json:"item"`
	Energy     *summary `json:"energy,omitempty"`
	Gradient   *summary `json:"gradient_norm,omitempty"`
	HVP        *summary `json:"hvp_norm,omitempty"`
	Laplacian  *summary `json:"laplacian,omitempty"`
	LogDensity *summary `json:"log_density,omitempty"`
}

func (a *app) eval(c *cobra.Command, args []string, o evalOptions) error {
	if err := o.check(c, args, &a.global); err != nil {
		return err
	}
	var out outputs
	defer out.abort()
	if err := out.addAll("energy", o.energy, "gradient", o.gradient, "score", o.score, "hvp", o.hvp, "laplacian", o.laplacian, "log-density", o.logDense); err != nil {
		return err
	}
	m, err := readModel(args[0])
	if err != nil {
		return err
	}
	x, err := openRows(o.in)
	if err != nil {
		return err
	}
	defer x.close()
	var v *rows
	if o.vector != "" {
		if v, err = openRows(o.vector); err != nil {
			return err
		}
		defer v.close()
	}
	e, err := a.open(c.Context(), m, x.item(), ebm.Options{})
	if err != nil {
		return err
	}
	defer e.Close()
	if err := x.checkItem(e.Item()); err != nil {
		return err
	}
	if v != nil && shapeText(v.shape) != shapeText(x.shape) {
		return fmt.Errorf("%s has the shape %s; it must be that of %s, %s", v.path, shapeText(v.shape), x.path, shapeText(x.shape))
	}
	r := evalRun{a: a, e: e, x: x, v: v, out: &out, o: o}
	report, err := r.run(c.Context())
	if err != nil {
		return err
	}
	if err := out.commit(); err != nil {
		return err
	}
	r.warn(report)
	switch {
	case a.global.json:
		return a.printJSON(report)
	case len(out.writer) == 0:
		report.print(a)
	}
	return nil
}

// evalRun evaluates rows in chunks and writes what comes.
type evalRun struct {
	a    *app
	e    *ebm.Energy
	x, v *rows
	out  *outputs
	o    evalOptions
}

// chunkValues is about how many values of x are evaluated at a time.
var chunkValues = 1 << 21

func (r *evalRun) chunkRows() int { return max(1, chunkValues/max(1, r.e.Dim())) }

func (r *evalRun) want() losses.Want {
	var w losses.Want
	for key, q := range map[string]losses.Want{
		"energy": losses.WantEnergy, "log-density": losses.WantEnergy, "gradient": losses.WantGradient,
		"score": losses.WantGradient, "hvp": losses.WantHVP, "laplacian": losses.WantLaplacian,
	} {
		if r.out.wants(key) {
			w |= q
		}
	}
	if w == 0 {
		w = losses.WantEnergy
	}
	return w
}

func (r *evalRun) run(ctx context.Context) (*evalJSON, error) {
	n, w := r.x.len(), r.want()
	for _, key := range []string{"energy", "laplacian", "log-density"} {
		if err := r.header(key, n); err != nil {
			return nil, err
		}
	}
	for _, key := range []string{"gradient", "score", "hvp"} {
		if err := r.header(key, r.x.shape...); err != nil {
			return nil, err
		}
	}
	report := &evalJSON{Rows: n, Item: r.x.item()}
	progress := r.a.newBar(n, "evaluating", "rows")
	defer progress.end(r.a)
	for first := 0; first < n; first += r.chunkRows() {
		rows := min(n-first, r.chunkRows())
		q := losses.Query{N: rows, Want: w}
		var err error
		if q.X, err = r.x.read(first, rows); err != nil {
			return nil, err
		}
		if r.v != nil {
			q.K = 1
			if q.V, err = r.v.read(first, rows); err != nil {
				return nil, err
			}
		}
		values, err := r.evaluate(ctx, q)
		if err != nil {
			return nil, err
		}
		if err := r.write(values, report); err != nil {
			return nil, err
		}
		progress.set(first + rows)
	}
	return report, nil
}

// evaluate asks for the Laplacian apart from Hessian-vector products: no program has both.
func (r *evalRun) evaluate(ctx context.Context, q losses.Query) (losses.Values, error) {
	if !q.Want.Has(losses.WantHVP | losses.WantLaplacian) {
		return r.e.Evaluate(ctx, q)
	}
	q.Want &^= losses.WantLaplacian
	values, err := r.e.Evaluate(ctx, q)
	if err != nil {
		return values, err
	}
	lap, err := r.e.Evaluate(ctx, losses.Query{N: q.N, X: q.X, Want: losses.WantLaplacian})
	values.Lap = lap.Lap
	return values, err
}

func (r *evalRun) header(key string, shape ...int) error {
	if !r.out.wants(key) {
		return nil
	}
	return npy.WriteHeader(r.out.writer[key], shape)
}

func (r *evalRun) write(v losses.Values, report *evalJSON) error {
	dim := r.e.Dim()
	report.Energy = report.Energy.add(v.E)
	report.Gradient = report.Gradient.addNorms(v.G, dim)
	report.HVP = report.HVP.addNorms(v.HV, dim)
	report.Laplacian = report.Laplacian.add(v.Lap)
	parts := []struct {
		key  string
		data []float32
	}{{"energy", v.E}, {"gradient", v.G}, {"hvp", v.HV}, {"laplacian", v.Lap}}
	for _, p := range parts {
		if err := r.data(p.key, p.data); err != nil {
			return err
		}
	}
	if r.out.wants("score") {
		for i, g := range v.G {
			v.G[i] = -g
		}
		if err := r.data("score", v.G); err != nil {
			return err
		}
	}
	if r.out.wants("log-density") {
		for i, e := range v.E {
			v.E[i] = float32(-float64(e) - r.o.logZ)
		}
		report.LogDensity = report.LogDensity.add(v.E)
		return r.data("log-density", v.E)
	}
	return nil
}

func (r *evalRun) data(key string, data []float32) error {
	if !r.out.wants(key) {
		return nil
	}
	return npy.WriteData(r.out.writer[key], data)
}

// warn tells of results that are not finite; they are written as they are.
func (r *evalRun) warn(report *evalJSON) {
	for _, s := range report.summaries() {
		if s.of.NonFinite > 0 {
			r.a.notice("%d of %d rows have a %s that is not finite, the first is row %d", s.of.NonFinite, report.Rows, s.name, s.of.firstBad)
		}
	}
}

type named struct {
	name string
	of   *summary
}

func (j *evalJSON) summaries() []named {
	var list []named
	for _, s := range []named{{"energy", j.Energy}, {"gradient norm", j.Gradient}, {"Hessian-vector product's norm", j.HVP}, {"Laplacian", j.Laplacian}, {"log-density", j.LogDensity}} {
		if s.of != nil {
			list = append(list, s)
		}
	}
	return list
}

func (j *evalJSON) print(a *app) {
	a.printf("%d rows of %s\n", j.Rows, shapeText(j.Item))
	for _, s := range j.summaries() {
		a.printf("%s: mean %s, from %s to %s\n", s.name, s.of.Mean, s.of.Min, s.of.Max)
	}
}
