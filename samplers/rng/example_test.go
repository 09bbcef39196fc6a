package rng_test

import (
	"fmt"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Noise does not depend on how a step is cut into pieces.
func Example() {
	key := rng.NewKey(42).Sub("langevin")

	whole := make([]float32, 1000)
	key.Normals(whole, 7, 0)

	parts := make([]float32, 1000)
	key.Normals(parts[:333], 7, 0)
	key.Normals(parts[333:], 7, 333)

	fmt.Println(slices.Equal(whole, parts))
	// Output: true
}

// Ten Langevin steps on E(x) = ‖x‖²/2, whose gradient is x.
func ExampleKey_Langevin() {
	key := rng.NewKey(1)
	x := make([]float32, 4)
	for step := range uint64(10) {
		key.Langevin(x, x, 0.1, 0.4472136, step, 0)
	}
	fmt.Printf("%.3f\n", x)
	// Output: [-1.496 1.214 -1.023 0.095]
}
