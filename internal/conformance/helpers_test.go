package conformance

import (
	"errors"
	"flag"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/runtime"
)

var update = flag.Bool("update", false, "write the generated part of docs/ops.md anew")

func openRuntime(t testing.TB) *runtime.Runtime {
	rt, err := runtime.Open(runtime.Options{})
	if errors.Is(err, runtime.ErrNoLibrary) {
		t.Skip("needs ONNX Runtime: make runtime")
	}
	require.NoError(t, err)
	return rt
}
