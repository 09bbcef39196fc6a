package graphs

import (
	wire "encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"unsafe"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
)

// tensor converts a tensor and verifies that its data fits its shape. Raw data aliases the file's bytes, where elements lie aligned in them, or a map
// of the data file.
func (r *reader) tensor(p *onnxpb.Tensor) (*Tensor, error) {
	t := &Tensor{DType: DType(p.DataType), Dims: append([]int64{}, p.Dims...)}
	if err := supported(t.DType); err != nil {
		return nil, err
	}
	n, ok := elementCount(t.Dims)
	switch {
	case !ok:
		return nil, fmt.Errorf("impossible dims %v", p.Dims)
	case p.Segment != nil:
		return nil, fmt.Errorf("tensors in segments are not supported")
	case t.DType == String:
		return stringTensor(t, p, n)
	}
	high, size := bits.Mul64(uint64(n), uint64(t.DType.Size()))
	if high != 0 || size > math.MaxInt64 {
		return nil, fmt.Errorf("impossible dims %v", p.Dims)
	}
	var err error
	switch {
	case p.DataLocation == onnxpb.External:
		err = r.files.read(t, p.ExternalData, int64(size))
	case p.Has(onnxpb.FieldRawData):
		t.Raw = aligned(p.RawData, t.DType.Size())
	default:
		t.Raw, err = typedData(t.DType, p)
	}
	if err != nil {
		return nil, err
	}
	if uint64(len(t.Raw)) != size {
		return nil, fmt.Errorf("its data has %d bytes where %v%v needs %d", len(t.Raw), t.DType, p.Dims, size)
	}
	return t, nil
}

// aligned returns b, or a copy whose elements of the given size can be used in place.
func aligned(b []byte, size int) []byte {
	if len(b) == 0 || uintptr(unsafe.Pointer(&b[0]))%uintptr(max(size, 1)) == 0 {
		return b
	}
	return append(make([]byte, 0, len(b)), b...)
}

// elementCount multiplies dims; ok is false for negative dims and for products that do not fit.
func elementCount(dims []int64) (n int64, ok bool) {
	n = 1
	for _, d := range dims {
		if d < 0 {
			return 0, false
		}
		if d == 0 {
			n = 0
		}
		high, low := bits.Mul64(uint64(n), uint64(d))
		if high != 0 || low > math.MaxInt64 {
			return 0, false
		}
		n = int64(low)
	}
	return n, true
}

var unsupportedNames = map[DType]string{
	14: "complex64", 15: "complex128", 17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz",
	21: "uint4", 22: "int4", 23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2",
}

// supported refuses the element types that the IR does not have.
func supported(t DType) error {
	if _, ok := dtypes[t]; ok {
		return nil
	}
	name := unsupportedNames[t]
	if name == "" {
		name = t.String()
	}
	return fmt.Errorf("element type %s is not supported", name)
}

func stringTensor(t *Tensor, p *onnxpb.Tensor, n int64) (*Tensor, error) {
	if p.DataLocation == onnxpb.External || p.Has(onnxpb.FieldRawData) || int64(len(p.StringData)) != n {
		return nil, fmt.Errorf("%d strings where its dims %v need %d", len(p.StringData), p.Dims, n)
	}
	t.Strings = make([]string, n)
	for i, s := range p.StringData {
		t.Strings[i] = string(s)
	}
	return t, nil
}

// typedData converts the typed fields, in which narrow types travel as int32 and uint32 as uint64.
func typedData(dt DType, p *onnxpb.Tensor) ([]byte, error) {
	switch dt {
	case Float32:
		return pack(p.FloatData, 4, func(b []byte, v float32) { wire.LittleEndian.PutUint32(b, math.Float32bits(v)) }), nil
	case Float64:
		return pack(p.DoubleData, 8, func(b []byte, v float64) { wire.LittleEndian.PutUint64(b, math.Float64bits(v)) }), nil
	case Int64:
		return pack(p.Int64Data, 8, func(b []byte, v int64) { wire.LittleEndian.PutUint64(b, uint64(v)) }), nil
	case Uint64:
		return pack(p.Uint64Data, 8, wire.LittleEndian.PutUint64), nil
	case Uint32:
		return pack(p.Uint64Data, 4, func(b []byte, v uint64) { wire.LittleEndian.PutUint32(b, uint32(v)) }), nil
	}
	if dt == Bool {
		for _, v := range p.Int32Data {
			if v != 0 && v != 1 {
				return nil, fmt.Errorf("%d is no bool", v)
			}
		}
	}
	switch dt.Size() {
	case 1:
		return pack(p.Int32Data, 1, func(b []byte, v int32) { b[0] = byte(v) }), nil
	case 2:
		return pack(p.Int32Data, 2, func(b []byte, v int32) { wire.LittleEndian.PutUint16(b, uint16(v)) }), nil
	}
	return pack(p.Int32Data, 4, func(b []byte, v int32) { wire.LittleEndian.PutUint32(b, uint32(v)) }), nil
}

func pack[T any](v []T, size int, put func([]byte, T)) []byte {
	b := make([]byte, len(v)*size)
	for i, x := range v {
		put(b[i*size:], x)
	}
	return b
}
