package models

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// gaussianMixture is −log Σ wₖ N(x; μₖ, s²I), normalised.
func gaussianMixture(s *spec.Spec) (*Analytic, error) {
	means, k, dim := mixtureMeans(s)
	std := s.Positive("std", 0.3)
	weights := numbers(s, "weights", filled(max(k, 1), 1)...)
	if len(weights) != k {
		s.Fail("weights must have %d numbers, one a component, not %d", k, len(weights))
	}
	total := 0.0
	for _, w := range weights {
		if w <= 0 {
			s.Fail("weights must be greater than 0, not %v", w)
		}
		total += w
	}
	if err := s.Done(); err != nil {
		return nil, err
	}
	for i := range weights {
		weights[i] /= total
	}
	return mixture(means, weights, k, dim, std), nil
}

// mixtureMeans reads means [K, D] from a file, or puts k of them on a circle of the first two coordinates (on a line where D is 1).
func mixtureMeans(s *spec.Spec) (means []float64, k, dim int) {
	if s.Has("means") {
		var shape []int
		means, shape = file(s, "means")
		switch {
		case means == nil:
			return nil, 0, 0
		case len(shape) != 2 || shape[0] == 0 || shape[1] == 0:
			s.Fail("means must be of shape [K, D], not %v", shape)
			return nil, 0, 0
		case s.Has("radius"):
			s.Fail("radius goes with means on a circle, not with means from a file")
		}
		for key, n := range map[string]int{"k": shape[0], "dim": shape[1]} {
			if s.Has(key) && s.Int(key, n) != n {
				s.Fail("%s=%d contradicts means of shape %v", key, s.Int(key, n), shape)
			}
		}
		return means, shape[0], shape[1]
	}
	s.File("means")
	dim, k = dimension(s, 2, 1), s.Count("k", 8, 1)
	radius := s.NonNegative("radius", 2)
	if k > maxDim/dim {
		s.Fail("k·dim must be at most %d", maxDim)
		return nil, 0, 0
	}
	means = make([]float64, k*dim)
	for i := range k {
		if dim == 1 {
			if k > 1 {
				means[i] = radius * (2*float64(i)/float64(k-1) - 1)
			}
			continue
		}
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / float64(k))
		means[i*dim], means[i*dim+1] = radius*cos, radius*sin
	}
	return means, k, dim
}

func mixture(means, weights []float64, k, dim int, std float64) *Analytic {
	at := func(i int) []float64 { return means[i*dim : (i+1)*dim] }
	constant := -0.5*float64(dim)*log2Pi - float64(dim)*math.Log(std) // log N(μ; μ, s²I)
	equal := true
	logW := make([]float64, k)
	for i, w := range weights {
		logW[i] = math.Log(w)
		equal = equal && w == weights[0]
	}
	logits := func(x []float64) []float64 {
		l := make([]float64, k)
		for i := range l {
			l[i] = logW[i]
			for j, m := range at(i) {
				l[i] -= 0.5 * (x[j] - m) * (x[j] - m) / (std * std)
			}
		}
		return l
	}

	a := &Analytic{Dim: dim}
	a.setLogZ(0)
	a.mixtureMoments(means, weights, std)
	a.Energy = func(x []float64) float64 { return -constant - logSumExpOf(logits(x)) }
	a.Gradient = func(dst, x []float64) {
		l := logits(x)
		total := logSumExpOf(l)
		clear(dst)
		for i := range l {
			p := math.Exp(l[i] - total)
			for j, m := range at(i) {
				dst[j] += p * (x[j] - m) / (std * std)
			}
		}
	}
	// With rᵢ = (x−μᵢ)/s² and p the posterior of the components: I/s² − Cov_p(r).
	a.Hessian = func(dst, x []float64) {
		l := logits(x)
		total := logSumExpOf(l)
		g, r := make([]float64, dim), make([]float64, dim)
		a.Gradient(g, x)
		clear(dst)
		for i := range l {
			p := math.Exp(l[i] - total)
			for j, m := range at(i) {
				r[j] = (x[j]-m)/(std*std) - g[j]
			}
			addOuter(dst, -p, r)
		}
		for j := range dim {
			dst[j*dim+j] += 1 / (std * std)
		}
	}
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		offset := constant
		if equal {
			offset += logW[0]
		}
		m := components{means: means, k: k, dim: dim, precision: 1 / (std * std)}
		if !equal {
			m.logWeights = logW
		}
		return shift(b, m.build(b, x), -offset)
	}
	cumulative := make([]float64, k)
	for i, w := range weights {
		cumulative[i] = w
		if i > 0 {
			cumulative[i] += cumulative[i-1]
		}
	}
	a.draw = func(r *noise, x []float64) {
		u, i := r.uniform(0), 0
		for i < k-1 && u > cumulative[i] {
			i++
		}
		r.normals(x)
		for j, m := range at(i) {
			x[j] = m + std*x[j]
		}
	}
	return a
}

