//go:build !amd64 || purego

package rng

import "testing"

// eachLevel runs f once: there is only Go.
func eachLevel[T interface {
	testing.TB
	Run(string, func(T)) bool
}](t T, f func(T)) {
	t.Run("go", f)
}
