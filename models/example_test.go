package models_test

import (
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

func ExampleBuiltin() {
	a, err := models.Builtin("builtin:double-well")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(graphs.Print(a.Graph))
	fmt.Printf("log Z = %.6f, std %.4f, %d minima\n", a.LogZ, a.Std, len(a.Minima))
	// Output:
	// graph energy(x float32[N,2])
	//   %0 = Mul(x, x) : float32[N,2]
	//   %1 = Sub(%0, 1) : float32[N,2]
	//   %2 = Mul(%1, %1) : float32[N,2]
	//   %3 = ReduceSum(%2, [-1]) {keepdims=0} : float32[N]
	//   %4 = Mul(%3, 2) : float32[N]
	//   return energy=%4
	// log Z = 0.688476, std [0.9231 0.9231], 4 minima
}

func ExampleNetwork() {
	g, err := models.Network("mlp:64,32:act=silu", []int64{2}, rng.NewKey(0))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range g.Params() {
		fmt.Println(p.Name, p.Shape())
	}
	// Output:
	// layers.0.weight [64,2]
	// layers.0.bias [64]
	// layers.1.weight [32,64]
	// layers.1.bias [32]
	// layers.2.weight [1,32]
	// layers.2.bias [1]
}
