package diag

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func statuses(v Verdict) map[string]Status {
	out := map[string]Status{}
	for _, c := range v.Checks {
		out[c.Name] = c.Status
	}
	return out
}

// summaryOf summarises one coordinate.
func summaryOf(t *testing.T, x []float64, chains int) *Summary {
	d := Draws{X: make([]float32, len(x)), Chains: chains, Draws: len(x) / chains, Dim: 1}
	for i, v := range x {
		d.X[i] = float32(v)
	}
	s, err := Summarize(ctx, d, Options{})
	require.NoError(t, err)
	return s
}

func ptr[T any](v T) *T { return &v }

func TestJudgeGoodRun(t *testing.T) {
	v := Judge(Evidence{
		Summary: summaryOf(t, ar1(4, 1000, .5), 4), Sampler: "nuts", Acceptance: ptr(.85), Divergences: ptr(0),
		RejectedNonFinite: ptr(0), EBFMI: []float64{1, math.NaN(), .5}, DeepestTrees: ptr(0), EnergyRounding: ptr(1e-6),
	}, Limits{})
	for _, c := range v.Checks {
		require.Equal(t, Passed, c.Status, "%+v", c)
		require.Empty(t, c.Advice)
		require.NotEmpty(t, c.Reason)
		require.NotEmpty(t, c.Limit)
	}
	require.True(t, v.Passed())
	require.NotContains(t, v.String(), "failed")
}

// Each fault turns its own check, and no other, from passed to failed.
func TestJudgeFindsEachFault(t *testing.T) {
	good := func() Evidence {
		return Evidence{
			Summary: summaryOf(t, ar1(4, 1000, .5), 4), Sampler: "hmc", Acceptance: ptr(.8), Divergences: ptr(0),
			RejectedNonFinite: ptr(0), Moves: ptr(100), EBFMI: []float64{1}, DeepestTrees: ptr(0), EnergyRounding: ptr(1e-6),
		}
	}
	for name, fault := range map[string]func(*Evidence){
		"finite":          func(e *Evidence) { e.Summary.NaNs[0] = 1 },
		"rhat":            func(e *Evidence) { e.Summary.RHat[0] = 1.01 },
		"ess_bulk":        func(e *Evidence) { e.Summary.ESSBulk[0] = 399 },
		"ess_tail":        func(e *Evidence) { e.Summary.ESSTail[0] = 399 },
		"ebfmi":           func(e *Evidence) { e.EBFMI = []float64{1, .29} },
		"divergences":     func(e *Evidence) { e.Divergences = ptr(1) },
		"nonfinite":       func(e *Evidence) { e.RejectedNonFinite = ptr(1) },
		"acceptance":      func(e *Evidence) { e.Acceptance = ptr(.99) },
		"tree_depth":      func(e *Evidence) { e.DeepestTrees = ptr(3) },
		"energy_rounding": func(e *Evidence) { e.EnergyRounding = ptr(.2) },
	} {
		e := good()
		require.True(t, Judge(e, Limits{}).Passed())
		fault(&e)
		v := Judge(e, Limits{})
		require.False(t, v.Passed(), name)
		for _, c := range v.Checks {
			require.Equal(t, c.Name == name, c.Status == Failed, "%s: %+v", name, c)
			require.Equal(t, c.Name == name, c.Advice != "", "%s: %+v", name, c)
		}
	}
	require.True(t, Judge(Evidence{Summary: summaryOf(t, ar1(4, 50, .5), 4)}, Limits{ESS: 10, RHat: 2}).Passed())
}

// A sampler that never moved has an infinite R̂ or none, and the ESS of constants says
// nothing: it must not pass.
func TestJudgeStuckChains(t *testing.T) {
	v := Judge(Evidence{Summary: summaryOf(t, make([]float64, 4000), 4)}, Limits{})
	require.False(t, v.Passed())
	got := statuses(v)
	require.Equal(t, Failed, got["moving"])
	require.Equal(t, NotDone, got["rhat"])
	require.Equal(t, NotDone, got["ess_bulk"])

	apart := mapped(make([]float64, 4000), func(i int, _ float64) float64 { return float64(i / 1000) })
	v = Judge(Evidence{Summary: summaryOf(t, apart, 4)}, Limits{})
	require.Equal(t, Failed, statuses(v)["rhat"])
	text, err := json.Marshal(v)
	require.NoError(t, err)
	require.Contains(t, string(text), `"name":"rhat","status":"failed","value":null`)
}

func TestJudgeSaysWhyNotDone(t *testing.T) {
	reasons := func(e Evidence) map[string]string {
		out := map[string]string{}
		for _, c := range Judge(e, Limits{}).Checks {
			if c.Status == NotDone {
				out[c.Name] = c.Reason
			}
		}
		return out
	}
	nothing := Judge(Evidence{}, Limits{})
	require.False(t, nothing.Passed(), "no check done is no pass")
	require.Len(t, reasons(Evidence{}), len(checks))

	bare := reasons(Evidence{Summary: summaryOf(t, ar1(1, 1000, .5), 1)})
	require.Equal(t, "1 chain; it takes 2, started apart", bare["rhat"])
	require.Equal(t, "Hamiltonian energies are not known", bare["ebfmi"])
	require.NotContains(t, bare, "ess_bulk")

	require.Contains(t, reasons(Evidence{Summary: summaryOf(t, []float64{1, 2, 3}, 1)})["ess_bulk"], "3 draws a chain; it takes 4")
	ula := reasons(Evidence{Sampler: "langevin", Acceptance: ptr(1.), Divergences: ptr(0)})
	require.Contains(t, ula["acceptance"], "does not accept or reject")
	require.Contains(t, ula["divergences"], "no trajectories")
	require.Contains(t, ula["tree_depth"], "langevin has none")
	require.Contains(t, reasons(Evidence{Sampler: "gibbs", Acceptance: ptr(.5)})["acceptance"], `"gibbs"`)
}
