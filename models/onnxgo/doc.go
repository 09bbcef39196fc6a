// Package onnxgo runs models of github.com/owulveryck/onnx-go on ONNX Runtime, and gives their gradients.
//
// onnx-go decodes an ONNX file and hands it to a backend; the one that comes with it, gorgonnx, computes some forty ops. With the backend
// of this package the same program has the ops of ONNX Runtime, and derivatives:
//
//	backend, err := onnxgo.New(rt, onnxgo.WithModel(file)) // was: backend := gorgonnx.NewGraph()
//	model := onnx.NewModel(backend)
//	err = model.UnmarshalBinary(file)
//	err = model.SetInput(0, x)
//	err = backend.Run()
//	e, err := model.GetOutputTensors()
//	g, err := backend.Gradient("energy", "x") // ∇ₓE; the score is −∇ₓE
//
// onnx-go is archived: its last release is v0.5.0 of 2019, and nothing in it will be mended. This package is for programs that use it
// already. New ones had better read the file with package graphs and use package ebm, which owe nothing to it, run batches on all
// cores and sample. No other package of this module imports onnx-go.
//
// # What onnx-go does not tell
//
// A backend hears of nodes, tensors and edges, but not of opset versions, domains of ops, functions, symbolic extents (an input [N,2] is
// announced as [2]), and which declared values are outputs. Initializers other than float32, float64, int32 and int64, external data and
// bodies of If, Loop and Scan make onnx-go itself fail.
//
// WithModel (or WithModelFile) gives the backend the file, and all of this is as the file says. Where onnx-go cannot decode the file,
// Backend.Outline is a stand-in with the same inputs and outputs that it can:
//
//	outline, err := backend.Outline()
//	err = model.UnmarshalBinary(outline)
//
// Without the file the model is rebuilt from what the decoder called, by these rules: ops are of ai.onnx in opset 13 or that of
// WithOpset; nodes that have the form of another opset, and ops whose meaning depends on an opset that nobody stated, are refused;
// inputs have the shapes of the tensors they are given; every declared result that is float32 is an output, also one that the file
// only mentions in value_info. Operands that occur twice, as in Mul(x, x), and optional ones left out are right either way.
//
// # Limits
//
// Inputs and outputs are float32. Every set of input shapes is compiled once, which takes milliseconds. A run is one call of ONNX Runtime
// on one core, since nothing is known of the rows. A Backend is used by one goroutine at a time. onnx-go's Model.SetInput counts the
// inputs as the file lists them, initializers that are listed among them included.
//
// onnx-go registers the protobuf package onnx, and a process where a second package does that panics at its start. This module registers
// no protobuf package, so that it can be linked with any of them.
package onnxgo
