package diag

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFFT(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for size := 1; size <= 256; size *= 2 {
		x := make([]complex128, size)
		for i := range x {
			x[i] = complex(r.NormFloat64(), r.NormFloat64())
		}
		f, y := newFFT(size), append([]complex128(nil), x...)
		f.forward(y)
		reversed := func(k int) (out int) {
			for bit := 1; bit < size; bit *= 2 {
				out = 2*out + k&1
				k /= 2
			}
			return out
		}
		for k := range size {
			want := complex128(0)
			for j, v := range x {
				want += v * cmplx.Exp(complex(0, -2*math.Pi*float64(j*k)/float64(size)))
			}
			require.InDelta(t, 0, cmplx.Abs(want-y[reversed(k)]), 1e-11, "size %d, frequency %d", size, k)
		}
		f.backward(y)
		for j, v := range x {
			require.InDelta(t, 0, cmplx.Abs(v*complex(float64(size), 0)-y[j]), 1e-11)
		}
	}
}

func TestAutocovariances(t *testing.T) {
	for _, shape := range []struct{ rows, n int }{{1, 2}, {2, 3}, {3, 100}, {4, 128}, {5, 129}} {
		x := ar1(shape.rows, shape.n, .5)
		acov := newAutocov(shape.n).of(x)
		for lag := range shape.n {
			want := 0.0
			for r := range shape.rows {
				row := x[r*shape.n : (r+1)*shape.n]
				m := mean(row)
				for i := range shape.n - lag {
					want += (row[i] - m) * (row[i+lag] - m) / float64(len(x))
				}
			}
			require.InDelta(t, want, acov.at(lag), 1e-14, "%v, lag %d", shape, lag)
		}
	}
}
