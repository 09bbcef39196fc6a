package diag_test

import (
	"context"
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/samplers/diag"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Four chains of 1000 independent draws of N(0, I₂), one of them moved.
func Example() {
	d := diag.Draws{X: make([]float32, 4*1000*2), Chains: 4, Draws: 1000, Dim: 2}
	rng.NewKey(1).Normals(d.X, 0, 0)
	for i := range 1000 {
		d.X[2*i+1] += 0.5
	}
	s, err := diag.Summarize(context.Background(), d, diag.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("R-hat %.2f\n", s.RHat)
	verdict := diag.Judge(diag.Evidence{Summary: s}, diag.Limits{})
	for _, c := range verdict.Checks {
		if c.Status == diag.Failed {
			fmt.Println(c.Reason)
		}
	}
	// Output:
	// R-hat [1.00 1.02]
	// largest R-hat 1.0249, of coordinate 1
	// smallest bulk ESS 154, of coordinate 1
}
