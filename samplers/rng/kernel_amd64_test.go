//go:build !purego

package rng

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

var levelNames = []string{"go", "avx2", "avx512"}

// eachLevel runs f at every instruction set this machine has.
func eachLevel[T interface {
	testing.TB
	Run(string, func(T)) bool
}](t T, f func(T)) {
	best := level
	defer func() { level = best }()
	for l := levelGo; l <= best; l++ {
		level = l
		t.Run(levelNames[l], f)
	}
}

// Bytes of assembly and Go agree for any stream, length and offset, also across the carry between the
// two words of the block number.
func TestAssemblyAgreesWithGo(t *testing.T) {
	type draw struct {
		key                     Key
		step, first             uint64
		x, g, normals, langevin []float32
		eta, sigma              float32
	}
	r := rand.New(rand.NewPCG(7, 8))
	draws := make([]draw, 1500)
	for i := range draws {
		d := &draws[i]
		d.key = Key{Seed: r.Uint64(), Stream: r.Uint64()}
		d.step, d.first = r.Uint64(), r.Uint64()>>r.UintN(64)
		if i%3 == 0 {
			d.first = 1<<34 - uint64(r.IntN(600))
		}
		n := r.IntN(600)
		d.x, d.g = randomSlice(r, n), randomSlice(r, n)
		d.eta, d.sigma = r.Float32(), r.Float32()
	}
	best := level
	defer func() { level = best }()
	for l := levelGo; l <= best; l++ {
		level = l
		for i := range draws {
			d := &draws[i]
			z, x := make([]float32, len(d.x)), slices.Clone(d.x)
			d.key.Normals(z, d.step, d.first)
			d.key.Langevin(x, d.g, d.eta, d.sigma, d.step, d.first)
			if l == levelGo {
				d.normals, d.langevin = z, x
				continue
			}
			require.Equal(t, words(d.normals), words(z), levelNames[l])
			require.Equal(t, words(d.langevin), words(x), levelNames[l])
		}
	}
}

// A long run at each level: 2²² normals through all branches of the polynomials.
func TestAssemblyAgreesWithGoOnLongRuns(t *testing.T) {
	want := make([]float32, 1<<22)
	k := NewKey(2026)
	normalBlocks(want, k.stream(kindNormal, 1), 0)
	eachLevel(t, func(t *testing.T) {
		require.True(t, slices.Equal(words(want), words(normals(k, len(want), 1))))
	})
}

func words(f []float32) []uint32 {
	w := make([]uint32, len(f))
	for i, v := range f {
		w[i] = math.Float32bits(v)
	}
	return w
}
