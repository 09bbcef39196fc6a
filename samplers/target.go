package samplers

import (
	"context"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Target is what a sampler sees: an energy on R^D, p(x) ∝ exp(−E(x)).
type Target interface {
	// Dim is D.
	Dim() int
	// EnergyGradient evaluates n states x [n·D]: energies into e [n] and
	// gradients ∇ₓE into g [n·D]. A nil e or g is not wanted. It must not keep
	// the slices, and equal arguments must give equal bytes.
	EnergyGradient(ctx context.Context, x []float32, n int, e, g []float32) error
}

// FusedLangevin is a target that runs whole Langevin loops by itself, tile by
// tile; the Langevin kernel finds it by type assertion.
type FusedLangevin interface {
	// LangevinSteps moves x [n·D] in place through len(eta) steps of
	//
	//	x ← x − eta[s]·∇E(x) + NoiseScale(eta[s], temp[s])·ε
	//
	// where ε at chain c, coordinate j is element c·D+j of k.Normals at step
	// step0+s. The gradient is, byte for byte, the one that EnergyGradient
	// gives with e nil, and the update the one of k.Langevin.
	LangevinSteps(ctx context.Context, x []float32, n int, eta, temp []float32, k rng.Key, step0 uint64) error
}

// Tiled is a target that lends the memory that it evaluates in, tile by tile, so that a kernel can do several evaluations of some chains
// while these stay in the cache of a core. HMC finds it by type assertion.
type Tiled interface {
	// EachTile calls fn for tiles that cover the states 0…n−1, several at once, and returns the first error.
	EachTile(ctx context.Context, n int, fn func(ctx context.Context, t Tile) error) error
}

// Tile is the states lo…hi−1 of a Tiled target.
type Tile interface {
	// Range gives lo and hi.
	Range() (lo, hi int)
	// X is the memory of the states [(hi−lo)·D], to be written before an evaluation.
	X() []float32
	// EnergyGradient evaluates at X: E [hi−lo], nil unless wanted, and ∇ₓE [(hi−lo)·D], both overwritten by the next evaluation. The bytes
	// are those that the target's EnergyGradient gives for all n states.
	EnergyGradient(ctx context.Context, energy bool) (e, g []float32, err error)
}

// NoiseScale is √(2ηT), the standard deviation of a Langevin step's noise.
// It is evaluated in float64 and rounded once.
func NoiseScale(eta, temp float32) float32 {
	return float32(math.Sqrt(2 * float64(eta) * float64(temp)))
}

// Func makes a Target of a function that evaluates one state: it returns E and,
// where g is not nil, writes ∇ₓE [D] into g.
func Func(dim int, f func(x, g []float32) float32) Target { return &funcTarget{dim, f} }

type funcTarget struct {
	dim int
	f   func(x, g []float32) float32
}

func (t *funcTarget) Dim() int { return t.dim }

func (t *funcTarget) EnergyGradient(ctx context.Context, x []float32, n int, e, g []float32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for c := range n {
		var gc []float32
		if g != nil {
			gc = g[c*t.dim : (c+1)*t.dim]
		}
		v := t.f(x[c*t.dim:(c+1)*t.dim], gc)
		if e != nil {
			e[c] = v
		}
	}
	return nil
}

// evaluate calls the target and says where an error came from.
func evaluate(ctx context.Context, t Target, x []float32, n int, e, g []float32) error {
	if err := t.EnergyGradient(ctx, x, n, e, g); err != nil {
		return fmt.Errorf("samplers: energy of %d states: %w", n, err)
	}
	return nil
}
