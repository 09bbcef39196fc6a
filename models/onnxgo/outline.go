package onnxgo

import (
	"errors"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// Outline is a small ONNX file with the inputs and outputs of the model given by WithModel. onnx-go decodes it whatever the model is made
// of; the backend runs the model itself.
func (b *Backend) Outline() ([]byte, error) {
	if b.source == nil {
		return nil, errors.New("onnxgo: an outline needs the file: pass WithModel")
	}
	var g message
	var in, out []string
	for _, v := range b.source.Inputs {
		in = append(in, v.Name)
		g = g.bytes(11, valueMessage(v.Name, v.Type))
	}
	for _, o := range b.source.Outputs {
		out = append(out, o.Name)
		g = g.bytes(12, valueMessage(o.Name, graphs.Type{DType: o.Value.Type.DType, Shape: o.Value.Shape()}))
	}
	g = g.bytes(1, nodeMessage("Outline", nil, in, out)).text(2, "outline")
	return modelMessage(g, DefaultOpset), nil
}
