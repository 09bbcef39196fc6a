package runtime

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	ort "github.com/yalue/onnxruntime_go"
)

// TestAnotherPackageWasFirst starts a process in which the Go binding is
// initialised before Open.
func TestAnotherPackageWasFirst(t *testing.T) {
	const variable = "ONNX_EBM_TEST_FOREIGN"
	if path := os.Getenv(variable); path != "" {
		ort.SetSharedLibraryPath(path)
		require.NoError(t, ort.InitializeEnvironment())
		r, err := Open(Options{})
		require.NoError(t, err)
		require.Equal(t, "loaded by another package", r.Info().Source)
		require.True(t, sameFile(path, r.Info().Library), r.Info().Library)
		b := bind(t, compile(t, r, Model{Name: "double", Bytes: doubleModel, Inputs: []Port{{Name: "x"}}, Outputs: []Port{{Name: "y"}}}), 1, BindOptions{})
		b.In("x")[0] = 4
		require.NoError(t, b.Run(background))
		require.Equal(t, float32(8), b.Out("y")[0])
		_, err = Open(Options{Library: os.Args[0]})
		require.ErrorContains(t, err, "one ONNX Runtime only")
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAnotherPackageWasFirst$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+open(t, 1).Info().Library)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "--- PASS: TestAnotherPackageWasFirst")
}
