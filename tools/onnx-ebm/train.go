package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/ebm/optim"
	"github.com/onnx-ebm/onnx-ebm/ebm/train"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

type trainOptions struct {
	data, validation, model, loss, out string
	lr, optimizer                      string
	sampler, stepSize, temperature     string
	samplerSteps                       int
	clamp                              string
	standardize                        bool
	nonFinite                          string
	trainOnly, freeze, scale, noDecay  []string
	byClass                            bool
	crossEntropy                       float64
	plot                               string
	cfg                                train.Config
}

// trainStepSize is the default step size of samplers inside training.
const trainStepSize = 0.01

func (a *app) trainCommand() *cobra.Command {
	var o trainOptions
	c := &cobra.Command{
		Use:   "train --data DATA --model NET|MODEL.onnx --loss NAME[:key=value]… -o MODEL.onnx --steps N",
		Short: "Fit the parameters of an energy to data",
		Long: `Trains a network, or goes on with an energy file, and writes an energy file that takes data in the data's own units.
The same seed gives the same bytes for any number of workers, also of a run that was interrupted and resumed.
` + dataFileHelp + `

NET:
` + entries(models.NetworkHelp()) + `
Losses, with the defaults of their options:
  ` + strings.Join(losses.Usages(), "\n  ") + `
Optimizers:
  ` + strings.Join(optim.Usages(), "\n  ") + `

` + scheduleHelp() + `

` + dataHelp(),
		Example: `  onnx-ebm train --data two-moons --model mlp:128,128 --loss dsm:sigma=0.2 --steps 2000 -o moons.onnx
  onnx-ebm train --data digits.npy --model convnet:32,64 --loss pcd:k=20 --epochs 10 --lr cosine:1e-3,1e-5,5000 -o digits.onnx --checkpoint run --resume`,
		RunE: func(c *cobra.Command, args []string) error { return a.train(c, args, o) },
	}
	f := c.Flags()
	f.StringVar(&o.data, "data", "", "`DATA` to learn")
	f.StringVar(&o.model, "model", "", "a NET, or an energy file to go on with")
	f.StringVar(&o.loss, "loss", "", strings.Join(losses.Names(), ", "))
	f.StringVarP(&o.out, "out", "o", "", "output `FILE`: the energy file")
	f.IntVar(&o.cfg.Steps, "steps", 0, "updates in all")
	f.IntVar(&o.cfg.Epochs, "epochs", 0, "passes over the data, instead of --steps")
	f.IntVar(&o.cfg.Batch, "batch", train.DefaultBatch, "items a batch")
	f.IntVar(&o.cfg.Accumulate, "accumulate", 1, "batches a step")
	f.StringVar(&o.lr, "lr", "1e-3", "`SCHEDULE` of the learning rate")
	f.StringVar(&o.optimizer, "optimizer", "adam", strings.Join(optim.Names(), ", ")+", with options after a colon")
	f.Float64Var(&o.cfg.ClipNorm, "clip-norm", 0, "largest Euclidean norm of the gradient (default: no limit)")
	f.Float64Var(&o.cfg.ClipValue, "clip-value", 0, "largest element of the gradient, before --clip-norm (default: no limit)")
	f.StringArrayVar(&o.scale, "lr-scale", nil, "`GLOB=FACTOR`: train the parameters of these names at FACTOR times the rate; may be repeated, the first that matches counts")
	f.StringArrayVar(&o.noDecay, "no-decay", nil, "`GLOB` of parameter names: no weight decay of these; may be repeated")
	f.BoolVar(&o.cfg.DropLast, "drop-last", false, "leave out an epoch's shorter last batch")
	f.Float64Var(&o.cfg.EMA, "ema", 0, "decay of an average of the parameters, which is what is saved (default: none)")
	f.StringVar(&o.sampler, "sampler", "langevin", "sampler of mle, cd and pcd: "+strings.Join(samplers.Names(), ", "))
	f.IntVar(&o.samplerSteps, "sampler-steps", 0, "its steps, the k of the loss (default 10)")
	f.StringVar(&o.stepSize, "step-size", "", "`SCHEDULE` of its step size, from the beginning at every call (default 0.01)")
	f.StringVar(&o.temperature, "temperature", "", "`SCHEDULE` of its temperature (default 1)")
	f.StringVar(&o.clamp, "clamp", "", "`LO,HI`: keep its chains within")
	f.BoolVar(&o.standardize, "standardize", true, "let a NET see data of mean 0 and standard deviation 1; part of the written graph")
	f.StringArrayVar(&o.trainOnly, "train-only", nil, "`GLOB` of parameter names: train only these; may be repeated")
	f.StringArrayVar(&o.freeze, "freeze", nil, "`GLOB` of parameter names: leave these as they are; may be repeated")
	f.BoolVar(&o.byClass, "by-class", false, "let the loss see E(x | y) = −f_y(x), each item under the energy of its class; for data and models with classes")
	f.Float64Var(&o.crossEntropy, "cross-entropy", 0, "`WEIGHT` of −log p(y | x) added to the loss: a joint energy and classifier (JEM); for data and models with classes")
	f.StringVar(&o.validation, "validation", "", "`DATA` for the validation loss")
	f.IntVar(&o.cfg.ValidateEvery, "validate-every", 0, "steps from one validation to the next (default: an epoch, but 100 at least)")
	f.IntVar(&o.cfg.Patience, "patience", 0, "stop after so many validations without a better loss, and keep the best parameters")
	f.StringVar(&o.nonFinite, "non-finite", "stop", "a step that is not finite: stop or skip; it never changes parameters")
	f.StringVar(&o.cfg.Log, "log", "", "output `FILE`: FILE.csv or FILE.jsonl, a row a step")
	f.IntVar(&o.cfg.LogEvery, "log-every", 1, "steps from one row to the next")
	f.StringVar(&o.cfg.TensorBoard, "tensorboard", "", "output `FOLDER` of a TensorBoard event file")
	f.StringVar(&o.cfg.Checkpoint, "checkpoint", "", "`FOLDER` of checkpoints")
	f.IntVar(&o.cfg.CheckpointEvery, "every", train.DefaultCheckpointEvery, "steps from one checkpoint to the next")
	f.BoolVar(&o.cfg.Resume, "resume", false, "go on from the newest complete checkpoint")
	f.StringVar(&o.plot, "plot", "", "output `FILE`: the curves of the loss and of energies, a .png")
	a.global.addSeed(f)
	a.global.addJSON(f)
	a.global.addRuntime(f)
	return c
}

