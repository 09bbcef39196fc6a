package losses

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Want is the set of quantities a query asks for.
type Want uint8

// The quantities of an energy E at rows x: E, ∇ₓE, ∇²ₓE·v and tr ∇²ₓE.
const (
	WantEnergy Want = 1 << iota
	WantGradient
	WantHVP
	WantLaplacian
)

// Has reports whether every quantity of o is in w.
func (w Want) Has(o Want) bool { return w&o == o }

// String lists the quantities: "energy+gradient".
func (w Want) String() string {
	var names []string
	for i, name := range []string{"energy", "gradient", "hvp", "laplacian"} {
		if w&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}

// Query asks for quantities of the energy at N rows.
type Query struct {
	N    int
	X    []float32 // [N·D]
	V    []float32 // [K·N·D] directions for HVP, direction-major: all rows of the first direction, then of the second
	K    int
	Want Want
}

// Values answers a query, and is also the type of its cotangents ∂loss/∂value. What is absent is nil.
type Values struct {
	E   []float32 // [N]
	G   []float32 // [N·D], ∇ₓE
	HV  []float32 // [K·N·D], ∇²ₓE·v
	Lap []float32 // [N], tr ∇²ₓE
}

// Pullback takes cotangents of a query's values back to the parameters.
type Pullback interface {
	// Add does dTheta += ⟨ct.E, ∂E/∂θ⟩ + ⟨ct.G, ∂∇E/∂θ⟩ + ⟨ct.HV, ∂Hv/∂θ⟩ + ⟨ct.Lap, ∂Lap/∂θ⟩. A nil cotangent counts as zero.
	Add(ct Values, dTheta []float32) error
	Close() error
}

// Model is an energy with parameters.
type Model interface {
	// Dim is the number of values in one row.
	Dim() int
	// Linearize evaluates q and keeps what the pullback needs.
	Linearize(ctx context.Context, q Query) (Values, Pullback, error)
	// Params is the flat parameter store itself, not a copy.
	Params() []float32
}

// Evaluator is implemented by models with a cheaper way to values alone; Run uses it when no gradient is wanted.
type Evaluator interface {
	Evaluate(ctx context.Context, q Query) (Values, error)
}

// ParamsNotifier is implemented by models that must be told when somebody wrote into Params.
type ParamsNotifier interface{ ParamsChanged() }

// PartlyTrainable is implemented by models of which not all Params are trained (batch statistics, constants, frozen layers).
type PartlyTrainable interface {
	// TrainableRanges lists the trained stretches [from, to) of Params. L1 and L2 penalties regard only these.
	TrainableRanges() [][2]int
}

// Batch is the data of one step, with anything that shall be used instead of a random draw.
type Batch struct {
	N, Dim   int
	X        []float32 // [N·D]
	Neg      []float32 // negatives [M·D] (contrastive losses, NCE); nil: drawn
	M        int
	LogNoise []float64 // log p_noise at the data, then at the negatives [N+M] (NCE); nil: from the noise density
	Noise    []float32 // standard normal noise: DSM [N·D] or [S·N·D]; energy discrepancy [(1+M)·N·D]; nil: drawn
	Vectors  []float32 // directions [K·N·D] (SSM); nil: drawn
}

// Loss is a training objective.
type Loss interface {
	// Name is the loss's name in specifications and reports.
	Name() string
	// Plan says what to evaluate. It draws from k whatever the batch does not give.
	Plan(ctx context.Context, b Batch, k rng.Key) ([]Query, error)
	// Value takes the plan and its values, one a query.
	Value(q []Query, v []Values) (Result, error)
}

// Term is a named part of a loss, or a quantity worth watching beside it.
type Term struct {
	Name  string
	Value float64
}

// Result is what a loss is worth and how it depends on what it saw.
type Result struct {
	Loss       float64
	Terms      []Term
	Cotangents []Values  // one a query
	Own        []float32 // gradient by the loss's own parameters (OwnParams); nil: none
	Negatives  []float32 // the negatives used [M·D]; nil: none
}

// Term gives a term by name.
func (r Result) Term(name string) (value float64, ok bool) {
	for _, t := range r.Terms {
		if t.Name == name {
			return t.Value, true
		}
	}
	return 0, false
}

// Parametric is implemented by losses with parameters of their own, such as the log Z of NCE. Result.Own is their gradient.
type Parametric interface {
	// OwnParams is the store itself, not a copy: an optimiser updates it in place. Nil: nothing is learned.
	OwnParams() []float32
}

// Stateful is implemented by losses that must be saved with a checkpoint: PCD (its buffer) and NCE (its log Z).
type Stateful interface {
	State() []byte
	Load(state []byte) error
}

// SecondOrder is implemented by losses that look at second derivatives of the energy in x.
type SecondOrder interface{ NeedsSecondOrder() bool }

// NeedsSecondOrder reports whether the loss uses ∇²ₓE. On a piecewise linear network (ReLU, LeakyReLU, max pooling) that is zero
// almost everywhere and the loss degenerates: warn, and advise a smooth activation (SiLU, softplus, tanh, GELU, ELU).
func NeedsSecondOrder(l Loss) bool {
	s, ok := l.(SecondOrder)
	return ok && s.NeedsSecondOrder()
}

// ErrNonFinite marks a loss that is NaN or infinite, or that saw such an energy. The Result beside it is as computed and no gradient was added.
var ErrNonFinite = errors.New("non-finite loss")

// check verifies the shapes that every loss relies on.
func (b Batch) check(loss string) error {
	switch {
	case b.N < 1 || b.Dim < 1:
		return fmt.Errorf("losses: %s: a batch of %d rows of %d values: both must be at least 1", loss, b.N, b.Dim)
	case len(b.X) != b.N*b.Dim:
		return fmt.Errorf("losses: %s: the batch holds %d values, expected %d·%d", loss, len(b.X), b.N, b.Dim)
	case b.Neg != nil && (b.M < 1 || len(b.Neg) != b.M*b.Dim):
		return fmt.Errorf("losses: %s: the negatives hold %d values, expected %d·%d", loss, len(b.Neg), b.M, b.Dim)
	}
	return nil
}

// answered verifies that there is one answer a query, with all it asked for.
func answered(loss string, q []Query, v []Values, queries int) error {
	if len(q) != queries || len(v) != queries {
		return fmt.Errorf("losses: %s: %d queries and %d answers, expected %d: pass what Plan returned", loss, len(q), len(v), queries)
	}
	for i, q := range q {
		for _, part := range []struct {
			want     Want
			got, len int
		}{
			{WantEnergy, len(v[i].E), q.N},
			{WantGradient, len(v[i].G), len(q.X)},
			{WantHVP, len(v[i].HV), q.K * len(q.X)},
			{WantLaplacian, len(v[i].Lap), q.N},
		} {
			if q.Want.Has(part.want) && part.got != part.len {
				return fmt.Errorf("losses: %s: the model gave %d values of %v for query %d, expected %d", loss, part.got, part.want, i, part.len)
			}
		}
	}
	return nil
}
