package diag

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// tilePoints is how many points a side of a tile of pairs has: two sides and
// the buffers stay in the L1 cache for few dimensions.
const tilePoints = 256

// points are float64 copies of points [n, d], stored by tiles of tilePoints and
// within a tile by coordinate, so that the distances from one point to a tile
// are contiguous loops.
type points struct {
	n, d int
	x    []float64
}

func newPoints(x []float32, d int) points {
	p := points{n: len(x) / d, d: d, x: make([]float64, len(x))}
	for t := range p.tiles() {
		lo, size := p.tile(t)
		for i := range size {
			for k := range d {
				p.x[lo*d+k*size+i] = float64(x[(lo+i)*d+k])
			}
		}
	}
	return p
}

func (p points) tiles() int { return (p.n + tilePoints - 1) / tilePoints }

// tile gives the first point of tile t and how many points it has.
func (p points) tile(t int) (lo, size int) {
	lo = t * tilePoints
	return lo, min(tilePoints, p.n-lo)
}

// column is coordinate k of the points of tile t.
func (p points) column(t, k int) []float64 {
	lo, size := p.tile(t)
	at := lo*p.d + k*size
	return p.x[at : at+size]
}

// squaredDistances sets q[j] to the squared distance of point i of tile t to point j of
// tile u of other, for the first len(q) points of that.
func (p points) squaredDistances(q []float64, t, i int, other points, u int) {
	clear(q)
	for k := range p.d {
		v := p.column(t, k)[i]
		for j, w := range other.column(u, k)[:len(q)] {
			q[j] += (v - w) * (v - w)
		}
	}
}

// pairTile sums over pairs of one tile: row i of tile t with the first m points
// of tile u.
type pairTile func(buffer *pairBuffer, t, i, u, m int) float64

// pairBuffer is the scratch of one worker.
type pairBuffer struct{ q, k, r [tilePoints]float64 }

// sumPairs adds f over all pairs of a point of p and one of other; over unordered pairs i ≠ j of
// p if other is nil. Tiles are added up in their order, whoever computed them.
func sumPairs(ctx context.Context, workers int, p points, other *points, f pairTile) (float64, error) {
	type job struct{ t, u int }
	var jobs []job
	for t := range p.tiles() {
		end := t + 1
		if other != nil {
			end = other.tiles()
		}
		for u := range end {
			jobs = append(jobs, job{t, u})
		}
	}
	sums := make([]float64, len(jobs))
	buffers := make([]pairBuffer, crew(workers, len(jobs)))
	err := each(ctx, workers, len(jobs), func(w, k int) {
		t, u := jobs[k].t, jobs[k].u
		_, rows := p.tile(t)
		sum := 0.0
		for i := range rows {
			m := i // the part of a tile on the diagonal that lies below it
			if other != nil {
				_, m = other.tile(u)
			} else if t != u {
				_, m = p.tile(u)
			}
			sum += f(&buffers[w], t, i, u, m)
		}
		sums[k] = sum
	})
	total := 0.0
	for _, s := range sums {
		total += s
	}
	return total, err
}

// checkPoints returns the number of points, or an error if x is not [≥2, d] or
// has something not finite in it.
func checkPoints(what string, x []float32, d int) (int, error) {
	if d < 1 || len(x)%d != 0 || len(x)/d < 2 {
		return 0, fmt.Errorf("diag: %d values are not 2 or more points of %d coordinates (%s)", len(x), d, what)
	}
	for i, v := range x {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return 0, fmt.Errorf("diag: point %d of %s has %v in it; leave such points out", i/d, what, v)
		}
	}
	return len(x) / d, nil
}

// medianPoints is how many points the median heuristic looks at.
const medianPoints = 500

// MedianDistance is the median of the positive distances between points [N, d]
// of the sets taken together, the usual length scale of a kernel. Of more than
// 500 points it looks at 500, evenly spaced. It is an error if all coincide.
func MedianDistance(d int, sets ...[]float32) (float64, error) {
	var all []float32
	for i, x := range sets {
		if _, err := checkPoints(fmt.Sprintf("set %d", i), x, d); err != nil {
			return 0, err
		}
		all = append(all, x...)
	}
	n := len(all) / max(d, 1)
	m := min(n, medianPoints)
	at := func(i int) []float32 { k := i * n / m; return all[k*d : (k+1)*d] }
	var q []float64
	for i := range m {
		for j := range i {
			if s := squaredDistance(at(i), at(j)); s > 0 {
				q = append(q, s)
			}
		}
	}
	if len(q) == 0 {
		return 0, fmt.Errorf("diag: all points coincide, so their distances give no length scale; give a bandwidth")
	}
	slices.Sort(q)
	return medianOf(len(q), func(i int) float64 { return math.Sqrt(q[i]) }), nil
}

func squaredDistance(a, b []float32) float64 {
	sum := 0.0
	for k, v := range a {
		t := float64(v) - float64(b[k])
		sum += t * t
	}
	return sum
}
