package samplers

import (
	"bytes"
	"encoding/gob"
	"fmt"
)

// Result is what a run gave. N is the number of chains and Kept the draws kept
// of each, the start included if that was asked for.
type Result struct {
	N, Dim int
	Steps  int // iterations done
	Kept   int

	Final    []float32 // last states [N·D]
	Draws    []float32 // [N, Kept, D], or nil
	Energies []float32 // E of the draws [N, Kept], or nil
	Stats    Stats

	Acceptance []float32 // mean acceptance over the chains, one an iteration [Steps], kept with the Stats
	Warmup     Info      // sums over the burn-in
	Sampling   Info      // sums over what came after it

	State *State // for resuming

	capacity int // draws there is room for
}

// Stats are what is known of each draw beside its state, each [N, Kept], or nil
// if they were not kept. The start has zeros.
type Stats struct {
	Acceptance []float32 // acceptance probability of the iteration that led there
	StepSize   []float32
	Diverging  []bool
	Leapfrogs  []int32 // gradients it took
	TreeDepth  []int32
	Energy     []float32 // Hamiltonian of HMC and NUTS: State.Hamiltonian
}

func newResult(cfg Config, s *State) *Result {
	r := &Result{N: s.N, Dim: s.Dim, capacity: cfg.Draws()}
	cells := s.N * r.capacity
	if cfg.KeepDraws {
		r.Draws = make([]float32, cells*s.Dim)
	}
	if cfg.KeepEnergies {
		r.Energies = make([]float32, cells)
	}
	if cfg.KeepStats {
		r.Acceptance = make([]float32, cfg.Steps)
		r.Stats = Stats{make([]float32, cells), make([]float32, cells), make([]bool, cells), make([]int32, cells), make([]int32, cells), make([]float32, cells)}
	}
	if old := cfg.Resume; old != nil {
		r.restore(old)
	}
	return r
}

// restore copies what an earlier result had kept.
func (r *Result) restore(old *Result) {
	r.Kept = min(old.Kept, r.capacity)
	copy(r.Acceptance, old.Acceptance)
	r.Warmup, r.Sampling = old.Warmup, old.Sampling
	from, to, n := old.stride(), r.capacity, r.Kept
	restride(r.Draws, old.Draws, r.N, from*r.Dim, to*r.Dim, n*r.Dim)
	restride(r.Energies, old.Energies, r.N, from, to, n)
	restride(r.Stats.Acceptance, old.Stats.Acceptance, r.N, from, to, n)
	restride(r.Stats.StepSize, old.Stats.StepSize, r.N, from, to, n)
	restride(r.Stats.Diverging, old.Stats.Diverging, r.N, from, to, n)
	restride(r.Stats.Leapfrogs, old.Stats.Leapfrogs, r.N, from, to, n)
	restride(r.Stats.TreeDepth, old.Stats.TreeDepth, r.N, from, to, n)
	restride(r.Stats.Energy, old.Stats.Energy, r.N, from, to, n)
}

// stride is the draws from one chain to the next.
func (r *Result) stride() int {
	if r.capacity > 0 {
		return r.capacity
	}
	return r.Kept
}

// restride copies the first n elements of each of rows rows between arrays of
// other row lengths; dst and src may be one array if the rows shrink.
func restride[T any](dst, src []T, rows, from, to, n int) {
	if dst == nil || src == nil {
		return
	}
	for c := range rows {
		copy(dst[c*to:c*to+n], src[c*from:c*from+n])
	}
}

