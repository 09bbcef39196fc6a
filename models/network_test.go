package models

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

func netOf(t testing.TB, text string, item ...int64) *graphs.Graph {
	g, err := Network(text, item, rng.NewKey(5))
	require.NoError(t, err, text)
	require.NoError(t, graphs.Check(g))
	require.Equal(t, "float32[N]", g.Output("energy").Type.String(), text)
	return g
}

func paramsOf(g *graphs.Graph) map[string]*graphs.Tensor {
	p := map[string]*graphs.Tensor{}
	for _, v := range g.Params() {
		p[v.Name] = v.Tensor
	}
	return p
}

func TestMLPIsWhatItSays(t *testing.T) {
	g := netOf(t, "mlp:5,4:act=tanh", 3)
	p := paramsOf(g)
	require.Len(t, p, 6)
	layer := func(name string, x []float64, act func(float64) float64) []float64 {
		w, b := p[name+".weight"].Float64s(), p[name+".bias"].Float64s()
		out := make([]float64, len(b))
		for i := range b {
			out[i] = act(b[i] + dot(w[i*len(x):(i+1)*len(x)], x))
		}
		return out
	}
	x := []float64{0.5, -1, 2}
	h := layer("layers.1", layer("layers.0", x, math.Tanh), math.Tanh)
	want := layer("layers.2", h, func(v float64) float64 { return v })
	out := run(t, g, gradients.Energy, []int{1, 3}, x, nil)
	require.InDelta(t, want[0], out["energy"].F[0], 1e-13)
	require.Equal(t, []int64{5, 3}, p["layers.0.weight"].Dims)
}

func TestActivations(t *testing.T) {
	gauss := func(x float64) float64 { return 0.5 * (1 + math.Erf(x/math.Sqrt2)) }
	want := map[string]func(x float64) float64{
		"silu": func(x float64) float64 { return x / (1 + math.Exp(-x)) },
		"gelu": func(x float64) float64 { return x * gauss(x) },
		"gelu-tanh": func(x float64) float64 {
			return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		},
		"softplus": log1pExp,
		"tanh":     math.Tanh,
		"sigmoid":  logistic1,
		"elu": func(x float64) float64 {
			if x > 0 {
				return x
			}
			return math.Expm1(x)
		},
		"selu": func(x float64) float64 {
			if x > 0 {
				return 1.0507009873554805 * x
			}
			return 1.0507009873554805 * 1.6732632423543772 * math.Expm1(x)
		},
		"leaky-relu": func(x float64) float64 { return max(x, 0.2*x) },
		"relu":       func(x float64) float64 { return max(x, 0) },
		"mish":       func(x float64) float64 { return x * math.Tanh(log1pExp(x)) },
		"softsign":   func(x float64) float64 { return x / (1 + math.Abs(x)) },
		"sine":       math.Sin,
		"none":       func(x float64) float64 { return x },
	}
	require.Len(t, want, len(activations))
	x := points(50, 1, 4)
	for name, f := range want {
		b := graphs.NewBuilder(name)
		in := b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(1)})
		g, err := b.Graph(graphs.Output{Name: "energy", Value: b.Op("Squeeze", nil, activations[name].apply(b, in), b.Ints(1))})
		require.NoError(t, err)
		for _, n := range g.Nodes {
			info, _ := graphs.Info(n.Op)
			require.LessOrEqual(t, info.Since, int64(19), "%s: %s", name, n.Op)
		}
		out := run(t, g, gradients.Energy|gradients.Gradient, []int{50, 1}, x, nil)
		for i, v := range x {
			require.InDelta(t, f(v), out["energy"].F[i], 3e-7, "%s(%v)", name, v)
			const h = 1e-5
			require.InDelta(t, (f(v+h)-f(v-h))/(2*h), out["gradient"].F[i], 1e-6, "%s′(%v)", name, v)
		}
	}
}

func TestOutputAndClasses(t *testing.T) {
	x := points(6, 3, 2)
	plain := run(t, netOf(t, "mlp:8", 3), gradients.Energy, []int{6, 3}, x, nil)["energy"].F
	bounded := run(t, netOf(t, "mlp:8:out=tanh", 3), gradients.Energy, []int{6, 3}, x, nil)["energy"].F
	for i, e := range plain {
		require.InDelta(t, math.Tanh(e), bounded[i], 1e-14)
	}

	g := netOf(t, "mlp:8:classes=4", 3)
	require.Equal(t, []int64{4, 8}, paramsOf(g)["layers.1.weight"].Dims)
	var logits *graphs.Value
	for _, n := range g.Nodes {
		if n.Op == "Gemm" {
			logits = n.Out[0]
		}
	}
	b := graphs.Extend(g)
	h, err := b.Graph(graphs.Output{Name: "logits", Value: logits}, graphs.Output{Name: "energy", Value: g.Output("energy")})
	require.NoError(t, err)
	out, err := graphs.Evaluate(h, map[string]*graphs.Array{"x": graphs.Floats([]int{6, 3}, x)})
	require.NoError(t, err)
	for i, e := range out["energy"].F {
		require.InDelta(t, -logSumExpOf(out["logits"].F[4*i:4*i+4]), e, 1e-14)
	}
}

