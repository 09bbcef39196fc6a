// Package graphs holds ONNX graphs as Go values: it builds, reads, checks, simplifies, prints and writes them, and
// evaluates them in float64.
//
// A Graph is in static single assignment form: nodes in topological order whose operands are Values. Nodes and values are
// immutable once made, so graphs share them freely: a derivative graph holds the very nodes of the graph it derives.
// Ops have one form whatever opset a file has: the reader upgrades older forms to those of opset 18 (newer ops have the form
// in which they appeared), the writer picks the lowest opset that has all ops of the graph.
//
// Extents are numbers or symbolic expressions (Dim), and integer vectors are followed symbolically through shape arithmetic,
// so that graphs with a dynamic batch axis simplify as well as static ones.
package graphs
