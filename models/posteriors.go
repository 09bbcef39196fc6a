package models

import (
	"math"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// The data of the eight schools: effects of coaching and their standard errors (Rubin, Journal of Educational Statistics 6, 1981).
var (
	schoolEffects = []float64{28, 8, -3, 7, -1, 1, 18, 12}
	schoolErrors  = []float64{15, 10, 16, 11, 9, 11, 10, 18}
)

const (
	schools      = 8
	schoolsDim   = schools + 2
	schoolsScale = 5 // of μ and of τ a priori
)

// schoolsConstant gathers the normalisers: N(μ; 0, 5²), C⁺(τ; 0, 5), eight N(·; ·, 1) and eight N(y; ·, σ²).
func schoolsConstant() float64 {
	c := 0.5*log2Pi + math.Log(schoolsScale) + math.Log(schoolsScale*math.Pi/2) + schools*log2Pi
	for _, s := range schoolErrors {
		c += math.Log(s)
	}
	return c
}

// log1pExp is log(1+exp t).
func log1pExp(t float64) float64 { return max(t, 0) + math.Log1p(math.Exp(-math.Abs(t))) }

func logistic1(t float64) float64 { return 1 / (1 + math.Exp(-t)) }

// tauArgument is the argument of the half-Cauchy's softplus: (τ/5)² = exp(2 log τ − 2 log 5).
func tauArgument(logTau float64) float64 { return 2 * (logTau - math.Log(schoolsScale)) }

// eightSchools is the centred posterior of (μ, log τ, θ):
//
//	½(μ/5)² + log(1+τ²/25) − log τ + Σ[½((θᵢ−μ)/τ)² + log τ + ½((yᵢ−θᵢ)/σᵢ)²] + constants
func eightSchools(s *spec.Spec) (*Analytic, error) {
	if err := s.Done(); err != nil {
		return nil, err
	}
	constant := schoolsConstant()
	a := &Analytic{Dim: schoolsDim}
	a.Energy = func(x []float64) float64 {
		mu, l := x[0], x[1]
		e := constant + 0.5*mu*mu/(schoolsScale*schoolsScale) + log1pExp(tauArgument(l)) + (schools-1)*l
		for i, theta := range x[2:] {
			d, r := (theta-mu)*math.Exp(-l), (schoolEffects[i]-theta)/schoolErrors[i]
			e += 0.5 * (d*d + r*r)
		}
		return e
	}
	a.Gradient = func(dst, x []float64) {
		mu, l := x[0], x[1]
		precision := math.Exp(-2 * l)
		dst[0] = mu / (schoolsScale * schoolsScale)
		dst[1] = 2*logistic1(tauArgument(l)) + schools - 1
		for i, theta := range x[2:] {
			d := (theta - mu) * precision
			dst[0] -= d
			dst[1] -= d * (theta - mu)
			dst[2+i] = d + (theta-schoolEffects[i])/(schoolErrors[i]*schoolErrors[i])
		}
	}
	a.Hessian = func(dst, x []float64) {
		mu, l := x[0], x[1]
		precision, cauchy := math.Exp(-2*l), logistic1(tauArgument(l))
		h := bordered(dst)
		h.mu = 1.0/(schoolsScale*schoolsScale) + schools*precision
		h.tau = 4 * cauchy * (1 - cauchy)
		for i, theta := range x[2:] {
			d := (theta - mu) * precision
			h.muTau += 2 * d
			h.tau += 2 * d * (theta - mu)
			h.school(i, -precision, -2*d, precision+1/(schoolErrors[i]*schoolErrors[i]))
		}
		h.finish()
	}
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		mu, l, theta := schoolsParts(b, x)
		d := b.Op("Mul", nil, b.Op("Sub", nil, theta, mu), b.Op("Exp", nil, b.Op("Neg", nil, l)))
		return schoolsEnergy(b, mu, l, d, theta, schools-1, constant)
	}
	a.schoolsAnswers(false)
	return a, nil
}

