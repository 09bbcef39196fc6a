package gradients_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
)

func readArray(t *testing.T, path string) *graphs.Array {
	a, err := npy.ReadFile(path)
	require.NoError(t, err)
	f := make([]float64, len(a.Data))
	for i, x := range a.Data {
		f[i] = float64(x)
	}
	return &graphs.Array{DType: graphs.Float32, Dims: a.Shape, F: f}
}

func worst(got, want []float64) float64 {
	w, scale := 0.0, 1e-6
	for _, x := range want {
		scale = max(scale, math.Abs(x))
	}
	for i := range want {
		w = max(w, math.Abs(got[i]-want[i])/scale)
	}
	return w
}

// Reference values of other autodiff engines, met by the evaluator.
func TestFixtures(t *testing.T) {
	dir := "../../shared/fixtures"
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Skip("no reference models beside the project")
	}
	index := map[string]struct {
		Tier   int
		Energy string
		Set    map[string]any
		Kinked bool
	}{}
	require.NoError(t, json.Unmarshal(raw, &index))
	for name, m := range index {
		if m.Tier > 1 || m.Energy != "identity" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			d := filepath.Join(dir, name)
			g, _, err := graphs.ReadFile(filepath.Join(d, "model.onnx"))
			require.NoError(t, err)
			g, err = graphs.Infer(g)
			require.NoError(t, err)
			g.Inputs[0].Name = "x"
			v := g.Outputs[0].Value
			if v.Rank() == 2 {
				b := graphs.Extend(g)
				v = b.Op("Squeeze", nil, v, b.Ints(1))
				g, err = b.Graph(graphs.Output{Name: "energy", Value: v})
				require.NoError(t, err)
			}
			g.Outputs[0].Name = "energy"
			d2, err := gradients.Derive(g, gradients.Energy|gradients.Gradient|gradients.HVP)
			require.NoError(t, err)
			require.NoError(t, graphs.Check(d2))
			d1, err := gradients.Derive(g, gradients.Gradient)
			require.NoError(t, err)
			t.Logf("nodes: energy %d gradient %d all %d", g.CountNodes(), d1.CountNodes(), d2.CountNodes())
			out, err := graphs.Evaluate(d2, map[string]*graphs.Array{"x": readArray(t, d+"/x.npy"), "v": readArray(t, d+"/v.npy")})
			require.NoError(t, err, graphs.Print(d2))
			for _, q := range []string{"energy", "gradient", "hvp"} {
				want := readArray(t, filepath.Join(d, q+".npy"))
				require.Equal(t, want.Dims, out[q].Dims)
				require.Less(t, worst(out[q].F, want.F), 2e-6, q)
			}
			dl, err := gradients.Derive(g, gradients.Gradient|gradients.Laplacian)
			require.NoError(t, err)
			require.NoError(t, graphs.Check(dl))
			h, err := gradients.Hessian(g)
			require.NoError(t, err)
			t.Logf("nodes: laplacian %d hessian %d", dl.CountNodes(), h.CountNodes())
			feeds := map[string]*graphs.Array{"x": readArray(t, d+"/x.npy")}
			out, err = graphs.Evaluate(dl, feeds)
			require.NoError(t, err, graphs.Print(dl))
			hess, err := graphs.Evaluate(h, feeds)
			require.NoError(t, err, graphs.Print(h))
			want := readArray(t, filepath.Join(d, "gradient.npy"))
			require.Less(t, worst(out["gradient"].F, want.F), 2e-6, graphs.Print(dl))
			if _, err := os.Stat(filepath.Join(d, "laplacian.npy")); err != nil || m.Kinked {
				return
			}
			want = readArray(t, filepath.Join(d, "laplacian.npy"))
			require.Equal(t, want.Dims, out["laplacian"].Dims)
			require.Less(t, worst(out["laplacian"].F, want.F), 2e-6, graphs.Print(dl))
			n, dim := hess["hessian"].Dims[0], hess["hessian"].Dims[1]
			trace := make([]float64, n)
			for i := range n {
				for k := range dim {
					trace[i] += hess["hessian"].F[(i*dim+k)*dim+k]
				}
			}
			require.Less(t, worst(trace, want.F), 2e-6)
		})
	}
}
