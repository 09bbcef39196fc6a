package models

import (
	"math"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// banana is a Gaussian bent along a parabola (Haario, Saksman & Tamminen 1999; curvature and scale as in inference_gym):
// x₁ ~ N(0, s²), x₂ ~ N(c(x₁²−s²), 1), the rest N(0, 1).
func banana(s *spec.Spec) (*Analytic, error) {
	dim, bend, std := dimension(s, 2, 2), s.Float("curvature", 0.03), s.Positive("std", 10)
	if err := s.Done(); err != nil {
		return nil, err
	}
	constant := 0.5*float64(dim)*log2Pi + math.Log(std)
	straight := func(x []float64) float64 { return x[1] - bend*(x[0]*x[0]-std*std) }
	a := &Analytic{Dim: dim, Mean: make([]float64, dim), Std: filled(dim, 1)}
	a.setLogZ(0)
	a.Std[0], a.Std[1] = std, math.Sqrt(1+2*bend*bend*std*std*std*std)
	lowest := make([]float64, dim)
	lowest[1] = -bend * std * std
	a.Minima = []Minimum{{lowest, constant}}
	a.Energy = func(x []float64) float64 {
		v := straight(x)
		return constant + 0.5*(x[0]*x[0]/(std*std)+v*v+dot(x[2:], x[2:]))
	}
	a.Gradient = func(dst, x []float64) {
		copy(dst, x)
		v := straight(x)
		dst[0], dst[1] = x[0]/(std*std)-2*bend*x[0]*v, v
	}
	a.Hessian = func(dst, x []float64) {
		clear(dst)
		for i := 1; i < dim; i++ {
			dst[i*dim+i] = 1
		}
		dst[0] = 1/(std*std) + 4*bend*bend*x[0]*x[0] - 2*bend*straight(x)
		dst[1], dst[dim] = -2*bend*x[0], -2*bend*x[0]
	}
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		widths, bends, offset := filled(dim, 1), make([]float64, dim), make([]float64, dim)
		widths[0], bends[1], offset[1] = 1/std, -bend, bend*std*std
		first := b.Op("Slice", nil, x, b.Ints(0), b.Ints(1), b.Ints(1))
		parabola := b.Op("Add", nil, b.Op("Mul", nil, square(b, first), row(b, x, bends)), row(b, x, offset))
		z := b.Op("Add", nil, b.Op("Mul", nil, x, row(b, x, widths)), parabola)
		return shift(b, scale(b, sumItem(b, square(b, z)), 0.5), constant)
	}
	a.draw = func(r *noise, x []float64) {
		r.normals(x)
		x[0] *= std
		x[1] += bend * (x[0]*x[0] - std*std)
	}
	return a, nil
}

// funnel is Neal's (Annals of Statistics 31, 2003): x₁ ~ N(0, s²), the rest N(0, exp x₁).
func funnel(s *spec.Spec) (*Analytic, error) {
	dim, std := dimension(s, 2, 2), s.Positive("std", 3)
	if err := s.Done(); err != nil {
		return nil, err
	}
	rest := float64(dim - 1)
	constant := 0.5*float64(dim)*log2Pi + math.Log(std)
	a := &Analytic{Dim: dim, Mean: make([]float64, dim), Std: filled(dim, math.Exp(std*std/4))}
	a.Std[0] = std
	a.setLogZ(0)
	lowest := make([]float64, dim)
	lowest[0] = -0.5 * rest * std * std
	a.Minima = []Minimum{{lowest, constant - rest*rest*std*std/8}}
	a.Energy = func(x []float64) float64 {
		v := x[0]
		return constant + 0.5*v*v/(std*std) + 0.5*rest*v + 0.5*dot(x[1:], x[1:])*math.Exp(-v)
	}
	a.Gradient = func(dst, x []float64) {
		precision := math.Exp(-x[0])
		dst[0] = x[0]/(std*std) + 0.5*rest - 0.5*dot(x[1:], x[1:])*precision
		for i := 1; i < dim; i++ {
			dst[i] = x[i] * precision
		}
	}
	a.Hessian = func(dst, x []float64) {
		precision := math.Exp(-x[0])
		clear(dst)
		dst[0] = 1/(std*std) + 0.5*dot(x[1:], x[1:])*precision
		for i := 1; i < dim; i++ {
			dst[i], dst[i*dim] = -x[i]*precision, -x[i]*precision
			dst[i*dim+i] = precision
		}
	}
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		parts := b.Ops("Split", 2, graphs.Attrs{"axis": int64(1)}, x, b.Ints(1, int64(dim-1)))
		v := parts[0]
		mouth := b.Op("Mul", nil, v, shift(b, scale(b, v, 0.5/(std*std)), 0.5*rest))
		spread := b.Op("Mul", nil, reduce(b, "ReduceSum", square(b, parts[1]), 1, true), b.Op("Exp", nil, b.Op("Neg", nil, v)))
		return shift(b, b.Op("Squeeze", nil, b.Op("Add", nil, mouth, scale(b, spread, 0.5)), b.Ints(1)), constant)
	}
	a.draw = func(r *noise, x []float64) {
		r.normals(x)
		x[0] *= std
		width := math.Exp(0.5 * x[0])
		for i := 1; i < dim; i++ {
			x[i] *= width
		}
	}
	return a, nil
}

