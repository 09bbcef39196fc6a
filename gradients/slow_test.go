//go:build slow

package gradients

func init() { thorough = true }
