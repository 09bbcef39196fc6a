package samplers

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Whatever a processor can do, kickDrift gives the bytes of its formula.
func TestKickDriftBytes(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, 64, 131} {
		for _, diagonal := range []bool{false, true} {
			t.Run(fmt.Sprint(n, diagonal), func(t *testing.T) {
				draw := func(label string) []float32 {
					v := make([]float32, n)
					rng.NewKey(1).Sub(label).Normals(v, 0, 0)
					return v
				}
				x, p, g, inv := draw("x"), draw("p"), draw("g"), draw("inv")
				m := identityMetric(n)
				if diagonal {
					m.inv = inv
				}
				h, eps := float32(0.3), float32(0.7)
				wantX, wantP := make([]float32, n), make([]float32, n)
				for i := range n {
					step := h * g[i]
					wantP[i] = p[i] - step
					v := wantP[i]
					if diagonal {
						v *= inv[i]
					}
					move := eps * v
					wantX[i] = x[i] + move
				}
				m.kickDrift(x, p, g, make([]float32, n), h, eps)
				require.Equal(t, wantP, p)
				require.Equal(t, wantX, x)
			})
		}
	}
}

func TestAllFinite(t *testing.T) {
	for n := range 20 {
		v := make([]float32, n)
		require.True(t, allFinite(v))
		for i := range v {
			for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
				v[i] = bad
				require.False(t, allFinite(v), "%d of %d", i, n)
			}
			v[i] = -3e38
		}
		require.True(t, allFinite(v))
	}
}
