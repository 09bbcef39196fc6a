package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/samplers/diag"
	"github.com/onnx-ebm/onnx-ebm/samplers/diag/zarr"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

type diagnoseOptions struct {
	model, reference, plot, zarr string
	check                        bool
}

func (a *app) diagnoseCommand() *cobra.Command {
	var o diagnoseOptions
	c := &cobra.Command{
		Use:   "diagnose DRAWS.npy|DIR.zarr [--model MODEL] [--reference ref.npy] [--check] [--zarr DIR] [--json] [--plot P.png]",
		Short: "Judge draws: have the chains mixed, and how much are they worth",
		Long: `Reads draws [chains, draws, D…], or a Zarr store with the groups posterior and sample_stats, and gives mean, standard deviation, Monte Carlo error, bulk and tail ESS and R̂ of every
coordinate (Vehtari et al. 2021). With --model also the kernel Stein discrepancy from exp(−E) and what float32 does to its
energies; with --reference, draws [N, D…] that are right, the distance from them. A store also knows
of divergences, acceptance and energies (E-BFMI). What is not known is not checked, and named, with advice where a check failed.
With --check a check that failed makes the command fail.

` + modelHelp,
		Example: `  onnx-ebm diagnose draws.npy --check
  onnx-ebm sample builtin:funnel --sampler nuts --chains 4 --steps 2000 --burn-in 1000 -o last.npy --zarr funnel.zarr
  onnx-ebm diagnose funnel.zarr --check --plot page.png
  onnx-ebm diagnose draws.npy --model energy.onnx --reference exact.npy --json --plot trace.png`,
		RunE: func(c *cobra.Command, args []string) error { return a.diagnose(c, args, o) },
	}
	f := c.Flags()
	f.StringVar(&o.model, "model", "", "`MODEL` that was sampled, at temperature 1")
	f.StringVar(&o.reference, "reference", "", "`FILE` of draws [N, D…] or [chains, draws, D…] of the distribution itself")
	f.BoolVar(&o.check, "check", false, "fail if a check failed")
	f.StringVar(&o.plot, "plot", "", "output `FILE`: a .png with traces, ranks, autocorrelations and pairs of the coordinates that mixed worst")
	f.StringVar(&o.zarr, "zarr", "", "output `FOLDER`: the draws, and what is known of them, as a Zarr store, which ArviZ reads")
	a.global.addJSON(f)
	a.global.addSeed(f)
	a.global.addRuntime(f)
	return c
}

