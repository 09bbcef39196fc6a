package models

import "github.com/onnx-ebm/onnx-ebm/graphs"

// powerSteps are the iterations from a fixed start: of random weights, whose largest singular values lie close together, they give
// the norm to a few per cent, of trained ones better.
const powerSteps = 8

// normed is W/σ(W) with spectral=true, else W. σ is the largest singular value of W as a matrix [out, rest] by the power method,
//
//	v ← Wᵀ(W v)/‖Wᵀ(W v)‖,   σ = ‖W v‖
//
// (Miyato et al., ICLR 2018, who keep v from step to step; here the start is a constant of the graph, so that an energy is a function
// of its parameters alone and gradients by them are exact). It never exceeds the true norm. That of a convolution can be larger than
// its matrix's, by at most its kernel's extent.
func (m *network) normed(name string, w *graphs.Value) *graphs.Value {
	if !m.spectral || m.Err() != nil {
		return w
	}
	matrix := w
	if w.Rank() > 2 {
		matrix = m.Op("Flatten", graphs.Attrs{"axis": int64(1)}, w)
	}
	columns := matrix.Shape()[1].Size
	start := make([]float32, columns)
	m.key.Sub(name+".spectral").Normals(start, 0, 0)
	v := m.Const(graphs.NewTensor(start, columns, 1))
	norm := func(x *graphs.Value) *graphs.Value {
		return m.Op("Sqrt", nil, reduce(m.Builder, "ReduceSum", square(m.Builder, x), 0, true))
	}
	transposed := m.Op("Transpose", graphs.Attrs{"perm": []int64{1, 0}}, matrix)
	for range powerSteps {
		v = m.Op("MatMul", nil, transposed, m.Op("MatMul", nil, matrix, v))
		v = m.Op("Div", nil, v, norm(v))
	}
	sigma := norm(m.Op("MatMul", nil, matrix, v)) // [1, 1]
	if w.Rank() > 2 {
		sigma = m.Op("Reshape", nil, sigma, m.Ints(1))
	}
	return m.Op("Div", nil, w, sigma)
}
