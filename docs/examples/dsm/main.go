// Command dsm trains an energy on two moons by denoising score matching, which needs no chains, and samples it by Langevin dynamics.
// It writes moons.onnx and says how near to the moons samples are.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

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
	out := flag.String("out", "out/dsm", "folder for the results")
	flag.Parse()
	steps := 3000
	if *short {
		steps = 20
	}
	if err := run(context.Background(), steps, *out); err != nil {
		log.Fatal(err)
	}
}

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
	g, err := models.Network("mlp:128,128", []int64{2}, key.Sub("network"))
	if err != nil {
		return err
	}
	energy, err := ebm.New(rt, g, ebm.Options{Trainable: true})
	if err != nil {
		return err
	}
	defer energy.Close()
	loss, err := losses.New("dsm:sigma=0.1", losses.Options{})
	if err != nil {
		return err
	}
	_, err = train.Run(ctx, energy, loss, moons, train.Config{Steps: steps, EMA: 0.99, LR: schedule.Cosine{From: 2e-3, To: 2e-5, Steps: steps}})
	if err != nil {
		return err
	}
	if err := energy.Save(filepath.Join(out, "moons.onnx"), nil); err != nil {
		return err
	}
	// Large steps find the moons, small ones have little bias.
	kernel := &samplers.Langevin{StepSize: schedule.Exponential{From: 0.01, Rate: 0.995, Min: 5e-4}}
	r, err := samplers.Run(ctx, energy, kernel, samplers.Config{Chains: 2000, Steps: steps})
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
