package samplers_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/samplertest"
)

// kernels makes one of each, at steps that move on a double well.
var kernels = map[string]func() samplers.Kernel{
	"langevin":    func() samplers.Kernel { return &samplers.Langevin{StepSize: constant(0.05)} },
	"mala":        func() samplers.Kernel { return &samplers.MALA{StepSize: constant(0.1)} },
	"mala tuned":  func() samplers.Kernel { return &samplers.MALA{StepSize: constant(0.01), TargetAccept: 0.6} },
	"rwm":         func() samplers.Kernel { return &samplers.RWM{StepSize: constant(0.5)} },
	"underdamped": func() samplers.Kernel { return &samplers.Underdamped{StepSize: constant(0.2)} },
	"hmc": func() samplers.Kernel {
		return &samplers.HMC{Hamiltonian: samplers.Hamiltonian{StepSize: constant(0.2)}, Leapfrogs: 4, Jitter: 0.3}
	},
	"hmc dense": func() samplers.Kernel {
		return &samplers.HMC{Hamiltonian: samplers.Hamiltonian{StepSize: constant(0.2), DenseMass: true}, Leapfrogs: 4}
	},
	"nuts": func() samplers.Kernel {
		return &samplers.NUTS{Hamiltonian: samplers.Hamiltonian{StepSize: constant(0.3)}, MaxDepth: 5}
	},
	"annealed-langevin": func() samplers.Kernel {
		return &samplers.AnnealedLangevin{Langevin: samplers.Langevin{StepSize: constant(0.02)}}
	},
	"parallel-tempering": func() samplers.Kernel { return &samplers.ParallelTempering{StepSize: constant(0.1)} },
	"gradient-descent":   func() samplers.Kernel { return &samplers.GradientDescent{StepSize: constant(0.02)} },
	"nesterov":           func() samplers.Kernel { return &samplers.Nesterov{StepSize: constant(0.005)} },
}

func TestKernelsConform(t *testing.T) {
	for name, kernel := range kernels {
		t.Run(name, func(t *testing.T) {
			if name == "hmc dense" {
				t.Skip("a dense matrix has no reflecting walls; checked in its own tests")
			}
			samplertest.TestKernel(t, kernel)
		})
	}
}

func TestKernelsAllocateNothing(t *testing.T) {
	for name, kernel := range kernels {
		next, stop := stepper(t, samplertest.DoubleWell{D: 8, H: 1, B: 1}, kernel(), samplers.Config{Chains: 1500})
		next()
		require.Zero(t, testing.AllocsPerRun(5, next), name)
		stop()
	}
}

func TestRegistry(t *testing.T) {
	for _, name := range samplers.Names() {
		k, err := samplers.New(name, samplers.Options{})
		require.NoError(t, err)
		res := run(t, samplertest.StandardNormal(2), k, samplers.Config{Chains: 3, Steps: 12, BurnIn: 6})
		require.Equal(t, 12*3, res.Warmup.Moves+res.Sampling.Moves, name)
	}
	_, err := samplers.New("gibbs", samplers.Options{})
	require.ErrorContains(t, err, "langevin, mala, rwm, underdamped, hmc, nuts, annealed-langevin, parallel-tempering, gradient-descent, nesterov")
}

// exactStart is n exact draws.
func exactStart(law samplertest.Exact, n int, seed uint64) []float32 {
	x := make([]float32, n*law.Dim())
	law.Draw(x, rng.NewKey(seed).Sub("exact"))
	return x
}

// The acceptance of MALA at η = ½ℓ²d^{−1/3} tends to 2Φ(−ℓ³/8) (Roberts &
// Rosenthal 1998), that of RWM at ℓ/√d to 2Φ(−ℓ/2) (Roberts, Gelman & Gilks 1997).
func TestOptimalScaling(t *testing.T) {
	const d = 1000
	law := samplertest.StandardNormal(d)
	accept := func(k samplers.Kernel) float64 {
		return run(t, law, k, samplers.Config{Steps: 40, Init: exactStart(law, 50, 1)}).Sampling.Acceptance()
	}
	for _, l := range []float64{1, 1.5, 1.65} {
		k := &samplers.MALA{StepSize: constant(l * l / 2 * math.Pow(d, -1.0/3))}
		require.InDelta(t, math.Erfc(l*l*l/8/math.Sqrt2), accept(k), 0.02, "ℓ = %v", l)
	}
	require.InDelta(t, math.Erfc(2.38/2/math.Sqrt2), accept(&samplers.RWM{StepSize: constant(2.38 / math.Sqrt(d))}), 0.02)
}

