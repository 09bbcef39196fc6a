package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers"
)

func readBytes(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return raw
}

func TestSampleLayouts(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name+".npy") }
	common := []string{"sample", "builtin:double-well:dim=3", "--chains", "5", "--steps", "23", "--step-size", "0.01", "--burn-in", "4", "--thin", "3", "-o", path("last")}
	run := func(more ...string) { succeed(t, append(append([]string{}, common...), more...)...) }

	run("--draws", path("draws"), "--energies", path("energies"), "--workers", "1")
	const kept = (23 - 4) / 3
	last := readArray(t, path("last"), 5, 3)
	draws := readArray(t, path("draws"), 5, kept, 3)
	energies := readArray(t, path("energies"), 5, kept)
	var well doubleWell
	for i := range energies {
		require.InEpsilon(t, well.energy(float64s(draws[3*i:3*i+3])), float64(energies[i]), 1e-4)
	}
	first := readBytes(t, path("draws"))

	// The same bytes for any number of workers; others for another seed.
	run("--draws", path("draws2"), "--workers", "2")
	require.Equal(t, first, readBytes(t, path("draws2")))
	require.Equal(t, last, readArray(t, path("last"), 5, 3))
	run("--draws", path("draws2"), "--seed", "1")
	require.NotEqual(t, first, readBytes(t, path("draws2")))

	// The start comes first, and may be given.
	init := writeArray(t, path("init"), normals("init", 15), 5, 3)
	run("--draws", path("started"), "--energies", path("e2"), "--with-start", "--init", init)
	started := readArray(t, path("started"), 5, 1+kept, 3)
	e2 := readArray(t, path("e2"), 5, 1+kept)
	for c := range 5 {
		x := normals("init", 15)[3*c : 3*c+3]
		require.Equal(t, x, started[c*(1+kept)*3:c*(1+kept)*3+3])
		require.InEpsilon(t, well.energy(float64s(x)), float64(e2[c*(1+kept)]), 1e-4)
	}

	run("--clamp", "-0.5,0.25")
	for _, v := range readArray(t, path("last"), 5, 3) {
		require.True(t, v >= -0.5 && v <= 0.25, v)
	}
}

// TestLangevinStationaryVariance knows that ULA on N(0, 1) has the variance 1/(1−η/2).
func TestLangevinStationaryVariance(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	last := filepath.Join(dir, "last.npy")
	const chains, dim, eta = 5000, 4, 0.4
	succeed(t, "sample", "builtin:gaussian:dim=4", "--chains", "5000", "--steps", "60", "--step-size", "0.4", "-o", last)
	sum := 0.0
	for _, v := range readArray(t, last, chains, dim) {
		sum += float64(v) * float64(v)
	}
	const want, n = 1 / (1 - eta/2), chains * dim
	z := (sum/n - want) / (want * 1.41421356 / 141.421356)
	require.InDelta(t, 0, z, 4, "variance %v, not %v", sum/n, want)
}

func TestEverySamplerRuns(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	for _, name := range samplers.Names() {
		last := filepath.Join(dir, name+".npy")
		o := succeed(t, "sample", "builtin:gaussian", "--sampler", name, "--chains", "3", "--steps", "20", "--burn-in", "10", "--step-size", "0.1", "-o", last, "--json")
		readArray(t, last, 3, 2)
		var j map[string]any
		require.NoError(t, json.Unmarshal([]byte(o.stdout), &j), name)
		for _, key := range []string{"acceptance", "divergences", "rejected_nonfinite", "gradient_evaluations"} {
			require.Contains(t, j, key, name)
		}
	}
}

