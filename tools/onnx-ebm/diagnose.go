package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/samplers/diag"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/tools/internal/picture"
)

type diagnoseOptions struct {
	model, reference, plot string
	check                  bool
}

func (a *app) diagnoseCommand() *cobra.Command {
	var o diagnoseOptions
	c := &cobra.Command{
		Use:   "diagnose DRAWS.npy [--model MODEL] [--reference ref.npy] [--check] [--json] [--plot P.png]",
		Short: "Judge draws: have the chains mixed, and how much are they worth",
		Long: `Reads draws [chains, draws, D…] and gives mean, standard deviation, Monte Carlo error, bulk and tail ESS and R̂ of every
coordinate (Vehtari et al. 2021). With --model also the kernel Stein discrepancy from exp(−E) and what float32 does to its
energies; with --reference, draws [N, D…] that are right, the distance from them. What is not known is not checked, and named.
With --check a check that failed makes the command fail.

` + modelHelp,
		Example: `  onnx-ebm diagnose draws.npy --check
  onnx-ebm diagnose draws.npy --model energy.onnx --reference exact.npy --json --plot trace.png`,
		RunE: func(c *cobra.Command, args []string) error { return a.diagnose(c, args, o) },
	}
	f := c.Flags()
	f.StringVar(&o.model, "model", "", "`MODEL` that was sampled, at temperature 1")
	f.StringVar(&o.reference, "reference", "", "`FILE` of draws [N, D…] of the distribution itself")
	f.BoolVar(&o.check, "check", false, "fail if a check failed")
	f.StringVar(&o.plot, "plot", "", "output `FILE`: a .png of the traces of the coordinate with the largest R̂")
	a.global.addJSON(f)
	a.global.addSeed(f)
	a.global.addRuntime(f)
	return c
}

func (o diagnoseOptions) usage(c *cobra.Command, args []string, g *global) error {
	u := newUsage(c, args, "DRAWS.npy")
	u.files("reference", "plot")
	u.png("plot")
	u.runtime(g)
	return u.err()
}

// diagnoseJSON is what diagnose --json prints. A bare file of draws does not
// know what happened on the way.
type diagnoseJSON struct {
	Chains              int           `json:"chains"`
	Draws               int           `json:"draws"`
	Acceptance          *float64      `json:"acceptance"`
	Divergences         *int          `json:"divergences"`
	RejectedNonFinite   *int          `json:"rejected_nonfinite"`
	GradientEvaluations *int          `json:"gradient_evaluations"`
	Coordinates         *diag.Summary `json:"coordinates"`
	KSD                 *number       `json:"ksd_squared"`        // from exp(−E), without bias
	MMD                 *number       `json:"mmd_squared"`        // from the reference, without bias
	Wasserstein         *number       `json:"sliced_wasserstein"` // likewise
	Passed              bool          `json:"passed"`
	Checks              []diag.Check  `json:"checks"`
}

// errChecks is the error of draws that failed a check.
var errChecks = errors.New("a check failed")

func (a *app) diagnose(c *cobra.Command, args []string, o diagnoseOptions) error {
	if err := o.usage(c, args, &a.global); err != nil {
		return err
	}
	var out outputs
	defer out.abort()
	if err := out.add("plot", o.plot); err != nil {
		return err
	}
	draws, item, err := readDraws(args[0])
	if err != nil {
		return err
	}
	ctx := c.Context()
	j := diagnoseJSON{Chains: draws.Chains, Draws: draws.Draws}
	if j.Coordinates, err = diag.Summarize(ctx, draws, diag.Options{Workers: a.global.workers}); err != nil {
		return err
	}
	evidence := diag.Evidence{Summary: j.Coordinates}
	if o.model != "" {
		if evidence.EnergyRounding, err = a.compareModel(ctx, o.model, args[0], draws, item, &j); err != nil {
			return err
		}
	}
	if o.reference != "" {
		if err := a.compareReference(ctx, o.reference, draws, item, &j); err != nil {
			return err
		}
	}
	verdict := diag.Judge(evidence, diag.Limits{})
	j.Checks, j.Passed = verdict.Checks, verdict.Passed()
	if out.wants("plot") {
		if err := drawTraces(out.writer["plot"], draws, j.Coordinates); err != nil {
			return err
		}
	}
	if err := out.commit(); err != nil {
		return err
	}
	if a.global.json {
		err = a.printJSON(j)
	} else {
		j.print(a, verdict)
	}
	if err == nil && o.check && !j.Passed {
		return failedChecks(verdict)
	}
	return err
}

