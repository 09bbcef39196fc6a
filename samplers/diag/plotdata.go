package diag

import (
	"fmt"
	"math"
)

// RankHistogram counts, for each chain, how many of its draws have a rank among
// all draws in each of the bins, of equal width: [chains][bins]. For chains that
// agree every count is near draws/bins (Vehtari et al. 2021, section 5). x is one
// coordinate, [chains, draws]; draws that are equal share their average rank.
func RankHistogram(x []float64, chains, bins int) ([][]int, error) {
	draws, err := chainLength(x, chains)
	if err != nil {
		return nil, err
	}
	if bins < 1 {
		return nil, fmt.Errorf("diag: %d bins of a histogram; take at least 1", bins)
	}
	if hasNaN(x) {
		return nil, fmt.Errorf("diag: draws that are NaN have no rank")
	}
	counts := make([][]int, chains)
	for c := range counts {
		counts[c] = make([]int, bins)
	}
	sorted, _ := sortEntries(make([]entry, len(x)), make([]entry, len(x)), x)
	for first := 0; first < len(sorted); {
		end := tieEnd(sorted, first)
		middle := first + end // twice the average rank, less 1
		for ; first < end; first++ {
			counts[int(sorted[first].i)/draws][middle*bins/(2*len(x))]++
		}
	}
	return counts, nil
}

// Autocorrelation is that of each chain at lags 0 … maxLag, [chains][1+maxLag],
// with the divisor n at all lags. x is one coordinate, [chains, draws]. It is NaN
// for a chain that is constant or has a NaN.
func Autocorrelation(x []float64, chains, maxLag int) ([][]float64, error) {
	draws, err := chainLength(x, chains)
	if err != nil {
		return nil, err
	}
	if maxLag < 0 || maxLag >= draws {
		return nil, fmt.Errorf("diag: autocorrelation up to lag %d of %d draws; take lags from 0 to %d", maxLag, draws, draws-1)
	}
	out, acov := make([][]float64, chains), newAutocov(draws)
	for c := range out {
		row := x[c*draws : (c+1)*draws]
		out[c] = make([]float64, maxLag+1)
		at := acov.of(row)
		constant := spread(row) < constantWithin
		// From the far end, as a lag out of reach means another transform.
		for lag := maxLag; lag >= 0; lag-- {
			out[c][lag] = at.at(lag) / at.at(0)
			if constant {
				out[c][lag] = math.NaN()
			}
		}
	}
	return out, nil
}

// Trace is coordinate j of every chain, thinned to at most points draws that are
// evenly spaced: the numbers of the draws, and their values [chains][len(at)].
func (d Draws) Trace(j, points int) (at []int, values [][]float64, err error) {
	if err := d.Validate(); err != nil {
		return nil, nil, err
	}
	if j < 0 || j >= d.Dim || points < 1 {
		return nil, nil, fmt.Errorf("diag: %d points of coordinate %d; coordinates are 0 to %d, points at least 1", points, j, d.Dim-1)
	}
	n := min(points, d.Draws)
	for k := range n {
		at = append(at, k*d.Draws/n)
	}
	values = make([][]float64, d.Chains)
	for c := range values {
		for _, t := range at {
			values[c] = append(values[c], d.at((c*d.Draws+t)*d.Dim+j))
		}
	}
	return at, values, nil
}

// chainLength is the number of draws of each chain.
func chainLength(x []float64, chains int) (int, error) {
	if chains < 1 || len(x) == 0 || len(x)%chains != 0 {
		return 0, fmt.Errorf("diag: %d draws of %d chains", len(x), chains)
	}
	return len(x) / chains, nil
}
