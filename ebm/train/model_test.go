package train

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// open gives a runtime, or skips the test where no library is installed.
func open(t testing.TB, workers int) *runtime.Runtime {
	t.Helper()
	rt, err := runtime.Open(runtime.Options{Workers: workers})
	if errors.Is(err, runtime.ErrNoLibrary) {
		t.Skipf("needs ONNX Runtime: %v", err)
	}
	require.NoError(t, err)
	return rt
}

func energy(t testing.TB, rt *runtime.Runtime, g *graphs.Graph, o ebm.Options) *ebm.Energy {
	t.Helper()
	o.Trainable = true
	e, err := ebm.New(rt, g, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func graphOf(t testing.TB, b *graphs.Builder, e *graphs.Value) *graphs.Graph {
	t.Helper()
	g, err := b.Graph(graphs.Output{Name: gradients.EnergyName, Value: e})
	require.NoError(t, err)
	return g
}

// quadratic is E(x) = ½‖xW‖² + x·b: precision WWᵀ.
func quadratic(t testing.TB, dim int) *graphs.Graph {
	b := graphs.NewBuilder("quadratic")
	x := b.Input(gradients.X, graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(int64(dim))})
	w := make([]float32, dim*dim)
	for i := range dim {
		w[i*dim+i] = 1
	}
	y := b.Op("MatMul", nil, x, b.Param("W", graphs.NewTensor(w, int64(dim), int64(dim))))
	half := b.Op("Mul", nil, b.Op("Mul", nil, y, y), b.Float(0.5))
	shift := b.Op("Mul", nil, x, b.Param("b", graphs.NewTensor(make([]float32, dim), int64(dim))))
	return graphOf(t, b, b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Add", nil, half, shift), b.Ints(1)))
}

// precision is WWᵀ of a quadratic.
func precision(e *ebm.Energy) []float64 {
	q, _ := e.Store().Lookup("W")
	w, d := e.Store().Of(q), e.Dim()
	p := make([]float64, d*d)
	for i := range d {
		for j := range d {
			for k := range d {
				p[i*d+j] += float64(w[i*d+k]) * float64(w[j*d+k])
			}
		}
	}
	return p
}

// mlp is a network of SiLU layers with a linear end.
func mlp(t testing.TB, dim int, hidden ...int) *graphs.Graph {
	b := graphs.NewBuilder("mlp")
	h := b.Input(gradients.X, graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(int64(dim))})
	key, fan := rng.NewKey(7), dim
	for i, n := range append(hidden, 1) {
		w := make([]float32, fan*n)
		key.Normals(w, uint64(i), 0)
		for j := range w {
			w[j] /= float32(math.Sqrt(float64(fan)))
		}
		name := string(rune('1' + i))
		h = b.Op("Gemm", nil, h, b.Param("W"+name, graphs.NewTensor(w, int64(fan), int64(n))), b.Param("b"+name, graphs.NewTensor(make([]float32, n), int64(n))))
		if i < len(hidden) {
			h = b.Op("Mul", nil, h, b.Op("Sigmoid", nil, h))
		}
		fan = n
	}
	return graphOf(t, b, b.Op("Squeeze", nil, h, b.Ints(1)))
}

func newLoss(t testing.TB, text string, chains losses.Negatives) losses.Loss {
	t.Helper()
	l, err := losses.New(text, losses.Options{Chains: chains})
	require.NoError(t, err)
	return l
}

func dataset(t testing.TB, text string, seed uint64) data.Dataset {
	t.Helper()
	ds, err := data.Open(text, data.Options{Key: rng.NewKey(seed)})
	require.NoError(t, err)
	return ds
}

// gaussian is n points of N(0, diag(std²)).
func gaussian(t testing.TB, n int, seed uint64, std ...float32) *data.Memory {
	t.Helper()
	x := make([]float32, n*len(std))
	rng.NewKey(seed).Normals(x, 0, 0)
	for i := range x {
		x[i] *= std[i%len(std)]
	}
	ds, err := data.NewMemory([]int{len(std)}, x)
	require.NoError(t, err)
	return ds
}
