package diag

import (
	"math/bits"

	"gonum.org/v1/gonum/dsp/fourier"
)

// autocov computes autocovariances of rows of one length by FFT.
type autocov struct {
	n     int // length of a row
	fft   *fourier.CmplxFFT
	z     []complex128
	power []complex128
	means []float64
}

func newAutocov(n int) *autocov {
	m := fastLength(2 * n)
	return &autocov{n: n, fft: fourier.NewCmplxFFT(m), z: make([]complex128, m), power: make([]complex128, m)}
}

// fastLength is the smallest length from n on with no prime factor above 5.
func fastLength(n int) int {
	best := 1 << bits.Len(uint(n-1))
	for five := 1; five < best; five *= 5 {
		for m := five; m < best; m *= 3 {
			twos := m
			for twos < n {
				twos *= 2
			}
			best = min(best, twos)
		}
	}
	return best
}

// mean returns the autocovariances (1/n)Σ(xᵢ−x̄)(xᵢ₊ₜ−x̄), averaged over the rows
// of x, at lags 0 … n−1 as real parts of a slice that lives until the next call,
// and the rows' means x̄.
//
// Two rows share one complex transform: with z = a + ib, the real part of the
// inverse transform of |Z|² is the sum of both autocorrelations, as their cross
// terms are odd in the frequency. Power is additive, so one inverse serves all.
func (a *autocov) mean(x []float64) (acov []complex128, means []float64) {
	rows := len(x) / a.n
	a.means = a.means[:0]
	for r := range rows {
		a.means = append(a.means, mean(x[r*a.n:(r+1)*a.n]))
	}
	clear(a.power)
	for r := 0; r < rows; r += 2 {
		clear(a.z[a.n:])
		first := x[r*a.n : (r+1)*a.n]
		if r+1 == rows {
			for i, v := range first {
				a.z[i] = complex(v-a.means[r], 0)
			}
		} else {
			second := x[(r+1)*a.n : (r+2)*a.n]
			for i, v := range first {
				a.z[i] = complex(v-a.means[r], second[i]-a.means[r+1])
			}
		}
		a.fft.Coefficients(a.z, a.z)
		for i, v := range a.z {
			a.power[i] += complex(real(v)*real(v)+imag(v)*imag(v), 0)
		}
	}
	// The transform of something real and even is its own inverse but for scale.
	a.fft.Coefficients(a.z, a.power)
	scale := complex(1/(float64(len(a.z))*float64(a.n)*float64(rows)), 0)
	for i := range a.n {
		a.z[i] *= scale
	}
	return a.z[:a.n], a.means
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// variance is Σ(x−x̄)²/(n−1).
func variance(x []float64) float64 {
	m, sum := mean(x), 0.0
	for _, v := range x {
		sum += (v - m) * (v - m)
	}
	return sum / float64(len(x)-1)
}
