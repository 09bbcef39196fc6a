package data

import (
	"fmt"
	"math"
)

// Standardizer holds the mean and the standard deviation of every coordinate
// of an item (flattened), in the data's own units.
type Standardizer struct {
	Mean []float64
	Std  []float64 // never 0: a constant coordinate has 1
}

// Standardize measures ds in two passes in float64. Std has the divisor N. A
// coordinate that is the same in all items gets Std 1.
func Standardize(ds Dataset) (Standardizer, error) {
	size, n := Size(ds), float64(ds.Len())
	s := Standardizer{Mean: make([]float64, size), Std: make([]float64, size)}
	low, high := make([]float32, size), make([]float32, size)
	for i := range size {
		low[i], high[i] = math.MaxFloat32, -math.MaxFloat32
	}
	err := each(ds, func(rows []float32) {
		for i, v := range rows {
			c := i % size
			s.Mean[c] += float64(v)
			low[c], high[c] = min(low[c], v), max(high[c], v)
		}
	})
	if err != nil {
		return Standardizer{}, err
	}
	for c := range s.Mean {
		s.Mean[c] /= n
	}
	err = each(ds, func(rows []float32) {
		for i, v := range rows {
			c := i % size
			d := float64(v) - s.Mean[c]
			s.Std[c] += d * d
		}
	})
	if err != nil {
		return Standardizer{}, err
	}
	for c := range s.Std {
		s.Std[c] = math.Sqrt(s.Std[c] / n)
		if low[c] == high[c] {
			s.Mean[c], s.Std[c] = float64(low[c]), 1
		}
	}
	return s, nil
}

// Apply replaces x [n, D] by (x − mean)/std.
func (s Standardizer) Apply(x []float32) error {
	if err := s.check(x); err != nil {
		return err
	}
	for i, v := range x {
		c := i % len(s.Mean)
		x[i] = float32((float64(v) - s.Mean[c]) / s.Std[c])
	}
	return nil
}

// Invert replaces x [n, D] by mean + std·x.
func (s Standardizer) Invert(x []float32) error {
	if err := s.check(x); err != nil {
		return err
	}
	for i, v := range x {
		c := i % len(s.Mean)
		x[i] = float32(s.Mean[c] + s.Std[c]*float64(v))
	}
	return nil
}

func (s Standardizer) check(x []float32) error {
	if len(s.Mean) == 0 || len(x)%len(s.Mean) != 0 {
		return fmt.Errorf("data: %d values are not whole items of %d", len(x), len(s.Mean))
	}
	return nil
}
