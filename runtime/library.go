package runtime

// #include "shim.h"
import "C"

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

const (
	entryPoint = "OrtGetApiBase"
	elfSystem  = goruntime.GOOS != "darwin" && goruntime.GOOS != "ios" && goruntime.GOOS != "windows"
)

var errNotRuntime = errors.New("a library, but not ONNX Runtime (it has no " + entryPoint + ")")

// boundHandle is the handle of the library that onnxruntime_go has loaded. It
// is needed when another package of the program initialised that one first.
//
//go:linkname boundHandle github.com/yalue/onnxruntime_go.libraryHandle
var boundHandle uintptr

// library is the ONNX Runtime of this process: there can be only one.
type library struct {
	path, source, version string
	providers             []string
}

var (
	loadMutex sync.Mutex
	loaded    *library
)

// load finds and starts ONNX Runtime, or returns the one that runs already.
func load(option string) (*library, error) {
	loadMutex.Lock()
	defer loadMutex.Unlock()
	if loaded == nil {
		lib, err := start(option)
		if err != nil {
			return nil, err
		}
		loaded = lib
	}
	if option == "" {
		return loaded, nil
	}
	path, err := libraryAt(option)
	if err != nil {
		return nil, fmt.Errorf("runtime: library %s: %w", option, err)
	}
	if !sameFile(path, loaded.path) {
		return nil, fmt.Errorf("runtime: a process can use one ONNX Runtime only: %s is loaded, %s was asked for", loaded.path, option)
	}
	return loaded, nil
}

func start(option string) (*library, error) {
	disableTelemetry()
	lib := &library{}
	if ort.IsInitialized() {
		if err := lib.use(boundHandle); err != nil {
			return nil, fmt.Errorf("runtime: the ONNX Runtime that another package loaded: %w", err)
		}
		lib.source = "loaded by another package"
		return lib, nil
	}
	path, source, err := find(option, searchPlaces(), probe)
	if err != nil {
		return nil, err
	}
	handle, err := openLibrary(path)
	if err == nil {
		err = lib.use(handle)
	}
	if err != nil {
		return nil, fmt.Errorf("runtime: library %s: %w", path, err)
	}
	lib.path, lib.source = path, source
	ort.SetSharedLibraryPath(path)
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return nil, fmt.Errorf("runtime: library %s: %w", path, err)
	}
	return lib, nil
}

// probe tells why the file at path can't be used, nil if it can.
func probe(path string) error {
	handle, err := openLibrary(path)
	if err != nil {
		return err
	}
	base, _, err := apiBase(handle)
	if err != nil {
		return err
	}
	return checkVersion(versionOf(base))
}

// use reads version and providers of a loaded library and makes its API current.
func (l *library) use(handle uintptr) error {
	base, file, err := apiBase(handle)
	if err != nil {
		return err
	}
	l.path, l.version = file, versionOf(base)
	if err := checkVersion(l.version); err != nil {
		return err
	}
	if C.ebm_use_api(pointer(base), apiVersion) == 0 {
		return tooOld(l.version)
	}
	l.providers, err = providers()
	return err
}

func versionOf(base uintptr) string { return C.GoString(C.ebm_version(pointer(base))) }

// pointer turns an address in C memory into a pointer.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// checkVersion reads the version text before the API is asked for: an older
// library answers that question by writing to stderr.
func checkVersion(version string) error {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return nil
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 == nil && err2 == nil && major <= 1 && (major < 1 || minor < apiVersion) {
		return tooOld(version)
	}
	return nil
}

func tooOld(version string) error {
	return fmt.Errorf("too old (version %s): need ≥ 1.%d", version, apiVersion)
}
