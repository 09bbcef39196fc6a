package samplertest_test

import (
	"context"
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/samplertest"
)

func ExampleCounted() {
	target := &samplertest.Counted{Target: samplertest.StandardNormal(2)}
	_, err := samplers.Run(context.Background(), target, &samplers.HMC{Leapfrogs: 5}, samplers.Config{Chains: 3, Steps: 4})
	if err != nil {
		panic(err)
	}
	fmt.Println(target.Gradients, "gradients: 3 at the start, 3×4×5 after")
	// Output: 63 gradients: 3 at the start, 3×4×5 after
}
