package diag

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
)

func normals(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 7))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func BenchmarkMMD(b *testing.B) {
	for _, n := range []int{2000, 10000} {
		x, y := normals(1, 2*n), normals(2, 2*n)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := MMD(context.Background(), x, y, 2, MMDOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSummarize takes 100 chains of 10 000 draws; one coordinate a core
// and time is in proportion to coordinates.
func BenchmarkSummarize(b *testing.B) {
	d := Draws{X: normals(1, 100*10000*4), Chains: 100, Draws: 10000, Dim: 4}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Summarize(context.Background(), d, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
