package graphs

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/onnx-ebm/onnx-ebm/internal/mmap"
)

// DType is an element type, numbered as TensorProto.DataType in the ONNX specification.
type DType int32

// Element types.
const (
	Undefined DType = 0
	Float32   DType = 1
	Uint8     DType = 2
	Int8      DType = 3
	Uint16    DType = 4
	Int16     DType = 5
	Int32     DType = 6
	Int64     DType = 7
	String    DType = 8
	Bool      DType = 9
	Float16   DType = 10
	Float64   DType = 11
	Uint32    DType = 12
	Uint64    DType = 13
	BFloat16  DType = 16
)

var dtypes = map[DType]struct {
	name string
	size int
}{
	Float32: {"float32", 4}, Uint8: {"uint8", 1}, Int8: {"int8", 1}, Uint16: {"uint16", 2}, Int16: {"int16", 2},
	Int32: {"int32", 4}, Int64: {"int64", 8}, String: {"string", 0}, Bool: {"bool", 1}, Float16: {"float16", 2},
	Float64: {"float64", 8}, Uint32: {"uint32", 4}, Uint64: {"uint64", 8}, BFloat16: {"bfloat16", 2},
}

// String returns the type's name, such as "float32".
func (t DType) String() string {
	if d, ok := dtypes[t]; ok {
		return d.name
	}
	if t == Undefined {
		return "undefined"
	}
	return fmt.Sprintf("dtype(%d)", int32(t))
}

// Size returns the bytes of one element, 0 for strings and unknown types.
func (t DType) Size() int { return dtypes[t].size }

// IsFloat reports whether the type is one of the floating-point types.
func (t DType) IsFloat() bool {
	return t == Float32 || t == Float64 || t == Float16 || t == BFloat16
}

// IsInt reports whether the type is one of the integer types (bool is none).
func (t DType) IsInt() bool {
	switch t {
	case Uint8, Int8, Uint16, Int16, Int32, Int64, Uint32, Uint64:
		return true
	}
	return false
}

// Tensor is a dense constant. Raw holds the elements in row-major order, little-endian, as raw_data of the ONNX format.
type Tensor struct {
	DType   DType
	Dims    []int64
	Raw     []byte
	Strings []string // elements when DType is String

	mapped bool // Raw is part of a mapped file
}

// Forget takes the pages of a tensor that lies in a mapped file out of memory, for callers that have copied it: they are read again when they
// are used. Other tensors stay as they are.
func (t *Tensor) Forget() {
	if t.mapped {
		mmap.Forget(t.Raw)
	}
}

// Number is the set of Go types whose memory layout is that of an ONNX element type.
type Number interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | bool
}

func dtypeOf[T Number]() DType {
	var z T
	switch any(z).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case int8:
		return Int8
	case int16:
		return Int16
	case int32:
		return Int32
	case int64:
		return Int64
	case uint8:
		return Uint8
	case uint16:
		return Uint16
	case uint32:
		return Uint32
	case uint64:
		return Uint64
	}
	return Bool
}

// NewTensor returns a tensor that shares data's memory.
func NewTensor[T Number](data []T, dims ...int64) *Tensor {
	t := &Tensor{DType: dtypeOf[T](), Dims: dims}
	if len(data) > 0 {
		t.Raw = unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), len(data)*t.DType.Size())
	}
	return t
}

// ScalarTensor returns a rank-0 tensor.
func ScalarTensor[T Number](v T) *Tensor { return NewTensor([]T{v}) }

// IntsTensor returns a rank-1 int64 tensor.
func IntsTensor(v ...int64) *Tensor {
	if v == nil {
		v = []int64{}
	}
	return NewTensor(v, int64(len(v)))
}

// Data returns the elements as a Go slice, sharing memory where alignment allows; nil when the types differ.
func Data[T Number](t *Tensor) []T {
	if t == nil || t.DType != dtypeOf[T]() {
		return nil
	}
	n := len(t.Raw) / t.DType.Size()
	if n == 0 {
		return []T{}
	}
	if uintptr(unsafe.Pointer(&t.Raw[0]))%uintptr(t.DType.Size()) == 0 {
		return unsafe.Slice((*T)(unsafe.Pointer(&t.Raw[0])), n)
	}
	c := make([]T, n)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&c[0])), len(t.Raw)), t.Raw)
	return c
}

// Len returns the number of elements that the dims announce.
func (t *Tensor) Len() int64 {
	n := int64(1)
	for _, d := range t.Dims {
		n *= d
	}
	return n
}

// Shape returns the tensor's static shape.
func (t *Tensor) Shape() Shape { return ShapeOf(t.Dims...) }

