// Package conformance holds tests of graphs, derivatives and programs against measures from outside: ONNX's own backend models, hand-written
// derivative graphs, and bounds on the size, the cost and the time of what is derived. It has no code of its own.
package conformance
