package data

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// idxTypes are the element types of the IDX format (big-endian) by code.
var idxTypes = map[byte]struct {
	size   int
	decode func(b []byte) float32
}{
	0x08: {1, func(b []byte) float32 { return float32(b[0]) }},
	0x09: {1, func(b []byte) float32 { return float32(int8(b[0])) }},
	0x0b: {2, func(b []byte) float32 { return float32(int16(binary.BigEndian.Uint16(b))) }},
	0x0c: {4, func(b []byte) float32 { return float32(int32(binary.BigEndian.Uint32(b))) }},
	0x0d: {4, func(b []byte) float32 { return math.Float32frombits(binary.BigEndian.Uint32(b)) }},
	0x0e: {8, func(b []byte) float32 { return float32(math.Float64frombits(binary.BigEndian.Uint64(b))) }},
}

// scaling is a linear map, done in float64 so that bytes come back exactly.
type scaling struct{ factor, offset float64 }

func (s scaling) value(brightness float64) float32 {
	return float32(brightness*s.factor + s.offset)
}

// brightness looks up what the bytes of an image stand for.
func brightness(s scaling) func(b []byte) float32 {
	var table [256]float32
	for i := range table {
		table[i] = s.value(float64(i) / 255)
	}
	return func(b []byte) float32 { return table[b[0]] }
}

// scales map a brightness of 0 to 1 to what an item holds.
var scales = map[string]scaling{
	"unit":      {1, 0},
	"symmetric": {2, -1},
	"bytes":     {255, 0},
}

// scaleKey reads the key scale of images.
func scaleKey(s *spec.Spec) string { return s.Word("scale", "unit", "unit", "symmetric", "bytes") }

// openIDX reads the IDX format, gzipped or not. Three axes [N, H, W] become
// items [1, H, W], a channel first, as convolutions take them. Unsigned bytes
// of three or more axes are images: brightness 0 to 1 by default, −1 to 1 with
// scale=symmetric, 0 to 255 with scale=bytes. Other values stay
// as they are, rounded to float32. The key labels names a file of labels.
func openIDX(path string, s *spec.Spec, _ Options) (Dataset, error) {
	scale, labels := scaleKey(s), labelsKey(s)
	if err := s.Done(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	shape, x, err := readIDX(f, scale)
	if err != nil {
		return nil, fmt.Errorf("data: %s: %w", path, err)
	}
	ds, err := inMemory(path, shape, x)
	return withLabelFile(ds, err, labels)
}

// readIDX returns the item shape and the values. Memory grows with what is
// really there.
func readIDX(f io.Reader, scale string) (shape []int, x []float32, err error) {
	in := bufio.NewReaderSize(f, 1<<16)
	if start, _ := in.Peek(2); string(start) == "\x1f\x8b" {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, err
		}
		in = bufio.NewReaderSize(z, 1<<16)
	}
	var magic [4]byte
	if _, err := io.ReadFull(in, magic[:]); err != nil || magic[0] != 0 || magic[1] != 0 {
		return nil, nil, errors.New("not an IDX file")
	}
	kind, known := idxTypes[magic[2]]
	if !known {
		return nil, nil, fmt.Errorf("IDX type %#02x is not known", magic[2])
	}
	if magic[3] == 0 {
		return nil, nil, errors.New("it holds a single number; it needs a leading axis of rows")
	}
	dims := make([]int, magic[3])
	count := 1
	for i := range dims {
		var d [4]byte
		if _, err := io.ReadFull(in, d[:]); err != nil {
			return nil, nil, errors.New("the header is cut off")
		}
		dims[i] = int(binary.BigEndian.Uint32(d[:]))
		if dims[i] != 0 && count > math.MaxInt/8/dims[i] {
			return nil, nil, fmt.Errorf("shape %v… is too large", dims[:i+1])
		}
		count *= max(dims[i], 1)
	}
	if slices.Contains(dims, 0) {
		return nil, nil, fmt.Errorf("an array of shape %v holds nothing", dims)
	}
	value := kind.decode
	if magic[2] == 0x08 && len(dims) >= 3 {
		value = brightness(scales[scale])
	}
	raw := make([]byte, min(count, 1<<15)*kind.size)
	for len(x) < count {
		part := raw[:min(count-len(x), 1<<15)*kind.size]
		if _, err := io.ReadFull(in, part); err != nil {
			return nil, nil, fmt.Errorf("shape %v needs %d values; the file is cut off: %w", dims, count, err)
		}
		for ; len(part) > 0; part = part[kind.size:] {
			x = append(x, value(part))
		}
	}
	if _, err := in.ReadByte(); err == nil {
		return nil, nil, errors.New("there is more in the file after the array")
	}
	shape = itemShape(dims)
	if len(dims) == 3 {
		shape = slices.Insert(shape, 0, 1)
	}
	return shape, x, nil
}
