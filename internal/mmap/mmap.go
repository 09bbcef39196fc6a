// Package mmap maps files into memory for reading, where the system can.
package mmap

import "errors"

// ErrUnsupported says that the system has no memory maps; read the file instead.
var ErrUnsupported = errors.New("mmap: not supported on this system")
