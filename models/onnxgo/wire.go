package onnxgo

import (
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// message is a protobuf message of the ONNX format in wire form. Field numbers are those of onnx.proto3.
type message []byte

func (m message) bytes(field protowire.Number, v []byte) message {
	return protowire.AppendBytes(protowire.AppendTag(m, field, protowire.BytesType), v)
}

func (m message) text(field protowire.Number, v string) message {
	return m.bytes(field, []byte(v))
}

func (m message) int(field protowire.Number, v int64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), uint64(v))
}

func (m message) float(field protowire.Number, v float32) message {
	return protowire.AppendFixed32(protowire.AppendTag(m, field, protowire.Fixed32Type), math.Float32bits(v))
}

// irVersion 8 is the first that all opsets from 15 on may have; readers accept older opsets in it.
const irVersion = 8

// modelMessage is a ModelProto of a GraphProto.
func modelMessage(g message, opset int64) message {
	return message(nil).int(1, irVersion).bytes(7, g).bytes(8, message(nil).text(1, "").int(2, opset))
}

// valueMessage is a ValueInfoProto. A nil shape is of unknown rank; extents that are no numbers become symbols.
func valueMessage(name string, t graphs.Type) message {
	tensor := message(nil).int(1, int64(t.DType))
	if t.Shape != nil {
		var shape message
		for _, d := range t.Shape {
			dim := message(nil).text(2, d.String())
			if d.IsStatic() {
				dim = message(nil).int(1, d.Size)
			}
			shape = shape.bytes(1, dim)
		}
		tensor = tensor.bytes(2, shape)
	}
	return message(nil).text(1, name).bytes(2, message(nil).bytes(1, tensor))
}

// tensorMessage is a TensorProto.
func tensorMessage(name string, t *graphs.Tensor) message {
	var m message
	for _, d := range t.Dims {
		m = m.int(1, d)
	}
	return m.int(2, int64(t.DType)).text(8, name).bytes(9, t.Raw)
}

// nodeMessage is a NodeProto; an empty name of an operand or result is one left out.
func nodeMessage(op string, attrs graphs.Attrs, in, out []string) message {
	var m message
	for _, name := range in {
		m = m.text(1, name)
	}
	for _, name := range out {
		m = m.text(2, name)
	}
	m = m.text(4, op)
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		m = m.bytes(5, attributeMessage(name, attrs[name]))
	}
	return m
}

// attributeMessage is an AttributeProto; field 20 is its type.
func attributeMessage(name string, value any) message {
	m := message(nil).text(1, name)
	switch v := value.(type) {
	case float32:
		return m.float(2, v).int(20, 1)
	case int64:
		return m.int(3, v).int(20, 2)
	case string:
		return m.text(4, v).int(20, 3)
	case *graphs.Tensor:
		return m.bytes(5, tensorMessage("", v)).int(20, 4)
	case []float32:
		for _, f := range v {
			m = m.float(7, f)
		}
		return m.int(20, 6)
	case []int64:
		for _, i := range v {
			m = m.int(8, i)
		}
		return m.int(20, 7)
	case []string:
		for _, s := range v {
			m = m.text(9, s)
		}
		return m.int(20, 8)
	}
	return m
}