func TestStepSizeReachesItsTarget(t *testing.T) {
	target := samplertest.Gaussian{Mean: make([]float64, 10), Std: []float64{.1, 1, 1, 1, 1, 1, 1, 1, 1, 3}}
	for name, k := range map[string]samplers.Kernel{
		"mala": &samplers.MALA{StepSize: constant(1), TargetAccept: 0.574},
		"rwm":  &samplers.RWM{StepSize: constant(0.001), TargetAccept: 0.234},
		"hmc":  &samplers.HMC{Hamiltonian: samplers.Hamiltonian{StepSize: constant(10), TargetAccept: 0.7}, Leapfrogs: 5},
	} {
		res := run(t, target, k, samplers.Config{Chains: 20, Steps: 800, BurnIn: 400, Seed: 1})
		want := map[string]float64{"mala": 0.574, "rwm": 0.234, "hmc": 0.7}[name]
		require.InDelta(t, want, res.Sampling.Acceptance(), 0.05, name)
	}
	k := &samplers.HMC{Hamiltonian: samplers.Hamiltonian{StepSize: constant(0.05)}}
	res := run(t, target, k, samplers.Config{Chains: 2, Steps: 100, BurnIn: 50, Adapt: -1})
	require.Nil(t, res.State.Tuning)
	require.Equal(t, float32(0.05), res.State.StepSize)
}

// For a Gaussian √(var x / var ∂E) is σ² exactly, whatever the draws: x−μ and ∂E
// are proportional.
func TestMassIsLearned(t *testing.T) {
	std := []float64{0.01, 0.1, 1, 10, 100}
	target := samplertest.Gaussian{Mean: []float64{1, -1, 5, 0, 3}, Std: std}
	for name, k := range map[string]samplers.Kernel{
		"hmc":  &samplers.HMC{Leapfrogs: 8, Jitter: 0.5},
		"nuts": &samplers.NUTS{},
	} {
		res := run(t, target, k, samplers.Config{Chains: 4, Steps: 600, BurnIn: 300, Seed: 2})
		for i, v := range res.State.Tuning.Inv {
			require.InEpsilon(t, std[i]*std[i], v, 1e-3, "%s coordinate %d", name, i)
		}
		require.InDelta(t, 0.8, res.Sampling.Acceptance(), 0.15, name)
	}
	dense := run(t, target, &samplers.NUTS{Hamiltonian: samplers.Hamiltonian{DenseMass: true}}, samplers.Config{Chains: 8, Steps: 600, BurnIn: 500, Seed: 2})
	require.Len(t, dense.State.Tuning.Cov, 25)
	for i := range 5 {
		require.InEpsilon(t, std[i]*std[i]+1e-3*5/(8*85+5), dense.State.Tuning.Cov[i*6], 0.6)
	}
}

// Coordinates scaled by powers of two, with the mass scaled to match, give the
// same run to the last bit: x = s·y, M = diag(1/s²).
func TestHMCIsInvariantUnderMass(t *testing.T) {
	std := []float64{0.125, 1, 64}
	plain, scaled := samplertest.StandardNormal(3), samplertest.Gaussian{Mean: make([]float64, 3), Std: std}
	mass := []float32{64, 1, 1.0 / 4096}
	y := exactStart(plain, 100, 1)
	x := append([]float32(nil), y...)
	for i := range x {
		x[i] *= float32(std[i%3])
	}
	for name, make := range map[string]func(h samplers.Hamiltonian) samplers.Kernel{
		"hmc":  func(h samplers.Hamiltonian) samplers.Kernel { return &samplers.HMC{Hamiltonian: h, Leapfrogs: 4} },
		"nuts": func(h samplers.Hamiltonian) samplers.Kernel { return &samplers.NUTS{Hamiltonian: h} },
	} {
		h := samplers.Hamiltonian{StepSize: constant(0.9)}
		want := run(t, plain, make(h), samplers.Config{Steps: 20, Init: y, Adapt: -1})
		h.Mass = mass
		got := run(t, scaled, make(h), samplers.Config{Steps: 20, Init: x, Adapt: -1})
		require.Equal(t, want.Acceptance, got.Acceptance, name)
		for i, v := range want.Final {
			require.Equal(t, v*float32(std[i%3]), got.Final[i], name)
		}
	}
}

// correlated is N(0, AAᵀ) with A lower: E = ½‖A⁻¹x‖².
func correlated(a [4]float64) samplers.Target {
	return samplers.Func(2, func(x, g []float32) float32 {
		y0 := float64(x[0]) / a[0]
		y1 := (float64(x[1]) - a[2]*y0) / a[3]
		if g != nil {
			g[1] = float32(y1 / a[3])
			g[0] = float32((y0 - a[2]*y1/a[3]) / a[0])
		}
		return float32((y0*y0 + y1*y1) / 2)
	})
}

