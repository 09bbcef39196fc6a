package diag

import "math"

// ESSBulk is the bulk effective sample size: of the rank-normalized split
// chains. x is one coordinate, [chains, draws] chain-major. It says how well the
// centre of the distribution is known (Vehtari et al. 2021, section 4.1). NaN if x
// has a NaN, fewer than 4 draws a chain, or a length that chains does not divide;
// so too for the other functions of one series.
func ESSBulk(x []float64, chains int) float64 { return with(study(x, chains, 1), (*series).essBulk) }

// ESSTail is the smaller of the effective sample sizes of the quantiles 0.05
// and 0.95 (Vehtari et al. 2021, section 4.3).
func ESSTail(x []float64, chains int) float64 { return with(study(x, chains, 1), (*series).essTail) }

// ESSMean is the effective sample size for the mean: of the split chains as
// they are. It needs a finite variance.
func ESSMean(x []float64, chains int) float64 { return with(study(x, chains, 1), (*series).essMean) }

// ESSSD is the effective sample size for the standard deviation: of (x−x̄)².
func ESSSD(x []float64, chains int) float64 { return with(study(x, chains, 1), (*series).essSD) }

// ESSMedian is ESSQuantile at 0.5.
func ESSMedian(x []float64, chains int) float64 { return ESSQuantile(x, chains, 0.5) }

// ESSQuantile is the effective sample size for the quantile p in [0, 1]: of
// the indicators x ≤ quantile.
func ESSQuantile(x []float64, chains int, p float64) float64 {
	return with(study(x, chains, 1), func(s *series) float64 { return s.essQuantile(p) })
}

func (s *series) essBulk() float64 { return s.ess(s.bulkRows()) }

func (s *series) essTail() float64 { return math.Min(s.essQuantile(0.05), s.essQuantile(0.95)) }

func (s *series) essMean() float64 { return s.ess(s.splitRows(func(v float64) float64 { return v })) }

func (s *series) essSD() float64 {
	m := mean(s.x)
	return s.ess(s.splitRows(func(v float64) float64 { return (v - m) * (v - m) }))
}

func (s *series) essQuantile(p float64) float64 {
	q := quantile(s.sorted, p)
	return s.ess(s.splitRows(func(v float64) float64 {
		if v <= q {
			return 1
		}
		return 0
	}))
}

// constantWithin is the range below which a series counts as constant.
const constantWithin = 1e-15

// ess is the effective sample size of rows [m, half] by Geyer's initial monotone
// sequence (Vehtari et al. 2021, equations 10 to 13). The size of a constant is
// the number of its draws; it is at most size·log₁₀ size.
func (s *series) ess(rows []float64) float64 {
	if hasNaN(rows) {
		return math.NaN()
	}
	size, n := float64(len(rows)), float64(s.half)
	if spread(rows) < constantWithin {
		return size
	}
	acov := s.acov.of(rows)
	within := acov.at(0) * n / (n - 1)
	total := acov.at(0) + variance(acov.means) // var⁺
	rho := func(t int) float64 { return 1 - (within-acov.at(t))/total }

	tau := math.Max(integratedTime(s.rho, rho), 1/math.Log10(size))
	if hasNaN(s.rho) {
		return math.NaN()
	}
	return size / tau
}

// integratedTime is −1 + 2Σρₜ over Geyer's initial monotone sequence: pairs
// ρ₂ₖ + ρ₂ₖ₊₁ as long as they are positive, made to decrease (Geyer 1992). To
// lower the variance for antithetic chains the last even term is added once
// where positive. kept, one value a lag, receives the ρ that were used.
func integratedTime(kept []float64, rho func(lag int) float64) float64 {
	clear(kept)
	n := len(kept)
	even, odd := 1.0, rho(1)
	kept[0], kept[1] = even, odd
	t := 1
	for ; t < n-3 && even+odd > 0; t += 2 {
		even, odd = rho(t+1), rho(t+2)
		if even+odd >= 0 {
			kept[t+1], kept[t+2] = even, odd
		}
	}
	last := t - 2
	if even > 0 {
		kept[last+1] = even
	}
	for t = 1; t <= last-2; t += 2 {
		if before := kept[t-1] + kept[t]; kept[t+1]+kept[t+2] > before {
			kept[t+1], kept[t+2] = before/2, before/2
		}
	}
	tau := -1 + kept[last+1]
	for _, r := range kept[:last+1] {
		tau += 2 * r
	}
	return tau
}

func spread(x []float64) float64 {
	lo, hi := x[0], x[0]
	for _, v := range x {
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	return hi - lo
}
