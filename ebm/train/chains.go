package train

import (
	"context"
	"fmt"
	"slices"

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
	// Held is how many of the last coordinates each chain keeps as it started from them: the weights of a chain's own class. With Hold
	// it is not needed.
	Held int

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
	held := max(c.Held, len(c.Hold))
	if held == 0 {
		return c.run(ctx, c.Target, start[:n*dim], steps, k)
	}
	if held >= dim {
		return nil, fmt.Errorf("train: chains of %d values cannot hold %d of them", dim, held)
	}
	if len(c.Hold) > 0 {
		for i := range n {
			copy(start[(i+1)*dim-held:(i+1)*dim], c.Hold)
		}
	}
	for g, rows := range groups(start[:n*dim], dim, held) {
		key := k
		if g > 0 {
			key = k.Derive(uint64(g))
		}
		if err := c.drawGroup(ctx, start, rows, dim, held, steps, key); err != nil {
			return nil, err
		}
	}
	return start[:n*dim], nil
}

// groups are the rows that end with the same held values, in the order of their first rows.
func groups(start []float32, dim, held int) (rows [][]int) {
next:
	for i := range len(start) / dim {
		tail := start[(i+1)*dim-held : (i+1)*dim]
		for g := range rows {
			if j := rows[g][0]; slices.Equal(tail, start[(j+1)*dim-held:(j+1)*dim]) {
				rows[g] = append(rows[g], i)
				continue next
			}
		}
		rows = append(rows, []int{i})
	}
	return rows
}

// drawGroup moves the free values of rows that hold the same last ones.
func (c *Chains) drawGroup(ctx context.Context, start []float32, rows []int, dim, held, steps int, k rng.Key) error {
	free := dim - held
	x := make([]float32, len(rows)*free)
	for i, row := range rows {
		copy(x[i*free:(i+1)*free], start[row*dim:])
	}
	tail := slices.Clone(start[rows[0]*dim+free : (rows[0]+1)*dim])
	x, err := c.run(ctx, samplers.Hold(c.Target, tail), x, steps, k)
	if err != nil {
		return err
	}
	for i, row := range rows {
		copy(start[row*dim:row*dim+free], x[i*free:])
	}
	return nil
}

func (c *Chains) run(ctx context.Context, target samplers.Target, x []float32, steps int, k rng.Key) ([]float32, error) {
	res, err := samplers.Run(ctx, target, c.Kernel, samplers.Config{Steps: steps, Init: x, Key: k, Box: c.Box, Adapt: -1, Workers: c.Workers})
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
	if l, ok := losses.As[*losses.Contrastive](l); ok {
		c, _ := l.Chains.(*Chains)
		return c
	}
	return nil
}