func (o diagnoseOptions) usage(c *cobra.Command, args []string, g *global) error {
	u := newUsage(c, args, "DRAWS.npy or DIR.zarr")
	u.files("reference", "plot", "zarr")
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
	EBFMI               []number      `json:"ebfmi"` // of each chain
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
	if o.zarr != "" {
		if err := zarr.Check(o.zarr); err != nil {
			return err
		}
	}
	d, err := readDraws(args[0])
	if err != nil {
		return err
	}
	ctx, draws, item := c.Context(), d.Draws, d.item
	j := diagnoseJSON{Chains: draws.Chains, Draws: draws.Draws}
	if j.Coordinates, err = diag.Summarize(ctx, draws, diag.Options{Workers: a.global.workers}); err != nil {
		return err
	}
	evidence := d.evidence
	evidence.Summary = j.Coordinates
	j.Acceptance, j.Divergences, j.RejectedNonFinite, j.GradientEvaluations = evidence.Acceptance, evidence.Divergences, d.nonFinite, d.gradients
	for _, v := range evidence.EBFMI {
		j.EBFMI = append(j.EBFMI, number(v))
	}
	if o.model != "" {
		if evidence.EnergyRounding, err = a.compareModel(ctx, o, d, &j); err != nil {
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
		if err := d.page(j.Coordinates).WritePNG(out.writer["plot"]); err != nil {
			return err
		}
	}
	if o.zarr != "" {
		if err := out.draws(o.zarr, d.tree); err != nil {
			return err
		}
	}
	if err := out.commit(); err != nil {
		return err
	}
	if a.global.json {
		err = a.printJSON(j)
	} else {
		j.print(a, d.labels, verdict)
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

// readDraws reads [chains, draws, D…], where [chains, draws] has D = 1, or a store.
func readDraws(path string) (*givenDraws, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return readStore(path)
	}
	var doubles []float64
	x, err := npy.ReadFile(path, npy.Doubles(&doubles))
	if err != nil {
		return nil, err
	}
	if len(x.Shape) < 2 {
		return nil, fmt.Errorf("%s has the shape %s; draws are [chains, draws, D…]", path, shapeText(x.Shape))
	}
	d := &givenDraws{path: path, item: x.Shape[2:]}
	d.Draws = diag.Draws{X: x.Data, X64: doubles, Chains: x.Shape[0], Draws: x.Shape[1], Dim: product(d.item)}
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("%s has the shape %s: %w", path, shapeText(x.Shape), err)
	}
	for i := range d.Dim {
		d.labels = append(d.labels, strconv.Itoa(i))
	}
	d.tree, err = zarr.Sampled(d.Draws, d.item, zarr.Stats{})
	return d, err
}

func readStore(path string) (*givenDraws, error) {
	t, err := zarr.Read(path)
	if err != nil {
		return nil, err
	}
	d := &givenDraws{path: path, tree: t}
	if d.Draws, d.labels, err = t.Flat(); err != nil {
		return nil, err
	}
	d.item = []int{d.Dim}
	if len(t.Posterior) == 1 {
		d.item = t.Posterior[0].Shape
	}
	d.history, err = historyOf(t)
	return d, err
}

// givenDraws are draws from a file or a store, and what is known of them.
type givenDraws struct {
	diag.Draws
	path   string
	item   []int
	labels []string // of coordinates
	tree   *zarr.Tree
	history
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

// compareModel measures the Stein discrepancy and the rounding of energies. A
// store to be written gets the log densities.
func (a *app) compareModel(ctx context.Context, o diagnoseOptions, d *givenDraws, j *diagnoseJSON) (*float64, error) {
	m, err := readModel(o.model)
	if err != nil {
		return nil, err
	}
	e, err := a.open(ctx, m, d.item, ebm.Options{})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if !slices.Equal(d.item, ints(e.Item())) && !(len(d.item) == 0 && e.Dim() == 1) {
		return nil, fmt.Errorf("%s has items of shape %s; the model takes %s", d.path, shapeText(d.item), batchText(e.Item()))
	}
	x := thinned(d.X, d.Dim)
	if checkFinite(d.path, x, d.Dim, 0) != nil {
		return nil, nil // the draws fail the check that says so
	}
	n := len(x) / d.Dim
	energy, score := make([]float32, n), make([]float32, len(x))
	if err := e.EnergyGradient(ctx, x, n, energy, score); err != nil {
		return nil, err
	}
	for i, g := range score {
		score[i] = -g
	}
	ksd, err := diag.KSD(ctx, x, score, d.Dim, diag.KSDOptions{Workers: a.global.workers})
	if err != nil {
		return nil, err
	}
	j.KSD = value(ksd.U)
	rounding := diag.EnergyRounding(energy)
	if o.zarr == "" {
		return &rounding, nil
	}
	return &rounding, d.addDensities(ctx, e)
}

// addDensities puts lp = −E into the tree, unless it has it.
func (d *givenDraws) addDensities(ctx context.Context, e *ebm.Energy) error {
	if slices.ContainsFunc(d.tree.SampleStats, func(v zarr.Variable) bool { return v.Name == "lp" }) {
		return nil
	}
	lp := make([]float32, d.Chains*d.Draws.Draws)
	if err := e.EnergyGradient(ctx, d.X, len(lp), lp, nil); err != nil {
		return err
	}
	for i, v := range lp {
		lp[i] = -v
	}
	d.tree.SampleStats = append(d.tree.SampleStats, zarr.Variable{Name: "lp", Data: lp})
	return nil
}

func (a *app) compareReference(ctx context.Context, path string, draws diag.Draws, item []int, j *diagnoseJSON) error {
	ref, shape, err := readRows(path, nil)
	if err != nil {
		return err
	}
	list := len(shape) == 1 && draws.Dim == 1
	rows, chains := len(shape) == len(item)+1 && slices.Equal(shape[1:], item), len(shape) == len(item)+2 && slices.Equal(shape[2:], item)
	if !list && !rows && !chains {
		return fmt.Errorf("--reference %s has the shape %s; give draws %s, or chains of them", path, shapeText(shape), batchText(int64s(item)))
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

func (j diagnoseJSON) print(a *app, labels []string, v diag.Verdict) {
	s := j.Coordinates
	a.printf("%d chains of %d draws, D = %d\n", j.Chains, j.Draws, s.Dim())
	width := len("coordinate")
	for _, label := range labels[:min(s.Dim(), shownCoordinates)] {
		width = max(width, len(label))
	}
	a.printf("%*s %12s %12s %12s %10s %10s %8s\n", width, "coordinate", "mean", "sd", "mcse", "ess_bulk", "ess_tail", "rhat")
	for i := range min(s.Dim(), shownCoordinates) {
		a.printf("%*s %12.5g %12.5g %12.3g %10.0f %10.0f %8.4f\n", width, labels[i], s.Mean[i], s.SD[i], s.MCSE[i], s.ESSBulk[i], s.ESSTail[i], s.RHat[i])
	}
	if s.Dim() > shownCoordinates {
		a.printf("%*s %d more (--json has all)\n", width, "…", s.Dim()-shownCoordinates)
	}
	for _, d := range []struct {
		name string
		of   *number
	}{{"KSD² from the model", j.KSD}, {"MMD² from the reference", j.MMD}, {"sliced Wasserstein distance from the reference", j.Wasserstein}} {
		if d.of != nil {
			a.printf("%s: %v\n", d.name, *d.of)
		}
	}
	a.printf("\n%v\n%s\n", v, verdictLine(v))
}

// verdictLine is the verdict in one line.
func verdictLine(v diag.Verdict) string {
	failed, undone := 0, 0
	for _, c := range v.Checks {
		switch c.Status {
		case diag.Failed:
			failed++
		case diag.NotDone:
			undone++
		}
	}
	switch {
	case failed > 0:
		return fmt.Sprintf("%d of %d checks failed: do not trust these draws yet", failed, len(v.Checks)-undone)
	case !v.Passed():
		return "no check could be done"
	case undone > 0:
		return fmt.Sprintf("all %d checks that could be done passed; %d could not", len(v.Checks)-undone, undone)
	}
	return "all checks passed"
}
