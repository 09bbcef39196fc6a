package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/ebm/optim"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Reason says why a run ended without an error.
type Reason string

// Reasons.
const (
	Finished     Reason = "finished"       // all steps are done
	EarlyStopped Reason = "early stopping" // Patience ran out
	Told         Reason = "told to stop"   // OnStep returned ErrStop
)

// Result is what a run came to.
type Result struct {
	Reason     Reason
	Steps      int     // done
	Total      int     // asked for
	Skipped    int     // of these
	Loss       float64 // of the last step
	Validation float64 // last validation loss; absent (IsAbsent) where there was none
	Best       float64 // lowest validation loss
	BestStep   int
	Curve      *Curve

	Accuracy, ValidationAccuracy float64 // shares of items whose class was the most probable one, the last ones measured; absent where the loss sees no classes
}

// Run trains the parameters of m in place. In the end they are, in this order of preference, the best by validation loss (Patience),
// the average (EMA), the last.
//
// When ctx ends, a checkpoint is written (if there is a folder for it), the parameters are those of the last step, and the error
// wraps that of ctx; the result so far comes with it, as with every error after the first step. A contrastive loss with a replay
// buffer finishes its step first.
func Run(ctx context.Context, m Model, l losses.Loss, ds data.Dataset, cfg Config) (*Result, error) {
	r, err := newRunner(m, l, ds, cfg)
	if err != nil {
		return nil, err
	}
	defer r.logs.close()
	if err := r.restore(); err != nil {
		return nil, err
	}
	reason, err := r.loop(ctx)
	if closing := r.logs.close(); err == nil {
		err = closing
	}
	res := r.result(reason)
	if err != nil {
		return res, err
	}
	return res, r.settle()
}

// runner is one call of Run.
type runner struct {
	cfg    Config
	model  Model
	loss   losses.Loss
	data   data.Dataset
	loader *data.Loader
	chains *Chains

	groups     optim.Groups
	opt        optim.Optimizer
	ownOpt     *optim.Adam
	ema        *optim.EMA
	key        rng.Key // of the losses' draws
	validKey   rng.Key
	total      int
	validEvery int
	settings   map[string]string

	grad, part, ownGrad []float32
	accuracy            float64 // of the step at hand; absent where it is not measured
	indices             []int   // of a validation batch
	rows                []float32

	st    state
	curve Curve
	p     Progress
	clock clock
	logs  logs
	saved int // step of the last checkpoint, −1: none
}

// state is what a checkpoint holds beside vectors.
type state struct {
	Step    int
	Skipped int
	Pending bool // the last row of the curve still lacks its validation and its log entry
	Stopped bool // by early stopping
	Bad     int  // validations in a row that were no better

	BestStep               int
	Best, Validation, Loss number

	Accuracy, ValidationAccuracy number
	best                         []float32 // parameters
}

func newRunner(m Model, l losses.Loss, ds data.Dataset, cfg Config) (*runner, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if n := data.Size(ds); n != m.Dim() {
		return nil, fmt.Errorf("train: the data have items of %v, %d values; the energy takes %d", ds.Shape(), n, m.Dim())
	}
	if v := cfg.Validation; v != nil && data.Size(v) != m.Dim() {
		return nil, fmt.Errorf("train: the validation data have items of %v, %d values; the energy takes %d", v.Shape(), data.Size(v), m.Dim())
	}
	r := &runner{
		cfg: cfg, model: m, loss: l, data: ds, chains: chainsOf(l),
		key: cfg.Key.Sub("loss"), validKey: cfg.Key.Sub("validation"),
		st: state{
			Best: number(absent), Validation: number(absent), Loss: number(absent), Accuracy: number(absent), ValidationAccuracy: number(absent),
		},
		saved: -1,
	}
	if r.loader, err = data.NewLoader(ds, cfg.Batch, cfg.Key.Sub("order"), cfg.DropLast); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	if r.groups, err = cfg.groups(m.Store()); err != nil {
		return nil, err
	}
	if r.opt, err = cfg.NewOptimizer(optim.Options{Groups: r.groups}); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	r.total, r.validEvery = cfg.Steps, cfg.ValidateEvery
	if cfg.Epochs > 0 {
		r.total = (cfg.Epochs*r.loader.PerEpoch() + cfg.Accumulate - 1) / cfg.Accumulate
	}
	if r.validEvery == 0 {
		r.validEvery = max(leastBetweenValidation, (r.loader.PerEpoch()+cfg.Accumulate-1)/cfg.Accumulate)
	}
	if cfg.EMA > 0 {
		r.ema = &optim.EMA{Decay: cfg.EMA}
	}
	r.grad = make([]float32, len(m.Params()))
	if cfg.Accumulate > 1 {
		r.part = make([]float32, len(r.grad))
	}
	if own := ownParams(l); own != nil {
		r.ownOpt, r.ownGrad = optim.NewAdam(), make([]float32, len(own))
	}
	r.settings = cfg.settings(m, l, ds, r.opt.Name())
	r.logs = newLogs(cfg)
	r.p = Progress{Total: r.total, Validation: absent, Best: absent, Accuracy: absent, ValidationAccuracy: absent}
	r.clock.begin = time.Now()
	return r, nil
}

