package runtime

/*
#cgo CFLAGS: -O2
#include <stdlib.h>
#include "api.h"
#include "elementwise.h"
#include "shim.h"
#cgo noescape ebm_run
#cgo nocallback ebm_run
*/
import "C"

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// apiVersion is the version of the C API that is used: the minor number of the
// oldest ONNX Runtime that has it.
const apiVersion = C.API_VERSION

// statusError turns an OrtStatus into an error and frees it; nil stays nil.
func statusError(status unsafe.Pointer) error {
	if status == nil {
		return nil
	}
	defer C.ebm_status_free(status)
	return errors.New(strings.TrimSpace(C.GoString(C.ebm_status_text(status))))
}

// providers lists the execution providers the loaded library was built with.
func providers() ([]string, error) {
	var names **C.char
	var n C.int
	if err := statusError(C.ebm_providers(&names, &n)); err != nil {
		return nil, err
	}
	defer C.ebm_providers_free(names, n)
	list := make([]string, n)
	for i, name := range unsafe.Slice(names, int(n)) {
		list[i] = C.GoString(name)
	}
	return list, nil
}

// sessionPointer reads the OrtSession that a session of the Go binding holds.
// It goes by field names, so another layout is an error and not a wild pointer.
func sessionPointer(s *ort.DynamicAdvancedSession) (C.uintptr_t, error) {
	inner := reflect.ValueOf(s).Elem().FieldByName("s")
	if inner.IsValid() && inner.Kind() == reflect.Pointer && !inner.IsNil() {
		p := inner.Elem().FieldByName("ortSession")
		if p.IsValid() && p.Kind() == reflect.Pointer && !p.IsNil() {
			return C.uintptr_t(p.Pointer()), nil
		}
	}
	return 0, fmt.Errorf("runtime: onnxruntime_go has another layout than DynamicAdvancedSession.s.ortSession: use v1.27.0")
}

// addElementwise makes the op of elementwise.h known to sessions made with o.
func addElementwise(o *ort.SessionOptions) error {
	p := reflect.ValueOf(o).Elem().FieldByName("o")
	if !p.IsValid() || p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("runtime: onnxruntime_go has another layout than SessionOptions.o: use v1.27.0")
	}
	return statusError(C.elementwise_add(C.uintptr_t(p.Pointer())))
}

// value is a float32 OrtValue over Go memory that the owner keeps pinned.
type value struct {
	name *C.char
	ort  C.uintptr_t
}

func newValue(name string, data []float32, dims []int64) (value, error) {
	var v value
	var shape *C.int64_t
	if len(dims) > 0 {
		shape = (*C.int64_t)(unsafe.Pointer(&dims[0]))
	}
	status := C.ebm_tensor((*C.float)(unsafe.Pointer(unsafe.SliceData(data))), C.size_t(len(data)), shape, C.size_t(len(dims)), &v.ort)
	if err := statusError(status); err != nil {
		return value{}, err
	}
	v.name = C.CString(name)
	return v, nil
}

func (v *value) free() {
	C.ebm_value_free(v.ort)
	C.free(unsafe.Pointer(v.name))
}

// ioBinding is an OrtIoBinding with the session it was made for.
type ioBinding struct{ session, binding C.uintptr_t }

func newIOBinding(session C.uintptr_t) (ioBinding, error) {
	b := ioBinding{session: session}
	return b, statusError(C.ebm_binding(session, &b.binding))
}

func (b *ioBinding) input(v *value) error {
	return statusError(C.ebm_bind_input(b.binding, v.name, v.ort))
}

func (b *ioBinding) output(v *value) error {
	return statusError(C.ebm_bind_output(b.binding, v.name, v.ort))
}

func (b *ioBinding) run() error {
	if status := C.ebm_run(b.session, b.binding); status != nil {
		return statusError(status)
	}
	return nil
}

func (b *ioBinding) free() {
	if b.binding != 0 {
		C.ebm_binding_free(b.binding)
		b.binding = 0
	}
}

// denormalsFlushed reports whether the calling thread flushes denormals; false
// too on a processor for which no flag is known.
func denormalsFlushed() bool { return C.ebm_denormals_flushed() != 0 }

// repairSignals gives every signal handler its own stack again. CUDA installs
// handlers without one, which kills a Go program at its next signal.
func repairSignals() int { return int(C.ebm_repair_signals()) }
