package zarr_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/onnx-ebm/onnx-ebm/samplers/diag"
	"github.com/onnx-ebm/onnx-ebm/samplers/diag/zarr"
)

func Example() {
	folder, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)

	// 2 chains of 3 draws of 2 coordinates.
	d := diag.Draws{X: []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, Chains: 2, Draws: 3, Dim: 2}
	tree, err := zarr.Sampled(d, nil, zarr.Stats{Diverging: make([]bool, 6)})
	if err != nil {
		fmt.Println(err)
		return
	}
	path := filepath.Join(folder, "draws.zarr")
	if err := zarr.Write(path, tree); err != nil {
		fmt.Println(err)
		return
	}

	back, err := zarr.Read(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	flat, labels, err := back.Flat()
	fmt.Println(labels, flat.X[2:4], err)
	// Output: [x[0] x[1]] [2 3] <nil>
}