// ownParams are the parameters of the loss itself; nil: none.
func ownParams(l losses.Loss) []float32 {
	if p, ok := losses.As[losses.Parametric](l); ok {
		return p.OwnParams()
	}
	return nil
}

// loop takes the steps that are left.
func (r *runner) loop(ctx context.Context) (Reason, error) {
	for {
		if r.st.Pending {
			if err := r.finish(ctx); err != nil {
				return r.end(err)
			}
		}
		if r.st.Stopped || r.st.Step >= r.total {
			return r.end(nil)
		}
		if err := ctx.Err(); err != nil {
			return r.end(err)
		}
		if err := r.step(ctx); err != nil {
			return r.end(err)
		}
	}
}

// end writes the last checkpoint, unless a step failed half-way.
func (r *runner) end(err error) (Reason, error) {
	reason := Finished
	switch {
	case err == nil && r.st.Stopped:
		reason = EarlyStopped
	case errors.Is(err, ErrStop):
		reason, err = Told, nil
	}
	var failed *stepError
	if !errors.As(err, &failed) {
		if saving := r.checkpoint(); saving != nil {
			return reason, errors.Join(err, saving)
		}
	}
	if err != nil {
		return "", fmt.Errorf("train: stopped after %d of %d steps: %w", r.st.Step, r.total, err)
	}
	return reason, nil
}

// stepError is a failure after which the state may be that of the middle of a step.
type stepError struct{ error }

func (e *stepError) Unwrap() error { return e.error }

// finish does what follows a step: validation, early stopping, logs, the callback, the checkpoint.
func (r *runner) finish(ctx context.Context) error {
	r.p.Validated = false
	if r.validates(r.st.Step) {
		if err := r.validate(ctx); err != nil {
			return err
		}
	}
	r.st.Pending = false
	if r.p.Validated || r.st.Step%r.cfg.LogEvery == 0 {
		if err := r.logs.write(&r.curve); err != nil {
			return err
		}
	} else {
		r.curve.drop()
	}
	r.clock.read(&r.p)
	if r.cfg.OnStep != nil {
		if err := r.cfg.OnStep(&r.p); err != nil {
			return err
		}
	}
	if r.st.Step%r.cfg.CheckpointEvery == 0 {
		return r.checkpoint()
	}
	return nil
}

// validates reports whether a validation follows a step.
func (r *runner) validates(step int) bool {
	return r.cfg.Validation != nil && (step%r.validEvery == 0 || step == r.total)
}

// settle puts the parameters to keep in place.
func (r *runner) settle() error {
	keep := r.st.best
	if keep == nil && r.ema != nil {
		keep = r.ema.Average()
	}
	copy(r.model.Params(), keep)
	r.changed()
	return r.checkParams()
}

func (r *runner) changed() {
	if n, ok := r.model.(losses.ParamsNotifier); ok {
		n.ParamsChanged()
	}
}

// checkParams wants finite parameters: a finite gradient can still overflow them.
func (r *runner) checkParams() error {
	for _, p := range r.model.Store().List {
		for _, v := range r.model.Params()[p.Offset : p.Offset+p.Len] {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("train: %w: parameter %q holds %g after step %d; lower the learning rate", losses.ErrNonFinite, p.Name, v, r.st.Step)
			}
		}
	}
	return nil
}

func (r *runner) result(reason Reason) *Result {
	return &Result{
		Reason: reason, Steps: r.st.Step, Total: r.total, Skipped: r.st.Skipped, Loss: float64(r.st.Loss),
		Validation: float64(r.st.Validation), Best: float64(r.st.Best), BestStep: r.st.BestStep, Curve: &r.curve,
		Accuracy: float64(r.st.Accuracy), ValidationAccuracy: float64(r.st.ValidationAccuracy),
	}
}
