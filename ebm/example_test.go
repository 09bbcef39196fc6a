package ebm_test

import (
	"context"
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers"
)

// An energy on ONNX Runtime: values, gradients, and a thousand Langevin chains.
func Example() {
	ctx := context.Background()
	rt, err := runtime.Open(runtime.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	well, err := models.Builtin("builtin:double-well")
	if err != nil {
		fmt.Println(err)
		return
	}
	e, err := ebm.New(rt, well.Graph, ebm.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	g, err := e.Gradient(ctx, []float32{1, 1, 2, 0}, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g)
	r, err := samplers.Run(ctx, e, &samplers.Langevin{}, samplers.Config{Chains: 1000, Steps: 100})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(r.Final))
}
