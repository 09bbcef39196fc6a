package onnxgo

import (
	"fmt"

	"github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"
)

var (
	_ onnx.Namer       = (*node)(nil)
	_ onnx.DataCarrier = (*node)(nil)
)

// node is a value of the model as onnx-go's decoder announces it.
type node struct {
	backend  *Backend
	id       int64
	name     string
	produced bool          // by an operation
	declared int           // tensors set before the first operation: 1 by a declaration or an initializer, 2 by both
	value    tensor.Tensor // of an initializer, of an input as the user set it, of an output after a run
	given    bool          // value was set after the model was decoded, by the user or by a run
}

// ID implements graph.Node.
func (n *node) ID() int64 { return n.id }

// SetName implements onnx.Namer.
func (n *node) SetName(name string) { n.name = name }

// GetName implements onnx.Namer.
func (n *node) GetName() string { return n.name }

// SetTensor implements onnx.DataCarrier: the decoder calls it with placeholders and initializers, Model.SetInput with inputs. The tensor
// is read when the model runs.
func (n *node) SetTensor(t tensor.Tensor) error {
	if len(n.backend.ops) == 0 {
		n.declared++
		n.value = t
		return nil
	}
	if n.produced || n.backend.isInitializer(n) {
		return fmt.Errorf("onnxgo: %q is no input of the model (onnx-go counts inputs as the file lists them, initializers included): find the input with GetNodeByName", n.name)
	}
	n.value, n.given = t, true
	return nil
}

// GetTensor implements onnx.DataCarrier. An input has a placeholder before it is set, a result is nil before it is computed.
func (n *node) GetTensor() tensor.Tensor {
	if n.produced && !n.given {
		return nil
	}
	return n.value
}
