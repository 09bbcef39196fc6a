package conformance

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// leastTime is the least processor time of three rounds.
func leastTime(f func()) time.Duration {
	best := time.Duration(math.MaxInt64)
	for range 3 {
		start := processorTime()
		f()
		best = min(best, processorTime()-start)
	}
	return best
}

// TestBuildTime: derivative graphs of ResNet-50 and DenseNet-121 are built in under a second of processor time.
func TestBuildTime(t *testing.T) {
	files := light(t)
	for _, name := range []string{"resnet50", "densenet121"} {
		g := classifierEnergy(t, name, files[name], 1)
		for _, q := range []struct {
			name string
			want gradients.Want
		}{{"gradient", gradients.Gradient}, {"gradient and hvp", gradients.Energy | gradients.Gradient | gradients.HVP}} {
			var d *graphs.Graph
			took := leastTime(func() {
				var err error
				d, err = gradients.Derive(g, q.want)
				require.NoError(t, err)
			})
			t.Logf("%s: %s of %d nodes: %d nodes in %v", name, q.name, g.CountNodes(), d.CountNodes(), took.Round(time.Millisecond))
			require.Less(t, took, time.Second)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	files := light(b)
	for _, name := range []string{"resnet50", "densenet121"} {
		g := classifierEnergy(b, name, files[name], 1)
		for _, q := range []struct {
			name string
			want gradients.Want
		}{{"gradient", gradients.Gradient}, {"hvp", gradients.HVP}} {
			b.Run(name+"/"+q.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, err := gradients.Derive(g, q.want)
					require.NoError(b, err)
				}
			})
		}
	}
}

// deep are networks by depth: a chain, blocks with convolutions and norms, attention, and layers that each read all before them.
var deep = []struct {
	name         string
	small, large int
	graph        func(t *testing.T, depth int) *graphs.Graph
}{
	{"MLP", 32, 256, func(t *testing.T, depth int) *graphs.Graph {
		return network(t, "mlp:"+strings.TrimSuffix(strings.Repeat("8,", depth), ",")+":act=silu", 4)
	}},
	{"ResNet", 4, 32, func(t *testing.T, depth int) *graphs.Graph {
		return network(t, fmt.Sprintf("resnet:8:blocks=%d", depth), 3, 8, 8)
	}},
	{"transformer", 2, 16, func(t *testing.T, depth int) *graphs.Graph {
		return network(t, fmt.Sprintf("transformer:8:depth=%d", depth), 4, 8)
	}},
	{"DenseNet", 16, 128, denseBlock},
}

func network(t *testing.T, text string, item ...int64) *graphs.Graph {
	g, err := models.Network(text, item, rng.NewKey(1))
	require.NoError(t, err)
	return g
}

// denseBlock is a chain of convolutions of two channels, each of the concatenation of all before it in pairs: h ← [h, conv(SiLU(h))].
func denseBlock(t *testing.T, depth int) *graphs.Graph {
	b := graphs.NewBuilder("dense")
	h := b.Input(gradients.X, graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(2), graphs.Static(4), graphs.Static(4)})
	for i := range depth {
		channels := int64(2 + 2*i)
		w := b.Param(fmt.Sprintf("w%d", i), graphs.NewTensor(make([]float32, 2*channels), 2, channels, 1, 1))
		y := b.Op("Conv", nil, b.Op("Mul", nil, h, b.Op("Sigmoid", nil, h)), w)
		h = b.Op("Concat", graphs.Attrs{"axis": int64(1)}, h, y)
	}
	g, err := b.Graph(graphs.Output{Name: gradients.EnergyName, Value: b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, h, b.Ints(1, 2, 3))})
	require.NoError(t, err)
	return g
}

// TestBuildTimeIsLinear: a network eight times as deep takes about eight times as long; what is quadratic would take eight times longer still.
func TestBuildTimeIsLinear(t *testing.T) {
	for _, d := range deep {
		perNode := func(depth int) float64 {
			g := d.graph(t, depth)
			took := leastTime(func() {
				_, err := gradients.Derive(g, gradients.HVP)
				require.NoError(t, err)
			})
			return took.Seconds() / float64(g.CountNodes())
		}
		small, large := perNode(d.small), perNode(d.large)
		t.Logf("%s: %.1f µs a node with depth %d, %.1f with %d", d.name, small*1e6, d.small, large*1e6, d.large)
		require.Less(t, large, 5*small, d.name)
	}
}
