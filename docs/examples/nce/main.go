// Command nce trains an energy on eight Gaussians by noise-contrastive estimation against a Gaussian fitted to the data. It learns
// log Z too, so that −E(x) − log Z is a log-density; the example compares it with log ∫exp(−E) by quadrature, and the mean
// log-density of new data with that of the Gaussians themselves.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/ebm/train"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

func main() {
	short := flag.Bool("short", os.Getenv("ONNX_EBM_SHORT") != "", "a few steps, to see that it runs")
	out := flag.String("out", "out/nce", "folder for the results")
	flag.Parse()
	steps := 4000
	if *short {
		steps = 20
	}
	if err := run(context.Background(), steps, *out); err != nil {
		log.Fatal(err)
	}
}

const std = 0.3 // of each Gaussian; they lie on a circle of radius 2

func run(ctx context.Context, steps int, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	rt, err := runtime.Open(runtime.Options{})
	if err != nil {
		return err
	}
	key := rng.NewKey(0)
	ds, err := data.Open(fmt.Sprintf("eight-gaussians:n=20000:std=%g", std), data.Options{Key: key.Sub("data")})
	if err != nil {
		return err
	}
	x, err := data.All(ds)
	if err != nil {
		return err
	}
	g, err := models.Network("mlp:64,64", []int64{2}, key.Sub("network"))
	if err != nil {
		return err
	}
	energy, err := ebm.New(rt, g, ebm.Options{Trainable: true})
	if err != nil {
		return err
	}
	defer energy.Close()
	noise, err := losses.FitGaussian(x, ds.Len(), 2)
	if err != nil {
		return err
	}
	loss := &losses.NCE{Noise: noise, Nu: 2}
	_, err = train.Run(ctx, energy, loss, ds, train.Config{Steps: steps, EMA: 0.99, LR: schedule.Cosine{From: 3e-3, To: 1e-5, Steps: steps}})
	if err != nil {
		return err
	}
	if err := energy.Save(filepath.Join(out, "gaussians.onnx"), map[string]string{"log_z": fmt.Sprint(loss.LogZ())}); err != nil {
		return err
	}

	quadrature, err := logIntegral(ctx, energy)
	if err != nil {
		return err
	}
	fmt.Printf("log Z: learned %.3f, by quadrature %.3f\n", loss.LogZ(), quadrature)
	fresh, err := ds.(data.Generator).Fresh(10000, key.Sub("test"))
	if err != nil {
		return err
	}
	e, err := energy.Energy(ctx, fresh, len(fresh)/2)
	if err != nil {
		return err
	}
	model, truth := 0.0, 0.0
	for i, v := range e {
		model += (-float64(v) - loss.LogZ()) / float64(len(e))
		truth += logDensity(float64(fresh[2*i]), float64(fresh[2*i+1])) / float64(len(e))
	}
	fmt.Printf("mean log-density of new data: learned %.3f, true %.3f\n", model, truth)
	return nil
}

// logIntegral is log ∫exp(−E) over [−6, 6]² by the midpoint rule.
func logIntegral(ctx context.Context, energy *ebm.Energy) (float64, error) {
	const side, half = 400, 6.0
	cell := 2 * half / side
	x := make([]float32, 0, 2*side*side)
	for i := range side {
		for j := range side {
			x = append(x, float32(-half+cell*(float64(i)+0.5)), float32(-half+cell*(float64(j)+0.5)))
		}
	}
	e, err := energy.Energy(ctx, x, side*side)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, v := range e {
		sum += math.Exp(-float64(v)) * cell * cell
	}
	return math.Log(sum), nil
}

// logDensity is that of the set.
func logDensity(x, y float64) float64 {
	p := 0.0
	for k := range 8 {
		sin, cos := math.Sincos(math.Pi / 4 * float64(k))
		dx, dy := x-2*cos, y-2*sin
		p += math.Exp(-(dx*dx+dy*dy)/(2*std*std)) / (8 * 2 * math.Pi * std * std)
	}
	return math.Log(p)
}
