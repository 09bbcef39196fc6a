package models

import (
	"math"
	"sort"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// line is an energy u of one number, with its derivatives u′ and u″. exp(−u) is negligible outside [lo, hi].
type line struct {
	u, du, ddu func(t float64) float64
	lo, hi     float64
}

// cells of the trapezoidal rule, which converges geometrically for smooth integrands that vanish at both ends.
const cells = 1 << 14

// law is the density exp(−u)/Z of a line: its moments and its distribution function on a grid.
type law struct {
	logZ, mean, std float64
	lo, step        float64
	density         []float64 // at the nodes, up to a factor
	cumulative      []float64 // of the trapezoidal rule, last element 1
}

func (l line) law() law {
	h := (l.hi - l.lo) / cells
	low := math.Inf(1)
	u := make([]float64, cells+1)
	for i := range u {
		u[i] = l.u(l.lo + h*float64(i))
		low = min(low, u[i])
	}
	d := law{lo: l.lo, step: h, density: u, cumulative: make([]float64, cells+1)}
	var m1, m2 float64
	for i := range u {
		u[i] = math.Exp(low - u[i])
		if i > 0 {
			d.cumulative[i] = d.cumulative[i-1] + h*(u[i]+u[i-1])/2
		}
	}
	z := d.cumulative[cells]
	for i, p := range u {
		t, w := l.lo+h*float64(i), p*h/z
		if i == 0 || i == cells {
			w /= 2
		}
		m1 += w * t
		m2 += w * t * t
		d.cumulative[i] /= z
	}
	d.logZ, d.mean, d.std = math.Log(z)-low, m1, math.Sqrt(m2-m1*m1)
	return d
}

// quantile inverts the distribution function of the density that is linear within each cell.
func (d law) quantile(p float64) float64 {
	i := sort.SearchFloat64s(d.cumulative, p)
	i = min(max(i, 1), len(d.cumulative)-1)
	c0, c1 := d.cumulative[i-1], d.cumulative[i]
	if c1 <= c0 {
		return d.lo + d.step*float64(i)
	}
	// with densities a, b at the ends and f = (p−c0)/(c1−c0): a·s + (b−a)s²/2 = f(a+b)/2
	a, b, f := d.density[i-1], d.density[i], (p-c0)/(c1-c0)
	s := f * (a + b) / (a + math.Sqrt(a*a+f*(b*b-a*a)))
	return d.lo + d.step*(float64(i-1)+s)
}

// product is Σᵢ uᵢ(xᵢ) with uᵢ = lines[i mod len(lines)]. minimiser holds the least point of each line.
func product(dim int, lines []line, minimisers [][]float64) *Analytic {
	at := func(i int) int { return i % len(lines) }
	laws := make([]law, len(lines))
	for i, l := range lines {
		laws[i] = l.law()
	}
	a := &Analytic{Dim: dim, Mean: make([]float64, dim), Std: make([]float64, dim)}
	logZ := 0.0
	for i := range dim {
		d := laws[at(i)]
		a.Mean[i], a.Std[i] = d.mean, d.std
		logZ += d.logZ
	}
	a.setLogZ(logZ)
	a.Energy = func(x []float64) float64 {
		e := 0.0
		for i, t := range x {
			e += lines[at(i)].u(t)
		}
		return e
	}
	a.Gradient = func(dst, x []float64) {
		for i, t := range x {
			dst[i] = lines[at(i)].du(t)
		}
	}
	a.Hessian = func(dst, x []float64) {
		clear(dst)
		for i, t := range x {
			dst[i*dim+i] = lines[at(i)].ddu(t)
		}
	}
	a.draw = func(r *noise, x []float64) {
		for i := range x {
			x[i] = laws[at(i)].quantile(r.uniform(i))
		}
	}
	a.Minima = gridOf(dim, minimisers, a.Energy)
	return a
}

const maxMinima = 1024 // a product of lines with two minima each has 2^D: longer lists are left out

// gridOf lists the points whose coordinate i is one of choices[i mod len(choices)].
func gridOf(dim int, choices [][]float64, energy func([]float64) float64) []Minimum {
	count := 1
	for i := range dim {
		if count *= len(choices[i%len(choices)]); count > maxMinima {
			return nil
		}
	}
	out := make([]Minimum, count)
	for k := range out {
		x, digits := make([]float64, dim), k
		for i := dim - 1; i >= 0; i-- {
			c := choices[i%len(choices)]
			x[i], digits = c[digits%len(c)], digits/len(c)
		}
		out[k] = Minimum{x, energy(x)}
	}
	return out
}

// quartic is Σ c₄x⁴ + c₂x² + c₁x with coefficients that broadcast over [N, D].
func quartic(b *graphs.Builder, x, c4, c2, c1 *graphs.Value) *graphs.Value {
	q := square(b, x)
	even := b.Op("Mul", nil, q, b.Op("Add", nil, b.Op("Mul", nil, q, c4), c2))
	return sumItem(b, b.Op("Add", nil, even, b.Op("Mul", nil, x, c1)))
}
