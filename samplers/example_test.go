package samplers_test

import (
	"context"
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

func Example() {
	// E(x) = ½(x−3)²: the normal law N(3, 1).
	target := samplers.Func(1, func(x, g []float32) float32 {
		if g != nil {
			g[0] = x[0] - 3
		}
		return (x[0] - 3) * (x[0] - 3) / 2
	})
	kernel := &samplers.HMC{Hamiltonian: samplers.Hamiltonian{StepSize: schedule.Constant{Value: 0.5}}, Leapfrogs: 3}
	res, err := samplers.Run(context.Background(), target, kernel, samplers.Config{Chains: 2000, Steps: 50, BurnIn: 20, Thin: 10, KeepDraws: true})
	if err != nil {
		panic(err)
	}
	mean := 0.0
	for _, x := range res.Draws {
		mean += float64(x) / float64(len(res.Draws))
	}
	fmt.Printf("%d chains of %d draws, mean %.1f\n", res.N, res.Kept, mean)
	// Output: 2000 chains of 3 draws, mean 3.0
}

func ExampleSteps() {
	kernel, err := samplers.New("gradient-descent", samplers.Options{StepSize: schedule.Constant{Value: 0.5}})
	if err != nil {
		panic(err)
	}
	target := samplers.Func(1, func(x, g []float32) float32 {
		if g != nil {
			g[0] = x[0]
		}
		return x[0] * x[0] / 2
	})
	for s, err := range samplers.Steps(context.Background(), target, kernel, samplers.Config{Init: []float32{8}}) {
		if err != nil {
			panic(err)
		}
		fmt.Print(s.X[0], " ")
		if s.X[0] <= 1 {
			break
		}
	}
	// Output: 4 2 1
}