// Int64s returns the elements of an integer or bool tensor, nil for other types.
func (t *Tensor) Int64s() []int64 {
	if t == nil {
		return nil
	}
	switch t.DType {
	case Int64:
		return Data[int64](t)
	case Int32:
		return widen[int32](t)
	case Int16:
		return widen[int16](t)
	case Int8:
		return widen[int8](t)
	case Uint8:
		return widen[uint8](t)
	case Uint16:
		return widen[uint16](t)
	case Uint32:
		return widen[uint32](t)
	case Uint64:
		return widen[uint64](t)
	case Bool:
		v := make([]int64, len(t.Raw))
		for i, b := range t.Raw {
			if b != 0 {
				v[i] = 1
			}
		}
		return v
	}
	return nil
}

func widen[T int32 | int16 | int8 | uint8 | uint16 | uint32 | uint64](t *Tensor) []int64 {
	d := Data[T](t)
	v := make([]int64, len(d))
	for i, x := range d {
		v[i] = int64(x)
	}
	return v
}

// Float64s returns the elements of any numeric tensor as float64, nil for strings.
func (t *Tensor) Float64s() []float64 {
	if t == nil {
		return nil
	}
	switch t.DType {
	case Float32:
		return convert(Data[float32](t), func(x float32) float64 { return float64(x) })
	case Float64:
		return convert(Data[float64](t), func(x float64) float64 { return x })
	case Float16:
		return convert(t.halves(), Float16ToFloat64)
	case BFloat16:
		return convert(t.halves(), func(x uint16) float64 { return float64(math.Float32frombits(uint32(x) << 16)) })
	}
	return convert(t.Int64s(), func(x int64) float64 { return float64(x) })
}

func convert[S, T any](s []S, f func(S) T) []T {
	v := make([]T, len(s))
	for i, x := range s {
		v[i] = f(x)
	}
	return v
}

func (t *Tensor) halves() []uint16 {
	return Data[uint16](&Tensor{DType: Uint16, Dims: t.Dims, Raw: t.Raw})
}

// Float16ToFloat64 converts IEEE 754 binary16 bits.
func Float16ToFloat64(h uint16) float64 {
	sign := 1.0
	if h&0x8000 != 0 {
		sign = -1
	}
	exp, frac := int(h>>10&31), float64(h&1023)
	switch {
	case exp == 0:
		return sign * math.Ldexp(frac, -24)
	case exp == 31 && frac == 0:
		return math.Inf(int(sign))
	case exp == 31:
		return math.NaN()
	}
	return sign * math.Ldexp(1+frac/1024, exp-15)
}

// FromFloat64s returns a tensor of the given type with the values rounded to it. Types other than float32, float64, the integers and bool are not made.
func FromFloat64s(dt DType, v []float64, dims ...int64) (*Tensor, error) {
	switch dt {
	case Float32:
		return NewTensor(convert(v, func(x float64) float32 { return float32(x) }), dims...), nil
	case Float64:
		return NewTensor(convert(v, func(x float64) float64 { return x }), dims...), nil
	}
	return FromInt64s(dt, convert(v, func(x float64) int64 { return int64(x) }), dims...)
}

// FromInt64s returns a tensor of the given integer, bool or float type with the given values.
func FromInt64s(dt DType, v []int64, dims ...int64) (*Tensor, error) {
	switch dt {
	case Int64:
		return NewTensor(append([]int64{}, v...), dims...), nil
	case Int32:
		return NewTensor(convert(v, func(x int64) int32 { return int32(x) }), dims...), nil
	case Int16:
		return NewTensor(convert(v, func(x int64) int16 { return int16(x) }), dims...), nil
	case Int8:
		return NewTensor(convert(v, func(x int64) int8 { return int8(x) }), dims...), nil
	case Uint8:
		return NewTensor(convert(v, func(x int64) uint8 { return uint8(x) }), dims...), nil
	case Uint16:
		return NewTensor(convert(v, func(x int64) uint16 { return uint16(x) }), dims...), nil
	case Uint32:
		return NewTensor(convert(v, func(x int64) uint32 { return uint32(x) }), dims...), nil
	case Uint64:
		return NewTensor(convert(v, func(x int64) uint64 { return uint64(x) }), dims...), nil
	case Bool:
		return NewTensor(convert(v, func(x int64) bool { return x != 0 }), dims...), nil
	case Float32, Float64:
		return FromFloat64s(dt, convert(v, func(x int64) float64 { return float64(x) }), dims...)
	}
	return nil, fmt.Errorf("graphs: cannot make a tensor of type %v", dt)
}
