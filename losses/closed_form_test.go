package losses

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

const seeds = 20

// overSeeds checks that the mean of a statistic over independent seeds is want, within 3.5 standard errors estimated from them.
func overSeeds(t *testing.T, name string, want float64, statistic func(k rng.Key) float64) {
	t.Helper()
	var values [seeds]float64
	for s := range seeds {
		values[s] = statistic(rng.NewKey(uint64(s)).Sub(name))
	}
	mean := average(seeds, func(i int) float64 { return values[i] })
	stderr := math.Sqrt(average(seeds, func(i int) float64 { return (values[i] - mean) * (values[i] - mean) }) / (seeds - 1))
	require.Less(t, stderr, 0.05*(1+math.Abs(want)), "%s: too noisy to say anything", name)
	require.LessOrEqual(t, math.Abs(mean-want), 3.5*stderr+1e-6, "%s: %g ± %g, expected %g", name, mean, stderr, want)
}

func gaussianData(k rng.Key, n, dim int) Batch {
	return Batch{N: n, Dim: dim, X: normals(k.Sub("data"), n*dim)}
}

func lossAt(t *testing.T, m Model, l Loss, b Batch, k rng.Key) float64 {
	t.Helper()
	res, err := Run(context.Background(), m, l, b, k, nil)
	require.NoError(t, err)
	return res.Loss
}

// TestScoreMatchingAtTruth: the energy of N(0, I_d), on its own samples, has the loss −d/2. A plus sign would give 3d/2, Hutchinson
// divided by d would give d/2 − 1, unit projections would give another value too.
func TestScoreMatchingAtTruth(t *testing.T) {
	const dim = 4
	for _, text := range []string{"sm", "ssm-vr", "ssm-vr:vectors=gaussian:projections=2", "ssm-vr:vectors=sphere"} {
		overSeeds(t, text, -dim/2.0, func(k rng.Key) float64 {
			loss, err := New(text, Options{})
			require.NoError(t, err)
			return lossAt(t, newIsotropic(dim, 1), loss, gaussianData(k, 500, dim), k)
		})
	}
	// mean ½(v·x)² − ‖v‖² = ½d − d as E‖v‖² = d.
	for _, vectors := range []string{"rademacher", "gaussian", "sphere"} {
		overSeeds(t, "ssm "+vectors, -dim/2.0, func(k rng.Key) float64 {
			loss, err := New("ssm:projections=3:vectors="+vectors, Options{})
			require.NoError(t, err)
			return lossAt(t, newIsotropic(dim, 1), loss, gaussianData(k, 500, dim), k)
		})
	}
}

// TestMinimisers: the a that minimises each loss over ½a‖x‖², on N(0, I_d), is +1 for score matching and +1/(1+σ²) for DSM. A wrong
// sign gives the negative of it, a stray 1/d gives 1/d.
func TestMinimisers(t *testing.T) {
	const dim = 5
	for text, want := range map[string]float64{
		"sm":                          1,
		"ssm":                         1,
		"ssm:vectors=gaussian":        1,
		"ssm:vectors=sphere":          1,
		"ssm-vr":                      1,
		"ssm-vr:vectors=gaussian":     1,
		"ssm-vr:vectors=sphere":       1,
		"dsm:sigma=0.5":               1 / 1.25,
		"dsm:sigma=1":                 1 / 2.0,
		"dsm:sigma=0.5:weight=sigma2": 1 / 1.25,
	} {
		overSeeds(t, text, want, func(k rng.Key) float64 {
			loss, err := New(text, Options{})
			require.NoError(t, err)
			return newtonIsotropic(t, dim, loss, gaussianData(k, 400, dim), k)
		})
	}
}

// TestDSMMinimum: the minimum over N(0, I_d) is d/(2σ²(1+σ²)).
func TestDSMMinimum(t *testing.T) {
	const dim, sigma = 3, 0.5
	overSeeds(t, "dsm", dim/(2*sigma*sigma*(1+sigma*sigma)), func(k rng.Key) float64 {
		return lossAt(t, newIsotropic(dim, 1/(1+sigma*sigma)), &DenoisingScoreMatching{Sigmas: []float64{sigma}}, gaussianData(k, 1000, dim), k)
	})
}

