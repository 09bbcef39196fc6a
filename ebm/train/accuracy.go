package train

import (
	"context"

	"github.com/onnx-ebm/onnx-ebm/losses"
)

// classifies reports whether the loss sees classes of which the accuracy can be told.
func (r *runner) classifies() bool {
	_, ok := losses.As[losses.Classifier](r.loss)
	_, values := r.model.(losses.Evaluator)
	return ok && values
}

// accuracyEvery is how many steps go by from one accuracy to the next where no log wants it.
const accuracyEvery = 10

// measures reports whether this step's accuracy is told: it costs a gradient of the batch, so only steps that are logged and the last have one.
func (r *runner) measures() bool {
	step, every := r.st.Step+1, r.cfg.LogEvery
	if len(r.logs.outputs) == 0 {
		every = max(every, accuracyEvery)
	}
	return r.classifies() && (step%every == 0 || r.validates(step) || step == r.total)
}

// accuracy is the share of items whose class is the most probable one.
type accuracy struct{ correct, items int }

func (a *accuracy) add(ctx context.Context, r *runner, b losses.Batch) error {
	c, _ := losses.As[losses.Classifier](r.loss)
	correct, err := c.Correct(ctx, r.model.(losses.Evaluator), b)
	a.correct, a.items = a.correct+correct, a.items+b.N
	return err
}

// share is absent where nothing was counted.
func (a *accuracy) share() float64 {
	if a.items == 0 {
		return absent
	}
	return float64(a.correct) / float64(a.items)
}
