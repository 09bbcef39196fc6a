package npy

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// dtype is how one element is stored.
type dtype struct {
	kind  byte // 'f', 'i', 'u', 'b', as in NumPy's type strings
	size  int  // bytes
	order binary.ByteOrder
}

// host is the byte order of this machine.
var host = func() binary.ByteOrder {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}()

// typeNames holds the types of NumPy by their type strings without byte order.
// Those of size 0 are known but cannot be read.
var typeNames = map[string]struct {
	name string
	size int
}{
	"f4": {"float32", 4}, "f8": {"float64", 8},
	"i1": {"int8", 1}, "i2": {"int16", 2}, "i4": {"int32", 4}, "i8": {"int64", 8},
	"u1": {"uint8", 1}, "u2": {"uint16", 2}, "u4": {"uint32", 4}, "u8": {"uint64", 8},
	"b1": {"bool", 1},
	"f2": {"float16", 0}, "f12": {"longdouble", 0}, "f16": {"longdouble", 0},
	"c8": {"complex64", 0}, "c16": {"complex128", 0}, "O": {"object", 0},
}

// parseDtype reads a type string such as "<f4".
func parseDtype(descr string, opts options) (dtype, error) {
	if descr == "" {
		return dtype{}, fmt.Errorf("the header has an empty dtype")
	}
	code, order := descr, host
	switch descr[0] {
	case '<':
		code, order = descr[1:], binary.LittleEndian
	case '>':
		code, order = descr[1:], binary.BigEndian
	case '=', '|':
		code = descr[1:]
	}
	t, known := typeNames[code]
	switch {
	case !known:
		return dtype{}, fmt.Errorf("dtype %q is not supported; save it as float32", descr)
	case t.size == 0:
		return dtype{}, fmt.Errorf("dtype %s is not supported; save it as float32", t.name)
	case code[0] != 'f' && !opts.ints:
		return dtype{}, fmt.Errorf("dtype %s where float32 or float64 is needed; save it as float32", t.name)
	}
	return dtype{kind: code[0], size: t.size, order: order}, nil
}

// isNative reports that the stored bytes are float32 as this machine has them.
func (d dtype) isNative() bool {
	return d.kind == 'f' && d.size == 4 && d.order == host
}

// convert decodes len(dst) elements of raw. It returns the index of the first
// element that float32 cannot hold, or -1. raw may be the memory of dst where
// elements have 4 bytes.
func (d dtype) convert(dst []float32, raw []byte) int {
	switch {
	case d.isNative():
		copy(bytesOf(dst), raw)
		return -1
	case d.kind == 'f' && d.size == 4:
		for i := range dst {
			dst[i] = math.Float32frombits(d.order.Uint32(raw[4*i:]))
		}
		return -1
	case d.kind == 'f':
		return d.convertDoubles(dst, raw)
	}
	return d.convertInts(dst, raw)
}

func (d dtype) convertDoubles(dst []float32, raw []byte) int {
	bad := -1
	for i := range dst {
		v := math.Float64frombits(d.order.Uint64(raw[8*i:]))
		dst[i] = float32(v)
		if math.IsInf(float64(dst[i]), 0) && !math.IsInf(v, 0) && bad < 0 {
			bad = i
		}
	}
	return bad
}

func (d dtype) appendDoubles(dst []float64, raw []byte) []float64 {
	for ; len(raw) > 0; raw = raw[8:] {
		dst = append(dst, math.Float64frombits(d.order.Uint64(raw)))
	}
	return dst
}

// convertInts handles integers and booleans. Float32 holds all integers up to
// 2²⁴ and those beyond that have enough trailing zeros.
func (d dtype) convertInts(dst []float32, raw []byte) int {
	bad := -1
	for i := range dst {
		var bits uint64
		switch b := raw[d.size*i:]; d.size {
		case 1:
			bits = uint64(b[0])
		case 2:
			bits = uint64(d.order.Uint16(b))
		case 4:
			bits = uint64(d.order.Uint32(b))
		case 8:
			bits = d.order.Uint64(b)
		}
		exact := true
		if d.kind == 'i' {
			shift := 64 - 8*d.size
			v := int64(bits<<shift) >> shift
			dst[i] = float32(v)
			exact = float64(dst[i]) < 1<<63 && int64(dst[i]) == v
		} else {
			dst[i] = float32(bits)
			exact = float64(dst[i]) < 1<<64 && uint64(dst[i]) == bits
		}
		if !exact && bad < 0 {
			bad = i
		}
	}
	return bad
}

// bytesOf is the memory of s.
func bytesOf(s []float32) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), 4*len(s))
}
