package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDiagnose(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	x := normals("draws", 4*500*2)
	good := writeArray(t, path("good.npy"), x, 4, 500, 2)
	moved := append([]float32{}, x...)
	for i := range 1000 {
		moved[i] += 1
	}
	bad := writeArray(t, path("bad.npy"), moved, 4, 500, 2)

	type check struct{ Name, Status string }
	var j struct {
		Acceptance  *float64
		Coordinates map[string][]float64
		Passed      bool
		Checks      []check
		MMD         *float64 `json:"mmd_squared"`
		Wasserstein *float64 `json:"sliced_wasserstein"`
	}
	require.NoError(t, json.Unmarshal([]byte(succeed(t, "diagnose", good, "--check", "--json", "--plot", path("p.png")).stdout), &j))
	require.True(t, j.Passed)
	require.Nil(t, j.Acceptance)
	require.Contains(t, j.Checks, check{"acceptance", "not done"})
	require.Contains(t, j.Checks, check{"rhat", "passed"})
	require.InDeltaSlice(t, []float64{1, 1}, j.Coordinates["rhat"], 0.01)
	decode(t, path("p.png"))

	o := fail(t, exitFailure, []string{"diagnose", bad, "--check"}, "rhat")
	require.Contains(t, o.stdout, "failed")
	succeed(t, "diagnose", bad)

	// E‖x−y‖-like distances: N(0, I) from itself, and from N(1, I).
	ref := writeArray(t, path("ref.npy"), normals("ref", 2000*2), 2000, 2)
	require.NoError(t, json.Unmarshal([]byte(succeed(t, "diagnose", good, "--reference", ref, "--json").stdout), &j))
	near := *j.MMD
	require.InDelta(t, 0, near, 5e-3)
	far := append([]float32{}, x...)
	for i := range far {
		far[i]++
	}
	require.NoError(t, json.Unmarshal([]byte(succeed(t, "diagnose", writeArray(t, path("far.npy"), far, 4, 500, 2), "--reference", ref, "--json").stdout), &j))
	require.Greater(t, *j.MMD, 10*near+0.05)
	// The mean of |⟨(1,1), u⟩|² over directions u is 1: so is the distance.
	require.InDelta(t, 1, *j.Wasserstein, 0.1)

	flat := writeArray(t, path("flat.npy"), normals("f", 5), 5)
	fail(t, exitFailure, []string{"diagnose", flat}, "[5]", "[chains, draws, D…]")
	succeed(t, "diagnose", good, "--reference", good, "--json") // what sample writes is a reference, too
	fail(t, exitFailure, []string{"diagnose", good, "--reference", writeArray(t, path("r3.npy"), normals("r3", 30), 10, 3)}, "[10,3]", "[N,2]")
	fail(t, exitUsage, []string{"diagnose"}, "missing DRAWS.npy")
}

func TestDiagnoseAgainstAModel(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	draws := writeArray(t, filepath.Join(dir, "d.npy"), normals("draws", 4*500*2), 4, 500, 2)
	ksd := func(model string) float64 {
		var j struct {
			KSD float64 `json:"ksd_squared"`
		}
		require.NoError(t, json.Unmarshal([]byte(succeed(t, "diagnose", draws, "--model", model, "--json").stdout), &j))
		return j.KSD
	}
	right := ksd("builtin:gaussian")
	require.InDelta(t, 0, right, 0.02)
	require.Greater(t, ksd("builtin:gaussian:mean=1"), 0.3)
	fail(t, exitFailure, []string{"diagnose", draws, "--model", "builtin:gaussian:dim=3"}, "[2]", "[N,3]")
}

// TestDiagnoseInDoublePrecision holds the figures of ArviZ 0.23.4 for four chains x ← ½x + z of normals from linear congruential
// generators, kept in float64.
func TestDiagnoseInDoublePrecision(t *testing.T) {
	dir := t.TempDir()
	var x []float64
	for c := range uint64(4) {
		state, last := c+1, 0.0
		uniform := func() float64 {
			state = state*6364136223846793005 + 1442695040888963407
			return (float64(state>>11) + 0.5) / (1 << 53)
		}
		for range 1000 {
			r := math.Sqrt(-2 * math.Log(uniform()))
			last = last/2 + r*math.Cos(2*math.Pi*uniform())
			x = append(x, last)
		}
	}
	path := filepath.Join(dir, "chains.npy")
	file := []byte("\x93NUMPY\x01\x00\x46\x00" + fmt.Sprintf("%-69s\n", "{'descr': '<f8', 'fortran_order': False, 'shape': (4, 1000), }"))
	for _, v := range x {
		file = binary.LittleEndian.AppendUint64(file, math.Float64bits(v))
	}
	require.NoError(t, os.WriteFile(path, file, 0o644))

	want := map[string]float64{
		"mean": -0.010519134558370813, "ess_bulk": 1162.8468219724475, "ess_tail": 2221.7902782604706,
		"rhat": 1.000519039035816, "mcse": 0.033660560364699894, "mcse_sd": 0.01715326423148023,
	}
	store := filepath.Join(dir, "chains.zarr")
	for _, from := range []string{path, store} {
		var j struct{ Coordinates map[string][]float64 }
		args := []string{"diagnose", from, "--json"}
		if from == path {
			args = append(args, "--zarr", store)
		}
		require.NoError(t, json.Unmarshal([]byte(succeed(t, args...).stdout), &j))
		for name, v := range want {
			require.InEpsilon(t, v, j.Coordinates[name][0], 1e-8, "%s of %s", name, from)
		}
	}
}
