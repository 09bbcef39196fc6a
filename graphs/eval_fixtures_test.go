package graphs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/internal/npy"
)

const fixturesDir = "../../shared/fixtures"

// fixtureEnergies make E [N] of a model's output [N, …].
var fixtureEnergies = map[string]func(row []float64) float64{
	"identity":     func(r []float64) float64 { return r[0] },
	"negate":       func(r []float64) float64 { return -r[0] },
	"sqnorm":       func(r []float64) float64 { return sumOf(r, square) },
	"neglogsumexp": func(r []float64) float64 { return -logSumExp(r) },
}

func readNpy(t *testing.T, file string) *Array {
	a, err := npy.ReadFile(file)
	require.NoError(t, err)
	return arrF(a.Shape, convert(a.Data, func(x float32) float64 { return float64(x) })...)
}

// Energies that PyTorch, JAX, TensorFlow and scikit-learn computed in float64 and stored as float32, from their exported models.
// The exporters rounded constants such as √2 and folded normalizations to float32, which costs up to 6e-7 of the terms that an energy sums.
func TestEvaluateFixtures(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(fixturesDir, "index.json"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the exported energies are not beside the repository")
	}
	require.NoError(t, err)
	var index map[string]struct {
		Energy string
		Set    map[string]float64
	}
	require.NoError(t, json.Unmarshal(data, &index))
	for name, f := range index {
		t.Run(name, func(t *testing.T) {
			g, _, err := ReadFile(filepath.Join(fixturesDir, name, "model.onnx"))
			require.NoError(t, err)
			x := readNpy(t, filepath.Join(fixturesDir, name, "x.npy"))
			want := readNpy(t, filepath.Join(fixturesDir, name, "energy.npy"))
			make1 := fixtureEnergies[f.Energy]
			require.NotNil(t, make1, f.Energy)
			energies := func(x *Array) []float64 {
				feeds := map[string]*Array{}
				for _, in := range g.Inputs {
					feeds[in.Name] = x
					if v, ok := f.Set[in.Name]; ok {
						feeds[in.Name] = constantFeed(in, x.Dims[0], v)
					}
				}
				out, err := Evaluate(g, feeds)
				require.NoError(t, err)
				y := out[g.Outputs[0].Name]
				n := x.Dims[0]
				e := make([]float64, n)
				for i := range e {
					e[i] = make1(y.F[i*len(y.F)/n : (i+1)*len(y.F)/n])
				}
				return e
			}
			var got []float64
			if in := g.Inputs[0]; in.Rank() > 0 && in.Shape()[0].Is(1) {
				for i := range x.Dims[0] {
					one, err := x.narrow(0, i, 1, 1)
					require.NoError(t, err)
					got = append(got, energies(one)...)
				}
			} else {
				got = energies(x)
			}
			requireArray(t, want, vecF(got...), 1e-6, 1e-8)
		})
	}
}

// constantFeed fills an input, whose open extents are the batch, with one number.
func constantFeed(in *Value, batch int, v float64) *Array {
	dims := make([]int, in.Rank())
	for i, d := range in.Shape() {
		dims[i] = batch
		if d.IsStatic() {
			dims[i] = int(d.Size)
		}
	}
	a := arrF(dims, make([]float64, product(dims))...)
	for i := range a.F {
		a.F[i] = v
	}
	if in.Type.DType.IsFloat() {
		return a
	}
	cast, err := cast(a, in.Type.DType)
	if err != nil {
		panic(fmt.Sprintf("input %v: %v", in, err))
	}
	return cast
}
