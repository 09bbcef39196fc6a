// Command own-loss trains with a loss that the library does not have,
//
//	α·(mean E⁺ − mean E⁻) + β·|mean E⁺ − mean E⁻|
//
// with the library's chains, replay buffer and penalty. Its gradient by E⁺ is (α + β·sign)/N, by E⁻ −(α + β·sign)/M: with 0 < β < α the step is
// larger while data has the higher energy, and smaller where negatives have. The example checks the gradient against differences,
// trains, and says how near to the moons samples are.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"os"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/ebm/train"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// gapLoss is the loss: a contrastive one with persistent chains and a formula of its own.
func gapLoss(alpha, beta float64, chains losses.Negatives) losses.Loss {
	l := losses.NewPCD()
	l.Label, l.Chains, l.EnergyPenalty = "gap", chains, 0.3
	l.Objective = func(pos, neg, dPos, dNeg []float32) float64 {
		gap := mean(pos) - mean(neg)
		slope := alpha + math.Copysign(beta, gap)
		for i := range dPos {
			dPos[i] = float32(slope / float64(len(pos)))
		}
		for i := range dNeg {
			dNeg[i] = float32(-slope / float64(len(neg)))
		}
		return alpha*gap + beta*math.Abs(gap)
	}
	return l
}

func mean(v []float32) float64 {
	sum := 0.0
	for _, e := range v {
		sum += float64(e)
	}
	return sum / float64(len(v))
}

func main() {
	short := flag.Bool("short", os.Getenv("ONNX_EBM_SHORT") != "", "a few steps, to see that it runs")
	flag.Parse()
	steps := 1500
	if *short {
		steps = 20
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
	key := rng.NewKey(0)
	moons, err := data.Open("two-moons:n=10000", data.Options{Key: key.Sub("data")})
	if err != nil {
		return err
	}
	g, err := models.Network("mlp:128,128:act=selu:out=tanh", []int64{2}, key.Sub("network"))
	if err != nil {
		return err
	}
	energy, err := ebm.New(rt, g, ebm.Options{Trainable: true})
	if err != nil {
		return err
	}
	defer energy.Close()
	box := samplers.Box{Lo: -2.5, Hi: 3.5, Mode: samplers.Reflect}
	kernel := &samplers.Langevin{StepSize: schedule.Constant{Value: 0.02}, Temperature: schedule.Constant{Value: 0.2}}
	loss := gapLoss(1, 0.5, &train.Chains{Target: energy, Kernel: kernel, Box: box})

	rows := make([]float32, 128)
	if err := moons.Rows(rows, firstIndices(64)); err != nil {
		return err
	}
	// Negatives at one place keep the gap away from 0, where the loss has a kink that differences cannot see.
	far := make([]float32, 128)
	for i := range far {
		far[i] = 5
	}
	report, err := losses.CheckGradients(ctx, energy, loss, losses.Batch{N: 64, Dim: 2, X: rows, Neg: far, M: 64}, losses.CheckOptions{Sample: 200, Step: 1e-3})
	if err != nil {
		return err
	}
	fmt.Printf("gradient against differences: relative error at most %.1e over %d parameters\n", report.Worst.Error, report.Checked)

	if _, err := train.Run(ctx, energy, loss, moons, train.Config{Steps: steps, ClipNorm: 1, EMA: 0.99, LR: schedule.Cosine{From: 2e-3, To: 1e-5, Steps: steps}}); err != nil {
		return err
	}
	r, err := samplers.Run(ctx, energy, kernel, samplers.Config{Chains: 2000, Box: box, Steps: min(steps, 1000)})
	if err != nil {
		return err
	}
	sum := 0.0
	for i := range r.N {
		_, distance := data.NearestMoon(float64(r.Final[2*i]), float64(r.Final[2*i+1]))
		sum += distance
	}
	fmt.Printf("%d samples: mean distance to the nearest moon %.3f, shares of the moons %.2f\n", r.N, sum/float64(r.N), data.MoonShares(r.Final))
	return nil
}

func firstIndices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
