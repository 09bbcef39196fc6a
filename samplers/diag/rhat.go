package diag

import "math"

// RHat is the larger of bulk and tail R̂: split R̂ of the rank-normalized draws,
// and of their rank-normalized distances from the median (Vehtari et al. 2021,
// section 4). x is one coordinate, [chains, draws] chain-major. NaN with fewer
// than 2 chains or 4 draws a chain, with a NaN in x, and for a constant; +Inf for
// chains that stand still in different places.
func RHat(x []float64, chains int) float64 { return with(study(x, chains, 2), (*series).rhat) }

func (s *series) rhat() float64 {
	return math.Max(s.splitRHat(s.bulkRows()), s.splitRHat(s.tailRows()))
}

// splitRHat is √((B/W + n − 1)/n) of rows of n draws, with B the variance of the
// row means times n and W the mean variance of rows (equations 1 to 4).
func (s *series) splitRHat(rows []float64) float64 {
	n := s.half
	s.means = s.means[:0]
	within := 0.0
	for r := 0; r < len(rows); r += n {
		row := rows[r : r+n]
		s.means = append(s.means, mean(row))
		within += variance(row)
	}
	within /= float64(len(s.means))
	between := float64(n) * variance(s.means)
	return math.Sqrt((between/within + float64(n-1)) / float64(n))
}
