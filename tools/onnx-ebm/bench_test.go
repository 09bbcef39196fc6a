package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers"
)

func TestBenchNames(t *testing.T) {
	want := []string{
		"langevin_dw/small", "hmc_dw/small", "langevin_dw/medium", "hmc_dw/medium", "langevin_dw/large", "hmc_dw/large",
		"langevin_mlp2-64/1x200", "langevin_mlp2-64/128x200", "langevin_mlp2-64/1024x100", "langevin_mlp2-64/10000x20",
		"langevin_mlp2-256/128x100", "langevin_mlp2-256/1024x50", "langevin_mlp2-256/10000x10", "langevin_mlp64-512/128x30", "langevin_mlp64-512/1024x20",
		"mala_dw/small", "mala_dw/medium", "mala_dw/large", "rwm_dw/small", "rwm_dw/medium", "rwm_dw/large",
		"underdamped_dw/small", "underdamped_dw/medium", "underdamped_dw/large", "nuts_dw/small", "nuts_dw/medium", "nuts_dw/large",
		"annealed-langevin_dw/small", "annealed-langevin_dw/medium", "annealed-langevin_dw/large",
		"parallel-tempering_dw/small", "parallel-tempering_dw/medium", "parallel-tempering_dw/large",
		"gradient-descent_dw/small", "gradient-descent_dw/medium", "gradient-descent_dw/large",
		"nesterov_dw/small", "nesterov_dw/medium", "nesterov_dw/large",
		"cd10/small", "cd10/medium", "cd10/large", "dsm/small", "dsm/medium", "dsm/large", "ssm/small", "ssm/medium", "ssm/large",
		"sm_exact/small", "sm_exact/medium", "sm_exact/large", "sm_hutchinson/small", "sm_hutchinson/medium", "sm_hutchinson/large",
	}
	var names []string
	seen := map[string]bool{}
	for _, b := range benchCases() {
		require.False(t, seen[b.name], b.name)
		seen[b.name] = true
		require.Contains(t, benchSuites(), b.suite)
		if b.suite == "samplers" || b.suite == "losses" {
			names = append(names, b.name)
		}
	}
	require.Equal(t, want, names)
}

func TestBench(t *testing.T) {
	needRuntime(t)
	o := succeed(t, "bench", "--filter", "^(langevin_dw|hmc_dw|cd10|dsm|ssm|sm_exact|sm_hutchinson)/small$|^energy_gradient/mlp|^derive_gradient/mlp", "--seconds", "0", "--json")
	var report struct {
		Machine string
		Cases   []map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(o.stdout), &report))
	require.NotEmpty(t, report.Machine)
	require.Len(t, report.Cases, 9)
	for _, c := range report.Cases {
		require.Len(t, c, 4)
		require.NotEmpty(t, c["name"])
		require.Greater(t, c["min_ms"], 0.0)
		require.GreaterOrEqual(t, c["median_ms"], c["min_ms"])
		require.EqualValues(t, benchMinRounds, c["rounds"])
	}
}

// Every sampler has its cases.
func TestBenchSamplers(t *testing.T) {
	var names []string
	for _, b := range benchCases() {
		names = append(names, b.name)
	}
	for _, s := range samplers.Names() {
		for _, scale := range benchScales {
			require.Contains(t, names, s+"_dw/"+scale.name)
		}
	}
}

// Whole runs, as onnx-ebm bench times them.
func BenchmarkSamplers(b *testing.B) {
	rt, err := runtime.Open(runtime.Options{})
	if err != nil {
		b.Skipf("needs ONNX Runtime: %v", err)
	}
	for _, c := range benchCases() {
		if c.suite != "samplers" {
			continue
		}
		b.Run(c.name, func(b *testing.B) {
			run, done, err := c.prepare(rt)
			require.NoError(b, err)
			defer done()
			require.NoError(b, run(b.Context())) // compiles
			b.ReportAllocs()
			for b.Loop() {
				if err := run(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestBenchUsage(t *testing.T) {
	fail(t, exitUsage, []string{"bench", "--suite", "loses"}, "loses", "samplers", "losses", "energies", "derive")
	fail(t, exitUsage, []string{"bench", "--filter", "("}, "--filter", "regular expression")
	fail(t, exitUsage, []string{"bench", "--filter", "nothing"}, "no case")
	fail(t, exitUsage, []string{"bench", "--seconds", "-1"}, "--seconds")
}
