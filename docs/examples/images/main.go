// Command images trains convolutional energies of digit-like images twice, by denoising score matching and by persistent contrastive
// divergence, and judges them:
//
//   - samples, written as a grid, by a classifier that was trained on the data: how many it is sure of (p(y | x) ≥ 0.9), and of which class;
//   - the energy as a score of outliers, by the AUROC of new images against uniform noise, against the same images shifted by 4 pixels,
//     and against those turned by 90° that are then unlike every class.
//
// Both learn the density of the images with Gaussian noise added, p_σ = p ∗ N(0, σ²I), which is smooth enough to be walked through by
// Langevin chains. Chains are cooled, and end with a jump to the mean of the images that may lie under the
// noise, x − σ²∇E (Robbins 1956; Saremi & Hyvärinen, JMLR 2019).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

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

// method is one way of training.
type method struct {
	name, loss string
	network    string
	sigma      float64 // of the noise
	noisy      bool    // the data have the noise already; otherwise the loss adds it
	steps      int
	lr         float64
	walk       []stage // of the chains that sample
}

// stage is some steps of a chain at temperatures. A slow cooling lets chains go over to the classes of lowest energy; a quick one after
// some steps at temperature 1 leaves them where they are.
type stage struct {
	steps       int
	temperature schedule.Schedule
}

// The last layer but one sees the whole image: a convolution of 2×2 pixels, or a dense layer, which is half as dear and so lets chains
// take more steps. classes=10 makes E a soft minimum of ten functions, without any labels. PCD has a small buffer, whose chains are
// used again before the energy has moved far, and few steps a call: what counts is how many steps a chain lives and how many updates
// there are.
var methods = []method{
	{
		name: "dsm", loss: "dsm:sigma=0.3", network: "convnet:16,32,64,128:classes=10", sigma: 0.3, steps: 4000, lr: 3e-3,
		walk: []stage{{800, schedule.Exponential{From: 1, Rate: 1 - 6.0/800, Min: 0.5}}},
	},
	{
		name: "pcd", loss: "pcd:k=10:buffer=1000:init=uniform:low=0:high=1", network: "convnet:16,32,64:dense=128:classes=10",
		sigma: 0.25, noisy: true, steps: 4000, lr: 1.5e-3,
		walk: []stage{{800, schedule.Constant{Value: 1}}, {200, schedule.Exponential{From: 1, Rate: 0.97, Min: 0.1}}},
	},
}

// sizes are what a short run makes smaller.
type sizes struct {
	images, classifier, chains, test int
	factor, walk                     float64 // of a method's steps, in training and sampling
}

var (
	full  = sizes{images: 5000, classifier: 300, chains: 500, test: 1000, factor: 1, walk: 1}
	brief = sizes{images: 300, classifier: 10, chains: 20, test: 50, factor: 0.002, walk: 0.0125}
)

func main() {
	short := flag.Bool("short", os.Getenv("ONNX_EBM_SHORT") != "", "a few steps, to see that it runs")
	out := flag.String("out", "out/images", "folder for the results")
	only := flag.String("only", "", "dsm or pcd alone")
	seed := flag.Uint64("seed", 1, "of everything random")
	flag.Parse()
	s := full
	if *short {
		s = brief
	}
	if _, err := run(context.Background(), s, *seed, *out, *only); err != nil {
		log.Fatal(err)
	}
}

// figures are what a method reached.
type figures struct {
	sure    float64        // share of samples with p(y | x) ≥ 0.9
	classes []int          // of these samples
	empty   int            // samples with hardly any ink
	auroc   []outlierScore // of the energy
}

// outlierScore is the AUROC of one kind of outlier.
type outlierScore struct {
	kind  string
	score float64
}

// bench is what both methods are tried on.
type bench struct {
	sizes
	rt    *runtime.Runtime
	key   rng.Key
	judge *classifier
	out   string
}

