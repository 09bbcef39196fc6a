package diag

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
)

// Options says how Summarize works. The zero value is a good choice.
type Options struct {
	Workers   int       // goroutines; 0: as many as cores. Results do not depend on it
	Quantiles []float64 // quantiles in [0, 1] to estimate as well
}

// Summary holds one value for each of D coordinates in every slice; what cannot
// be computed is NaN (see the package comment).
type Summary struct {
	Chains, Draws int

	Mean, SD         []float64
	MCSE, MCSESD     []float64 // Monte Carlo standard errors of Mean and SD
	ESSBulk, ESSTail []float64
	ESSMean, ESSSD   []float64
	RHat             []float64
	Constant         []bool // does not change over all draws of all chains
	NaNs             []int  // draws that are NaN
	Quantiles        []QuantileSummary
}

// QuantileSummary is one quantile of each coordinate.
type QuantileSummary struct {
	P                float64
	Value, ESS, MCSE []float64
}

// Dim is the number of coordinates.
func (s *Summary) Dim() int { return len(s.Mean) }

// Summarize computes the diagnostics of every coordinate, in parallel over
// coordinates. Memory beyond the result is about 64 bytes times chains times
// draws for each worker.
func Summarize(ctx context.Context, d Draws, o Options) (*Summary, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	for _, p := range o.Quantiles {
		if !(p >= 0 && p <= 1) {
			return nil, fmt.Errorf("diag: the quantile %v is not in [0, 1]", p)
		}
	}
	s := newSummary(d, o.Quantiles)
	scratch := newScratch(d, crew(o.Workers, d.Dim))
	err := each(ctx, o.Workers, d.Dim, func(w, j int) { s.coordinate(scratch[w], d, j) })
	if err != nil {
		return nil, fmt.Errorf("diag: %w", err)
	}
	return s, nil
}

func newSummary(d Draws, quantiles []float64) *Summary {
	column := func() []float64 { return make([]float64, d.Dim) }
	s := &Summary{
		Chains: d.Chains, Draws: d.Draws,
		Mean: column(), SD: column(), MCSE: column(), MCSESD: column(),
		ESSBulk: column(), ESSTail: column(), ESSMean: column(), ESSSD: column(), RHat: column(),
		Constant: make([]bool, d.Dim), NaNs: make([]int, d.Dim),
	}
	for _, p := range quantiles {
		s.Quantiles = append(s.Quantiles, QuantileSummary{p, column(), column(), column()})
	}
	return s
}

// scratch is what one worker needs.
type scratch struct {
	x      []float64
	series *series // nil where there are too few draws for any
}

func newScratch(d Draws, workers int) []scratch {
	out := make([]scratch, workers)
	if d.Draws < minDraws {
		return out
	}
	scores := newNormalScores(splitSize(d.Chains, d.Draws))
	for w := range out {
		out[w] = scratch{make([]float64, d.Chains*d.Draws), newSeries(d.Chains, d.Draws, scores)}
	}
	return out
}

func (s *Summary) coordinate(w scratch, d Draws, j int) {
	x := d.Coordinate(w.x, j)
	for _, v := range x {
		if math.IsNaN(v) {
			s.NaNs[j]++
		}
	}
	if s.NaNs[j] > 0 {
		s.undefined(j)
		return
	}
	s.Constant[j] = spread(x) < constantWithin
	if w.series == nil {
		s.undefined(j)
		s.Mean[j], s.SD[j] = mean(x), math.Sqrt(variance(x))
		return
	}
	w.series.load(x)
	s.measure(w.series, j)
}

func (s *Summary) measure(w *series, j int) {
	bulk := w.bulkRows()
	s.RHat[j] = math.NaN()
	if w.chains > 1 {
		s.RHat[j] = w.splitRHat(bulk)
	}
	s.ESSBulk[j] = w.ess(bulk)
	if w.chains > 1 {
		s.RHat[j] = math.Max(s.RHat[j], w.splitRHat(w.tailRows()))
	}
	s.ESSTail[j], s.ESSMean[j], s.ESSSD[j] = w.essTail(), w.essMean(), w.essSD()
	m := w.moments(s.ESSMean[j], s.ESSSD[j])
	s.Mean[j], s.SD[j], s.MCSE[j], s.MCSESD[j] = m.mean, m.sd, m.mcse, m.mcseSD
	for _, q := range s.Quantiles {
		q.Value[j] = quantile(w.sorted, q.P)
		q.ESS[j] = w.essQuantile(q.P)
		q.MCSE[j] = w.mcseQuantile(q.P, q.ESS[j])
	}
}

// undefined makes NaN of everything about coordinate j.
func (s *Summary) undefined(j int) {
	for _, column := range [][]float64{s.Mean, s.SD, s.MCSE, s.MCSESD, s.ESSBulk, s.ESSTail, s.ESSMean, s.ESSSD, s.RHat} {
		column[j] = math.NaN()
	}
	for _, q := range s.Quantiles {
		q.Value[j], q.ESS[j], q.MCSE[j] = math.NaN(), math.NaN(), math.NaN()
	}
}

// MarshalJSON writes arrays over the coordinates: mean, sd, mcse, mcse_sd,
// ess_bulk, ess_tail, ess_mean, ess_sd and rhat. What is not finite is null.
func (s *Summary) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Mean    numbers `json:"mean"`
		SD      numbers `json:"sd"`
		MCSE    numbers `json:"mcse"`
		MCSESD  numbers `json:"mcse_sd"`
		ESSBulk numbers `json:"ess_bulk"`
		ESSTail numbers `json:"ess_tail"`
		ESSMean numbers `json:"ess_mean"`
		ESSSD   numbers `json:"ess_sd"`
		RHat    numbers `json:"rhat"`
	}{s.Mean, s.SD, s.MCSE, s.MCSESD, s.ESSBulk, s.ESSTail, s.ESSMean, s.ESSSD, s.RHat})
}

// numbers are written to JSON with null for what it has no number for.
type numbers []float64

func (n numbers) MarshalJSON() ([]byte, error) {
	out := make([]*float64, len(n))
	for i := range n {
		out[i] = finite(n[i])
	}
	return json.Marshal(out)
}

func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
