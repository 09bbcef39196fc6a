package graphs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// graphOf wires nodes by value; it sets the producers.
func graphOf(inputs []*Value, nodes []*Node, outs ...*Value) *Graph {
	g := &Graph{Inputs: inputs, Nodes: nodes}
	for _, n := range nodes {
		for _, v := range n.Out {
			v.Node = n
		}
	}
	for _, v := range outs {
		g.Outputs = append(g.Outputs, Output{v.Name, v})
	}
	return g
}

func computed(name string) *Value { return &Value{Name: name} }

func input(name string, dt DType) *Value {
	return &Value{Name: name, Kind: Input, Type: Type{DType: dt}}
}

func constantValue(t *Tensor) *Value {
	return &Value{Kind: Constant, Tensor: t, Type: Type{DType: t.DType, Shape: t.Shape()}}
}

// A branch uses a value computed outside, which is released only after the If.
func TestEvaluateIfCapturesOuterValues(t *testing.T) {
	x, c := input("x", Float64), input("c", Bool)
	doubled, yes, no, y := computed("d"), computed("yes"), computed("no"), computed("y")
	two := constantValue(NewTensor([]float64{2}, 1))
	then := graphOf(nil, []*Node{{Op: "Neg", In: []*Value{doubled}, Out: []*Value{yes}}}, yes)
	other := graphOf(nil, []*Node{{Op: "Mul", In: []*Value{doubled, two}, Out: []*Value{no}}}, no)
	g := graphOf([]*Value{x, c}, []*Node{
		{Op: "Add", In: []*Value{x, x}, Out: []*Value{doubled}},
		{Op: "If", In: []*Value{c}, Out: []*Value{y}, Attrs: Attrs{"then_branch": then, "else_branch": other}},
	}, y)
	for cond, want := range map[int64]float64{1: -6, 0: 12} {
		out, err := Evaluate(g, map[string]*Array{"x": vecF(3), "c": arrB(nil, cond)})
		require.NoError(t, err)
		requireArray(t, vecF(want), out["y"], 0, 0)
	}

	// Alone, a node sees constants only.
	alone := &Node{Op: "If", In: []*Value{c}, Attrs: g.Nodes[1].Attrs}
	_, err := evaluateNode(alone, []*Array{arrB(nil, 1)})
	require.Error(t, err)
}

// A Loop with a captured weight: s ← w·s five times or until s > 20, collecting s.
func TestEvaluateLoop(t *testing.T) {
	s0, w := input("s0", Float64), &Value{Name: "w", Kind: Param, Type: Type{DType: Float64}, Tensor: NewTensor([]float64{3}, 1)}
	i, cond, s := input("i", Int64), input("cond", Bool), input("s", Float64)
	next, low, going := computed("next"), computed("low"), computed("going")
	limit := constantValue(NewTensor([]float64{20}, 1))
	body := graphOf([]*Value{i, cond, s}, []*Node{
		{Op: "Mul", In: []*Value{w, s}, Out: []*Value{next}},
		{Op: "LessOrEqual", In: []*Value{next, limit}, Out: []*Value{low}},
		{Op: "Squeeze", In: []*Value{low}, Out: []*Value{going}},
	}, going, next, next)
	next.Type = Type{DType: Float64, Shape: ShapeOf(1)}
	last, all := computed("last"), computed("all")
	trips := input("trips", Int64)
	g := graphOf([]*Value{s0, trips}, []*Node{
		{Op: "Loop", In: []*Value{trips, nil, s0}, Out: []*Value{last, all}, Attrs: Attrs{"body": body}},
	}, last, all)
	cases := []struct {
		trips     int64
		last, all *Array
	}{
		{5, vecF(27), arrF([]int{3, 1}, 3, 9, 27)},
		{2, vecF(9), arrF([]int{2, 1}, 3, 9)},
		{0, vecF(1), arrF([]int{0, 1})},
	}
	for _, c := range cases {
		out, err := Evaluate(g, map[string]*Array{"s0": vecF(1), "trips": arrI(nil, c.trips)})
		require.NoError(t, err)
		requireArray(t, c.last, out["last"], 0, 0)
		requireArray(t, c.all, out["all"], 0, 0)
	}
	out, err := Evaluate(g, map[string]*Array{"s0": vecF(1), "trips": arrI(nil, 1), "w": vecF(7)})
	require.NoError(t, err)
	requireArray(t, vecF(7), out["last"], 0, 0)
}

// A Scan of running sums, backwards over the second axis of its operand.
func TestEvaluateScan(t *testing.T) {
	acc, el := input("acc", Float64), input("el", Float64)
	next := computed("next")
	body := graphOf([]*Value{acc, el}, []*Node{{Op: "Add", In: []*Value{acc, el}, Out: []*Value{next}}}, next, next)
	n := &Node{Op: "Scan", Attrs: Attrs{"body": body, "num_scan_inputs": int64(1), "scan_input_axes": []int64{1}, "scan_input_directions": []int64{1},
		"scan_output_axes": []int64{-1}, "scan_output_directions": []int64{1}}}
	out, err := evaluateNode(n, []*Array{vecF(0, 0), arrF([]int{2, 3}, 1, 2, 3, 10, 20, 30)})
	require.NoError(t, err)
	requireArray(t, vecF(6, 60), out[0], 0, 0)
	requireArray(t, arrF([]int{2, 3}, 6, 5, 3, 60, 50, 30), out[1], 0, 0)
}

// A Loop whose condition never turns false ends in an error.
func TestEvaluateEndlessLoop(t *testing.T) {
	i, cond := input("i", Int64), input("cond", Bool)
	body := graphOf([]*Value{i, cond}, nil, cond)
	_, err := evaluateNode(&Node{Op: "Loop", Attrs: Attrs{"body": body}}, []*Array{nil, nil})
	require.ErrorContains(t, err, "iterations")
}