func TestSampleReport(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	args := []string{"sample", "builtin:gaussian:dim=3:mean=2", "--sampler", "nuts", "--chains", "4", "--steps", "600", "--burn-in", "200", "--step-size", "0.3", "-o", filepath.Join(dir, "last.npy"), "--json"}
	type report struct {
		Draws       int
		Acceptance  float64
		Coordinates map[string][]float64
	}
	of := func(more ...string) (r report) {
		require.NoError(t, json.Unmarshal([]byte(succeed(t, append(append([]string{}, args...), more...)...).stdout), &r))
		return r
	}
	r := of()
	require.Equal(t, 400, r.Draws)
	require.Greater(t, r.Acceptance, 0.5)
	for _, key := range []string{"mean", "sd", "mcse", "ess_bulk", "ess_tail", "rhat"} {
		require.Len(t, r.Coordinates[key], 3, key)
	}
	for j := range 3 {
		require.InDelta(t, 2, r.Coordinates["mean"][j], 5*r.Coordinates["mcse"][j])
		require.InDelta(t, 1, r.Coordinates["rhat"][j], 0.05)
	}
	// The start is no draw, and asking for files changes nothing.
	require.Equal(t, r, of("--draws", filepath.Join(dir, "d.npy"), "--with-start"))
}

func TestSampleResumes(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	args := func(steps, out string, more ...string) []string {
		return append([]string{"sample", "builtin:rings", "--sampler", "hmc", "--chains", "6", "--burn-in", "10", "--step-size", "0.1", "--steps", steps, "-o", path(out + ".npy"), "--draws", path(out + "-draws.npy")}, more...)
	}
	succeed(t, args("60", "whole")...)
	succeed(t, args("25", "part", "--checkpoint", path("run"), "--every", "10")...)
	succeed(t, args("60", "part", "--checkpoint", path("run"), "--resume", "--workers", "1")...)
	require.Equal(t, readBytes(t, path("whole.npy")), readBytes(t, path("part.npy")))
	require.Equal(t, readBytes(t, path("whole-draws.npy")), readBytes(t, path("part-draws.npy")))

	fail(t, exitFailure, args("80", "other", "--checkpoint", path("run"), "--resume", "--seed", "5"), "another seed")
	require.NoFileExists(t, path("other.npy"))
	raw := readBytes(t, path("run/sample.ckpt"))
	require.NoError(t, os.WriteFile(path("run/sample.ckpt"), raw[:len(raw)-9], 0o600))
	o := succeed(t, args("60", "again", "--checkpoint", path("run"), "--resume")...)
	require.Contains(t, o.stderr, "damaged")
	require.Equal(t, readBytes(t, path("whole.npy")), readBytes(t, path("again.npy")))
	require.Contains(t, succeed(t, args("60", "again", "--checkpoint", path("new"), "--resume")...).stderr, "no checkpoint")
	fail(t, exitFailure, args("60", "other", "--checkpoint", path("a/b")), "checkpoint folder")
}

func TestInterruptedSamplingWritesWhatThereIs(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	last, draws := filepath.Join(dir, "last.npy"), filepath.Join(dir, "draws.npy")
	var stderr bytes.Buffer
	c := asProcess(nil, "sample", "builtin:rings", "--chains", "50", "--steps", "100000000", "--thin", "10000", "--step-size", "0.01", "-o", last, "--draws", draws)
	c.Stderr = &stderr
	require.NoError(t, c.Start())
	time.Sleep(700 * time.Millisecond)
	require.NoError(t, c.Process.Signal(syscall.SIGINT))
	require.Error(t, c.Wait())
	require.Equal(t, exitFailure, c.ProcessState.ExitCode(), stderr.String())
	require.Contains(t, stderr.String(), "interrupted after")
	readArray(t, last, 50, 2)
	_, shape, err := readRows(draws, nil)
	require.NoError(t, err)
	require.Equal(t, 50, shape[0])
	require.Equal(t, 2, shape[2])
}

func TestProgressOnlyWhenAsked(t *testing.T) {
	needRuntime(t)
	last := filepath.Join(t.TempDir(), "last.npy")
	args := []string{"sample", "builtin:gaussian", "--chains", "2", "--steps", "50", "--step-size", "0.1", "-o", last}
	require.Empty(t, succeed(t, args...).stderr)
	o := succeed(t, append(args, "--progress")...)
	require.Contains(t, o.stderr, "50/50")
	require.Empty(t, o.stdout)
	require.True(t, strings.HasSuffix(o.stderr, "\n"))
}
