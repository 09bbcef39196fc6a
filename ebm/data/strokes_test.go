package data

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// The number of items of each class is binomial, n/10 on average.
func TestStrokesClassesAreEquallyLikely(t *testing.T) {
	const n = 3000
	chi2 := 0.0
	for seed := range uint64(5) {
		ds := open(t, "strokes:n=3000:size=8", seed).(Labelled)
		require.Equal(t, 10, ds.Classes())
		counts := make([]float64, 10)
		for _, c := range ds.Labels() {
			counts[c]++
		}
		for _, c := range counts {
			chi2 += square(c-n/10) / (n / 10)
		}
	}
	// χ² with 45 degrees of freedom: mean 45, variance 90.
	require.Less(t, math.Abs(chi2-45)/math.Sqrt(90), 4.0)
}

func TestStrokesAreUprightCentredImages(t *testing.T) {
	for _, size := range []string{"16", "28"} {
		ds := open(t, "strokes:n=500:size="+size, 1).(Labelled)
		side := ds.Shape()[1]
		require.Equal(t, []int{1, side, side}, ds.Shape())
		x, err := All(ds)
		require.NoError(t, err)
		edge, grey := 0.0, 0
		for i := range ds.Len() {
			item := x[i*side*side : (i+1)*side*side]
			var mass, mx, my float64
			for j, v := range item {
				require.True(t, v >= 0 && v <= 1)
				r, c := j/side, j%side
				mass, mx, my = mass+float64(v), mx+float64(v)*(float64(c)+0.5), my+float64(v)*(float64(r)+0.5)
				if r == 0 || c == 0 || r == side-1 || c == side-1 {
					edge += float64(v)
				}
				if v > 0 && v < 1 {
					grey++
				}
			}
			unit := float64(side) / 16
			require.Greater(t, mass, 8*unit*unit, "ink")
			require.InDelta(t, float64(side)/2, mx/mass, 2*unit)
			require.InDelta(t, float64(side)/2, my/mass, 2.5*unit)
		}
		require.Zero(t, edge, "the border is empty")
		require.Greater(t, grey, 500*side/2, "anti-aliased")
	}
}

// A shifted set is the set shifted pixel by pixel; a turned one is the set turned.
func TestStrokesShiftAndRotate(t *testing.T) {
	plain := points(t, "strokes:n=50", 2)
	shifted := points(t, "strokes:n=50:shift=4,-3", 2)
	down := points(t, "strokes:n=50:shift=4", 2)
	turned := points(t, "strokes:n=50:rotate=90:vary=0", 2)
	still := points(t, "strokes:n=50:vary=0", 2)
	for i := range 50 {
		for r := range 16 {
			for c := range 16 {
				at := func(x []float32, r, c int) float64 {
					if r < 0 || c < 0 || r > 15 || c > 15 {
						return 0
					}
					return float64(x[i*256+r*16+c])
				}
				if r+3 < 16 {
					require.InDelta(t, at(plain, r+3, c-4), at(shifted, r, c), 1e-5)
				}
				require.InDelta(t, at(plain, r, c-4), at(down, r, c), 1e-5)
				// Clockwise: the pixel at the top comes from the left.
				require.InDelta(t, at(still, 15-c, r), at(turned, r, c), 1e-5)
			}
		}
	}
}

func TestStrokesKeys(t *testing.T) {
	plain, symmetric := points(t, "strokes:n=20", 3), points(t, "strokes:n=20:symmetric=true", 3)
	for i := range plain {
		require.InDelta(t, 2*plain[i]-1, symmetric[i], 1e-6)
	}
	noisy := points(t, "strokes:n=200:noise=0.3", 3)
	clean := points(t, "strokes:n=200", 3)
	sum := 0.0
	for i := range noisy {
		sum += square(float64(noisy[i] - clean[i]))
	}
	n := float64(len(noisy))
	require.Less(t, math.Abs(sum/n/0.09-1)/math.Sqrt(2/n), 4.0)

	ds := open(t, "strokes:n=30", 3).(LabelledGenerator)
	x, labels, err := ds.FreshLabelled(30, rng.NewKey(3))
	require.NoError(t, err)
	require.True(t, slices.Equal(x, points(t, "strokes:n=30", 3)))
	require.Equal(t, ds.Labels(), labels)

	for text, want := range map[string]string{
		"strokes:size=7":      "size must be at least 8",
		"strokes:size=300":    "size must be at most 256",
		"strokes:vary=4":      "vary must be at most 3",
		"strokes:shift=1,2,3": "shift takes one number",
		"strokes:noise=1e39":  "not finite",
		"strokes:std=1":       "valid for strokes: n, size, vary",
	} {
		_, err := Open(text, Options{})
		require.ErrorContains(t, err, want, text)
	}
}
