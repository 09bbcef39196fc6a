package losses

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// TestDensitiesIntegrateToOne, by the trapezoid rule in two dimensions.
func TestDensitiesIntegrateToOne(t *testing.T) {
	for name, d := range map[string]Density{
		"standard": Gaussian{},
		"gaussian": Gaussian{Mean: []float64{0.5, -1}, Std: []float64{0.7, 1.3}},
		"uniform":  Uniform{Low: []float64{-1, -2}, High: []float64{3}},
		"mixture":  Mixture{Means: []float64{-1, 0, 2, 1}, Std: 0.6, Weights: []float64{1, 3}},
	} {
		const h, span = 0.1, 160
		x := make([]float32, 0, 2*span*span)
		for i := range span {
			for j := range span {
				x = append(x, float32((float64(i)-span/2+0.5)*h), float32((float64(j)-span/2+0.5)*h))
			}
		}
		logs := make([]float64, span*span)
		require.NoError(t, d.LogProb(logs, x, len(logs), 2))
		var total float64
		for _, l := range logs {
			total += math.Exp(l) * h * h
		}
		require.InDelta(t, 1, total, 1e-3, name)
	}
}

// TestSamplesFitTheirDensity: E[−log p] over samples is the entropy; Gaussians and uniforms have it in closed form, and the mixture's
// samples have its mean and variance.
func TestSamplesFitTheirDensity(t *testing.T) {
	entropy := func(d Density) func(k rng.Key) float64 {
		return func(k rng.Key) float64 {
			const n = 2000
			x, logs := make([]float32, 2*n), make([]float64, n)
			require.NoError(t, d.Sample(x, n, 2, k))
			require.NoError(t, d.LogProb(logs, x, n, 2))
			return -average(n, func(i int) float64 { return logs[i] })
		}
	}
	overSeeds(t, "gaussian", math.Log(2*math.Pi*math.E)+math.Log(0.7*1.3), entropy(Gaussian{Mean: []float64{0.5, -1}, Std: []float64{0.7, 1.3}}))
	require.InDelta(t, math.Log(8), entropy(Uniform{Low: []float64{-1, -1}, High: []float64{3, 1}})(rng.NewKey(1)), 1e-9)
	mixture := Mixture{Means: []float64{-1, 0, 2, 1}, Std: 0.6, Weights: []float64{1, 3}}
	moment := func(power float64) func(k rng.Key) float64 {
		return func(k rng.Key) float64 {
			x := make([]float32, 4000)
			require.NoError(t, mixture.Sample(x, 2000, 2, k))
			return average(2000, func(i int) float64 { return math.Pow(float64(x[2*i])-1.25, power) })
		}
	}
	overSeeds(t, "mixture mean", 0, moment(1))
	overSeeds(t, "mixture variance", 0.36+0.25*2.25*2.25+0.75*0.75*0.75, moment(2))
}

// Tailed is its density in front and one of the tails, equally likely, behind; the same rows alone or among others.
func TestTailed(t *testing.T) {
	d := Tailed{Of: Gaussian{Mean: []float64{1}, Std: []float64{2}}, Tails: [][]float32{{1, 0}, {0, 1}, {7, 7}}}
	const n = 3000
	x := make([]float32, 4*n)
	require.NoError(t, d.Sample(x, n, 4, rng.NewKey(2)))
	counts := map[float32]float64{}
	heads := make([]float32, 0, 2*n)
	for i := range n {
		counts[x[4*i+2]]++
		heads = append(heads, x[4*i:4*i+2]...)
	}
	for _, c := range counts {
		require.Less(t, math.Abs(c-n/3.0)/math.Sqrt(n*2.0/9), 4.0)
	}
	require.Len(t, counts, 3)
	plain := make([]float32, 2*n)
	require.NoError(t, d.Of.Sample(plain, n, 2, rng.NewKey(2)))
	require.Equal(t, plain, heads)
	logp, want := make([]float64, 2), make([]float64, 1)
	require.NoError(t, d.LogProb(logp, append(slices.Clone(x[:4]), 0, 0, 3, 3), 2, 4))
	require.NoError(t, d.Of.LogProb(want, x[:2], 1, 2))
	require.InDelta(t, want[0]-math.Log(3), logp[0], 1e-12)
	require.True(t, math.IsInf(logp[1], -1))
	require.Error(t, d.Sample(x, n, 2, rng.NewKey(2)))
}

