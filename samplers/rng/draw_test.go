package rng

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUniformDistribution(t *testing.T) {
	const n = 200_000
	u := make([]float32, n)
	for seed := range uint64(8) {
		NewKey(seed).Uniforms(u, seed, 0)
		require.Greater(t, slices.Min(u), float32(0))
		require.Less(t, slices.Max(u), float32(1))
		require.Less(t, kolmogorov(u, func(x float64) float64 { return x }), 2.2, "seed %d", seed)
	}
}

// χ² with d degrees of freedom as a z-score (Wilson and Hilferty 1931).
func chiSquareScore(chi2 float64, d int) float64 {
	v := 2 / (9 * float64(d))
	return (math.Cbrt(chi2/float64(d)) - 1 + v) / math.Sqrt(v)
}

func chiSquare(counts []int) float64 {
	total := 0
	for _, c := range counts {
		total += c
	}
	want, sum := float64(total)/float64(len(counts)), 0.0
	for _, c := range counts {
		sum += (float64(c) - want) * (float64(c) - want) / want
	}
	return sum
}

// All bytes of signs: eight neighbouring elements are uniform on their 256 patterns.
func TestRademacherPatterns(t *testing.T) {
	const n = 1 << 20
	s := make([]float32, n)
	for seed := range uint64(4) {
		NewKey(seed).Rademacher(s, 2, 0)
		counts := make([]int, 256)
		for i := 0; i < n; i += 8 {
			p := 0
			for _, v := range s[i : i+8] {
				require.True(t, v == 1 || v == -1)
				p = 2*p + int(v+1)/2
			}
			counts[p]++
		}
		require.Less(t, math.Abs(chiSquareScore(chiSquare(counts), 255)), 4.5, "seed %d", seed)
	}
}

func TestDrawsDoNotDependOnTiles(t *testing.T) {
	const n = 1000
	k := NewKey(12)
	for name, draw := range map[string]func([]float32, uint64, uint64){
		"uniforms": k.Uniforms, "signs": k.Rademacher,
	} {
		whole := make([]float32, n)
		draw(whole, 3, 0)
		for cut := range n {
			got := make([]float32, n)
			draw(got[:cut], 3, 0)
			draw(got[cut:], 3, uint64(cut))
			require.Equal(t, whole, got, "%s cut at %d", name, cut)
		}
	}
}

func TestIntegersAreViewsOfOneDraw(t *testing.T) {
	k := NewKey(3)
	for i := range uint64(1000) {
		u := k.Uint64(8, i)
		f := k.Float64(8, i)
		require.Greater(t, f, 0.0)
		require.Less(t, f, 1.0)
		require.InDelta(t, float64(u)*0x1p-64, f, 0x1p-52)
		require.Equal(t, int(u>>54), k.IntN(1024, 8, i))
	}
	require.Zero(t, k.IntN(0, 1, 1))
	require.Zero(t, k.IntN(-5, 1, 1))
}

func TestIntNUniform(t *testing.T) {
	for _, n := range []int{2, 7, 100} {
		counts := make([]int, n)
		k := NewKey(uint64(n))
		for i := range uint64(100_000) {
			counts[k.IntN(n, i/10, i%10)]++
		}
		require.Less(t, math.Abs(chiSquareScore(chiSquare(counts), n-1)), 4.5, "n = %d: %v", n, counts)
	}
}

func TestPerm(t *testing.T) {
	k := NewKey(4)
	for _, n := range []int{0, 1, 2, 17, 1000} {
		p := k.Perm(n, 6)
		into := make([]int, n)
		k.PermInto(into, 6)
		require.Equal(t, p, into)
		slices.Sort(p)
		for i, v := range p {
			require.Equal(t, i, v)
		}
	}
	require.Empty(t, k.Perm(-1, 0))

	// All 24 permutations of four equally often.
	counts := make([]int, 256)
	for step := range uint64(48_000) {
		p := k.Perm(4, step)
		counts[p[0]<<6|p[1]<<4|p[2]<<2|p[3]]++
	}
	counts = slices.DeleteFunc(counts, func(c int) bool { return c == 0 })
	require.Len(t, counts, 24)
	require.Less(t, math.Abs(chiSquareScore(chiSquare(counts), 23)), 4.5)
}