// funnelNoncentred is the funnel in zᵢ = xᵢ·exp(−x₁/2): independent normals, x₁ ~ N(0, s²) and the rest N(0, 1).
func funnelNoncentred(s *spec.Spec) (*Analytic, error) {
	dim, std := dimension(s, 2, 2), s.Positive("std", 3)
	if err := s.Done(); err != nil {
		return nil, err
	}
	variances := filled(dim, 1)
	variances[0] = std * std
	return normalised(diagonalGaussian(make([]float64, dim), variances)), nil
}

// rings is −log Σₖ exp(−(‖x‖−rₖ)²/2s²): shells about the origin, where it has a cone whose derivatives are taken as 0.
func rings(s *spec.Spec) (*Analytic, error) {
	dim, radii, std := dimension(s, 2, 1), numbers(s, "radii", 1, 2), s.Positive("std", 0.125)
	largest := 0.0
	for _, r := range radii {
		if r <= 0 {
			s.Fail("radii must be greater than 0, not %v", r)
		}
		largest = max(largest, r)
	}
	if len(radii) == 0 {
		s.Fail("radii must have at least one number")
	}
	if err := s.Done(); err != nil {
		return nil, err
	}
	logits := func(r float64) []float64 {
		l := make([]float64, len(radii))
		for k, c := range radii {
			l[k] = -0.5 * (r - c) * (r - c) / (std * std)
		}
		return l
	}
	radial := func(r float64) float64 { return -logSumExpOf(logits(r)) }
	slope := func(r float64) float64 {
		l := logits(r)
		total, d := logSumExpOf(l), 0.0
		for k, c := range radii {
			d += math.Exp(l[k]-total) * (r - c) / (std * std)
		}
		return d
	}
	bend := func(r float64) float64 { // of radial: 1/s² − the variance of (r−rₖ)/s² over the shells
		l, d := logits(r), slope(r)
		total, variance := logSumExpOf(l), 0.0
		for k, c := range radii {
			t := (r-c)/(std*std) - d
			variance += math.Exp(l[k]-total) * t * t
		}
		return 1/(std*std) - variance
	}
	a := &Analytic{Dim: dim, Mean: make([]float64, dim)}
	a.Energy = func(x []float64) float64 { return radial(math.Sqrt(dot(x, x))) }
	a.Gradient = func(dst, x []float64) {
		r := math.Sqrt(dot(x, x))
		clear(dst)
		if r > 0 {
			d := slope(r) / r
			for i, t := range x {
				dst[i] = d * t
			}
		}
	}
	a.Hessian = func(dst, x []float64) { // u″·nnᵀ + u′/r·(I − nnᵀ) with n = x/r
		r := math.Sqrt(dot(x, x))
		clear(dst)
		if r > 0 {
			across := slope(r) / r
			addOuter(dst, (bend(r)-across)/(r*r), x)
			for i := range dim {
				dst[i*dim+i] += across
			}
		}
	}
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		l := scale(b, square(b, b.Op("Sub", nil, reduce(b, "ReduceL2", x, -1, true), row(b, x, radii))), -0.5/(std*std))
		if len(radii) == 1 {
			return b.Op("Squeeze", nil, b.Op("Neg", nil, l), b.Ints(1))
		}
		return b.Op("Neg", nil, logSumExp(b, l))
	}
	a.shells(radial, largest, std)
	return a, nil
}

// shells sets what follows from the law of the radius, r^(D−1)·exp(−E(r)) times the area of the unit sphere, 2π^(D/2)/Γ(D/2).
func (a *Analytic) shells(radial func(r float64) float64, largest, std float64) {
	n := float64(a.Dim)
	peak := 0.5 * (largest + math.Sqrt(largest*largest+4*std*std*(n-1)))
	l := line{hi: peak + 11*std, u: func(r float64) float64 {
		if a.Dim == 1 {
			return radial(r)
		}
		return radial(r) - (n-1)*math.Log(r)
	}}
	d := l.law()
	gamma, _ := math.Lgamma(n / 2)
	a.setLogZ(d.logZ + math.Ln2 + 0.5*n*math.Log(math.Pi) - gamma)
	a.Std = filled(a.Dim, math.Sqrt((d.mean*d.mean+d.std*d.std)/n))
	a.draw = func(r *noise, x []float64) {
		r.normals(x)
		k := d.quantile(r.uniform(0)) / math.Sqrt(dot(x, x))
		for i := range x {
			x[i] *= k
		}
	}
}
