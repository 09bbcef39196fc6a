package main

import (
	"cmp"
	"slices"
)

// auroc is the probability that an outlier's energy is above an inlier's, ties counting half: the area under the ROC curve of the
// energy as a score of being out of the distribution (Mann and Whitney 1947).
func auroc(inliers, outliers []float32) float64 {
	type scored struct {
		e   float32
		out bool
	}
	var all []scored
	for _, e := range inliers {
		all = append(all, scored{e, false})
	}
	for _, e := range outliers {
		all = append(all, scored{e, true})
	}
	slices.SortFunc(all, func(a, b scored) int { return cmp.Compare(a.e, b.e) })
	sum, below := 0.0, 0.0
	for i := 0; i < len(all); {
		j, in, out := i, 0.0, 0.0
		for ; j < len(all) && all[j].e == all[i].e; j++ {
			if all[j].out {
				out++
			} else {
				in++
			}
		}
		sum += out * (below + in/2)
		below += in
		i = j
	}
	return sum / (float64(len(inliers)) * float64(len(outliers)))
}

// distant keeps the rows of x that are farther from every reference than the given share of the fresh items are: those that differ
// from all classes.
func distant(x, fresh, reference []float32, d int, share float64) []float32 {
	typical := nearest(fresh, reference, d)
	slices.Sort(typical)
	limit := typical[min(len(typical)-1, int(share*float64(len(typical))))]
	var out []float32
	for i, far := range nearest(x, reference, d) {
		if far > limit {
			out = append(out, x[i*d:(i+1)*d]...)
		}
	}
	return out
}

// nearest is the squared distance of each row of x to the nearest reference.
func nearest(x, reference []float32, d int) []float32 {
	out := make([]float32, len(x)/d)
	for i := range out {
		row := x[i*d : (i+1)*d]
		best := float32(-1)
		for r := 0; r < len(reference); r += d {
			var sum float32
			for j, v := range reference[r : r+d] {
				sum += (v - row[j]) * (v - row[j])
			}
			if best < 0 || sum < best {
				best = sum
			}
		}
		out[i] = best
	}
	return out
}
