// Command pcd trains an energy on two moons by persistent contrastive divergence: a SELU network with a tanh at its end, so that
// −1 < E < 1, chains of 10 Langevin steps at a low temperature from a replay buffer, and gradients of norm 1 at most. A penalty on
// E² keeps the tanh from saturating, where chains would find no slope.
//
// It writes moons.onnx, the loss as loss.csv and loss.png, and says how near to the moons samples are.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

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

func main() {
	short := flag.Bool("short", os.Getenv("ONNX_EBM_SHORT") != "", "a few steps, to see that it runs")
	out := flag.String("out", "out/pcd", "folder for the results")
	flag.Parse()
	steps := 1500
	if *short {
		steps = 20
	}
	if err := run(context.Background(), steps, *out); err != nil {
		log.Fatal(err)
	}
}

// An energy within ±1 needs a low temperature to be far from flat, since chains sample exp(−E/T), and it is a density in a box only.
const temperature, lo, hi = 0.2, -2.5, 3.5

func run(ctx context.Context, steps int, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
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

	box := samplers.Box{Lo: lo, Hi: hi, Mode: samplers.Reflect}
	kernel := &samplers.Langevin{StepSize: schedule.Constant{Value: 0.02}, Temperature: schedule.Constant{Value: temperature}}
	x, err := data.All(moons)
	if err != nil {
		return err
	}
	loss, err := losses.New("pcd:k=10:buffer=2048:init=fitted:energy-penalty=0.3", losses.Options{
		Chains: &train.Chains{Target: energy, Kernel: kernel, Box: box}, Data: x, Dim: 2,
	})
	if err != nil {
		return err
	}
	result, err := train.Run(ctx, energy, loss, moons, train.Config{
		Steps: steps, Batch: 256, ClipNorm: 1, EMA: 0.99, LR: schedule.Cosine{From: 2e-3, To: 1e-5, Steps: steps}, Log: filepath.Join(out, "loss.csv"),
	})
	if err != nil {
		return err
	}
	if err := drawLoss(result.Curve, filepath.Join(out, "loss.png")); err != nil {
		return err
	}
	if err := energy.Save(filepath.Join(out, "moons.onnx"), nil); err != nil {
		return err
	}

	r, err := samplers.Run(ctx, energy, kernel, samplers.Config{Chains: 2000, Box: box, Steps: min(steps, 1000)})
	if err != nil {
		return err
	}
	mean := 0.0
	for i := range r.N {
		_, distance := data.NearestMoon(float64(r.Final[2*i]), float64(r.Final[2*i+1]))
		mean += distance / float64(r.N)
	}
	fmt.Printf("%d samples: mean distance to the nearest moon %.3f, shares of the moons %.2f\n", r.N, mean, data.MoonShares(r.Final))
	return nil
}

// drawLoss draws the energies of data and negatives: training goes well while they stay together.
func drawLoss(c *train.Curve, path string) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = "PCD on two moons", "step", "mean energy"
	for i, name := range []string{"pos_energy", "neg_energy"} {
		x, y := c.Column(name)
		points := make(plotter.XYs, len(x))
		for j := range x {
			points[j] = plotter.XY{X: x[j], Y: y[j]}
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return err
		}
		line.Dashes = [][]vg.Length{nil, {2, 2}}[i]
		p.Add(line)
		p.Legend.Add(name, line)
	}
	return p.Save(16*vg.Centimeter, 10*vg.Centimeter, path)
}
