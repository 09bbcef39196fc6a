package diag

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/integrate/quad"
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
		"scores":        func() error { _, err := KSD(ctx, good, good[:2], 1, KSDOptions{}); return err },
		"exponent":      func() error { _, err := KSD(ctx, good, good, 2, KSDOptions{Exponent: -1}); return err },
		"no kernel":     func() error { _, err := KSD(ctx, good, good, 2, KSDOptions{Kernel: 7}); return err },
		"ksd bandwidth": func() error { _, err := KSD(ctx, good, good, 2, KSDOptions{Bandwidth: math.NaN()}); return err },
		"ksd stopped":   func() error { _, err := KSD(stopped, good, good, 2, KSDOptions{}); return err },
		"order":         func() error { _, err := SlicedWasserstein(ctx, good, good, 2, SlicedOptions{Order: 3}); return err },
		"projections": func() error {
			_, err := SlicedWasserstein(ctx, good, good, 2, SlicedOptions{Projections: -1})
			return err
		},
		"sw NaN":  func() error { _, err := SlicedWasserstein(ctx, nan, good, 2, SlicedOptions{}); return err },
		"stopped": func() error { _, err := MMD(stopped, good, good, 2, MMDOptions{}); return err },
	} {
		require.ErrorContains(t, f(), "diag: ", name)
	}
}

// The Stein kernel from derivatives that SymPy took of the kernels, over 8
// points of 3 coordinates with ℓ = 3/2.
func TestKSDAgainstDefinition(t *testing.T) {
	x, s := make([]float32, 24), make([]float32, 24)
	for i, v := range ar1(1, 60, .5)[:24] {
		x[i] = float32(v)
	}
	for i, v := range ar1(1, 50, -.3)[:24] {
		s[i] = float32(math.Tanh(float64(float32(v*1.5 + .2))))
	}
	for _, c := range []struct {
		o    KSDOptions
		u, v float64
	}{
		{KSDOptions{Bandwidth: 1.5}, 0.6469183310134866, 0.9106191667919602},
		{KSDOptions{Bandwidth: 1.5, Exponent: -.3}, 0.5080832479631648, 0.722471802456262},
		{KSDOptions{Bandwidth: 1.5, Kernel: RBF}, 1.0112476028454633, 1.2294072796449398},
	} {
		got, err := KSD(ctx, x, s, 3, c.o)
		require.NoError(t, err)
		require.InEpsilon(t, c.u, got.U, 1e-6) // tanh rounded to float32 may differ in its last bit
		require.InEpsilon(t, c.v, got.V, 1e-6)
	}
}

// For points of N(μ, I) and the scores of N(0, I) the scores of the two differ by
// μ everywhere, so the squared discrepancy is ‖μ‖² E k(x, x′), with ‖x−x′‖² ~ 2χ²_d.
func TestKSDOfGaussians(t *testing.T) {
	const d, n, seeds, l = 2, 400, 30, 1.3
	r := rand.New(rand.NewPCG(10, 11))
	for _, shift := range []float64{0, .4} {
		for kernel, mean := range map[Kernel]float64{
			RBF: gaussianKernelMean(l, 2, 0, d),
			IMQ: quad.Fixed(func(u float64) float64 { return 1 / math.Sqrt(1-4*math.Log1p(-u)/(l*l)) }, 0, 1, 2000, nil, 0), // ‖r‖²/4 ~ Exp(1)
		} {
			var u []float64
			for range seeds {
				x := gaussianPoints(r, n, d, shift, 1)
				score := make([]float32, len(x))
				for i, v := range x {
					score[i] = -v
				}
				got, err := KSD(ctx, x, score, d, KSDOptions{Kernel: kernel, Bandwidth: l})
				require.NoError(t, err)
				require.Positive(t, got.V)
				u = append(u, got.U)
			}
			near(t, d*shift*shift*mean, u, 0, "kernel %d, shift %v", kernel, shift)
		}
	}
}

func TestKSDTilesAndWorkers(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 13))
	x, s := gaussianPoints(r, 600, 2, 0, 1), gaussianPoints(r, 600, 2, 0, 1)
	one, err := KSD(ctx, x, s, 2, KSDOptions{Workers: 1})
	require.NoError(t, err)
	many, err := KSD(ctx, x, s, 2, KSDOptions{Workers: 5})
	require.NoError(t, err)
	require.Equal(t, one, many)
	// Pair by pair through calls of two points each.
	sum := 0.0
	for i := range 600 {
		for j := range i {
			px := append(append([]float32(nil), x[2*i:2*i+2]...), x[2*j:2*j+2]...)
			ps := append(append([]float32(nil), s[2*i:2*i+2]...), s[2*j:2*j+2]...)
			pair, err := KSD(ctx, px, ps, 2, KSDOptions{Bandwidth: one.Bandwidth, Workers: 1})
			require.NoError(t, err)
			sum += pair.U
		}
	}
	require.InDelta(t, sum/(600*599/2), one.U, 1e-12)
}

// Figures of SciPy 1.17.1 (order 1) and POT 0.9.7 (order 2) for 60 and 50 points.
func TestWassersteinInOneDimension(t *testing.T) {
	x, y := make([]float32, 60), make([]float32, 50)
	for i, v := range ar1(1, 60, .5) {
		x[i] = float32(v)
	}
	for i, v := range ar1(1, 50, -.3) {
		y[i] = float32(v*1.5 + .2)
	}
	one, err := SlicedWasserstein(ctx, x, y, 1, SlicedOptions{Order: 1})
	require.NoError(t, err)
	require.InEpsilon(t, 0.4295667467949291, one.Distance, 1e-10)
	two, err := SlicedWasserstein(ctx, x, y, 1, SlicedOptions{})
	require.NoError(t, err)
	require.InEpsilon(t, math.Sqrt(0.2617513248449818), two.Distance, 1e-10)
}

// Points moved by μ are at W_p = |θ·μ| along θ: SW₂² = ‖μ‖²/d over all directions.
func TestSlicedWassersteinOfShift(t *testing.T) {
	const d, n = 3, 200
	r := rand.New(rand.NewPCG(14, 15))
	x := gaussianPoints(r, n, d, 0, 1)
	y := append([]float32(nil), x...)
	shift := []float32{1, -2, .5}
	for i := range y {
		y[i] += shift[i%d]
	}
	want := math.Sqrt((1 + 4 + .25) / d)
	var distances, z []float64
	for seed := range 40 {
		got, err := SlicedWasserstein(ctx, x, y, d, SlicedOptions{Projections: 300, Key: rng.NewKey(uint64(seed))})
		require.NoError(t, err)
		distances = append(distances, got.Distance)
		z = append(z, (got.Distance-want)/got.StdErr)
	}
	near(t, want, distances, 1e-3, "distance") // the root is biased by the variance over 8
	require.InDelta(t, 1, math.Sqrt(variance(z)), .4, "the standard error is that of the estimates")

	one, err := SlicedWasserstein(ctx, x, y[:90], d, SlicedOptions{Workers: 1})
	require.NoError(t, err)
	many, err := SlicedWasserstein(ctx, x, y[:90], d, SlicedOptions{Workers: 4})
	require.NoError(t, err)
	require.Equal(t, one, many)
	same, err := SlicedWasserstein(ctx, x, x, d, SlicedOptions{})
	require.NoError(t, err)
	require.Zero(t, same.Distance)
}
