package models

import (
	"testing"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

func BenchmarkBuiltin(b *testing.B) {
	for _, text := range []string{"builtin:double-well", "builtin:eight-schools"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Builtin(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDraw(b *testing.B) {
	for _, text := range []string{"builtin:gaussian", "builtin:double-well", "builtin:gaussian-mixture", "builtin:eight-schools"} {
		a := builtin(b, text)
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Draw(1000, rng.NewKey(0)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNetwork(b *testing.B) {
	for _, text := range []string{"mlp:128,128", "mlp:512,512:init=orthogonal", "resnet:64,128", "transformer:64"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Network(text, []int64{1, 28, 28}, rng.NewKey(0)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
