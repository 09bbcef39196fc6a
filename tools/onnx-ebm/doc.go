// Command onnx-ebm trains, samples and inspects energy-based models kept as
// ONNX files.
//
// Each command lies in a file of its own name; what they share is in app.go
// (the root, exit codes), usage.go (wrong usage), global.go (flags that many
// commands have), model.go (MODEL), arrays.go (inputs), outputs.go (outputs)
// and progress.go.
//
// Exit codes: 0 success, 2 wrong usage, 1 everything else. A failed command
// leaves its output files as they were.
package main
