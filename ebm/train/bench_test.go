package train

import (
	"context"
	"testing"

	"github.com/onnx-ebm/onnx-ebm/ebm"
)

// benchmarkStep times whole steps of a 2-128-128-1 SiLU network at batch 256.
func benchmarkStep(b *testing.B, text string) {
	e := energy(b, open(b, 0), mlp(b, 2, 128, 128), ebm.Options{})
	l := newLoss(b, text, &Chains{Target: e})
	r, err := newRunner(e, l, dataset(b, "two-moons:n=8192", 1), Config{Steps: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	once := func() {
		if err := r.step(ctx); err != nil {
			b.Fatal(err)
		}
		if err := r.finish(ctx); err != nil {
			b.Fatal(err)
		}
	}
	once()
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

func BenchmarkStepDSM(b *testing.B) { benchmarkStep(b, "dsm:sigma=0.1") }
func BenchmarkStepSSM(b *testing.B) { benchmarkStep(b, "ssm") }
func BenchmarkStepSM(b *testing.B)  { benchmarkStep(b, "sm") }
func BenchmarkStepCD(b *testing.B)  { benchmarkStep(b, "cd:k=10") }
func BenchmarkStepPCD(b *testing.B) { benchmarkStep(b, "pcd:k=10") }
