package samplers

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
)

// State is N chains and all that a kernel remembers of them from one iteration
// to the next. It is complete: a kernel with the same settings that is started
// on a copy of it goes on with the same bytes.
type State struct {
	N, Dim int
	Step   int // iterations done

	X []float32 // states [N·D]
	E []float32 // energies [N], valid where EnergyFresh
	G []float32 // gradients ∇E [N·D], valid where GradientFresh
	// EnergyFresh and GradientFresh say that E and G belong to X.
	EnergyFresh, GradientFresh bool

	Aux    []float32 // what else a kernel carries: velocities, replicas; its doc says
	Tuning *Tuning   // what a kernel has adapted; nil where it does not adapt

	// The last iteration, chain by chain, for kernels that have them.
	Accept    []float32 // acceptance probability [N]
	Diverged  []bool    // [N]
	Leapfrogs []int32   // gradients spent [N]
	Depth     []int32   // tree depth [N]
	// Hamiltonian is H = E/T + ½pᵀM⁻¹p of the state moved to, with the momentum it
	// was reached with, of HMC and NUTS [N].
	Hamiltonian []float32
	StepSize    float32 // step size of the last iteration
	Last        Info    // its sums
	Startup     Info    // what Start took; the run adds it to its sums and clears it

	// Set by the run, before Start.
	Adapt  int // the kernel may adapt while Step < Adapt
	Total  int // iterations of the whole run, 0 if unknown
	BurnIn int // iterations of it before the first draw
	Box    Box // where the states must stay

	team *team
}

// NewState makes a state of the chains x [N·D]; x is copied.
func NewState(x []float32, dim int) (*State, error) {
	if dim < 1 || len(x) == 0 || len(x)%dim != 0 {
		return nil, fmt.Errorf("samplers: %d values are not whole states of dimension %d", len(x), dim)
	}
	n := len(x) / dim
	s := &State{N: n, Dim: dim, X: append([]float32(nil), x...)}
	s.grow()
	return s, nil
}

// grow allocates what a decoded or fresh state lacks.
func (s *State) grow() {
	s.E = sized(s.E, s.N)
	s.G = sized(s.G, s.N*s.Dim)
	s.Accept = sized(s.Accept, s.N)
	s.Diverged = sized(s.Diverged, s.N)
	s.Leapfrogs = sized(s.Leapfrogs, s.N)
	s.Depth = sized(s.Depth, s.N)
	s.Hamiltonian = sized(s.Hamiltonian, s.N)
}

// sized is v if it has n elements, else n zeros.
func sized[T any](v []T, n int) []T {
	if len(v) == n {
		return v
	}
	return make([]T, n)
}

// row is chain c of an [N·D] array.
func (s *State) row(v []float32, c int) []float32 { return v[c*s.Dim : (c+1)*s.Dim] }

// Energies makes E valid, evaluating only energies and only if they are stale.
func (s *State) Energies(ctx context.Context, t Target) error {
	if s.EnergyFresh {
		return nil
	}
	if err := evaluate(ctx, t, s.X, s.N, s.E, nil); err != nil {
		return err
	}
	s.EnergyFresh = true
	return nil
}

// refresh makes E and G valid and returns how many gradients that took. The
// energy of every chain must be finite: a Metropolis kernel could not leave.
func (s *State) refresh(ctx context.Context, t Target) (gradients int, err error) {
	if s.EnergyFresh && s.GradientFresh {
		return 0, nil
	}
	if err := evaluate(ctx, t, s.X, s.N, s.E, s.G); err != nil {
		return 0, err
	}
	s.EnergyFresh, s.GradientFresh = true, true
	for c, e := range s.E {
		if !isFinite(e) || !allFinite(s.row(s.G, c)) {
			return s.N, fmt.Errorf("samplers: chain %d starts where the energy (%v) or its gradient is not finite; give other initial states", c, e)
		}
	}
	return s.N, nil
}

// rows runs f over ranges of chains that cover all N, on the run's workers.
func (s *State) rows(f func(lo, hi int)) { s.team.run(s.N, s.Dim, f) }

// release ends the workers of a run; the state remains usable.
func (s *State) release() {
	s.team.close()
	s.team = nil
}

// Clone is a deep copy.
func (s *State) Clone() *State {
	c := *s
	c.team = nil
	c.X, c.E, c.G, c.Aux = clone(s.X), clone(s.E), clone(s.G), clone(s.Aux)
	c.Accept, c.Diverged, c.Leapfrogs, c.Depth = clone(s.Accept), clone(s.Diverged), clone(s.Leapfrogs), clone(s.Depth)
	c.Hamiltonian = clone(s.Hamiltonian)
	c.Tuning = s.Tuning.clone()
	return &c
}

func clone[T any](v []T) []T { return append([]T(nil), v...) }

// plainState is State without its methods, so that gob sees the fields.
type plainState State

// MarshalBinary encodes the whole state.
func (s *State) MarshalBinary() ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode((*plainState)(s)); err != nil {
		return nil, fmt.Errorf("samplers: encode state: %w", err)
	}
	return b.Bytes(), nil
}

// UnmarshalBinary decodes what MarshalBinary wrote.
func (s *State) UnmarshalBinary(data []byte) error {
	var p plainState
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&p); err != nil {
		return fmt.Errorf("samplers: decode state: %w", err)
	}
	if p.N < 1 || p.Dim < 1 || p.Step < 0 || p.N > len(p.X) || p.Dim > len(p.X) || p.N*p.Dim != len(p.X) {
		return fmt.Errorf("samplers: decode state: %d values for %d chains of dimension %d at step %d", len(p.X), p.N, p.Dim, p.Step)
	}
	p.EnergyFresh = p.EnergyFresh && len(p.E) == p.N
	p.GradientFresh = p.GradientFresh && len(p.G) == len(p.X)
	*s = State(p)
	s.grow()
	return nil
}
