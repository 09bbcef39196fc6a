package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/diag"
	"github.com/onnx-ebm/onnx-ebm/samplers/diag/zarr"
	"github.com/onnx-ebm/onnx-ebm/tools/internal/picture"
)

type sampleOptions struct {
	sampler                     string
	chains, steps, burnIn, thin int
	adapt                       int
	init, clamp, clampMode      string
	out, draws, energies        string
	withStart                   bool
	plot, checkpoint, zarr      string
	every                       int
	resume                      bool
	kernel                      kernelFlags
}

func (a *app) sampleCommand() *cobra.Command {
	var o sampleOptions
	c := &cobra.Command{
		Use:   "sample MODEL --sampler NAME --chains N --steps K --step-size SCHEDULE -o last.npy",
		Short: "Draw samples of exp(−E/T) by Markov chain Monte Carlo",
		Long:  sampleHelp(),
		Example: `  onnx-ebm sample energy.onnx --chains 1000 --steps 500 --step-size 0.01 -o last.npy
  onnx-ebm sample builtin:funnel --sampler nuts --chains 4 --steps 2000 --burn-in 1000 --step-size 0.1 -o last.npy --draws draws.npy --json
  onnx-ebm sample energy.onnx --sampler langevin --chains 64 --steps 1000 --step-size cosine:0.1,0.001,1000 --clamp 0,1 -o images.npy`,
		RunE: func(c *cobra.Command, args []string) error { return a.sample(c, args, o) },
	}
	f := c.Flags()
	f.StringVar(&o.sampler, "sampler", "langevin", strings.Join(samplers.Names(), ", "))
	f.IntVar(&o.chains, "chains", 0, "number of chains (default: as many as --init has)")
	f.IntVar(&o.steps, "steps", 0, "iterations in all, burn-in included")
	f.IntVar(&o.burnIn, "burn-in", 0, "iterations before the first draw")
	f.IntVar(&o.thin, "thin", 1, "keep every T-th iteration")
	f.IntVar(&o.adapt, "adapt", 0, "adapt in the first N iterations, N ≤ burn-in (default: burn-in, for samplers that adapt); 0: never")
	f.StringVar(&o.init, "init", "", "`FILE` of first states [chains, D…] (default: N(0, I))")
	f.StringVar(&o.clamp, "clamp", "", "`LO,HI`: keep every coordinate within")
	f.StringVar(&o.clampMode, "clamp-mode", "clamp", "clamp (to the nearest point; a Metropolis proposal outside is rejected) or reflect")
	f.StringVarP(&o.out, "out", "o", "", "output `FILE`: last states [chains, D…]")
	f.StringVar(&o.draws, "draws", "", "output `FILE`: draws after burn-in and thinning [chains, draws, D…]")
	f.BoolVar(&o.withStart, "with-start", false, "put the first state, and its energy, before the draws")
	f.StringVar(&o.energies, "energies", "", "output `FILE`: energies of the draws [chains, draws]")
	f.StringVar(&o.zarr, "zarr", "", "output `FOLDER`: draws and their statistics as a Zarr store, which ArviZ and diagnose read")
	f.StringVar(&o.plot, "plot", "", "output `FILE`: a .png of the energy with the samples (D = 1 or 2), of the last states (images), or of the energies by iteration")
	f.StringVar(&o.checkpoint, "checkpoint", "", "`FOLDER` of a checkpoint")
	f.IntVar(&o.every, "every", 1000, "steps from one checkpoint to the next")
	f.BoolVar(&o.resume, "resume", false, "go on from the checkpoint, to --steps in all")
	o.kernel.add(f)
	a.global.addSeed(f)
	a.global.addJSON(f)
	a.global.addRuntime(f)
	return c
}

