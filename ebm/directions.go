package ebm

import (
	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// derivation names a derived program: its quantities, and the number of directions of its Hessian-vector products (0 without any).
type derivation struct {
	want gradients.Want
	k    int
}

func (e *Energy) derive(d derivation) (*graphs.Graph, error) {
	if d.want.Has(gradients.HVP) {
		return gradients.Directions(e.graph, d.want, int64(d.k))
	}
	return gradients.Derive(e.graph, d.want)
}

// Programs have directions as [K, rows, D…], a tensor a tile; callers have them as [K, N, D…]. scatter goes from these to those, and fills
// the rows that a padded batch has beyond n: with the last row, or with zeros.
func (e *Energy) scatter(b *runtime.Binding, dst, src []float32, n, k int, zeros bool) {
	e.eachRun(b, k, func(at, first, rows, direction int) {
		run := dst[at : at+rows*e.dim]
		done := 0
		if have := min(rows, n-first); have > 0 {
			done = copy(run, src[(direction*n+first)*e.dim:(direction*n+first+have)*e.dim])
		}
		for last := (direction+1)*n - 1; done < len(run); {
			if zeros {
				clear(run[done:])
				return
			}
			done += copy(run[done:], src[last*e.dim:(last+1)*e.dim])
		}
	})
}

// gather is scatter's inverse.
func (e *Energy) gather(b *runtime.Binding, dst, src []float32, n, k int) {
	e.eachRun(b, k, func(at, first, rows, direction int) {
		if have := min(rows, n-first); have > 0 {
			copy(dst[(direction*n+first)*e.dim:(direction*n+first+have)*e.dim], src[at:])
		}
	})
}

// eachRun visits the stretches of rows that are together in both layouts: at is the place in the program's.
func (e *Energy) eachRun(b *runtime.Binding, k int, visit func(at, first, rows, direction int)) {
	for i := range b.Tiles() {
		first, rows := b.Tile(i)
		for direction := range k {
			visit((first*k+direction*rows)*e.dim, first, rows, direction)
		}
	}
}