// Derivatives through ⌈max⌉ are those of the softmax, at every order.
func TestLogSumExpDerivatives(t *testing.T) {
	b := graphs.NewBuilder("lse")
	x := b.Input("x", graphs.Float64, graphs.Shape{graphs.Symbol("N"), graphs.Static(3)})
	g, err := b.Graph(graphs.Output{Name: "energy", Value: logSumExp(b, x)})
	require.NoError(t, err)
	at, v := []float64{0.3, 2.9999999, -1, 100, -200, 99, -1e6, -1e6 - 1, -1e6 + 2}, []float64{1, -1, 2, 1, 1, -3, 2, 0, 1}
	out := run(t, g, gradients.Energy|gradients.Gradient|gradients.HVP, []int{3, 3}, at, v)
	for i := range 3 {
		row, dir := at[3*i:3*i+3], v[3*i:3*i+3]
		total := logSumExpOf(row)
		require.InDelta(t, total, out["energy"].F[i], 1e-9)
		mean := 0.0
		for j := range row {
			mean += math.Exp(row[j]-total) * dir[j]
		}
		for j := range row {
			p := math.Exp(row[j] - total)
			require.InDelta(t, p, out["gradient"].F[3*i+j], 1e-9)
			require.InDelta(t, p*(dir[j]-mean), out["hvp"].F[3*i+j], 1e-9)
		}
	}
}

func TestItemsAreFlattened(t *testing.T) {
	x := points(4, 12, 1)
	cube := run(t, netOf(t, "mlp:8", 3, 2, 2), gradients.Energy|gradients.Gradient, []int{4, 3, 2, 2}, x, nil)
	line := run(t, netOf(t, "mlp:8", 12), gradients.Energy|gradients.Gradient, []int{4, 12}, x, nil)
	require.Equal(t, line["energy"].F, cube["energy"].F)
	require.Equal(t, line["gradient"].F, cube["gradient"].F)
	require.Equal(t, []int{4, 3, 2, 2}, cube["gradient"].Dims)
}

func TestInitialisation(t *testing.T) {
	const in, out = 300, 200
	gain := activations["relu"].gain
	bound := math.Sqrt(1.0 / in)
	for name, want := range map[string]struct{ std, bound float64 }{
		"torch":           {bound / math.Sqrt(3), bound},
		"kaiming-uniform": {gain * bound, gain * bound * math.Sqrt(3)},
		"kaiming-normal":  {gain * bound, math.Inf(1)},
		"xavier-uniform":  {gain * math.Sqrt(2.0/(in+out)), gain * math.Sqrt(6.0/(in+out))},
		"xavier-normal":   {gain * math.Sqrt(2.0/(in+out)), math.Inf(1)},
		"orthogonal":      {gain * bound, math.Inf(1)},
	} {
		p := paramsOf(netOf(t, "mlp:200:act=relu:init="+name, in))
		w := p["layers.0.weight"].Float64s()
		mean, square, largest := 0.0, 0.0, 0.0
		for _, v := range w {
			mean += v / float64(len(w))
			square += v * v / float64(len(w))
			largest = max(largest, math.Abs(v))
		}
		n := math.Sqrt(float64(len(w)))
		require.Less(t, math.Abs(mean)/(want.std/n), 4.0, name)
		require.Less(t, math.Abs(square/(want.std*want.std)-1)/(math.Sqrt2/n), 4.0, name)
		require.LessOrEqual(t, largest, want.bound*(1+1e-6), name)
		for i, b := range p["layers.0.bias"].Float64s() {
			if name != "torch" {
				require.Zero(t, b, name)
			} else {
				require.LessOrEqual(t, math.Abs(b), bound)
				require.NotZero(t, b, i)
			}
		}
	}
}

func TestOrthogonalWeights(t *testing.T) {
	for _, s := range []struct{ in, out int }{{30, 20}, {20, 30}, {25, 25}} {
		w := make([]float32, s.in*s.out)
		orthogonal(w, s.out, 0, 0, 2, rng.NewKey(1))
		n := min(s.in, s.out)
		for i := range n {
			for j := range n {
				sum := 0.0
				for k := range max(s.in, s.out) {
					if s.out <= s.in {
						sum += float64(w[i*s.in+k]) * float64(w[j*s.in+k])
					} else {
						sum += float64(w[k*s.in+i]) * float64(w[k*s.in+j])
					}
				}
				want := 0.0
				if i == j {
					want = 4
				}
				require.InDelta(t, want, sum, 1e-5)
			}
		}
	}
}

