package ebm

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// maxOpset is the newest opset that compiled programs use: every supported ONNX Runtime has it.
const maxOpset = 21

// maxCompiled is the number of parameters (1 GiB) up to which a frozen energy compiles them into its programs, where ONNX Runtime lays them out
// anew: a second and third copy. Those of a larger energy are read where they lie, as in a trainable one.
var maxCompiled = 1 << 28

// paramPrefix tells parameters from the inputs x and v and from the outputs of programs, whose names a model may use for its parameters.
const paramPrefix = "param/"

// maxBindings bounds the memory that a program's idle bindings hold.
const maxBindings = 4

// program is a compiled graph with a pool of bindings by batch size.
type program struct {
	prog   *runtime.Program
	shared map[string][]float32
	tiles  func(n int) int

	mu   sync.Mutex
	idle []idleBinding
}

type idleBinding struct {
	b     *runtime.Binding
	stale bool
}

func (p *program) acquire(n int) (*runtime.Binding, error) {
	p.mu.Lock()
	for i := len(p.idle) - 1; i >= 0; i-- {
		if p.idle[i].b.N() == n {
			f := p.idle[i]
			p.idle = slices.Delete(p.idle, i, i+1)
			p.mu.Unlock()
			if f.stale {
				return f.b, f.b.Changed()
			}
			return f.b, nil
		}
	}
	p.mu.Unlock()
	b, err := p.prog.Bind(n, runtime.BindOptions{Shared: p.shared, Tiles: p.tiles(n)})
	if err != nil {
		return nil, fmt.Errorf("ebm: %w", err)
	}
	return b, nil
}

func (p *program) release(b *runtime.Binding) {
	p.mu.Lock()
	p.idle = append(p.idle, idleBinding{b: b})
	var old *runtime.Binding
	if len(p.idle) > maxBindings {
		old = p.idle[0].b
		p.idle = slices.Delete(p.idle, 0, 1)
	}
	p.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

func (p *program) stale() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.idle {
		p.idle[i].stale = true
	}
}

func (p *program) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, f := range p.idle {
		errs = append(errs, f.b.Close())
	}
	p.idle = nil
	return errors.Join(append(errs, p.prog.Close())...)
}

// program returns the compiled program of a derivation.
func (e *Energy) program(d derivation) (*program, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.programs[d]; p != nil {
		return p, nil
	}
	g, err := e.finished(d)
	if err != nil {
		return nil, err
	}
	cost := graphs.FLOPs(g, 1)
	if d.want == gradients.Gradient {
		// Gradients have the same tiles with and without energies, so that samplers may mix the two.
		both, err := e.finished(derivation{want: gradients.Energy | gradients.Gradient})
		if err != nil {
			return nil, err
		}
		cost = graphs.FLOPs(both, 1)
	}
	p, err := e.compile("energy program", g, cost)
	if err != nil {
		return nil, err
	}
	e.programs[d] = p
	return p, nil
}

// finished derives a graph in the form that is compiled.
func (e *Energy) finished(d derivation) (*graphs.Graph, error) {
	g, err := e.derive(d)
	if err == nil {
		g, err = gradients.Lower(g, maxOpset)
	}
	if err == nil && !e.readsParams() {
		g, err = graphs.Freeze(g)
	}
	if err != nil {
		return nil, fmt.Errorf("ebm: %w", err)
	}
	return g, nil
}

// readsParams reports whether programs read parameters at every run.
func (e *Energy) readsParams() bool { return e.options.Trainable || e.large }

// compile builds a graph whose inputs and outputs with the batch axis in front are rows; parameters are constants or, in a trainable or large
// energy, inputs that alias the store; other outputs are sums over the rows. cost is the operations of a row.
func (e *Energy) compile(name string, g *graphs.Graph, cost float64) (*program, error) {
	g, err := e.fast(g)
	if err != nil {
		return nil, err
	}
	raw, err := graphs.Encode(g, graphs.WriteOptions{MaxOpset: maxOpset, ParamsAsInputs: e.readsParams(), ParamPrefix: paramPrefix, ValueInfo: true})
	if err != nil {
		return nil, fmt.Errorf("ebm: %w", err)
	}
	m := runtime.Model{Name: name, Bytes: raw, RowCost: cost}
	p := &program{shared: map[string][]float32{}, tiles: e.tiles}
	for _, v := range g.Inputs {
		port, err := e.port(v.Name, v, runtime.Shared)
		if err != nil {
			return nil, err
		}
		m.Inputs = append(m.Inputs, port)
	}
	if e.options.Trainable {
		e.params.Flat()
	}
	if e.readsParams() {
		for _, v := range g.Params() {
			q, ok := e.params.Lookup(v.Name)
			if !ok {
				return nil, fmt.Errorf("ebm: parameter %q is not in the store", v.Name)
			}
			name := paramPrefix + v.Name
			m.Inputs = append(m.Inputs, runtime.Port{Name: name, Item: q.Shape, Kind: runtime.Shared})
			p.shared[name] = e.params.Of(q)
		}
	}
	for _, o := range g.Outputs {
		port, err := e.port(o.Name, o.Value, runtime.Sum)
		if err != nil {
			return nil, err
		}
		m.Outputs = append(m.Outputs, port)
	}
	if p.prog, err = e.rt.Compile(m); err != nil {
		return nil, fmt.Errorf("ebm: %w", err)
	}
	return p, nil
}

func (e *Energy) fuses() bool { return e.rt != nil && !e.options.Unfused && e.rt.Elementwise() }

// fast is the graph with the runtime's own op for element-wise nodes, where that is known.
func (e *Energy) fast(g *graphs.Graph) (*graphs.Graph, error) {
	var err error
	if e.fuses() {
		g, err = graphs.FuseElementwise(g, !e.readsParams())
	}
	if err == nil {
		g, err = gradients.FastSums(g)
	}
	if err != nil {
		return nil, fmt.Errorf("ebm: %w", err)
	}
	return g, nil
}

func (e *Energy) port(name string, v *graphs.Value, otherwise runtime.Kind) (runtime.Port, error) {
	s, batch := v.Shape(), e.graph.Input(gradients.X).Shape()[0]
	axis := gradients.BatchAxis(s, batch)
	if directed[name] {
		axis = 1
	}
	if otherwise == runtime.Sum && isGrad(name) || len(s) == 0 || axis < 0 && !s[0].Same(batch) {
		if !s.IsStatic() {
			return runtime.Port{}, fmt.Errorf("ebm: the extents of %q, %v, are not known; give the item's shape, or export the model with fixed extents", name, s)
		}
		return runtime.Port{Name: name, Item: s.Ints(), Kind: otherwise}, nil
	}
	if axis < 0 {
		return runtime.Port{}, fmt.Errorf("ebm: the item extents of %q, %v, are not known; give the item's shape", name, s)
	}
	item := slices.Concat(s[:axis], s[axis+1:])
	return runtime.Port{Name: name, Item: item.Ints(), Kind: runtime.Rows, Axis: axis}, nil
}

// directed names the tensors [K, N, D…].
var directed = map[string]bool{gradients.V: true, gradients.HVPName: true, gradients.CotangentPrefix + gradients.HVPName: true}

func isGrad(name string) bool {
	return len(name) > len(gradients.GradPrefix) && name[:len(gradients.GradPrefix)] == gradients.GradPrefix
}
