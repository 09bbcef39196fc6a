package models

import (
	"fmt"
	"maps"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// Standardize returns E′(x) = E((x − mean)/std), an energy that takes data in its own units. mean and std have one number, or one for
// every coordinate of an item; they are constants of the graph, no parameters. A std that is not positive is an error.
//
// exp(−E′) integrates to Π std times what exp(−E) does.
func Standardize(g *graphs.Graph, mean, std []float32) (*graphs.Graph, error) {
	x, energy := g.Input("x"), g.Output("energy")
	if x == nil || energy == nil || x.Rank() < 2 {
		return nil, fmt.Errorf("models: standardize: the graph is no energy: it needs an input x [N, D…] and an output energy")
	}
	item := x.Shape()[1:]
	inverse := make([]float64, len(std))
	for i, s := range std {
		if !(s > 0) || 1/s == 0 {
			return nil, fmt.Errorf("models: standardize: std %v of coordinate %d is not a positive number", s, i)
		}
		inverse[i] = 1 / float64(s)
	}
	centre := make([]float64, len(mean))
	for i, v := range mean {
		if v-v != 0 {
			return nil, fmt.Errorf("models: standardize: mean %v of coordinate %d is not finite", v, i)
		}
		centre[i] = float64(v)
	}
	b := graphs.NewBuilder(g.Name)
	in := b.Input("x", x.Type.DType, x.Shape())
	for _, v := range g.Inputs {
		if v != x {
			b.AddInput(v)
		}
	}
	shaped := func(what string, v []float64) (*graphs.Value, error) {
		if len(v) == 1 {
			return b.FloatLike(x, v[0]), nil
		}
		if !item.IsStatic() || item.Size() != graphs.Static(int64(len(v))) {
			return nil, fmt.Errorf("models: standardize: %s has %d numbers, but an item is of shape %v", what, len(v), item)
		}
		t, err := graphs.FromFloat64s(x.Type.DType, v, item.Ints()...)
		if err != nil {
			return nil, fmt.Errorf("models: standardize: %w", err)
		}
		return b.Const(t), nil
	}
	mu, err := shaped("mean", centre)
	if err != nil {
		return nil, err
	}
	factor, err := shaped("std", inverse)
	if err != nil {
		return nil, err
	}
	z := b.Op("Mul", nil, b.Op("Sub", nil, in, mu), factor)
	outs := b.Splice(g, map[*graphs.Value]*graphs.Value{x: z})
	for i, o := range g.Outputs {
		if o.Name == "energy" {
			energy = outs[i]
		}
	}
	r, err := b.Graph(graphs.Output{Name: "energy", Value: energy})
	if err != nil {
		return nil, fmt.Errorf("models: standardize: %w", err)
	}
	r.Doc, r.Metadata = g.Doc, maps.Clone(g.Metadata)
	if r.Metadata == nil {
		r.Metadata = map[string]string{}
	}
	r.Metadata[MetadataStandardized] = "true"
	return r, nil
}
