package main

import (
	"context"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/ebm/train"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// classifier tells classes apart. It is the joint energy of an item and weights t of classes: log p(y | x) = E(x, 0) − E(x, t_y).
type classifier struct {
	energy     *ebm.Energy
	d, classes int
}

// trainClassifier fits a small convolutional network to labelled items by cross-entropy.
func trainClassifier(ctx context.Context, rt *runtime.Runtime, ds data.Labelled, steps int, key rng.Key) (*classifier, error) {
	shape := ds.Shape()
	item := []int64{int64(shape[0]), int64(shape[1]), int64(shape[2])}
	logits, err := models.Classifier("convnet:16,32:act=relu:classes=10", item, key)
	if err != nil {
		return nil, err
	}
	g, err := models.Joint(logits)
	if err != nil {
		return nil, err
	}
	energy, err := ebm.New(rt, g, ebm.Options{Trainable: true})
	if err != nil {
		return nil, err
	}
	c := &classifier{energy, data.Size(ds), ds.Classes()}
	x, err := data.All(ds)
	if err != nil {
		return nil, err
	}
	labelled, err := data.NewMemory([]int{energy.Dim()}, c.items(x, ds.Labels()))
	if err != nil {
		return nil, err
	}
	_, err = train.Run(ctx, energy, c.crossEntropy(), labelled, train.Config{
		Steps: steps, Batch: 128, Key: key, LR: schedule.Cosine{From: 3e-3, To: 1e-4, Steps: steps},
	})
	return c, err
}

// items appends to each row of x the weights that keep its label alone, or none where labels is nil.
func (c *classifier) items(x []float32, labels []int) []float32 {
	n, row := len(x)/c.d, c.d+c.classes
	out := make([]float32, n*row)
	for i := range n {
		copy(out[i*row:], x[i*c.d:(i+1)*c.d])
		if labels != nil {
			models.OnlyClass(out[i*row+c.d:(i+1)*row], labels[i])
		}
	}
	return out
}

// crossEntropy is −mean log p(y | x) = mean E(x, t_y) − mean E(x, 0): the items as they are against the items without their labels.
func (c *classifier) crossEntropy() losses.Loss {
	return &losses.Func{
		Label: "cross-entropy",
		PlanFunc: func(_ context.Context, b losses.Batch, _ rng.Key) ([]losses.Query, error) {
			both := append(make([]float32, 0, 2*len(b.X)), b.X...)
			both = append(both, b.X...)
			for i := b.N; i < 2*b.N; i++ {
				clear(both[i*b.Dim+c.d : (i+1)*b.Dim])
			}
			return []losses.Query{{N: 2 * b.N, X: both, Want: losses.WantEnergy}}, nil
		},
		ValueFunc: func(q []losses.Query, v []losses.Values) (losses.Result, error) {
			n := q[0].N / 2
			ct := make([]float32, 2*n)
			sum := 0.0
			for i := range n {
				sum += float64(v[0].E[i]) - float64(v[0].E[n+i])
				ct[i], ct[n+i] = 1/float32(n), -1/float32(n)
			}
			return losses.Result{Loss: sum / float64(n), Cotangents: []losses.Values{{E: ct}}}, nil
		},
	}
}

// verdict is the most likely class of an item and its probability.
type verdict struct {
	class      int
	confidence float64
}

// classify tells the class of each row of x: p(· | x) is −∂E/∂t at t = 0.
func (c *classifier) classify(ctx context.Context, x []float32) ([]verdict, error) {
	n, row := len(x)/c.d, c.d+c.classes
	g, err := c.energy.Gradient(ctx, c.items(x, nil), n)
	if err != nil {
		return nil, err
	}
	out := make([]verdict, n)
	for i := range out {
		best := verdict{confidence: math.Inf(-1)}
		for k, p := range g[i*row+c.d : (i+1)*row] {
			if -float64(p) > best.confidence {
				best = verdict{k, -float64(p)}
			}
		}
		out[i] = best
	}
	return out, nil
}

// report tells how many items of a set the classifier knows.
func (c *classifier) report(ctx context.Context, ds data.Labelled) error {
	x, err := data.All(ds)
	if err != nil {
		return err
	}
	verdicts, err := c.classify(ctx, x)
	if err != nil {
		return err
	}
	right, sure := 0, 0
	for i, v := range verdicts {
		if v.class == ds.Labels()[i] {
			right++
		}
		if v.confidence >= 0.9 {
			sure++
		}
	}
	n := float64(len(verdicts))
	fmt.Printf("classifier: %.1f %% of new images right, sure of %.1f %%\n", 100*float64(right)/n, 100*float64(sure)/n)
	return nil
}
