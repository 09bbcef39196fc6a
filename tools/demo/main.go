// Command demo trains an energy on two moons by denoising score matching, samples it by Langevin dynamics and draws the result.
//
//	make demo
//
// It writes two-moons.onnx, samples.npy [chains, 2] in the data's units and demo.png (data, samples and energy side by side), and says
// how good the samples are.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/ebm/train"
	"github.com/onnx-ebm/onnx-ebm/internal/atomicfile"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/diag"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
	"github.com/onnx-ebm/onnx-ebm/tools/internal/picture"
)

// settings of the demo; the flags are for trying others.
type settings struct {
	out                  string
	seed                 uint64
	sigma                float64
	points, steps, batch int
	lr, ema              float64
	chains, langevin     int
	etaFrom, eta         float64
}

const fresh = 10000 // new data points that samples are compared with

func main() {
	var s settings
	flag.StringVar(&s.out, "out", "out", "folder for the results")
	flag.Uint64Var(&s.seed, "seed", 0, "seed of everything random")
	flag.Float64Var(&s.sigma, "sigma", 0.1, "standard deviation of the denoising noise, in units of the data's")
	flag.IntVar(&s.points, "points", 50000, "data points to train on")
	flag.IntVar(&s.steps, "steps", 20000, "training steps")
	flag.IntVar(&s.batch, "batch", 512, "points a step")
	flag.Float64Var(&s.lr, "lr", 3e-3, "learning rate at the start; falls to a hundredth of it")
	flag.Float64Var(&s.ema, "ema", 0.999, "decay of the average of the parameters")
	flag.IntVar(&s.chains, "chains", 4000, "Langevin chains, one sample each")
	flag.IntVar(&s.langevin, "langevin", 3000, "Langevin steps")
	flag.Float64Var(&s.etaFrom, "eta-from", 0.05, "step size at the start")
	flag.Float64Var(&s.eta, "eta", 2e-4, "step size at the end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, s, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	started := time.Now()
	rt, err := runtime.Open(runtime.Options{})
	if err != nil {
		return err
	}
	key := rng.NewKey(s.seed)
	moons, err := data.Open(fmt.Sprintf("two-moons:n=%d", s.points), data.Options{Key: key.Sub("data")})
	if err != nil {
		return err
	}
	defer moons.Close()
	model := filepath.Join(s.out, "two-moons.onnx")
	if err := fit(ctx, rt, moons, s, model, stderr); err != nil {
		return err
	}
	g, err := ebm.ReadFile(model)
	if err != nil {
		return err
	}
	e, err := ebm.New(rt, g, ebm.Options{})
	if err != nil {
		return err
	}
	defer e.Close()
	x, err := draw(ctx, e, moons, s, stderr)
	if err != nil {
		return err
	}
	test, err := moons.(data.Generator).Fresh(fresh, key.Sub("test"))
	if err != nil {
		return err
	}
	if err := write(ctx, e, s, test, x); err != nil {
		return err
	}
	if err := report(ctx, test, x, key, stdout); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s, samples.npy and demo.png are in %s; %.0f s in all\n", filepath.Base(model), s.out, time.Since(started).Seconds())
	return nil
}

// fit trains a 2-128-128-1 SiLU energy of standardised data by denoising score matching and writes it, standardisation included.
func fit(ctx context.Context, rt *runtime.Runtime, moons data.Dataset, s settings, path string, stderr io.Writer) error {
	norm, err := data.Standardize(moons)
	if err != nil {
		return err
	}
	g, err := models.Network("mlp:128,128:act=silu", []int64{2}, rng.NewKey(s.seed).Sub("network"))
	if err != nil {
		return err
	}
	if g, err = models.Standardize(g, narrow(norm.Mean), narrow(norm.Std)); err != nil {
		return err
	}
	e, err := ebm.New(rt, g, ebm.Options{Trainable: true})
	if err != nil {
		return err
	}
	defer e.Close()
	loss, err := losses.New(fmt.Sprintf("dsm:sigma=%g", s.sigma), losses.Options{})
	if err != nil {
		return err
	}
	bar := newBar(stderr, s.steps, "training")
	mean := math.NaN()
	_, err = train.Run(ctx, e, loss, moons, train.Config{
		Steps: s.steps, Batch: s.batch, Seed: s.seed, EMA: s.ema, LogEvery: 100,
		LR: schedule.Cosine{From: s.lr, To: s.lr / 100, Steps: s.steps},
		OnStep: func(p *train.Progress) error {
			if mean = 0.99*mean + 0.01*p.Loss; math.IsNaN(mean) {
				mean = p.Loss
			}
			if p.Step%50 == 0 || p.Step == s.steps {
				bar.Describe(fmt.Sprintf("training  loss %.3f", mean))
				return bar.Set(p.Step)
			}
			return nil
		},
	})
	fmt.Fprintln(stderr)
	if err != nil {
		return err
	}
	return e.Save(path, map[string]string{"onnx-ebm.trained": fmt.Sprintf("dsm:sigma=%g, two-moons, %d steps of %d, adam", s.sigma, s.steps, s.batch)})
}

func narrow(v []float64) []float32 {
	f := make([]float32, len(v))
	for i, x := range v {
		f[i] = float32(x)
	}
	return f
}

// draw runs chains from a Gaussian fitted to the data, with steps that shrink: the last ones are small, since ULA is biased by its step size.
func draw(ctx context.Context, e *ebm.Energy, moons data.Dataset, s settings, stderr io.Writer) ([]float32, error) {
	norm, err := data.Standardize(moons)
	if err != nil {
		return nil, err
	}
	start := make([]float32, 2*s.chains)
	rng.NewKey(s.seed).Sub("start").Normals(start, 0, 0)
	for i := range start {
		start[i] = float32(norm.Mean[i%2] + norm.Std[i%2]*float64(start[i]))
	}
	bar := newBar(stderr, s.langevin, "sampling")
	rate := math.Pow(s.eta/s.etaFrom, 1/(0.7*float64(s.langevin)))
	kernel := &samplers.Langevin{StepSize: schedule.Exponential{From: s.etaFrom, Rate: rate, Min: s.eta}}
	r, err := samplers.Run(ctx, e, kernel, samplers.Config{Chains: s.chains, Steps: s.langevin, Seed: s.seed, Init: start,
		OnProgress: func(done int) { bar.Set(done) }})
	fmt.Fprintln(stderr)
	if err != nil {
		return nil, err
	}
	if n := r.Sampling.RejectedNonFinite; n > 0 {
		fmt.Fprintf(stderr, "%d moves were not finite and were rejected\n", n)
	}
	return r.Final, nil
}

func newBar(w io.Writer, total int, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionSetWidth(30),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("steps"), progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(200*time.Millisecond))
}

