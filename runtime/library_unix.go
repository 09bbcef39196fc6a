//go:build !windows

package runtime

/*
#cgo LDFLAGS: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include "shim.h"

static const char *ebm_file_of(void *symbol) {
  Dl_info info;
  return dladdr(symbol, &info) ? info.dli_fname : NULL;
}
*/
import "C"

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"unsafe"
)

// openLibrary loads a shared library for good and returns its handle.
func openLibrary(path string) (uintptr, error) {
	if err := checkLibraryFile(path); err != nil {
		return 0, err
	}
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	handle := C.dlopen(name, C.RTLD_LAZY)
	if handle == nil {
		return 0, errors.New(C.GoString(C.dlerror()))
	}
	return uintptr(handle), nil
}

// apiBase returns the OrtApiBase of a loaded library and the library's file.
func apiBase(handle uintptr) (base uintptr, file string, err error) {
	name := C.CString(entryPoint)
	defer C.free(unsafe.Pointer(name))
	symbol := C.dlsym(*(*unsafe.Pointer)(unsafe.Pointer(&handle)), name)
	if symbol == nil {
		return 0, "", errNotRuntime
	}
	return uintptr(C.ebm_call_base(symbol)), C.GoString(C.ebm_file_of(symbol)), nil
}

// checkLibraryFile refuses a file that the system's loader might stumble over:
// it maps what the headers promise without comparing with the file's length.
func checkLibraryFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil {
		return errors.New("not a shared library")
	}
	if !elfSystem {
		return nil
	}
	if string(magic[:]) != elf.ELFMAG {
		return errors.New("not a shared library")
	}
	lib, err := elf.NewFile(f)
	if err != nil || lib.Type != elf.ET_DYN {
		return errors.New("not a shared library, or a damaged one")
	}
	for _, p := range lib.Progs {
		if p.Off+p.Filesz > uint64(info.Size()) || p.Off+p.Filesz < p.Off {
			return fmt.Errorf("damaged: %d bytes are there, its header promises more", info.Size())
		}
	}
	symbols, err := lib.DynamicSymbols()
	if err != nil {
		return errNotRuntime
	}
	for _, s := range symbols {
		if s.Name == entryPoint && s.Section != elf.SHN_UNDEF {
			return nil
		}
	}
	return errNotRuntime
}
