package conformance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
)

const (
	dynamicWidth  = 3
	dynamicHidden = 4
)

// dynamicEnergies have items [T, 3] of open length T.
var dynamicEnergies = map[string]func(b *graphs.Builder, x *graphs.Value, weight weights) *graphs.Value{
	"LSTM": recurrentEnergy("LSTM", 4), "GRU": recurrentEnergy("GRU", 3), "RNN": recurrentEnergy("RNN", 1),
	"Scan": func(b *graphs.Builder, x *graphs.Value, weight weights) *graphs.Value {
		u, v := weight(dynamicHidden, dynamicHidden), weight(dynamicWidth, dynamicHidden)
		body := subgraph(func(b *graphs.Builder, in []*graphs.Value) []*graphs.Value { return elman(b, in[0], in[1], u, v) }, untyped, untyped)
		out := b.Ops("Scan", 2, graphs.Attrs{"body": body, "num_scan_inputs": int64(1), "scan_input_axes": []int64{1}, "scan_input_directions": []int64{1}}, zeroState(b, x), x)
		return stateEnergy(b, out[0], out[1])
	},
	"Loop over an extent": loopEnergy(func(b *graphs.Builder, _ []*graphs.Value) *graphs.Value { return b.Const(graphs.ScalarTensor(true)) }),
	"Loop until":          loopEnergy(func(b *graphs.Builder, in []*graphs.Value) *graphs.Value { return b.Op("Less", nil, in[0], b.Int(1)) }),
	"If": func(b *graphs.Builder, x *graphs.Value, weight weights) *graphs.Value {
		h := b.Op("MatMul", nil, x, weight(dynamicWidth, dynamicHidden))
		long := b.Op("Greater", nil, b.Op("Gather", nil, b.Op("Shape", nil, x), b.Int(1)), b.Int(2))
		y := b.Op("If", graphs.Attrs{
			"then_branch": subgraph(func(b *graphs.Builder, _ []*graphs.Value) []*graphs.Value {
				return []*graphs.Value{b.Op("Swish", nil, h)}
			}),
			"else_branch": subgraph(func(b *graphs.Builder, _ []*graphs.Value) []*graphs.Value {
				return []*graphs.Value{b.Op("Mul", nil, h, h)}
			}),
		}, long)
		return b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(1, 2))
	},
}

// weights makes a parameter of the given extents.
type weights func(dims ...int64) *graphs.Value

var untyped = graphs.Type{DType: graphs.Float32}

// elman is h′ = tanh(hu + sv) and its square.
func elman(b *graphs.Builder, h, s, u, v *graphs.Value) []*graphs.Value {
	next := b.Op("Tanh", nil, b.Op("Add", nil, b.Op("MatMul", nil, h, u), b.Op("MatMul", nil, s, v)))
	return []*graphs.Value{next, b.Op("Mul", nil, next, next)}
}

func zeroState(b *graphs.Builder, x *graphs.Value) *graphs.Value {
	rows := b.Op("Shape", graphs.Attrs{"start": int64(0), "end": int64(1)}, x)
	return b.Op("ConstantOfShape", nil, b.Op("Concat", graphs.Attrs{"axis": int64(0)}, rows, b.Ints(dynamicHidden)))
}

// stateEnergy is the sum of the last state [N, H] and of the results of all steps [T, N, H].
func stateEnergy(b *graphs.Builder, last, results *graphs.Value) *graphs.Value {
	drop := graphs.Attrs{"keepdims": int64(0)}
	return b.Op("Add", nil, b.Op("ReduceSum", drop, last, b.Ints(1)), b.Op("ReduceSum", drop, results, b.Ints(0, 2)))
}

func loopEnergy(going func(b *graphs.Builder, in []*graphs.Value) *graphs.Value) func(*graphs.Builder, *graphs.Value, weights) *graphs.Value {
	return func(b *graphs.Builder, x *graphs.Value, weight weights) *graphs.Value {
		u, v := weight(dynamicHidden, dynamicHidden), weight(dynamicWidth, dynamicHidden)
		body := subgraph(func(b *graphs.Builder, in []*graphs.Value) []*graphs.Value {
			step := b.Op("Gather", graphs.Attrs{"axis": int64(1)}, x, in[0])
			return append([]*graphs.Value{going(b, in)}, elman(b, in[2], step, u, v)...)
		}, graphs.Type{DType: graphs.Int64, Shape: graphs.Shape{}}, graphs.Type{DType: graphs.Bool, Shape: graphs.Shape{}}, untyped)
		trips := b.Op("Gather", nil, b.Op("Shape", nil, x), b.Int(1))
		out := b.Ops("Loop", 2, graphs.Attrs{"body": body}, trips, nil, zeroState(b, x))
		return stateEnergy(b, out[0], out[1])
	}
}

