package train

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/losses"
)

// validate takes the validation loss and keeps the best parameters.
func (r *runner) validate(ctx context.Context) error {
	v, right, err := r.validation(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &stepError{err}
	}
	r.curve.set(ColumnValidation, v)
	r.curve.set(ColumnValidationAccuracy, right)
	r.st.Validation, r.st.ValidationAccuracy = number(v), number(right)
	r.p.Validated, r.p.Validation, r.p.ValidationAccuracy = true, v, right
	finite := !math.IsNaN(v) && !math.IsInf(v, 0)
	if !finite {
		if r.cfg.NonFinite == Stop {
			return fmt.Errorf("%w: %g in validation", losses.ErrNonFinite, v)
		}
		r.cfg.Notice(fmt.Sprintf("the validation loss after step %d is %g", r.st.Step, v))
	}
	if best := float64(r.st.Best); finite && (IsAbsent(best) || v < best-r.cfg.MinDelta) {
		r.st.Best, r.st.BestStep, r.st.Bad = number(v), r.st.Step, 0
		if r.cfg.Patience > 0 {
			r.st.best = append(r.st.best[:0], r.averaged()...)
		}
	} else {
		r.st.Bad++
		r.st.Stopped = r.cfg.Patience > 0 && r.st.Bad >= r.cfg.Patience
	}
	r.p.Best, r.p.BestStep = float64(r.st.Best), r.st.BestStep
	return nil
}

// averaged are the parameters that are validated and kept: the average where there is one.
func (r *runner) averaged() []float32 {
	if r.ema != nil && r.ema.Average() != nil {
		return r.ema.Average()
	}
	return r.model.Params()
}

// validation is the mean loss over the validation data, with the same noise every time, and the accuracy there. It leaves no traces in the loss.
func (r *runner) validation(ctx context.Context) (loss, right float64, err error) {
	l := r.cfg.ValidationLoss
	if l == nil {
		l = r.loss
	}
	if s, ok := losses.As[losses.Stateful](l); ok {
		before := s.State()
		defer func() { err = errors.Join(err, s.Load(before)) }()
	}
	if r.ema != nil && r.ema.Average() != nil {
		swap := func() error {
			err := r.ema.Swap(r.model.Params())
			r.changed()
			return err
		}
		if err := swap(); err != nil {
			return 0, absent, err
		}
		defer func() { err = errors.Join(err, swap()) }()
	}
	if r.chains != nil {
		step := r.chains.Take()
		defer func() { r.chains.info = step }()
	}
	set := r.cfg.Validation
	n, size := set.Len(), data.Size(set)
	var counted accuracy
	for first := 0; first < n; first += r.cfg.Batch {
		count := min(r.cfg.Batch, n-first)
		r.indices, r.rows = r.indices[:0], append(r.rows[:0], make([]float32, count*size)...)
		for i := range count {
			r.indices = append(r.indices, first+i)
		}
		if err := set.Rows(r.rows, r.indices); err != nil {
			return 0, absent, fmt.Errorf("train: validation data: %w", err)
		}
		b := losses.Batch{N: count, Dim: size, X: r.rows}
		res, err := losses.Run(ctx, r.model, l, b, r.validKey.Derive(uint64(first)), nil)
		if err != nil && !errors.Is(err, losses.ErrNonFinite) {
			return 0, absent, err
		}
		if err != nil && !math.IsNaN(res.Loss) && !math.IsInf(res.Loss, 0) {
			return math.NaN(), absent, nil // the loss hides an energy that is not finite
		}
		loss += float64(count) / float64(n) * res.Loss
		if r.classifies() {
			if err := counted.add(ctx, r, b); err != nil {
				return 0, absent, err
			}
		}
	}
	return loss, counted.share(), nil
}
