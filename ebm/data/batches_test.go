package data

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// counting is n items [i, −i].
func counting(t testing.TB, n int) Dataset {
	x := make([]float32, 2*n)
	for i := range n {
		x[2*i], x[2*i+1] = float32(i), -float32(i)
	}
	m, err := NewMemory([]int{2}, x)
	require.NoError(t, err)
	return m
}

func TestEpochsCoverAllItems(t *testing.T) {
	for _, c := range []struct{ n, batch, full, last int }{{10, 3, 3, 1}, {12, 4, 3, 0}, {5, 8, 1, 0}, {1, 1, 1, 0}} {
		l, err := NewLoader(counting(t, c.n), c.batch, rng.NewKey(1), false)
		require.NoError(t, err)
		for epoch := range 3 {
			var seen []int
			for i := range l.PerEpoch() {
				b, err := l.At(epoch*l.PerEpoch() + i)
				require.NoError(t, err)
				require.Equal(t, epoch, b.Epoch)
				require.Equal(t, i, b.Index)
				for j, index := range b.Indices {
					require.Equal(t, []float32{float32(index), -float32(index)}, b.X[2*j:2*j+2])
				}
				require.Len(t, b.X, 2*len(b.Indices))
				seen = append(seen, b.Indices...)
			}
			slices.Sort(seen)
			require.Len(t, slices.Compact(seen), c.n)
		}
	}
}

func TestDropLast(t *testing.T) {
	l, err := NewLoader(counting(t, 10), 3, rng.NewKey(1), true)
	require.NoError(t, err)
	require.Equal(t, 3, l.PerEpoch())
	for step := range 6 {
		b, err := l.At(step)
		require.NoError(t, err)
		require.Len(t, b.Indices, 3)
	}
	_, err = NewLoader(counting(t, 10), 11, rng.NewKey(1), true)
	require.ErrorContains(t, err, "a batch of 11 is more than the 10 items")
	_, err = NewLoader(counting(t, 10), 0, rng.NewKey(1), true)
	require.ErrorContains(t, err, "at least 1 item")
}

// A step's batch does not depend on the steps asked for before.
func TestStepsStandAlone(t *testing.T) {
	ds := counting(t, 100)
	batches := map[int][]int{}
	for b, err := range Batches(ds, 8, rng.NewKey(7), false) {
		require.NoError(t, err)
		if len(batches) == 40 {
			break
		}
		batches[len(batches)] = slices.Clone(b.Indices)
	}
	for _, step := range []int{39, 0, 13, 12, 26, 25} {
		l, err := NewLoader(ds, 8, rng.NewKey(7), false)
		require.NoError(t, err)
		b, err := l.At(step)
		require.NoError(t, err)
		require.Equal(t, batches[step], b.Indices)
	}
	require.NotEqual(t, batches[0], batches[13], "two epochs in one order")
	other, err := NewLoader(ds, 8, rng.NewKey(8), false)
	require.NoError(t, err)
	b, err := other.At(0)
	require.NoError(t, err)
	require.NotEqual(t, batches[0], b.Indices)
}

// Every item is equally likely to come first.
func TestShufflingIsUniform(t *testing.T) {
	const n = 10
	l, err := NewLoader(counting(t, n), n, rng.NewKey(0), false)
	require.NoError(t, err)
	first := make([]int, n)
	for epoch := range 20_000 {
		b, err := l.At(epoch)
		require.NoError(t, err)
		first[b.Indices[0]]++
	}
	require.Less(t, math.Abs(chiSquare(first)), 4.0, first)
}

func TestBatchesYieldAnErrorOnce(t *testing.T) {
	calls := 0
	for _, err := range Batches(counting(t, 4), 0, rng.NewKey(0), false) {
		require.Error(t, err)
		calls++
	}
	require.Equal(t, 1, calls)
}

func TestLoaderDoesNotAllocate(t *testing.T) {
	l, err := NewLoader(counting(t, 100), 10, rng.NewKey(0), false)
	require.NoError(t, err)
	step := 0
	require.Zero(t, testing.AllocsPerRun(50, func() {
		if _, err := l.At(step); err != nil {
			t.Fatal(err)
		}
		step++
	}))
}

func TestMemoryChecksItsInput(t *testing.T) {
	for _, c := range []struct {
		shape []int
		x     []float32
		want  string
	}{
		{[]int{2}, nil, "no rows"},
		{[]int{2}, []float32{1, 2, 3}, "not whole items"},
		{[]int{0}, []float32{1}, "holds nothing"},
		{[]int{2}, []float32{1, 2, 3, float32(math.NaN())}, "row 1 (from 0) holds NaN"},
		{[]int{2}, []float32{float32(math.Inf(1)), 2}, "row 0 (from 0) holds +Inf"},
	} {
		_, err := NewMemory(c.shape, c.x)
		require.ErrorContains(t, err, c.want)
	}
	ds := counting(t, 3)
	require.ErrorContains(t, ds.Rows(make([]float32, 2), []int{3}), "no item 3 of 3")
	require.ErrorContains(t, ds.Rows(make([]float32, 2), []int{-1}), "no item -1")
	require.ErrorContains(t, ds.Rows(make([]float32, 3), []int{1}), "no room")
}

func TestStandardize(t *testing.T) {
	// A large offset, which one pass in float32 would lose, and a constant.
	const n = 100_001
	x := make([]float32, 3*n)
	for i := range n {
		x[3*i] = 4096 + float32(i%2)
		x[3*i+1] = 0.1
		x[3*i+2] = float32(i) - 50_000
	}
	ds, err := NewMemory([]int{3}, x)
	require.NoError(t, err)
	s, err := Standardize(ds)
	require.NoError(t, err)
	p := float64(n/2) / n
	require.InDelta(t, 4096+p, s.Mean[0], 1e-9)
	require.InDelta(t, math.Sqrt(p*(1-p)), s.Std[0], 1e-9)
	require.Equal(t, float64(float32(0.1)), s.Mean[1])
	require.Equal(t, 1.0, s.Std[1])
	require.InDelta(t, 0, s.Mean[2], 1e-9)
	require.InDelta(t, math.Sqrt((float64(n)*n-1)/12), s.Std[2], 1e-6) // variance of 0 … n−1

	y := slices.Clone(x)
	require.NoError(t, s.Apply(y))
	scaled, err := NewMemory([]int{3}, y)
	require.NoError(t, err)
	after, err := Standardize(scaled)
	require.NoError(t, err)
	for c, std := range []float64{1, 1, 1} {
		require.InDelta(t, 0, after.Mean[c], 1e-6)
		require.InDelta(t, std, after.Std[c], 1e-6)
	}
	require.NoError(t, s.Invert(y))
	require.InDeltaSlice(t, x[:300], y[:300], 1e-2)
	require.ErrorContains(t, s.Apply(y[:2]), "not whole items")
	require.ErrorContains(t, Standardizer{}.Apply(y), "not whole items")
}

func BenchmarkLoader(b *testing.B) {
	for _, batch := range []int{32, 256, 4096} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			l, err := NewLoader(counting(b, 100_000), batch, rng.NewKey(0), true)
			require.NoError(b, err)
			b.ReportAllocs()
			step := 0
			for b.Loop() {
				if _, err := l.At(step); err != nil {
					b.Fatal(err)
				}
				step++
			}
		})
	}
}
