//go:build !purego

package optim

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// TestKernelEqualsGo compares bytes of parameters and state at all lengths around a register's, and at numbers of all sizes.
func TestKernelEqualsGo(t *testing.T) {
	if !hasAVX2 {
		t.Skip("needs AVX2")
	}
	defer func() { hasAVX2 = true }()
	for _, text := range []string{"adam", "adam:weight-decay=0.1:beta1=0.5", "adamw:weight-decay=0.3"} {
		for _, n := range []int{1, 7, 8, 9, 16, 31, 1000} {
			var states [2][]byte
			var params [2][]float32
			for i, kernel := range []bool{false, true} {
				hasAVX2 = kernel
				o, p, g := make1(t, text, Group{From: 0, To: n / 3, Scale: 0.5}), make([]float32, n), make([]float32, n)
				key := rng.NewKey(1)
				key.Normals(p, 0, 0)
				for step := range 4 {
					key.Normals(g, uint64(step)+1, 0)
					for j := range g {
						g[j] *= float32(math.Pow(10, float64(j%40-20)))
					}
					require.NoError(t, o.Step(p, g, 0.01))
				}
				states[i], params[i] = o.State(), p
			}
			require.Equal(t, states[0], states[1], fmt.Sprint(text, n))
			require.Equal(t, params[0], params[1], fmt.Sprint(text, n))
		}
	}
}

// TestKernelShowsNonFinite wants NaN and infinities to come out as in Go.
func TestKernelShowsNonFinite(t *testing.T) {
	o := make1(t, "adam")
	p, g := make([]float32, 16), make([]float32, 16)
	g[3], g[5] = float32(math.NaN()), float32(math.Inf(1))
	require.NoError(t, o.Step(p, g, 0.1))
	for i, v := range p {
		require.Equal(t, i == 3 || i == 5, math.IsNaN(float64(v)), i)
	}
}
