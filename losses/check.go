package losses

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// CheckOptions says how CheckGradients works. Its zero value is useful.
type CheckOptions struct {
	Key    rng.Key // draws of the loss, and which parameters are checked
	Sample int     // check that many parameters, drawn at random; 0: all
	Step   float64 // half width of the difference, times max(1, |θ|); 0 means 5e-3, which suits float32
}

// ParamCheck compares one parameter's gradients.
type ParamCheck struct {
	Index             int // in Params; in OwnParams for the loss's own
	Analytic, Numeric float64
	// Error is |Analytic − Numeric| by the largest of the two and of 1% of the largest gradient seen; infinite where Analytic is not finite.
	Error float64
}

// CheckReport is the outcome of CheckGradients.
type CheckReport struct {
	Checked    int
	Worst      ParamCheck  // largest error
	Own        *ParamCheck // largest error among the loss's own parameters; nil: none
	NoGradient []int       // parameters whose gradient is exactly 0, all of them counted, sampled or not
}

// CheckGradients compares the gradient by the parameters, as Run computes it, with central differences of the loss. Parameters are
// moved and put back. Negatives drawn by the first run are held constant, as the gradient does; a replay buffer moves on by one draw. Losses and energies are float32 inside
// most models: expect errors near 1e-3, and up to 1e-2 for energies that are large or nearly constant.
func CheckGradients(ctx context.Context, m Model, l Loss, b Batch, o CheckOptions) (report CheckReport, err error) {
	theta := m.Params()
	analytic := make([]float32, len(theta))
	res, err := Run(ctx, m, l, b, o.Key, analytic)
	if err != nil {
		return report, err
	}
	if res.Negatives != nil && b.Neg == nil {
		b.Neg, b.M = slices.Clone(res.Negatives), len(res.Negatives)/b.Dim
	}
	var ownStore, ownGradient []float32
	if p, ok := l.(Parametric); ok {
		ownStore, ownGradient = p.OwnParams(), slices.Clone(res.Own)
	}
	for i, g := range analytic {
		if g == 0 {
			report.NoGradient = append(report.NoGradient, i)
		}
	}
	value := func() (float64, error) {
		if n, ok := m.(ParamsNotifier); ok {
			n.ParamsChanged()
		}
		r, err := Run(ctx, m, l, b, o.Key, nil)
		return r.Loss, err
	}
	indices := o.Key.Sub("check").Perm(len(theta), 0)
	if o.Sample > 0 && o.Sample < len(indices) {
		indices = indices[:o.Sample]
	}
	slices.Sort(indices)
	checks, err := differences(theta, analytic, indices, o.Step, value)
	if err != nil {
		return report, err
	}
	report.Checked, report.Worst = len(checks), worst(checks)
	if len(ownStore) > 0 {
		all := make([]int, len(ownStore))
		for i := range all {
			all[i] = i
		}
		checks, err := differences(ownStore, ownGradient, all, o.Step, value)
		if err != nil {
			return report, err
		}
		w := worst(checks)
		report.Own = &w
	}
	return report, nil
}

// differences gives central differences of value at the parameters named, which are put back.
func differences(store, analytic []float32, indices []int, step float64, value func() (float64, error)) ([]ParamCheck, error) {
	if step == 0 {
		step = 5e-3
	}
	checks := make([]ParamCheck, 0, len(indices))
	for _, i := range indices {
		old := store[i]
		h := float32(step * math.Max(1, math.Abs(float64(old))))
		at := func(v float32) (float64, error) {
			store[i] = v
			return value()
		}
		up, err := at(old + h)
		if err == nil {
			var down float64
			down, err = at(old - h)
			// The width is what float32 made of it.
			width := float64(old+h) - float64(old-h)
			checks = append(checks, ParamCheck{Index: i, Analytic: float64(analytic[i]), Numeric: (up - down) / width})
		}
		store[i] = old
		if err != nil {
			return nil, fmt.Errorf("losses: checking parameter %d: %w", i, err)
		}
	}
	_, err := value() // lets the model see the parameters put back
	return checks, err
}

// worst fills in the errors and gives the largest.
func worst(checks []ParamCheck) (w ParamCheck) {
	var scale float64
	for _, c := range checks {
		if finite(c.Analytic) {
			scale = math.Max(scale, math.Max(math.Abs(c.Analytic), math.Abs(c.Numeric)))
		}
	}
	for i, c := range checks {
		if !finite(c.Analytic) {
			c.Error = math.Inf(1)
		} else if largest := math.Max(math.Max(math.Abs(c.Analytic), math.Abs(c.Numeric)), 0.01*scale); largest > 0 {
			c.Error = math.Abs(c.Analytic-c.Numeric) / largest
		}
		if i == 0 || c.Error > w.Error {
			w = c
		}
	}
	return w
}
