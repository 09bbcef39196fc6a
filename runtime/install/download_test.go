//go:build slow

package install

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// TestDownload gets the default version through each client, and loads one.
func TestDownload(t *testing.T) {
	var last Installed
	for _, from := range []string{Pip, Npm} {
		got, err := Install(context.Background(), Config{Dir: t.TempDir(), From: from, Progress: func(m string) { t.Log(m) }})
		require.NoError(t, err)
		last = got
	}
	r, err := runtime.Open(runtime.Options{Library: last.Library})
	require.NoError(t, err)
	require.Equal(t, DefaultVersion, r.Info().Version)
}