// chained are the losses that run chains.
var chained = []string{"mle", "cd", "pcd"}

func (o trainOptions) check(c *cobra.Command, args []string, g *global) (trainOptions, error) {
	u := newUsage(c, args)
	u.need("data", "model", "loss")
	u.needOne("steps", "epochs")
	u.need("out")
	u.files("out", "log", "plot", "tensorboard", "checkpoint")
	u.png("plot")
	u.runtime(g)
	o.checkNumbers(u)
	o.cfg.LR = parseSchedule(u, "lr", o.lr)
	if _, err := optim.New(o.optimizer, optim.Options{}); err != nil {
		u.check(fmt.Errorf("--optimizer: %w", err))
	}
	switch o.nonFinite {
	case "skip":
		o.cfg.NonFinite = train.Skip
	case "stop":
	default:
		u.check(spec.Unknown("--non-finite", o.nonFinite, []string{"stop", "skip"}))
	}
	if o.cfg.Log != "" && !slices.Contains([]string{".csv", ".jsonl"}, strings.ToLower(filepath.Ext(o.cfg.Log))) {
		u.bad("--log %s: name a .csv or a .jsonl", o.cfg.Log)
	}
	if o.cfg.Resume || u.c.Flags().Changed("every") {
		u.need("checkpoint")
	}
	if o.cfg.Patience > 0 || u.has("validate-every") && o.cfg.ValidateEvery > 0 {
		u.need("validation")
	}
	name, _, _ := strings.Cut(strings.ToLower(o.loss), ":")
	if !slices.Contains(chained, name) && slices.Contains(losses.Names(), name) {
		for _, flag := range []string{"sampler", "sampler-steps", "step-size", "temperature", "clamp"} {
			if u.c.Flags().Changed(flag) {
				u.bad("--%s is for losses that run chains (%s), not for %s", flag, strings.Join(chained, ", "), name)
			}
		}
	}
	if _, err := o.kernel(u); err != nil {
		u.check(spec.Unknown("sampler", o.sampler, samplers.Names()))
	}
	o.cfg.Patterns = o.patterns(u)
	o.box(u)
	if o.loss != "" {
		// Once with any data, to find what is wrong with the text; once more when the data is there.
		_, err := o.makeLoss(nil, []float32{0, 1}, 1)
		u.check(err)
	}
	o.cfg.Seed, o.cfg.Optimizer = g.seed, o.optimizer
	o.cfg.Settings = map[string]string{"loss options": o.loss, "labels": o.labelText(), "sampler": strings.Join([]string{o.sampler, strconv.Itoa(o.samplerSteps), o.stepSize, o.temperature, o.clamp}, " ")}
	return o, u.err()
}

