// Command jem fine-tunes a classifier from an ONNX file as a joint energy-based model (Grathwohl et al., ICLR 2020): its logits f define
// p(x, y) ∝ exp(f_y(x)), so that p(y | x) is the classifier and E(x) = −log Σ exp f_y(x) the energy of its inputs.
//
// The example first makes such a file, classifier.onnx, a network that tells the eight Gaussians of a set apart and knows nothing of
// where they are. Then it imports the file, maximises log p(x, y) by persistent chains in x, and compares before and after: accuracy,
// and how near to a Gaussian samples of p(x | y) are and whether they lie at the one that was asked for.
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
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

const (
	d, classes = 2, 8
	std        = 0.2 // of each Gaussian
	eta        = 0.01
)

func main() {
	short := flag.Bool("short", os.Getenv("ONNX_EBM_SHORT") != "", "a few steps, to see that it runs")
	out := flag.String("out", "out/jem", "folder for the results")
	flag.Parse()
	steps := 2000
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
	ds, err := data.Open(fmt.Sprintf("eight-gaussians:n=8000:std=%g", std), data.Options{Key: key.Sub("data")})
	if err != nil {
		return err
	}
	x, err := data.All(ds)
	if err != nil {
		return err
	}
	test, err := ds.(data.Generator).Fresh(4000, key.Sub("test"))
	if err != nil {
		return err
	}
	path := filepath.Join(out, "classifier.onnx")
	if err := writeClassifier(ctx, rt, x, steps/4, path, key); err != nil {
		return err
	}

	// From here on, the file could be anybody's.
	classifier, _, err := graphs.ReadFile(path)
	if err != nil {
		return err
	}
	energy, err := jointEnergy(rt, classifier)
	if err != nil {
		return err
	}
	defer energy.Close()
	if err := report(ctx, "before", energy, test, key); err != nil {
		return err
	}
	// −log p(x, y) up to a constant is E(x, y alone) less its mean over the model's own x with all classes: PCD on joint items.
	loss := losses.NewPCD()
	loss.Buffer = &losses.ReplayBuffer{Size: 4000, Reinit: 0.05, Init: losses.Uniform{Low: []float64{-3}, High: []float64{3}}}
	loss.Chains = &train.Chains{Target: energy, Kernel: &samplers.Langevin{StepSize: schedule.Constant{Value: eta}}, Hold: make([]float32, classes)}
	loss.Steps = 20
	labelled, err := data.NewMemory([]int{d + classes}, withLabels(x))
	if err != nil {
		return err
	}
	_, err = train.Run(ctx, energy, loss, labelled, train.Config{Steps: steps, Batch: 128, ClipNorm: 10, EMA: 0.99, LR: schedule.Cosine{From: 1e-3, To: 1e-5, Steps: steps}})
	if err != nil {
		return err
	}
	if err := report(ctx, "after", energy, test, key); err != nil {
		return err
	}
	return energy.Save(filepath.Join(out, "joint.onnx"), nil)
}

// jointEnergy is E(x, t) = −log Σ exp(f + t) of a classifier, items [d + classes].
func jointEnergy(rt *runtime.Runtime, classifier *graphs.Graph) (*ebm.Energy, error) {
	g, err := models.Joint(classifier)
	if err != nil {
		return nil, err
	}
	return ebm.New(rt, g, ebm.Options{Trainable: true})
}

