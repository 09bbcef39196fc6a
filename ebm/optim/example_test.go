package optim_test

import (
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/ebm/optim"
)

// Minimise (p − 3)².
func Example() {
	opt, err := optim.New("adam:beta1=0.5", optim.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	params, grads := []float32{0}, []float32{0}
	for range 300 {
		grads[0] = 2 * (params[0] - 3)
		optim.ClipNorm(grads, 1)
		if err := opt.Step(params, grads, 0.1); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Printf("%.2f\n", params[0])
	// Output: 3.00
}
