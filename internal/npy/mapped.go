package npy

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/onnx-ebm/onnx-ebm/internal/mmap"
)

// ErrNotMappable is returned by Map where a file must be read whole instead:
// Fortran order, a pipe, or a system without memory maps.
var ErrNotMappable = errors.New("the file cannot be mapped")

// Mapped is a .npy file whose rows are read on demand from a memory map. Rows
// may be read by several goroutines at once.
type Mapped struct {
	path   string
	header header
	memory []byte // the whole file
	seen   atomic.Int64
}

// The pages of a map that were read count as the process's memory as long as nobody else needs it. They are given back, to the system's
// cache of the file, after so many bytes; a row brings in its neighbourhood.
const (
	keptPages     = 64 << 20
	neighbourhood = 1 << 20
)

// Map maps a .npy file of rank 1 or more.
func Map(path string, opts ...Option) (*Mapped, error) {
	f, size, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size < 0 {
		return nil, fmt.Errorf("npy: %s: %w", path, ErrNotMappable)
	}
	h, err := readHeader(f, collect(opts))
	if err == nil {
		err = h.checkSize(size)
	}
	if err == nil && len(h.shape) == 0 {
		err = errors.New("a scalar has no rows")
	}
	if err == nil && h.fortran && len(h.shape) > 1 {
		err = ErrNotMappable
	}
	if err != nil {
		return nil, fmt.Errorf("npy: %s: %w", path, err)
	}
	memory, err := mmap.Map(f, size)
	if errors.Is(err, mmap.ErrUnsupported) {
		err = ErrNotMappable
	}
	if err != nil {
		return nil, fmt.Errorf("npy: %s: %w", path, err)
	}
	return &Mapped{path: path, header: h, memory: memory}, nil
}

// Shape is the shape of the whole array.
func (m *Mapped) Shape() []int { return m.header.shape }

// Rows copies the rows with the given indices to dst, one after another; dst
// holds len(indices) rows. A file that was cut off since it was mapped is an
// error.
func (m *Mapped) Rows(dst []float32, indices []int) (err error) {
	row := rowLen(m.header.shape)
	if len(dst) != row*len(indices) {
		return fmt.Errorf("npy: %d values are no room for %d rows of %d", len(dst), len(indices), row)
	}
	if m.memory == nil {
		return fmt.Errorf("npy: %s is closed", m.path)
	}
	// Pages that are gone fault on access; without this the process would die.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // runtime's fault
			err = fmt.Errorf("npy: %s changed while it was read", m.path)
		default:
			panic(r)
		}
	}()
	width := row * m.header.dtype.size
	if m.seen.Add(int64(len(indices))*int64(width+neighbourhood)) > keptPages {
		m.seen.Store(0)
		mmap.Forget(m.memory)
	}
	data := m.memory[m.header.length:]
	for i, index := range indices {
		if index < 0 || index >= m.header.shape[0] {
			return fmt.Errorf("npy: %s has no row %d of %d", m.path, index, m.header.shape[0])
		}
		bad := m.header.dtype.convert(dst[i*row:(i+1)*row], data[index*width:(index+1)*width])
		if bad >= 0 {
			return fmt.Errorf("npy: %s: row %d (from 0) holds a value that float32 cannot", m.path, index)
		}
	}
	return nil
}

// Close unmaps the file. No rows may be being read.
func (m *Mapped) Close() error {
	memory := m.memory
	m.memory = nil
	if memory == nil {
		return nil
	}
	return mmap.Unmap(memory)
}