func sampleHelp() string {
	var b strings.Builder
	b.WriteString(`Moves chains through a sampler's iterations and writes their last states, and what else is asked for.
The same seed gives the same bytes for any number of workers. Ctrl-C writes what there is.

--step-size is η of x ← x − η∇E + √(2ηT)ε for langevin, mala, annealed-langevin and parallel-tempering, the proposal's
standard deviation for rwm, the leapfrog ε for hmc and nuts, the time step for underdamped, η for the two descents.

` + scheduleHelp() + `

Samplers, and the flags that each heeds beside those of all:
`)
	for _, s := range samplers.Samplers() {
		fmt.Fprintf(&b, "  %-20s %s\n", s.Name, s.Doc)
		if own := ownFlags(s); len(own) > 0 {
			fmt.Fprintf(&b, "  %-20s   %s\n", "", strings.Join(own, " "))
		}
	}
	return b.String() + "\n" + modelHelp
}

// sampleRun is a checked command line.
type sampleRun struct {
	cfg     samplers.Config
	sampler samplers.Sampler
	options samplers.Options
}

func (o sampleOptions) check(c *cobra.Command, args []string, g *global) (sampleRun, error) {
	u := newUsage(c, args, "MODEL")
	if !u.has("init") {
		u.need("chains")
	}
	u.need("steps")
	u.files("init", "out", "draws", "energies", "mass", "plot", "checkpoint", "zarr")
	u.png("plot")
	if o.resume || u.c.Flags().Changed("every") {
		u.need("checkpoint")
	}
	u.runtime(g)
	r := sampleRun{cfg: samplers.Config{
		Chains: o.chains, Steps: o.steps, BurnIn: o.burnIn, Thin: o.thin, Seed: g.seed, Workers: g.workers,
		WithStart: o.withStart, KeepDraws: o.draws != "" || o.zarr != "", KeepEnergies: o.energies != "" || o.zarr != "",
		KeepStats: o.zarr != "",
	}}
	o.checkCounts(u)
	r.cfg.Adapt = o.adapting(u)
	r.cfg.Box = o.box(u)
	if o.withStart && o.draws == "" && o.energies == "" {
		u.missing = append(u.missing, "--draws or --energies (for --with-start)")
	}
	s, err := samplers.Lookup(o.sampler)
	if err != nil {
		u.check(spec.Unknown("sampler", o.sampler, samplers.Names()))
	} else {
		if !s.Adapts || o.burnIn == 0 {
			u.need("step-size")
		}
		r.sampler = s
		r.options = o.kernel.options(u, s)
		if u.has("adapt") && o.adapt > 0 && !s.Adapts {
			r.options.TargetAccept = o.target(u, s, r.options.TargetAccept)
		}
	}
	u.need("out")
	if o.zarr != "" && u.has("steps") && (o.steps-o.burnIn)/max(o.thin, 1) < 1 {
		u.bad("--zarr %s: no draw is kept of --steps %d with --burn-in %d and --thin %d", o.zarr, o.steps, o.burnIn, o.thin)
	}
	return r, u.err()
}

func (o sampleOptions) checkCounts(u *usage) {
	for _, n := range []struct {
		flag       string
		value, low int
	}{{"chains", o.chains, 1}, {"steps", o.steps, 1}, {"burn-in", o.burnIn, 0}, {"thin", o.thin, 1}, {"adapt", o.adapt, 0}, {"every", o.every, 1}} {
		if u.has(n.flag) && n.value < n.low {
			u.bad("--%s %d: must be at least %d", n.flag, n.value, n.low)
		}
	}
	if u.has("steps") && o.burnIn > o.steps {
		u.bad("--burn-in %d is more than --steps %d, which include it", o.burnIn, o.steps)
	}
	if o.adapt > o.burnIn {
		u.bad("--adapt %d is more than --burn-in %d: draws of a chain that still adapts are biased", o.adapt, o.burnIn)
	}
}

// adapting is Config.Adapt: 0 means the burn-in there.
func (o sampleOptions) adapting(u *usage) int {
	if u.has("adapt") && o.adapt == 0 {
		return -1
	}
	return o.adapt
}

