package models

import (
	"math"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

const negligible = 60 // exp(−60) is 9e-27

// doubleWell is h·Σ(xᵢ²−b²)²: 2^D wells at ±b, barriers of height h·b⁴.
func doubleWell(s *spec.Spec) (*Analytic, error) {
	dim, h, well := dimension(s, 2, 1), s.Positive("h", 2), s.NonNegative("b", 1)
	if err := s.Done(); err != nil {
		return nil, err
	}
	reach := math.Sqrt(well*well + math.Sqrt(negligible/h))
	minimisers := []float64{-well, well}
	if well == 0 {
		minimisers = []float64{0}
	}
	a := product(dim, []line{{
		u:   func(t float64) float64 { return h * (t*t - well*well) * (t*t - well*well) },
		du:  func(t float64) float64 { return 4 * h * t * (t*t - well*well) },
		ddu: func(t float64) float64 { return 4 * h * (3*t*t - well*well) },
		lo:  -reach, hi: reach,
	}}, [][]float64{minimisers})
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		d := b.Op("Sub", nil, square(b, x), b.FloatLike(x, well*well))
		return scale(b, sumItem(b, square(b, d)), h)
	}
	return a, nil
}

// styblinskiTang is ½Σ(x⁴ − 16x² + 5x) (Styblinski & Tang, Neural Networks 3, 1990).
func styblinskiTang(s *spec.Spec) (*Analytic, error) {
	dim := dimension(s, 2, 1)
	if err := s.Done(); err != nil {
		return nil, err
	}
	a := product(dim, []line{{
		u:   func(t float64) float64 { return 0.5 * t * (t*(t*t-16) + 5) },
		du:  func(t float64) float64 { return t*(2*t*t-16) + 2.5 },
		ddu: func(t float64) float64 { return 6*t*t - 16 },
		lo:  -5, hi: 5,
	}}, [][]float64{{-2.9035340277711770}})
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		return quartic(b, x, b.FloatLike(x, 0.5), b.FloatLike(x, -8), b.FloatLike(x, 2.5))
	}
	return a, nil
}

// manyWell is D/2 copies of x⁴ − 6x² − ½x + ½y² (Noé et al., Science 365, 2019; Midgley et al., ICLR 2023).
func manyWell(s *spec.Spec) (*Analytic, error) {
	dim := dimension(s, 2, 2)
	if dim%2 != 0 {
		s.Fail("dim must be even, not %d", dim)
	}
	if err := s.Done(); err != nil {
		return nil, err
	}
	a := product(dim, []line{{
		u:   func(t float64) float64 { return t * (t*(t*t-6) - 0.5) },
		du:  func(t float64) float64 { return t*(4*t*t-12) - 0.5 },
		ddu: func(t float64) float64 { return 12 * (t*t - 1) },
		lo:  -4, hi: 4,
	}, {
		u:   func(t float64) float64 { return 0.5 * t * t },
		du:  func(t float64) float64 { return t },
		ddu: func(float64) float64 { return 1 },
		lo:  -11, hi: 11,
	}}, [][]float64{{1.7525198623099465}, {0}})
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		c4, c2, c1 := make([]float64, dim), make([]float64, dim), make([]float64, dim)
		for i := 0; i < dim; i += 2 {
			c4[i], c2[i], c1[i] = 1, -6, -0.5
			c2[i+1] = 0.5
		}
		return quartic(b, x, row(b, x, c4), row(b, x, c2), row(b, x, c1))
	}
	return a, nil
}

// rastrigin is a·D + Σ(x² − a·cos 2πx), written Σ(x² + 2a·sin²πx): the same, without cancellation near 0.
func rastrigin(s *spec.Spec) (*Analytic, error) {
	dim, amplitude := dimension(s, 2, 1), s.NonNegative("a", 10)
	if err := s.Done(); err != nil {
		return nil, err
	}
	reach := math.Sqrt(negligible)
	a := product(dim, []line{{
		u:   func(t float64) float64 { return t*t + amplitude*(1-math.Cos(2*math.Pi*t)) },
		du:  func(t float64) float64 { return 2*t + 2*math.Pi*amplitude*math.Sin(2*math.Pi*t) },
		ddu: func(t float64) float64 { return 2 + 4*math.Pi*math.Pi*amplitude*math.Cos(2*math.Pi*t) },
		lo:  -reach, hi: reach,
	}}, [][]float64{{0}})
	a.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		sin := b.Op("Sin", nil, scale(b, x, math.Pi))
		return sumItem(b, b.Op("Add", nil, square(b, x), scale(b, square(b, sin), 2*amplitude)))
	}
	return a, nil
}