func TestUniformEnds(t *testing.T) {
	logs := make([]float64, 3)
	require.NoError(t, Uniform{Low: []float64{0}, High: []float64{0.1}}.LogProb(logs, []float32{0, 0.1, 0.2}, 3, 1))
	require.InDelta(t, math.Log(10), logs[0], 1e-12)
	require.InDelta(t, math.Log(10), logs[1], 1e-12)
	require.True(t, math.IsInf(logs[2], -1))
}

func TestDensityErrors(t *testing.T) {
	for says, d := range map[string]Density{
		"1 or 2":             Gaussian{Mean: []float64{1, 2, 3}},
		"deviation = 0":      Gaussian{Std: []float64{0}},
		"is empty":           Uniform{Low: []float64{2}},
		"a multiple of 2":    Mixture{Means: []float64{1, 2, 3}},
		"2 weights":          Mixture{Means: []float64{1, 2}, Weights: []float64{1, 2}},
		"the weight -1":      Mixture{Means: []float64{1, 2}, Weights: []float64{-1}},
		"weights sum to 0":   Mixture{Means: []float64{1, 2}, Weights: []float64{0}},
		"deviation is -1":    Mixture{Means: []float64{1, 2}, Std: -1},
		"low end = +Inf":     Uniform{Low: []float64{math.Inf(1)}},
		"mean = NaN":         Gaussian{Mean: []float64{math.NaN()}},
		"high end has 3 val": Uniform{High: []float64{1, 2, 3}},
	} {
		require.ErrorContains(t, d.Sample(make([]float32, 2), 1, 2, rng.NewKey(0)), says)
		require.ErrorContains(t, d.LogProb(make([]float64, 1), make([]float32, 2), 1, 2), says)
	}
}

func TestFitGaussian(t *testing.T) {
	g, err := FitGaussian([]float32{1, 5, 3, 5}, 2, 2)
	require.NoError(t, err)
	require.Equal(t, Gaussian{Mean: []float64{2, 5}, Std: []float64{1, 1e-3}}, g)
	_, err = FitGaussian(nil, 0, 2)
	require.Error(t, err)
}

func TestParseDensity(t *testing.T) {
	load := Options{LoadArray: func(path string) ([]float64, error) { require.Equal(t, "M.npy", path); return []float64{1, 2}, nil }}
	for text, want := range map[string]Density{
		"gaussian":                    Gaussian{},
		"Gaussian:mean=1,2:std=0.5":   Gaussian{Mean: []float64{1, 2}, Std: []float64{0.5}},
		"uniform:low=-3:high=3":       Uniform{Low: []float64{-3}, High: []float64{3}},
		"mixture:means=@M.npy:std=.5": Mixture{Means: []float64{1, 2}, Std: 0.5},
	} {
		d, err := ParseDensity(text, load)
		require.NoError(t, err)
		require.Equal(t, want, d, text)
	}
	for text, says := range map[string]string{
		"cauchy":              "fitted, gaussian, mixture, uniform",
		"gaussian:low=1":      "mean, std",
		"mixture":             "needs means",
		"mixture:means=@M":    "cannot be read here",
		"fitted":              "needs data",
		"gaussian:mean=a":     "not a finite number",
		"uniform:low=1:low=2": "twice",
	} {
		_, err := ParseDensity(text, Options{})
		require.ErrorContains(t, err, says, text)
	}
}
