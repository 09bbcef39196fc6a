package samplers

import (
	"math"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// freedom is ν, the degrees of freedom of the base.
const freedom = 3

// base is where the path to a target begins: the multivariate Student t distribution
//
//	E₀(x) = ½(ν+D)·log(1 + q/ν),  q = Σ((xᵢ−mᵢ)/sᵢ)²,  ∇E₀ = (ν+D)/(ν+q)·(x−m)/s²
//
// with ν = 3. Its heavy tails hold the target's wide parts at every temperature, where a normal base would first gather everything at its own
// width: states would have to find the mouth of a funnel in the last steps of the path.
type base struct {
	mean, scale []float64
	precision   []float64 // 1/s²
	centre      []float32 // m
	inverse     []float32 // 1/s²
}

func newBase(mean, scale []float64) *base {
	d := len(mean)
	b := &base{mean: mean, scale: scale, precision: make([]float64, d), centre: make([]float32, d), inverse: make([]float32, d)}
	for i, s := range scale {
		b.precision[i] = 1 / (s * s)
		b.centre[i], b.inverse[i] = float32(mean[i]), float32(b.precision[i])
	}
	return b
}

// energy is E₀ of one state.
func (b *base) energy(x []float32) float64 {
	mean, precision := b.mean[:len(x)], b.precision[:len(x)]
	q := 0.0
	for i, v := range x {
		z := float64(v) - mean[i]
		q += z * z * precision[i]
	}
	return (freedom + float64(len(x))) / 2 * math.Log1p(q/freedom)
}

// mix turns the target's ∇E at x into ∇E_β = (1−β)·∇E₀ + β·∇E, all in float32: a trajectory may be rough, its end is not.
func (b *base) mix(beta float64, x, g []float32) {
	centre, inverse := b.centre[:len(x)], b.inverse[:len(x)]
	g = g[:len(x)]
	var q0, q1 float32
	for i := 0; i+1 < len(x); i += 2 {
		y, z := x[i]-centre[i], x[i+1]-centre[i+1]
		q0 += float32(float32(y*y) * inverse[i])
		q1 += float32(float32(z*z) * inverse[i+1])
	}
	if i := len(x) - 1; i%2 == 0 {
		y := x[i] - centre[i]
		q0 += float32(float32(y*y) * inverse[i])
	}
	pull := float32((1 - beta) * (freedom + float64(len(x))) / (freedom + float64(q0+q1)))
	part := float32(beta)
	for i, v := range x {
		g[i] = float32(float32(pull*inverse[i])*(v-centre[i])) + float32(part*g[i])
	}
}

// logZ is log ∫exp(−E₀) = log Γ(ν/2) − log Γ((ν+D)/2) + ½D·log νπ + Σ log sᵢ.
func (b *base) logZ() float64 {
	d := float64(len(b.scale))
	above, _ := math.Lgamma(freedom / 2.0)
	below, _ := math.Lgamma((freedom + d) / 2)
	sum := above - below + d/2*math.Log(freedom*math.Pi)
	for _, s := range b.scale {
		sum += math.Log(s)
	}
	return sum
}

// draw fills x with independent states: normals over √(χ²/ν).
func (b *base) draw(x []float32, k rng.Key) {
	d := len(b.scale)
	k.Sub("base").Normals(x, 0, 0)
	radius := k.Sub("radius")
	var chi [freedom]float32
	for c := range len(x) / d {
		radius.Normals(chi[:], 0, uint64(c*freedom))
		width := math.Sqrt(freedom / dot(chi[:], chi[:]))
		row := x[c*d : (c+1)*d]
		for i, z := range row {
			row[i] = float32(b.mean[i] + width*b.scale[i]*float64(z))
		}
	}
}

// The base of the estimate reaches baseWidth times as far as the one whose quantile basePart of |x| is that of the pilot's last population:
// too wide a base costs less than too narrow a one. A quantile is not ruled by the tails, which the base has of its own.
const (
	baseWidth = 1.2
	basePart  = 0.8
)

// widened is b widened about 0 to a population. It is neither narrowed nor moved: the population may have lost modes.
func (b *base) widened(q *population) *base {
	scale := slices.Clone(b.scale)
	far := make([]float64, q.n)
	normal := math.Sqrt2 * math.Erfinv(basePart)
	for i := range scale {
		for c := range far {
			far[c] = math.Abs(float64(q.x[c*q.dim+i]))
		}
		slices.Sort(far)
		scale[i] = max(scale[i], baseWidth*far[int(basePart*float64(q.n))]/normal)
	}
	return newBase(b.mean, scale)
}
