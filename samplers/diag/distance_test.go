package diag

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

var ctx = context.Background()

// gaussianPoints gives n points of N(shift·1, scale²I).
func gaussianPoints(r *rand.Rand, n, d int, shift, scale float64) []float32 {
	x := make([]float32, n*d)
	for i := range x {
		x[i] = float32(shift + scale*r.NormFloat64())
	}
	return x
}

// plainMMD is the definition, pair by pair.
func plainMMD(x, y []float32, d int, bandwidths []float64) float64 {
	k := func(a, b []float32) (sum float64) {
		for _, s := range bandwidths {
			sum += math.Exp(-squaredDistance(a, b) / (2 * s * s))
		}
		return sum / float64(len(bandwidths))
	}
	average := func(a, b []float32, same bool) float64 {
		sum, pairs := 0.0, 0.0
		for i := 0; i < len(a); i += d {
			for j := 0; j < len(b); j += d {
				if !same || i != j {
					sum += k(a[i:i+d], b[j:j+d])
					pairs++
				}
			}
		}
		return sum / pairs
	}
	return average(x, x, true) + average(y, y, true) - 2*average(x, y, false)
}

func TestMMDAgainstDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		n, m, d    int
		bandwidths []float64
	}{
		{2, 2, 1, nil}, {300, 257, 2, nil}, {256, 513, 3, []float64{1}}, {40, 700, 5, []float64{.3, .3, 1.7, .01, 100}}, {10, 300, 1, []float64{1, 1 << 20}},
	} {
		x, y := gaussianPoints(r, c.n, c.d, 0, 1), gaussianPoints(r, c.m, c.d, .3, 1.2)
		got, err := MMD(ctx, x, y, c.d, MMDOptions{Bandwidths: c.bandwidths, Workers: 1})
		require.NoError(t, err)
		require.InDelta(t, plainMMD(x, y, c.d, got.Bandwidths), got.Squared, 1e-12, "%+v", c)
		again, err := MMD(ctx, x, y, c.d, MMDOptions{Bandwidths: c.bandwidths, Workers: 7})
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
}

// gaussianKernelMean is E exp(−‖r‖²/2σ²) of r ~ N(shift·1, v·I) in d dimensions.
func gaussianKernelMean(sigma, v, shift float64, d int) float64 {
	s := sigma * sigma
	return math.Pow(s/(s+v), float64(d)/2) * math.Exp(-float64(d)*shift*shift/(2*(s+v)))
}

func TestMMDOfGaussians(t *testing.T) {
	const d, n, m, seeds = 2, 300, 400, 30
	for _, c := range []struct{ shift, scale float64 }{{0, 1}, {.5, 1}, {0, 1.5}} {
		for _, bandwidths := range [][]float64{{1}, {.25, .5, 1, 2, 4}, {3, .7}} {
			want := 0.0
			for _, s := range bandwidths {
				k := float64(len(bandwidths))
				want += (gaussianKernelMean(s, 2, 0, d) + gaussianKernelMean(s, 2*c.scale*c.scale, 0, d) - 2*gaussianKernelMean(s, 1+c.scale*c.scale, c.shift, d)) / k
			}
			var values []float64
			r := rand.New(rand.NewPCG(5, 6))
			for range seeds {
				got, err := MMD(ctx, gaussianPoints(r, n, d, 0, 1), gaussianPoints(r, m, d, c.shift, c.scale), d, MMDOptions{Bandwidths: bandwidths})
				require.NoError(t, err)
				values = append(values, got.Squared)
			}
			near(t, want, values, 0, "%+v, bandwidths %v", c, bandwidths)
		}
	}
}

func TestMedianDistance(t *testing.T) {
	got, err := MedianDistance(1, []float32{0, 1, 3}, []float32{7, 7})
	require.NoError(t, err) // 1 2 3 4 4 6 6 7 7, and 0 left out
	require.Equal(t, 4.0, got)
	// The distance of two draws of N(0, I₂) is √2 times Rayleigh, of median √(2 ln 2).
	r := rand.New(rand.NewPCG(8, 9))
	var values []float64
	for range 20 {
		m, err := MedianDistance(2, gaussianPoints(r, 5000, 2, 0, 1))
		require.NoError(t, err)
		values = append(values, m)
	}
	near(t, 2*math.Sqrt(math.Ln2), values, 0, "median distance")
	_, err = MedianDistance(2, make([]float32, 20))
	require.ErrorContains(t, err, "give a bandwidth")
}

func TestDistanceErrors(t *testing.T) {
	good, nan := []float32{0, 1, 2, 3}, []float32{0, 1, float32(math.NaN()), 3}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	for name, f := range map[string]func() error{
		"one point":     func() error { _, err := MMD(ctx, good[:2], good, 2, MMDOptions{}); return err },
		"no dimension":  func() error { _, err := MMD(ctx, good, good, 0, MMDOptions{}); return err },
		"ragged":        func() error { _, err := MMD(ctx, good, good[:3], 2, MMDOptions{}); return err },
		"NaN":           func() error { _, err := MMD(ctx, good, nan, 2, MMDOptions{}); return err },
		"bad bandwidth": func() error { _, err := MMD(ctx, good, good, 2, MMDOptions{Bandwidths: []float64{-1}}); return err },
		"stopped":       func() error { _, err := MMD(stopped, good, good, 2, MMDOptions{}); return err },
	} {
		require.ErrorContains(t, f(), "diag: ", name)
	}
}
