package losses

import (
	"context"
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Negatives runs Markov chains on the current model.
type Negatives interface {
	// Draw moves n chains of dim values `steps` steps from start [n·dim] and returns where they end, [n·dim]. It may work in
	// place and return start. Schedules restart at every call.
	Draw(ctx context.Context, start []float32, n, dim, steps int, k rng.Key) ([]float32, error)
}

// Start is where the chains of a contrastive loss begin.
type Start int

// FromNoise starts at Source.Init (maximum likelihood), FromData at the batch (contrastive divergence), FromBuffer at a replay
// buffer (persistent contrastive divergence).
const (
	FromNoise Start = iota
	FromData
	FromBuffer
)

// Source gives negatives: those in the batch, or the ends of chains.
type Source struct {
	Start  Start
	Steps  int           // steps of each chain
	Count  int           // chains; 0: as many as data
	Init   Density       // where chains start from noise; nil: N(0, I)
	Chains Negatives     // needed unless every batch brings negatives
	Buffer *ReplayBuffer // for FromBuffer; nil: made with its defaults and with Init

	start []float32
}

// Draw gives negatives [m·Dim] for the batch, valid until the next call. Chains that start at the data take its rows in turn.
func (s *Source) Draw(ctx context.Context, b Batch, k rng.Key) (neg []float32, m int, err error) {
	if b.Neg != nil {
		return b.Neg, b.M, nil
	}
	if s.Chains == nil {
		return nil, 0, fmt.Errorf("losses: no negatives: put them into the batch or set a sampler")
	}
	if m = s.Count; m == 0 {
		m = b.N
	}
	if m < 1 || s.Steps < 0 {
		return nil, 0, fmt.Errorf("losses: %d chains of %d steps: give at least one chain and no negative number of steps", m, s.Steps)
	}
	s.start = grow(s.start, m*b.Dim)
	slots, err := s.begin(m, b, k.Sub("start"))
	if err != nil {
		return nil, 0, err
	}
	neg, err = s.Chains.Draw(ctx, s.start, m, b.Dim, s.Steps, k.Sub("chains"))
	if err != nil {
		return nil, 0, fmt.Errorf("losses: drawing negatives: %w", err)
	}
	if len(neg) != m*b.Dim {
		return nil, 0, fmt.Errorf("losses: the sampler gave %d values for %d chains of %d", len(neg), m, b.Dim)
	}
	if s.Start == FromBuffer {
		s.Buffer.Write(slots, neg)
	}
	return neg, m, nil
}

// begin fills s.start, and names the slots it came from if it came from the buffer.
func (s *Source) begin(m int, b Batch, k rng.Key) (slots []int, err error) {
	switch s.Start {
	case FromData:
		for to := s.start; len(to) > 0; {
			to = to[copy(to, b.X):]
		}
		return nil, nil
	case FromBuffer:
		if s.Buffer == nil {
			s.Buffer = &ReplayBuffer{Reinit: DefaultReinit, Init: s.Init}
		}
		return s.Buffer.Draw(s.start, m, b.Dim, k)
	}
	return nil, orNormal(s.Init).Sample(s.start, m, b.Dim, k)
}

func orNormal(d Density) Density {
	if d == nil {
		return Gaussian{}
	}
	return d
}
