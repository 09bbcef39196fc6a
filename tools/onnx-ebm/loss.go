package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

type lossOptions struct {
	loss, in, neg, noise, vector string
	sigma, weight, nu, logZ      string
	noiseDensity, noiseLogP      string
	grads                        string
}

// lossFlags are the flags that a loss needs, and those that it takes besides.
var lossFlags = map[string]struct{ needs, takes []string }{
	"mle":                {needs: []string{"neg"}},
	"cd":                 {needs: []string{"neg"}},
	"pcd":                {needs: []string{"neg"}},
	"nce":                {needs: []string{"neg"}, takes: []string{"noise-density", "noise-logp", "nu", "log-z"}},
	"sm":                 {},
	"sm-hutchinson":      {needs: []string{"vector"}},
	"ssm":                {needs: []string{"vector"}},
	"dsm":                {needs: []string{"noise"}, takes: []string{"sigma", "weight"}},
	"energy-discrepancy": {needs: []string{"noise"}},
}

func (a *app) lossCommand() *cobra.Command {
	var o lossOptions
	c := &cobra.Command{
		Use:   "loss MODEL --loss NAME[:key=value]… --in x.npy [--neg xn.npy] [--noise eps.npy] [--vector v.npy] …",
		Short: "Compute a training loss and its parameter gradients; nothing is drawn at random",
		Long: `Computes a loss at given data, negatives, noise and directions. What each loss needs:
  mle, cd, pcd         --neg [M, D…]
  nce                  --neg [M, D…] and --noise-density, or --noise-logp [N+M] (log p_noise at the data, then at the negatives)
  dsm                  --noise [N, D…], or [S, N, D…] for S sigmas
  ssm, sm-hutchinson   --vector [N, D…], or [K, N, D…] (mean over K)
  energy-discrepancy   --noise [1+M, N, D…]
  sm                   nothing
Options after a colon, with their defaults:
  ` + strings.Join(losses.Usages(), "\n  ") + `

` + modelHelp,
		Example: `  onnx-ebm loss energy.onnx --loss dsm --in x.npy --noise eps.npy --sigma 0.1 --json --grads g.npz
  onnx-ebm loss energy.onnx --loss nce --in x.npy --neg xn.npy --noise-density gaussian:mean=0,0:std=2`,
		RunE: func(c *cobra.Command, args []string) error { return a.loss(c, args, o) },
	}
	f := c.Flags()
	f.StringVar(&o.loss, "loss", "", strings.Join(losses.Names(), ", ")+" (ssm-vr is sm-hutchinson)")
	f.StringVar(&o.in, "in", "", "`FILE` of data [N, D…]")
	f.StringVar(&o.neg, "neg", "", "`FILE` of negatives [M, D…]")
	f.StringVar(&o.noise, "noise", "", "`FILE` of standard normal noise of dsm and energy-discrepancy")
	f.StringVar(&o.vector, "vector", "", "`FILE` of directions of ssm and sm-hutchinson")
	f.StringVar(&o.sigma, "sigma", "", "σ of dsm, one or a comma list (default 0.1)")
	f.StringVar(&o.weight, "weight", "", "weight of each σ: one or sigma2 (default: one for a single σ, sigma2 for several)")
	f.StringVar(&o.logZ, "log-z", "", "log Z of nce (default 0)")
	f.StringVar(&o.nu, "nu", "", "ν of nce, noise for each datum (default M/N)")
	f.StringVar(&o.noiseDensity, "noise-density", "", "noise of nce: gaussian[:mean=…][:std=…], uniform[:low=…][:high=…], mixture:means=…[:std=…]")
	f.StringVar(&o.noiseLogP, "noise-logp", "", "`FILE` of log p_noise [N+M] of nce")
	f.StringVar(&o.grads, "grads", "", "output `FILE`: gradients by parameter, a .npz")
	a.global.addJSON(f)
	a.global.addRuntime(f)
	return c
}