// With M⁻¹ = AAᵀ the run is that on N(0, I), mapped by A.
func TestDenseMassWhitens(t *testing.T) {
	a := [4]float64{2, 0, 3, 0.5}
	sigma := [4]float64{4, 6, 6, 9.25}
	det := sigma[0]*sigma[3] - sigma[1]*sigma[2]
	mass := []float32{float32(sigma[3] / det), float32(-sigma[1] / det), float32(-sigma[2] / det), float32(sigma[0] / det)}
	y := exactStart(samplertest.StandardNormal(2), 50, 3)
	x := make([]float32, len(y))
	for c := range 50 {
		x[2*c] = float32(a[0]) * y[2*c]
		x[2*c+1] = float32(a[2])*y[2*c] + float32(a[3])*y[2*c+1]
	}
	h := samplers.Hamiltonian{StepSize: constant(0.8)}
	want := run(t, samplertest.StandardNormal(2), &samplers.HMC{Hamiltonian: h, Leapfrogs: 3}, samplers.Config{Steps: 5, Init: y})
	h.Mass = mass
	got := run(t, correlated(a), &samplers.HMC{Hamiltonian: h, Leapfrogs: 3}, samplers.Config{Steps: 5, Init: x})
	for c := range 50 {
		require.InDelta(t, a[0]*float64(want.Final[2*c]), got.Final[2*c], 1e-3)
		require.InDelta(t, a[2]*float64(want.Final[2*c])+a[3]*float64(want.Final[2*c+1]), got.Final[2*c+1], 1e-3)
	}
	for _, bad := range [][]float32{{1, 2, 3}, {1, -1}, {1, 2, 2, 1}, {1, 0.5, 0, 1}} {
		_, err := samplers.Run(background, correlated(a), &samplers.HMC{Hamiltonian: samplers.Hamiltonian{Mass: bad}}, samplers.Config{Steps: 1})
		require.ErrorContains(t, err, "mass")
	}
}

// The leapfrog on E = ½q² conserves p²+(1−ε²/4)q².
func TestLeapfrogConserves(t *testing.T) {
	for _, eps := range []float64{0.1, 0.5, 1, 1.9} {
		x, p := []float32{0.8}, []float32{-0.3}
		invariant := func() float64 {
			return float64(p[0])*float64(p[0]) + (1-eps*eps/4)*float64(x[0])*float64(x[0])
		}
		want := invariant()
		for range 100 {
			samplers.Leapfrog(samplertest.StandardNormal(1), x, p, eps)
			require.InDelta(t, want, invariant(), 1e-5*(1+want))
		}
	}
	x, p := []float32{0.8}, []float32{-0.3}
	for range 30 {
		samplers.Leapfrog(samplertest.StandardNormal(1), x, p, 2.1)
	}
	require.Greater(t, math.Abs(float64(x[0])), 1e6, "unstable above ε = 2")
}

// BAOAB on a Gaussian: x has variance T exactly, v variance T(1−h²/4), and they
// are uncorrelated.
func TestBAOABStationaryLaw(t *testing.T) {
	const h, temp, n = 0.9, 1.5, 4000
	var vx, vv, xv []float64
	for seed := range uint64(20) {
		init := exactStart(samplertest.Gaussian{Mean: []float64{0}, Std: []float64{math.Sqrt(temp)}}, n, seed)
		s, err := samplers.NewState(init, 1)
		require.NoError(t, err)
		s.Aux = exactStart(samplertest.Gaussian{Mean: []float64{0}, Std: []float64{math.Sqrt(temp * (1 - h*h/4))}}, n, seed+1000)
		res := run(t, samplertest.StandardNormal(1), &samplers.Underdamped{StepSize: constant(h), Temperature: constant(temp), Friction: constant(0.7)},
			samplers.Config{Steps: 5, Seed: seed, Resume: &samplers.Result{State: s}})
		var a, b, c float64
		for i := range n {
			x, v := float64(res.State.X[i]), float64(res.State.Aux[i])
			a += x * x / n
			b += v * v / n
			c += x * v / n
		}
		vx, vv, xv = append(vx, a), append(vv, b), append(xv, c)
	}
	zWithin(t, temp, vx, "variance of x")
	zWithin(t, temp*(1-h*h/4), vv, "variance of v")
	zWithin(t, 0, xv, "covariance")
}

