package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
	"github.com/onnx-ebm/onnx-ebm/samplers"
)

type logzOptions struct {
	method, baseMean, baseStd              string
	chains, temperatures, leapfrogs, moves int
}

// fewestChains is the least that an estimate and its error are made of.
const fewestChains = 32

// untrusted is the error of log Z above which rare large weights rule it.
const untrusted = 0.5

func (a *app) logzCommand() *cobra.Command {
	var o logzOptions
	c := &cobra.Command{
		Use:   "logz MODEL --method ais|smc [--chains N] [--temperatures K] [--json]",
		Short: "Estimate log Z = log ∫exp(−E) and its Monte Carlo error",
		Long: `Takes chains from a wide distribution (the base: Student's t, 3 degrees of freedom) to the model through a series of
temperatures, by Hamiltonian Monte Carlo: ais weighs each chain (annealed importance sampling), smc also resamples (sequential Monte Carlo).
An error above 0.5 says that a few large weights rule the estimate: take more temperatures, more chains or a better base.

` + modelHelp,
		Example: `  onnx-ebm logz builtin:many-well:dim=8 --method smc --chains 2000 --json
  onnx-ebm logz energy.onnx --method ais --chains 4096 --base-std 3`,
		RunE: func(c *cobra.Command, args []string) error { return a.logz(c, args, o) },
	}
	f := c.Flags()
	f.StringVar(&o.method, "method", "smc", strings.Join(samplers.LogZMethods(), " or "))
	f.IntVar(&o.chains, "chains", 16384, "number of chains")
	f.IntVar(&o.temperatures, "temperatures", 0, "steps from the base to the model (default: as a pilot run finds)")
	f.IntVar(&o.leapfrogs, "leapfrog", 5, "leapfrog steps of a proposal, on average")
	f.IntVar(&o.moves, "moves", 0, "proposals at each temperature (default 1)")
	f.StringVar(&o.baseMean, "base-mean", "", "mean of the base: a number, or a comma list of D")
	f.StringVar(&o.baseStd, "base-std", "", "scale of the base, likewise; too narrow a base misses modes (default: found by a pilot run)")
	a.global.addSeed(f)
	a.global.addJSON(f)
	a.global.addRuntime(f)
	return c
}

func (o logzOptions) check(c *cobra.Command, args []string, g *global) (samplers.LogZConfig, error) {
	u := newUsage(c, args, "MODEL")
	u.runtime(g)
	if !contains(samplers.LogZMethods(), o.method) {
		u.check(spec.Unknown("--method", o.method, samplers.LogZMethods()))
	}
	for _, n := range []struct {
		flag       string
		value, low int
	}{{"chains", o.chains, fewestChains}, {"temperatures", o.temperatures, 1}, {"leapfrog", o.leapfrogs, 1}, {"moves", o.moves, 1}} {
		if u.c.Flags().Changed(n.flag) && n.value < n.low {
			u.bad("--%s %d: must be at least %d", n.flag, n.value, n.low)
		}
	}
	cfg := samplers.LogZConfig{
		Method: o.method, Chains: o.chains, Temperatures: o.temperatures, Leapfrogs: o.leapfrogs, Moves: o.moves,
		BaseMean: baseNumbers(u, "base-mean", o.baseMean), BaseStd: baseNumbers(u, "base-std", o.baseStd),
		Seed: g.seed,
	}
	for _, s := range cfg.BaseStd {
		if !(s > 0) {
			u.bad("--base-std %s: must be greater than 0", o.baseStd)
			break
		}
	}
	return cfg, u.err()
}

func baseNumbers(u *usage, flag, text string) []float64 {
	if text == "" {
		return nil
	}
	list, err := numberList(text)
	if err != nil {
		u.bad("--%s %s: %v", flag, text, err)
	}
	return list
}

// logzJSON is what logz --json prints.
type logzJSON struct {
	LogZ         number `json:"log_z"`
	MCSE         number `json:"mcse"`
	Method       string `json:"method"`
	Chains       int    `json:"chains"`
	Temperatures int    `json:"temperatures"`
	ESS          number `json:"ess"` // effective number of independent chains
	Acceptance   number `json:"acceptance"`
	Gradients    int    `json:"gradient_evaluations"`
}

func (a *app) logz(c *cobra.Command, args []string, o logzOptions) error {
	cfg, err := o.check(c, args, &a.global)
	if err != nil {
		return err
	}
	m, err := readModel(args[0])
	if err != nil {
		return err
	}
	e, err := a.open(c.Context(), m, nil, ebm.Options{})
	if err != nil {
		return err
	}
	defer e.Close()
	for _, list := range []*[]float64{&cfg.BaseMean, &cfg.BaseStd} {
		*list = spread(*list, e.Dim())
	}
	var progress *bar
	cfg.OnProgress = func(done, total int) {
		if progress == nil && a.showsProgress() {
			progress = a.newBar(total, "log Z", "temperatures")
		}
		progress.set(done)
	}
	z, err := samplers.EstimateLogZ(c.Context(), e, cfg)
	progress.end(a)
	if err != nil {
		return err
	}
	if z.OpenDirections > 0 {
		a.notice("in %.1f %% of all directions E rises too slowly, or falls, far out: Z is that of the mass which chains reach", 100*z.OpenDirections)
	}
	if z.MCSE > untrusted {
		a.notice("the error is large, so a few weights rule the estimate: take more --temperatures or --chains, or a better base")
	}
	j := logzJSON{
		LogZ: number(z.LogZ), MCSE: number(z.MCSE), Method: o.method, Chains: cfg.Chains, Temperatures: len(z.Betas) - 1, ESS: number(z.ESS),
		Acceptance: number(z.Info.Acceptance()), Gradients: z.Info.Gradients,
	}
	if a.global.json {
		return a.printJSON(j)
	}
	a.printf("log Z = %v ± %v\n", j.LogZ, j.MCSE)
	return nil
}

// spread gives one number to every coordinate.
func spread(list []float64, d int) []float64 {
	if len(list) != 1 {
		return list
	}
	out := make([]float64, d)
	for i := range out {
		out[i] = list[0]
	}
	return out
}
