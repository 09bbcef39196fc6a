package main

import (
	"math"
	"slices"
	"strconv"

	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/diag"
	"github.com/onnx-ebm/onnx-ebm/samplers/diag/zarr"
)

// What a store of draws says of the run beside the draws, as attributes.
const (
	attributeSampler    = "sampler"
	attributeAcceptance = "acceptance"         // after burn-in
	attributeDiverged   = "divergences"        // after burn-in
	attributeNonFinite  = "rejected_nonfinite" // of all moves
	attributeLate       = "rejected_nonfinite_after_burn_in"
	attributeMoves      = "moves"                // chains × iterations after burn-in
	attributeGradients  = "gradient_evaluations" // all
	attributeMaxDepth   = "max_tree_depth"
)

// keptStats are the statistics of draws that each sampler has, beside the step size.
var keptStats = map[string]struct{ accepts, density, trajectories, trees bool }{
	"langevin":           {density: true},
	"underdamped":        {density: true},
	"mala":               {accepts: true, density: true},
	"rwm":                {accepts: true, density: true},
	"parallel-tempering": {accepts: true, density: true},
	"hmc":                {accepts: true, density: true, trajectories: true},
	"nuts":               {accepts: true, density: true, trajectories: true, trees: true},
}

// stageStore stages the draws and what is known of them.
func (o sampleOptions) stageStore(out *outputs, r *sampleRun, result *samplers.Result, item []int64) error {
	skip := 0
	if o.withStart {
		skip = 1
	}
	tree, err := zarr.Sampled(drawsOf(result, o.withStart), ints(item), r.statistics(result, skip))
	if err != nil {
		return err
	}
	tree.Attributes = r.attributes(result)
	return out.draws(o.zarr, tree)
}

// drawsOf are the draws of a result; the start, where it was kept, is none.
func drawsOf(r *samplers.Result, withStart bool) diag.Draws {
	d := diag.Draws{X: r.Draws, Chains: r.N, Draws: r.Kept, Dim: r.Dim}
	if withStart {
		d.X, d.Draws = later(r.Draws, r.N, 1, r.Dim), r.Kept-1
	}
	return d
}

// later is v [chains, draws, width] without the first skip draws; nil stays nil.
func later[T any](v []T, chains, skip, width int) []T {
	if v == nil || skip == 0 {
		return v
	}
	row := len(v) / chains
	out := make([]T, 0, chains*(row-skip*width))
	for c := range chains {
		out = append(out, v[c*row+skip*width:(c+1)*row]...)
	}
	return out
}

func (r *sampleRun) statistics(result *samplers.Result, skip int) zarr.Stats {
	s, has := result.Stats, keptStats[r.sampler.Name]
	z := zarr.Stats{StepSize: later(s.StepSize, result.N, skip, 1)}
	if has.accepts {
		z.AcceptanceRate = later(s.Acceptance, result.N, skip, 1)
	}
	if has.density {
		z.LP = r.logDensities(later(result.Energies, result.N, skip, 1), result.N)
	}
	if has.trajectories {
		z.Energy = later(s.Energy, result.N, skip, 1)
		z.Diverging = later(s.Diverging, result.N, skip, 1)
		z.NSteps = later(s.Leapfrogs, result.N, skip, 1)
	}
	if has.trees {
		z.TreeDepth = later(s.TreeDepth, result.N, skip, 1)
	}
	return z
}

// logDensities are −E/T of energies [chains, draws], T that of the iteration.
func (r *sampleRun) logDensities(energies []float32, chains int) []float32 {
	out := make([]float32, len(energies))
	draws := len(energies) / chains
	for i := range draws {
		t := 1.0
		if r.options.Temperature != nil {
			t = r.options.Temperature.At(r.cfg.BurnIn + (i+1)*max(r.cfg.Thin, 1) - 1)
		}
		if r.sampler.Name == "parallel-tempering" && len(r.options.Temperatures) > 0 {
			t *= r.options.Temperatures[0]
		}
		for c := range chains {
			out[c*draws+i] = float32(-float64(energies[c*draws+i]) / t)
		}
	}
	return out
}

