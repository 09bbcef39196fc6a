package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// Ops that an energy cannot have are refused by name, with their node and the reason, by every command that reads a model, and before ONNX Runtime
// sees it.
func TestRefusedOps(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	x := writeArray(t, path("x.npy"), normals("x", 6), 3, 2)
	for op, reason := range map[string]string{
		"Frobnicate":                        "no op of ai.onnx",
		"com.acme::Thing":                   "the domain com.acme is not known",
		"ai.onnx.ml::TreeEnsembleRegressor": "trees",
		"com.microsoft::FusedFrob":          "ONNX Runtime's optimisations",
		"SequenceConstruct":                 "sequences",
		"DynamicQuantizeLinear":             "quantised",
		"RandomNormalLike":                  "random numbers",
	} {
		n := &graphs.Node{Op: op, Name: "culprit"}
		if domain, name, ok := strings.Cut(op, "::"); ok {
			n.Domain, n.Op = domain, name
		}
		model := writeBuilt(t, path("m.onnx"), func(b *graphs.Builder) []graphs.Output {
			n.In = []*graphs.Value{b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(2)})}
			n.Out = []*graphs.Value{{Kind: graphs.Computed, Node: n}}
			return []graphs.Output{{Name: "y", Value: b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Add(n)[0], b.Ints(1))}}
		})
		for _, args := range [][]string{
			{"import", model, "-o", path("e.onnx")}, {"derive", model, "--what", "gradient", "-o", path("d.onnx")}, {"eval", model, "--in", x, "--energy", path("e.npy")},
		} {
			fail(t, exitFailure, args, "op "+op, `"culprit"`, reason)
		}
		o := succeed(t, "inspect", model)
		require.Contains(t, o.stdout, "op "+op)
		require.Contains(t, o.stdout, reason)
	}
	require.Len(t, snapshot(t, dir), 2)
}

// A model that is no energy file yet is proved when it is used, too.
func TestRowsOfRawModels(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	x := writeArray(t, filepath.Join(dir, "x.npy"), normals("x", 6), 3, 2)
	model := writeBuilt(t, filepath.Join(dir, "m.onnx"), func(b *graphs.Builder) []graphs.Output {
		x := b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(2)})
		mean := b.Op("ReduceMean", nil, x, b.Ints(0))
		return []graphs.Output{{Name: "y", Value: b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, x, mean), b.Ints(1))}}
	})
	fail(t, exitFailure, []string{"eval", model, "--in", x, "--energy", filepath.Join(dir, "e.npy")}, "rows influence each other")
}
