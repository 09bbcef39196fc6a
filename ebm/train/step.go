package train

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/ebm/optim"
	"github.com/onnx-ebm/onnx-ebm/losses"
)

// step does one update, or skips it. Nothing but the loss's own state changes before the gradient is known to be good.
func (r *runner) step(ctx context.Context) error {
	if keepsState(r.loss) {
		// Half a step would leave its traces there.
		ctx = context.WithoutCancel(ctx)
	}
	err := r.gradient(ctx)
	switch {
	case errors.Is(err, losses.ErrNonFinite):
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return &stepError{err}
	default:
		err = r.clip()
	}
	r.p.NonFinite = err != nil
	if err == nil {
		err = r.update()
		if err != nil {
			return &stepError{err}
		}
	} else if err = r.skip(err); err != nil {
		return &stepError{err}
	}
	r.st.Step++
	r.st.Pending = true
	r.st.Loss = number(r.p.Loss)
	r.p.Step, r.p.Skipped = r.st.Step, r.st.Skipped
	r.p.Epoch = float64(r.st.Step*r.cfg.Accumulate) / float64(r.loader.PerEpoch())
	if r.chains != nil {
		r.p.Chains = r.chains.Take()
	}
	if r.curve.Columns == nil {
		r.curve.start(r.p.Terms, r.chains != nil, r.cfg.Validation != nil, r.classifies())
	}
	r.curve.add(&r.p)
	if !IsAbsent(r.accuracy) {
		r.st.Accuracy, r.p.Accuracy = number(r.accuracy), r.accuracy
		r.curve.set(ColumnAccuracy, r.accuracy)
	}
	return nil
}

// keepsState reports whether a step changes the loss itself before its update, as a replay buffer does.
func keepsState(l losses.Loss) bool {
	if c, ok := losses.As[*losses.Contrastive](l); ok {
		return c.Start == losses.FromBuffer
	}
	_, ok := losses.As[losses.Stateful](l)
	return ok
}

// gradient sets grad, ownGrad and the progress's loss and terms to the means over the step's batches.
func (r *runner) gradient(ctx context.Context) error {
	clear(r.grad)
	clear(r.ownGrad)
	r.p.Loss, r.p.Terms, r.p.GradNorm, r.accuracy = 0, r.p.Terms[:0], absent, absent
	var rows float64
	var right accuracy
	for i := range r.cfg.Accumulate {
		batch, err := r.loader.At(r.st.Step*r.cfg.Accumulate + i)
		if err != nil {
			return fmt.Errorf("train: %w", err)
		}
		n := len(batch.Indices)
		into, weight := r.grad, 1.0
		if r.part != nil {
			clear(r.part)
			into, weight = r.part, float64(n)
		}
		b := losses.Batch{N: n, Dim: r.model.Dim(), X: batch.X}
		res, err := losses.Run(ctx, r.model, r.loss, b, r.key.Derive(uint64(r.st.Step), uint64(i)), into)
		if err != nil && !errors.Is(err, losses.ErrNonFinite) {
			return err
		}
		r.collect(res, weight)
		rows += weight
		if err != nil {
			r.mean(rows)
			return err
		}
		if r.part != nil {
			addScaled(r.grad, r.part, float32(weight))
		}
		if r.measures() {
			if err := right.add(ctx, r, b); err != nil {
				return err
			}
		}
	}
	r.mean(rows)
	r.accuracy = right.share()
	return nil
}

// collect adds a batch's loss, terms and own gradient.
func (r *runner) collect(res losses.Result, weight float64) {
	r.p.Loss += weight * res.Loss
	for i, t := range res.Terms {
		if i == len(r.p.Terms) {
			r.p.Terms = append(r.p.Terms, losses.Term{Name: t.Name})
		}
		r.p.Terms[i].Value += weight * t.Value
	}
	if len(res.Own) == len(r.ownGrad) {
		addScaled(r.ownGrad, res.Own, float32(weight))
	}
}

// mean divides what was collected by the sum of weights.
func (r *runner) mean(rows float64) {
	if r.part == nil {
		return
	}
	r.p.Loss /= rows
	for i := range r.p.Terms {
		r.p.Terms[i].Value /= rows
	}
	for _, g := range [][]float32{r.grad, r.ownGrad} {
		scale := float32(1 / rows)
		for i := range g {
			g[i] *= scale
		}
	}
}

// clip measures the gradient, refuses it if it is not finite, and limits it.
func (r *runner) clip() error {
	limit := r.cfg.ClipNorm
	if limit == 0 {
		limit = math.Inf(1)
	}
	first := limit
	if r.cfg.ClipValue > 0 {
		first = math.Inf(1)
	}
	r.p.GradNorm = optim.ClipNorm(r.grad, first, r.groups...)
	own := optim.ClipNorm(r.ownGrad, math.Inf(1))
	if bad := r.p.GradNorm + own; math.IsNaN(bad) || math.IsInf(bad, 0) {
		return fmt.Errorf("train: %w: the gradient has the norm %g", losses.ErrNonFinite, bad)
	}
	if r.cfg.ClipValue > 0 {
		optim.ClipValue(r.grad, r.cfg.ClipValue)
		optim.ClipNorm(r.grad, limit, r.groups...)
	}
	return nil
}

// update moves the parameters.
func (r *runner) update() error {
	lr, err := rate("learning rate", r.cfg.LR.At(r.st.Step), r.st.Step)
	if err != nil {
		return err
	}
	r.p.LR = lr
	params := r.model.Params()
	if err := r.opt.Step(params, r.grad, lr); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	r.changed()
	if r.ownOpt != nil {
		lr, err := rate("learning rate of the loss's own parameters", r.cfg.OwnLR.At(r.st.Step), r.st.Step)
		if err != nil {
			return err
		}
		if err := r.ownOpt.Step(ownParams(r.loss), r.ownGrad, lr); err != nil {
			return fmt.Errorf("train: %w", err)
		}
	}
	if r.ema == nil {
		return nil
	}
	return r.ema.Update(params)
}

func rate(what string, lr float64, step int) (float64, error) {
	if !(lr >= 0) || math.IsInf(lr, 0) {
		return 0, fmt.Errorf("train: the %s is %g at step %d; it must be a finite number, not negative", what, lr, step)
	}
	return lr, nil
}

// skip counts a step that is not finite, or gives the error that ends the run.
func (r *runner) skip(cause error) error {
	if r.cfg.NonFinite == Stop {
		return fmt.Errorf("step %d: %w; lower the learning rate or the sampler's step size, clip the gradient, or choose to skip such steps", r.st.Step+1, cause)
	}
	r.st.Skipped++
	r.p.LR = r.cfg.LR.At(r.st.Step)
	if r.st.Skipped > r.cfg.SkipLimit {
		return fmt.Errorf("step %d: %w; %d steps were skipped before, which is the limit", r.st.Step+1, cause, r.cfg.SkipLimit)
	}
	r.cfg.Notice(fmt.Sprintf("step %d skipped: %v", r.st.Step+1, cause))
	return nil
}

// addScaled does dst += s·src.
func addScaled(dst, src []float32, s float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] += s * v
	}
}
