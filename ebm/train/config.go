package train

import (
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/ebm/optim"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// Model is what is trained: *ebm.Energy made with Options.Trainable, or anything else with a flat store of named parameters.
type Model interface {
	losses.Model
	Store() *ebm.Params
}

// Policy says what to do about a step whose loss or gradient is not finite. Either way it changes no parameter.
type Policy uint8

const (
	Stop Policy = iota // end the run with an error that wraps losses.ErrNonFinite
	Skip               // count it and go on with the next batch, until Config.SkipLimit is passed
)

// Defaults of Config.
const (
	DefaultBatch           = 256
	DefaultLR              = 1e-3
	DefaultOwnFactor       = 10 // of the learning rate of a loss's own parameters
	DefaultSkipLimit       = 100
	DefaultCheckpointEvery = 1000
	leastBetweenValidation = 100
)

// Config is one training run. Steps or Epochs must be given; the zero value of everything else is useful.
type Config struct {
	Steps  int // updates in all, those before a resume included
	Epochs int // or passes over the data

	Batch      int  // items a batch; 0: 256. A smaller set is one batch
	DropLast   bool // leave out an epoch's shorter last batch
	Accumulate int  // batches a step, whose gradients are averaged over their items; 0: 1

	Seed uint64
	Key  rng.Key // zero: rng.NewKey(Seed)

	Optimizer    string                                          // as optim.New reads it; empty: adam
	NewOptimizer func(o optim.Options) (optim.Optimizer, error)  // instead of Optimizer
	Patterns     []Pattern                                       // parameters to treat in their own way, by name
	Group        func(p ebm.Param) (scale float64, noDecay bool) // learning rate factor (0: 1) and weight decay of a parameter, instead of Patterns; nil: all alike
	LR           schedule.Schedule                               // learning rate by step; nil: 1e-3
	OwnLR        schedule.Schedule                               // of the loss's own parameters (log Z of NCE), by Adam; nil: 10·LR
	ClipNorm     float64                                         // largest Euclidean norm of the gradient; 0: no limit
	ClipValue    float64                                         // largest element of the gradient, applied before ClipNorm; 0: no limit
	EMA          float64                                         // decay of the average of parameters that is validated and kept in the end; 0: none

	NonFinite Policy
	SkipLimit int // steps that Skip may skip in all; 0: 100

	Validation     data.Dataset // nil: none
	ValidationLoss losses.Loss  // nil: the training loss
	ValidateEvery  int          // steps; 0: an epoch, but 100 at least
	Patience       int          // stop after so many validations in a row without a better loss, and keep the best parameters; 0: never
	MinDelta       float64      // what counts as better

	Log         string // FILE.csv or FILE.jsonl, a row every LogEvery steps and at validations; empty: none
	LogEvery    int    // also of Result.Curve; 0: 1
	TensorBoard string // folder for an event file; empty: none

	Checkpoint      string            // folder of checkpoints; empty: none. One run a folder
	CheckpointEvery int               // steps; 0: 1000. There is one at the end and at cancellation too
	Resume          bool              // go on from the newest complete checkpoint
	Settings        map[string]string // what else must agree between a checkpoint and the run that resumes it

	OnStep func(*Progress) error // called after every step; ErrStop ends the run, any other error ends it as failed
	Notice func(text string)     // told of what a user should know: a damaged checkpoint, a skipped step; nil: dropped
}

// Pattern treats the parameters whose names match a glob pattern in their own way. Of several that match, the first with a Scale counts,
// and any with NoDecay.
type Pattern struct {
	Glob    string
	Scale   float64 // of the learning rate; 0: not said
	NoDecay bool    // no weight decay
}

// match tells whether the pattern is that of a name.
func (p Pattern) match(name string) bool {
	ok, err := path.Match(p.Glob, name)
	return err == nil && ok || p.Glob == name
}

// byPattern is the Group that the patterns describe. A pattern that matches no parameter is an error.
func (c Config) byPattern(params *ebm.Params) (func(p ebm.Param) (float64, bool), error) {
	for _, p := range c.Patterns {
		if !slices.ContainsFunc(params.List, func(q ebm.Param) bool { return p.match(q.Name) }) {
			return nil, fmt.Errorf("train: no parameter matches %q; there are %s", p.Glob, strings.Join(params.Names(), ", "))
		}
		if !(p.Scale >= 0) || math.IsInf(p.Scale, 0) {
			return nil, fmt.Errorf("train: %q: learning rate factor %g: give a finite number, not negative", p.Glob, p.Scale)
		}
	}
	return func(q ebm.Param) (scale float64, noDecay bool) {
		for _, p := range c.Patterns {
			if p.match(q.Name) {
				if scale == 0 {
					scale = p.Scale
				}
				noDecay = noDecay || p.NoDecay
			}
		}
		return scale, noDecay
	}, nil
}

// ErrStop is what OnStep returns to end a run without an error.
var ErrStop = errors.New("train: stop")

// withDefaults fills in and checks what does not need the model.
func (c Config) withDefaults() (Config, error) {
	orInt := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	orInt(&c.Batch, DefaultBatch)
	orInt(&c.Accumulate, 1)
	orInt(&c.SkipLimit, DefaultSkipLimit)
	orInt(&c.LogEvery, 1)
	orInt(&c.CheckpointEvery, DefaultCheckpointEvery)
	if c.Key == (rng.Key{}) {
		c.Key = rng.NewKey(c.Seed)
	}
	if c.Optimizer == "" {
		c.Optimizer = "adam"
	}
	if c.NewOptimizer == nil {
		c.NewOptimizer = func(o optim.Options) (optim.Optimizer, error) { return optim.New(c.Optimizer, o) }
	}
	if c.LR == nil {
		c.LR = schedule.Constant{Value: DefaultLR}
	}
	if c.OwnLR == nil {
		c.OwnLR = scaled{c.LR, DefaultOwnFactor}
	}
	if c.Notice == nil {
		c.Notice = func(string) {}
	}
	return c, c.check()
}

// scaled is a schedule times a factor.
type scaled struct {
	schedule.Schedule
	factor float64
}

func (s scaled) At(n int) float64 { return s.factor * s.Schedule.At(n) }

func (c Config) check() error {
	positive := func(v float64) bool { return v >= 0 && !math.IsInf(v, 0) }
	switch {
	case c.Steps < 0 || c.Epochs < 0 || (c.Steps == 0) == (c.Epochs == 0):
		return fmt.Errorf("train: %d steps and %d epochs: give a positive number of one of them", c.Steps, c.Epochs)
	case c.Batch < 1 || c.Accumulate < 1 || c.LogEvery < 1 || c.CheckpointEvery < 1 || c.SkipLimit < 0 || c.ValidateEvery < 0 || c.Patience < 0:
		return fmt.Errorf("train: negative count in batch %d, accumulate %d, log every %d, checkpoint every %d, skip limit %d, validate every %d, patience %d",
			c.Batch, c.Accumulate, c.LogEvery, c.CheckpointEvery, c.SkipLimit, c.ValidateEvery, c.Patience)
	case !positive(c.ClipNorm) || !positive(c.ClipValue) || !positive(c.MinDelta):
		return fmt.Errorf("train: clip norm %g, clip value %g, least improvement %g: give positive numbers, or 0 for none", c.ClipNorm, c.ClipValue, c.MinDelta)
	case !(c.EMA >= 0 && c.EMA < 1):
		return fmt.Errorf("train: EMA decay %g: give a number from 0 to below 1", c.EMA)
	case c.Patience > 0 && c.Validation == nil:
		return fmt.Errorf("train: early stopping needs validation data")
	case c.Resume && c.Checkpoint == "":
		return fmt.Errorf("train: resuming needs the folder of the checkpoints")
	}
	if c.Log != "" {
		if _, ok := logFormats[strings.ToLower(filepath.Ext(c.Log))]; !ok {
			return fmt.Errorf("train: log %s: the name must end in %s", c.Log, strings.Join(slices.Sorted(maps.Keys(logFormats)), " or "))
		}
	}
	for what, path := range map[string]string{"log": c.Log, "TensorBoard folder": c.TensorBoard, "checkpoint folder": c.Checkpoint} {
		if path == "" {
			continue
		}
		if info, err := os.Stat(filepath.Dir(filepath.Clean(path))); err != nil || !info.IsDir() {
			return fmt.Errorf("train: %s %s: the folder %s does not exist; create it first", what, path, filepath.Dir(filepath.Clean(path)))
		}
	}
	return nil
}

// groups are the optimiser's groups: one a parameter that is not trained or not treated plainly.
func (c Config) groups(params *ebm.Params) (optim.Groups, error) {
	if c.Group == nil && len(c.Patterns) > 0 {
		group, err := c.byPattern(params)
		if err != nil {
			return nil, err
		}
		c.Group = group
	}
	var groups optim.Groups
	trainable := false
	for _, p := range params.List {
		g := optim.Group{From: p.Offset, To: p.Offset + p.Len, Frozen: !p.Trainable}
		if c.Group != nil && p.Trainable {
			g.Scale, g.NoDecay = c.Group(p)
		}
		trainable = trainable || p.Trainable && p.Len > 0
		if g.Frozen || g.NoDecay || g.Scale != 0 {
			groups = append(groups, g)
		}
	}
	if !trainable {
		return nil, fmt.Errorf("train: none of the %d parameters is trainable", len(params.List))
	}
	return groups, groups.Check(params.Size())
}

// settings are what a checkpoint and the run that resumes it must agree on.
func (c Config) settings(m Model, l losses.Loss, ds data.Dataset, optimizer string) map[string]string {
	sum := crc32.NewIEEE()
	for _, p := range m.Store().List {
		fmt.Fprintln(sum, p.Name, p.Shape, p.Trainable)
	}
	all := map[string]string{
		"key":        fmt.Sprintf("%016x%016x", c.Key.Seed, c.Key.Stream),
		"batch":      fmt.Sprint(c.Batch),
		"accumulate": fmt.Sprint(c.Accumulate),
		"drop-last":  fmt.Sprint(c.DropLast),
		"data":       fmt.Sprintf("%d items of %v", ds.Len(), ds.Shape()),
		"loss":       l.Name(),
		"optimizer":  optimizer,
		"ema":        fmt.Sprint(c.EMA),
		"patterns":   fmt.Sprint(c.Patterns),
		"parameters": fmt.Sprintf("%d values, layout %08x", len(m.Params()), sum.Sum32()),
	}
	maps.Copy(all, c.Settings)
	return all
}