// failedChecks names the checks that failed.
func failedChecks(v diag.Verdict) error {
	var names []string
	for _, c := range v.Checks {
		if c.Status == diag.Failed {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("%w: none could be done", errChecks)
	}
	return fmt.Errorf("%w: %s", errChecks, strings.Join(names, ", "))
}

// readDraws reads [chains, draws, D…]; [chains, draws] has D = 1.
func readDraws(path string) (diag.Draws, []int, error) {
	x, err := npy.ReadFile(path)
	if err != nil {
		return diag.Draws{}, nil, err
	}
	if len(x.Shape) < 2 {
		return diag.Draws{}, nil, fmt.Errorf("%s has the shape %s; draws are [chains, draws, D…]", path, shapeText(x.Shape))
	}
	item := x.Shape[2:]
	d := diag.Draws{X: x.Data, Chains: x.Shape[0], Draws: x.Shape[1], Dim: product(item)}
	if err := d.Validate(); err != nil {
		return d, nil, fmt.Errorf("%s has the shape %s: %w", path, shapeText(x.Shape), err)
	}
	return d, item, nil
}

// comparedPoints is how many draws distances look at: they take time in
// proportion to the square.
const comparedPoints = 2000

// thinned are at most comparedPoints of n points, evenly spaced.
func thinned(x []float32, d int) []float32 {
	n := len(x) / d
	if n <= comparedPoints {
		return x
	}
	out := make([]float32, 0, comparedPoints*d)
	for k := range comparedPoints {
		at := k * n / comparedPoints
		out = append(out, x[at*d:(at+1)*d]...)
	}
	return out
}

// compareModel measures the Stein discrepancy and the rounding of energies.
func (a *app) compareModel(ctx context.Context, text, path string, draws diag.Draws, item []int, j *diagnoseJSON) (*float64, error) {
	m, err := readModel(text)
	if err != nil {
		return nil, err
	}
	e, err := a.open(ctx, m, item, ebm.Options{})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if !slices.Equal(item, ints(e.Item())) && !(len(item) == 0 && e.Dim() == 1) {
		return nil, fmt.Errorf("%s has items of shape %s; the model takes %s", path, shapeText(item), batchText(e.Item()))
	}
	x := thinned(draws.X, draws.Dim)
	if checkFinite(path, x, draws.Dim, 0) != nil {
		return nil, nil // the draws fail the check that says so
	}
	n := len(x) / draws.Dim
	energy, score := make([]float32, n), make([]float32, len(x))
	if err := e.EnergyGradient(ctx, x, n, energy, score); err != nil {
		return nil, err
	}
	for i, g := range score {
		score[i] = -g
	}
	ksd, err := diag.KSD(ctx, x, score, draws.Dim, diag.KSDOptions{Workers: a.global.workers})
	if err != nil {
		return nil, err
	}
	j.KSD = value(ksd.U)
	rounding := diag.EnergyRounding(energy)
	return &rounding, nil
}

func (a *app) compareReference(ctx context.Context, path string, draws diag.Draws, item []int, j *diagnoseJSON) error {
	ref, _, err := readRows(path, int64s(item))
	if err != nil {
		return err
	}
	x, y := thinned(draws.X, draws.Dim), thinned(ref, draws.Dim)
	mmd, err := diag.MMD(ctx, x, y, draws.Dim, diag.MMDOptions{Workers: a.global.workers})
	if err != nil {
		return err
	}
	w, err := diag.SlicedWasserstein(ctx, x, y, draws.Dim, diag.SlicedOptions{Workers: a.global.workers, Key: rng.NewKey(a.global.seed)})
	if err != nil {
		return err
	}
	j.MMD, j.Wasserstein = value(mmd.Squared), value(w.Distance)
	return nil
}

func value(v float64) *number {
	n := number(v)
	return &n
}

// shownCoordinates is how many coordinates the text form lists.
const shownCoordinates = 20

func (j diagnoseJSON) print(a *app, v diag.Verdict) {
	s := j.Coordinates
	a.printf("%d chains of %d draws, D = %d\n", j.Chains, j.Draws, s.Dim())
	a.printf("%10s %12s %12s %12s %10s %10s %8s\n", "coordinate", "mean", "sd", "mcse", "ess_bulk", "ess_tail", "rhat")
	for i := range min(s.Dim(), shownCoordinates) {
		a.printf("%10d %12.5g %12.5g %12.3g %10.0f %10.0f %8.4f\n", i, s.Mean[i], s.SD[i], s.MCSE[i], s.ESSBulk[i], s.ESSTail[i], s.RHat[i])
	}
	if s.Dim() > shownCoordinates {
		a.printf("%10s %d more (--json has all)\n", "…", s.Dim()-shownCoordinates)
	}
	for _, d := range []struct {
		name string
		of   *number
	}{{"KSD² from the model", j.KSD}, {"MMD² from the reference", j.MMD}, {"sliced Wasserstein distance from the reference", j.Wasserstein}} {
		if d.of != nil {
			a.printf("%s: %v\n", d.name, *d.of)
		}
	}
	a.printf("%v", v)
}

// tracePoints is how many draws of a chain a trace shows.
const tracePoints = 2000

// drawTraces draws the coordinate that mixed worst.
func drawTraces(w io.Writer, d diag.Draws, s *diag.Summary) error {
	worst := 0
	for i, r := range s.RHat {
		if !math.IsNaN(r) && !(r <= s.RHat[worst]) {
			worst = i
		}
	}
	at, values, err := d.Trace(worst, tracePoints)
	if err != nil {
		return err
	}
	x := make([]float64, len(at))
	for i, t := range at {
		x[i] = float64(t)
	}
	l := picture.Lines{XLabel: "draw", YLabel: fmt.Sprintf("coordinate %d", worst)}
	for _, v := range values[:min(len(values), maxTraces)] {
		l.Series = append(l.Series, picture.Series{X: x, Y: v, Thin: true})
	}
	return l.WritePNG(w)
}
