//go:build slow

package graphs

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The image classifiers of ONNX's backend tests, with constant weights, on the ramp that its runner feeds.
func TestEvaluateLightModels(t *testing.T) {
	f, err := os.Open(backendArchive)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("ONNX's backend archive is not beside the repository")
	}
	require.NoError(t, err)
	defer f.Close()
	gz, err := gzip.NewReader(f)
	require.NoError(t, err)
	files := map[string][]byte{}
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if strings.Contains(h.Name, "/light/") {
			files[path.Base(h.Name)], err = io.ReadAll(tr)
			require.NoError(t, err)
		}
	}
	for name, model := range files {
		if !strings.HasSuffix(name, ".onnx") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			g, _, err := Decode(model, "")
			require.NoError(t, err)
			require.Len(t, g.Inputs, 1)
			x := sawtooth(toInts(g.Inputs[0].Shape().Ints())...)
			for i := range x.F {
				x.F[i] = float64(float32(float64(i) / float64(len(x.F))))
			}
			start := time.Now()
			out, err := Evaluate(g, map[string]*Array{g.Inputs[0].Name: x})
			require.NoError(t, err)
			t.Logf("%d nodes in %v", g.CountNodes(), time.Since(start))
			want, err := decodeArray(files[strings.TrimSuffix(name, ".onnx")+"_output_0.pb"])
			require.NoError(t, err)
			requireArray(t, want, out[g.Outputs[0].Name], 1e-3, 1e-7)
		})
	}
}
