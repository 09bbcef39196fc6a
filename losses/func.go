package losses

import (
	"context"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Func makes a loss of two functions. For a loss of the energies of data and negatives, Contrastive.Objective is shorter.
type Func struct {
	Penalty
	Label     string
	PlanFunc  func(ctx context.Context, b Batch, k rng.Key) ([]Query, error)
	ValueFunc func(q []Query, v []Values) (Result, error)
}

// Name is the label.
func (f *Func) Name() string { return f.Label }

// Plan calls PlanFunc.
func (f *Func) Plan(ctx context.Context, b Batch, k rng.Key) ([]Query, error) {
	if err := b.check(f.Label); err != nil {
		return nil, err
	}
	return f.PlanFunc(ctx, b, k)
}

// Value calls ValueFunc.
func (f *Func) Value(q []Query, v []Values) (Result, error) { return f.ValueFunc(q, v) }
