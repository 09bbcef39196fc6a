package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/diag/zarr"
)

type judgement struct {
	Acceptance          *float64
	Divergences         *int
	RejectedNonFinite   *int `json:"rejected_nonfinite"`
	GradientEvaluations *int `json:"gradient_evaluations"`
	EBFMI               []float64
	Coordinates         map[string][]float64
	Passed              bool
	Checks              []struct{ Name, Status string }
}

func (d judgement) status(name string) string {
	for _, c := range d.Checks {
		if c.Name == name {
			return c.Status
		}
	}
	return ""
}

func judge(t *testing.T, args ...string) (d judgement) {
	t.Helper()
	out := succeed(t, append([]string{"diagnose", "--json"}, args...)...).stdout
	require.NoError(t, json.Unmarshal([]byte(out), &d))
	return d
}

func TestStore(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	args := []string{"sample", "builtin:gaussian:dim=2", "--sampler", "nuts", "--chains", "4", "--steps", "900", "--burn-in", "300", "--thin", "2",
		"-o", path("last.npy"), "--draws", path("d.npy"), "--energies", path("e.npy"), "--zarr", path("d.zarr"), "--json"}
	var ran judgement
	require.NoError(t, json.Unmarshal([]byte(succeed(t, args...).stdout), &ran))

	tree, err := zarr.Read(path("d.zarr"))
	require.NoError(t, err)
	draws, _, err := tree.Flat()
	require.NoError(t, err)
	require.Equal(t, readArray(t, path("d.npy"), 4, 300, 2), draws.X)
	s, err := tree.Stats()
	require.NoError(t, err)
	energies := readArray(t, path("e.npy"), 4, 300)
	kinetic := 0.0
	for i, e := range energies {
		require.Equal(t, -e, s.LP[i])
		require.GreaterOrEqual(t, s.Energy[i], e-1e-4, "H is E and the kinetic energy")
		kinetic += float64(s.Energy[i]-e) / float64(len(energies))
		require.Less(t, s.NSteps[i], int32(1)<<(s.TreeDepth[i]+1))
		require.Positive(t, s.StepSize[i])
	}
	// The momentum at the draw is not drawn from N(0, M), but nearly: a mean of ½D.
	require.InDelta(t, 1, kinetic, 0.3)

	// diagnose of the store knows what the run knew.
	d := judge(t, path("d.zarr"), "--zarr", path("copy.zarr"), "--plot", path("p.png"))
	decode(t, path("p.png"))
	require.InDelta(t, *ran.Acceptance, *d.Acceptance, 1e-12)
	require.Equal(t, ran.Divergences, d.Divergences)
	require.Equal(t, ran.GradientEvaluations, d.GradientEvaluations)
	require.Equal(t, ran.Coordinates, d.Coordinates)
	require.Len(t, d.EBFMI, 4)
	for _, name := range []string{"rhat", "ebfmi", "divergences", "nonfinite", "acceptance", "tree_depth", "energy_rounding"} {
		require.Equal(t, "passed", d.status(name), name)
	}
	require.Equal(t, d, judge(t, path("copy.zarr")))

	// With --with-start the start is no draw of the store.
	succeed(t, append(args, "--with-start")...)
	require.Equal(t, readArray(t, path("d.npy"), 4, 301, 2)[2:602], draws.X[:600])
	require.Equal(t, d, judge(t, path("d.zarr")))

	// From a bare file the rest is unknown; a model gives the densities.
	bare := judge(t, path("d.npy"), "--model", "builtin:gaussian:dim=2", "--zarr", path("bare.zarr"))
	require.Nil(t, bare.Acceptance)
	require.Nil(t, bare.Divergences)
	require.Nil(t, bare.RejectedNonFinite)
	require.Nil(t, bare.EBFMI)
	require.Equal(t, "not done", bare.status("divergences"))
	tree, err = zarr.Read(path("bare.zarr"))
	require.NoError(t, err)
	given, err := tree.Stats()
	require.NoError(t, err)
	require.Equal(t, s.LP[:300], given.LP[1:301])
}

// The centred funnel must be found out.
func TestFunnelFails(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	store := filepath.Join(dir, "f.zarr")
	succeed(t, "sample", "builtin:funnel:dim=10", "--sampler", "nuts", "--chains", "4", "--steps", "1000", "--burn-in", "400", "-o", filepath.Join(dir, "last.npy"), "--zarr", store)
	fail(t, exitFailure, []string{"diagnose", store, "--check"}, "a check failed", "divergences", "ebfmi")
}

func TestStoreIsRefusedEarly(t *testing.T) {
	dir := t.TempDir()
	draws := writeArray(t, filepath.Join(dir, "d.npy"), normals("d", 80), 2, 20, 2)
	full := filepath.Join(dir, "full")
	require.NoError(t, os.Mkdir(full, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(full, "precious"), nil, 0o666))
	common := []string{"sample", "builtin:gaussian", "--chains", "2", "--steps", "5", "--step-size", "0.1", "-o", filepath.Join(dir, "last.npy"), "--zarr"}
	fail(t, exitFailure, append(common, full), "something else in it")
	fail(t, exitFailure, append(common, filepath.Join(dir, "no", "d.zarr")), "does not exist")
	fail(t, exitUsage, append(common, full, "--burn-in", "5"), "no draw is kept")
	fail(t, exitFailure, []string{"diagnose", draws, "--zarr", full}, "something else in it")
	fail(t, exitFailure, []string{"diagnose", full}, "zarr")
	require.NoFileExists(t, filepath.Join(dir, "last.npy"))
}
