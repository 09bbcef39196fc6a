package picture

import (
	"bytes"
	"image/png"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChains(t *testing.T) {
	row := ChainRow{
		Name: "x[0]", At: []int{0, 1, 2}, Trace: [][]float64{{0, 1, math.NaN()}, {2, 1, 0}},
		Ranks: [][]int{{2, 1}, {1, 2}}, Auto: [][]float64{{1, 0.5}, {math.NaN(), math.NaN()}},
	}
	size := func(c Chains) (int, int) {
		var out bytes.Buffer
		require.NoError(t, c.WritePNG(&out))
		img, err := png.Decode(&out)
		require.NoError(t, err)
		return img.Bounds().Dx(), img.Bounds().Dy()
	}
	narrow, low := size(Chains{Rows: []ChainRow{row}})
	paired := row
	paired.Pair, paired.Other, paired.Marked = "x[1]", [][]float64{{1, 2, 3}, {3, 2, 1}}, [][2]int{{1, 2}}
	wide, high := size(Chains{Title: "draws", Rows: []ChainRow{paired, row}})
	require.Greater(t, wide, narrow, "a column for pairs")
	require.Greater(t, high, low)
	require.ErrorContains(t, Chains{}.WritePNG(&bytes.Buffer{}), "no coordinate")
	size(Chains{Rows: []ChainRow{{Name: "none known", At: []int{0}, Trace: [][]float64{{1}}}}})
}
