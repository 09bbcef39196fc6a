package zarr

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
)

// element are the types that arrays may have; binary.Append and binary.Decode
// treat slices of them without reflection.
type element interface {
	float32 | float64 | int32 | int64 | bool
}

func length(data any) (n int, ok bool) {
	switch x := data.(type) {
	case []float32:
		return len(x), true
	case []float64:
		return len(x), true
	case []int32:
		return len(x), true
	case []int64:
		return len(x), true
	case []bool:
		return len(x), true
	}
	return 0, false
}

// typeName is the data type of Zarr that holds the elements of data.
func typeName(data any) string {
	switch data.(type) {
	case []float32:
		return "float32"
	case []float64:
		return "float64"
	case []int32:
		return "int32"
	case []int64:
		return "int64"
	}
	return "bool"
}

// part is data[lo:hi] in bytes, little-endian.
func part(data any, lo, hi int) ([]byte, error) {
	switch x := data.(type) {
	case []float32:
		return binary.Append(nil, binary.LittleEndian, x[lo:hi])
	case []float64:
		return binary.Append(nil, binary.LittleEndian, x[lo:hi])
	case []int32:
		return binary.Append(nil, binary.LittleEndian, x[lo:hi])
	case []int64:
		return binary.Append(nil, binary.LittleEndian, x[lo:hi])
	case []bool:
		return binary.Append(nil, binary.LittleEndian, x[lo:hi])
	}
	return nil, fmt.Errorf("zarr: cannot write a %T", data)
}

// readers make an array of each data type from its chunks.
var readers = map[string]func(*array) (any, error){
	"float32": func(a *array) (any, error) { return assemble(a, 4, fillFloat[float32]) },
	"float64": func(a *array) (any, error) { return assemble(a, 8, fillFloat[float64]) },
	"int32":   func(a *array) (any, error) { return assemble(a, 4, fillPlain[int32]) },
	"int64":   func(a *array) (any, error) { return assemble(a, 8, fillPlain[int64]) },
	"bool":    func(a *array) (any, error) { return assemble(a, 1, fillPlain[bool]) },
}

func fillPlain[T int32 | int64 | bool](text json.RawMessage) (T, error) {
	var v T
	err := json.Unmarshal(text, &v)
	return v, err
}

func fillFloat[T float32 | float64](text json.RawMessage) (T, error) {
	var word string
	if json.Unmarshal(text, &word) == nil {
		special, ok := map[string]float64{"NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1)}[word]
		if !ok {
			return 0, fmt.Errorf("the fill value %q is not understood", word)
		}
		return T(special), nil
	}
	var v T
	err := json.Unmarshal(text, &v)
	return v, err
}
