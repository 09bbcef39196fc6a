package samplers

import (
	"context"
	"math"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// The plan: temperatures for each that the pilot took, the least and the most of them, the chains of the trial, and the variance of log weights that
// ais aims at: of 1, a third of its chains count.
const (
	refinement        = 6
	leastTemperatures = 200
	mostTemperatures  = 20_000
	aisFactor         = 3 // of the first two, for ais
	trialChains       = 256
	goalVariance      = 1
)

// plan chooses how many temperatures the estimate takes.
//
// SMC resamples and needs few. The log weights of AIS vary by the sum of (β′−β)²·Var(E−E₀), and by (1+ρ)/(1−ρ) times that where successive
// gaps E−E₀ correlate by ρ. It falls as the reciprocal of the number of temperatures; a trial run, whose chains serve for nothing else, tells from
// where.
func (p *path) plan(ctx context.Context, knots []knot, key rng.Key) error {
	if p.cfg.Temperatures > 0 {
		return nil
	}
	p.cfg.Temperatures = max(leastTemperatures, refinement*(len(knots)-1))
	if p.cfg.Method != "ais" {
		return nil
	}
	p.cfg.Temperatures *= aisFactor
	trial := *p
	trial.cfg.Chains, trial.cfg.OnProgress, trial.info = trialChains, nil, Info{}
	_, logW, _, err := trial.travel(ctx, trial.refine(knots), key)
	p.info.Add(trial.info)
	if err != nil {
		return err
	}
	if more := logVariance(logW) / goalVariance; more > 1 {
		p.cfg.Temperatures = max(p.cfg.Temperatures, int(min(mostTemperatures, more*float64(p.cfg.Temperatures))))
	}
	return nil
}

// logVariance is the variance of log weights by what lies between their quartiles, or what their effective number would be of were they normal,
// log(N/ESS), if that is more: few chains cannot show an effective number much below their own, and quartiles do not see tails. It is not finite
// where too few weights are.
func logVariance(logW []float64) float64 {
	n := len(logW)
	sorted := slices.Sorted(slices.Values(logW))
	const quartiles = 1.349 // between those of N(0, 1)
	sd := (sorted[3*n/4] - sorted[n/4]) / quartiles
	return max(sd*sd, math.Log(float64(n)/effective(logW)))
}
