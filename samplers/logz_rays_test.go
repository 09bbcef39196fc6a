package samplers_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers"
)

// radial is a target in d dimensions whose energy is f(|x|²), with derivative df in |x|².
func radial(d int, f, df func(q float64) float64) samplers.Target {
	return samplers.Func(d, func(x, g []float32) float32 {
		q := 0.0
		for _, v := range x {
			q += float64(v) * float64(v)
		}
		if g != nil {
			for i, v := range x {
				g[i] = float32(2 * df(q) * float64(v))
			}
		}
		return float32(f(q))
	})
}

// E = a·log(1+|x|²) can be integrated in D dimensions if 2a > D.
func TestWhatHasNoIntegralIsRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		f, df func(q float64) float64
		none  bool
	}{
		{"Cauchy", func(q float64) float64 { return 2 * math.Log1p(q) }, func(q float64) float64 { return 2 / (1 + q) }, false},
		{"too heavy", func(q float64) float64 { return 1.4 * math.Log1p(q) }, func(q float64) float64 { return 1.4 / (1 + q) }, true},
		{"bounded", func(q float64) float64 { return q / (1 + q) }, func(q float64) float64 { return 1 / (1 + q) / (1 + q) }, true},
		{"falling", func(q float64) float64 { return -math.Sqrt(1 + q) }, func(q float64) float64 { return -0.5 / math.Sqrt(1+q) }, true},
		{"linear", func(q float64) float64 { return math.Sqrt(1 + q) }, func(q float64) float64 { return 0.5 / math.Sqrt(1+q) }, false},
		{"overflowing", func(q float64) float64 { return q * q * q * q * q * q * q }, func(q float64) float64 { return 7 * q * q * q * q * q * q }, false},
	} {
		_, err := samplers.EstimateLogZ(background, radial(3, c.f, c.df), samplers.LogZConfig{Chains: 64, Temperatures: 20})
		if c.none {
			require.ErrorIs(t, err, samplers.ErrNoIntegral, c.name)
		} else {
			require.NoError(t, err, c.name)
		}
	}
}

// An energy that falls in a quarter of all directions, beyond what chains see, is estimated, and the share told.
func TestOpenDirectionsAreTold(t *testing.T) {
	target := samplers.Func(2, func(x, g []float32) float32 {
		far := float32(0)
		if x[0] > 50 && x[1] > 50 {
			far = 1
		}
		if g != nil {
			g[0], g[1] = x[0]*(1-2*far), x[1]*(1-2*far)
		}
		return (1 - 2*far) * (x[0]*x[0] + x[1]*x[1]) / 2
	})
	z, err := samplers.EstimateLogZ(background, target, samplers.LogZConfig{Chains: 2048})
	require.NoError(t, err)
	require.InDelta(t, 0.25, z.OpenDirections, 0.1)
	require.InDelta(t, math.Log(2*math.Pi), z.LogZ, 6*z.MCSE)
}
