//go:build !unix

package mmap

import "os"

// Map is not supported.
func Map(*os.File, int64) ([]byte, error) { return nil, ErrUnsupported }

// Unmap does nothing.
func Unmap([]byte) error { return nil }

// Forget does nothing.
func Forget([]byte) {}
