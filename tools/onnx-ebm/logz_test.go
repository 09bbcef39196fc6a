package main

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLogZ(t *testing.T) {
	needRuntime(t)
	for _, method := range []string{"ais", "smc"} {
		var j logzJSON
		o := succeed(t, "logz", "builtin:gaussian:dim=3:cov=4:mean=1", "--method", method, "--chains", "256", "--json")
		require.NoError(t, json.Unmarshal([]byte(o.stdout), &j))
		want := 1.5*math.Log(2*math.Pi) + 3*math.Log(2)
		require.InDelta(t, want, float64(j.LogZ), 5*float64(j.MCSE)+1e-3, method)
		require.Less(t, float64(j.MCSE), 0.2)
	}
	require.Equal(t,
		succeed(t, "logz", "builtin:rings", "--chains", "64", "--json", "--workers", "1").stdout,
		succeed(t, "logz", "builtin:rings", "--chains", "64", "--json", "--workers", "2").stdout)
	fail(t, exitUsage, []string{"logz"}, "missing MODEL")
	fail(t, exitUsage, []string{"logz", "builtin:rings", "--method", "mcmc"}, "ais, smc")
	fail(t, exitUsage, []string{"logz", "builtin:rings", "--chains", "3"}, "--chains 3")
	fail(t, exitFailure, []string{"logz", "builtin:rings", "--base-std", "1,2,3"}, "dimension 2")
}
