package train

import (
	"context"

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
	res, err := samplers.Run(ctx, c.Target, c.Kernel, samplers.Config{
		Chains: n, Steps: steps, Init: start[:n*dim], Key: k, Box: c.Box, Adapt: -1, Workers: c.Workers,
	})
	if res != nil {
		c.info.Add(res.Sampling)
	}
	if err != nil {
		return nil, err
	}
	return res.Final, nil
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