// target is the acceptance that a sampler adapts to only when asked.
func (o sampleOptions) target(u *usage, s samplers.Sampler, given float64) float64 {
	optimum := map[string]float64{"mala": 0.574, "rwm": 0.234}
	if optimum[s.Name] == 0 {
		u.bad("--adapt is not for the sampler %s, which has nothing to adapt", s.Name)
	}
	if given > 0 {
		return given
	}
	return optimum[s.Name]
}

func (o sampleOptions) box(u *usage) (b samplers.Box) {
	mode, err := samplers.ParseBoxMode(o.clampMode)
	u.check(err)
	b.Mode = mode
	if o.clamp == "" {
		return b
	}
	v, err := numberList(o.clamp)
	if err != nil || len(v) != 2 || !(v[0] < v[1]) {
		u.bad("--clamp %s: give LO,HI with LO < HI", o.clamp)
		return b
	}
	b.Lo, b.Hi = float32(v[0]), float32(v[1])
	return b
}

// numberList reads a comma list.
func numberList(text string) ([]float64, error) {
	var list []float64
	for part := range strings.SplitSeq(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || math.IsNaN(v) {
			return nil, fmt.Errorf("%q is not a number", part)
		}
		list = append(list, v)
	}
	return list, nil
}

func (a *app) sample(c *cobra.Command, args []string, o sampleOptions) error {
	r, err := o.check(c, args, &a.global)
	if err != nil {
		return err
	}
	var out outputs
	defer out.abort()
	if err := out.addAll("last", o.out, "draws", o.draws, "energies", o.energies, "plot", o.plot); err != nil {
		return err
	}
	if o.zarr != "" {
		if err := zarr.Check(o.zarr); err != nil {
			return err
		}
	}
	m, err := readModel(args[0])
	if err != nil {
		return err
	}
	e, err := a.openForChains(c.Context(), m, o.init)
	if err != nil {
		return err
	}
	defer e.Close()
	if err := o.readArrays(&r, e); err != nil {
		return err
	}
	if _, images := imageGrid(e.Item()); o.plot != "" && e.Dim() > 2 && !images {
		r.cfg.KeepEnergies = true
	}
	if a.global.json && !r.cfg.KeepDraws {
		if values := r.cfg.Draws() * max(1, r.cfg.Chains) * e.Dim(); values <= maxUnasked {
			r.cfg.KeepDraws = true
		} else {
			a.notice("the draws would take %d MB, so coordinates are not summed up; --draws keeps them nevertheless", values>>18)
		}
	}
	keep, err := a.prepareCheckpoints(o, &r, e)
	if err != nil {
		return err
	}
	progress := a.newBar(r.cfg.Steps, "sampling", "steps")
	r.cfg.OnProgress = progress.set
	result, err := samplers.Run(c.Context(), e, r.sampler.New(r.options), r.cfg)
	progress.end(a)
	interrupted := err != nil && errors.Is(err, context.Canceled) && result != nil && result.Final != nil
	if err != nil && !interrupted {
		return err
	}
	if keep != nil {
		if err := keep.save(result); err != nil {
			return err
		}
	}
	if out.wants("plot") {
		// The picture is made whatever became of the context.
		if err := a.drawSamples(context.WithoutCancel(c.Context()), m, e, result, out.writer["plot"]); err != nil {
			return err
		}
	}
	if o.zarr != "" && drawsOf(result, o.withStart).Draws > 0 {
		if err := o.stageStore(&out, &r, result, e.Item()); err != nil {
			return err
		}
	}
	if err := writeResult(&out, result, e.Item()); err != nil {
		return err
	}
	if a.global.json {
		report, err := a.sampleReport(context.WithoutCancel(c.Context()), result, r.cfg.WithStart)
		if err != nil {
			return err
		}
		if err := a.printJSON(report); err != nil {
			return err
		}
	}
	// In the burn-in such moves are how steps that are too large are found out.
	if n := result.Sampling.RejectedNonFinite; n > 0 {
		a.notice("%d moves after the burn-in were rejected since they led to what is not finite", n)
	}
	if interrupted {
		return fmt.Errorf("%w after %d of %d steps; what there is was written", context.Canceled, result.Steps, r.cfg.Steps)
	}
	return nil
}

