package ebm

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// Options says how an Energy is compiled. The zero value is for sampling and evaluating a fixed model.
type Options struct {
	Trainable bool             // programs read Params at every run, and Linearize works
	Item      []int64          // shape of one item, where the graph leaves extents open; nil: the graph's
	All       bool             // also make parameters of the exporter's scalar factors (not trainable), so that they get gradients
	TrainOnly []string         // glob patterns: only these parameters are trainable
	Freeze    []string         // glob patterns: these are not
	Policy    gradients.Policy // how pullbacks get intermediate values: Keep (default; Lean where programs are fused) or Recompute
	Unfused   bool             // programs have ONNX's own ops only, not the runtime's for chains of element-wise ones
}

// Energy is E(x;θ): a graph, its parameters and its compiled programs. Programs are derived and compiled when first needed and kept.
// It is safe for concurrent use, except that nobody may write Params during a run.
type Energy struct {
	rt      *runtime.Runtime
	source  *graphs.Graph // as given to New
	graph   *graphs.Graph // items of known shape, no initializers but parameters
	options Options
	fixed   int  // batch size that the graph is made for, 0 for any
	large   bool // parameters are too large to be compiled into programs
	item    []int64
	dim     int
	params  *Params

	mu       sync.Mutex
	programs map[derivation]*program
	linear   map[derivation]*linearProgram
	lent     []*lending
}

// ErrFrozen is the error of Linearize on an energy made without Options.Trainable.
var ErrFrozen = errors.New("ebm: the energy is frozen; make it with Options.Trainable to get parameter gradients")

// New makes an Energy of an energy graph: input x [N, D…] float32, output energy [N]. Without a runtime it says what the parameters are and cannot
// run; items may have open extents then.
func New(rt *runtime.Runtime, g *graphs.Graph, o Options) (*Energy, error) {
	source := g
	g, item, err := checkEnergy(g, o.Item, rt != nil)
	if err != nil {
		return nil, err
	}
	g, values, err := splitParams(g, o.All)
	if err != nil {
		return nil, fmt.Errorf("ebm: %w", err)
	}
	params, err := newParams(g, values)
	if err != nil {
		return nil, err
	}
	if err := params.Select(o.TrainOnly, o.Freeze); err != nil {
		return nil, err
	}
	e := &Energy{rt: rt, source: source, graph: g, options: o, item: item, dim: 1, params: params,
		programs: map[derivation]*program{}, linear: map[derivation]*linearProgram{}}
	for _, d := range item {
		e.dim *= int(d)
	}
	e.large = params.Size() > maxCompiled
	if d := g.Input(gradients.X).Shape()[0]; d.IsStatic() {
		e.fixed = int(d.Size)
	}
	return e, nil
}

// checkEnergy infers types, fixes the item's extents and verifies the contract of an energy graph.
func checkEnergy(g *graphs.Graph, item []int64, runs bool) (*graphs.Graph, []int64, error) {
	x, out := g.Input(gradients.X), g.Output(gradients.EnergyName)
	if x == nil || out == nil || len(g.Inputs) != 1 || len(g.Outputs) != 1 {
		return nil, nil, fmt.Errorf("ebm: not an energy graph (input x [N, D…], output energy [N]): import it first")
	}
	if x.Type.DType != graphs.Float32 || x.Rank() < 1 {
		return nil, nil, fmt.Errorf("ebm: the input x is %v; an energy takes float32[N, D…]: import the model first", x.Type)
	}
	shape := append(graphs.Shape{}, x.Shape()...)
	if item != nil {
		if len(item) != len(shape)-1 {
			return nil, nil, fmt.Errorf("ebm: items of shape %v do not fit the input %v", item, x.Shape())
		}
		for i, d := range item {
			if shape[i+1].IsStatic() && shape[i+1].Size != d {
				return nil, nil, fmt.Errorf("ebm: items of shape %v do not fit the input %v", item, x.Shape())
			}
			shape[i+1] = graphs.Static(d)
		}
	}
	if !shape[1:].IsStatic() && runs {
		return nil, nil, fmt.Errorf("ebm: the input %v leaves item extents open: give the item's shape", x.Shape())
	}
	if !shape[0].IsStatic() {
		shape[0] = batch
	}
	g, err := graphs.Reshaped(g, map[*graphs.Value]graphs.Shape{x: shape})
	if err != nil {
		return nil, nil, fmt.Errorf("ebm: %w", err)
	}
	if r := g.Output(gradients.EnergyName).Rank(); r != 1 {
		return nil, nil, fmt.Errorf("ebm: the output energy is %v, not [N]", g.Output(gradients.EnergyName).Shape())
	}
	if !shape[1:].IsStatic() {
		return g, nil, nil
	}
	return g, shape[1:].Ints(), nil
}

// Dim is the number of values of one item, the product of Item.
func (e *Energy) Dim() int { return e.dim }

// Item is the shape of one item.
func (e *Energy) Item() []int64 { return e.item }

