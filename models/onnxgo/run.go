package onnxgo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gorgonia.org/tensor"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/runtime"
)

const (
	maxOpset    = 21 // every ONNX Runtime that package runtime loads has it
	maxPrograms = 8  // the oldest is given back for a new one

	resultPrefix = "result/" // of an output in a program: ONNX lets an output be an input too, package runtime wants different names
)

// program is the model, or a derivative of it, compiled for the shapes of its inputs.
type program struct {
	key     string
	prog    *runtime.Program
	binding *runtime.Binding
	outputs []runtime.Port
}

func (p *program) close() error { return errors.Join(p.binding.Close(), p.prog.Close()) }

// Run implements backend.ComputationBackend: it computes the outputs at the tensors that the inputs have. Model.GetOutputTensors of onnx-go
// returns them; every run makes new ones.
func (b *Backend) Run() error {
	results, err := b.compute("", nil)
	if err != nil {
		return fmt.Errorf("onnxgo: %w", err)
	}
	for name, t := range results {
		n := b.find(name, true)
		if n == nil {
			return fmt.Errorf("onnxgo: %w", b.stranger("output", name))
		}
		n.value, n.given = t, true
	}
	return nil
}

// Gradient returns ∇ of an output by each of the named inputs, at the tensors that the inputs have and in their shapes. The output is a
// number for each row, [N] or [N,1], or a scalar; of more rows than one it is the gradient of their sum, which is that of every row
// by its own part where rows do not depend on each other, as those of an energy. Float initializers have gradients like inputs. No names
// stand for all inputs.
//
// For an energy E with p(x) ∝ exp(−E(x)) this is ∇ₓE; the score is its negative.
func (b *Backend) Gradient(output string, inputs ...string) ([]tensor.Tensor, error) {
	if len(inputs) == 0 {
		g, err := b.graph()
		if err != nil {
			return nil, fmt.Errorf("onnxgo: %w", err)
		}
		for _, v := range g.Inputs {
			inputs = append(inputs, v.Name)
		}
	}
	results, err := b.compute(output, inputs)
	if err != nil {
		return nil, fmt.Errorf("onnxgo: gradient of %q: %w", output, err)
	}
	list := make([]tensor.Tensor, len(inputs))
	for i, name := range inputs {
		list[i] = results[gradients.GradPrefix+name]
	}
	return list, nil
}

// compute runs the model, or where wrt is given the gradient of an output, and returns the results by name.
func (b *Backend) compute(output string, wrt []string) (map[string]tensor.Tensor, error) {
	switch {
	case b.closed:
		return nil, errors.New("the backend is closed")
	case b.rt == nil:
		return nil, errors.New("the backend has no runtime: give New one")
	}
	g, err := b.graph()
	if err != nil {
		return nil, err
	}
	f, err := b.feeds(g)
	if err != nil {
		return nil, err
	}
	p, err := b.program(g, f, output, wrt)
	if err != nil {
		return nil, err
	}
	for name, data := range f.data {
		copy(p.binding.In(name), data) // none where the program does not need the input
	}
	if err := p.binding.Changed(); err != nil {
		return nil, err
	}
	if err := p.binding.Run(context.Background()); err != nil {
		return nil, err
	}
	results := map[string]tensor.Tensor{}
	for _, o := range p.outputs {
		results[strings.TrimPrefix(o.Name, resultPrefix)] = denseOf(p.binding.Out(o.Name), o.Item)
	}
	return results, nil
}

// feeds is what the inputs are fed.
type feeds struct {
	data    map[string][]float32
	shapes  map[*graphs.Value]graphs.Shape
	symbols map[string]int64 // extents that the model names
}

func (b *Backend) feeds(g *graphs.Graph) (feeds, error) {
	f := feeds{map[string][]float32{}, map[*graphs.Value]graphs.Shape{}, map[string]int64{}}
	for _, v := range g.Inputs {
		n := b.find(v.Name, false)
		switch {
		case n == nil:
			return f, b.stranger("input", v.Name)
		case v.Type.DType != graphs.Float32:
			return f, fmt.Errorf("input %q is %v: only float32 is supported", v.Name, v.Type.DType)
		case !n.given || n.value == nil:
			return f, fmt.Errorf("input %q has no tensor: set it with Model.SetInput", v.Name)
		}
		data, err := elements[float32](n.value)
		if err != nil {
			return f, fmt.Errorf("the tensor of input %q: %w", v.Name, err)
		}
		s := graphs.ShapeOf(extents(n.value)...)
		if err := f.agree(v.Shape(), s); err != nil {
			return f, fmt.Errorf("input %q is %v and its tensor %v: %w", v.Name, v.Shape(), s, err)
		}
		f.data[v.Name], f.shapes[v] = data, s
	}
	return f, nil
}

// agree checks a shape against the declared one; equal symbols are equal extents, over all inputs.
func (f feeds) agree(declared, s graphs.Shape) error {
	if declared == nil {
		return nil
	}
	if len(declared) != len(s) {
		return errors.New("the ranks differ")
	}
	for i, d := range declared {
		size := s[i].Size
		known, ok := f.symbols[d.Sym]
		switch {
		case d.IsStatic() && d.Size != size:
			return fmt.Errorf("axis %d differs", i)
		case d.Sym != "" && ok && known != size:
			return fmt.Errorf("%s is %d already", d.Sym, known)
		case d.Sym != "":
			f.symbols[d.Sym] = size
		}
	}
	return nil
}

