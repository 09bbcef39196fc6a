package samplers

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Running powers are those of two passes over all draws.
func TestPowers(t *testing.T) {
	const n = 500
	k := rng.NewKey(3)
	v := make([]float64, n)
	p := newPowers(1)
	for i := range v {
		v[i] = 7 - math.Log(k.Float64(uint64(i), 0)) // skewed, far from 0
		p.add(0, float64(i+1), v[i])
	}
	mean, sums := 0.0, [5]float64{}
	for _, x := range v {
		mean += x / n
	}
	for _, x := range v {
		for j := range sums {
			sums[j] += math.Pow(x-mean, float64(j))
		}
	}
	require.InEpsilon(t, mean, p.Mean[0], 1e-12)
	for j, got := range []float64{p.Sum2[0], p.Sum3[0], p.Sum4[0]} {
		require.InEpsilon(t, sums[j+2], got, 1e-10, "power %d", j+2)
	}
}

// On a Gaussian the scaling is √(Σᵢᵢ/Pᵢᵢ), here of variances 4 and 0.01.
func TestDiagonalOfGaussian(t *testing.T) {
	const n = 100_000
	variance := []float64{4, 0.01}
	m := newMoments(2, false)
	z, x, g, dev := make([]float32, 2*n), make([]float32, 2), make([]float32, 2), make([]float64, 2)
	rng.NewKey(4).Normals(z, 0, 0)
	for i := range n {
		for j, s := range variance {
			x[j] = float32(math.Sqrt(s) * float64(z[2*i+j]))
			g[j] = float32(float64(x[j]) / s)
		}
		m.add(x, g, dev)
	}
	inv := make([]float32, 2)
	m.diagonal(inv)
	for j, s := range variance {
		require.InEpsilon(t, s, inv[j], 1e-4) // x and g have the same draws
	}
}
