//go:build !purego

package samplers

import "golang.org/x/sys/cpu"

var wide = cpu.X86.HasAVX2

// kickDriftAVX2 does n elements, a multiple of 8, of kickDrift.
//
//go:noescape
func kickDriftAVX2(x, p, grad *float32, n int, h, eps float32)

// kickDriftDiagonalAVX2 does the same with a diagonal of M⁻¹.
//
//go:noescape
func kickDriftDiagonalAVX2(x, p, grad, inv *float32, n int, h, eps float32)

// kickDriftWide does the first elements of kickDrift, with the bytes of plain Go, and tells how many; inv may be nil.
func kickDriftWide(x, p, g, inv []float32, h, eps float32) int {
	n := len(x) &^ 7
	if !wide || n == 0 {
		return 0
	}
	if inv == nil {
		kickDriftAVX2(&x[0], &p[0], &g[0], n, h, eps)
	} else {
		kickDriftDiagonalAVX2(&x[0], &p[0], &g[0], &inv[0], n, h, eps)
	}
	return n
}

// finiteBitsAVX2 is not zero if one of n elements, a multiple of 8, is not finite.
//
//go:noescape
func finiteBitsAVX2(v *float32, n int) uint32

// finiteWide looks at the first elements, and tells how many.
func finiteWide(v []float32) (n int, finite bool) {
	n = len(v) &^ 7
	if !wide || n == 0 {
		return 0, true
	}
	return n, finiteBitsAVX2(&v[0], n) == 0
}