// add keeps the state as the next draw.
func (r *Result) add(s *State) {
	i := r.Kept
	r.Kept++
	for c := range r.N {
		at := c*r.capacity + i
		if r.Draws != nil {
			copy(r.Draws[at*r.Dim:(at+1)*r.Dim], s.row(s.X, c))
		}
		if r.Energies != nil {
			r.Energies[at] = s.E[c]
		}
		if r.Stats.Acceptance != nil && s.Step > 0 {
			r.Stats.Acceptance[at] = s.Accept[c]
			r.Stats.Diverging[at] = s.Diverged[c]
			r.Stats.Leapfrogs[at] = s.Leapfrogs[c]
			r.Stats.TreeDepth[at] = s.Depth[c]
			r.Stats.StepSize[at] = s.StepSize
			r.Stats.Energy[at] = s.Hamiltonian[c]
		}
	}
}

// finish closes the gaps that draws not reached have left.
func (r *Result) finish(s *State) {
	r.Steps = s.Step
	r.Final = clone(s.X)
	r.Acceptance = r.Acceptance[:min(s.Step, len(r.Acceptance))]
	*r = *r.compact()
	r.State = s
}

// compact is r without room for further draws.
func (r *Result) compact() *Result {
	c := *r
	if r.stride() != r.Kept {
		c.Draws = shrunk(r.Draws, r.N, r.stride()*r.Dim, r.Kept*r.Dim)
		c.Energies = shrunk(r.Energies, r.N, r.stride(), r.Kept)
		c.Stats.Acceptance = shrunk(r.Stats.Acceptance, r.N, r.stride(), r.Kept)
		c.Stats.StepSize = shrunk(r.Stats.StepSize, r.N, r.stride(), r.Kept)
		c.Stats.Diverging = shrunk(r.Stats.Diverging, r.N, r.stride(), r.Kept)
		c.Stats.Leapfrogs = shrunk(r.Stats.Leapfrogs, r.N, r.stride(), r.Kept)
		c.Stats.TreeDepth = shrunk(r.Stats.TreeDepth, r.N, r.stride(), r.Kept)
		c.Stats.Energy = shrunk(r.Stats.Energy, r.N, r.stride(), r.Kept)
	}
	c.capacity = r.Kept
	return &c
}

func shrunk[T any](v []T, rows, from, to int) []T {
	if v == nil {
		return nil
	}
	out := make([]T, rows*to)
	restride(out, v, rows, from, to, to)
	return out
}

// plainResult is Result without its methods, so that gob sees the fields.
type plainResult Result

// MarshalBinary encodes the result with its state, for Config.Resume.
func (r *Result) MarshalBinary() ([]byte, error) {
	c := r.compact()
	if r.State != nil {
		c.Steps = r.State.Step
		c.Final = r.State.X
		c.Acceptance = r.Acceptance[:min(r.State.Step, len(r.Acceptance))]
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode((*plainResult)(c)); err != nil {
		return nil, fmt.Errorf("samplers: encode result: %w", err)
	}
	return b.Bytes(), nil
}

// UnmarshalBinary decodes what MarshalBinary wrote.
func (r *Result) UnmarshalBinary(data []byte) error {
	var p plainResult
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&p); err != nil {
		return fmt.Errorf("samplers: decode result: %w", err)
	}
	cells := p.N * p.Kept
	bad := p.N < 1 || p.Dim < 1 || p.Kept < 0 || p.State == nil || p.State.N != p.N || p.State.Dim != p.Dim || p.Kept > p.State.Step+1 ||
		!fits(p.Acceptance, p.State.Step) ||
		!fits(p.Draws, cells*p.Dim) || !fits(p.Energies, cells) || !fits(p.Stats.Acceptance, cells) || !fits(p.Stats.StepSize, cells) ||
		!fits(p.Stats.Diverging, cells) || !fits(p.Stats.Leapfrogs, cells) || !fits(p.Stats.TreeDepth, cells) || !fits(p.Stats.Energy, cells)
	if bad {
		return fmt.Errorf("samplers: decode result: its arrays do not belong together; it is damaged")
	}
	*r = Result(p)
	r.capacity = r.Kept
	return nil
}

// fits says that an array is absent or of n elements.
func fits[T any](v []T, n int) bool { return len(v) == 0 || len(v) == n }
