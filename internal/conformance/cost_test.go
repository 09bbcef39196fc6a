package conformance

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// activeShare is the share of a graph's floating-point operations in products of two factors that both depend on x.
func activeShare(g *graphs.Graph, n int64) float64 {
	active := map[*graphs.Value]bool{g.Input(gradients.X): true}
	both := &graphs.Graph{}
	for _, node := range g.Nodes {
		count := 0
		for i, v := range node.In {
			if active[v] && i < 2 {
				count++
			}
		}
		for _, v := range node.In {
			if active[v] {
				for _, o := range node.Out {
					active[o] = true
				}
			}
		}
		if count == 2 {
			both.Nodes = append(both.Nodes, node)
		}
	}
	return graphs.FLOPs(both, n) / graphs.FLOPs(g, n)
}

var costed = []struct {
	name, text string
	item       []int64
}{
	{"MLP", "mlp:256,256,256:act=silu", []int64{64}},
	{"ResNet", "resnet:32,64:blocks=2", []int64{3, 16, 16}},
	{"attention", "transformer:64:depth=2", []int64{32, 16}},
}

// TestCost bounds the floating-point operations of matrix products and convolutions, in those of the forward pass, where s is activeShare:
// each layer's product has one more for the cotangent of its input and one for the tangent of each, and those by the weights in the third order;
// products of two activations have both.
func TestCost(t *testing.T) {
	const n = 128
	for _, m := range costed {
		g, err := models.Network(m.text, m.item, rng.NewKey(1))
		require.NoError(t, err)
		forward, s := graphs.FLOPs(g, n), activeShare(g, n)
		cost := func(list ...*graphs.Graph) float64 {
			total := 0.0
			for _, g := range list {
				total += graphs.FLOPs(g, n)
			}
			return total / forward
		}
		gradient, err := gradients.Derive(g, gradients.Gradient)
		require.NoError(t, err)
		second, err := gradients.Derive(g, gradients.Gradient|gradients.HVP)
		require.NoError(t, err)
		third, err := gradients.Linearize(second, []string{gradients.GradientName, gradients.HVPName}, second.Params(), gradients.Keep, derivedOpset)
		require.NoError(t, err)
		for _, q := range []struct {
			name        string
			cost, bound float64
		}{
			{"∇E", cost(gradient), 2.1 + s},
			{"∇E and Hv", cost(second), 4.2 + 5*s},
			{"∇E, Hv and their pullback", cost(third.Forward, third.Pullback), 13 + 15*s},
		} {
			t.Logf("%s, s = %.3f: %s costs %.2f forward passes, bound %.2f", m.name, s, q.name, q.cost, q.bound)
			require.LessOrEqual(t, q.cost, q.bound, "%s: %s", m.name, q.name)
		}
	}
}

// TestCostInTime reports how long ONNX Runtime takes for what TestCost counts, in units of those operations at the rate of a large matrix product.
func TestCostInTime(t *testing.T) {
	rt := openRuntime(t)
	b := graphs.NewBuilder("product")
	x := b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(512)})
	y := b.Op("MatMul", nil, x, b.Const(graphs.NewTensor(make([]float32, 512*512), 512, 512)))
	product, err := b.Graph(graphs.Output{Name: "y", Value: y})
	require.NoError(t, err)
	const n = 512
	rate := graphs.FLOPs(product, n) / least(t, load(t, rt, product, []int64{512}, n)).Seconds()
	t.Logf("a product of 512×512 matrices: %.0f GFLOP/s", rate/1e9)
	for _, m := range costed {
		g, err := models.Network(m.text, m.item, rng.NewKey(1))
		require.NoError(t, err)
		for _, w := range []gradients.Want{gradients.Gradient, gradients.HVP} {
			d, err := gradients.Derive(g, w)
			require.NoError(t, err)
			d, err = gradients.Finalize(d, derivedOpset)
			require.NoError(t, err)
			const rows = 16
			took := least(t, load(t, rt, d, m.item, rows))
			t.Logf("%s, %s: %v for %d rows, %.1f times the products alone", m.name, d.Outputs[0].Name, took, rows, took.Seconds()*rate/graphs.FLOPs(d, rows))
		}
	}
}

// least is the shortest of several runs.
func least(t *testing.T, b *runtime.Binding) time.Duration {
	best := time.Hour
	for start := time.Now(); time.Since(start) < 500*time.Millisecond; {
		t0 := time.Now()
		require.NoError(t, b.Run(t.Context()))
		best = min(best, time.Since(t0))
	}
	return best
}
