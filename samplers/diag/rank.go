package diag

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// normalScores gives Φ⁻¹((r − 3/8)/(n + 1/4)) for the rank r of n values
// (Blom 1958; Vehtari et al. 2021, equation 14). Whole ranks come from a table,
// which serves all series of one length.
type normalScores struct {
	n     int
	table []float64
}

func newNormalScores(n int) *normalScores {
	s := &normalScores{n: n, table: make([]float64, n)}
	for i := range s.table {
		s.table[i] = s.compute(float64(i + 1))
	}
	return s
}

func (s *normalScores) compute(rank float64) float64 {
	return mathext.NormalQuantile((rank - 0.375) / (float64(s.n) + 0.25))
}

// of is the score of values that share the ranks first+1 … end: the score of
// their average rank.
func (s *normalScores) of(first, end int) float64 {
	if twice := first + 1 + end; twice%2 == 0 {
		return s.table[twice/2-1]
	}
	return s.compute(float64(first+1+end) / 2)
}

// rankNormalize sets dst[e.i] to the normal score of e for all of the sorted
// entries. Equal values share their average rank.
func (s *normalScores) rankNormalize(dst []float64, sorted []entry) {
	for first := 0; first < len(sorted); {
		end := tieEnd(sorted, first)
		z := s.of(first, end)
		for ; first < end; first++ {
			dst[sorted[first].i] = z
		}
	}
}

// tieEnd is the end of the run of equal values that starts at first. Keys are
// compared first: only ±0 are equal with different keys.
func tieEnd(sorted []entry, first int) int {
	end := first + 1
	for end < len(sorted) && (sorted[end].key == sorted[first].key || sorted[end].value() == sorted[first].value()) {
		end++
	}
	return end
}

// fold puts |x − median| of the sorted entries into dst, sorted, and returns it:
// both sides of the median are sorted already and need only be merged.
func fold(dst, sorted []entry) []entry {
	n := len(sorted)
	m := medianOf(n, func(i int) float64 { return sorted[i].value() })
	lo, hi := (n-1)/2, (n-1)/2+1
	dst = dst[:0]
	for lo >= 0 || hi < n {
		below, above := math.Inf(1), math.Inf(1)
		if lo >= 0 {
			below = math.Abs(sorted[lo].value() - m)
		}
		if hi < n {
			above = math.Abs(sorted[hi].value() - m)
		}
		if hi == n || lo >= 0 && below <= above {
			dst = append(dst, entry{keyOf(below), sorted[lo].i})
			lo--
		} else {
			dst = append(dst, entry{keyOf(above), sorted[hi].i})
			hi++
		}
	}
	return dst
}

// medianOf is the middle of n ascending values, or the mean of the middle two.
func medianOf(n int, at func(int) float64) float64 {
	if n%2 == 1 {
		return at(n / 2)
	}
	return (at(n/2-1) + at(n/2)) / 2
}

// quantile is the quantile p of ascending values by linear interpolation
// (Hyndman and Fan 1996, type 7). Each product is rounded before the sum, as a
// draw that equals the quantile must compare alike on all machines.
func quantile(sorted []float64, p float64) float64 {
	n := len(sorted)
	if n == 1 {
		return sorted[0]
	}
	at := float64(float64(n)*p) + (1 - p)
	k := int(min(max(at, 1), float64(n-1)))
	g := min(max(at-float64(k), 0), 1)
	return float64((1-g)*sorted[k-1]) + float64(g*sorted[k])
}