func (o trainOptions) checkNumbers(u *usage) {
	for _, n := range []struct {
		flag  string
		value int
	}{
		{"steps", o.cfg.Steps}, {"epochs", o.cfg.Epochs}, {"batch", o.cfg.Batch}, {"accumulate", o.cfg.Accumulate}, {"sampler-steps", o.samplerSteps},
		{"validate-every", o.cfg.ValidateEvery}, {"patience", o.cfg.Patience}, {"log-every", o.cfg.LogEvery}, {"every", o.cfg.CheckpointEvery},
	} {
		if u.c.Flags().Changed(n.flag) && n.value < 1 {
			u.bad("--%s %d: must be at least 1", n.flag, n.value)
		}
	}
	if u.has("steps") && u.has("epochs") {
		u.bad("--steps and --epochs say the same: give one")
	}
	for flag, v := range map[string]float64{"clip-norm": o.cfg.ClipNorm, "clip-value": o.cfg.ClipValue} {
		if u.c.Flags().Changed(flag) && !(v > 0) {
			u.bad("--%s %v: must be greater than 0", flag, v)
		}
	}
	if u.c.Flags().Changed("cross-entropy") && !(o.crossEntropy > 0 && o.crossEntropy <= math.MaxFloat32) {
		u.bad("--cross-entropy %v: must be greater than 0", o.crossEntropy)
	}
	if !(o.cfg.EMA >= 0 && o.cfg.EMA < 1) {
		u.bad("--ema %v: must be from 0 to below 1", o.cfg.EMA)
	}
}

// patterns are what --lr-scale and --no-decay say of parameters by name.
func (o trainOptions) patterns(u *usage) (list []train.Pattern) {
	for _, text := range o.scale {
		i := strings.LastIndexByte(text, '=')
		factor, err := strconv.ParseFloat(text[i+1:], 64)
		if i < 1 || err != nil || !(factor > 0) || math.IsInf(factor, 0) {
			u.bad("--lr-scale %s: write GLOB=FACTOR with a factor greater than 0", text)
			continue
		}
		list = append(list, train.Pattern{Glob: text[:i], Scale: factor})
	}
	for _, glob := range o.noDecay {
		list = append(list, train.Pattern{Glob: glob, NoDecay: true})
	}
	return list
}

// kernel makes the sampler of contrastive losses.
func (o trainOptions) kernel(u *usage) (samplers.Kernel, error) {
	options := samplers.Options{StepSize: parseSchedule(u, "step-size", o.stepSize), Temperature: parseSchedule(u, "temperature", o.temperature)}
	if options.StepSize == nil {
		options.StepSize = schedule.Constant{Value: trainStepSize}
	}
	return samplers.New(o.sampler, options)
}

// box is where chains are kept.
func (o trainOptions) box(u *usage) samplers.Box {
	return sampleOptions{clamp: o.clamp, clampMode: "clamp"}.box(u)
}

