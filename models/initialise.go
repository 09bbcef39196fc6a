package models

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// initialiser fills a weight [out, in…] of the given fan-in and fan-out.
type initialiser func(w []float32, out, fanIn, fanOut int, gain float64, key rng.Key)

// initialisers by name. torch is what PyTorch's Linear and Conv have: U(±1/√fan-in), for the biases too; with the others biases are 0.
var initialisers = map[string]initialiser{
	"torch": func(w []float32, _, fanIn, _ int, _ float64, key rng.Key) {
		uniform(w, 1/math.Sqrt(float64(fanIn)), key)
	},
	// He et al., ICCV 2015
	"kaiming-uniform": func(w []float32, _, fanIn, _ int, gain float64, key rng.Key) {
		uniform(w, gain*math.Sqrt(3/float64(fanIn)), key)
	},
	"kaiming-normal": func(w []float32, _, fanIn, _ int, gain float64, key rng.Key) {
		normal(w, gain/math.Sqrt(float64(fanIn)), key)
	},
	// Glorot & Bengio, AISTATS 2010
	"xavier-uniform": func(w []float32, _, fanIn, fanOut int, gain float64, key rng.Key) {
		uniform(w, gain*math.Sqrt(6/float64(fanIn+fanOut)), key)
	},
	"xavier-normal": func(w []float32, _, fanIn, fanOut int, gain float64, key rng.Key) {
		normal(w, gain*math.Sqrt(2/float64(fanIn+fanOut)), key)
	},
	// Saxe, McClelland & Ganguli, ICLR 2014
	"orthogonal": orthogonal,
}

// Initialisations lists the names that init= takes.
func Initialisations() []string { return slices.Sorted(maps.Keys(initialisers)) }

func uniform(w []float32, bound float64, key rng.Key) {
	key.Uniforms(w, 0, 0)
	for i, u := range w {
		w[i] = float32(bound) * (2*u - 1)
	}
}

func normal(w []float32, std float64, key rng.Key) {
	key.Normals(w, 0, 0)
	for i, z := range w {
		w[i] = float32(std) * z
	}
}

// orthogonal makes the rows of [out, in] orthonormal times gain, or the columns where there are fewer of them: Q of the QR
// decomposition of normals, with the signs of R's diagonal, so that Q is uniform (Haar).
func orthogonal(w []float32, out, _, _ int, gain float64, key rng.Key) {
	in := len(w) / out
	long, short := max(in, out), min(in, out)
	key.Normals(w, 0, 0)
	data := make([]float64, len(w))
	for i, z := range w {
		data[i] = float64(z)
	}
	var qr mat.QR
	qr.Factorize(mat.NewDense(long, short, data))
	var q, r mat.Dense
	qr.QTo(&q)
	qr.RTo(&r)
	at := func(i, j int) float64 { return gain * math.Copysign(1, r.At(j, j)) * q.At(i, j) }
	for o := range out {
		for i := range in {
			if out >= in {
				w[o*in+i] = float32(at(o, i))
			} else {
				w[o*in+i] = float32(at(i, o))
			}
		}
	}
}

const (
	maxParameters = 1 << 28 // 1 GiB: beyond it a width was mistyped
	maxOrthogonal = 1 << 24 // elements of one orthogonal weight
)

// weights draws a parameter's initial value from a key of its own, named like the parameter, so that a layer's weights do not depend
// on the layers before it.
func (m *network) weights(name string, fanOut int, gain float64, dims ...int64) []float32 {
	size, fanIn := int64(1), int64(1)
	for i, d := range dims {
		size *= d
		if i > 0 {
			fanIn *= d
		}
	}
	if !m.reserve(size) {
		return nil
	}
	if m.init == "orthogonal" && size > maxOrthogonal {
		m.Fail(fmt.Errorf("init=orthogonal: %s has %d elements, more than %d; use another init", name, size, maxOrthogonal))
		return nil
	}
	w := make([]float32, size)
	initialisers[m.init](w, int(dims[0]), int(fanIn), fanOut, gain, m.key.Sub(name))
	return w
}

// reserve counts parameters and latches an error when they are too many.
func (m *network) reserve(n int64) bool {
	m.parameters += n
	if m.parameters > maxParameters {
		m.Fail(fmt.Errorf("the network has more than %d parameters; make it smaller", maxParameters))
		return false
	}
	return m.Err() == nil
}