func TestWeightsDependOnTheKeyAlone(t *testing.T) {
	same := paramsOf(netOf(t, "mlp:8,8", 3))
	for name, w := range paramsOf(netOf(t, "mlp:8,8", 3)) {
		require.Equal(t, w.Raw, same[name].Raw, name)
	}
	g, err := Network("mlp:8,8", []int64{3}, rng.NewKey(6))
	require.NoError(t, err)
	for name, w := range paramsOf(g) {
		require.NotEqual(t, w.Raw, same[name].Raw, name)
	}
}

func TestStandardize(t *testing.T) {
	for _, text := range []string{"mlp:8"} {
		g := netOf(t, text, 2, 2)
		mean, std := []float32{1, -2, 0.5, 3}, []float32{2, 0.5, 1, 4}
		s, err := Standardize(g, mean, std)
		require.NoError(t, err)
		require.NoError(t, graphs.Check(s))
		require.Equal(t, "true", s.Metadata[MetadataStandardized])
		require.Equal(t, text, s.Metadata[MetadataModel])
		require.Empty(t, g.Metadata[MetadataStandardized])
		require.Equal(t, len(g.Params()), len(s.Params()))
		x := points(5, 4, 3)
		z := make([]float64, len(x))
		for i := range x {
			z[i] = (x[i] - float64(mean[i%4])) / float64(std[i%4])
		}
		want := run(t, g, gradients.Energy|gradients.Gradient, []int{5, 2, 2}, z, nil)
		got := run(t, s, gradients.Energy|gradients.Gradient, []int{5, 2, 2}, x, nil)
		for i, e := range want["energy"].F {
			require.InDelta(t, e, got["energy"].F[i], 1e-12)
		}
		for i, d := range want["gradient"].F {
			require.InDelta(t, d/float64(std[i%4]), got["gradient"].F[i], 1e-12)
		}
		one, err := Standardize(g, []float32{1}, []float32{2})
		require.NoError(t, err)
		for i := range z {
			z[i] = (x[i] - 1) / 2
		}
		want = run(t, g, gradients.Energy, []int{5, 2, 2}, z, nil)
		got = run(t, one, gradients.Energy, []int{5, 2, 2}, x, nil)
		require.InDeltaSlice(t, want["energy"].F, got["energy"].F, 1e-12)
	}
}

func TestStandardizeErrors(t *testing.T) {
	g := netOf(t, "mlp:4", 2)
	nan := float32(math.NaN())
	for want, s := range map[string][2][]float32{
		"std 0 of coordinate 1 is not a positive number":  {{0}, {1, 0}},
		"std NaN of coordinate 0":                         {{0}, {nan}},
		"mean NaN of coordinate 0 is not finite":          {{nan}, {1}},
		"mean has 3 numbers, but an item is of shape [2]": {{1, 2, 3}, {1}},
		"std has 0 numbers":                               {{1}, nil},
	} {
		_, err := Standardize(g, s[0], s[1])
		require.ErrorContains(t, err, want)
	}
	b := graphs.NewBuilder("other")
	other, err := b.Graph(graphs.Output{Name: "y", Value: b.Op("Exp", nil, b.Input("x", graphs.Float32, graphs.ShapeOf(2, 2)))})
	require.NoError(t, err)
	_, err = Standardize(other, []float32{0}, []float32{1})
	require.ErrorContains(t, err, "no energy")
}

func TestNetworkErrors(t *testing.T) {
	for text, want := range map[string]string{
		"mpl:3":               "did you mean mlp?",
		"perceptron":          "valid: ",
		"mlp:3:activation=x":  "unknown key activation; valid for mlp: act, out, init, classes",
		"mlp:3:act=sulu":      "valid: elu, gelu",
		"mlp:3:init=he":       "valid: kaiming-normal",
		"mlp:0":               "a width must be from 1",
		"mlp:x":               "not a whole number",
		"mlp:1000000,1000000": "more than 268435456 parameters",
	} {
		_, err := Network(text, []int64{2}, rng.NewKey(0))
		require.ErrorContains(t, err, want, text)
		require.True(t, strings.HasPrefix(err.Error(), "models: "), err)
	}
	for _, item := range [][]int64{nil, {0}, {3, -1}, {1 << 19, 1 << 19}} {
		_, err := Network("mlp:3", item, rng.NewKey(0))
		require.ErrorContains(t, err, "items", item)
	}
}
