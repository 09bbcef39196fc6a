package models

import (
	"strconv"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// mlp is a chain of linear layers, layers.0, layers.1, …, with an activation after each but the last.
func mlp(s *spec.Spec, item []int64) body {
	hidden := widths(s, 128, 128)
	return func(m *network, x *graphs.Value) features {
		width := int64(1)
		for _, d := range item {
			width *= d
		}
		x = m.flat(x)
		for i, w := range hidden {
			x = m.hidden(m.linear("layers."+strconv.Itoa(i), x, width, w, m.act.gain))
			width = w
		}
		return features{x, width, "layers." + strconv.Itoa(len(hidden))}
	}
}
