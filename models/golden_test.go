package models

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The printed graphs, so that a change of what is built is seen.
func TestGoldens(t *testing.T) {
	var out strings.Builder
	for _, e := range Help() {
		if e.Name == "logistic" {
			continue
		}
		out.WriteString("# builtin:" + e.Name + "\n" + graphs.Print(builtin(t, "builtin:"+e.Name).Graph) + "\n")
	}
	for _, n := range []struct {
		text string
		item []int64
	}{
		{"mlp:4,3", []int64{2, 2}},
		{"convnet:3,4", []int64{1, 4, 4}},
		{"resnet:4,6:groups=2", []int64{1, 4, 4}},
		{"transformer:4:heads=2:depth=1:patch=2", []int64{1, 4, 4}},
	} {
		out.WriteString("# " + n.text + "\n" + graphs.Print(netOf(t, n.text, n.item...)) + "\n")
	}
	path := filepath.Join("testdata", "graphs.txt")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(out.String()), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String(), "go test -update writes it anew")
}

// A written file is read as the same graph, with its metadata.
func TestFilesRoundTrip(t *testing.T) {
	for _, g := range []*graphs.Graph{
		builtin(t, "builtin:eight-schools").Graph, builtin(t, "builtin:gaussian-mixture").Graph,
		netOf(t, "mlp:4,3", 2), netOf(t, "resnet:4,6:groups=2", 1, 4, 4), netOf(t, "transformer:4:heads=2", 3, 2),
	} {
		path := filepath.Join(t.TempDir(), "e.onnx")
		require.NoError(t, graphs.WriteFile(path, g, graphs.WriteOptions{MaxOpset: 19}))
		back, info, err := graphs.ReadFile(path)
		require.NoError(t, err)
		require.LessOrEqual(t, info.Opsets[""], int64(19))
		require.Equal(t, g.Metadata, back.Metadata)
		names := func(g *graphs.Graph) (out []string) {
			for _, p := range g.Params() {
				out = append(out, p.Name)
			}
			return out
		}
		require.Equal(t, names(g), names(back))
	}
}
