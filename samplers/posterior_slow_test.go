//go:build slow

package samplers_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers"
)

var (
	schoolY     = []float64{28, 8, -3, 7, -1, 1, 18, 12}
	schoolSigma = []float64{15, 10, 16, 11, 9, 11, 10, 18}
)

// eightSchools is Rubin's (1981) posterior, non-centred: (μ, log τ, z₁…z₈), θ =
// μ + τz, μ ~ N(0,5), τ ~ C⁺(0,5).
var eightSchools = samplers.Func(10, func(x, g []float32) float32 {
	mu, logTau := float64(x[0]), float64(x[1])
	tau := math.Exp(logTau)
	e := mu*mu/50 + math.Log1p(tau*tau/25) - logTau
	gMu, gTau := mu/25, 2*tau*tau/(25+tau*tau)-1
	for i := range 8 {
		z := float64(x[2+i])
		r := (mu + tau*z - schoolY[i]) / schoolSigma[i]
		e += z*z/2 + r*r/2
		gMu += r / schoolSigma[i]
		gTau += r / schoolSigma[i] * tau * z
		if g != nil {
			g[2+i] = float32(z + r/schoolSigma[i]*tau)
		}
	}
	if g != nil {
		g[0], g[1] = float32(gMu), float32(gTau)
	}
	return float32(e)
})

// The exact means by quadrature.
func TestEightSchools(t *testing.T) {
	want := []float64{4.39682, .80214, 3.59771, 6.2119, 4.9402, 3.9270, 4.7571, 3.6155, 4.0426, 6.2967, 4.8543}
	for name, make := range map[string]func() samplers.Kernel{
		"nuts": func() samplers.Kernel { return &samplers.NUTS{} },
		"hmc":  func() samplers.Kernel { return &samplers.HMC{Leapfrogs: 8, Jitter: 0.5} },
		"nuts dense": func() samplers.Kernel {
			return &samplers.NUTS{Hamiltonian: samplers.Hamiltonian{DenseMass: true}}
		},
	} {
		estimates := make2(len(want))
		for seed := range uint64(20) {
			res := run(t, eightSchools, make(), samplers.Config{Chains: 8, Steps: 1500, BurnIn: 500, Seed: seed, KeepDraws: true})
			sums := make2(len(want))
			for i := 0; i < len(res.Draws); i += 10 {
				mu, tau := float64(res.Draws[i]), math.Exp(float64(res.Draws[i+1]))
				sums[0] = append(sums[0], mu)
				sums[1] = append(sums[1], float64(res.Draws[i+1]))
				sums[2] = append(sums[2], tau)
				for j := range 8 {
					sums[3+j] = append(sums[3+j], mu+tau*float64(res.Draws[i+2+j]))
				}
			}
			for j := range want {
				m, _ := meanSD(sums[j])
				estimates[j] = append(estimates[j], m)
			}
		}
		for j := range want {
			zWithin(t, want[j], estimates[j], name)
		}
	}
}

func make2(n int) [][]float64 { return make([][]float64, n) }

// manyWell is Σ x⁴ − 6x² − ½x + ½y² over 16 pairs (Midgley et al. 2023).
var manyWell = samplers.Func(32, func(x, g []float32) float32 {
	e := 0.0
	for i := 0; i < 32; i += 2 {
		a, b := float64(x[i]), float64(x[i+1])
		e += a*a*a*a - 6*a*a - a/2 + b*b/2
		if g != nil {
			g[i], g[i+1] = float32(4*a*a*a-12*a-0.5), x[i+1]
		}
	}
	return float32(e)
})

func TestManyWellLogZ(t *testing.T) {
	const want = 164.695675
	for _, cfg := range []samplers.LogZConfig{{Method: "smc", Chains: 4096}, {Method: "ais", Chains: 1024, Temperatures: 400}} {
		sq := 0.0
		for seed := range uint64(10) {
			cfg.Seed = seed
			got, err := samplers.EstimateLogZ(background, manyWell, cfg)
			require.NoError(t, err)
			t.Logf("%s seed %d: %.4f ± %.4f, %d temperatures, %d gradients, ESS %.0f", cfg.Method, seed, got.LogZ, got.MCSE, len(got.Betas)-1, got.Info.Gradients, got.ESS)
			z := (got.LogZ - want) / got.MCSE
			require.Less(t, math.Abs(z), 6.0)
			sq += z * z
		}
		require.Less(t, sq, 45.0, "z-scores of %s", cfg.Method)
	}
}

// Neal's funnel: v ~ N(0, 3), nine xᵢ ~ N(0, e^{v/2}); log Z = 0 with the constants in.
func TestFunnelLogZ(t *testing.T) {
	funnel := samplers.Func(10, func(x, g []float32) float32 {
		v := float64(x[0])
		w := math.Exp(-v)
		sum := 0.0
		for i, a := range x[1:] {
			sum += float64(a) * float64(a)
			if g != nil {
				g[1+i] = float32(float64(a) * w)
			}
		}
		if g != nil {
			g[0] = float32(v/9 + 4.5 - sum*w/2)
		}
		return float32(v*v/18 + math.Log(3) + 4.5*v + sum*w/2 + 5*math.Log(2*math.Pi))
	})
	for _, method := range samplers.LogZMethods() {
		for seed := range uint64(4) {
			got, err := samplers.EstimateLogZ(background, funnel, samplers.LogZConfig{Method: method, Chains: 2048, Temperatures: 300, Seed: seed})
			require.NoError(t, err)
			t.Logf("%s: %.3f ± %.3f, ESS %.0f", method, got.LogZ, got.MCSE, got.ESS)
			require.InDelta(t, 0, got.LogZ, max(0.1, 4*got.MCSE))
			require.Less(t, got.MCSE, 0.15)
		}
	}
}
