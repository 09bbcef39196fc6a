package samplers

import (
	"context"
	"fmt"
	"math"
)

// AnnealedLangevin is Langevin whose temperature falls level by level over the
// first Over iterations and then stays at the last level: T(n) =
// Temperatures[i]·Temperature(n), level i getting an equal share of Over. It
// crosses barriers while it is hot; the draws to keep are those after Over. (Annealing
// over noise levels after Song & Ermon 2019, for one energy instead of one per
// level: so the temperature, not the model, changes, and η is left alone.)
type AnnealedLangevin struct {
	Langevin
	// Temperatures are the levels, positive; nil: ten, from 10 down to 1, with equal ratios.
	Temperatures []float64
	// Over is the iterations that the levels share; 0: the burn-in,
	// or half of the run where there is none.
	Over int
}

// levels is a stair of factors for the temperature.
type levels struct {
	factors []float64
	over    int
	run     int // over, or what it defaults to in this run
}

func (l *levels) start(s *State) error {
	for i, f := range l.factors {
		if !finite64(f) || f <= 0 {
			return fmt.Errorf("samplers: annealing temperature %d is %v; give positive ones", i, f)
		}
	}
	l.run = l.over
	if l.run == 0 {
		l.run = s.BurnIn
	}
	if l.run == 0 {
		l.run = s.Total / 2
	}
	return nil
}

func (l *levels) at(step int) float64 {
	last := len(l.factors) - 1
	if step >= l.run {
		return l.factors[last]
	}
	return l.factors[min(last, step*len(l.factors)/l.run)]
}

// geometric is n factors from first to last with equal ratios.
func geometric(first, last float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = first * math.Pow(last/first, float64(i)/float64(max(n-1, 1)))
	}
	return out
}

// Start implements Kernel.
func (a *AnnealedLangevin) Start(ctx context.Context, t Target, s *State) error {
	factors := a.Temperatures
	if len(factors) == 0 {
		factors = geometric(10, 1, 10)
	}
	a.levels = &levels{factors: factors, over: a.Over}
	return a.Langevin.Start(ctx, t, s)
}
