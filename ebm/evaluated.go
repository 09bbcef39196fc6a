package ebm

import (
	"context"
	"fmt"
	"sync"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/losses"
)

// Evaluated is an energy computed by the float64 evaluator, in Go and without ONNX Runtime: the same derivative programs as those of
// an Energy, slow, and exact up to the rounding of what goes in and comes out. It is a losses.Model to check others by
// (losses.CheckGradients), and samplers.Target too.
type Evaluated struct {
	energy *Energy // without a runtime

	mu     sync.Mutex
	linear map[derivation]*gradients.Linear
}

// NewEvaluated makes an Evaluated of an energy graph: input x [N, D…] float32, output energy [N].
func NewEvaluated(g *graphs.Graph, o Options) (*Evaluated, error) {
	e, err := New(nil, g, o)
	if err != nil {
		return nil, err
	}
	if !e.graph.Input(gradients.X).Shape()[1:].IsStatic() {
		return nil, fmt.Errorf("ebm: the input %v leaves item extents open: give the item's shape", e.graph.Input(gradients.X).Shape())
	}
	return &Evaluated{energy: e, linear: map[derivation]*gradients.Linear{}}, nil
}

// Dim is the number of values of one item.
func (e *Evaluated) Dim() int { return e.energy.dim }

// Params is the flat parameter store itself, Store the same with names.
func (e *Evaluated) Params() []float32 { return e.energy.params.Flat() }

// Store is the parameter store.
func (e *Evaluated) Store() *Params { return e.energy.params }

// TrainableRanges implements losses.PartlyTrainable.
func (e *Evaluated) TrainableRanges() [][2]int { return e.energy.TrainableRanges() }

// EnergyGradient implements samplers.Target.
func (e *Evaluated) EnergyGradient(ctx context.Context, x []float32, n int, en, g []float32) error {
	v, pull, err := e.Linearize(ctx, losses.Query{N: n, X: x, Want: losses.WantEnergy | losses.WantGradient})
	if err != nil {
		return err
	}
	copy(en, v.E)
	copy(g, v.G)
	return pull.Close()
}

// Linearize implements losses.Model.
func (e *Evaluated) Linearize(ctx context.Context, q losses.Query) (losses.Values, losses.Pullback, error) {
	if err := ctx.Err(); err != nil {
		return losses.Values{}, nil, err
	}
	d, err := e.energy.derivationOf(q)
	if err != nil {
		return losses.Values{}, nil, err
	}
	l, err := e.program(d)
	if err != nil {
		return losses.Values{}, nil, err
	}
	p := &evaluatedPullback{e: e, l: l, want: q.Want, feeds: map[string]*graphs.Array{}}
	for _, param := range e.energy.params.List {
		p.feeds[param.Name] = array(ints(param.Shape), e.energy.params.Of(param))
	}
	item := ints(e.energy.item)
	p.feeds[gradients.X] = array(append([]int{q.N}, item...), q.X)
	if v := l.Forward.Input(gradients.V); v != nil {
		dims := append([]int{q.N}, item...)
		if v.Rank() > len(dims) {
			dims = append([]int{d.k}, dims...)
		}
		p.feeds[gradients.V] = array(dims, q.V)
	}
	outs, err := graphs.Evaluate(l.Forward, p.only(l.Forward))
	if err != nil {
		return losses.Values{}, nil, fmt.Errorf("ebm: %w", err)
	}
	var v losses.Values
	p.dims = map[string][]int{}
	for _, o := range quantities {
		if q.Want&o.loss != 0 {
			*o.of(&v) = narrow(outs[o.name].F)
			p.dims[o.name] = outs[o.name].Dims
		}
	}
	for _, name := range l.Residuals {
		p.feeds[name] = outs[name]
	}
	return v, p, nil
}

// program is the derivative program with its pullback.
func (e *Evaluated) program(d derivation) (*gradients.Linear, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.linear[d]; l != nil {
		return l, nil
	}
	l, err := e.energy.linearize(d)
	if err != nil {
		return nil, err
	}
	e.linear[d] = l
	return l, nil
}

// evaluatedPullback is the losses.Pullback of one query.
type evaluatedPullback struct {
	e     *Evaluated
	l     *gradients.Linear
	want  losses.Want
	feeds map[string]*graphs.Array
	dims  map[string][]int
}

// only are the feeds that a graph has a use for.
func (p *evaluatedPullback) only(g *graphs.Graph) map[string]*graphs.Array {
	feeds := map[string]*graphs.Array{}
	take := func(v *graphs.Value) {
		if a := p.feeds[v.Name]; a != nil {
			feeds[v.Name] = a
		}
	}
	for _, v := range g.Inputs {
		take(v)
	}
	for _, v := range g.Params() {
		take(v)
	}
	return feeds
}

// Add implements losses.Pullback.
func (p *evaluatedPullback) Add(ct losses.Values, dTheta []float32) error {
	params := p.e.energy.params
	if len(dTheta) != len(params.Flat()) {
		return fmt.Errorf("ebm: a gradient of %d elements for %d parameters", len(dTheta), len(params.Flat()))
	}
	for _, o := range quantities {
		if dims := p.dims[o.name]; dims != nil {
			size := 1
			for _, n := range dims {
				size *= n
			}
			all := make([]float32, size)
			copy(all, *o.of(&ct))
			p.feeds[gradients.CotangentPrefix+o.name] = array(dims, all)
		}
	}
	outs, err := graphs.Evaluate(p.l.Pullback, p.only(p.l.Pullback))
	if err != nil {
		return fmt.Errorf("ebm: %w", err)
	}
	for _, q := range params.List {
		g := outs[gradients.GradPrefix+q.Name]
		if g == nil {
			continue // the quantities do not depend on it
		}
		for i, v := range g.F {
			dTheta[q.Offset+i] += float32(v)
		}
	}
	return nil
}

// Close has nothing to give back.
func (p *evaluatedPullback) Close() error { return nil }

func array(dims []int, x []float32) *graphs.Array {
	f := make([]float64, len(x))
	for i, v := range x {
		f[i] = float64(v)
	}
	return graphs.Floats(dims, f)
}

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

func ints(dims []int64) []int {
	out := make([]int, len(dims))
	for i, d := range dims {
		out[i] = int(d)
	}
	return out
}
