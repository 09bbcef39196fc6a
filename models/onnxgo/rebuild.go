package onnxgo

import (
	"errors"
	"fmt"
	"strings"

	"gorgonia.org/tensor"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// graph is the model: the file's, or what the recorded calls make. Inputs of the latter have no known shape.
func (b *Backend) graph() (*graphs.Graph, error) {
	switch {
	case b.err != nil:
		return nil, b.err
	case len(b.ops) == 0:
		return nil, errors.New("no model: give the backend to onnx.NewModel and decode a file first")
	case b.source != nil:
		return b.source, nil
	case b.rebuilt != nil:
		return b.rebuilt, nil
	}
	m, err := b.rebuild()
	if err != nil {
		return nil, err
	}
	g, _, err := graphs.Decode(m, "")
	if err != nil {
		return nil, fmt.Errorf("the model as onnx-go passes it on cannot be read (WithModel may help): %w", err)
	}
	for _, n := range g.Nodes {
		if _, ok := graphs.Info(n.Op); !ok {
			return nil, fmt.Errorf("%s: ai.onnx has no such op, and onnx-go does not pass domains and functions on: pass WithModel", n.Label())
		}
	}
	b.rebuilt = g
	return g, nil
}

// rebuild writes the recorded calls as a file, so that one reader knows the older forms of ops.
func (b *Backend) rebuild() ([]byte, error) {
	if err := b.uniqueNames(); err != nil {
		return nil, err
	}
	var g message
	for _, o := range b.ops {
		n, err := b.operation(o)
		if err != nil {
			return nil, err
		}
		g = g.bytes(1, n)
	}
	g = g.text(2, "onnx-go")
	for _, n := range b.nodes {
		switch {
		case b.isInitializer(n):
			t, err := graphsTensor(n.value)
			if err != nil {
				return nil, fmt.Errorf("initializer %q: %w", n.name, err)
			}
			g = g.bytes(5, tensorMessage(n.name, t))
		case b.isInput(n):
			if n.value == nil {
				return nil, fmt.Errorf("input %q states no type", n.name)
			}
			g = g.bytes(11, valueMessage(n.name, graphs.Type{DType: dtypes[n.value.Dtype()]}))
		case b.isOutput(n):
			g = g.bytes(12, valueMessage(n.name, graphs.Type{DType: dtypes[n.value.Dtype()]}))
		}
	}
	return modelMessage(g, b.opset), nil
}

func (b *Backend) uniqueNames() error {
	seen := map[string]bool{}
	for _, n := range b.nodes {
		if n.name == "" || b.isInvented(n) {
			continue
		}
		if seen[n.name] {
			return fmt.Errorf("the model declares %q twice, such as an input that is an output too: pass WithModel", n.name)
		}
		seen[n.name] = true
	}
	return nil
}

func (b *Backend) operation(o operation) (message, error) {
	if err := b.checkForm(o); err != nil {
		return nil, err
	}
	attrs := graphs.Attrs{}
	for name, v := range o.op.Attributes {
		switch v := v.(type) {
		case float32, int64, string, []float32, []int64, []string:
			attrs[name] = v
		case tensor.Tensor:
			t, err := graphsTensor(v)
			if err != nil {
				return nil, fmt.Errorf("%s: attribute %q: %w", o.label(), name, err)
			}
			attrs[name] = t
		default:
			return nil, fmt.Errorf("%s: attribute %q has a type that onnx-go does not pass on: pass WithModel", o.label(), name)
		}
	}
	in := o.in
	if len(in) == 1 && b.isInvented(in[0]) {
		in = nil
	}
	return nodeMessage(o.op.Name, attrs, names(in), names(o.out)), nil
}

func (o operation) label() string {
	if len(o.out) > 0 {
		return fmt.Sprintf("%s that makes %q", o.op.Name, o.out[0].name)
	}
	return o.op.Name
}

func names(nodes []*node) []string {
	list := make([]string, len(nodes))
	for i, n := range nodes {
		list[i] = n.name
	}
	return list
}

// The decoder announces inputs, then values of value_info, outputs, initializers that are not among the inputs, and at last, with the
// operations, what was not declared. Whatever comes before the first result of an operation is therefore an input or, with a second
// tensor, an initializer; a leaf that comes later and has a tensor is an initializer.
func (b *Backend) isInitializer(n *node) bool {
	return !n.produced && (n.declared > 1 || n.declared == 1 && n.id > b.first)
}

func (b *Backend) isInput(n *node) bool {
	return !n.produced && n.declared <= 1 && n.id < b.first
}

// isOutput holds for declared results, also for those that the file has in value_info only. What is used further and could not be
// delivered is taken for one of these.
func (b *Backend) isOutput(n *node) bool {
	return n.produced && n.declared == 1 && n.name != "" && (n.value.Dtype() == tensor.Float32 || b.topology.To(n.id).Len() == 0)
}

// isInvented tells the operand that the decoder makes up for an operation without any.
func (b *Backend) isInvented(n *node) bool {
	return !n.produced && n.declared == 0 && n.id > b.first && strings.HasSuffix(n.name, "/input")
}