// maxUnasked is how many values of draws are kept for --json alone: 1 GiB.
const maxUnasked = 1 << 28

// modelSum is a checksum of a graph and its parameters.
func modelSum(g *graphs.Graph) (uint32, error) {
	raw, err := graphs.Encode(g, graphs.WriteOptions{ParamsAsInputs: true})
	sum := crc32.Checksum(raw, castagnoli)
	for _, v := range g.Params() {
		sum = crc32.Update(sum, castagnoli, v.Tensor.Raw)
	}
	return sum, err
}

// prepareCheckpoints makes the folder, loads what to go on from, and has the
// run save itself; nil if no folder was named.
func (a *app) prepareCheckpoints(o sampleOptions, r *sampleRun, e *ebm.Energy) (*checkpoints, error) {
	if o.checkpoint == "" {
		return nil, nil
	}
	model, err := modelSum(e.Graph())
	if err != nil {
		return nil, err
	}
	k := &checkpoints{o.checkpoint, map[string]string{
		"model":   fmt.Sprintf("%08x", model),
		"sampler": o.sampler + " " + fmt.Sprint(o.kernel),
		"chains":  fmt.Sprint(r.cfg.Chains),
		"init":    fmt.Sprintf("%08x", crc32.Checksum(fmt.Append(nil, r.cfg.Init), castagnoli)),
		"draws": fmt.Sprintf("burn-in %d, thin %d, adapt %d, start %v, kept %v %v %v", r.cfg.BurnIn, r.cfg.Thin, r.cfg.Adapt,
			r.cfg.WithStart, r.cfg.KeepDraws, r.cfg.KeepEnergies, r.cfg.KeepStats),
		"clamp": o.clamp + " " + o.clampMode,
		"seed":  fmt.Sprint(r.cfg.Seed),
	}}
	if err := k.make(); err != nil {
		return nil, err
	}
	if o.resume {
		from, reason, err := k.load()
		if err != nil {
			return nil, err
		}
		if r.cfg.Resume = from; from == nil {
			a.notice("%s; sampling from the beginning", reason)
		}
	}
	r.cfg.Every, r.cfg.Checkpoint = o.every, k.save
	return k, nil
}

// drawSamples draws the last states over the energy, or side by side where
// they are images, or the course of the energies where there are more than two
// dimensions.
func (a *app) drawSamples(ctx context.Context, m *model, e *ebm.Energy, r *samplers.Result, w io.Writer) error {
	if g, ok := imageGrid(e.Item()); ok {
		g.Images = r.Final[:min(r.N, maxImages)*r.Dim]
		return g.WritePNG(w)
	}
	if e.Dim() > 2 {
		return energyTraces(r).WritePNG(w)
	}
	x := r.Final
	if r.Draws != nil {
		x = r.Draws
	}
	return scene{e: e, title: m.title(), layers: []picture.Points{{Name: "samples", X: x, Color: picture.Samples}}}.draw(ctx, w)
}

// maxImages is how many states are drawn as images.
const maxImages = 400

// imageGrid makes a grid for items [H, W], [1, H, W] or [3, H, W] of at least
// 4×4 pixels; smaller ones are taken for tables.
func imageGrid(item []int64) (g data.Grid, ok bool) {
	g.Channels = 1
	if len(item) == 3 {
		g.Channels, item = int(item[0]), item[1:]
	}
	if len(item) != 2 || item[0] < 4 || item[1] < 4 || g.Channels != 1 && g.Channels != 3 {
		return g, false
	}
	g.Height, g.Width = int(item[0]), int(item[1])
	return g, true
}

// maxTraces is how many chains are drawn.
const maxTraces = 12

