// Command own-sampler runs a sampler that the library does not have, the Barker proposal (Livingstone & Zanella, JRSS B 2022), on an
// energy with known moments, beside MALA. Any samplers.Kernel runs with samplers.Run, draws negatives in train.Chains, and gives the
// same bytes for any number of workers, since all noise comes from the key.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"os"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/diag"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// barker proposes x′ = x + w, where w_j = ±z_j with z ~ N(0, s²) and the sign + with probability 1/(1 + exp(z_j ∂_jE)): steps lean
// downhill, but never overshoot as a gradient step can. x′ is accepted with probability
//
//	min(1, exp(E(x) − E(x′)) Π_j (1 + exp(w_j ∂_jE(x)))/(1 + exp(−w_j ∂_jE(x′)))).
type barker struct {
	Scale float64 // s

	x, e, g []float32 // proposals
	z       []float32
}

// Start makes E and ∇E of the first states valid.
func (b *barker) Start(ctx context.Context, t samplers.Target, s *samplers.State) error {
	if s.Box != (samplers.Box{}) {
		return errors.New("the Barker proposal knows no box")
	}
	if s.EnergyFresh && s.GradientFresh {
		return nil
	}
	if s.E == nil {
		s.E = make([]float32, s.N)
	}
	if s.G == nil {
		s.G = make([]float32, s.N*s.Dim)
	}
	s.EnergyFresh, s.GradientFresh = true, true
	return t.EnergyGradient(ctx, s.X, s.N, s.E, s.G)
}

// Step does one iteration on all chains.
func (b *barker) Step(ctx context.Context, t samplers.Target, s *samplers.State, k rng.Key) (samplers.Info, error) {
	if len(b.x) != len(s.X) {
		b.x, b.g, b.z, b.e = make([]float32, len(s.X)), make([]float32, len(s.X)), make([]float32, len(s.X)), make([]float32, s.N)
	}
	step := uint64(s.Step)
	k.Sub("size").Normals(b.z, step, 0)
	signs := k.Sub("sign")
	for i, z := range b.z {
		w := b.Scale * float64(z)
		if signs.Float64(step, uint64(i)) > 1/(1+math.Exp(w*float64(s.G[i]))) {
			w = -w
		}
		b.x[i] = s.X[i] + float32(w)
	}
	if err := t.EnergyGradient(ctx, b.x, s.N, b.e, b.g); err != nil {
		return samplers.Info{}, err
	}
	info := samplers.Info{Moves: s.N, Gradients: s.N}
	coins := k.Sub("coin")
	for c := range s.N {
		logRatio := float64(s.E[c]) - float64(b.e[c])
		for i := c * s.Dim; i < (c+1)*s.Dim; i++ {
			w := float64(b.x[i]) - float64(s.X[i])
			logRatio += softplus(w*float64(s.G[i])) - softplus(-w*float64(b.g[i]))
		}
		switch {
		case math.IsNaN(logRatio) || math.IsInf(float64(b.e[c]), 0):
			info.RejectedNonFinite++
			continue
		default:
			info.Accepted += math.Min(1, math.Exp(logRatio))
		}
		if math.Log(coins.Float64(step, uint64(c))) < logRatio {
			copy(s.X[c*s.Dim:(c+1)*s.Dim], b.x[c*s.Dim:])
			copy(s.G[c*s.Dim:(c+1)*s.Dim], b.g[c*s.Dim:])
			s.E[c] = b.e[c]
		}
	}
	s.Step++
	return info, nil
}

// softplus is log(1 + exp v).
func softplus(v float64) float64 { return math.Max(v, 0) + math.Log1p(math.Exp(-math.Abs(v))) }

func main() {
	short := flag.Bool("short", os.Getenv("ONNX_EBM_SHORT") != "", "a few steps, to see that it runs")
	flag.Parse()
	steps := 20000
	if *short {
		steps = 200
	}
	if err := run(context.Background(), steps); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, steps int) error {
	rt, err := runtime.Open(runtime.Options{})
	if err != nil {
		return err
	}
	// Coordinates of very different scales, where a gradient step must be small for the narrowest.
	known, err := models.Builtin("builtin:gaussian:dim=4:mean=1,-2,0,3:cov=1,0.01,4,0.25")
	if err != nil {
		return err
	}
	energy, err := ebm.New(rt, known.Graph, ebm.Options{})
	if err != nil {
		return err
	}
	defer energy.Close()
	for _, c := range []struct {
		name   string
		kernel samplers.Kernel
	}{
		{"Barker", &barker{Scale: 0.4}},
		{"MALA", &samplers.MALA{StepSize: schedule.Constant{Value: 0.012}}},
	} {
		r, err := samplers.Run(ctx, energy, c.kernel, samplers.Config{Chains: 8, Steps: steps, BurnIn: steps / 2, KeepDraws: true, Init: make([]float32, 8*4)})
		if err != nil {
			return err
		}
		s, err := diag.Summarize(ctx, diag.Draws{X: r.Draws, Chains: r.N, Draws: r.Kept, Dim: r.Dim}, diag.Options{})
		if err != nil {
			return err
		}
		fmt.Printf("%s, acceptance %.2f\n", c.name, r.Sampling.Acceptance())
		for j := range r.Dim {
			fmt.Printf("  x%d: mean %7.3f ± %.3f (true %4.1f), sd %.3f (true %.1f), effective draws %.0f\n", j, float64(s.Mean[j]), float64(s.MCSE[j]), known.Mean[j],
				float64(s.SD[j]), known.Std[j], float64(s.ESSBulk[j]))
		}
	}
	return nil
}
