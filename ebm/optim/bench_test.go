package optim

import "testing"

func BenchmarkStep(b *testing.B) {
	const n = 100_000
	p, g := make([]float32, n), make([]float32, n)
	for i := range g {
		p[i], g[i] = 1, float32(i%7)-3
	}
	for _, name := range append(Names(), "sgd:momentum=0.9:nesterov=true") {
		b.Run(name, func(b *testing.B) {
			o, err := New(name, Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(4 * n)
			for b.Loop() {
				if err := o.Step(p, g, 1e-6); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("clip-norm", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(4 * n)
		for b.Loop() {
			ClipNorm(g, 1e9)
		}
	})
}