func energyTraces(r *samplers.Result) picture.Lines {
	l := picture.Lines{XLabel: "draw", YLabel: "E(x)"}
	index := make([]float64, r.Kept)
	for i := range index {
		index[i] = float64(i)
	}
	for c := range min(r.N, maxTraces) {
		l.Series = append(l.Series, picture.Series{X: index, Y: float64s(r.Energies[c*r.Kept : (c+1)*r.Kept]), Thin: true})
	}
	return l
}

// openForChains opens the model; the first states tell the shape of items that it leaves open.
func (a *app) openForChains(ctx context.Context, m *model, init string) (*ebm.Energy, error) {
	var item []int
	if init != "" {
		x, err := openRows(init)
		if err != nil {
			return nil, err
		}
		item = x.item()
		x.close()
	}
	return a.open(ctx, m, item, ebm.Options{})
}

// readArrays reads the files that flags name.
func (o sampleOptions) readArrays(r *sampleRun, e *ebm.Energy) error {
	if o.init != "" {
		x, shape, err := readRows(o.init, e.Item())
		if err != nil {
			return err
		}
		if r.cfg.Chains != 0 && r.cfg.Chains != shape[0] {
			return fmt.Errorf("%s has the shape %s, %d states for %d chains; leave out --chains or give one state a chain", o.init, shapeText(shape), shape[0], r.cfg.Chains)
		}
		r.cfg.Init, r.cfg.Chains = x, shape[0]
	}
	if o.kernel.mass == "" {
		return nil
	}
	mass, err := npy.ReadFile(o.kernel.mass)
	if err != nil {
		return err
	}
	d := e.Dim()
	if !slices.Equal(mass.Shape, []int{d}) && !slices.Equal(mass.Shape, []int{d, d}) && !slices.Equal(mass.Shape, ints(e.Item())) {
		return fmt.Errorf("%s has the shape %s; a mass is [%d], its diagonal, or [%d,%d]", o.kernel.mass, shapeText(mass.Shape), d, d, d)
	}
	r.options.Mass = mass.Data
	return checkFinite(o.kernel.mass, mass.Data, mass.RowLen(), 0)
}

func writeResult(out *outputs, r *samplers.Result, item []int64) error {
	err := errors.Join(
		out.array("last", r.Final, append([]int{r.N}, ints(item)...)...),
		out.array("draws", r.Draws, append([]int{r.N, r.Kept}, ints(item)...)...),
		out.array("energies", r.Energies, r.N, r.Kept),
	)
	if err != nil {
		return err
	}
	return out.commit()
}

// sampleJSON is what sample --json prints.
type sampleJSON struct {
	Chains              int           `json:"chains"`
	Steps               int           `json:"steps"`
	Draws               int           `json:"draws"` // of each chain, those of the start left out
	Acceptance          number        `json:"acceptance"`
	Divergences         int           `json:"divergences"`
	RejectedNonFinite   int           `json:"rejected_nonfinite"`
	GradientEvaluations int           `json:"gradient_evaluations"`
	Coordinates         *diag.Summary `json:"coordinates"` // null where there are no draws
}

// sampleReport counts what happened after the burn-in; what was spent and
// refused is counted from the start.
func (a *app) sampleReport(ctx context.Context, r *samplers.Result, withStart bool) (sampleJSON, error) {
	after := r.Sampling
	if after.Moves == 0 {
		after = r.Warmup
	}
	j := sampleJSON{
		Chains: r.N, Steps: r.Steps, Draws: r.Kept,
		Acceptance:          number(after.Acceptance()),
		Divergences:         after.Divergences,
		RejectedNonFinite:   r.Warmup.RejectedNonFinite + r.Sampling.RejectedNonFinite,
		GradientEvaluations: r.Warmup.Gradients + r.Sampling.Gradients,
	}
	draws := drawsOf(r, withStart)
	j.Draws = draws.Draws
	if draws.Draws < 1 || draws.X == nil {
		return j, nil
	}
	var err error
	j.Coordinates, err = diag.Summarize(ctx, draws, diag.Options{Workers: a.global.workers})
	return j, err
}