// check makes the loss.
func (o lossOptions) check(c *cobra.Command, args []string, g *global) (losses.Loss, error) {
	u := newUsage(c, args, "MODEL")
	u.need("loss", "in")
	u.files("in", "neg", "noise", "vector", "noise-logp", "grads")
	u.runtime(g)
	loss := o.make(u)
	return loss, u.err()
}

func (o lossOptions) make(u *usage) losses.Loss {
	name, _, _ := strings.Cut(strings.ToLower(o.loss), ":")
	if name == "ssm-vr" {
		name = "sm-hutchinson"
	}
	flags, known := lossFlags[name]
	values := map[string]string{}
	if known {
		u.need(flags.needs...)
		for _, f := range []string{"neg", "noise", "vector", "noise-density", "noise-logp", "nu", "log-z", "sigma", "weight"} {
			if u.has(f) && !slices.Contains(flags.needs, f) && !slices.Contains(flags.takes, f) {
				u.bad("--%s is not for the loss %s", f, name)
			}
		}
		for key, v := range map[string]string{"sigma": o.sigma, "weight": o.weight, "nu": o.nu, "log-z": o.logZ} {
			if v != "" && slices.Contains(flags.takes, key) {
				values[key] = v
			}
		}
	}
	if name == "nce" && !strings.Contains(strings.ToLower(o.loss), ":noise=") {
		u.needOne("noise-density", "noise-logp")
	}
	if o.loss == "" {
		return nil
	}
	lo := losses.Options{Values: values, LoadArray: loadNumbers}
	if o.noiseDensity != "" {
		if o.noiseLogP != "" {
			u.bad("--noise-density and --noise-logp say the same: give one")
		}
		density, err := losses.ParseDensity(o.noiseDensity, lo)
		if err != nil {
			u.bad("--noise-density %s: %v", o.noiseDensity, err)
		}
		lo.Noise = density
	}
	loss, err := losses.New(o.loss, lo)
	u.check(err)
	return loss
}

func (a *app) loss(c *cobra.Command, args []string, o lossOptions) error {
	loss, err := o.check(c, args, &a.global)
	if err != nil {
		return err
	}
	var out outputs
	defer out.abort()
	if err := out.add("grads", o.grads); err != nil {
		return err
	}
	m, err := readModel(args[0])
	if err != nil {
		return err
	}
	x, err := openRows(o.in)
	if err != nil {
		return err
	}
	item := x.item()
	x.close()
	withGradients := o.grads != ""
	e, err := a.open(c.Context(), m, item, ebm.Options{Trainable: withGradients, All: withGradients})
	if err != nil {
		return err
	}
	defer e.Close()
	batch, err := o.batch(e)
	if err != nil {
		return err
	}
	if losses.NeedsSecondOrder(loss) {
		a.warnKinks(e, loss)
	}
	var dTheta []float32
	if withGradients && len(e.Params()) > 0 {
		dTheta = make([]float32, len(e.Params()))
	} else if withGradients {
		a.notice("the model has no parameters: %s will hold nothing", o.grads)
	}
	result, err := losses.Run(c.Context(), e, loss, batch, rng.NewKey(0), dTheta)
	if errors.Is(err, losses.ErrNonFinite) {
		return fmt.Errorf("the loss is %v: an energy or a derivative is not finite at the data given (onnx-ebm eval tells where)", result.Loss)
	}
	if err != nil {
		return err
	}
	if withGradients {
		if err := npy.WriteArchive(out.writer["grads"], gradientEntries(e, dTheta)); err != nil {
			return err
		}
	}
	if err := out.commit(); err != nil {
		return err
	}
	if a.global.json {
		return a.printJSON(lossJSON{number(result.Loss), result.Terms})
	}
	a.printf("loss %v\n", result.Loss)
	for _, t := range result.Terms {
		a.printf("  %s %v\n", t.Name, t.Value)
	}
	return nil
}

