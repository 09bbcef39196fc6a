//go:build slow

package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// Both ways of training reach, in full: a judge trained on the data is sure of nine samples in ten, finds every class among them, and the
// energy tells outliers. About ten minutes on two idle cores.
func TestFigures(t *testing.T) {
	reached, err := run(context.Background(), full, 1, t.TempDir(), "")
	require.NoError(t, err)
	require.Len(t, reached, len(methods))
	for name, f := range reached {
		requireFigures(t, name, f)
	}
}

func requireFigures(t *testing.T, name string, f figures) {
	require.GreaterOrEqual(t, f.sure, 0.9, name)
	require.Len(t, f.classes, 10)
	for class, n := range f.classes {
		require.Positive(t, n, "%s: class %d", name, class)
	}
	require.Less(t, f.empty, 5, name)
	require.Len(t, f.auroc, 7)
	for _, s := range f.auroc {
		least := 0.95
		if s.kind == uniformNoise {
			least = 0.99
		}
		require.GreaterOrEqual(t, s.score, least, "%s: %s", name, s.kind)
	}
}
