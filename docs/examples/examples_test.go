// Package examples runs the examples beneath it in their short form.
package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// folders are all examples.
func folders(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("*/main.go")
	require.NoError(t, err)
	require.NotEmpty(t, found)
	for i, f := range found {
		found[i] = filepath.Dir(f)
	}
	return found
}

func needRuntime(t *testing.T) {
	t.Helper()
	if _, err := runtime.Open(runtime.Options{}); err != nil {
		t.Skip(err)
	}
}

func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Env = append(os.Environ(), "ONNX_EBM_SHORT=1")
	return c
}

func run(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s\n%s", c, out)
	return string(out)
}

func TestPrograms(t *testing.T) {
	needRuntime(t)
	bin := t.TempDir()
	run(t, command(t, "go", "build", "-o", bin+string(filepath.Separator), "./..."))
	for _, name := range folders(t) {
		t.Run(name, func(t *testing.T) {
			c := command(t, filepath.Join(bin, name))
			c.Dir = t.TempDir()
			require.NotEmpty(t, run(t, c), "it says what it did")
		})
	}
}

func TestScripts(t *testing.T) {
	needRuntime(t)
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip(err)
	}
	tool := filepath.Join(t.TempDir(), "onnx-ebm")
	run(t, command(t, "go", "build", "-o", tool, "../../tools/onnx-ebm"))
	for _, name := range folders(t) {
		t.Run(name, func(t *testing.T) {
			c := command(t, "sh", filepath.Join(name, "run.sh"))
			out := t.TempDir()
			c.Env = append(c.Env, "ONNX_EBM="+tool, "OUT="+out)
			run(t, c)
			written, err := filepath.Glob(filepath.Join(out, "*"))
			require.NoError(t, err)
			require.NotEmpty(t, written)
		})
	}
}
