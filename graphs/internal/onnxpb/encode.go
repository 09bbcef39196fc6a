package onnxpb

import (
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxSize is the largest message that protobuf's own parsers read.
const MaxSize = math.MaxInt32

// Encode returns the wire form: fields by number, unknown ones last. Models above MaxSize are refused.
func Encode(m *Model) ([]byte, error) {
	size, err := measure(m)
	if err != nil {
		return nil, err
	}
	e := encoder{b: make([]byte, 0, size), write: true}
	e.message(m)
	return e.b, nil
}

// Write writes the wire form to w. The data of tensors goes there from where it lies, without a copy.
func Write(w io.Writer, m *Model) error {
	if _, err := measure(m); err != nil {
		return err
	}
	e := encoder{b: make([]byte, 0, chunk), write: true, out: w}
	e.message(m)
	e.flush()
	return e.err
}

// chunk is the number of bytes that Write gathers before it hands them on.
const chunk = 64 << 10

// measure sets the sizes of all submessages and returns that of the message.
func measure(m *Model) (int, error) {
	e := encoder{}
	e.message(m)
	if e.n > MaxSize {
		return 0, fmt.Errorf("the model takes %d bytes; an ONNX file without external data holds at most 2 GiB", e.n)
	}
	return e.n, nil
}

// encoder runs twice over a message: first to measure every submessage, then to write.
type encoder struct {
	b     []byte
	n     int
	write bool
	out   io.Writer // takes b when a chunk is full; nil: b keeps everything
	err   error     // of out
}

func (e *encoder) put(p []byte) {
	if e.err == nil {
		_, e.err = e.out.Write(p)
	}
}

func (e *encoder) flush() {
	e.put(e.b)
	e.b = e.b[:0]
}

func (e *encoder) varint(v uint64) {
	if e.write {
		e.b = protowire.AppendVarint(e.b, v)
	} else {
		e.n += protowire.SizeVarint(v)
	}
}

func (e *encoder) raw(p []byte) {
	if !e.write {
		e.n += len(p)
		return
	}
	if e.out != nil && len(e.b)+len(p) > chunk {
		e.flush()
		if len(p) > chunk {
			e.put(p)
			return
		}
	}
	e.b = append(e.b, p...)
}

func (e *encoder) text(s string) {
	if e.write {
		e.b = append(e.b, s...)
	} else {
		e.n += len(s)
	}
}

func (e *encoder) tag(num int, typ protowire.Type) {
	e.varint(protowire.EncodeTag(protowire.Number(num), typ))
}

func (e *encoder) message(m message) {
	h := m.header()
	start := e.n
	for num, f := range m.fields() {
		if f != nil {
			e.field(num, f, h.Has(num))
		}
	}
	e.raw(h.Unknown)
	if !e.write {
		h.size = e.n - start
	}
}

// field writes one field; present says that a scalar is written even where it is zero.
func (e *encoder) field(num int, f any, present bool) {
	switch f := f.(type) {
	case *int64:
		scalar(e, num, *f, present)
	case *int32:
		scalar(e, num, *f, present)
	case *float32:
		scalar(e, num, *f, present)
	case *string:
		if *f != "" || present {
			e.str(num, *f)
		}
	case *[]byte:
		if len(*f) > 0 || present {
			e.bytes(num, *f)
		}
	case *[]string:
		for _, s := range *f {
			e.str(num, s)
		}
	case *[][]byte:
		for _, s := range *f {
			e.bytes(num, s)
		}
	case single:
		if m := f.get(); m != nil {
			e.sub(num, m)
		}
	case list:
		for i := range f.len() {
			e.sub(num, f.at(i))
		}
	case *[]int64:
		for _, v := range *f {
			scalar(e, num, v, true)
		}
	case *[]float32:
		for _, v := range *f {
			scalar(e, num, v, true)
		}
	case *Packed[float32]:
		packed(e, num, *f)
	case *Packed[float64]:
		packed(e, num, *f)
	case *Packed[int32]:
		packed(e, num, *f)
	case *Packed[int64]:
		packed(e, num, *f)
	case *Packed[uint64]:
		packed(e, num, *f)
	}
}

func (e *encoder) str(num int, s string) {
	e.tag(num, protowire.BytesType)
	e.varint(uint64(len(s)))
	e.text(s)
}

func (e *encoder) bytes(num int, p []byte) {
	e.tag(num, protowire.BytesType)
	e.varint(uint64(len(p)))
	e.raw(p)
}

func (e *encoder) sub(num int, m message) {
	e.tag(num, protowire.BytesType)
	if e.write {
		e.varint(uint64(m.header().size))
		e.message(m)
		return
	}
	e.message(m)
	e.varint(uint64(m.header().size))
}

func scalar[T number](e *encoder, num int, v T, present bool) {
	if v == 0 && !present {
		return
	}
	typ := protowire.VarintType
	switch any(v).(type) {
	case float32:
		typ = protowire.Fixed32Type
	case float64:
		typ = protowire.Fixed64Type
	}
	e.tag(num, typ)
	value(e, v)
}

func value[T number](e *encoder, v T) {
	switch v := any(v).(type) {
	case float32:
		e.raw(protowire.AppendFixed32(nil, math.Float32bits(v)))
	case float64:
		e.raw(protowire.AppendFixed64(nil, math.Float64bits(v)))
	case int32:
		e.varint(uint64(int64(v)))
	case int64:
		e.varint(uint64(v))
	case uint64:
		e.varint(v)
	}
}

func packed[T number](e *encoder, num int, list []T) {
	if len(list) == 0 {
		return
	}
	measure := encoder{}
	for _, v := range list {
		value(&measure, v)
	}
	e.tag(num, protowire.BytesType)
	e.varint(uint64(measure.n))
	for _, v := range list {
		value(e, v)
	}
}