// defaultDepth is the largest of trees where no other was asked for.
const defaultDepth = 10

func (r *sampleRun) attributes(result *samplers.Result) map[string]string {
	has := keptStats[r.sampler.Name]
	all := result.Warmup
	all.Add(result.Sampling)
	at := map[string]string{
		"inference_library":         "onnx-ebm",
		"inference_library_version": version(),
		attributeSampler:            r.sampler.Name,
		attributeNonFinite:          strconv.Itoa(all.RejectedNonFinite),
		attributeLate:               strconv.Itoa(result.Sampling.RejectedNonFinite),
		attributeMoves:              strconv.Itoa(result.Sampling.Moves),
		attributeGradients:          strconv.Itoa(all.Gradients),
	}
	if has.accepts {
		at[attributeAcceptance] = strconv.FormatFloat(result.Sampling.Acceptance(), 'g', -1, 64)
	}
	if has.trajectories {
		at[attributeDiverged] = strconv.Itoa(result.Sampling.Divergences)
	}
	if has.trees {
		depth := r.options.MaxDepth
		if depth == 0 {
			depth = defaultDepth
		}
		at[attributeMaxDepth] = strconv.Itoa(depth)
	}
	return at
}

// history is what a store tells of how its draws came about.
type history struct {
	evidence  diag.Evidence // of what came after the burn-in
	nonFinite *int          // moves rejected, of all
	gradients *int
	diverging []bool // [chains, draws], or nil
}

// historyOf reads a store's attributes and statistics. Where both tell, the
// attributes do: they also know of draws that were thinned away.
func historyOf(t *zarr.Tree) (h history, err error) {
	s, err := t.Stats()
	if err != nil {
		return h, err
	}
	e := &h.evidence
	e.Sampler = t.Attributes[attributeSampler]
	h.nonFinite, h.gradients, h.diverging = attribute(t, attributeNonFinite), attribute(t, attributeGradients), s.Diverging
	e.RejectedNonFinite, e.Moves = attribute(t, attributeLate), attribute(t, attributeMoves)
	if e.Divergences = attribute(t, attributeDiverged); e.Divergences == nil && s.Diverging != nil {
		e.Divergences = countOf(s.Diverging, func(d bool) bool { return d })
	}
	if a, err := strconv.ParseFloat(t.Attributes[attributeAcceptance], 64); err == nil {
		e.Acceptance = &a
	} else if s.AcceptanceRate != nil {
		sum := 0.0
		for _, a := range s.AcceptanceRate {
			sum += float64(a) / float64(len(s.AcceptanceRate))
		}
		e.Acceptance = &sum
	}
	if s.Energy != nil {
		if e.EBFMI, err = diag.EBFMI(s.Energy, t.Chains); err != nil {
			return h, err
		}
	}
	if most := attribute(t, attributeMaxDepth); most != nil && s.TreeDepth != nil {
		e.DeepestTrees = countOf(s.TreeDepth, func(d int32) bool { return int(d) >= *most })
	}
	if s.LP != nil && !slices.ContainsFunc(s.LP, func(v float32) bool { return math.IsInf(float64(v), 0) }) {
		rounding := diag.EnergyRounding(s.LP)
		e.EnergyRounding = &rounding
	}
	return h, nil
}

// attribute is a whole number, nil where there is none.
func attribute(t *zarr.Tree, name string) *int {
	n, err := strconv.Atoi(t.Attributes[name])
	if err != nil {
		return nil
	}
	return &n
}

func countOf[T any](v []T, is func(T) bool) *int {
	n := 0
	for _, x := range v {
		if is(x) {
			n++
		}
	}
	return &n
}