// Graph is the energy graph. Parameters have their initial values there; see Save for the present ones.
func (e *Energy) Graph() *graphs.Graph { return e.graph }

// Store is the flat parameter store with its layout.
func (e *Energy) Store() *Params { return e.params }

// Params is the flat parameter store's memory.
func (e *Energy) Params() []float32 { return e.params.Flat() }

// Runtime is what the energy runs on.
func (e *Energy) Runtime() *runtime.Runtime { return e.rt }

// Energy evaluates E at n items x [n·D].
func (e *Energy) Energy(ctx context.Context, x []float32, n int) ([]float32, error) {
	out := make([]float32, n)
	return out, e.EnergyGradient(ctx, x, n, out, nil)
}

// Gradient evaluates ∇ₓE [n·D].
func (e *Energy) Gradient(ctx context.Context, x []float32, n int) ([]float32, error) {
	g := make([]float32, n*e.dim)
	return g, e.EnergyGradient(ctx, x, n, nil, g)
}

// EnergyGradient evaluates E into out [n] and ∇ₓE into g [n·D] at x [n·D]; a nil out or g is not wanted. It allocates nothing once it
// has seen n.
func (e *Energy) EnergyGradient(ctx context.Context, x []float32, n int, out, g []float32) error {
	var w gradients.Want
	if out != nil {
		w |= gradients.Energy
	}
	if g != nil {
		w |= gradients.Gradient
	}
	return e.evaluate(ctx, derivation{want: w}, x, nil, n, values{energy: out, gradient: g})
}

// HVP evaluates ∇²ₓE·v into hv [n·D] at x [n·D], row by row.
func (e *Energy) HVP(ctx context.Context, x, v []float32, n int, hv []float32) error {
	return e.evaluate(ctx, derivation{gradients.HVP, 1}, x, v, n, values{hvp: hv})
}

// Laplacian evaluates tr ∇²ₓE into lap [n] at x [n·D].
func (e *Energy) Laplacian(ctx context.Context, x []float32, n int, lap []float32) error {
	return e.evaluate(ctx, derivation{want: gradients.Laplacian}, x, nil, n, values{laplacian: lap})
}

// values are destinations by quantity.
type values struct{ energy, gradient, hvp, laplacian []float32 }

func (e *Energy) evaluate(ctx context.Context, d derivation, x, v []float32, n int, dst values) error {
	if n == 0 || d.want == 0 {
		return ctx.Err()
	}
	if len(x) < n*e.dim || v != nil && len(v) < d.k*n*e.dim {
		return fmt.Errorf("ebm: %d values are not %d items of %d", len(x), n, e.dim)
	}
	p, err := e.program(d)
	if err != nil {
		return err
	}
	b, err := p.acquire(e.padded(n))
	if err != nil {
		return err
	}
	defer p.release(b)
	e.fill(b.In(gradients.X), x, n)
	if v != nil {
		e.scatter(b, b.In(gradients.V), v, n, d.k, false)
	}
	if err := b.Run(ctx); err != nil {
		return fmt.Errorf("ebm: %w", err)
	}
	copy(dst.energy, b.Out(gradients.EnergyName))
	copy(dst.gradient, b.Out(gradients.GradientName))
	if dst.hvp != nil {
		e.gather(b, dst.hvp, b.Out(gradients.HVPName), n, d.k)
	}
	copy(dst.laplacian, b.Out(gradients.LaplacianName))
	return nil
}

// padded is the number of rows that a run of n takes: n, or whole batches of the size that the graph is made for.
func (e *Energy) padded(n int) int {
	if e.fixed == 0 {
		return n
	}
	return (n + e.fixed - 1) / e.fixed * e.fixed
}

// tiles is the number of tiles that such a run must have; 0 leaves it to the runtime.
func (e *Energy) tiles(padded int) int {
	if e.fixed == 0 {
		return 0
	}
	return padded / e.fixed
}

// fill copies n rows and repeats the last one to the end.
func (e *Energy) fill(dst, src []float32, n int) {
	k := copy(dst, src[:n*e.dim])
	for k < len(dst) {
		k += copy(dst[k:], src[(n-1)*e.dim:n*e.dim])
	}
}

// ParamsChanged tells that Params were written, which CUDA needs to know.
func (e *Energy) ParamsChanged() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.programs {
		p.stale()
	}
	for _, l := range e.lent {
		l.stale = true
	}
	for _, l := range e.linear {
		l.forward.stale()
		l.pullback.stale()
	}
}

// Close gives back compiled programs. The energy must not be used afterwards.
func (e *Energy) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for _, l := range e.lent {
		errs = append(errs, l.close())
	}
	e.lent = nil
	for _, p := range e.programs {
		errs = append(errs, p.close())
	}
	for _, l := range e.linear {
		errs = append(errs, l.forward.close(), l.pullback.close())
	}
	clear(e.programs)
	clear(e.linear)
	return errors.Join(errs...)
}
