package train

import (
	"time"

	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/samplers"
)

// Progress is what is known after a step. It and its slices are overwritten by the next one.
type Progress struct {
	Step, Total int     // steps done, and in all
	Epoch       float64 // passes over the data done
	Loss        float64 // of this step's batches, before the update
	Terms       []losses.Term
	GradNorm    float64 // Euclidean norm of the gradient before clipping
	LR          float64
	Chains      samplers.Info // of this step, where the loss has Chains

	Accuracy  float64 // share of a step's items whose class was the most probable one, at the last step that measured it; absent where the loss sees no classes
	NonFinite bool    // this step was skipped
	Skipped   int     // steps skipped so far

	Validated  bool    // this step ended with a validation
	Validation float64 // loss of the last validation; absent (IsAbsent) before the first
	Best       float64 // lowest validation loss; absent before the first
	BestStep   int

	ValidationAccuracy float64 // share of the validation data, at the last validation

	Rate    float64       // steps a second, since the second step of this process
	ETA     time.Duration // what remains at that rate; 0 if unknown
	Elapsed time.Duration // in this process
}

// Term gives a term of the loss by name.
func (p *Progress) Term(name string) (value float64, ok bool) {
	return losses.Result{Terms: p.Terms}.Term(name)
}

// value is the cell of a column; absent where the step has no such value.
func (p *Progress) value(column string) float64 {
	switch column {
	case ColumnStep:
		return float64(p.Step)
	case ColumnEpoch:
		return p.Epoch
	case ColumnLoss:
		return p.Loss
	case ColumnGradNorm:
		return p.GradNorm
	case ColumnLR:
		return p.LR
	case ColumnAcceptance:
		return p.Chains.Acceptance()
	case ColumnRejected:
		return float64(p.Chains.RejectedNonFinite)
	}
	if v, ok := p.Term(column); ok {
		return v
	}
	return absent
}

// clock measures a run.
type clock struct {
	begin, first time.Time
	from         int // steps done when first was taken
}

func (c *clock) read(p *Progress) {
	now := time.Now()
	p.Elapsed = now.Sub(c.begin)
	if c.first.IsZero() {
		c.first, c.from = now, p.Step
		return
	}
	if took := now.Sub(c.first).Seconds(); took > 0 {
		p.Rate = float64(p.Step-c.from) / took
	}
	if p.Rate > 0 {
		p.ETA = time.Duration(float64(p.Total-p.Step) / p.Rate * float64(time.Second))
	}
}
