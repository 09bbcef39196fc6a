package conformance

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// buildSeconds bounds the time in which a derivative of the largest classifiers is built, on a slow or busy machine.
const buildSeconds = 2

// TestBuildTime: derivative graphs of ResNet-50 and DenseNet-121 are built in about a second on one core.
func TestBuildTime(t *testing.T) {
	files := light(t)
	for _, name := range []string{"resnet50", "densenet121"} {
		g := classifierEnergy(t, name, files[name], 1)
		for _, q := range []struct {
			name string
			want gradients.Want
		}{{"gradient", gradients.Gradient}, {"gradient and hvp", gradients.Energy | gradients.Gradient | gradients.HVP}} {
			start := time.Now()
			d, err := gradients.Derive(g, q.want)
			require.NoError(t, err)
			took := time.Since(start)
			t.Logf("%s: %s of %d nodes: %d nodes in %v", name, q.name, g.CountNodes(), d.CountNodes(), took.Round(time.Millisecond))
			require.Less(t, took.Seconds(), float64(buildSeconds))
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

// TestBuildTimeIsLinear: a network eight times as deep takes about eight times as long; what is quadratic would take eight times longer still.
func TestBuildTimeIsLinear(t *testing.T) {
	perNode := func(depth int) float64 {
		g, err := models.Network("mlp:"+strings.TrimSuffix(strings.Repeat("8,", depth), ",")+":act=silu", []int64{4}, rng.NewKey(1))
		require.NoError(t, err)
		best := math.Inf(1)
		for range 5 {
			start := time.Now()
			_, err := gradients.Derive(g, gradients.HVP)
			require.NoError(t, err)
			best = min(best, time.Since(start).Seconds())
		}
		return best / float64(g.CountNodes())
	}
	small, large := perNode(32), perNode(256)
	t.Logf("%.1f µs a node with 32 layers, %.1f with 256", small*1e6, large*1e6)
	require.Less(t, large, 5*small)
}
