package losses

import (
	"context"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// ScoreMatching is mean[½‖∇E‖² − tr ∇²E] over the data, with the exact Laplacian (Hyvärinen 2005, eq. 4, with ψ = −∇E).
// At the energy of N(0, I_d), on its own samples, it is −d/2.
type ScoreMatching struct {
	Penalty

	query  [1]Query
	g, lap []float32
	ct     [1]Values
	terms  [2]Term
}

// Name is "sm".
func (*ScoreMatching) Name() string { return "sm" }

// NeedsSecondOrder is true: the Laplacian.
func (*ScoreMatching) NeedsSecondOrder() bool { return true }

// Plan asks for ∇E and the Laplacian at the data.
func (l *ScoreMatching) Plan(_ context.Context, b Batch, _ rng.Key) ([]Query, error) {
	if err := b.check(l.Name()); err != nil {
		return nil, err
	}
	l.query[0] = Query{N: b.N, X: b.X, Want: WantGradient | WantLaplacian}
	return l.query[:], nil
}

// Value gives gradient_term − hessian_term; ḡ = ∇E/N, l̄ = −1/N.
func (l *ScoreMatching) Value(q []Query, v []Values) (Result, error) {
	if err := answered(l.Name(), q, v, 1); err != nil {
		return Result{}, err
	}
	n, g := float64(q[0].N), v[0].G
	l.g, l.lap = grow(l.g, len(g)), grow(l.lap, q[0].N)
	scaled(l.g, g, 1/n)
	fill(l.lap, -1/n)
	l.ct[0] = Values{G: l.g, Lap: l.lap}
	return scoreResult(&l.terms, dot(g, g)/(2*n), mean(v[0].Lap), l.ct[:]), nil
}

func scoreResult(terms *[2]Term, gradient, hessian float64, ct []Values) Result {
	terms[0], terms[1] = Term{"gradient_term", gradient}, Term{"hessian_term", hessian}
	return Result{Loss: gradient - hessian, Terms: terms[:], Cotangents: ct}
}

// Vectors names a distribution of projection directions with E[vvᵀ] = I.
type Vectors int

// Rademacher (±1; least variance for a diagonal Hessian), Gaussian (N(0,I)) and Sphere (uniform on the sphere of radius √d).
const (
	Rademacher Vectors = iota
	Gaussians
	Sphere
)

// SlicedScoreMatching is, as a mean over data and projections v with E[vvᵀ] = I (Song et al. 2019, eq. 7 and 8),
//
//	mean[½(v·∇E)² − vᵀ∇²E v], or with Hutchinson (SSM-VR) mean[½‖∇E‖² − vᵀ∇²E v].
//
// The second is score matching with Hutchinson's estimate of the trace. There is no 1/d: v is not a unit vector.
type SlicedScoreMatching struct {
	Penalty
	Hutchinson  bool
	Projections int // K a row; 0 means 1. Batch.Vectors overrides it
	Vectors     Vectors

	query    [1]Query
	v, g, hv []float32
	ct       [1]Values
	terms    [2]Term
}

// Name is "ssm", or "sm-hutchinson".
func (l *SlicedScoreMatching) Name() string {
	if l.Hutchinson {
		return "sm-hutchinson"
	}
	return "ssm"
}

// NeedsSecondOrder is true: the Hessian-vector product.
func (*SlicedScoreMatching) NeedsSecondOrder() bool { return true }

// Plan asks for ∇E and ∇²E·v at the data, v as given or drawn.
func (l *SlicedScoreMatching) Plan(_ context.Context, b Batch, k rng.Key) ([]Query, error) {
	if err := b.check(l.Name()); err != nil {
		return nil, err
	}
	v, directions := b.Vectors, 0
	if v == nil {
		directions = max(l.Projections, 1)
		l.v = grow(l.v, directions*len(b.X))
		v = l.v
		l.Vectors.draw(v, b.Dim, k.Sub("vectors"))
	} else if directions = len(v) / len(b.X); directions == 0 || len(v) != directions*len(b.X) {
		return nil, fmt.Errorf("losses: %s: the directions hold %d values, expected a multiple of %d·%d", l.Name(), len(v), b.N, b.Dim)
	}
	l.query[0] = Query{N: b.N, X: b.X, V: v, K: directions, Want: WantGradient | WantHVP}
	return l.query[:], nil
}

// draw fills dst with rows of dim.
func (d Vectors) draw(dst []float32, dim int, k rng.Key) {
	if d == Rademacher {
		k.Rademacher(dst, 0, 0)
		return
	}
	k.Normals(dst, 0, 0)
	if d == Sphere {
		for ; len(dst) > 0; dst = dst[dim:] {
			row := dst[:dim]
			scaled(row, row, math.Sqrt(float64(dim)/dot(row, row)))
		}
	}
}

// Value gives gradient_term − hessian_term; ḡ = Σ_k (v·∇E)v/(NK), or ∇E/N with Hutchinson; h̄ = −v/(NK).
func (l *SlicedScoreMatching) Value(q []Query, v []Values) (Result, error) {
	if err := answered(l.Name(), q, v, 1); err != nil {
		return Result{}, err
	}
	n, count, vec, g := q[0].N, float64(q[0].N*q[0].K), q[0].V, v[0].G
	l.g, l.hv = grow(l.g, len(g)), grow(l.hv, len(vec))
	scaled(l.hv, vec, -1/count)
	var gradient float64
	if l.Hutchinson {
		gradient = dot(g, g) / float64(2*n)
		scaled(l.g, g, 1/float64(n))
	} else {
		gradient = projected(l.g, g, vec, n, count)
	}
	l.ct[0] = Values{G: l.g, HV: l.hv}
	return scoreResult(&l.terms, gradient, dot(vec, v[0].HV)/count, l.ct[:]), nil
}

// projected gives ½ mean (v·g)² over rows and directions, and its derivative by g.
func projected(dg, g, vec []float32, n int, count float64) float64 {
	clear(dg)
	dim := len(g) / n
	var sum float64
	for row := 0; len(vec) > 0; row, vec = (row+dim)%len(g), vec[dim:] {
		v := vec[:dim]
		along := dot(v, g[row:row+dim])
		sum += along * along
		f := float32(along / count)
		out := dg[row : row+dim]
		for i, vi := range v {
			out[i] += f * vi
		}
	}
	return sum / (2 * count)
}