// write stages the samples and the picture and puts both in place.
func write(ctx context.Context, e *ebm.Energy, s settings, points, samples []float32) error {
	l := picture.Landscape{Title: "energy E(x)", XMin: -1.8, XMax: 2.8, YMin: -1.3, YMax: 1.8, Columns: 300, Rows: 220}
	in := l.Inputs()
	var err error
	if l.Energy, err = e.Energy(ctx, in, len(in)/2); err != nil {
		return err
	}
	sheet := picture.Sheet{Landscape: l, Clouds: []picture.Points{
		{Name: "data", X: points[:len(samples)], Color: picture.Cycle[0]},
		{Name: "Langevin samples", X: samples, Color: picture.Cycle[1]},
	}}
	var set atomicfile.Set
	defer set.Abort()
	w, err := set.Add(filepath.Join(s.out, "samples.npy"))
	if err != nil {
		return err
	}
	if err := npy.Write(w, npy.Array{Shape: []int{len(samples) / 2, 2}, Data: samples}); err != nil {
		return err
	}
	if w, err = set.Add(filepath.Join(s.out, "demo.png")); err != nil {
		return err
	}
	if err := sheet.WritePNG(w); err != nil {
		return err
	}
	return set.Commit()
}

// report prints the distance of the samples to fresh data beside that of a Gaussian fitted to the data, and the share of each moon.
func report(ctx context.Context, test, x []float32, key rng.Key, w io.Writer) error {
	mmd, err := diag.MMD(ctx, x, test, 2, diag.MMDOptions{})
	if err != nil {
		return err
	}
	same := diag.MMDOptions{Bandwidths: mmd.Bandwidths}
	fit, err := fittedGaussian(test, len(x)/2, key.Sub("gaussian"))
	if err != nil {
		return err
	}
	base, err := diag.MMD(ctx, fit, test, 2, same)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "MMD² of %d samples to %d fresh points: %.2e; of a fitted Gaussian: %.2e, %s\n", len(x)/2, len(test)/2, mmd.Squared, base.Squared, ratio(base.Squared, mmd.Squared))
	fmt.Fprintf(w, "  (unbiased; mean of Gaussian kernels of bandwidth %.3g)\n", mmd.Bandwidths)
	share := data.MoonShares(x)
	fmt.Fprintf(w, "samples in the moons: %.1f %% and %.1f %%\n", 100*share[0], 100*share[1])
	return nil
}

// ratio says how much smaller the samples' distance is; an unbiased estimate of a distance near 0 can be negative.
func ratio(base, mmd float64) string {
	if mmd <= 0 {
		return "the samples' is not distinguishable from 0"
	}
	return fmt.Sprintf("%.0f times the samples'", base/mmd)
}

// fittedGaussian draws n points of the Gaussian with the mean and the covariance of the points.
func fittedGaussian(points []float32, n int, key rng.Key) ([]float32, error) {
	var mx, my, xx, xy, yy float64
	count := float64(len(points) / 2)
	for i := 0; i < len(points); i += 2 {
		mx, my = mx+float64(points[i])/count, my+float64(points[i+1])/count
	}
	for i := 0; i < len(points); i += 2 {
		dx, dy := float64(points[i])-mx, float64(points[i+1])-my
		xx, xy, yy = xx+dx*dx/count, xy+dx*dy/count, yy+dy*dy/count
	}
	a := math.Sqrt(xx)
	b := xy / a
	c := math.Sqrt(yy - b*b)
	z := make([]float32, 2*n)
	key.Normals(z, 0, 0)
	for i := 0; i < len(z); i += 2 {
		u, v := float64(z[i]), float64(z[i+1])
		z[i], z[i+1] = float32(mx+a*u), float32(my+b*u+c*v)
	}
	return z, nil
}
