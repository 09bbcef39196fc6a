package samplers

import "math"

const (
	absBits  = 0x7fffffff
	oneExp   = 0x00800000
	overflow = 0x80000000
)

// isFinite says that v is neither NaN nor infinite.
func isFinite(v float32) bool { return math.Float32bits(v)&absBits+oneExp < overflow }

// allFinite says that no element is NaN or infinite: adding one to an exponent
// of all ones, and only to that, carries into the sign bit.
func allFinite(v []float32) bool {
	n, finite := finiteWide(v)
	if !finite {
		return false
	}
	var bits uint32
	for _, f := range v[n:] {
		bits |= math.Float32bits(f)&absBits + oneExp
	}
	return bits < overflow
}

func finite64(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
