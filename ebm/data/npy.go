package data

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// itemShape is the shape without its leading axis. A plain list of numbers is
// a list of one-dimensional points.
func itemShape(shape []int) []int {
	if len(shape) == 1 {
		return []int{1}
	}
	return slices.Clone(shape[1:])
}

// ofArray makes a Dataset of an array that was read.
func ofArray(path string, a npy.Array) (Dataset, error) {
	if len(a.Shape) == 0 {
		return nil, fmt.Errorf("data: %s holds a single number; it needs a leading axis of rows", path)
	}
	return inMemory(path, itemShape(a.Shape), a.Data)
}

func openNPY(path string, s *spec.Spec, o Options) (Dataset, error) {
	if err := s.Done(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	limit := o.MapAbove
	if limit == 0 {
		limit = 256 << 20
	}
	if info, err := os.Stat(path); err == nil && info.Size() >= limit {
		m, err := npy.Map(path)
		if err == nil {
			return newMapped(path, m)
		}
		if !errors.Is(err, npy.ErrNotMappable) {
			return nil, fmt.Errorf("data: %w", err)
		}
	}
	a, err := npy.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return ofArray(path, a)
}

// openNPZ reads the array named by the key array; without it the only array of
// the archive, or the one called x or data.
func openNPZ(path string, s *spec.Spec, _ Options) (Dataset, error) {
	name := s.Word("array", "")
	if err := s.Done(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	z, err := npy.OpenArchive(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	defer z.Close()
	if name == "" {
		name, err = mainArray(z.Names())
		if err != nil {
			return nil, fmt.Errorf("data: %s: %w", path, err)
		}
	}
	a, err := z.Read(name)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return ofArray(path+": "+name, a)
}

func mainArray(names []string) (string, error) {
	switch {
	case len(names) == 0:
		return "", errors.New("it holds no arrays")
	case len(names) == 1:
		return names[0], nil
	case slices.Contains(names, "x"):
		return "x", nil
	case slices.Contains(names, "data"):
		return "data", nil
	}
	return "", fmt.Errorf("it holds several arrays; choose one with :array=NAME of %s", strings.Join(names, ", "))
}

// mapped is a Dataset over a mapped file. Values are checked as they are read.
type mapped struct {
	path string
	file *npy.Mapped
}

func newMapped(path string, m *npy.Mapped) (Dataset, error) {
	for _, d := range m.Shape() {
		if d == 0 {
			m.Close()
			return nil, fmt.Errorf("data: %s: an array of shape %v holds nothing", path, m.Shape())
		}
	}
	return &mapped{path, m}, nil
}

func (m *mapped) Shape() []int { return itemShape(m.file.Shape()) }

func (m *mapped) Len() int { return m.file.Shape()[0] }

func (m *mapped) Rows(dst []float32, indices []int) error {
	if err := m.file.Rows(dst, indices); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	size := Size(m)
	for i, index := range indices {
		if npy.CheckFinite(dst[i*size:(i+1)*size], size) != nil {
			return fmt.Errorf("data: %s: row %d (from 0) holds a value that is not finite; remove or repair it", m.path, index)
		}
	}
	return nil
}

func (m *mapped) Close() error { return m.file.Close() }
