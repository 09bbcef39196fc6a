package npy

import (
	"fmt"
	"math"
)

// Array is a C-order (row-major) array. A scalar has an empty Shape.
type Array struct {
	Shape []int
	Data  []float32 // as many as the product of Shape
}

// Rows is the extent of the leading axis: 1 for a scalar.
func (a Array) Rows() int {
	if len(a.Shape) == 0 {
		return 1
	}
	return a.Shape[0]
}

// RowLen is the number of elements of one row: the product of all axes but the
// leading one.
func (a Array) RowLen() int { return rowLen(a.Shape) }

func rowLen(shape []int) int {
	n := 1
	for _, d := range shape[min(1, len(shape)):] {
		n *= d
	}
	return n
}

// CheckFinite returns an error that names the first row (counted from 0) with
// a NaN or an infinity, or nil.
func (a Array) CheckFinite() error { return CheckFinite(a.Data, a.RowLen()) }

// CheckFinite is Array.CheckFinite for rows of rowLen elements each.
func CheckFinite(data []float32, rowLen int) error {
	for i, v := range data {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return fmt.Errorf("row %d (from 0) holds %v; remove or repair it", i/max(rowLen, 1), v)
		}
	}
	return nil
}

// count is the product of shape, or an error if an extent is negative, there
// are more axes than NumPy knows (64), or the product times 8 bytes overflows.
func count(shape []int) (int, error) {
	if len(shape) > 64 {
		return 0, fmt.Errorf("%d axes; at most 64 are possible", len(shape))
	}
	n, empty := 1, false
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, fmt.Errorf("shape %v has a negative extent", shape)
		case d == 0:
			empty = true
		case n > math.MaxInt/8/d:
			return 0, fmt.Errorf("shape %v is too large", shape)
		default:
			n *= d
		}
	}
	if empty {
		return 0, nil
	}
	return n, nil
}

// toC reorders Fortran-order data of the given shape in C order.
func toC[T float32 | float64](data []T, shape []int) []T {
	if len(shape) < 2 || len(data) == 0 {
		return data
	}
	// Walk the C order; position is the Fortran offset of index.
	stride := make([]int, len(shape))
	step := 1
	for axis, d := range shape {
		stride[axis] = step
		step *= d
	}
	out := make([]T, len(data))
	index := make([]int, len(shape))
	position := 0
	for i := range out {
		out[i] = data[position]
		for axis := len(shape) - 1; axis >= 0; axis-- {
			index[axis]++
			position += stride[axis]
			if index[axis] < shape[axis] {
				break
			}
			position -= stride[axis] * shape[axis]
			index[axis] = 0
		}
	}
	return out
}
