package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBenchNames(t *testing.T) {
	want := []string{
		"langevin_dw/small", "hmc_dw/small", "langevin_dw/medium", "hmc_dw/medium", "langevin_dw/large", "hmc_dw/large",
		"langevin_mlp2-64/1x200", "langevin_mlp2-64/128x200", "langevin_mlp2-64/1024x100", "langevin_mlp2-64/10000x20",
		"langevin_mlp2-256/128x100", "langevin_mlp2-256/1024x50", "langevin_mlp2-256/10000x10", "langevin_mlp64-512/128x30", "langevin_mlp64-512/1024x20",
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

func TestBenchUsage(t *testing.T) {
	fail(t, exitUsage, []string{"bench", "--suite", "loses"}, "loses", "samplers", "losses", "energies", "derive")
	fail(t, exitUsage, []string{"bench", "--filter", "("}, "--filter", "regular expression")
	fail(t, exitUsage, []string{"bench", "--filter", "nothing"}, "no case")
	fail(t, exitUsage, []string{"bench", "--seconds", "-1"}, "--seconds")
}
