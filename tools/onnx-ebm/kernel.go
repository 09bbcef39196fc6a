package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// kernelFlags are the flags of samplers, as text; each sampler heeds some.
type kernelFlags struct {
	stepSize, temperature, friction, momentum  string
	leapfrogs, maxDepth, swapEvery, annealOver int
	jitter, targetAccept                       float64
	mass, temperatures                         string
	denseMass                                  bool
}

// kernelFlagNames are all of them, and the names of samplers.Options.
var kernelFlagNames = []string{
	"step-size", "temperature", "leapfrog", "jitter", "friction", "momentum", "mass", "dense-mass", "target-accept", "max-depth",
	"temperatures", "swap-every", "anneal-over",
}

func (k *kernelFlags) add(f *pflag.FlagSet) {
	f.StringVar(&k.stepSize, "step-size", "", "`SCHEDULE` of the step size")
	f.StringVar(&k.temperature, "temperature", "", "`SCHEDULE` of the temperature T (default 1)")
	f.IntVar(&k.leapfrogs, "leapfrog", 0, "hmc: leapfrog steps of a proposal (default 10)")
	f.Float64Var(&k.jitter, "jitter", 0, "hmc: draw each ε from ε(1±jitter), within [0, 1) (default 0.3)")
	f.StringVar(&k.friction, "friction", "", "underdamped: `SCHEDULE` of the friction γ (default 1)")
	f.StringVar(&k.momentum, "momentum", "", "nesterov: `SCHEDULE` of the momentum μ (default 0.9)")
	f.StringVar(&k.mass, "mass", "", "hmc, nuts: mass matrix, a `FILE` [D] or [D,D] (default: the identity, or adapted)")
	f.BoolVar(&k.denseMass, "dense-mass", false, "hmc, nuts: adapt a full mass matrix")
	f.Float64Var(&k.targetAccept, "target-accept", 0, "mean acceptance to adapt to (default 0.8 for hmc, 0.78 for nuts; mala and rwm adapt with --adapt only)")
	f.IntVar(&k.maxDepth, "max-depth", 0, "nuts: doublings at most (default 10)")
	f.StringVar(&k.temperatures, "temperatures", "", "annealed-langevin: falling comma list, each times --temperature; parallel-tempering: the ladder, rising (default 1,2,4,8)")
	f.IntVar(&k.swapEvery, "swap-every", 0, "parallel-tempering: iterations between exchanges (default 1)")
	f.IntVar(&k.annealOver, "anneal-over", 0, "annealed-langevin: iterations that the temperatures share (default: burn-in, or half of the steps)")
}

// ownFlags are the flags of a sampler beside step size and temperature.
func ownFlags(s samplers.Sampler) []string {
	var own []string
	for _, name := range s.Options {
		if name != "step-size" && name != "temperature" {
			own = append(own, "--"+name)
		}
	}
	if slices.Contains(s.Options, "target-accept") {
		own = append(own, "--adapt")
	}
	return own
}

// options reads the flags for a sampler. A flag that it does not heed is wrong.
func (k kernelFlags) options(u *usage, s samplers.Sampler) samplers.Options {
	for _, name := range kernelFlagNames {
		if u.has(name) && u.c.Flags().Changed(name) && !slices.Contains(s.Options, name) {
			u.bad("--%s is not for the sampler %s; its flags are --%s", name, s.Name, strings.Join(s.Options, " --"))
		}
	}
	for _, n := range []struct {
		flag  string
		value int
	}{{"leapfrog", k.leapfrogs}, {"max-depth", k.maxDepth}, {"swap-every", k.swapEvery}, {"anneal-over", k.annealOver}} {
		if u.c.Flags().Changed(n.flag) && n.value < 1 {
			u.bad("--%s %d: must be at least 1", n.flag, n.value)
		}
	}
	if u.c.Flags().Changed("jitter") && !(k.jitter >= 0 && k.jitter < 1) {
		u.bad("--jitter %v: must be within [0, 1)", k.jitter)
	}
	if u.c.Flags().Changed("target-accept") && !(k.targetAccept > 0 && k.targetAccept < 1) {
		u.bad("--target-accept %v: must be between 0 and 1", k.targetAccept)
	}
	if u.c.Flags().Changed("jitter") && k.jitter == 0 {
		k.jitter = -1 // none; 0 is the default there
	}
	return samplers.Options{
		StepSize:    parseSchedule(u, "step-size", k.stepSize),
		Temperature: parseSchedule(u, "temperature", k.temperature),
		Friction:    parseSchedule(u, "friction", k.friction),
		Momentum:    parseSchedule(u, "momentum", k.momentum),
		Leapfrogs:   k.leapfrogs, Jitter: k.jitter, DenseMass: k.denseMass, TargetAccept: k.targetAccept, MaxDepth: k.maxDepth,
		Temperatures: k.ladder(u), SwapEvery: k.swapEvery, AnnealOver: k.annealOver,
	}
}

func (k kernelFlags) ladder(u *usage) []float64 {
	if k.temperatures == "" {
		return nil
	}
	list, err := numberList(k.temperatures)
	if err != nil {
		u.bad("--temperatures %s: %v", k.temperatures, err)
	}
	for _, t := range list {
		if t <= 0 {
			u.bad("--temperatures %s: must be positive", k.temperatures)
			break
		}
	}
	return list
}

// parseSchedule reads a schedule, nil if there is none.
func parseSchedule(u *usage, flag, text string) schedule.Schedule {
	if text == "" {
		return nil
	}
	s, err := schedule.Parse(text)
	if err != nil {
		u.check(fmt.Errorf("--%s: %w", flag, err))
		return nil
	}
	if s.At(0) < 0 {
		u.bad("--%s %s: must not be negative", flag, text)
	}
	return s
}
