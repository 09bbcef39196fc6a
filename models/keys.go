package models

import (
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

const maxDim = 1 << 20 // of a builtin: beyond any use, and its constants still fit in memory

// dimension reads dim, which must be at least low.
func dimension(s *spec.Spec, def, low int) int {
	dim := s.Count("dim", def, low)
	if dim > maxDim {
		s.Fail("dim must be at most %d, not %d", maxDim, dim)
		return def
	}
	return dim
}

// numbers reads a comma list or @FILE.npy, whatever the file's shape.
func numbers(s *spec.Spec, key string, def ...float64) []float64 {
	if !s.IsFile(key) {
		return s.Floats(key, def...)
	}
	data, _ := file(s, key)
	return data
}

// file reads @FILE.npy and its shape; nil where the key is absent or the file cannot be used, which is then latched.
func file(s *spec.Spec, key string, opts ...npy.Option) ([]float64, []int) {
	path := s.File(key)
	if path == "" {
		return nil, nil
	}
	a, err := npy.ReadFile(path, opts...)
	if err == nil {
		err = a.CheckFinite()
	}
	if err != nil {
		s.Fail("%s: %v", key, err)
		return nil, nil
	}
	out := make([]float64, len(a.Data))
	for i, v := range a.Data {
		out[i] = float64(v)
	}
	return out, a.Shape
}

// spread repeats one number n times; otherwise there must be n.
func spread(s *spec.Spec, key string, v []float64, n int) []float64 {
	switch len(v) {
	case n:
		return v
	case 1:
		return filled(n, v[0])
	}
	s.Fail("%s must have 1 or %d numbers, not %d", key, n, len(v))
	return make([]float64, n)
}
