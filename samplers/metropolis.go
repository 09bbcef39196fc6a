package samplers

import (
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// verdict is what became of one chain's proposal.
type verdict uint8

const (
	refused verdict = iota
	accepted
	notFinite
)

// decide is the Metropolis test of one chain: it accepts with probability
// min(1, exp(logRatio)) and says that probability. Whoever calls it has put a
// NaN into logRatio if anything about the proposal was not finite.
func decide(logRatio float64, k rng.Key, step, chain int) (verdict, float32) {
	switch {
	case math.IsNaN(logRatio):
		return notFinite, 0
	case logRatio >= 0:
		return accepted, 1
	case math.Log(k.Float64(uint64(step), uint64(chain))) < logRatio:
		return accepted, float32(math.Exp(logRatio))
	}
	return refused, float32(math.Exp(logRatio))
}

// count adds up one iteration of n chains.
func count(accept []float32, verdicts []verdict) Info {
	info := Info{Moves: len(accept)}
	for c, a := range accept {
		info.Accepted += float64(a)
		if verdicts[c] == notFinite {
			info.RejectedNonFinite++
		}
	}
	return info
}
