// Package answers holds no code of its own. Its tests put the samplers on
// energies that run in ONNX Runtime and whose answers are known in closed form
// or by quadrature: moments over many seeds with z-scores, log Z, the shares of
// separated modes, what diagnostics say where sampling fails, draws a gradient,
// and memory over a million steps. The long ones are behind the build tag slow.
package answers
