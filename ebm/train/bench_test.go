package train

import (
	"context"
	"testing"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/losses"
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

// BenchmarkDSMParts times the parts of BenchmarkStepDSM alone.
func BenchmarkDSMParts(b *testing.B) {
	e := energy(b, open(b, 0), mlp(b, 2, 128, 128), ebm.Options{})
	l := newLoss(b, "dsm:sigma=0.1", nil)
	r, err := newRunner(e, l, dataset(b, "two-moons:n=8192", 1), Config{Steps: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	batch, err := r.loader.At(0)
	if err != nil {
		b.Fatal(err)
	}
	given := losses.Batch{N: len(batch.Indices), Dim: 2, X: batch.X}
	var q []losses.Query
	var v losses.Values
	var pull losses.Pullback
	var res losses.Result
	for _, part := range []struct {
		name string
		once func() error
	}{
		{"data", func() (err error) { _, err = r.loader.At(1); return err }},
		{"plan-and-noise", func() (err error) { q, err = l.Plan(ctx, given, r.key); return err }},
		{"forward", func() (err error) {
			if v, pull, err = e.Linearize(ctx, q[0]); err != nil {
				return err
			}
			return pull.Close()
		}},
		{"value", func() (err error) { res, err = l.Value(q, []losses.Values{v}); return err }},
		{"forward-and-pullback", func() (err error) {
			if _, pull, err = e.Linearize(ctx, q[0]); err != nil {
				return err
			}
			if err = pull.Add(res.Cotangents[0], r.grad); err != nil {
				return err
			}
			return pull.Close()
		}},
		{"norm", func() error { return r.clip() }},
		{"update", func() error { return r.update() }},
	} {
		b.Run(part.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := part.once(); err != nil {
					b.Fatal(err)
				}
			}
		})
		clear(r.grad)
	}
}