func TestDescentReachesTheMinimum(t *testing.T) {
	target := samplertest.Gaussian{Mean: []float64{3, -2}, Std: []float64{1, 3}}
	for _, k := range []samplers.Kernel{
		&samplers.GradientDescent{StepSize: constant(0.5)},
		&samplers.Nesterov{StepSize: constant(0.1)},
	} {
		res := run(t, target, k, samplers.Config{Chains: 4, Steps: 400})
		for i, v := range res.Final {
			require.InDelta(t, target.Mean[i%2], v, 1e-4)
		}
	}
	// One step by hand: v = μv − η∇E(x+μv) from v = 0, twice.
	res := run(t, samplertest.StandardNormal(1), &samplers.Nesterov{StepSize: constant(0.1), Momentum: constant(0.5)}, samplers.Config{Steps: 2, Init: []float32{1}})
	require.InDelta(t, 0.9-0.05-0.1*0.85, res.Final[0], 1e-6)
}

// Started in one well of a pair behind a barrier of 8, the replicas carry half
// of the chains over; MALA alone leaves them all where they are.
func TestTemperingCrossesBarriers(t *testing.T) {
	target := samplertest.DoubleWell{D: 1, H: 8, B: 1}
	init := make([]float32, 2000)
	for i := range init {
		init[i] = 1
	}
	crossed := func(k samplers.Kernel) (n int) {
		for _, v := range run(t, target, k, samplers.Config{Steps: 400, Init: init}).Final {
			if v < 0 {
				n++
			}
		}
		return n
	}
	require.Less(t, crossed(&samplers.MALA{StepSize: constant(0.01)}), 100)
	k := &samplers.ParallelTempering{StepSize: constant(0.02), Temperatures: []float64{1, 2, 4, 8}}
	require.InDelta(t, 1000, crossed(k), 5*math.Sqrt(500))
	res := run(t, target, k, samplers.Config{Steps: 50, Init: init})
	require.Equal(t, 50*3*2000/2, res.Sampling.Swaps)
	require.InDelta(t, 0.7, res.Sampling.SwapAcceptance(), 0.2)
}

func TestLogZ(t *testing.T) {
	std := []float64{0.3, 2, 1}
	gauss := samplertest.Gaussian{Mean: []float64{1, -1, 0}, Std: std}
	want := 0.0
	for _, s := range std {
		want += math.Log(s) + math.Log(2*math.Pi)/2
	}
	well := samplertest.DoubleWell{D: 2, H: 2, B: 1}
	for _, method := range samplers.LogZMethods() {
		for seed := range uint64(3) {
			got, err := samplers.EstimateLogZ(background, gauss, samplers.LogZConfig{Method: method, Seed: seed, Chains: 512, Temperatures: 30})
			require.NoError(t, err)
			require.InDelta(t, want, got.LogZ, 5*got.MCSE, method)
			require.Less(t, got.MCSE, 0.1)
			got, err = samplers.EstimateLogZ(background, well, samplers.LogZConfig{Method: method, Seed: seed, Chains: 512, Temperatures: 40})
			require.NoError(t, err)
			require.Len(t, got.Betas, 41)
			require.InDelta(t, well.LogZ(), got.LogZ, 5*got.MCSE, method)
		}
	}
	_, err := samplers.EstimateLogZ(background, gauss, samplers.LogZConfig{Method: "ti"})
	require.ErrorContains(t, err, "ais, smc")
	_, err = samplers.EstimateLogZ(background, gauss, samplers.LogZConfig{Chains: 3})
	require.ErrorContains(t, err, "at least 32")
}

// The error bar is honest: over 20 seeds the z-scores have unit spread.
func TestLogZErrorBars(t *testing.T) {
	well := samplertest.DoubleWell{D: 3, H: 3, B: 1}
	for _, method := range samplers.LogZMethods() {
		sq := 0.0
		for seed := range uint64(20) {
			got, err := samplers.EstimateLogZ(background, well, samplers.LogZConfig{Method: method, Seed: seed, Chains: 256, Temperatures: 20, Leapfrogs: 3})
			require.NoError(t, err)
			z := (got.LogZ - well.LogZ()) / got.MCSE
			sq += z * z
		}
		// χ² with 20 degrees of freedom lies within these with odds 1e-5 each side;
		// islands' t quantiles widen the upper one by 15/13.
		require.Greater(t, sq, 3.5, method)
		require.Less(t, sq, 65.0, method)
	}
}

func BenchmarkHMC(b *testing.B) {
	next, stop := stepper(b, samplertest.StandardNormal(128), &samplers.HMC{}, samplers.Config{Chains: 1024})
	defer stop()
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
}

func BenchmarkNUTS(b *testing.B) {
	next, stop := stepper(b, samplertest.StandardNormal(100), &samplers.NUTS{Hamiltonian: samplers.Hamiltonian{StepSize: constant(0.5)}}, samplers.Config{Chains: 64})
	defer stop()
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
}