// run trains the judge and tries the methods, all or only one, and returns their figures by name.
func run(ctx context.Context, s sizes, seed uint64, out, only string) (map[string]figures, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	rt, err := runtime.Open(runtime.Options{})
	if err != nil {
		return nil, err
	}
	b := &bench{sizes: s, rt: rt, key: rng.NewKey(seed), out: out}
	labelled, err := b.strokes(s.images, "train", ":noise=0.1")
	if err != nil {
		return nil, err
	}
	if b.judge, err = trainClassifier(ctx, rt, labelled, s.classifier, b.key.Sub("classifier")); err != nil {
		return nil, err
	}
	test, err := b.strokes(s.test, "test", "")
	if err != nil {
		return nil, err
	}
	if err := b.judge.report(ctx, test); err != nil {
		return nil, err
	}
	reached := map[string]figures{}
	for _, m := range methods {
		if only == "" || only == m.name {
			if reached[m.name], err = b.try(ctx, m); err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
		}
	}
	return reached, nil
}

// strokes opens the set with its own key for training and for testing.
func (b *bench) strokes(n int, purpose, keys string) (data.Labelled, error) {
	ds, err := data.Open(fmt.Sprintf("strokes:n=%d%s", n, keys), data.Options{Key: b.key.Sub(purpose)})
	if err != nil {
		return nil, err
	}
	return ds.(data.Labelled), nil
}

func (b *bench) try(ctx context.Context, m method) (f figures, err error) {
	energy, err := b.train(ctx, m)
	if err != nil {
		return f, err
	}
	defer energy.Close()
	x, err := b.sample(ctx, m, energy)
	if err != nil {
		return f, err
	}
	verdicts, err := b.judge.classify(ctx, x)
	if err != nil {
		return f, err
	}
	f.classes = make([]int, b.judge.classes)
	for _, v := range verdicts {
		if v.confidence >= 0.9 {
			f.sure += 1 / float64(len(verdicts))
			f.classes[v.class]++
		}
	}
	if f.empty, err = b.empty(x); err != nil {
		return f, err
	}
	fmt.Printf("%s: %.1f %% of %d samples have a class with p ≥ 0.9; of each class %v\n", m.name, 100*f.sure, len(verdicts), f.classes)
	fmt.Printf("%s: %d samples have less ink than any image of the set, which the classifier need not notice\n", m.name, f.empty)
	f.auroc, err = b.outliers(ctx, m, energy)
	return f, err
}

// empty counts samples with less ink than the training image that has least.
func (b *bench) empty(x []float32) (int, error) {
	ds, err := b.strokes(b.images, "train", "")
	if err != nil {
		return 0, err
	}
	known, err := data.All(ds)
	if err != nil {
		return 0, err
	}
	d := data.Size(ds)
	ink := func(item []float32) (sum float32) {
		for _, v := range item {
			sum += v
		}
		return sum
	}
	least := ink(known[:d])
	for i := d; i < len(known); i += d {
		least = min(least, ink(known[i:i+d]))
	}
	count := 0
	for i := 0; i < len(x); i += d {
		if ink(x[i:i+d]) < least {
			count++
		}
	}
	return count, nil
}

// train fits the energy and writes it.
func (b *bench) train(ctx context.Context, m method) (*ebm.Energy, error) {
	started := time.Now()
	noise := ""
	if m.noisy {
		noise = fmt.Sprintf(":noise=%g", m.sigma)
	}
	ds, err := b.strokes(b.images, "train", noise)
	if err != nil {
		return nil, err
	}
	g, err := models.Network(m.network, []int64{1, 16, 16}, b.key.Sub("network"))
	if err != nil {
		return nil, err
	}
	energy, err := ebm.New(b.rt, g, ebm.Options{Trainable: true})
	if err != nil {
		return nil, err
	}
	kernel := &samplers.Langevin{StepSize: schedule.Constant{Value: 0.16 * m.sigma * m.sigma}}
	loss, err := losses.New(m.loss, losses.Options{Chains: &train.Chains{Target: energy, Kernel: kernel}})
	if err != nil {
		return nil, err
	}
	steps := int(b.factor * float64(m.steps))
	_, err = train.Run(ctx, energy, loss, ds, train.Config{
		Steps: steps, Batch: 64, EMA: 0.995, Key: b.key.Sub("steps"), LR: schedule.Cosine{From: m.lr, To: m.lr / 50, Steps: steps},
		Log: filepath.Join(b.out, m.name+".csv"), LogEvery: 10,
	})
	if err != nil {
		return nil, errors.Join(err, energy.Close())
	}
	fmt.Printf("%s: %d steps in %.0f s\n", m.name, steps, time.Since(started).Seconds())
	return energy, energy.Save(filepath.Join(b.out, m.name+".onnx"), nil)
}

