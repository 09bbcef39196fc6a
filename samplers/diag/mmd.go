package diag

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// MMDOptions says how MMD works; the zero value is a good choice.
type MMDOptions struct {
	// Bandwidths σ of the kernel, the mean over them of exp(−‖x−y‖²/2σ²). None:
	// ¼, ½, 1, 2 and 4 times MedianDistance of both sets together.
	Bandwidths []float64
	Workers    int // goroutines; 0: as many as cores. Results do not depend on it
}

// MMDResult is a squared maximum mean discrepancy and how it was measured.
type MMDResult struct {
	Squared    float64   // unbiased estimate; below 0 about half of the time if the sets are alike
	Bandwidths []float64 // σ of the kernels, as used
}

// MMD estimates the squared maximum mean discrepancy of two sets of points
// x [N, d] and y [M, d], E k(x,x′) + E k(y,y′) − 2 E k(x,y), without bias: pairs
// are of different points (Gretton et al. 2012, equation 3). It is 0 in the mean
// if both have the same distribution, and in all others positive. Points are
// taken to be independent within and between the sets.
//
// It takes time in proportion to (N+M)² and the memory of the points.
func MMD(ctx context.Context, x, y []float32, d int, o MMDOptions) (MMDResult, error) {
	n, err := checkPoints("x", x, d)
	if err != nil {
		return MMDResult{}, err
	}
	m, err := checkPoints("y", y, d)
	if err != nil {
		return MMDResult{}, err
	}
	bandwidths, err := o.bandwidths(x, y, d)
	if err != nil {
		return MMDResult{}, err
	}
	kernel := newGaussians(bandwidths)
	over := func(p points, other *points) (s float64) {
		if err == nil {
			s, err = sumPairs(ctx, o.Workers, p, other, func(b *pairBuffer, t, i, u, m int) float64 {
				q := b.q[:m]
				if other == nil {
					p.squaredDistances(q, t, i, p, u)
				} else {
					p.squaredDistances(q, t, i, *other, u)
				}
				return kernel.sum(q, b.k[:m])
			})
		}
		return s
	}
	px, py := newPoints(x, d), newPoints(y, d)
	xx, yy, xy := over(px, nil), over(py, nil), over(px, &py)
	if err != nil {
		return MMDResult{}, fmt.Errorf("diag: %w", err)
	}
	pairs := func(n int) float64 { return float64(n) * float64(n-1) / 2 }
	return MMDResult{xx/pairs(n) + yy/pairs(m) - 2*xy/(float64(n)*float64(m)), bandwidths}, nil
}

func (o MMDOptions) bandwidths(x, y []float32, d int) ([]float64, error) {
	for _, s := range o.Bandwidths {
		if !(s > 0) || math.IsInf(s, 0) {
			return nil, fmt.Errorf("diag: the bandwidth %v is not a positive number", s)
		}
	}
	if len(o.Bandwidths) > 0 {
		return slices.Clone(o.Bandwidths), nil
	}
	median, err := MedianDistance(d, x, y)
	if err != nil {
		return nil, err
	}
	return []float64{median / 4, median / 2, median, 2 * median, 4 * median}, nil
}

// gaussians evaluates the mean of exp(−q/2σ²) over several σ. From the widest
// down, a kernel whose σ is smaller by a power of 2 than the one before is that
// one squared a few times, which is quicker than an exponential and keeps the
// relative error below (σ₀/σ)² roundings.
type gaussians []gaussian

type gaussian struct {
	factor    float64 // of q in the exponent, −1/2σ²
	squarings int     // of the kernel before; 0: take the exponential
}

const maxSquarings = 10

func newGaussians(bandwidths []float64) gaussians {
	sorted := slices.Clone(bandwidths)
	slices.Sort(sorted)
	slices.Reverse(sorted)
	var out gaussians
	for i, s := range sorted {
		g := gaussian{factor: -1 / (2 * s * s)}
		if i > 0 {
			if fraction, exponent := math.Frexp(sorted[i-1] / s); fraction == 0.5 && 2*(exponent-1) <= maxSquarings {
				g.squarings = 2 * (exponent - 1)
			}
		}
		if i > 0 && s == sorted[i-1] {
			g.squarings = 0
		}
		out = append(out, g)
	}
	return out
}

// sum is the sum over q of the mean kernel; k is scratch of the same length.
// Kernels are the outer loop so that no multiplication waits for another.
func (g gaussians) sum(q, k []float64) float64 {
	total := 0.0
	for _, one := range g {
		switch one.squarings {
		case 0:
			for j, v := range q {
				k[j] = math.Exp(one.factor * v)
			}
		case 2: // bandwidths that halve
			for j, v := range k {
				v *= v
				k[j] = v * v
			}
		default:
			for j, v := range k {
				for range one.squarings {
					v *= v
				}
				k[j] = v
			}
		}
		total += sum(k)
	}
	return total / float64(len(g))
}

// sum adds in four interleaved parts, which is quicker than one after another
// and no less accurate.
func sum(x []float64) float64 {
	var a, b, c, d float64
	for ; len(x) >= 4; x = x[4:] {
		a += x[0]
		b += x[1]
		c += x[2]
		d += x[3]
	}
	for _, v := range x {
		a += v
	}
	return (a + b) + (c + d)
}
