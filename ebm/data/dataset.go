package data

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Dataset is a fixed number of items of one shape. Rows may be called from
// several goroutines at once.
type Dataset interface {
	// Shape is the shape of one item, without the batch axis.
	Shape() []int
	// Len is the number of items, at least 1.
	Len() int
	// Rows copies the items with the given indices to dst, one after another;
	// dst holds exactly len(indices) items.
	Rows(dst []float32, indices []int) error
	// Close gives back what the set holds open.
	Close() error
}

// Generator is a Dataset whose density can be drawn from again.
type Generator interface {
	Dataset
	// Fresh draws n points [n, D] that depend on k alone: independent of the
	// items for any key but the one the set was opened with.
	Fresh(n int, k rng.Key) ([]float32, error)
}

// Size is the number of values in one item.
func Size(ds Dataset) int {
	n := 1
	for _, d := range ds.Shape() {
		n *= d
	}
	return n
}

// All copies every item, in order: [Len, D…].
func All(ds Dataset) ([]float32, error) {
	out := make([]float32, 0, ds.Len()*Size(ds))
	err := each(ds, func(rows []float32) { out = append(out, rows...) })
	return out, err
}

// each passes all rows in order, some at a time.
func each(ds Dataset, use func(rows []float32)) error {
	size := Size(ds)
	some := min(ds.Len(), max(1, 1<<16/max(size, 1)))
	rows := make([]float32, some*size)
	indices := make([]int, some)
	for first := 0; first < ds.Len(); first += some {
		n := min(some, ds.Len()-first)
		for i := range n {
			indices[i] = first + i
		}
		if err := ds.Rows(rows[:n*size], indices[:n]); err != nil {
			return err
		}
		use(rows[:n*size])
	}
	return nil
}

// Memory is a Dataset held in memory.
type Memory struct {
	shape []int
	n     int
	x     []float32
}

// NewMemory makes a Dataset of x, rows of the given item shape one after
// another. It keeps x and does not copy it. No rows, a part of a row or a
// value that is not finite is an error.
func NewMemory(shape []int, x []float32) (*Memory, error) {
	m, err := newMemory(shape, x)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return m, nil
}

// newMemory is NewMemory; the caller says in errors what x came from.
func newMemory(shape []int, x []float32) (*Memory, error) {
	size := 1
	for _, d := range shape {
		if d < 1 {
			return nil, fmt.Errorf("an item of shape %v holds nothing", shape)
		}
		size *= d
	}
	switch {
	case len(x) == 0:
		return nil, errors.New("there are no rows")
	case len(x)%size != 0:
		return nil, fmt.Errorf("%d values are not whole items of shape %v", len(x), shape)
	}
	if err := npy.CheckFinite(x, size); err != nil {
		return nil, err
	}
	return &Memory{shape: slices.Clone(shape), n: len(x) / size, x: x}, nil
}

// Shape is the shape of one item.
func (m *Memory) Shape() []int { return slices.Clone(m.shape) }

// Len is the number of items.
func (m *Memory) Len() int { return m.n }

// Rows copies items to dst.
func (m *Memory) Rows(dst []float32, indices []int) error {
	size := len(m.x) / m.n
	if len(dst) != size*len(indices) {
		return fmt.Errorf("data: %d values are no room for %d items of %d", len(dst), len(indices), size)
	}
	for i, index := range indices {
		if index < 0 || index >= m.n {
			return fmt.Errorf("data: no item %d of %d", index, m.n)
		}
		copy(dst[i*size:(i+1)*size], m.x[index*size:])
	}
	return nil
}

// Close does nothing.
func (m *Memory) Close() error { return nil }
