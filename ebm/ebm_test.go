package ebm_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

func openRuntime(t testing.TB) *runtime.Runtime {
	rt, err := runtime.Open(runtime.Options{})
	if errors.Is(err, runtime.ErrNoLibrary) {
		t.Skip("needs ONNX Runtime: make runtime")
	}
	require.NoError(t, err)
	return rt
}

type fixture struct {
	Tier    int
	Energy  string
	Set     map[string]any
	Kinked  bool
	Sigma   float64
	Losses  map[string]float64
	dir     string
	imports ebm.ImportOptions
}

// maxTier is the highest tier of reference models that must agree.
const maxTier = 4

func fixtures(t *testing.T) map[string]fixture {
	dir := "../../shared/fixtures"
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Skip("no reference models beside the project")
	}
	all := map[string]fixture{}
	require.NoError(t, json.Unmarshal(raw, &all))
	for name, f := range all {
		if f.Tier > maxTier {
			delete(all, name)
			continue
		}
		f.dir = filepath.Join(dir, name)
		f.imports = ebm.ImportOptions{As: f.Energy, Set: map[string]ebm.SetValue{}}
		for k, v := range f.Set {
			_, s, err := ebm.ParseSet(fmt.Sprintf("%s=%v", k, v))
			require.NoError(t, err)
			f.imports.Set[k] = s
		}
		all[name] = f
	}
	return all
}

func array(t *testing.T, path string) npy.Array {
	a, err := npy.ReadFile(path)
	require.NoError(t, err)
	return a
}

func (f fixture) open(t *testing.T, rt *runtime.Runtime, o ebm.Options) (*ebm.Energy, npy.Array) {
	src, _, err := graphs.ReadFile(filepath.Join(f.dir, "model.onnx"))
	require.NoError(t, err)
	g, _, err := ebm.Import(src, f.imports)
	require.NoError(t, err)
	x := array(t, filepath.Join(f.dir, "x.npy"))
	for _, d := range x.Shape[1:] {
		o.Item = append(o.Item, int64(d))
	}
	require.NoError(t, ebm.CheckRows(t.Context(), rt, g, o.Item))
	e, err := ebm.New(rt, g, o)
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	return e, x
}

// requireNear compares within tol of the largest magnitude.
func requireNear(t *testing.T, want, got []float32, tol float64, what string) {
	t.Helper()
	require.Equal(t, len(want), len(got), what)
	scale, worst := 1e-6, 0.0
	for _, w := range want {
		scale = max(scale, math.Abs(float64(w)))
	}
	for i := range want {
		worst = max(worst, math.Abs(float64(want[i])-float64(got[i]))/scale)
	}
	require.LessOrEqual(t, worst, tol, what)
}

// Reference values of PyTorch and others through import, frozen programs and ONNX Runtime.
func TestReferenceValues(t *testing.T) {
	rt := openRuntime(t)
	for name, f := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			e, x := f.open(t, rt, ebm.Options{})
			n := x.Shape[0]
			out, g, hv := make([]float32, n), make([]float32, n*e.Dim()), make([]float32, n*e.Dim())
			require.NoError(t, e.EnergyGradient(t.Context(), x.Data, n, out, g))
			requireNear(t, array(t, f.dir+"/energy.npy").Data, out, 1e-5, "energy")
			requireNear(t, array(t, f.dir+"/gradient.npy").Data, g, 1e-4, "gradient")
			require.NoError(t, e.HVP(t.Context(), x.Data, array(t, f.dir+"/v.npy").Data, n, hv))
			requireNear(t, array(t, f.dir+"/hvp.npy").Data, hv, 1e-3, "hvp")
			if _, err := os.Stat(f.dir + "/laplacian.npy"); err == nil && !f.Kinked {
				require.NoError(t, e.Laplacian(t.Context(), x.Data, n, out))
				requireNear(t, array(t, f.dir+"/laplacian.npy").Data, out, 1e-3, "laplacian")
			}
		})
	}
}

func TestReferenceLosses(t *testing.T) {
	rt := openRuntime(t)
	for name, f := range fixtures(t) {
		for loss, want := range f.Losses {
			t.Run(name+"/"+loss, func(t *testing.T) {
				e, x := f.open(t, rt, ebm.Options{Trainable: true})
				b := losses.Batch{N: x.Shape[0], Dim: e.Dim(), X: x.Data}
				spec := loss
				switch loss {
				case "cd":
					neg := array(t, f.dir+"/neg.npy")
					b.Neg, b.M = neg.Data, neg.Shape[0]
				case "dsm":
					b.Noise = array(t, f.dir+"/eps.npy").Data
					spec = fmt.Sprintf("dsm:sigma=%g", f.Sigma)
				case "sm":
				default:
					b.Vectors = array(t, f.dir+"/v.npy").Data
				}
				l, err := losses.New(spec, losses.Options{})
				require.NoError(t, err)
				d := make([]float32, len(e.Params()))
				r, err := losses.Run(t.Context(), e, l, b, rng.NewKey(0), d)
				require.NoError(t, err)
				require.LessOrEqual(t, math.Abs(r.Loss-want)/max(math.Abs(want), 0.05), 1e-4)
				requireGradients(t, filepath.Join(f.dir, loss+"-grads.npz"), e, d)
			})
		}
	}
}

func requireGradients(t *testing.T, path string, e *ebm.Energy, d []float32) {
	entries, err := npy.ReadArchive(path)
	require.NoError(t, err)
	big := 0.0
	for _, r := range entries {
		for _, w := range r.Array.Data {
			big = max(big, math.Abs(float64(w)))
		}
	}
	for _, r := range entries {
		q, ok := e.Store().Lookup(r.Name)
		require.True(t, ok, "no parameter %q among %v", r.Name, e.Store().Names())
		got := d[q.Offset : q.Offset+q.Len]
		scale, worst := max(1e-2*big, 1e-9), 0.0
		for _, w := range r.Array.Data {
			scale = max(scale, math.Abs(float64(w)))
		}
		for i, w := range r.Array.Data {
			worst = max(worst, math.Abs(float64(w)-float64(got[i]))/scale)
		}
		require.LessOrEqual(t, worst, 1e-3, r.Name)
	}
}
