// Package runtime compiles ONNX graphs with ONNX Runtime and runs them on
// fixed float32 buffers.
//
// A [Runtime] is the loaded library and a device, a [Program] one compiled
// graph, a [Binding] a program with buffers for one batch size. The batch is
// cut into tiles, contiguous ranges of rows whose boundaries depend on the
// batch size and the graph alone; goroutines take tiles, each tile is one
// single-threaded call of ONNX Runtime. The same inputs therefore give the
// same bytes for any number of workers.
//
//	rt, err := runtime.Open(runtime.Options{})
//	prog, err := rt.Compile(runtime.Model{Name: "energy", Bytes: onnx,
//		Inputs:  []runtime.Port{{Name: "x", Item: []int64{2}}},
//		Outputs: []runtime.Port{{Name: "energy"}}})
//	b, err := prog.Bind(1024, runtime.BindOptions{})
//	copy(b.In("x"), x)
//	err = b.Run(ctx)
//	use(b.Out("energy"))
//
// # The library
//
// ONNX Runtime 1.24 or newer is loaded at run time from the first of these
// places that has it: Options.Library; ONNXRUNTIME_SHARED_LIBRARY_PATH;
// ORT_DYLIB_PATH; beside the executable (also in onnxruntime/ and ../lib there);
// [UserDir]; the system's library folders. A library named by the option or by
// a variable is used or is an error. ORT_DISABLE_TELEMETRY=1 is set before the
// library starts, unless the variable is set already.
//
// # Numbers
//
// Denormal results and operands are flushed to zero inside a run and nowhere
// else: they cost 30 to 200 times the time of a normal number on common
// processors. Non-finite results are returned as they are.
//
// If ONNX_EBM_DUMP names a directory, a model that ONNX Runtime refuses is
// written there.
package runtime
