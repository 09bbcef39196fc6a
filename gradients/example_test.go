package gradients_test

import (
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/models"
)

// The gradient of a double well as a graph of plain ONNX ops, and its value.
func Example() {
	well, err := models.Builtin("builtin:double-well:dim=1:h=1")
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := gradients.Derive(well.Graph, gradients.Gradient)
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := graphs.Evaluate(g, map[string]*graphs.Array{"x": graphs.Floats([]int{3, 1}, []float64{-2, 0.5, 2})})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.CountNodes(), "nodes")
	fmt.Println(out["gradient"].F)
	// Output:
	// 4 nodes
	// [-24 -1.5 24]
}
