package rng

import (
	"math/bits"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDerivePaths(t *testing.T) {
	k := NewKey(1)
	require.Equal(t, k, k.Derive())
	require.Equal(t, k.Derive(1, 2), k.Derive(1).Derive(2))
	require.NotEqual(t, k.Derive(1, 2), k.Derive(2, 1))
	require.NotEqual(t, k.Derive(0), k.Derive(0, 0))
	require.NotEqual(t, k.Sub("a").Sub("b"), k.Sub("ab"))
}

// Among 600 000 keys of neighbouring seeds and labels, three deep, neither the key nor either half of it
// occurs twice (for a 64-bit half that has odds of 1e-8).
func TestDeriveCollisions(t *testing.T) {
	keys := map[Key]bool{}
	seeds, streams := map[uint64]bool{}, map[uint64]bool{}
	add := func(k Key) {
		keys[k], seeds[k.Seed], streams[k.Stream] = true, true, true
	}
	n := 0
	for seed := range uint64(20) {
		k := NewKey(seed)
		for i := range uint64(100) {
			for j := range uint64(100) {
				add(k.Derive(i, j))
				add(k.Derive(i<<32, j<<56, 1))
				add(k.Sub(strconv.Itoa(int(i))).Derive(j))
				n += 3
			}
		}
	}
	require.Len(t, keys, n)
	require.Len(t, seeds, n)
	require.Len(t, streams, n)
}

// Turning any one bit of a seed, a stream or a label turns half of the 128 bits of the child.
func TestDeriveAvalanche(t *testing.T) {
	distance := func(a, b Key) int {
		return bits.OnesCount64(a.Seed^b.Seed) + bits.OnesCount64(a.Stream^b.Stream)
	}
	for bit := range 64 {
		m := uint64(1) << bit
		base := Key{Seed: 10, Stream: 20}
		for _, other := range []Key{
			Key{Seed: 10 ^ m, Stream: 20}.Derive(30),
			Key{Seed: 10, Stream: 20 ^ m}.Derive(30),
			base.Derive(30 ^ m),
		} {
			// 64 ± 5.5 standard deviations of √32.
			require.InDelta(t, 64, distance(base.Derive(30), other), 31)
		}
	}
}