// eightSchoolsNoncentered is the same posterior in zᵢ = (θᵢ−μ)/τ, whose Jacobian τ⁸ takes away Σ log τ.
func eightSchoolsNoncentered(s *spec.Spec) (*Analytic, error) {
	if err := s.Done(); err != nil {
		return nil, err
	}
	constant := schoolsConstant()
	a := &Analytic{Dim: schoolsDim}
	a.Energy = func(x []float64) float64 {
		mu, l := x[0], x[1]
		e := constant + 0.5*mu*mu/(schoolsScale*schoolsScale) + log1pExp(tauArgument(l)) - l
		for i, z := range x[2:] {
			r := (schoolEffects[i] - mu - math.Exp(l)*z) / schoolErrors[i]
			e += 0.5 * (z*z + r*r)
		}
		return e
	}
	a.Gradient = func(dst, x []float64) {
		mu, l := x[0], x[1]
		tau := math.Exp(l)
		dst[0] = mu / (schoolsScale * schoolsScale)
		dst[1] = 2*logistic1(tauArgument(l)) - 1
		for i, z := range x[2:] {
			r := (mu + tau*z - schoolEffects[i]) / (schoolErrors[i] * schoolErrors[i])
			dst[0] += r
			dst[1] += r * tau * z
			dst[2+i] = z + r*tau
		}
	}
	a.Hessian = func(dst, x []float64) {
		mu, l := x[0], x[1]
		tau, cauchy := math.Exp(l), logistic1(tauArgument(l))
		h := bordered(dst)
		h.mu = 1.0 / (schoolsScale * schoolsScale)
		h.tau = 4 * cauchy * (1 - cauchy)
		for i, z := range x[2:] {
			precision := 1 / (schoolErrors[i] * schoolErrors[i])
			r := (mu + tau*z - schoolEffects[i]) * precision
			h.mu += precision
			h.muTau += precision * tau * z
			h.tau += precision*tau*z*tau*z + r*tau*z
			h.school(i, precision*tau, precision*tau*tau*z+r*tau, 1+precision*tau*tau)
		}
		h.finish()
	}
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		mu, l, z := schoolsParts(b, x)
		theta := b.Op("Add", nil, b.Op("Mul", nil, z, b.Op("Exp", nil, l)), mu)
		return schoolsEnergy(b, mu, l, z, theta, -1, constant)
	}
	a.schoolsAnswers(true)
	return a, nil
}

// schoolsHessian is a Hessian of (μ, log τ, eight effects) in which no two effects meet.
type schoolsHessian struct {
	dst            []float64 // [10·10]
	mu, muTau, tau float64   // its corner
}

func bordered(dst []float64) *schoolsHessian {
	clear(dst)
	return &schoolsHessian{dst: dst}
}

// school sets the derivatives by the i-th effect and μ, log τ and itself.
func (h *schoolsHessian) school(i int, mu, tau, self float64) {
	j := 2 + i
	h.dst[j], h.dst[j*schoolsDim] = mu, mu
	h.dst[schoolsDim+j], h.dst[j*schoolsDim+1] = tau, tau
	h.dst[j*schoolsDim+j] = self
}

func (h *schoolsHessian) finish() {
	h.dst[0], h.dst[1], h.dst[schoolsDim], h.dst[schoolsDim+1] = h.mu, h.muTau, h.muTau, h.tau
}

func schoolsParts(b *graphs.Builder, x *graphs.Value) (mu, logTau, rest *graphs.Value) {
	p := b.Ops("Split", 3, graphs.Attrs{"axis": int64(1)}, x, b.Ints(1, 1, schools))
	return p[0], p[1], p[2]
}

// schoolsEnergy: ½μ²/25 + softplus(2 log τ − 2 log 5) + slope·log τ + ½Σz² + ½Σ((θ−y)/σ)² + constant.
func schoolsEnergy(b *graphs.Builder, mu, logTau, z, theta *graphs.Value, slope, constant float64) *graphs.Value {
	weights := make([]float64, schools)
	for i, s := range schoolErrors {
		weights[i] = 1 / s
	}
	misfit := b.Op("Mul", nil, b.Op("Sub", nil, theta, row(b, mu, schoolEffects)), row(b, mu, weights))
	squares := reduce(b, "ReduceSum", b.Op("Add", nil, square(b, z), square(b, misfit)), 1, true)
	quadratic := scale(b, b.Op("Add", nil, squares, scale(b, square(b, mu), 1.0/(schoolsScale*schoolsScale))), 0.5)
	prior := b.Op("Add", nil, b.Op("Softplus", nil, shift(b, scale(b, logTau, 2), tauArgument(0))), scale(b, logTau, slope))
	return shift(b, b.Op("Squeeze", nil, b.Op("Add", nil, quadratic, prior), b.Ints(1)), constant)
}

// schoolsGiven is what remains of the posterior at a given log τ: μ ~ N(m, 1/p), and the negative log of the joint density of y and log τ.
//
//	p = 1/25 + Σ 1/(σᵢ²+τ²)     m = Σ yᵢ/(σᵢ²+τ²) / p
func schoolsGiven(logTau float64) (m, p, energy float64) {
	tau2 := math.Exp(2 * logTau)
	p = 1.0 / (schoolsScale * schoolsScale)
	var weighted, squares, logs float64
	for i, y := range schoolEffects {
		v := schoolErrors[i]*schoolErrors[i] + tau2
		p += 1 / v
		weighted += y / v
		squares += y * y / v
		logs += math.Log(v)
	}
	m = weighted / p
	energy = 0.5*(squares-weighted*m+logs+schools*log2Pi) + 0.5*math.Log(p) + math.Log(schoolsScale)
	energy += math.Log(schoolsScale*math.Pi/2) + log1pExp(tauArgument(logTau)) - logTau
	return m, p, energy
}

// schoolGiven is the posterior of the i-th effect at given τ and μ: N(mean, variance) in θ, or in z = (θ−μ)/τ.
func schoolGiven(i int, tau, mu float64, noncentred bool) (mean, variance float64) {
	y, s2 := schoolEffects[i], schoolErrors[i]*schoolErrors[i]
	total := s2 + tau*tau
	if noncentred {
		return (y - mu) * tau / total, s2 / total
	}
	return (y*tau*tau + mu*s2) / total, s2 * tau * tau / total
}

