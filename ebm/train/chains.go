package train

import (
	"context"
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Chains runs a sampler on the energy that is being trained, for contrastive losses: it is the losses.Negatives of mle, cd and pcd.
// Every call is a fresh run of the kernel, so schedules restart, and nothing adapts. Langevin chains run fused where the target can.
type Chains struct {
	Target  samplers.Target
	Kernel  samplers.Kernel // nil: Langevin with its defaults, η = 0.01 and T = 1
	Box     samplers.Box    // where chains must stay; zero: anywhere
	Workers int             // goroutines for the arithmetic between evaluations; 0: one a core
	// Hold are values that the last coordinates of every chain have, and keep, whatever it started from: the weights of classes of a
	// joint energy (models.Joint), all 0 for chains of the items alone. Nil: every coordinate moves.
	Hold []float32

	info samplers.Info
}

// Draw implements losses.Negatives.
func (c *Chains) Draw(ctx context.Context, start []float32, n, dim, steps int, k rng.Key) ([]float32, error) {
	if steps == 0 {
		return start, nil
	}
	if c.Kernel == nil {
		c.Kernel = &samplers.Langevin{}
	}
	target, x, free := c.Target, start[:n*dim], dim-len(c.Hold)
	if len(c.Hold) > 0 {
		if free < 1 {
			return nil, fmt.Errorf("train: chains of %d values cannot hold %d of them", dim, len(c.Hold))
		}
		target, x = samplers.Hold(target, c.Hold), make([]float32, n*free)
		for i := range n {
			copy(x[i*free:(i+1)*free], start[i*dim:])
		}
	}
	res, err := samplers.Run(ctx, target, c.Kernel, samplers.Config{
		Chains: n, Steps: steps, Init: x, Key: k, Box: c.Box, Adapt: -1, Workers: c.Workers,
	})
	if res != nil {
		c.info.Add(res.Sampling)
	}
	if err != nil {
		return nil, err
	}
	if len(c.Hold) == 0 {
		return res.Final, nil
	}
	for i := range n {
		copy(start[i*dim:], res.Final[i*free:(i+1)*free])
		copy(start[i*dim+free:(i+1)*dim], c.Hold)
	}
	return start[:n*dim], nil
}

// Take returns what happened since the last Take.
func (c *Chains) Take() samplers.Info {
	info := c.info
	c.info = samplers.Info{}
	return info
}

// chainsOf finds the chains of a contrastive loss; nil: there are none.
func chainsOf(l losses.Loss) *Chains {
	if l, ok := l.(*losses.Contrastive); ok {
		c, _ := l.Chains.(*Chains)
		return c
	}
	return nil
}
