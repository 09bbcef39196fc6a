package models

import (
	"maps"
	"math"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// activation is a function of one number as nodes that any ONNX Runtime from 1.16 on has, and its gain: the factor of initial weights
// that keeps the variance from layer to layer (He et al. 2015, Klambauer et al. 2017; values as usual in PyTorch).
type activation struct {
	apply func(b *graphs.Builder, x *graphs.Value) *graphs.Value
	gain  float64
}

func single(op string) func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
	return func(b *graphs.Builder, x *graphs.Value) *graphs.Value { return b.Op(op, nil, x) }
}

var activations = map[string]activation{
	"silu": {silu, math.Sqrt2},
	"gelu": {func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		erf := b.Op("Erf", nil, scale(b, x, math.Sqrt2/2))
		return b.Op("Mul", nil, x, shift(b, scale(b, erf, 0.5), 0.5))
	}, math.Sqrt2},
	"gelu-tanh": {func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		cube := b.Op("Mul", nil, square(b, x), x)
		inner := scale(b, b.Op("Add", nil, x, scale(b, cube, 0.044715)), math.Sqrt(2/math.Pi))
		return b.Op("Mul", nil, x, shift(b, scale(b, b.Op("Tanh", nil, inner), 0.5), 0.5))
	}, math.Sqrt2},
	"softplus": {single("Softplus"), 1},
	"tanh":     {single("Tanh"), 5.0 / 3},
	"sigmoid":  {single("Sigmoid"), 1},
	"elu":      {single("Elu"), 1},
	"selu":     {single("Selu"), 0.75},
	"leaky-relu": {func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		return b.Op("LeakyRelu", graphs.Attrs{"alpha": float32(leak)}, x)
	}, math.Sqrt(2 / (1 + leak*leak))},
	"relu": {single("Relu"), math.Sqrt2},
	"mish": {func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		return b.Op("Mul", nil, x, b.Op("Tanh", nil, b.Op("Softplus", nil, x)))
	}, math.Sqrt2},
	"softsign": {single("Softsign"), 1},
	"sine":     {single("Sin"), math.Sqrt2},
	"none":     {func(_ *graphs.Builder, x *graphs.Value) *graphs.Value { return x }, 1},
}

const leak = 0.2 // slope of leaky-relu below 0, as usual in energy-based image models

// silu is x·σ(x), as two nodes: the op Swish is newer than most runtimes.
func silu(b *graphs.Builder, x *graphs.Value) *graphs.Value {
	return b.Op("Mul", nil, x, b.Op("Sigmoid", nil, x))
}

// Activations lists the names that act= and out= take.
func Activations() []string { return slices.Sorted(maps.Keys(activations)) }
