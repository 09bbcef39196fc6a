package models

import (
	"math"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// rosenbrock is Σ b(xᵢ₊₁−xᵢ²)² + (a−xᵢ)² (Rosenbrock, Computer Journal 3, 1960).
func rosenbrock(s *spec.Spec) (*Analytic, error) {
	dim, c, k := dimension(s, 2, 2), s.Float("a", 1), s.Positive("b", 100)
	if err := s.Done(); err != nil {
		return nil, err
	}
	a := &Analytic{Dim: dim}
	a.Energy = func(x []float64) float64 {
		e := 0.0
		for i := range dim - 1 {
			v, w := x[i+1]-x[i]*x[i], c-x[i]
			e += k*v*v + w*w
		}
		return e
	}
	a.Gradient = func(dst, x []float64) {
		clear(dst)
		for i := range dim - 1 {
			v := x[i+1] - x[i]*x[i]
			dst[i] += -4*k*v*x[i] - 2*(c-x[i])
			dst[i+1] += 2 * k * v
		}
	}
	a.Hessian = func(dst, x []float64) {
		clear(dst)
		for i := range dim - 1 {
			v := x[i+1] - x[i]*x[i]
			dst[i*dim+i] += 4*k*(2*x[i]*x[i]-v) + 2
			dst[i*dim+i+1] = -4 * k * x[i]
			dst[(i+1)*dim+i] = -4 * k * x[i]
			dst[(i+1)*dim+i+1] = 2 * k
		}
	}
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		head := b.Op("Slice", nil, x, b.Ints(0), b.Ints(int64(dim-1)), b.Ints(1))
		tail := b.Op("Slice", nil, x, b.Ints(1), b.Ints(int64(dim)), b.Ints(1))
		valley := scale(b, square(b, b.Op("Sub", nil, tail, square(b, head))), k)
		return sumItem(b, b.Op("Add", nil, valley, square(b, shift(b, head, -c))))
	}
	if c == 1 {
		a.Minima = []Minimum{{filled(dim, 1), 0}}
	}
	if dim == 2 {
		a.rosenbrockPlane(c, k)
	}
	return a, nil
}

// rosenbrockPlane: in two dimensions x₁ ~ N(a, ½) and x₂ ~ N(x₁², 1/2b).
func (a *Analytic) rosenbrockPlane(c, k float64) {
	a.Minima = []Minimum{{[]float64{c, c * c}, 0}}
	a.setLogZ(math.Log(math.Pi) - 0.5*math.Log(k))
	a.Mean = []float64{c, c*c + 0.5}
	a.Std = []float64{math.Sqrt(0.5), math.Sqrt(0.5 + 2*c*c + 0.5/k)}
	a.draw = func(r *noise, x []float64) {
		r.normals(x)
		x[0] = c + math.Sqrt(0.5)*x[0]
		x[1] = x[0]*x[0] + math.Sqrt(0.5/k)*x[1]
	}
}

// ackley is −a·exp(−b·r) − exp(Σcos(cx)/D) + a + e with r = √(Σx²/D) (Ackley 1987). It has a cone at 0, whose derivatives there are taken
// as 0.
func ackley(s *spec.Spec) (*Analytic, error) {
	dim, height, decay, freq := dimension(s, 2, 1), s.Float("a", 20), s.Float("b", 0.2), s.Float("c", 2*math.Pi)
	if err := s.Done(); err != nil {
		return nil, err
	}
	n := float64(dim)
	parts := func(x []float64) (r, hill, ripple float64) {
		for _, t := range x {
			r += t * t
			ripple += math.Cos(freq * t)
		}
		r = math.Sqrt(r / n)
		return r, height * math.Exp(-decay*r), math.Exp(ripple / n)
	}
	a := &Analytic{Dim: dim}
	if height >= 0 && decay >= 0 {
		a.Minima = []Minimum{{make([]float64, dim), 0}}
	}
	a.Energy = func(x []float64) float64 {
		_, hill, ripple := parts(x)
		return height + math.E - hill - ripple
	}
	a.Gradient = func(dst, x []float64) {
		r, hill, ripple := parts(x)
		for i, t := range x {
			dst[i] = ripple * freq * math.Sin(freq*t) / n
			if r > 0 {
				dst[i] += decay * hill * t / (n * r)
			}
		}
	}
	a.Hessian = func(dst, x []float64) {
		r, hill, ripple := parts(x)
		clear(dst)
		wave := make([]float64, dim)
		for i, t := range x {
			sin, cos := math.Sincos(freq * t)
			wave[i] = freq * sin / n
			dst[i*dim+i] = ripple * freq * freq * cos / n
			if r > 0 {
				dst[i*dim+i] += decay * hill / (n * r)
			}
		}
		addOuter(dst, -ripple, wave)
		if r > 0 {
			addOuter(dst, -decay*hill*(decay+1/r)/(n*n*r*r), x)
		}
	}
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		norm := reduce(b, "ReduceL2", x, -1, false)
		hill := scale(b, b.Op("Exp", nil, scale(b, norm, -decay/math.Sqrt(n))), height)
		ripple := b.Op("Exp", nil, scale(b, sumItem(b, b.Op("Cos", nil, scale(b, x, freq))), 1/n))
		return b.Op("Sub", nil, b.FloatLike(x, height+math.E), b.Op("Add", nil, hill, ripple))
	}
	return a, nil
}

// himmelblau is (x²+y−11)² + (x+y²−7)² (Himmelblau 1972).
func himmelblau(s *spec.Spec) (*Analytic, error) {
	if dim := s.Int("dim", 2); dim != 2 {
		s.Fail("dim must be 2, not %d", dim)
	}
	if err := s.Done(); err != nil {
		return nil, err
	}
	// the integrals are those of the trapezoidal rule on [−7, 7]²
	a := &Analytic{Dim: 2, LogZ: -0.898679212271203, LogZKnown: true, Minima: []Minimum{
		{[]float64{3, 2}, 0},
		{[]float64{-2.8051180869527448, 3.1313125182505730}, 0},
		{[]float64{-3.7793102533777469, -3.2831859912861694}, 0},
		{[]float64{3.5844283403304917, -1.8481265269644034}, 0},
	}}
	a.Mean = []float64{0.842155732438705, 0.3028361809736835}
	a.Std = []float64{3.157291400516391, 2.452238124296341}
	a.Energy = func(x []float64) float64 {
		u, v := x[0]*x[0]+x[1]-11, x[0]+x[1]*x[1]-7
		return u*u + v*v
	}
	a.Gradient = func(dst, x []float64) {
		u, v := x[0]*x[0]+x[1]-11, x[0]+x[1]*x[1]-7
		dst[0], dst[1] = 4*u*x[0]+2*v, 2*u+4*v*x[1]
	}
	a.Hessian = func(dst, x []float64) {
		u, v := x[0]*x[0]+x[1]-11, x[0]+x[1]*x[1]-7
		dst[0], dst[3] = 4*u+8*x[0]*x[0]+2, 4*v+8*x[1]*x[1]+2
		dst[1], dst[2] = 4*(x[0]+x[1]), 4*(x[0]+x[1])
	}
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		swapped := b.Op("MatMul", nil, x, row(b, x, []float64{0, 1, 1, 0}, 2, 2))
		return sumItem(b, square(b, b.Op("Sub", nil, b.Op("Add", nil, square(b, x), swapped), row(b, x, []float64{11, 7}))))
	}
	return a, nil
}
