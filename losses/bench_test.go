package losses

import (
	"context"
	"fmt"
	"testing"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// BenchmarkValue times the loss's own arithmetic: planning with its draws, and the value with its cotangents.
func BenchmarkValue(b *testing.B) {
	ctx := context.Background()
	for _, size := range [][2]int{{256, 32}, {1024, 128}} {
		batch := gaussianData(rng.NewKey(1), size[0], size[1])
		for _, text := range []string{"cd", "nce", "sm", "ssm", "ssm-vr", "dsm", "dsm:sigma=0.1,0.2,0.3", "energy-discrepancy", "pcd"} {
			loss, err := New(text, Options{Chains: halving{}})
			if err != nil {
				b.Fatal(err)
			}
			q, err := loss.Plan(ctx, batch, rng.NewKey(2))
			if err != nil {
				b.Fatal(err)
			}
			n := q[0].N
			v := []Values{{E: make([]float32, n), G: make([]float32, len(q[0].X)), HV: make([]float32, len(q[0].V)), Lap: make([]float32, n)}}
			name := fmt.Sprintf("%s/%dx%d", text, size[0], size[1])
			b.Run(name+"/plan", func(b *testing.B) {
				b.ReportAllocs()
				for step := uint64(0); b.Loop(); step++ {
					if _, err := loss.Plan(ctx, batch, rng.NewKey(step)); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(name+"/value", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := loss.Value(q, v); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