// components is −log Σ wₖ exp(−½p‖x−μₖ‖²) as a graph. Without logWeights every wₖ is 1.
type components struct {
	means      []float64 // [K, D]
	k, dim     int
	precision  float64
	logWeights []float64
}

// expandable bounds ½p‖μₖ‖² of the expanded form, where float32 loses about 2⁻²² of it and of ½p‖x‖²: 2e-5 at the bound.
const expandable = 64

// build expands the squares where that is accurate, since a product of matrices is four times as fast as differences.
func (c components) build(b *graphs.Builder, x *graphs.Value) *graphs.Value {
	largest := 0.0
	for i := range c.k {
		m := c.means[i*c.dim : (i+1)*c.dim]
		largest = max(largest, 0.5*c.precision*dot(m, m))
	}
	if largest <= expandable {
		return c.expanded(b, x)
	}
	return c.differences(b, x)
}

// expanded is ½p‖x‖² − log Σ exp(p·x·μₖ − ½p‖μₖ‖² + log wₖ).
func (c components) expanded(b *graphs.Builder, x *graphs.Value) *graphs.Value {
	slopes, offsets := c.transposed(c.precision), make([]float64, c.k)
	for i := range offsets {
		m := c.means[i*c.dim : (i+1)*c.dim]
		offsets[i] = -0.5 * c.precision * dot(m, m)
		if c.logWeights != nil {
			offsets[i] += c.logWeights[i]
		}
	}
	l := b.Op("Gemm", nil, x, row(b, x, slopes, int64(c.dim), int64(c.k)), row(b, x, offsets))
	return b.Op("Sub", nil, scale(b, sumItem(b, square(b, x)), 0.5*c.precision), logSumExp(b, l))
}

// differences is −log Σ exp(−½p‖x−μₖ‖² + log wₖ) over [N, D, K], the components last, where broadcasting is fastest.
func (c components) differences(b *graphs.Builder, x *graphs.Value) *graphs.Value {
	d := b.Op("Sub", nil, b.Op("Unsqueeze", nil, x, b.Ints(2)), row(b, x, c.transposed(1), int64(c.dim), int64(c.k)))
	l := scale(b, reduce(b, "ReduceSum", square(b, d), 1, false), -0.5*c.precision)
	if c.logWeights != nil {
		l = b.Op("Add", nil, l, row(b, x, c.logWeights))
	}
	return b.Op("Neg", nil, logSumExp(b, l))
}

// transposed is the means as [D, K], times by.
func (c components) transposed(by float64) []float64 {
	out := make([]float64, 0, len(c.means))
	for j := range c.dim {
		for i := range c.k {
			out = append(out, by*c.means[i*c.dim+j])
		}
	}
	return out
}

const maxCov = 512 // largest dimension whose covariance is written out

// mixtureMoments: Σ wₖμₖ and s²I + Σ wₖ(μₖ−μ)(μₖ−μ)ᵀ.
func (a *Analytic) mixtureMoments(means, weights []float64, std float64) {
	dim := a.Dim
	a.Mean, a.Std = make([]float64, dim), make([]float64, dim)
	for i, w := range weights {
		for j := range dim {
			a.Mean[j] += w * means[i*dim+j]
		}
	}
	covariance := func(p, q int) float64 {
		c := 0.0
		for i, w := range weights {
			c += w * (means[i*dim+p] - a.Mean[p]) * (means[i*dim+q] - a.Mean[q])
		}
		if p == q {
			c += std * std
		}
		return c
	}
	for j := range dim {
		a.Std[j] = math.Sqrt(covariance(j, j))
	}
	if dim > maxCov {
		return
	}
	a.Cov = mat.NewSymDense(dim, nil)
	for p := range dim {
		for q := range p + 1 {
			a.Cov.SetSym(p, q, covariance(p, q))
		}
	}
}
