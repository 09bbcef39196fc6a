package graphs

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
)

// Bodies become float32 as well: the running sums, in float16, of a sequence that is float32 outside.
func TestToFloat32ReachesBodies(t *testing.T) {
	state, row, half, sum := input("state", Float16), input("row", Float32), computed("half"), computed("sum")
	body := graphOf([]*Value{state, row}, []*Node{
		{Op: "Cast", In: []*Value{row}, Out: []*Value{half}, Attrs: Attrs{"to": int64(Float16)}},
		{Op: "Add", In: []*Value{state, half}, Out: []*Value{sum}},
	}, sum, sum)
	x, start, last, all := input("x", Float32), computed("start"), computed("last"), computed("all")
	x.Type.Shape = ShapeOf(3, 2)
	g := graphOf([]*Value{x}, []*Node{
		{Op: "Cast", In: []*Value{constantValue(NewTensor([]float32{1, 2}, 2))}, Out: []*Value{start}, Attrs: Attrs{"to": int64(Float16)}},
		{Op: "Scan", In: []*Value{start, x}, Out: []*Value{last, all}, Attrs: Attrs{"body": body, "num_scan_inputs": int64(1)}},
	}, all)
	g, err := Infer(g)
	require.NoError(t, err)

	g, from, err := ToFloat32(g)
	require.NoError(t, err)
	require.Equal(t, []DType{Float16}, from)
	eachNode(g, func(n *Node) {
		for _, v := range append(append([]*Value{}, n.In...), n.Out...) {
			require.Equal(t, Float32, v.Type.DType, "%s of %s", v.Name, n.Op)
		}
	})
	out, err := Evaluate(g, map[string]*Array{"x": Floats([]int{3, 2}, []float64{1, 2, 3, 4, 5, 6})})
	require.NoError(t, err)
	requireArray(t, Floats([]int{3, 2}, []float64{2, 4, 5, 8, 10, 14}), out[g.Outputs[0].Name], 0, 0)
}

// What an upgrade writes has the model's type: Erfc of float16 as 1 − erf.
func TestErfcOfFloat16(t *testing.T) {
	inputs := []*onnxpb.ValueInfo{valueInfo("x", Type{Float16, ShapeOf(3)})}
	g := readProto(t, protoModel(13, inputs, "y", protoNode("Erfc", "x", "y", nil)))
	g, err := Infer(g)
	require.NoError(t, err)
	require.Equal(t, Type{Float16, ShapeOf(3)}, g.Outputs[0].Value.Type)
}
