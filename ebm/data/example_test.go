package data_test

import (
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

func Example() {
	key := rng.NewKey(0)
	moons, err := data.Open("two-moons:n=1000:noise=0.05", data.Options{Key: key.Sub("data")})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer moons.Close()

	steps := 0
	for batch, err := range data.Batches(moons, 128, key.Sub("shuffle"), false) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if batch.Epoch == 1 {
			break
		}
		steps++
	}
	fmt.Println(moons.Len(), moons.Shape(), steps)
	// Output: 1000 [2] 8
}
