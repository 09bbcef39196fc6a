package samplers

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// Holding y of E = ½(x−y)² + ½y² leaves x ~ N(y, 1).
func TestHold(t *testing.T) {
	joint := Func(2, func(p, g []float32) float32 {
		x, y := p[0], p[1]
		if g != nil {
			g[0], g[1] = x-y, 2*y-x
		}
		return (x-y)*(x-y)/2 + y*y/2
	})
	const y, n, draws = 3, 400, 50
	held := Hold(joint, []float32{y})
	require.Equal(t, 1, held.Dim())
	e, g := make([]float32, 2), make([]float32, 2)
	require.NoError(t, held.EnergyGradient(context.Background(), []float32{1, 4}, 2, e, g))
	require.Equal(t, []float32{2 + 4.5, 0.5 + 4.5}, e)
	require.Equal(t, []float32{-2, 1}, g)
	require.NoError(t, held.EnergyGradient(context.Background(), []float32{5}, 1, e[:1], nil))
	require.Equal(t, float32(2+4.5), e[0])

	res, err := Run(context.Background(), held, &MALA{StepSize: schedule.Constant{Value: 0.5}}, Config{Chains: n, Steps: 100 + 10*draws, BurnIn: 100, Thin: 10, KeepDraws: true, Seed: 1})
	require.NoError(t, err)
	sum := 0.0
	for _, x := range res.Draws {
		sum += float64(x) - y
	}
	require.Less(t, math.Abs(sum)/math.Sqrt(n*draws), 5.0, "steps ten iterations apart are nearly independent")
}
