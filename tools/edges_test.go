package tools

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/onnx-ebm/onnx-ebm/"

// edges lists which rooms of the house each room may use, directly or not. Everybody may use internal/.
var edges = map[string][]string{
	"graphs":        {},
	"gradients":     {"graphs"},
	"runtime":       {},
	"models":        {"graphs", "gradients", "samplers/rng"},
	"models/onnxgo": {"graphs", "gradients", "runtime"},
	"losses":        {"samplers/rng"},
	"samplers":      {"samplers"},
	"ebm":           {"runtime", "graphs", "gradients", "losses", "samplers", "samplers/rng", "samplers/schedule"},
	"ebm/data":      {"samplers/rng"},
	"ebm/optim":     {"samplers/schedule"},
	"ebm/train":     {"runtime", "graphs", "gradients", "losses", "samplers", "ebm", "samplers/rng", "samplers/schedule"},
}

// pure rooms build without cgo.
var pure = []string{"./graphs/...", "./gradients/...", "./losses/...", "./samplers/...", "./models", "./ebm/data/...", "./ebm/optim/..."}

func goList(t *testing.T, args ...string) []string {
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
	require.NoError(t, err)
	return strings.Fields(string(out))
}

func TestImportEdges(t *testing.T) {
	for room, allowed := range edges {
		for _, dep := range goList(t, "-deps", module+room) {
			inner, ours := strings.CutPrefix(dep, module)
			if !ours || strings.HasPrefix(inner, "internal/") || inner == room || strings.HasPrefix(inner, room+"/") {
				continue
			}
			ok := false
			for _, a := range allowed {
				ok = ok || inner == a || strings.HasPrefix(inner, a+"/")
			}
			require.True(t, ok, "%s must not depend on %s", room, inner)
		}
	}
}

func TestForeignImports(t *testing.T) {
	importers := map[string][]string{
		"github.com/owulveryck/onnx-go":     {"models/onnxgo"},
		"gorgonia.org":                      {"models/onnxgo"},
		"github.com/yalue/onnxruntime_go":   {"runtime"},
		"gonum.org/v1/plot":                 {"tools", "docs/examples"},
		"github.com/spf13/cobra":            {"tools"},
		"github.com/schollz/progressbar/v3": {"tools"},
	}
	for _, line := range goList(t, "-f", `{{.ImportPath}}={{join .Imports ","}}`, module+"...") {
		pkg, imports, _ := strings.Cut(line, "=")
		for _, path := range strings.Split(imports, ",") {
			for foreign, rooms := range importers {
				if path != foreign && !strings.HasPrefix(path, foreign+"/") {
					continue
				}
				ok := false
				for _, r := range rooms {
					ok = ok || strings.HasPrefix(strings.TrimPrefix(pkg, module), r)
				}
				require.True(t, ok, "%s must not import %s", pkg, path)
			}
		}
	}
}

func TestPureRoomsBuildWithoutCgo(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build"}, pure...)...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}
