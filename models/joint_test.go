package models

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// With t = 0 the joint energy is the network's own; the class probabilities are −∂E/∂t; with one class kept it is −f of that class.
func TestJoint(t *testing.T) {
	for _, c := range []struct {
		text string
		item []int64
	}{{"mlp:8:classes=3", []int64{4}}, {"convnet:3,4:classes=3", []int64{1, 4, 4}}} {
		const n, k = 5, 3
		logits, err := Classifier(c.text, c.item, rng.NewKey(5))
		require.NoError(t, err)
		dims, d := ints(c.item, n)
		x := points(n, d, 2)
		out, err := graphs.Evaluate(logits, map[string]*graphs.Array{"x": graphs.Floats(dims, x)})
		require.NoError(t, err)
		f := out["logits"].F

		g, err := Joint(logits)
		require.NoError(t, err)
		require.Equal(t, "energy", g.Metadata[MetadataRole])
		require.Equal(t, c.text, g.Metadata[MetadataModel])
		inside, err := Logits(netOf(t, c.text, c.item...))
		require.NoError(t, err)
		out, err = graphs.Evaluate(inside, map[string]*graphs.Array{"x": graphs.Floats(dims, x)})
		require.NoError(t, err)
		require.Equal(t, f, out["logits"].F)
		plain := run(t, netOf(t, c.text, c.item...), gradients.Energy, dims, x, nil)["energy"].F
		weights := make([]float32, k)
		for class := -1; class < k; class++ {
			if class >= 0 {
				OnlyClass(weights, class)
			}
			joint := make([]float64, 0, n*(d+k))
			for i := range n {
				joint = append(joint, x[i*d:(i+1)*d]...)
				for _, w := range weights {
					joint = append(joint, float64(w))
				}
			}
			out := run(t, g, gradients.Energy|gradients.Gradient, []int{n, d + k}, joint, nil)
			for i := range n {
				want := plain[i]
				if class >= 0 {
					want = -f[i*k+class]
				}
				require.InDelta(t, want, out["energy"].F[i], 1e-12)
				for y := range k {
					p := math.Exp(f[i*k+y] + float64(weights[y]) + want)
					require.InDelta(t, -p, out["gradient"].F[i*(d+k)+d+y], 1e-12)
				}
			}
		}
	}
}

func TestJointRefuses(t *testing.T) {
	_, err := Classifier("mlp:4", []int64{2}, rng.NewKey(0))
	require.ErrorContains(t, err, "classes=K")
	b := graphs.NewBuilder("vector")
	x := b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(2)})
	g, err := b.Graph(graphs.Output{Name: "sum", Value: sumItem(b, x)})
	require.NoError(t, err)
	_, err = Joint(g)
	require.ErrorContains(t, err, "logits [N, K]")
}

// With spectral=true a network is the plain one whose weights, all but the last layer's, were divided by their spectral norms; the
// power method's norm is at most the true one, and near it.
func TestSpectralNorm(t *testing.T) {
	for _, c := range []struct {
		text string
		item []int64
		last string
	}{{"mlp:12,7:init=kaiming-normal", []int64{5}, "layers.2"}, {"convnet:6,8:init=kaiming-normal", []int64{1, 6, 6}, "head"}} {
		plain, normed := netOf(t, c.text, c.item...), netOf(t, c.text+":spectral=true", c.item...)
		require.Equal(t, len(paramsOf(plain)), len(paramsOf(normed)), "the start is no parameter")
		const n = 3
		dims, d := ints(c.item, n)
		x := points(n, d, 2)

		divided := map[*graphs.Value]*graphs.Value{}
		b := graphs.NewBuilder("divided")
		for _, p := range plain.Params() {
			w := paramsOf(normed)[p.Name]
			require.Equal(t, paramsOf(plain)[p.Name].Float64s(), w.Float64s())
			if len(w.Dims) < 2 || p.Name == c.last+".weight" {
				continue
			}
			rows := int(w.Dims[0])
			var svd mat.SVD
			require.True(t, svd.Factorize(mat.NewDense(rows, len(w.Float64s())/rows, w.Float64s()), mat.SVDNone))
			scaled := w.Float64s()
			for i := range scaled {
				scaled[i] /= svd.Values(nil)[0]
			}
			v, err := graphs.FromFloat64s(graphs.Float32, scaled, w.Dims...)
			require.NoError(t, err)
			divided[p] = b.Const(v)
		}
		in := b.Input("x", graphs.Float32, plain.Input("x").Shape())
		divided[plain.Input("x")] = in
		g, err := b.Graph(graphs.Output{Name: "energy", Value: b.Splice(plain, divided)[0]})
		require.NoError(t, err)
		want := run(t, g, gradients.Gradient, dims, x, nil)["gradient"].F
		got := run(t, normed, gradients.Gradient, dims, x, nil)["gradient"].F
		var size float64
		for _, w := range want {
			size = max(size, math.Abs(w))
		}
		for i := range want {
			require.InDelta(t, want[i], got[i], 0.1*size, "%s %d", c.text, i)
		}
	}
}
