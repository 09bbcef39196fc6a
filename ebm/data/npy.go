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

// openNPY reads an array, with the labels of the file that the key labels names.
func openNPY(path string, s *spec.Spec, o Options) (Dataset, error) {
	labels := labelsKey(s)
	if err := s.Done(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	ds, err := readNPY(path, o)
	return withLabelFile(ds, err, labels)
}

func readNPY(path string, o Options) (Dataset, error) {
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
// the archive, or the one called x or data. Labels are the array that the key
// labels names; without it the one called y or labels, if it holds classes.
func openNPZ(path string, s *spec.Spec, _ Options) (Dataset, error) {
	name, labels := s.Word("array", ""), s.Word("labels", "")
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
	ds, err := ofArray(path+": "+name, a)
	if err != nil {
		return nil, err
	}
	if labels == "" {
		return guessLabels(ds, z, name), nil
	}
	y, err := z.Read(labels, npy.Ints)
	if err != nil {
		return nil, fmt.Errorf("data: labels: %w", err)
	}
	return withLabels(ds, y.Data, path+": "+labels)
}

// guessLabels adds the array y or labels, if there is one and it holds classes of the items.
func guessLabels(ds Dataset, z *npy.Archive, items string) Dataset {
	for _, name := range []string{"y", "labels"} {
		if name == items || !slices.Contains(z.Names(), name) {
			continue
		}
		if y, err := z.Read(name, npy.Ints); err == nil {
			if l, err := withLabels(ds, y.Data, name); err == nil {
				return l
			}
		}
	}
	return ds
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