// makeLoss makes the loss; chains is nil where nothing is run.
func (o trainOptions) makeLoss(chains losses.Negatives, sample []float32, dim int) (losses.Loss, error) {
	lo := losses.Options{Chains: chains, Data: sample, Dim: dim, LoadArray: loadNumbers}
	if o.samplerSteps > 0 {
		lo.Values = map[string]string{"k": strconv.Itoa(o.samplerSteps)}
	}
	return losses.New(o.loss, lo)
}

func (a *app) train(c *cobra.Command, args []string, o trainOptions) error {
	o, err := o.check(c, args, &a.global)
	if err != nil {
		return err
	}
	ctx := c.Context()
	var out outputs
	defer out.abort()
	if err := out.addAll("model", o.out, "plot", o.plot); err != nil {
		return err
	}
	key := rng.NewKey(a.global.seed)
	ds, err := openData(o.data, key.Sub("data"))
	if err != nil {
		return err
	}
	defer ds.Close()
	if o.validation != "" {
		v, err := openData(o.validation, key.Sub("validation"))
		if err != nil {
			return err
		}
		defer v.Close()
		o.cfg.Validation = v
	}
	m, err := o.readNet(ds, key.Sub("parameters"))
	if err != nil {
		return err
	}
	items := ds
	classes := 0
	saved := m
	if o.labelled() {
		if m, classes, err = o.joint(m, ds); err != nil {
			return err
		}
		if ds, err = jointData(o.data, ds, classes); err != nil {
			return err
		}
		if o.validation != "" {
			if o.cfg.Validation, err = jointData(o.validation, o.cfg.Validation, classes); err != nil {
				return err
			}
		}
	}
	e, err := a.open(ctx, m, ds.Shape(), ebm.Options{Trainable: true, TrainOnly: o.trainOnly, Freeze: o.freeze})
	if err != nil {
		return err
	}
	defer e.Close()
	if err := fitItems(o, ds, e); err != nil {
		return err
	}
	loss, err := o.lossFor(a, e, items, classes)
	if err != nil {
		return err
	}
	if losses.NeedsSecondOrder(loss) {
		a.warnKinks(e, loss)
	}
	result, err := a.runTraining(ctx, e, loss, ds, o.cfg)
	interrupted := err != nil && errors.Is(err, context.Canceled) && result != nil && result.Steps > 0 && o.cfg.Checkpoint == ""
	if err != nil && !interrupted {
		return err
	}
	if err := writeTrained(&out, e, saved.graph, o.recipe(loss, result), result.Curve); err != nil {
		return err
	}
	if interrupted {
		return fmt.Errorf("%w after %d of %d steps; the model as it is was written (--checkpoint lets a run go on)", context.Canceled, result.Steps, result.Total)
	}
	return a.reportTraining(loss, result)
}

