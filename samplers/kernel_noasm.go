//go:build !amd64 || purego

package samplers

func kickDriftWide(_, _, _, _ []float32, _, _ float32) int { return 0 }

func finiteWide([]float32) (n int, finite bool) { return 0, true }
