package diag

import (
	"fmt"
	"math"
)

// Draws is a view of draws X [Chains, Draws, Dim], chain after chain.
type Draws struct {
	X                  []float32
	X64                []float64 // X before it was rounded, or nil; statistics of coordinates take it
	Chains, Draws, Dim int
}

// Validate returns an error if the extents do not fit X or one is below 1.
func (d Draws) Validate() error {
	if d.Chains < 1 || d.Draws < 1 || d.Dim < 1 {
		return fmt.Errorf("diag: draws of shape [%d, %d, %d]: every extent must be at least 1", d.Chains, d.Draws, d.Dim)
	}
	n := len(d.X)
	if n%d.Dim != 0 || n/d.Dim%d.Draws != 0 || n/d.Dim/d.Draws != d.Chains {
		return fmt.Errorf("diag: draws of shape [%d, %d, %d] in %d values", d.Chains, d.Draws, d.Dim, n)
	}
	if d.X64 != nil && len(d.X64) != n {
		return fmt.Errorf("diag: %d values in double precision for %d draws' values; give as many, or none", len(d.X64), n)
	}
	if n/d.Dim > math.MaxUint32 {
		return fmt.Errorf("diag: %d draws are more than 2³²−1; thin them", n/d.Dim)
	}
	return nil
}

// Coordinate copies coordinate j into dst [Chains·Draws], which is allocated if
// it is too short, and returns it: the trace of every chain, one after another.
func (d Draws) Coordinate(dst []float64, j int) []float64 {
	n := d.Chains * d.Draws
	if cap(dst) < n {
		dst = make([]float64, n)
	}
	dst = dst[:n]
	for i := range dst {
		dst[i] = d.at(i*d.Dim + j)
	}
	return dst
}

// at is value i in the best precision there is.
func (d Draws) at(i int) float64 {
	if d.X64 != nil {
		return d.X64[i]
	}
	return float64(d.X[i])
}