// TestScoreMatchingOfExponentialFamilies: with E linear in θ the optimum is known for any data.
func TestScoreMatchingOfExponentialFamilies(t *testing.T) {
	b := gaussianData(rng.NewKey(3), 50, 1)
	slope := func(energy energy, dim int, theta []float32, b Batch) []float32 {
		m := &testModel{dim: dim, theta: theta, energy: energy}
		d := make([]float32, len(theta))
		_, err := Run(context.Background(), m, &ScoreMatching{}, b, rng.NewKey(0), d)
		require.NoError(t, err)
		return d
	}
	// E = θx⁴/4: θ̂ = 3·mean x²/mean x⁶.
	var second, sixth float64
	for _, v := range widen(b.X) {
		second += v * v
		sixth += math.Pow(v, 6)
	}
	quarter := func(theta, x []float64) point {
		return point{theta[0] * math.Pow(x[0], 4) / 4, []float64{theta[0] * math.Pow(x[0], 3)}, [][]float64{{3 * theta[0] * x[0] * x[0]}}}
	}
	require.InDelta(t, 0, slope(quarter, 1, []float32{float32(3 * second / sixth)}, b)[0], 1e-5)
	require.Less(t, slope(quarter, 1, []float32{0}, b)[0], float32(-0.1))

	// The Gaussian energy: sample mean and inverse sample covariance (Hyvärinen 2005).
	b = gaussianData(rng.NewKey(4), 60, 2)
	mu, c := make([]float64, 2), make([]float64, 3)
	for _, x := range rows(b.X, 2) {
		mu[0] += x[0] / 60
		mu[1] += x[1] / 60
	}
	for _, x := range rows(b.X, 2) {
		u, v := x[0]-mu[0], x[1]-mu[1]
		c[0] += u * u / 60
		c[1] += u * v / 60
		c[2] += v * v / 60
	}
	det := c[0]*c[2] - c[1]*c[1]
	theta := narrow([]float64{mu[0], mu[1], c[2] / det, -c[1] / det, -c[1] / det, c[0] / det, 0, 0})
	for _, d := range slope(quartic, 2, theta, b)[:6] {
		require.InDelta(t, 0, d, 1e-5)
	}
}

// TestHutchinsonVariance: Var vᵀHv is 2·Σ_{i≠j} H² for Rademacher, 2·‖H‖² for Gaussian vectors.
func TestHutchinsonVariance(t *testing.T) {
	h := []float64{2, 0.5, -1, 0.5, 1, 0.3, -1, 0.3, 3}
	var all, diagonal float64
	for i, v := range h {
		all += 2 * v * v
		if i%4 == 0 {
			diagonal += 2 * v * v
		}
	}
	m := &testModel{dim: 3, theta: narrow(append(append([]float64{0, 0, 0}, h...), 0, 0)), energy: quartic}
	for vectors, want := range map[string]float64{"rademacher": all - diagonal, "gaussian": all} {
		overSeeds(t, vectors, want, func(k rng.Key) float64 {
			loss, err := New("ssm-vr:projections=3000:vectors="+vectors, Options{})
			require.NoError(t, err)
			q, err := loss.Plan(context.Background(), Batch{N: 1, Dim: 3, X: make([]float32, 3)}, k)
			require.NoError(t, err)
			v, _, err := m.Linearize(context.Background(), q[0])
			require.NoError(t, err)
			var sum, square float64
			for r := 0; r < 9000; r += 3 {
				s := dot(q[0].V[r:r+3], v.HV[r:r+3])
				sum += s / 3000
				square += s * s / 3000
			}
			return square - sum*sum
		})
	}
}

// TestVectorsAreIsotropic: E[vvᵀ] = I for each kind.
func TestVectorsAreIsotropic(t *testing.T) {
	for _, kind := range []Vectors{Rademacher, Gaussians, Sphere} {
		for _, ij := range [][2]int{{0, 0}, {2, 2}, {0, 1}} {
			want := 0.0
			if ij[0] == ij[1] {
				want = 1
			}
			overSeeds(t, fmt.Sprint(kind, ij), want, func(k rng.Key) float64 {
				v := make([]float32, 3*2000)
				kind.draw(v, 3, k)
				var sum float64
				for ; len(v) > 0; v = v[3:] {
					sum += float64(v[ij[0]]) * float64(v[ij[1]]) / 2000
				}
				return sum
			})
		}
	}
	v := make([]float32, 300)
	Sphere.draw(v, 3, rng.NewKey(1))
	for ; len(v) > 0; v = v[3:] {
		require.InDelta(t, 3, dot(v[:3], v[:3]), 1e-5)
	}
}

// TestContrastiveAtTruth: with negatives from the model's own distribution the gradient is zero in the mean; data broader than the
// model pulls a down, data narrower pushes it up.
func TestContrastiveAtTruth(t *testing.T) {
	slope := func(k rng.Key, spread float32) float64 {
		b := gaussianData(k, 1000, 2)
		for i := range b.X {
			b.X[i] *= spread
		}
		b.M, b.Neg = 500, normals(k.Sub("negatives"), 1000)
		d := make([]float32, 1)
		_, err := Run(context.Background(), newIsotropic(2, 1), NewMLE(), b, k, d)
		require.NoError(t, err)
		return float64(d[0])
	}
	// d/da of ½a(E‖x⁺‖² − E‖x⁻‖²) = spread² − 1 in two dimensions.
	for _, spread := range []float32{1, 0.5, 2} {
		overSeeds(t, fmt.Sprint("spread ", spread), float64(spread*spread)-1, func(k rng.Key) float64 { return slope(k, spread) })
	}
}

