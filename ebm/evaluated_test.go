package ebm_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// The evaluator's and ONNX Runtime's energies give the same losses and gradients, both pass the check by differences, and the check
// tells which parameters get no gradient: those that no derivative in x depends on.
func TestGradientsAreChecked(t *testing.T) {
	rt := openRuntime(t)
	ctx := context.Background()
	for _, net := range []struct {
		text string
		item []int64
	}{{"mlp:5,4:init=kaiming-normal", []int64{3}}, {"convnet:2,3:dense=4:classes=2:init=kaiming-normal", []int64{1, 4, 4}}, {"resnet:2:groups=1:act=tanh:init=kaiming-normal", []int64{4, 4}}} {
		g, err := models.Network(net.text, net.item, rng.NewKey(1))
		require.NoError(t, err)
		ort, err := ebm.New(rt, g, ebm.Options{Trainable: true})
		require.NoError(t, err)
		f64, err := ebm.NewEvaluated(g, ebm.Options{})
		require.NoError(t, err)
		require.Equal(t, ort.Params(), f64.Params())
		const n = 4
		b := losses.Batch{N: n, Dim: ort.Dim(), X: make([]float32, n*ort.Dim()), Neg: make([]float32, 3*ort.Dim()), M: 3}
		rng.NewKey(2).Normals(b.X, 0, 0)
		rng.NewKey(3).Normals(b.Neg, 0, 0)
		for _, text := range []string{"cd:l2=0.1:energy-penalty=0.2", "nce", "sm", "ssm:projections=2", "sm-hutchinson", "dsm:sigma=0.3,0.5", "energy-discrepancy:m=2", "cd:gradient-penalty=0.3"} {
			loss := func() losses.Loss {
				l, err := losses.New(text, losses.Options{})
				require.NoError(t, err)
				return l
			}
			batch := b
			if text[:2] != "cd" && text != "nce" {
				batch.Neg, batch.M = nil, 0
			}
			var grads [2][]float32
			var values [2]float64
			for i, m := range []losses.Model{ort, f64} {
				grads[i] = make([]float32, len(m.Params()))
				r, err := losses.Run(ctx, m, loss(), batch, rng.NewKey(4), grads[i])
				require.NoError(t, err, text)
				values[i] = r.Loss
			}
			name := net.text + " " + text
			require.InDelta(t, values[1], values[0], 1e-5*math.Max(1, math.Abs(values[1])), name)
			largest := float64(slices.MaxFunc(grads[1], func(a, b float32) int { return int(1e9 * (math.Abs(float64(a)) - math.Abs(float64(b)))) }))
			for i := range grads[1] {
				require.InDelta(t, grads[1][i], grads[0][i], 1e-4*math.Abs(largest)+1e-7, "%s: parameter %d", name, i)
			}
			for i, m := range []losses.Model{ort, f64} {
				report, err := losses.CheckGradients(ctx, m, loss(), batch, losses.CheckOptions{Key: rng.NewKey(4), Sample: 12})
				require.NoError(t, err)
				require.Less(t, report.Worst.Error, []float64{3e-2, 1e-2}[i], "%s: %+v", name, report.Worst)
				if bias, ok := f64.Store().Lookup("head.bias"); ok && net.text[:6] == "resnet" && text == "sm" {
					require.Contains(t, report.NoGradient, bias.Offset)
				}
			}
		}
		require.NoError(t, ort.Close())
	}
}