// openData opens DATA. A name that is no file is wrong usage.
func openData(text string, key rng.Key) (data.Dataset, error) {
	ds, err := data.Open(text, data.Options{Key: key})
	if name, _, _ := strings.Cut(text, ":"); err != nil && !strings.ContainsAny(name, `./\`) {
		if _, missing := os.Stat(name); missing != nil {
			return nil, &usageError{err}
		}
	}
	return ds, err
}

// readNet makes the network, or reads the file, that --model names.
func (o trainOptions) readNet(ds data.Dataset, key rng.Key) (*model, error) {
	if _, err := os.Stat(o.model); err == nil || strings.EqualFold(filepath.Ext(o.model), ".onnx") || models.IsBuiltin(o.model) {
		return readModel(o.model)
	}
	g, err := models.Network(o.model, int64s(ds.Shape()), key)
	if err != nil {
		return nil, &usageError{err}
	}
	if o.standardize {
		s, err := data.Standardize(ds)
		if err != nil {
			return nil, err
		}
		mean, std := perItem(s, ds.Shape())
		if g, err = models.Standardize(g, mean, std); err != nil {
			return nil, err
		}
	}
	return &model{text: o.model, graph: g, checked: true}, nil
}

// perItem gives one mean and deviation to every coordinate of a point, and
// one to all pixels of an image, whose borders may not vary at all.
func perItem(s data.Standardizer, shape []int) (mean, std []float32) {
	if len(shape) == 1 {
		for i := range s.Mean {
			mean, std = append(mean, float32(s.Mean[i])), append(std, float32(s.Std[i]))
		}
		return mean, std
	}
	return overall(s)
}

// overall is the mean and deviation of all coordinates together:
// the variance within them and that of their means.
func overall(s data.Standardizer) (mean, std []float32) {
	n := float64(len(s.Mean))
	m, v := 0.0, 0.0
	for _, c := range s.Mean {
		m += c / n
	}
	for i, c := range s.Mean {
		within := s.Std[i] * s.Std[i]
		v += (within + (c-m)*(c-m)) / n
	}
	return []float32{float32(m)}, []float32{float32(math.Sqrt(v))}
}

func fitItems(o trainOptions, ds data.Dataset, e *ebm.Energy) error {
	for text, d := range map[string]data.Dataset{o.data: ds, o.validation: o.cfg.Validation} {
		if d != nil && !slices.Equal(d.Shape(), ints(e.Item())) {
			return fmt.Errorf("%s has items of shape %s; the model takes %s", text, shapeText(d.Shape()), batchText(e.Item()))
		}
	}
	return nil
}

// The rows that densities are fitted to: as many as these numbers allow.
const (
	sampleRows   = 100000
	sampleValues = 1 << 24
)

// sampleFor gives some of the data to a loss whose densities are fitted to them; nil to others.
func (o trainOptions) sampleFor(ds data.Dataset) ([]float32, error) {
	if !strings.Contains(strings.ToLower(o.loss), "=fitted") {
		return nil, nil
	}
	indices := make([]int, min(ds.Len(), sampleRows, max(1, sampleValues/data.Size(ds))))
	for i := range indices {
		indices[i] = i
	}
	sample := make([]float32, len(indices)*data.Size(ds))
	return sample, ds.Rows(sample, indices)
}

// lossFor makes the loss of items of ds, which with classes e takes together with weights of classes.
func (o trainOptions) lossFor(a *app, e *ebm.Energy, ds data.Dataset, classes int) (losses.Loss, error) {
	u := &usage{}
	kernel, err := o.kernel(u)
	if err != nil {
		return nil, err
	}
	chains := &train.Chains{Target: e, Kernel: kernel, Box: o.box(u), Workers: a.global.workers}
	sample, err := o.sampleFor(ds)
	if err != nil {
		return nil, err
	}
	if classes > 0 {
		return o.labelledLoss(chains, sample, data.Size(ds), classes)
	}
	return o.makeLoss(chains, sample, data.Size(ds))
}

func (a *app) runTraining(ctx context.Context, e *ebm.Energy, loss losses.Loss, ds data.Dataset, cfg train.Config) (*train.Result, error) {
	var progress *bar
	cfg.Notice = func(text string) { a.notice("%s", text) }
	cfg.OnStep = func(p *train.Progress) error {
		if progress == nil && a.showsProgress() {
			progress = a.newBar(p.Total, "training", "steps")
		}
		if progress != nil {
			progress.describe("%s", progressText(p))
		}
		progress.set(p.Step)
		return nil
	}
	result, err := train.Run(ctx, e, loss, ds, cfg)
	progress.end(a)
	return result, err
}

// progressText is what stands before the bar: the loss, the energies of data and negatives, their gap, the gradient's norm.
func progressText(p *train.Progress) string {
	text := fmt.Sprintf("loss %.4g", p.Loss)
	for _, t := range []struct{ term, name string }{{"pos_energy", "E+"}, {"neg_energy", "E-"}, {"energy_gap", "gap"}, {"log_z", "log Z"}} {
		if v, ok := p.Term(t.term); ok {
			text += fmt.Sprintf(" %s %.3g", t.name, v)
		}
	}
	if !train.IsAbsent(p.Accuracy) {
		text += fmt.Sprintf(" accuracy %.1f %%", 100*p.Accuracy)
	}
	return text + fmt.Sprintf(" |grad| %.3g", p.GradNorm)
}

// files are the parts of a specification that name files: written models hold no paths.
var files = regexp.MustCompile(`@[^:,]+`)

// recipe is the metadata that says how an energy was trained, with log Z where the loss has learned it.
func (o trainOptions) recipe(loss losses.Loss, r *train.Result) map[string]string {
	recipe := map[string]string{
		models.MetadataRole:  "energy",
		"onnx-ebm.loss":      files.ReplaceAllString(o.loss, "@FILE"),
		"onnx-ebm.steps":     strconv.Itoa(r.Steps),
		"onnx-ebm.batch":     strconv.Itoa(o.cfg.Batch * o.cfg.Accumulate),
		"onnx-ebm.optimizer": o.optimizer,
		"onnx-ebm.lr":        o.lr,
		"onnx-ebm.seed":      strconv.FormatUint(o.cfg.Seed, 10),
	}
	if o.cfg.EMA > 0 {
		recipe["onnx-ebm.ema"] = strconv.FormatFloat(o.cfg.EMA, 'g', -1, 64)
	}
	if o.labelled() {
		recipe["onnx-ebm.labels"] = o.labelText()
	}
	if _, ok := losses.As[*losses.Contrastive](loss); ok {
		recipe["onnx-ebm.sampler"] = fmt.Sprintf("%s, step size %s, temperature %s", o.sampler, cmp.Or(o.stepSize, "0.01"), cmp.Or(o.temperature, "1"))
	}
	if nce, ok := losses.As[*losses.NCE](loss); ok {
		recipe["onnx-ebm.log_z"] = strconv.FormatFloat(nce.LogZ(), 'g', -1, 64)
	}
	return recipe
}

// writeTrained writes g with the parameters that e has now.
func writeTrained(out *outputs, e *ebm.Energy, g *graphs.Graph, metadata map[string]string, curve *train.Curve) error {
	g, err := trainedGraph(e, g, metadata)
	if err != nil {
		return err
	}
	if err := out.graph("model", g, graphs.WriteOptions{Producer: ebm.Producer}); err != nil {
		return err
	}
	if out.wants("plot") {
		if err := trainingCurves(curve).WritePNG(out.writer["plot"]); err != nil {
			return err
		}
	}
	return out.commit()
}

// trainJSON is what train --json prints.
type trainJSON struct {
	Reason     string  `json:"reason"`
	Steps      int     `json:"steps"`
	Loss       number  `json:"loss"`
	Validation *number `json:"validation"`
	Best       *number `json:"best_validation"`
	BestStep   int     `json:"best_step"`
	Skipped    int     `json:"skipped"`
	LogZ       *number `json:"log_z"`

	Accuracy           *number `json:"accuracy"`
	ValidationAccuracy *number `json:"validation_accuracy"`
}

func (a *app) reportTraining(loss losses.Loss, r *train.Result) error {
	j := trainJSON{Reason: string(r.Reason), Steps: r.Steps, Loss: number(r.Loss), BestStep: r.BestStep, Skipped: r.Skipped}
	j.Validation, j.Best = present(r.Validation), present(r.Best)
	j.Accuracy, j.ValidationAccuracy = present(r.Accuracy), present(r.ValidationAccuracy)
	if nce, ok := losses.As[*losses.NCE](loss); ok {
		j.LogZ = present(nce.LogZ())
	}
	if a.global.json {
		return a.printJSON(j)
	}
	if a.global.quiet {
		return nil
	}
	a.printf("%s after %d steps", j.Reason, j.Steps)
	if j.Skipped > 0 {
		a.printf(", of which %d were skipped", j.Skipped)
	}
	a.printf(": loss %v", j.Loss)
	if j.Validation != nil {
		a.printf(", validation %v (best %v at step %d)", *j.Validation, *j.Best, j.BestStep)
	}
	for _, of := range []struct {
		name  string
		share *number
	}{{"accuracy", j.Accuracy}, {"validation accuracy", j.ValidationAccuracy}} {
		if of.share != nil {
			a.printf(", %s %.2f %%", of.name, 100*float64(*of.share))
		}
	}
	if j.LogZ != nil {
		a.printf(", log Z %v", *j.LogZ)
	}
	a.printf("\n")
	return nil
}

func present(v float64) *number {
	if train.IsAbsent(v) {
		return nil
	}
	n := number(v)
	return &n
}
