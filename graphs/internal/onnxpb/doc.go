// Package onnxpb reads and writes the protobuf messages of ONNX files.
//
// The messages are plain Go structs over a hand-written wire codec: no descriptor is registered with the protobuf
// runtime, where two registrations of package onnx would end the process. Field numbers and types are those of
// onnx-ml.proto, IR version 13. Fields that are not modelled are kept as raw bytes and written back, so that
// decoding and encoding loses nothing. Large byte fields alias the input.
package onnxpb