// writeClassifier trains a network by cross-entropy, −log p(y | x) = E(x, y alone) − E(x, all classes), and writes x → logits.
func writeClassifier(ctx context.Context, rt *runtime.Runtime, x []float32, steps int, path string, key rng.Key) error {
	logits, err := models.Classifier(fmt.Sprintf("mlp:64,64:classes=%d", classes), []int64{d}, key.Sub("network"))
	if err != nil {
		return err
	}
	energy, err := jointEnergy(rt, logits)
	if err != nil {
		return err
	}
	defer energy.Close()
	labelled, err := data.NewMemory([]int{d + classes}, withLabels(x))
	if err != nil {
		return err
	}
	// The same rows without their labels are the negatives, and the means of both energies are compared.
	loss := losses.NewCD()
	loss.Label, loss.Chains = "cross-entropy", unlabelled{}
	if _, err := train.Run(ctx, energy, loss, labelled, train.Config{Steps: steps, Batch: 128, LR: schedule.Constant{Value: 1e-3}}); err != nil {
		return err
	}
	for _, p := range logits.Params() {
		trained, ok := energy.Store().Lookup(p.Name)
		if !ok {
			return fmt.Errorf("no parameter %s", p.Name)
		}
		p.Tensor = graphs.NewTensor(energy.Store().Of(trained), p.Tensor.Dims...)
	}
	return graphs.WriteFile(path, logits, graphs.WriteOptions{})
}

// unlabelled gives as negatives the data themselves with no class ruled out.
type unlabelled struct{}

func (unlabelled) Draw(_ context.Context, start []float32, n, dim, _ int, _ rng.Key) ([]float32, error) {
	for i := range n {
		clear(start[i*dim+d : (i+1)*dim])
	}
	return start, nil
}

// nearest is the Gaussian nearest to a point, and the distance to its mean.
func nearest(x, y float64) (class int, distance float64) {
	class = int(math.Round(math.Atan2(y, x)/(math.Pi/4))+classes) % classes
	sin, cos := math.Sincos(math.Pi / 4 * float64(class))
	return class, math.Hypot(x-2*cos, y-2*sin)
}

// withLabels makes joint items of points: each with the weights of its class alone.
func withLabels(x []float32) []float32 {
	var out []float32
	t := make([]float32, classes)
	for i := 0; i < len(x); i += d {
		class, _ := nearest(float64(x[i]), float64(x[i+1]))
		models.OnlyClass(t, class)
		out = append(append(out, x[i], x[i+1]), t...)
	}
	return out
}

// report tells the accuracy on points, and how samples of every class fare.
func report(ctx context.Context, when string, energy *ebm.Energy, test []float32, key rng.Key) error {
	n, row := len(test)/d, d+classes
	items := withLabels(test)
	for i := range n {
		clear(items[i*row+d : (i+1)*row])
	}
	g, err := energy.Gradient(ctx, items, n)
	if err != nil {
		return err
	}
	right := 0
	for i := range n {
		class, _ := nearest(float64(test[i*d]), float64(test[i*d+1]))
		best := 0
		for k := range classes {
			// p(k | x) = −∂E/∂t_k at t = 0
			if g[i*row+d+k] < g[i*row+d+best] {
				best = k
			}
		}
		if best == class {
			right++
		}
	}
	const chains = 100
	there, distance := 0.0, 0.0
	for class := range classes {
		t := make([]float32, classes)
		models.OnlyClass(t, class)
		start := make([]float32, chains*d)
		if err := (losses.Uniform{Low: []float64{-3}, High: []float64{3}}).Sample(start, chains, d, key.Derive(uint64(class))); err != nil {
			return err
		}
		kernel := &samplers.Langevin{StepSize: schedule.Constant{Value: eta}}
		r, err := samplers.Run(ctx, samplers.Hold(energy, t), kernel, samplers.Config{Init: start, Steps: 1000, Key: key.Sub("samples").Derive(uint64(class))})
		if err != nil {
			return err
		}
		for i := range chains {
			at, far := nearest(float64(r.Final[i*d]), float64(r.Final[i*d+1]))
			if at == class {
				there += 1.0 / (chains * classes)
			}
			distance += far / (chains * classes)
		}
	}
	fmt.Printf("%-6s accuracy %.4f; samples of p(x | y): mean distance to the nearest Gaussian %.2f (the data's: %.2f), %.0f %% at that of y\n",
		when, float64(right)/float64(n), distance, std*math.Sqrt(math.Pi/2), 100*there)
	return nil
}