// schoolsAnswers integrates over log τ by quadrature; given log τ everything is Gaussian. exp(log Z) is the evidence p(y).
func (a *Analytic) schoolsAnswers(noncentred bool) {
	l := line{lo: -60, hi: 40, u: func(t float64) float64 { _, _, e := schoolsGiven(t); return e }}
	d := l.law()
	a.setLogZ(d.logZ)
	first, second := make([]float64, schoolsDim), make([]float64, schoolsDim)
	add := func(i int, w, mean, variance float64) {
		first[i] += w * mean
		second[i] += w * (mean*mean + variance)
	}
	total := 0.0
	for _, w := range d.density {
		total += w
	}
	for k, w := range d.density {
		if w /= total; w < 1e-30 {
			continue
		}
		logTau := d.lo + d.step*float64(k)
		m, p, _ := schoolsGiven(logTau)
		tau := math.Exp(logTau)
		add(0, w, m, 1/p)
		add(1, w, logTau, 0)
		for i := range schools {
			mean, variance := schoolGiven(i, tau, m, noncentred)
			above, _ := schoolGiven(i, tau, m+1, noncentred)
			add(2+i, w, mean, variance+(above-mean)*(above-mean)/p)
		}
	}
	a.Mean, a.Std = first, make([]float64, schoolsDim)
	for i := range first {
		a.Std[i] = math.Sqrt(second[i] - first[i]*first[i])
	}
	a.draw = func(r *noise, x []float64) {
		r.normals(x)
		x[1] = d.quantile(r.uniform(0))
		m, p, _ := schoolsGiven(x[1])
		x[0] = m + x[0]/math.Sqrt(p)
		for i := range schools {
			mean, variance := schoolGiven(i, math.Exp(x[1]), x[0], noncentred)
			x[2+i] = mean + math.Sqrt(variance)*x[2+i]
		}
	}
}

// logistic is the posterior of logistic regression with a Gaussian prior. With sᵢ = 1−2yᵢ a row's loss is log(1+exp(sᵢ·xᵢ·β)), so that
// the signs go into the design matrix.
func logistic(s *spec.Spec) (*Analytic, error) {
	for _, key := range []string{"x", "y"} {
		if !s.Has(key) {
			s.Fail("%s=@FILE.npy is missing; write logistic:x=@X.npy:y=@Y.npy", key)
		}
	}
	x, shape := file(s, "x", npy.Ints)
	y, _ := file(s, "y", npy.Ints)
	std, intercept := s.Positive("std", 1), s.Bool("intercept", false)
	if x != nil && (len(shape) != 2 || shape[1] == 0) {
		s.Fail("x must be of shape [n, p], not %v", shape)
	}
	if err := s.Done(); err != nil {
		return nil, err
	}
	n, p := shape[0], shape[1]
	if len(y) != n {
		s.Fail("y must have %d labels, one a row of x, not %d", n, len(y))
	}
	low := 0.0
	for _, v := range y {
		if v == -1 {
			low = -1
		}
	}
	for i, v := range y {
		if v != 1 && v != low {
			s.Fail("y must hold 0 and 1, or -1 and 1; label %d is %v", i, v)
		}
	}
	if err := s.Done(); err != nil {
		return nil, err
	}
	var design []float64
	for i, v := range y {
		sign := 1.0
		if v == 1 {
			sign = -1
		}
		if intercept {
			design = append(design, sign)
		}
		for _, t := range x[i*p : (i+1)*p] {
			design = append(design, sign*t)
		}
	}
	if intercept {
		p++
	}
	return regression(design, n, p, std), nil
}

func regression(design []float64, n, p int, std float64) *Analytic {
	constant := 0.5*float64(p)*log2Pi + float64(p)*math.Log(std)
	a := &Analytic{Dim: p}
	a.Energy = func(x []float64) float64 {
		e := constant + 0.5*dot(x, x)/(std*std)
		for i := range n {
			e += log1pExp(dot(design[i*p:(i+1)*p], x))
		}
		return e
	}
	a.Gradient = func(dst, x []float64) {
		for j, t := range x {
			dst[j] = t / (std * std)
		}
		for i := range n {
			r := design[i*p : (i+1)*p]
			w := logistic1(dot(r, x))
			for j, t := range r {
				dst[j] += w * t
			}
		}
	}
	a.Hessian = func(dst, x []float64) {
		clear(dst)
		for j := range p {
			dst[j*p+j] = 1 / (std * std)
		}
		for i := range n {
			r := design[i*p : (i+1)*p]
			w := logistic1(dot(r, x))
			addOuter(dst, w*(1-w), r)
		}
	}
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		transposed := make([]float64, 0, n*p)
		for j := range p {
			for i := range n {
				transposed = append(transposed, design[i*p+j])
			}
		}
		loss := sumItem(b, b.Op("Softplus", nil, b.Op("MatMul", nil, x, row(b, x, transposed, int64(p), int64(n)))))
		return shift(b, b.Op("Add", nil, loss, scale(b, sumItem(b, square(b, x)), 0.5/(std*std))), constant)
	}
	return a
}
