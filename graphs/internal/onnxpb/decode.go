package onnxpb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxDepth bounds the nesting of messages, as protobuf's own parsers do; a subgraph costs three levels.
const maxDepth = 100

// ErrTruncated says that the bytes end inside a message.
var ErrTruncated = errors.New("truncated")

// ErrFormat says that the bytes are no ONNX model.
var ErrFormat = errors.New("not an ONNX file")

// Decode parses a ModelProto. Byte fields of the result alias b, which must not change afterwards.
// The error wraps ErrTruncated or ErrFormat.
func Decode(b []byte) (*Model, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrFormat)
	}
	m := &Model{}
	if err := decode(b, m, 0); err != nil {
		if errors.Is(err, ErrTruncated) && m.Has(1) && plausibleIR(m.IRVersion) {
			return nil, fmt.Errorf("the ONNX file is %w: it ends within its contents; get it again", ErrTruncated)
		}
		if what := otherFormat(b); what != "" {
			return nil, fmt.Errorf("%w: it is %s", ErrFormat, what)
		}
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	switch {
	case !plausibleIR(m.IRVersion):
		return nil, fmt.Errorf("%w: it has no IR version", ErrFormat)
	case m.Graph == nil:
		return nil, fmt.Errorf("%w: it has no graph", ErrFormat)
	}
	return m, nil
}

// formats are what people take for an ONNX file, by their first bytes.
var formats = []struct{ magic, name string }{
	{"\x1f\x8b", "compressed with gzip: unpack it first"},
	{"PK\x03\x04", "a zip archive (of PyTorch or Keras?): unpack or export it first"},
	{"\x89HDF", "an HDF5 file (of Keras?): export it to ONNX first"},
	{"\x80\x02", "a pickle of Python: export it to ONNX first"},
	{"\x93NUMPY", "a NumPy array"},
	{"version https://git-lfs", "a pointer of Git LFS: fetch the file itself"},
}

func otherFormat(b []byte) string {
	for _, f := range formats {
		if bytes.HasPrefix(b, []byte(f.magic)) {
			return f.name
		}
	}
	head := b[:min(len(b), 512)]
	if utf8.Valid(head) && !bytes.ContainsFunc(head, func(r rune) bool { return r < ' ' && !unicode.IsSpace(r) }) {
		return "text"
	}
	return ""
}

// plausibleIR tells a model from other bytes that happen to parse.
func plausibleIR(v int64) bool { return v >= 1 && v <= 1000 }

func decode(b []byte, m message, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("messages are nested more than %d deep", maxDepth)
	}
	fs, h := m.fields(), m.header()
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return wireError(n)
		}
		size := protowire.ConsumeFieldValue(num, typ, b[n:])
		if size < 0 {
			return wireError(size)
		}
		value := b[n : n+size]
		if num < maxField && fs[num] != nil {
			if err := decodeField(fs[num], typ, value, depth); err != nil {
				return fmt.Errorf("%T field %d: %w", m, num, err)
			}
			h.Mark(int(num))
		} else {
			h.Unknown = append(h.Unknown, b[:n+size]...)
		}
		b = b[n+size:]
	}
	return nil
}

func wireError(n int) error {
	err := protowire.ParseError(n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}

// wireType gives the wire type of a field that is not packed.
func wireType(f any) protowire.Type {
	switch f.(type) {
	case *int64, *int32, *[]int64, *Packed[int32], *Packed[int64], *Packed[uint64]:
		return protowire.VarintType
	case *float32, *[]float32, *Packed[float32]:
		return protowire.Fixed32Type
	case *Packed[float64]:
		return protowire.Fixed64Type
	}
	return protowire.BytesType
}

func decodeField(f any, typ protowire.Type, b []byte, depth int) error {
	want := wireType(f)
	if typ == protowire.BytesType {
		payload, _ := protowire.ConsumeBytes(b)
		switch f := f.(type) {
		case *string:
			*f = string(payload)
			return nil
		case *[]string:
			*f = append(*f, string(payload))
			return nil
		case *[]byte:
			*f = payload
			return nil
		case *[][]byte:
			*f = append(*f, payload)
			return nil
		case single:
			return decode(payload, f.set(), depth+1)
		case list:
			return decode(payload, f.add(), depth+1)
		case *[]int64:
			return decodePacked(f, payload)
		case *[]float32:
			return decodePacked(f, payload)
		case *Packed[float32]:
			return decodePacked((*[]float32)(f), payload)
		case *Packed[float64]:
			return decodePacked((*[]float64)(f), payload)
		case *Packed[int32]:
			return decodePacked((*[]int32)(f), payload)
		case *Packed[int64]:
			return decodePacked((*[]int64)(f), payload)
		case *Packed[uint64]:
			return decodePacked((*[]uint64)(f), payload)
		}
	}
	if typ != want {
		return fmt.Errorf("wire type %d in place of %d", typ, want)
	}
	switch f := f.(type) {
	case *int64:
		*f, _ = consume[int64](b)
	case *int32:
		*f, _ = consume[int32](b)
	case *float32:
		*f, _ = consume[float32](b)
	case *[]int64:
		appendOne(f, b)
	case *[]float32:
		appendOne(f, b)
	case *Packed[float32]:
		appendOne((*[]float32)(f), b)
	case *Packed[float64]:
		appendOne((*[]float64)(f), b)
	case *Packed[int32]:
		appendOne((*[]int32)(f), b)
	case *Packed[int64]:
		appendOne((*[]int64)(f), b)
	case *Packed[uint64]:
		appendOne((*[]uint64)(f), b)
	}
	return nil
}

type number interface {
	int32 | int64 | uint64 | float32 | float64
}

// Packed is a repeated numeric field that is written packed; both forms are read.
type Packed[T number] []T

func consume[T number](b []byte) (T, int) {
	var z T
	switch p := any(&z).(type) {
	case *float32:
		v, n := protowire.ConsumeFixed32(b)
		*p = math.Float32frombits(v)
		return z, n
	case *float64:
		v, n := protowire.ConsumeFixed64(b)
		*p = math.Float64frombits(v)
		return z, n
	}
	v, n := protowire.ConsumeVarint(b)
	return T(v), n
}

func appendOne[T number](f *[]T, b []byte) {
	v, _ := consume[T](b)
	*f = append(*f, v)
}

func decodePacked[T number](f *[]T, b []byte) error {
	if *f == nil {
		*f = make([]T, 0, packedLen[T](b))
	}
	for len(b) > 0 {
		v, n := consume[T](b)
		if n < 0 {
			return wireError(n)
		}
		*f = append(*f, v)
		b = b[n:]
	}
	return nil
}

// packedLen counts the elements of a packed payload.
func packedLen[T number](b []byte) int {
	var z T
	switch any(z).(type) {
	case float32:
		return len(b) / 4
	case float64:
		return len(b) / 8
	}
	n := 0
	for _, c := range b {
		if c < 0x80 {
			n++
		}
	}
	return n
}
