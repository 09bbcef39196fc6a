package graphs_test

import (
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// E(x) = ½‖x‖² as a graph, printed and evaluated in float64.
func Example() {
	b := graphs.NewBuilder("energy")
	x := b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(2)})
	sum := b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, x, x), b.Ints(1))
	g, err := b.Graph(graphs.Output{Name: "energy", Value: b.Op("Mul", nil, sum, b.Float(0.5))})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(graphs.Print(g))
	out, err := graphs.Evaluate(g, map[string]*graphs.Array{"x": graphs.Floats([]int{2, 2}, []float64{1, 0, 3, 4})})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(out["energy"].F)
	// Output:
	// graph energy(x float32[N,2])
	//   %0 = Mul(x, x) : float32[N,2]
	//   %1 = ReduceSum(%0, [1]) {keepdims=0} : float32[N]
	//   %2 = Mul(%1, 0.5) : float32[N]
	//   return energy=%2
	// [0.5 12.5]
}
