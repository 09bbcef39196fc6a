package gradients

import (
	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	convolutions()
}

// rigid is an operand whose extents are known in every variant: a weight.
func rigid(dims ...int) operand {
	o := within(-1, 1, dims...)
	o.rigid = true
	return o
}

// channelled is an image whose channels are known in every variant.
func channelled(dims ...int) operand {
	o := within(-1, 1, dims...)
	o.fixedAxes = []int{1}
	return o
}

func convolutions() {
	for _, c := range []struct {
		name string
		in   []operand
		a    graphs.Attrs
	}{
		{"1d", []operand{channelled(2, 2, 5), rigid(3, 2, 3), rigid(3)}, nil},
		{"2d", []operand{channelled(2, 2, 4, 5), rigid(3, 2, 3, 2), rigid(3)}, graphs.Attrs{"pads": list(1, 0, 2, 1)}},
		{"3d", []operand{channelled(1, 1, 3, 4, 3), rigid(2, 1, 2, 2, 2)}, graphs.Attrs{"pads": list(0, 1, 0, 1, 0, 0), "strides": list(1, 2, 1)}},
		{"pointwise", []operand{channelled(2, 3, 2, 2), rigid(2, 3, 1, 1)}, nil},
		{"pointwise strided", []operand{channelled(2, 2, 4, 3), rigid(2, 2, 1, 1)}, graphs.Attrs{"strides": list(2, 2)}},
		{"strided with remainder", []operand{channelled(1, 2, 7, 6), rigid(2, 2, 3, 3)}, graphs.Attrs{"strides": list(2, 3), "pads": list(1, 0, 0, 1)}},
		{"dilated", []operand{channelled(1, 2, 6, 7), rigid(2, 2, 2, 3)}, graphs.Attrs{"dilations": list(2, 3), "strides": list(2, 1), "pads": list(1, 2, 0, 3)}},
		{"grouped", []operand{channelled(2, 4, 4), rigid(6, 2, 2), rigid(6)}, graphs.Attrs{"group": int64(2), "strides": list(2)}},
		{"depthwise", []operand{channelled(1, 3, 4, 4), rigid(3, 1, 3, 3)}, graphs.Attrs{"group": int64(3), "pads": list(1, 1, 1, 1)}},
		{"same upper", []operand{channelled(1, 1, 5, 6), rigid(2, 1, 3, 2)}, graphs.Attrs{"auto_pad": "SAME_UPPER", "strides": list(2, 2)}},
		{"same lower", []operand{channelled(1, 1, 5, 6), rigid(2, 1, 2, 4)}, graphs.Attrs{"auto_pad": "SAME_LOWER", "strides": list(1, 3)}},
		{"valid", []operand{channelled(1, 1, 5), rigid(2, 1, 2)}, graphs.Attrs{"auto_pad": "VALID"}},
	} {
		addCases("Conv", gradCase{name: c.name, in: c.in, build: op("Conv", c.a), batch: []int{0}})
	}
	for _, c := range []struct {
		name string
		in   []operand
		a    graphs.Attrs
	}{
		{"1d", []operand{channelled(2, 2, 4), rigid(2, 3, 3), rigid(3)}, nil},
		{"2d", []operand{channelled(2, 2, 3, 3), rigid(2, 3, 3, 2), rigid(3)}, graphs.Attrs{"pads": list(1, 0, 1, 1), "strides": list(2, 2)}},
		{"3d", []operand{channelled(1, 1, 2, 2, 3), rigid(1, 2, 2, 2, 2)}, graphs.Attrs{"strides": list(1, 2, 1)}},
		{"output padding", []operand{channelled(1, 2, 3, 3), rigid(2, 1, 3, 3)}, graphs.Attrs{"strides": list(2, 3), "output_padding": list(1, 2), "pads": list(1, 0, 0, 1)}},
		{"output padding beyond the stride", []operand{channelled(1, 1, 3), rigid(1, 1, 3)}, graphs.Attrs{"strides": list(2), "dilations": list(4), "output_padding": list(3)}},
		{"dilated", []operand{channelled(1, 2, 3, 4), rigid(2, 2, 2, 3)}, graphs.Attrs{"dilations": list(2, 2), "strides": list(1, 2)}},
		{"grouped", []operand{channelled(2, 4, 3), rigid(4, 3, 2), rigid(6)}, graphs.Attrs{"group": int64(2), "strides": list(2)}},
		{"depthwise", []operand{channelled(1, 3, 2, 3), rigid(3, 1, 2, 2)}, graphs.Attrs{"group": int64(3)}},
		{"same upper", []operand{channelled(1, 1, 3, 3), rigid(1, 2, 3, 3)}, graphs.Attrs{"auto_pad": "SAME_UPPER", "strides": list(2, 2)}},
		{"same lower", []operand{channelled(1, 1, 3), rigid(1, 2, 4)}, graphs.Attrs{"auto_pad": "SAME_LOWER", "strides": list(1)}},
		{"valid", []operand{channelled(1, 1, 3), rigid(1, 2, 2)}, graphs.Attrs{"auto_pad": "VALID"}},
	} {
		addCases("ConvTranspose", gradCase{name: c.name, in: c.in, build: op("ConvTranspose", c.a), batch: []int{0}})
	}
	addCases("ConvTranspose", gradCase{name: "output shape", in: []operand{still(rigid(1, 1, 3, 4)), rigid(1, 2, 3, 3)}, build: op("ConvTranspose",
		graphs.Attrs{"output_shape": list(6, 7), "strides": list(2, 2)})})
	addCases("Conv", gradCase{name: "two layers", in: []operand{channelled(2, 1, 4, 4), rigid(2, 1, 3, 3), rigid(1, 2, 2, 2)}, batch: []int{0},
		build: func(b *graphs.Builder, in []*Value) []*Value {
			h := b.Op("Tanh", nil, b.Op("Conv", graphs.Attrs{"pads": list(1, 1, 1, 1)}, in[0], in[1]))
			y := b.Op("Conv", graphs.Attrs{"strides": list(2, 2)}, b.Op("Tanh", nil, h), in[2])
			return only(b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, y, y), b.Ints(1, 2, 3)))
		}})
}