func recurrentEnergy(op string, gates int64) func(*graphs.Builder, *graphs.Value, weights) *graphs.Value {
	return func(b *graphs.Builder, x *graphs.Value, weight weights) *graphs.Value {
		w, r, bias := weight(2, gates*dynamicHidden, dynamicWidth), weight(2, gates*dynamicHidden, dynamicHidden), weight(2, 2*gates*dynamicHidden)
		a := graphs.Attrs{"hidden_size": int64(dynamicHidden), "direction": "bidirectional"}
		y := b.Op(op, a, b.Op("Transpose", graphs.Attrs{"perm": []int64{1, 0, 2}}, x), w, r, bias)
		return b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, y, y), b.Ints(0, 1, 3))
	}
}

func subgraph(build func(b *graphs.Builder, in []*graphs.Value) []*graphs.Value, types ...graphs.Type) *graphs.Graph {
	b := graphs.NewBuilder("body")
	in := make([]*graphs.Value, len(types))
	for i, t := range types {
		in[i] = b.Input(fmt.Sprint("in", i), t.DType, t.Shape)
	}
	var outs []graphs.Output
	for i, v := range build(b, in) {
		outs = append(outs, graphs.Output{Name: fmt.Sprint("out", i), Value: v})
	}
	g, err := b.Graph(outs...)
	if err != nil {
		panic(err)
	}
	return g
}

// inFloat64 evaluates a graph for one item.
func inFloat64(t *testing.T, g *graphs.Graph, item []int64, feeds map[string][]float64) map[string][]float64 {
	arrays := map[string]*graphs.Array{}
	for name, f := range feeds {
		arrays[name] = &graphs.Array{DType: graphs.Float32, Dims: []int{1, int(item[0]), int(item[1])}, F: f}
	}
	out, err := graphs.Evaluate(g, arrays)
	require.NoError(t, err)
	values := map[string][]float64{}
	for name, a := range out {
		values[name] = a.F
	}
	return values
}

// TestDynamicLengths: gradients and Hessian-vector products of energies whose number of steps is known when they run, in ONNX Runtime and by the
// evaluator in float64; the gradient also against differences of the energy.
func TestDynamicLengths(t *testing.T) {
	rt := openRuntime(t)
	for name, build := range dynamicEnergies {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			b := graphs.NewBuilder("dynamic")
			x := b.Input(gradients.X, graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Symbol("T"), graphs.Static(dynamicWidth)})
			params := 0
			e := build(b, x, func(dims ...int64) *graphs.Value {
				size := int64(1)
				for _, d := range dims {
					size *= d
				}
				w := make([]float32, size)
				for i := range w {
					w[i] = float32(r.NormFloat64() / 2)
				}
				params++
				return b.Param(fmt.Sprint("w", params), graphs.NewTensor(w, dims...))
			})
			g, err := b.Graph(graphs.Output{Name: gradients.EnergyName, Value: e})
			require.NoError(t, err)
			if g, err = graphs.Infer(g); err != nil {
				t.Fatal(err)
			}
			d, err := gradients.Derive(g, gradients.Energy|gradients.Gradient|gradients.HVP)
			require.NoError(t, err)
			require.NoError(t, graphs.Check(d))
			for _, steps := range []int{1, 2, 5} {
				item := []int64{int64(steps), dynamicWidth}
				feeds := map[string][]float64{}
				for _, in := range []string{gradients.X, gradients.V} {
					for range steps * dynamicWidth {
						feeds[in] = append(feeds[in], float64(float32(r.NormFloat64())))
					}
				}
				exact := inFloat64(t, d, item, feeds)
				for out, values := range runProgram(t, rt, d, item, feeds) {
					require.InDeltaSlice(t, exact[out], values, 2e-5, "%s, %d steps", out, steps)
				}
				const h = 1e-5
				at := func(step float64) float64 {
					moved := slices.Clone(feeds[gradients.X])
					for i := range moved {
						moved[i] += step * feeds[gradients.V][i]
					}
					return inFloat64(t, g, item, map[string][]float64{gradients.X: moved})[gradients.EnergyName][0]
				}
				along := 0.0
				for i, v := range feeds[gradients.V] {
					along += v * exact[gradients.GradientName][i]
				}
				require.InDelta(t, (at(h)-at(-h))/(2*h), along, 1e-7*max(1, along), "%d steps", steps)
			}
		})
	}
}
