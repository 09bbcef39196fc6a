package main

import (
	"context"
	"fmt"
	"regexp"
	goruntime "runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"
	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// Rounds of a case: warm-up, which compiles, then as many as the budget lets, within these.
const (
	benchWarmUp    = 2
	benchMinRounds = 3
	benchMaxRounds = 1000
)

func (a *app) benchCommand() *cobra.Command {
	var suite, filter string
	var budget float64
	c := &cobra.Command{
		Use:   "bench [--suite samplers|losses|energies|derive] [--filter REGEXP] [--json]",
		Short: "Time this machine on the standard cases",
		Long: `Times whole runs; models are derived and compiled before the clock starts. Times are in milliseconds.
  samplers  SAMPLER_dw (hmc: 10 leapfrogs) on the double well, 64×8×50, 256×32×100 and 1024×128×200 chains × dimensions × steps;
            langevin_mlpD-H/NxT, T Langevin steps of N chains on a SiLU network D-H-H-1
  losses    forward and backward of one batch, network dim-128-128-1: 64×8, 256×32 and 1024×128 (sm_exact: 64×8, 128×16 and 128×16)
  energies  energy and gradient of 4096 rows
  derive    deriving and simplifying a graph, without compiling it`,
		Example: `  onnx-ebm bench --suite losses --json
  onnx-ebm bench --filter 'langevin_mlp2-64/.*'`,
		RunE: func(c *cobra.Command, args []string) error { return a.bench(c, args, suite, filter, budget) },
	}
	f := c.Flags()
	f.StringVar(&suite, "suite", "", "only the cases of this suite: samplers, losses, energies or derive")
	f.StringVar(&filter, "filter", "", "only the cases whose name this `REGEXP` matches")
	f.Float64Var(&budget, "seconds", 1, "time to spend on each case, warm-up aside")
	a.global.addJSON(f)
	a.global.addRuntime(f)
	return c
}

// timing is the outcome of one case.
type timing struct {
	Name     string  `json:"name"`
	MedianMS float64 `json:"median_ms"`
	MinMS    float64 `json:"min_ms"`
	Rounds   int     `json:"rounds"`
}

func (a *app) bench(c *cobra.Command, args []string, suite, filter string, budget float64) error {
	u := newUsage(c, args)
	u.runtime(&a.global)
	if suite != "" && !contains(benchSuites(), suite) {
		u.check(spec.Unknown("--suite", suite, benchSuites()))
	}
	pattern, err := regexp.Compile(filter)
	if err != nil {
		u.bad("--filter %s: not a regular expression", filter)
	}
	if !(budget >= 0 && budget <= 3600) {
		u.bad("--seconds %v: must be within [0, 3600]", budget)
	}
	if err := u.err(); err != nil {
		return err
	}
	var chosen []benchCase
	for _, b := range benchCases() {
		if (suite == "" || b.suite == suite) && pattern.MatchString(b.name) {
			chosen = append(chosen, b)
		}
	}
	if len(chosen) == 0 {
		return usageErrorf("no case matches --filter %s; see %s --help", filter, c.CommandPath())
	}
	rt, err := a.openRuntime()
	if err != nil {
		return err
	}
	report := struct {
		Machine string   `json:"machine"`
		Cases   []timing `json:"cases"`
	}{Machine: machine(rt)}
	if !a.global.json {
		a.printf("%s\n%-48s %12s %12s %8s\n", report.Machine, "case", "median ms", "min ms", "rounds")
	}
	for _, b := range chosen {
		t, err := b.time(c.Context(), rt, time.Duration(budget*float64(time.Second)))
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		report.Cases = append(report.Cases, t)
		if !a.global.json {
			a.printf("%-48s %12.4f %12.4f %8d\n", t.Name, t.MedianMS, t.MinMS, t.Rounds)
		}
	}
	if a.global.json {
		return a.printJSON(report)
	}
	return nil
}

// machine describes what the times are of.
func machine(rt *runtime.Runtime) string {
	cpu := cpuName()
	if cpu == "" {
		cpu = goruntime.GOARCH
	}
	return fmt.Sprintf("%s, %d cores, %s/%s, ONNX Runtime %s, %s", cpu, goruntime.NumCPU(), goruntime.GOOS, goruntime.GOARCH, rt.Info().Version, goruntime.Version())
}

// time runs a case until the budget is spent.
func (b benchCase) time(ctx context.Context, rt *runtime.Runtime, budget time.Duration) (timing, error) {
	run, done, err := b.prepare(rt)
	if err != nil {
		return timing{}, err
	}
	defer done()
	for range benchWarmUp {
		if err := run(ctx); err != nil {
			return timing{}, err
		}
	}
	var took []float64
	for begin := time.Now(); len(took) < benchMinRounds || len(took) < benchMaxRounds && time.Since(begin) < budget; {
		t := time.Now()
		if err := run(ctx); err != nil {
			return timing{}, err
		}
		took = append(took, float64(time.Since(t).Nanoseconds())/1e6)
	}
	slices.Sort(took)
	n := len(took)
	return timing{Name: b.name, MedianMS: (took[(n-1)/2] + took[n/2]) / 2, MinMS: took[0], Rounds: n}, nil
}
