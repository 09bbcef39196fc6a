package conformance

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// handwritten are networks with a graph of the gradient or Hessian-vector product of each, as written by hand.
var handwritten = []struct {
	name, text string
	item       []int64
	rows       int
	write      func(h *hand) (*graphs.Graph, error)
}{
	{"MLP", "mlp:64,64:act=silu", []int64{8}, 256, func(h *hand) (*graphs.Graph, error) { return h.mlp(8, 2) }},
	{"ConvNet", "convnet:16,32:act=silu", []int64{1, 16, 16}, 16, func(h *hand) (*graphs.Graph, error) { return h.convnet(1, 16, 32) }},
	{"ResNet", "resnet:16,32:act=silu", []int64{3, 16, 16}, 8, func(h *hand) (*graphs.Graph, error) { return h.resnet(3, 16, []int64{16, 32}, 8) }},
	{"transformer", "transformer:32:depth=2:act=silu", []int64{16, 8}, 16, func(h *hand) (*graphs.Graph, error) { return h.transformer(16, 8, 32, 4, 2) }},
}

// TestHandwritten: derived graphs have at most 1.1 times the nodes of hand-written ones, and take at most 1.1 times their time when they are lowered
// for ONNX Runtime, which may make several fast nodes of a slow one.
func TestHandwritten(t *testing.T) {
	rt := openRuntime(t)
	for _, m := range handwritten {
		g, err := models.Network(m.text, m.item, rng.NewKey(1))
		require.NoError(t, err)
		for _, q := range []struct {
			name string
			want gradients.Want
			hv   bool
		}{{"gradient", gradients.Gradient, false}, {"hvp", gradients.HVP, true}} {
			t.Run(m.name+"/"+q.name, func(t *testing.T) {
				byHand, err := m.write(newHand(g, q.hv))
				require.NoError(t, err)
				require.NoError(t, graphs.Check(byHand))
				derived, err := gradients.Derive(g, q.want)
				require.NoError(t, err)
				final, err := gradients.Finalize(derived, derivedOpset)
				require.NoError(t, err)
				a, b := load(t, rt, byHand, m.item, m.rows), load(t, rt, final, m.item, m.rows)
				want, got := a.Out(q.name), b.Out(q.name)
				ours, theirs := fastest(t, b, a)
				scale := 0.0
				for _, y := range want {
					scale = max(scale, math.Abs(float64(y)))
				}
				for i := range want {
					require.InDelta(t, want[i], got[i], 2e-4*scale)
				}
				nodes := float64(derived.CountNodes()) / float64(byHand.CountNodes())
				t.Logf("%d nodes, by hand %d (%.2f); %v, by hand %v (%.2f)", derived.CountNodes(), byHand.CountNodes(), nodes, ours, theirs, ours.Seconds()/theirs.Seconds())
				require.LessOrEqual(t, nodes, 1.1)
				require.LessOrEqual(t, ours.Seconds()/theirs.Seconds(), 1.1)
			})
		}
	}
}

// load compiles a graph and binds random rows.
func load(t *testing.T, rt *runtime.Runtime, g *graphs.Graph, item []int64, rows int) *runtime.Binding {
	raw, err := graphs.Encode(g, graphs.WriteOptions{MaxOpset: derivedOpset})
	require.NoError(t, err)
	m := runtime.Model{Name: g.Name, Bytes: raw, Outputs: []runtime.Port{{Name: g.Outputs[0].Name, Item: item}}}
	for _, v := range g.Inputs {
		m.Inputs = append(m.Inputs, runtime.Port{Name: v.Name, Item: item})
	}
	p, err := rt.Compile(m)
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	b, err := p.Bind(rows, runtime.BindOptions{Tiles: 1})
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range g.Inputs {
		for i := range b.In(v.Name) {
			b.In(v.Name)[i] = float32(r.NormFloat64())
		}
	}
	require.NoError(t, b.Run(t.Context()))
	return b
}

// fastest runs both by turns and returns the least time of each.
func fastest(t *testing.T, a, b *runtime.Binding) (time.Duration, time.Duration) {
	best := [2]time.Duration{time.Hour, time.Hour}
	for start := time.Now(); time.Since(start) < 1500*time.Millisecond; {
		for i, p := range []*runtime.Binding{a, b} {
			t0 := time.Now()
			require.NoError(t, p.Run(t.Context()))
			best[i] = min(best[i], time.Since(t0))
		}
	}
	return best[0], best[1]
}