// static puts numbers in the place of symbols, which what comes out of bodies keeps.
func (f feeds) static(s graphs.Shape) (graphs.Shape, error) {
	s = slices.Clone(s)
	for i, d := range s {
		if n, ok := f.symbols[d.Sym]; ok && d.Sym != "" {
			s[i] = graphs.Static(n)
		}
	}
	if s == nil || !s.IsStatic() {
		return nil, fmt.Errorf("its shape %v depends on values (WithModel leaves out what value_info alone declares)", s)
	}
	return s, nil
}

// program returns the compiled program for the given shapes.
func (b *Backend) program(g *graphs.Graph, f feeds, output string, wrt []string) (*program, error) {
	key := fmt.Sprintf("%q%q", output, wrt)
	for _, v := range g.Inputs {
		key += f.shapes[v].String()
	}
	for _, p := range b.programs {
		if p.key == key {
			return p, nil
		}
	}
	g, err := graphs.Reshaped(g, f.shapes)
	if err != nil {
		return nil, err
	}
	if len(wrt) > 0 {
		if g, err = f.derivative(g, output, wrt); err != nil {
			return nil, err
		}
	}
	p, err := b.compile(g, f)
	if err != nil {
		return nil, err
	}
	p.key = key
	if len(b.programs) == maxPrograms {
		err = b.programs[0].close()
		b.programs = slices.Delete(b.programs, 0, 1)
	}
	b.programs = append(b.programs, p)
	return p, err
}

// derivative is the graph of the gradient of the sum of an output's elements.
func (f feeds) derivative(g *graphs.Graph, output string, wrt []string) (*graphs.Graph, error) {
	o := g.Output(output)
	if o == nil {
		return nil, fmt.Errorf("the model has no such output; its outputs are %s", strings.Join(outputNames(g), ", "))
	}
	s, err := f.static(o.Shape())
	if err != nil {
		return nil, err
	}
	for i, d := range s {
		if i > 0 && !d.Is(1) {
			return nil, fmt.Errorf("it is %v, not a number for each row", s)
		}
	}
	d, err := gradients.VJP(g, []string{output}, wrt)
	if err != nil {
		return nil, err
	}
	ct := d.Input(gradients.CotangentPrefix + output)
	ones := slices.Repeat([]float64{1}, int(s.Size().Size))
	t, err := graphs.FromFloat64s(o.Type.DType, ones, s.Ints()...)
	if err != nil {
		return nil, err
	}
	return graphs.Replace(d, map[*graphs.Value]*graphs.Value{ct: graphs.NewBuilder("").Const(t)})
}

func outputNames(g *graphs.Graph) []string {
	list := make([]string, len(g.Outputs))
	for i, o := range g.Outputs {
		list[i] = fmt.Sprintf("%q", o.Name)
	}
	return list
}

// compile makes a program of one tile: the ports are whole tensors, since nothing is known of their rows.
func (b *Backend) compile(g *graphs.Graph, f feeds) (*program, error) {
	g, err := gradients.Finalize(g, maxOpset)
	if err != nil {
		return nil, err
	}
	m := runtime.Model{Name: "onnx-go model"}
	h := *g
	h.Outputs = slices.Clone(g.Outputs)
	for _, v := range g.Inputs {
		m.Inputs = append(m.Inputs, runtime.Port{Name: v.Name, Item: v.Shape().Ints(), Kind: runtime.Shared})
	}
	for i, o := range g.Outputs {
		if dt := o.Value.Type.DType; dt != graphs.Float32 {
			return nil, fmt.Errorf("output %q is %v: only float32 is supported", o.Name, dt)
		}
		s, err := f.static(o.Value.Shape())
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", o.Name, err)
		}
		h.Outputs[i].Name = resultPrefix + o.Name
		m.Outputs = append(m.Outputs, runtime.Port{Name: resultPrefix + o.Name, Item: s.Ints(), Kind: runtime.Sum})
	}
	if m.Bytes, err = graphs.Encode(&h, graphs.WriteOptions{MaxOpset: maxOpset, ValueInfo: true}); err != nil {
		return nil, err
	}
	p := &program{outputs: m.Outputs}
	if p.prog, err = b.rt.Compile(m); err != nil {
		return nil, err
	}
	if p.binding, err = p.prog.Bind(1, runtime.BindOptions{Tiles: 1}); err != nil {
		return nil, errors.Join(err, p.prog.Close())
	}
	return p, nil
}

// find returns the node of an input or output. Where both have the name, onnx-go makes the input's node first.
func (b *Backend) find(name string, output bool) *node {
	var found *node
	for _, n := range b.nodes {
		if n.name == name && (found == nil || output) {
			found = n
		}
	}
	return found
}

func (b *Backend) stranger(kind, name string) error {
	return fmt.Errorf("onnx-go's model has no %s %q: WithModel must get the file that onnx-go decodes", kind, name)
}
