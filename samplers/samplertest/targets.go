// Package samplertest holds energies in plain Go whose laws are known, exact
// draws from them, and wrappers that watch or spoil a target: what tests of
// samplers need.
package samplertest

import (
	"context"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Exact is a target with independent exact draws.
type Exact interface {
	samplers.Target
	// Draw fills x [n·D] with draws from exp(−E), number first onwards of the key.
	Draw(x []float32, k rng.Key)
	// CDF is the distribution function of coordinate j.
	CDF(j int, v float64) float64
}

// Gaussian is E = ½Σ((xᵢ−μᵢ)/σᵢ)²: independent normal coordinates.
type Gaussian struct{ Mean, Std []float64 }

// StandardNormal is N(0, I) in d dimensions.
func StandardNormal(d int) Gaussian {
	g := Gaussian{make([]float64, d), make([]float64, d)}
	for i := range g.Std {
		g.Std[i] = 1
	}
	return g
}

// Dim implements samplers.Target.
func (t Gaussian) Dim() int { return len(t.Mean) }

// EnergyGradient implements samplers.Target.
func (t Gaussian) EnergyGradient(ctx context.Context, x []float32, n int, e, g []float32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d := len(t.Mean)
	for c := range n {
		sum := 0.0
		for j := range d {
			z := (float64(x[c*d+j]) - t.Mean[j]) / t.Std[j]
			sum += z * z
			if g != nil {
				g[c*d+j] = float32(z / t.Std[j])
			}
		}
		if e != nil {
			e[c] = float32(sum / 2)
		}
	}
	return nil
}

// Draw implements Exact.
func (t Gaussian) Draw(x []float32, k rng.Key) {
	k.Normals(x, 0, 0)
	d := len(t.Mean)
	for i := range x {
		x[i] = float32(t.Mean[i%d] + t.Std[i%d]*float64(x[i]))
	}
}

// CDF implements Exact.
func (t Gaussian) CDF(j int, v float64) float64 {
	return math.Erfc(-(v-t.Mean[j])/(t.Std[j]*math.Sqrt2)) / 2
}

// DoubleWell is E = H·Σ(xᵢ²−B²)² with D coordinates: two modes in each.
type DoubleWell struct {
	D    int
	H, B float64
}

// Dim implements samplers.Target.
func (t DoubleWell) Dim() int { return t.D }

// EnergyGradient implements samplers.Target.
func (t DoubleWell) EnergyGradient(ctx context.Context, x []float32, n int, e, g []float32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for c := range n {
		sum := 0.0
		for j := range t.D {
			v := float64(x[c*t.D+j])
			w := v*v - t.B*t.B
			sum += w * w
			if g != nil {
				g[c*t.D+j] = float32(4 * t.H * v * w)
			}
		}
		if e != nil {
			e[c] = float32(t.H * sum)
		}
	}
	return nil
}

// wellGrid is the resolution of the double well's distribution function, over
// ±(B+wellReach/√H^½).
const wellGrid = 1 << 14

// edge is beyond which exp(−E) is below e⁻⁴⁰.
func (t DoubleWell) edge() float64 { return math.Sqrt(t.B*t.B + math.Sqrt(40/t.H)) }

// table is the distribution function of one coordinate on a uniform grid, by
// the trapezoid rule, whose error for a function that vanishes at both ends is
// far below that of float32.
func (t DoubleWell) table() []float64 {
	a := t.edge()
	h := 2 * a / wellGrid
	out := make([]float64, wellGrid+1)
	p := func(v float64) float64 { w := v*v - t.B*t.B; return math.Exp(-t.H * w * w) }
	for i := 1; i <= wellGrid; i++ {
		v := -a + float64(i)*h
		out[i] = out[i-1] + h*(p(v-h)+4*p(v-h/2)+p(v))/6
	}
	for i := range out {
		out[i] /= out[wellGrid]
	}
	return out
}

// Draw implements Exact, by inverting the distribution function.
func (t DoubleWell) Draw(x []float32, k rng.Key) {
	table, a := t.table(), t.edge()
	for i := range x {
		u := k.Float64(0, uint64(i))
		lo, hi := 0, wellGrid
		for hi-lo > 1 {
			if mid := (lo + hi) / 2; table[mid] <= u {
				lo = mid
			} else {
				hi = mid
			}
		}
		f := (u - table[lo]) / (table[hi] - table[lo])
		x[i] = float32(-a + (float64(lo)+f)*2*a/wellGrid)
	}
}

// CDF implements Exact. It makes a table at each call; CDFs amortises it.
func (t DoubleWell) CDF(_ int, v float64) float64 { return t.CDFs()(v) }

// CDFs is the distribution function of one coordinate.
func (t DoubleWell) CDFs() func(v float64) float64 {
	table, a := t.table(), t.edge()
	return func(v float64) float64 {
		at := (v + a) / (2 * a) * wellGrid
		if !(at > 0) {
			return 0
		}
		if at >= wellGrid {
			return 1
		}
		i := int(at)
		return table[i] + (at-float64(i))*(table[i+1]-table[i])
	}
}

// Fused gives a target its own Langevin loop, written the plain way.
type Fused struct {
	samplers.Target
	Calls, Steps int // of LangevinSteps
}

// LangevinSteps implements samplers.FusedLangevin.
func (f *Fused) LangevinSteps(ctx context.Context, x []float32, n int, eta, temp []float32, k rng.Key, step0 uint64) error {
	f.Calls++
	g := make([]float32, len(x))
	for i := range eta {
		if err := f.EnergyGradient(ctx, x, n, nil, g); err != nil {
			return err
		}
		k.Langevin(x, g, eta[i], samplers.NoiseScale(eta[i], temp[i]), step0+uint64(i), 0)
		f.Steps++
	}
	return nil
}

// Counted counts what is asked of a target.
type Counted struct {
	samplers.Target
	Calls, Energies, Gradients int // the latter two in states
}

// EnergyGradient implements samplers.Target.
func (c *Counted) EnergyGradient(ctx context.Context, x []float32, n int, e, g []float32) error {
	c.Calls++
	if e != nil {
		c.Energies += n
	}
	if g != nil {
		c.Gradients += n
	}
	return c.Target.EnergyGradient(ctx, x, n, e, g)
}

// Hole is a target that is NaN, energy and gradient, where the first coordinate
// exceeds Above.
type Hole struct {
	samplers.Target
	Above float32
}

// EnergyGradient implements samplers.Target.
func (h Hole) EnergyGradient(ctx context.Context, x []float32, n int, e, g []float32) error {
	if err := h.Target.EnergyGradient(ctx, x, n, e, g); err != nil {
		return err
	}
	nan := float32(math.NaN())
	d := h.Dim()
	for c := range n {
		if x[c*d] <= h.Above {
			continue
		}
		if e != nil {
			e[c] = nan
		}
		if g != nil {
			g[c*d] = nan
		}
	}
	return nil
}

// LogZ is log ∫exp(−E), by the quadrature of the table.
func (t DoubleWell) LogZ() float64 {
	a := t.edge()
	h := 2 * a / wellGrid
	sum := 0.0
	for i := range wellGrid {
		v := -a + (float64(i)+0.5)*h
		w := v*v - t.B*t.B
		sum += h * math.Exp(-t.H*w*w)
	}
	return float64(t.D) * math.Log(sum)
}
