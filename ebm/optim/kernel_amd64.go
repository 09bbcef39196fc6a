//go:build !purego

package optim

import "golang.org/x/sys/cpu"

// hasAVX2 is a variable for the tests.
var hasAVX2 = cpu.X86.HasAVX2

// adamKernel updates the first elements and returns how many.
func adamKernel(p, m, v, g []float32, c *adamRates) int {
	n := len(g) &^ 7
	if !hasAVX2 || n == 0 {
		return 0
	}
	adamAVX2(&p[0], &m[0], &v[0], &g[0], n, c)
	return n
}

// adamAVX2 updates n elements, a multiple of 8.
//
//go:noescape
func adamAVX2(p, m, v, grad *float32, n int, c *adamRates)
