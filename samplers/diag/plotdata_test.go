package diag

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRankHistogram(t *testing.T) {
	got, err := RankHistogram([]float64{1, 2, 3, 4, 5, 6, 7, 8}, 2, 4)
	require.NoError(t, err)
	require.Equal(t, [][]int{{2, 2, 0, 0}, {0, 0, 2, 2}}, got)
	got, err = RankHistogram([]float64{5, 5, 5, 5, -1, 9}, 2, 3) // the ties share rank 3.5
	require.NoError(t, err)
	require.Equal(t, [][]int{{0, 3, 0}, {1, 1, 1}}, got)
	for _, bins := range []int{1, 7, 1000} {
		got, err := RankHistogram(ar1(3, 100, .5), 3, bins)
		require.NoError(t, err)
		for _, chain := range got {
			total := 0
			for _, n := range chain {
				total += n
			}
			require.Equal(t, 100, total)
		}
	}
	for _, err := range []error{
		second(RankHistogram(nil, 1, 1)), second(RankHistogram(make([]float64, 3), 2, 1)),
		second(RankHistogram(make([]float64, 4), 2, 0)), second(RankHistogram([]float64{math.NaN()}, 1, 1)),
	} {
		require.ErrorContains(t, err, "diag: ")
	}
}

func second[T any](_ T, err error) error { return err }

func TestAutocorrelation(t *testing.T) {
	x := ar1(2, 300, .8)
	got, err := Autocorrelation(x, 2, 299)
	require.NoError(t, err)
	for c := range 2 {
		row := x[c*300 : (c+1)*300]
		m := mean(row)
		at := func(lag int) (sum float64) {
			for i := range 300 - lag {
				sum += (row[i] - m) * (row[i+lag] - m)
			}
			return sum
		}
		for _, lag := range []int{0, 1, 7, 299} {
			require.InDelta(t, at(lag)/at(0), got[c][lag], 1e-12)
		}
	}
	got, err = Autocorrelation([]float64{1, 1, 1, 2, 1, 3}, 2, 0)
	require.NoError(t, err)
	require.True(t, math.IsNaN(got[0][0]))
	require.Equal(t, []float64{1}, got[1])
	require.Error(t, second(Autocorrelation(x, 2, 300)))
	require.Error(t, second(Autocorrelation(x, 7, 1)))
}

func TestTrace(t *testing.T) {
	d := Draws{X: []float32{0, 10, 1, 11, 2, 12, 3, 13, 4, 14, 5, 15}, Chains: 2, Draws: 3, Dim: 2}
	at, values, err := d.Trace(1, 100)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 2}, at)
	require.Equal(t, [][]float64{{10, 11, 12}, {13, 14, 15}}, values)
	at, values, err = d.Trace(0, 2)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1}, at)
	require.Equal(t, [][]float64{{0, 1}, {3, 4}}, values)
	_, _, err = d.Trace(2, 1)
	require.Error(t, err)
	_, _, err = Draws{}.Trace(0, 1)
	require.Error(t, err)
}
