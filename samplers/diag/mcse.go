package diag

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// MCSEMean is the Monte Carlo standard error of the mean, sd/√ESSMean.
func MCSEMean(x []float64, chains int) float64 {
	return with(study(x, chains, 1), func(s *series) float64 { return s.moments(s.essMean(), math.NaN()).mcse })
}

// MCSESD is the Monte Carlo standard error of the standard deviation, by the
// delta method from the fourth moment and ESSSD.
func MCSESD(x []float64, chains int) float64 {
	return with(study(x, chains, 1), func(s *series) float64 { return s.moments(math.NaN(), s.essSD()).mcseSD })
}

// MCSEQuantile is the Monte Carlo standard error of the quantile p: half the
// distance of the order statistics at Φ(±1) of its Beta distribution (Vehtari et
// al. 2021, section 4.4).
func MCSEQuantile(x []float64, chains int, p float64) float64 {
	return with(study(x, chains, 1), func(s *series) float64 { return s.mcseQuantile(p, s.essQuantile(p)) })
}

type moments struct{ mean, sd, mcse, mcseSD float64 }

// moments gives mean and standard deviation, with their errors at the effective
// sample sizes given.
func (s *series) moments(essMean, essSD float64) moments {
	m, second, fourth := mean(s.x), 0.0, 0.0
	for _, v := range s.x {
		q := (v - m) * (v - m)
		second += q
		fourth += q * q
	}
	n := float64(len(s.x))
	sd := math.Sqrt(second / (n - 1))
	second, fourth = second/n, fourth/n
	// var(sd) ≈ var(sd²)/(4 sd²)
	varianceOfSD := (fourth - second*second) / essSD / second / 4
	return moments{m, sd, sd / math.Sqrt(essMean), math.Sqrt(varianceOfSD)}
}

// phiOfOne holds Φ(−1) and Φ(1), to the digits that the reference software uses.
var phiOfOne = [2]float64{0.1586553, 0.8413447}

func (s *series) mcseQuantile(p, ess float64) float64 {
	if math.IsNaN(ess) {
		return math.NaN()
	}
	size := float64(len(s.sorted))
	at := func(prob float64) float64 {
		return mathext.InvRegIncBeta(ess*p+1, ess*(1-p)+1, prob)*size - 1
	}
	low := s.sorted[int(math.Floor(math.Max(at(phiOfOne[0]), 0)))]
	high := s.sorted[int(math.Ceil(math.Min(at(phiOfOne[1]), size-1)))]
	return (high - low) / 2
}
