//go:build unix

package mmap

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Map returns the first size bytes of a file. They must not be written. A file that is cut off afterwards faults when it is read.
func Map(f *os.File, size int64) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
}

// Unmap gives back what Map returned.
func Unmap(memory []byte) error { return unix.Munmap(memory) }

// Forget takes the whole pages of a part of a mapping out of the process's memory; they are read from the file again when they are used.
func Forget(part []byte) {
	if len(part) == 0 {
		return
	}
	page := os.Getpagesize()
	skip := int(-uintptr(unsafe.Pointer(&part[0])) % uintptr(page))
	if size := (len(part) - skip) / page * page; size > 0 {
		_ = unix.Madvise(part[skip:skip+size], unix.MADV_DONTNEED) // advice: nothing is lost where it is not taken
	}
}
