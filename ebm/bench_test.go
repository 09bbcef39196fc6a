package ebm_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// net builds small SiLU networks by hand.
type net struct {
	*graphs.Builder
	key   rng.Key
	count int
}

func (b *net) weight(fan int64, dims ...int64) *graphs.Value {
	size := int64(1)
	for _, d := range dims {
		size *= d
	}
	w := make([]float32, size)
	b.count++
	b.key.Normals(w, uint64(b.count), 0)
	for i := range w {
		w[i] /= float32(math.Sqrt(float64(fan)))
	}
	return b.Param(fmt.Sprintf("p%d", b.count), graphs.NewTensor(w, dims...))
}

func (b *net) silu(x *graphs.Value) *graphs.Value {
	return b.Op("Mul", nil, x, b.Op("Sigmoid", nil, x))
}

func (b *net) dense(x *graphs.Value, in, out int64) *graphs.Value {
	return b.Op("Gemm", graphs.Attrs{"transB": int64(1)}, x, b.weight(in, out, in), b.weight(in, out))
}

func (b *net) conv(x *graphs.Value, in, out, stride int64) *graphs.Value {
	a := graphs.Attrs{"kernel_shape": []int64{3, 3}, "pads": []int64{1, 1, 1, 1}, "strides": []int64{stride, stride}}
	return b.Op("Conv", a, x, b.weight(9*in, out, in, 3, 3), b.weight(9*in, out))
}

func (b *net) energy(tb testing.TB, h *graphs.Value) *graphs.Graph {
	e := b.Op("Squeeze", nil, h, b.Ints(1))
	g, err := b.Graph(graphs.Output{Name: gradients.EnergyName, Value: e})
	require.NoError(tb, err)
	return g
}

func newNet() *net { return &net{Builder: graphs.NewBuilder("net"), key: rng.NewKey(7)} }

// mlp is d-h-h-1.
func mlp(tb testing.TB, d, h int64) *graphs.Graph {
	b := newNet()
	x := b.Input(gradients.X, graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(d)})
	return b.energy(tb, b.dense(b.silu(b.dense(b.silu(b.dense(x, d, h)), h, h)), h, 1))
}

// convnet has two convolutions on 1×16×16 images.
func convnet(tb testing.TB) *graphs.Graph {
	b := newNet()
	x := b.Input(gradients.X, graphs.Float32, append(graphs.Shape{graphs.Symbol("N")}, graphs.ShapeOf(1, 16, 16)...))
	h := b.silu(b.conv(b.silu(b.conv(x, 1, 16, 1)), 16, 32, 2))
	h = b.Op("ReduceMean", graphs.Attrs{"keepdims": int64(0)}, h, b.Ints(2, 3))
	return b.energy(tb, b.dense(h, 32, 1))
}

// BenchmarkResiduals compares pullbacks that keep intermediate values with those that compute them again: one DSM gradient a round.
func BenchmarkResiduals(b *testing.B) {
	rt := openRuntime(b)
	for _, c := range []struct {
		name string
		g    *graphs.Graph
		n    int
	}{{"mlp2-128/256", mlp(b, 2, 128), 256}, {"mlp128-128/1024", mlp(b, 128, 128), 1024}, {"convnet/32", convnet(b), 32}} {
		for _, p := range []struct {
			name   string
			policy gradients.Policy
		}{{"keep", gradients.Keep}, {"recompute", gradients.Recompute}} {
			b.Run(c.name+"/"+p.name, func(b *testing.B) {
				e, err := ebm.New(rt, c.g, ebm.Options{Trainable: true, Policy: p.policy})
				require.NoError(b, err)
				defer e.Close()
				x := make([]float32, c.n*e.Dim())
				rng.NewKey(1).Normals(x, 0, 0)
				l, err := losses.New("dsm", losses.Options{})
				require.NoError(b, err)
				d := make([]float32, len(e.Params()))
				batch := losses.Batch{N: c.n, Dim: e.Dim(), X: x}
				b.ReportAllocs()
				for b.Loop() {
					_, err := losses.Run(b.Context(), e, l, batch, rng.NewKey(0), d)
					require.NoError(b, err)
				}
			})
		}
	}
}

// BenchmarkLangevin is chain-steps of a 2-64-64-1 energy, noise included.
func BenchmarkLangevin(b *testing.B) {
	rt := openRuntime(b)
	e, err := ebm.New(rt, mlp(b, 2, 64), ebm.Options{})
	require.NoError(b, err)
	defer e.Close()
	for _, n := range []int{1, 128, 1024, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			const steps = 20
			k := &samplers.Langevin{StepSize: schedule.Constant{Value: 0.01}}
			b.ReportAllocs()
			for b.Loop() {
				_, err := samplers.Run(b.Context(), e, k, samplers.Config{Chains: n, Steps: steps})
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/steps/1e3, "µs/step")
		})
	}
}

// BenchmarkHMC is leapfrog steps on the double well, 1024 chains of 128 dimensions.
func BenchmarkHMC(b *testing.B) {
	m, err := models.Builtin("builtin:double-well:dim=128")
	require.NoError(b, err)
	e, err := ebm.New(openRuntime(b), m.Graph, ebm.Options{})
	require.NoError(b, err)
	defer e.Close()
	const steps, leapfrogs = 20, 10
	k := &samplers.HMC{Hamiltonian: samplers.Hamiltonian{StepSize: schedule.Constant{Value: 1e-3}}, Leapfrogs: leapfrogs}
	b.ReportAllocs()
	for b.Loop() {
		_, err := samplers.Run(b.Context(), e, k, samplers.Config{Chains: 1024, Steps: steps})
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/steps/leapfrogs/1024/128, "ns/element")
}