// sample walks from uniform noise, and jumps.
func (b *bench) sample(ctx context.Context, m method, energy *ebm.Energy) ([]float32, error) {
	d := energy.Dim()
	x, key := make([]float32, b.chains*d), b.key.Sub("walk")
	if err := unit.Sample(x, b.chains, d, b.key.Sub("start")); err != nil {
		return nil, err
	}
	s2 := m.sigma * m.sigma
	for _, w := range m.walk {
		kernel := &samplers.Langevin{StepSize: schedule.Constant{Value: 0.15 * s2}, Temperature: w.temperature}
		r, err := samplers.Run(ctx, energy, kernel, samplers.Config{Init: x, Steps: int(b.walk * float64(w.steps)), Key: key})
		if err != nil {
			return nil, err
		}
		x, key = r.Final, key.Sub("next")
	}
	gradient, err := energy.Gradient(ctx, x, b.chains)
	if err != nil {
		return nil, err
	}
	for i, g := range gradient {
		x[i] -= float32(s2) * g
	}
	f, err := os.Create(filepath.Join(b.out, m.name+".png"))
	if err != nil {
		return nil, err
	}
	grid := data.Grid{Width: 16, Height: 16, Channels: 1, Hi: 1, Images: x[:min(len(x), 200*d)]}
	return x, errors.Join(grid.WritePNG(f), f.Close())
}

// unit is uniform noise of the images' range.
var unit = losses.Uniform{Low: []float64{0}, High: []float64{1}}

// outliers prints the AUROC of each kind of outlier.
func (b *bench) outliers(ctx context.Context, m method, energy *ebm.Energy) (scores []outlierScore, err error) {
	score := func(x []float32) ([]float32, error) { return energy.Energy(ctx, x, len(x)/energy.Dim()) }
	images := func(n int, purpose, keys string) ([]float32, error) {
		ds, err := b.strokes(n, purpose, keys)
		if err != nil {
			return nil, err
		}
		return data.All(ds)
	}
	plain, err := images(b.test, "test", "")
	if err != nil {
		return nil, err
	}
	known, err := images(min(b.images, 2000), "train", "")
	if err != nil {
		return nil, err
	}
	inliers, err := score(plain)
	if err != nil {
		return nil, err
	}
	try := func(kind string, x []float32) error {
		e, err := score(x)
		if err != nil {
			return err
		}
		s := outlierScore{kind, auroc(inliers, e)}
		scores = append(scores, s)
		fmt.Printf("%s: AUROC %-25s %.4f (%d images)\n", m.name, kind, s.score, len(x)/energy.Dim())
		return nil
	}
	noise := make([]float32, len(plain))
	if err := unit.Sample(noise, b.test, energy.Dim(), b.key.Sub("noise")); err != nil {
		return nil, err
	}
	if err := try(uniformNoise, noise); err != nil {
		return nil, err
	}
	for _, c := range []struct{ name, keys string }{
		{"shifted by 4 to the right", "shift=4,0"}, {"to the left", "shift=-4,0"}, {"down", "shift=0,4"}, {"up", "shift=0,-4"},
		{"turned by 90°", "rotate=90"}, {"by −90°", "rotate=-90"},
	} {
		x, err := images(b.test, "test", ":"+c.keys)
		if err != nil {
			return nil, err
		}
		// All but those that look like some image of the set.
		if x = distant(x, plain, known, energy.Dim(), 0.99); len(x) == 0 {
			continue
		}
		if err := try(c.name, x); err != nil {
			return nil, err
		}
	}
	return scores, nil
}

const uniformNoise = "uniform noise"
