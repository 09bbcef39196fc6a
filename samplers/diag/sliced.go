package diag

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// SlicedOptions says how SlicedWasserstein works; the zero value is a good choice.
type SlicedOptions struct {
	Projections int     // random directions; 0: 256
	Order       int     // p, 1 or 2; 0: 2
	Key         rng.Key // of the directions
	Workers     int     // goroutines; 0: as many as cores. Results do not depend on it
}

// SlicedResult is a sliced Wasserstein distance.
type SlicedResult struct {
	Distance float64 // (mean over directions of W_p^p)^(1/p), in the units of the points
	StdErr   float64 // standard error of Distance from the choice of directions alone
}

// SlicedWasserstein is the distance of two sets of points x [N, d] and y [M, d] by
// optimal transport along random directions (Rabin et al. 2011; Bonneel et al.
// 2015): W_p of the sets projected on a direction uniform on the sphere, averaged
// as p-th powers. For d = 1 it is W_p itself. Between finite sets of one
// distribution it is above 0, and shrinks as 1/√N or so.
func SlicedWasserstein(ctx context.Context, x, y []float32, d int, o SlicedOptions) (SlicedResult, error) {
	n, err := checkPoints("x", x, d)
	if err != nil {
		return SlicedResult{}, err
	}
	m, err := checkPoints("y", y, d)
	if err != nil {
		return SlicedResult{}, err
	}
	projections, order := o.Projections, o.Order
	if projections == 0 {
		projections = 256
	}
	if order == 0 {
		order = 2
	}
	if projections < 1 || order < 1 || order > 2 {
		return SlicedResult{}, fmt.Errorf("diag: %d projections of order %d; take 1 or more of order 1 or 2", projections, order)
	}
	if d == 1 {
		projections = 1
	}
	powers := make([]float64, projections)
	type slices2 struct{ a, b []float64 }
	buffers := make([]slices2, crew(o.Workers, projections))
	for w := range buffers {
		buffers[w] = slices2{make([]float64, n), make([]float64, m)}
	}
	err = each(ctx, o.Workers, projections, func(w, k int) {
		direction := o.direction(d, k)
		a, b := buffers[w].a, buffers[w].b
		project(a, x, direction)
		project(b, y, direction)
		powers[k] = wasserstein(a, b, order)
	})
	if err != nil {
		return SlicedResult{}, fmt.Errorf("diag: %w", err)
	}
	out := SlicedResult{Distance: math.Pow(mean(powers), 1/float64(order))}
	if projections > 1 && out.Distance > 0 {
		se := math.Sqrt(variance(powers) / float64(projections))
		out.StdErr = se * out.Distance / (float64(order) * mean(powers))
	}
	return out, nil
}

// direction is number k of the random unit vectors.
func (o SlicedOptions) direction(d, k int) []float64 {
	g := make([]float32, d)
	o.Key.Sub("projection").Normals(g, uint64(k), 0)
	out, square := make([]float64, d), 0.0
	for _, v := range g {
		square += float64(v) * float64(v)
	}
	for i, v := range g {
		out[i] = float64(v) / math.Sqrt(square)
	}
	return out
}

// project sets dst to the coordinates of the points along direction, sorted.
func project(dst []float64, x []float32, direction []float64) {
	d := len(direction)
	for i := range dst {
		s := 0.0
		for k, v := range x[i*d : (i+1)*d] {
			s += float64(v) * direction[k]
		}
		dst[i] = s
	}
	slices.Sort(dst)
}

// wasserstein is W_p^p = ∫₀¹|F⁻¹(u) − G⁻¹(u)|ᵖ du of two sorted sets. Levels are
// counted in whole parts of 1/(n·m), so that no step of a quantile function is
// misplaced by rounding.
func wasserstein(a, b []float64, order int) float64 {
	n, m := len(a), len(b)
	total, level := 0.0, 0
	for i, j := 0, 0; i < n && j < m; {
		next := min((i+1)*m, (j+1)*n)
		distance := math.Abs(a[i] - b[j])
		if order == 2 {
			distance *= distance
		}
		total += distance * float64(next-level)
		if level = next; level == (i+1)*m {
			i++
		}
		if level == (j+1)*n {
			j++
		}
	}
	return total / float64(n) / float64(m)
}
