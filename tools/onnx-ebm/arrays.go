package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/internal/npy"
)

// rows is a .npy file read a range of rows at a time. Values that are not
// finite are errors that name the row.
type rows struct {
	path   string
	shape  []int
	mapped *npy.Mapped
	data   []float32 // of a file that cannot be mapped
}

// openRows opens a .npy file of rank 1 or more.
func openRows(path string) (*rows, error) {
	m, err := npy.Map(path)
	if err == nil {
		return &rows{path: path, shape: m.Shape(), mapped: m}, nil
	}
	if !errors.Is(err, npy.ErrNotMappable) {
		return nil, err
	}
	a, err := npy.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(a.Shape) == 0 {
		return nil, fmt.Errorf("%s holds a single number; rows along a leading axis are needed", path)
	}
	return &rows{path: path, shape: a.Shape, data: a.Data}, nil
}

func (r *rows) close() {
	if r != nil && r.mapped != nil {
		r.mapped.Close()
	}
}

// len is the number of rows.
func (r *rows) len() int { return r.shape[0] }

// item is the shape of one row.
func (r *rows) item() []int { return r.shape[1:] }

// read gives n rows from row first on.
func (r *rows) read(first, n int) ([]float32, error) {
	size := product(r.item())
	out := make([]float32, n*size)
	if r.mapped == nil {
		copy(out, r.data[first*size:])
	} else {
		indices := make([]int, n)
		for i := range indices {
			indices[i] = first + i
		}
		if err := r.mapped.Rows(out, indices); err != nil {
			return nil, err
		}
	}
	if err := checkFinite(r.path, out, size, first); err != nil {
		return nil, err
	}
	return out, nil
}

// all gives every row.
func (r *rows) all() ([]float32, error) { return r.read(0, r.len()) }

// readRows opens, reads and closes a file, whose item must have the shape
// that is wanted; a nil item takes any.
func readRows(path string, item []int64) (data []float32, shape []int, err error) {
	r, err := openRows(path)
	if err != nil {
		return nil, nil, err
	}
	defer r.close()
	if item != nil {
		if err := r.checkItem(item); err != nil {
			return nil, nil, err
		}
	}
	if r.len() == 0 {
		return nil, nil, fmt.Errorf("%s has no rows, its shape is %s", path, shapeText(r.shape))
	}
	data, err = r.all()
	return data, r.shape, err
}

// checkItem compares the shape of a row with that of the model's items. A
// list of numbers counts as rows of one.
func (r *rows) checkItem(item []int64) error {
	if slices.Equal(r.item(), ints(item)) || len(r.shape) == 1 && len(item) == 1 && item[0] == 1 {
		return nil
	}
	return fmt.Errorf("%s has the shape %s; the model takes %s", r.path, shapeText(r.shape), batchText(item))
}

func checkFinite(path string, x []float32, rowLen, first int) error {
	for i, v := range x {
		if v-v != 0 {
			word := "an infinity"
			if math.IsNaN(float64(v)) {
				word = "NaN"
			}
			return fmt.Errorf("%s: row %d (counted from 0) holds %s; remove or repair it", path, first+i/max(rowLen, 1), word)
		}
	}
	return nil
}

// loadNumbers reads the numbers of an @FILE value.
func loadNumbers(path string) ([]float64, error) {
	a, err := npy.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := checkFinite(path, a.Data, a.RowLen(), 0); err != nil {
		return nil, err
	}
	return float64s(a.Data), nil
}

func float64s(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

func product[T int | int64](dims []T) int {
	n := 1
	for _, d := range dims {
		n *= int(d)
	}
	return n
}

func ints(dims []int64) []int {
	out := make([]int, len(dims))
	for i, d := range dims {
		out[i] = int(d)
	}
	return out
}

func int64s(dims []int) []int64 {
	out := make([]int64, len(dims))
	for i, d := range dims {
		out[i] = int64(d)
	}
	return out
}

// shapeText is "[100,2]".
func shapeText[T int | int64](dims []T) string {
	parts := make([]string, len(dims))
	for i, d := range dims {
		parts[i] = strconv.FormatInt(int64(d), 10)
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// batchText is the shape of a batch of items, "[N,2]".
func batchText(item []int64) string {
	return "[" + strings.Join(append([]string{"N"}, strings.FieldsFunc(shapeText(item), func(r rune) bool { return strings.ContainsRune("[],", r) })...), ",") + "]"
}