func gradientEntries(e *ebm.Energy, dTheta []float32) []npy.Entry {
	entries := make([]npy.Entry, len(e.Store().List))
	for i, p := range e.Store().List {
		entries[i] = npy.Entry{Name: p.Name, Array: npy.Array{Shape: ints(p.Shape), Data: dTheta[p.Offset : p.Offset+p.Len]}}
	}
	return entries
}

// batch reads what the loss is given.
func (o lossOptions) batch(e *ebm.Energy) (b losses.Batch, err error) {
	item := e.Item()
	var shape []int
	if b.X, shape, err = readRows(o.in, item); err != nil {
		return b, err
	}
	b.N, b.Dim = shape[0], e.Dim()
	if o.neg != "" {
		if b.Neg, shape, err = readRows(o.neg, item); err != nil {
			return b, err
		}
		b.M = shape[0]
	}
	if b.Noise, err = readStacked(o.noise, b.N, item, strings.HasPrefix(strings.ToLower(o.loss), "energy-discrepancy")); err != nil {
		return b, err
	}
	if b.Vectors, err = readStacked(o.vector, b.N, item, false); err != nil {
		return b, err
	}
	if o.noiseLogP != "" {
		logp, shape, err := readRows(o.noiseLogP, nil)
		if err != nil {
			return b, err
		}
		if len(shape) != 1 || shape[0] != b.N+b.M {
			return b, fmt.Errorf("%s has the shape %s; log p_noise at %d data and %d negatives is [%d]", o.noiseLogP, shapeText(shape), b.N, b.M, b.N+b.M)
		}
		b.LogNoise = float64s(logp)
	}
	return b, nil
}

// readStacked reads an array [N, D…] or [K, N, D…]; an empty path is none.
func readStacked(path string, n int, item []int64, stacked bool) ([]float32, error) {
	if path == "" {
		return nil, nil
	}
	data, shape, err := readRows(path, nil)
	if err != nil {
		return nil, err
	}
	want := append([]int{n}, ints(item)...)
	switch {
	case !stacked && slices.Equal(shape, want):
	case len(shape) > 1 && slices.Equal(shape[1:], want):
	case stacked:
		return nil, fmt.Errorf("%s has the shape %s; it must be [1+M,%s", path, shapeText(shape), shapeText(want)[1:])
	default:
		return nil, fmt.Errorf("%s has the shape %s; it must be %s, or several of these along a leading axis", path, shapeText(shape), shapeText(want))
	}
	return data, nil
}

// warnKinks tells of a model whose second derivative is degenerate.
func (a *app) warnKinks(e *ebm.Energy, loss losses.Loss) {
	if ops := kinks(e.Graph()); len(ops) > 0 {
		a.notice("the model has %s, whose second derivative is 0 or not defined: %s sees little of it; smooth activations are silu, softplus, tanh, gelu, elu", strings.Join(ops, ", "), loss.Name())
	}
}

// kinks lists the ops of a graph that are piecewise linear.
func kinks(g *graphs.Graph) []string {
	var found []string
	for _, op := range slices.Sorted(maps.Keys(g.Ops())) {
		if contains([]string{"Relu", "LeakyRelu", "PRelu", "ThresholdedRelu", "MaxPool", "HardSigmoid", "Abs"}, op) {
			found = append(found, op)
		}
	}
	return found
}

// lossJSON is what loss --json prints; the terms keep their order.
type lossJSON struct {
	Loss  number      `json:"loss"`
	Terms orderedJSON `json:"terms"`
}

type orderedJSON []losses.Term

// MarshalJSON implements json.Marshaler.
func (t orderedJSON) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, term := range t {
		if i > 0 {
			b.WriteByte(',')
		}
		v, err := json.Marshal(number(term.Value))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s:%s", strconv.Quote(term.Name), v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
