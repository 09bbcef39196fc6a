package models

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// gaussian is ½(x−μ)ᵀΣ⁻¹(x−μ), not normalised: log Z = ½ log det 2πΣ.
func gaussian(s *spec.Spec) (*Analytic, error) {
	mean := numbers(s, "mean", 0)
	dim := dimension(s, max(2, len(mean)), 1)
	mean = spread(s, "mean", mean, dim)
	cov := numbers(s, "cov", 1)
	if len(cov) == dim*dim && dim > 1 {
		chol := factorise(s, cov, dim)
		if err := s.Done(); err != nil {
			return nil, err
		}
		return denseGaussian(mean, chol), nil
	}
	if len(cov) != 1 && len(cov) != dim {
		s.Fail("cov must have 1, %d or %d·%d numbers, not %d", dim, dim, dim, len(cov))
		cov = []float64{1}
	}
	cov = spread(s, "cov", cov, dim)
	for _, v := range cov {
		if v <= 0 {
			s.Fail("cov must be positive: the variance %v is not", v)
		}
	}
	if err := s.Done(); err != nil {
		return nil, err
	}
	return diagonalGaussian(mean, cov), nil
}

// factorise returns Σ = LLᵀ, or latches why Σ is no covariance.
func factorise(s *spec.Spec, cov []float64, dim int) *mat.Cholesky {
	sym := mat.NewSymDense(dim, nil)
	for i := range dim {
		for j := range i + 1 {
			a, b := cov[i*dim+j], cov[j*dim+i]
			if math.Abs(a-b) > 1e-6*(math.Abs(a)+math.Abs(b)) {
				s.Fail("cov is not symmetric: element %d,%d is %v and %d,%d is %v", i+1, j+1, a, j+1, i+1, b)
			}
			sym.SetSym(i, j, (a+b)/2)
		}
	}
	var chol mat.Cholesky
	if !chol.Factorize(sym) {
		s.Fail("cov is not positive definite: it has no Cholesky factor")
	}
	return &chol
}

// diagonalGaussian has variances v: E = ½ Σ (xᵢ−μᵢ)²/vᵢ.
func diagonalGaussian(mean, v []float64) *Analytic {
	dim := len(mean)
	a := &Analytic{Dim: dim, Mean: mean, Std: make([]float64, dim), Minima: []Minimum{{mean, 0}}}
	logDet, inverse, isotropic := 0.0, make([]float64, dim), true
	for i := range v {
		a.Std[i], inverse[i] = math.Sqrt(v[i]), 1/math.Sqrt(v[i])
		logDet += math.Log(v[i])
		isotropic = isotropic && v[i] == v[0]
	}
	a.setLogZ(0.5 * (float64(dim)*log2Pi + logDet))
	a.Energy = func(x []float64) float64 {
		e := 0.0
		for i := range x {
			e += 0.5 * (x[i] - mean[i]) * (x[i] - mean[i]) / v[i]
		}
		return e
	}
	a.Gradient = func(dst, x []float64) {
		for i := range x {
			dst[i] = (x[i] - mean[i]) / v[i]
		}
	}
	a.Hessian = func(dst, _ []float64) {
		clear(dst)
		for i := range v {
			dst[i*dim+i] = 1 / v[i]
		}
	}
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		d := centred(b, x, mean)
		if isotropic {
			return scale(b, sumItem(b, square(b, d)), 0.5/v[0])
		}
		return scale(b, sumItem(b, square(b, b.Op("Mul", nil, d, row(b, x, inverse)))), 0.5)
	}
	a.draw = func(r *noise, x []float64) {
		r.normals(x)
		for i := range x {
			x[i] = mean[i] + a.Std[i]*x[i]
		}
	}
	return a
}

// denseGaussian whitens: with Σ = LLᵀ and z = L⁻¹(x−μ), E = ½‖z‖².
func denseGaussian(mean []float64, chol *mat.Cholesky) *Analytic {
	dim := len(mean)
	var cov mat.SymDense
	chol.ToSym(&cov)
	var l, inverse mat.TriDense
	chol.LTo(&l)
	// Factorize has shown L to be regular; an ill-conditioned inverse is still the best there is.
	_ = inverse.InverseTri(&l)

	a := &Analytic{Dim: dim, Mean: mean, Cov: &cov, Std: make([]float64, dim), Minima: []Minimum{{mean, 0}}}
	for i := range dim {
		a.Std[i] = math.Sqrt(cov.At(i, i))
	}
	a.setLogZ(0.5 * (float64(dim)*log2Pi + chol.LogDet()))
	solve := func(dst, x []float64) { // Σ⁻¹(x−μ)
		d := mat.NewVecDense(dim, nil)
		for i := range x {
			d.SetVec(i, x[i]-mean[i])
		}
		_ = chol.SolveVecTo(mat.NewVecDense(dim, dst), d)
	}
	a.Gradient = solve
	a.Hessian = func(dst, _ []float64) { // Σ⁻¹ = L⁻ᵀL⁻¹
		var product mat.SymDense
		product.SymOuterK(1, inverse.T())
		for i := range dim {
			for j := range dim {
				dst[i*dim+j] = product.At(i, j)
			}
		}
	}
	a.Energy = func(x []float64) float64 {
		p := make([]float64, dim)
		solve(p, x)
		e := 0.0
		for i := range x {
			e += 0.5 * p[i] * (x[i] - mean[i])
		}
		return e
	}
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		w := make([]float64, 0, dim*dim) // L⁻ᵀ, for rows on the left
		for i := range dim {
			for j := range dim {
				w = append(w, inverse.At(j, i))
			}
		}
		z := b.Op("MatMul", nil, centred(b, x, mean), row(b, x, w, int64(dim), int64(dim)))
		return scale(b, sumItem(b, square(b, z)), 0.5)
	}
	a.draw = func(r *noise, x []float64) {
		r.normals(x)
		for i := dim - 1; i >= 0; i-- { // from below, so that L·z takes the place of z
			sum := mean[i]
			for j := range i + 1 {
				sum += l.At(i, j) * x[j]
			}
			x[i] = sum
		}
	}
	return a
}

// normalised adds log Z to an energy, so that exp(−E) is a density.
func normalised(a *Analytic) *Analytic {
	energy, build, logZ := a.Energy, a.build, a.LogZ
	a.Energy = func(x []float64) float64 { return energy(x) + logZ }
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value { return shift(b, build(b, x), logZ) }
	for i := range a.Minima {
		a.Minima[i].Energy += logZ
	}
	a.setLogZ(0)
	return a
}

// harmonic is ½k‖x‖², a Gaussian of variance 1/k.
func harmonic(s *spec.Spec) (*Analytic, error) {
	dim, k := dimension(s, 2, 1), s.Positive("k", 1)
	if err := s.Done(); err != nil {
		return nil, err
	}
	return diagonalGaussian(make([]float64, dim), filled(dim, 1/k)), nil
}
