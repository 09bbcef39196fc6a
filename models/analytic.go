package models

import (
	"fmt"

	"gonum.org/v1/gonum/mat"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Analytic is an energy in closed form, as a graph and as float64 functions, with what is known of its density.
//
// The functions round nothing; the graph holds its constants in float32. A slice of known answers is nil where they are not known.
type Analytic struct {
	Name  string        // the specification it was made of
	Graph *graphs.Graph // x [N, D] → energy [N]
	Dim   int           // D

	Energy   func(x []float64) float64 // E(x) of one point
	Gradient func(dst, x []float64)    // ∇E(x) of one point into dst [D]
	Hessian  func(dst, x []float64)    // ∇²E(x) of one point into dst [D·D]

	Minima    []Minimum     // the global minima
	LogZ      float64       // log ∫exp(−E), where LogZKnown
	LogZKnown bool          //
	Mean, Std []float64     // of every coordinate
	Cov       *mat.SymDense // covariance, where coordinates are correlated and it is known
	build     func(b *graphs.Builder, x *graphs.Value) *graphs.Value
	draw      func(r *noise, x []float64)
}

// Minimum is a point of least energy.
type Minimum struct {
	X      []float64
	Energy float64
}

// CanDraw reports whether the density has an exact sampler.
func (a *Analytic) CanDraw() bool { return a.draw != nil }

// Draw returns n independent exact draws [n, D]. Draw i depends on the key and i alone. Energies without an exact sampler give an error.
func (a *Analytic) Draw(n int, key rng.Key) ([]float32, error) {
	if a.draw == nil {
		return nil, fmt.Errorf("models: %s has no exact sampler; use MCMC", a.Name)
	}
	if n < 0 {
		return nil, fmt.Errorf("models: cannot draw %d points", n)
	}
	out := make([]float32, n*a.Dim)
	x := make([]float64, a.Dim)
	r := &noise{key: key, z: make([]float32, a.Dim)}
	for i := range n {
		r.row = uint64(i)
		a.draw(r, x)
		for j, v := range x {
			out[i*a.Dim+j] = float32(v)
		}
	}
	return out, nil
}

// setLogZ records a known log Z.
func (a *Analytic) setLogZ(v float64) { a.LogZ, a.LogZKnown = v, true }

// noise is the source of one draw: a row of the key's noise.
type noise struct {
	key rng.Key
	row uint64
	z   []float32 // as long as a draw
}

func (r *noise) uniform(i int) float64 { return r.key.Float64(r.row, uint64(i)) }

// normals fills a draw with independent N(0, 1).
func (r *noise) normals(x []float64) {
	r.key.Normals(r.z, r.row, 0)
	for i, v := range r.z {
		x[i] = float64(v)
	}
}
