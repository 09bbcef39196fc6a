package runtime

/*
#include "elementwise.h"
*/
import "C"

// ElementwiseDomain is the domain of the op Elementwise, which models compiled
// for a CPU may use beside ONNX's own: any number of float32 inputs and outputs,
// and a program of element-wise instructions as an attribute. elementwise.h
// describes it.
const ElementwiseDomain = "onnx-ebm"

// Elementwise reports whether models may use the op Elementwise: on a CPU.
func (r *Runtime) Elementwise() bool { return !r.device.cuda }

// ElementwiseOps gives the instructions of Elementwise programs and their
// numbers of operands.
func ElementwiseOps() map[string]int {
	ops := map[string]int{}
	for i := C.int(0); ; i++ {
		var operands C.int
		name := C.elementwise_op(i, &operands)
		if name == nil {
			return ops
		}
		ops[C.GoString(name)] = int(operands)
	}
}

// elementwiseLevels lists what this processor can run, by the number that
// useElementwise takes.
func elementwiseLevels() []string {
	var names []string
	for level := C.int(0); ; level++ {
		k := C.elementwise_kernels(level)
		if k == nil {
			return names
		}
		names = append(names, C.GoString(k.name))
	}
}

// useElementwise chooses the level of the sessions compiled from now on, the
// best for -1.
func useElementwise(level int) { C.elementwise_level(C.int(level)) }
