package diag

import (
	"context"
	"fmt"
	"math"
)

// Kernel is a positive definite function of the squared distance q and a length
// scale ℓ.
type Kernel int

const (
	// IMQ is (1+q/ℓ²)^β, which sees non-convergence for a large class of targets
	// where faster-decaying kernels do not (Gorham and Mackey 2017).
	IMQ Kernel = iota
	// RBF is exp(−q/2ℓ²).
	RBF
)

// KSDOptions says how KSD works; the zero value is a good choice.
type KSDOptions struct {
	Kernel    Kernel
	Bandwidth float64 // ℓ; 0: MedianDistance of the points
	Exponent  float64 // β of IMQ, between −1 and 0; 0: −½
	Workers   int     // goroutines; 0: as many as cores. Results do not depend on it
}

// KSDResult holds two estimates of the squared kernelised Stein discrepancy.
type KSDResult struct {
	// U is the mean over pairs of different points: without bias, so it may be below 0.
	U float64
	// V is the mean over all pairs: never below 0, and the squared discrepancy of
	// the points themselves, taken as a distribution.
	V         float64
	Bandwidth float64 // ℓ, as used
}

// KSD estimates the squared kernelised Stein discrepancy (Liu, Lee, Jordan 2016;
// Chwialkowski, Strathmann, Gretton 2016) between points x [N, d] and the density p
// with the scores given, s(x) = ∇ log p(x) = −∇E(x)/T, [N, d]. The density need not be
// normalised. With r = x−y, q = ‖r‖² and the kernel k = φ(q) it is the mean of
//
//	s(x)·s(y) φ + 2φ′ (s(y)−s(x))·r − 2dφ′ − 4qφ″.
//
// A discrepancy of scores does not see wrong weights of modes far apart.
func KSD(ctx context.Context, x, score []float32, d int, o KSDOptions) (KSDResult, error) {
	n, err := checkPoints("x", x, d)
	if err != nil {
		return KSDResult{}, err
	}
	if m, err := checkPoints("score", score, d); err != nil {
		return KSDResult{}, err
	} else if m != n {
		return KSDResult{}, fmt.Errorf("diag: %d scores of %d points", m, n)
	}
	phi, bandwidth, err := o.radial(x, d)
	if err != nil {
		return KSDResult{}, err
	}
	px, ps := newPoints(x, d), newPoints(score, d)
	below, err := sumPairs(ctx, o.Workers, px, nil, func(b *pairBuffer, t, i, u, m int) float64 {
		return steinSum(b, px, ps, phi, t, i, u, m)
	})
	if err != nil {
		return KSDResult{}, fmt.Errorf("diag: %w", err)
	}
	diagonal, count := 0.0, float64(n)
	at0, slope0, _ := phi(0)
	for _, s := range score {
		diagonal += float64(s) * float64(s) * at0
	}
	diagonal -= 2 * float64(d) * slope0 * count
	return KSDResult{U: 2 * below / (count * (count - 1)), V: (2*below + diagonal) / (count * count), Bandwidth: bandwidth}, nil
}

// steinSum is the sum of the Stein kernel of point i of tile t and the first m
// points of tile u.
func steinSum(b *pairBuffer, px, ps points, phi radial, t, i, u, m int) float64 {
	q, ss, sr := b.q[:m], b.k[:m], b.r[:m]
	clear(q)
	clear(ss)
	clear(sr)
	for k := range px.d {
		xi, si := px.column(t, k)[i], ps.column(t, k)[i]
		xs, scores := px.column(u, k)[:m], ps.column(u, k)[:m]
		for j, xj := range xs {
			r, sj := xi-xj, scores[j]
			q[j] += r * r
			ss[j] += si * sj
			sr[j] += (sj - si) * r
		}
	}
	total, d := 0.0, float64(px.d)
	for j, v := range q {
		f, slope, curvature := phi(v)
		total += ss[j]*f + 2*slope*(sr[j]-d) - 4*v*curvature
	}
	return total
}

// radial gives φ, φ′ and φ″ at a squared distance.
type radial func(q float64) (f, slope, curvature float64)

func (o KSDOptions) radial(x []float32, d int) (radial, float64, error) {
	beta, l := o.Exponent, o.Bandwidth
	if beta == 0 {
		beta = -0.5
	}
	if !(beta > -1 && beta < 0) {
		return nil, 0, fmt.Errorf("diag: the exponent %v of the IMQ kernel is not between -1 and 0", beta)
	}
	if !(l >= 0) || math.IsInf(l, 0) {
		return nil, 0, fmt.Errorf("diag: the bandwidth %v is not a positive number", l)
	}
	if l == 0 {
		var err error
		if l, err = MedianDistance(d, x); err != nil {
			return nil, 0, err
		}
	}
	inverse := 1 / (l * l)
	switch o.Kernel {
	case IMQ:
		return func(q float64) (f, slope, curvature float64) {
			base := 1 + q*inverse
			if beta == -0.5 {
				f = 1 / math.Sqrt(base)
			} else {
				f = math.Pow(base, beta)
			}
			slope = beta * inverse * f / base
			return f, slope, (beta - 1) * inverse * slope / base
		}, l, nil
	case RBF:
		return func(q float64) (f, slope, curvature float64) {
			f = math.Exp(-q * inverse / 2)
			return f, -f * inverse / 2, f * inverse * inverse / 4
		}, l, nil
	}
	return nil, 0, fmt.Errorf("diag: no kernel has the number %d; take IMQ or RBF", o.Kernel)
}
