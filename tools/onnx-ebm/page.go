package main

import (
	"cmp"
	"math"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/samplers/diag"
	"github.com/onnx-ebm/onnx-ebm/tools/internal/picture"
)

// What a page shows: coordinates, points of a trace, bins of ranks, and lags.
const (
	pageRows   = 4
	pagePoints = 1000
	pageBins   = 20
	pageLags   = 60
)

// page shows the coordinates that mixed worst, the worst first.
func (d *givenDraws) page(s *diag.Summary) picture.Chains {
	var page picture.Chains
	order := worstFirst(s)
	order = order[:min(len(order), pageRows)]
	for k, i := range order {
		row := picture.ChainRow{Name: d.label(i)}
		row.At, row.Trace, _ = d.Trace(i, pagePoints)
		x := d.Coordinate(nil, i)
		row.Ranks, _ = diag.RankHistogram(x, d.Chains, pageBins)
		row.Auto, _ = diag.Autocorrelation(x, d.Chains, min(pageLags, d.Draws.Draws-1))
		// Two coordinates have one pair, more have as many as rows.
		if len(order) > 2 || len(order) == 2 && k == 0 {
			other := order[(k+1)%len(order)]
			row.Pair = d.label(other)
			_, row.Other, _ = d.Trace(other, pagePoints)
			row.Marked = d.divergent(row.At)
		}
		page.Rows = append(page.Rows, row)
	}
	return page
}

func (d *givenDraws) label(i int) string {
	if len(d.labels[i]) > 0 && d.labels[i][0] >= '0' && d.labels[i][0] <= '9' {
		return "x[" + d.labels[i] + "]"
	}
	return d.labels[i]
}

// divergent are the points, by chain and place in at, where a trajectory diverged.
func (d *givenDraws) divergent(at []int) (marked [][2]int) {
	for c := range d.Chains {
		for k, t := range at {
			if d.diverging != nil && d.diverging[c*d.Draws.Draws+t] {
				marked = append(marked, [2]int{c, k})
			}
		}
	}
	return marked
}

// worstFirst orders coordinates by R̂, then by bulk ESS; where R̂ is not known by
// ESS alone.
func worstFirst(s *diag.Summary) []int {
	order := make([]int, s.Dim())
	for i := range order {
		order[i] = i
	}
	known := func(v, otherwise float64) float64 {
		if math.IsNaN(v) {
			return otherwise
		}
		return v
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(
			cmp.Compare(known(s.RHat[b], 0), known(s.RHat[a], 0)),
			cmp.Compare(known(s.ESSBulk[a], math.Inf(1)), known(s.ESSBulk[b], math.Inf(1))),
		)
	})
	return order
}
