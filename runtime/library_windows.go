package runtime

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// openLibrary loads a shared library for good and returns its handle.
func openLibrary(path string) (uintptr, error) {
	handle, err := windows.LoadLibraryEx(path, 0, windows.LOAD_WITH_ALTERED_SEARCH_PATH)
	return uintptr(handle), err
}

// apiBase returns the OrtApiBase of a loaded library and the library's file.
func apiBase(handle uintptr) (base uintptr, file string, err error) {
	symbol, err := windows.GetProcAddress(windows.Handle(handle), entryPoint)
	if err != nil {
		return 0, "", errNotRuntime
	}
	base, _, _ = syscall.SyscallN(symbol)
	name := make([]uint16, windows.MAX_LONG_PATH)
	n, err := windows.GetModuleFileName(windows.Handle(handle), &name[0], uint32(len(name)))
	if err != nil {
		return 0, "", err
	}
	return base, windows.UTF16ToString(name[:n]), nil
}
