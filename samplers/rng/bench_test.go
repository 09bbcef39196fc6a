package rng

import "testing"

// A tile that stays in L2.
const tile = 1 << 14

func perElement(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/element")
}

func benchmarkNormals(b *testing.B) {
	x := make([]float32, tile)
	k := NewKey(1)
	b.SetBytes(4 * tile)
	b.ReportAllocs()
	for b.Loop() {
		k.Normals(x, 1, 0)
	}
	perElement(b, tile)
}

func benchmarkLangevin(b *testing.B) {
	x, g := make([]float32, tile), make([]float32, tile)
	k := NewKey(1)
	b.SetBytes(4 * tile)
	b.ReportAllocs()
	for b.Loop() {
		k.Langevin(x, g, 0.01, 0.1, 1, 0)
	}
	perElement(b, tile)
}

func BenchmarkNormals(b *testing.B)  { eachLevel(b, benchmarkNormals) }
func BenchmarkLangevin(b *testing.B) { eachLevel(b, benchmarkLangevin) }

// Short calls: one sample of a few dimensions, at an offset inside a block.
func BenchmarkNormalsShort(b *testing.B) {
	x := make([]float32, 2)
	k := NewKey(1)
	b.ReportAllocs()
	for b.Loop() {
		k.Normals(x, 1, 6)
	}
}

func BenchmarkDescent(b *testing.B) {
	x, g := make([]float32, tile), make([]float32, tile)
	b.ReportAllocs()
	for b.Loop() {
		NewKey(1).Langevin(x, g, 0.01, 0, 1, 0)
	}
	perElement(b, tile)
}

func BenchmarkUniforms(b *testing.B) {
	x := make([]float32, tile)
	b.ReportAllocs()
	for b.Loop() {
		NewKey(1).Uniforms(x, 1, 0)
	}
	perElement(b, tile)
}

func BenchmarkRademacher(b *testing.B) {
	x := make([]float32, tile)
	b.ReportAllocs()
	for b.Loop() {
		NewKey(1).Rademacher(x, 1, 0)
	}
	perElement(b, tile)
}

func BenchmarkFloat64(b *testing.B) {
	k, s := NewKey(1), 0.0
	b.ReportAllocs()
	for b.Loop() {
		s += k.Float64(1, 2)
	}
}

func BenchmarkPermInto(b *testing.B) {
	p := make([]int, tile)
	b.ReportAllocs()
	for b.Loop() {
		NewKey(1).PermInto(p, 1)
	}
	perElement(b, tile)
}

func BenchmarkDerive(b *testing.B) {
	k := NewKey(1)
	b.ReportAllocs()
	for b.Loop() {
		k = k.Derive(3)
	}
}
