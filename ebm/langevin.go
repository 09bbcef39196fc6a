package ebm

import (
	"context"
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// checkEvery is how many steps a tile takes between looks at the context.
const checkEvery = 64

// LangevinSteps implements samplers.FusedLangevin: one worker takes a tile, which stays in its core's cache, through all steps.
func (e *Energy) LangevinSteps(ctx context.Context, x []float32, n int, eta, temp []float32, k rng.Key, step0 uint64) error {
	p, err := e.program(derivation{want: gradients.Gradient})
	if err != nil {
		return err
	}
	b, err := p.acquire(e.padded(n))
	if err != nil {
		return err
	}
	defer p.release(b)
	state, grad := b.In(gradients.X), b.Out(gradients.GradientName)
	e.fill(state, x, n)
	err = b.EachTile(ctx, func(ctx context.Context, i int) error {
		first, rows := b.Tile(i)
		lo, hi := first*e.dim, (first+rows)*e.dim
		for s := range eta {
			if s%checkEvery == 0 {
				if err := ctx.Err(); err != nil {
					return err
				}
			}
			if err := b.RunTile(ctx, i); err != nil {
				return err
			}
			k.Langevin(state[lo:hi], grad[lo:hi], eta[s], samplers.NoiseScale(eta[s], temp[s]), step0+uint64(s), uint64(lo))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("ebm: %w", err)
	}
	copy(x[:n*e.dim], state)
	return nil
}