// TestNCERecoversLogZ: with the energy of N(0, I_5), the log Z where the gradient vanishes is (5/2) log 2π = 4.594693. Without the
// noise density in the logit it would not be.
func TestNCERecoversLogZ(t *testing.T) {
	const dim = 5
	for _, nu := range []float64{1, 3} {
		overSeeds(t, fmt.Sprint("nu ", nu), 4.594693, func(k rng.Key) float64 {
			loss := &NCE{Noise: Gaussian{Std: []float64{1.3}}, Nu: nu}
			b := gaussianData(k, 600, dim)
			low, high := 0.0, 10.0
			for range 30 {
				loss.InitLogZ = (low + high) / 2
				res, err := Run(context.Background(), newIsotropic(dim, 1), loss, b, k, nil)
				require.NoError(t, err)
				if res.Own[0] < 0 {
					low = loss.InitLogZ
				} else {
					high = loss.InitLogZ
				}
			}
			return low
		})
	}
}

// TestNCEDraws: ν·N rows of noise, rounded, and one at least.
func TestNCEDraws(t *testing.T) {
	for nu, want := range map[float64]int{0: 10, 3: 30, 0.26: 3, 0.01: 1} {
		res, err := Run(context.Background(), newIsotropic(2, 1), &NCE{Nu: nu}, gaussianData(rng.NewKey(1), 10, 2), rng.NewKey(2), nil)
		require.NoError(t, err)
		require.Len(t, res.Negatives, 2*want, "ν = %g", nu)
	}
}

// TestNCEAtTruth: at the truth, log Z included, the gradient by a is zero in the mean, for each noise.
func TestNCEAtTruth(t *testing.T) {
	logZ := math.Log(2 * math.Pi)
	for name, noise := range map[string]Density{
		"gaussian": Gaussian{Mean: []float64{0.3}, Std: []float64{1.5}},
		"uniform":  Uniform{Low: []float64{-5}, High: []float64{5}},
		"mixture":  Mixture{Means: []float64{-1, 0, 1, 0}, Std: 1.2, Weights: []float64{1, 3}},
	} {
		overSeeds(t, name, 0, func(k rng.Key) float64 {
			d := make([]float32, 1)
			loss := &NCE{Noise: noise, InitLogZ: logZ, FixedLogZ: true}
			_, err := Run(context.Background(), newIsotropic(2, 1), loss, gaussianData(k, 800, 2), k, d)
			require.NoError(t, err)
			return float64(d[0])
		})
	}
}

// TestEnergyDiscrepancySigns: the loss falls towards the truth from both sides, and a constant energy has the loss log(1 + w/M).
func TestEnergyDiscrepancySigns(t *testing.T) {
	b := gaussianData(rng.NewKey(8), 2000, 2)
	slope := func(a float32) float32 {
		d := make([]float32, 1)
		_, err := Run(context.Background(), newIsotropic(2, a), &EnergyDiscrepancy{T: 0.3, M: 32}, b, rng.NewKey(9), d)
		require.NoError(t, err)
		return d[0]
	}
	require.Less(t, slope(0.3), float32(-0.01))
	require.Greater(t, slope(3), float32(0.01))
	require.InDelta(t, math.Log(1+1/16.0), lossAt(t, newIsotropic(2, 0), &EnergyDiscrepancy{}, b, rng.NewKey(1)), 1e-9)
}

// TestStableAtLargeEnergies: logits and exponents far outside of exp's range give finite and exact results.
func TestStableAtLargeEnergies(t *testing.T) {
	constant := func(theta, x []float64) point { return point{e: theta[0] * x[0]} }
	m := &testModel{dim: 1, theta: []float32{1}, energy: constant}
	b := Batch{N: 1, Dim: 1, X: []float32{5000}, M: 1, Neg: []float32{-5000}, LogNoise: []float64{0, 0}}
	require.InDelta(t, 10000, lossAt(t, m, &NCE{}, b, rng.NewKey(0)), 1e-9)
	b = Batch{N: 1, Dim: 1, X: []float32{0}, Noise: []float32{0, -5000, 1}}
	require.InDelta(t, 5000-math.Log(2), lossAt(t, m, &EnergyDiscrepancy{T: 1}, b, rng.NewKey(0)), 1e-9)
	b.Noise = []float32{0, 5000, 6000}
	require.InDelta(t, math.Log(0.5), lossAt(t, m, &EnergyDiscrepancy{T: 1}, b, rng.NewKey(0)), 1e-9)
	require.InDelta(t, 800.0, softplus(800), 0)
	require.InDelta(t, math.Exp(-700), softplus(-700), 1e-318)
	require.Equal(t, 0.0, sigmoid(-1e4))
	require.Equal(t, 1.0, sigmoid(1e4))
}
