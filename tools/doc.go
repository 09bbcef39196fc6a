// Package tools holds the programs of the project: onnx-ebm, the command line, and demo.
package tools
