package diag

import (
	"math"
	"math/bits"
)

// fft transforms sequences whose length is a power of 2, without ever putting
// frequencies in order: forward leaves them bit-reversed, backward takes them so.
// Power spectra need no more, and it saves two permutations.
type fft struct {
	size   int
	stages [][][3]complex128 // wᵏ, w²ᵏ, w³ᵏ with w = exp(−2πi/m) for k < m/4; m = size, size/4, …
}

func newFFT(size int) *fft {
	f := &fft{size: size}
	for m := size; m >= 4; m /= 4 {
		stage := make([][3]complex128, m/4)
		for k := range stage {
			for p := range 3 {
				sin, cos := math.Sincos(-2 * math.Pi * float64((p+1)*k) / float64(m))
				stage[k][p] = complex(cos, sin)
			}
		}
		f.stages = append(f.stages, stage)
	}
	return f
}

// powerOfTwo is the smallest power of 2 from n on.
func powerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }

// forward replaces x by Σⱼ xⱼ exp(−2πijk/size) in bit-reversed order of k:
// decimation in frequency, two radix-2 stages at a time.
func (f *fft) forward(x []complex128) {
	m := f.size
	for _, w := range f.stages {
		q := m / 4
		for block := 0; block < f.size; block += m {
			a, b := x[block:block+q], x[block+q:block+2*q]
			c, d := x[block+2*q:block+3*q], x[block+3*q:block+4*q]
			for k := range w {
				s0, s1 := a[k]+c[k], b[k]+d[k]
				d0, d1 := a[k]-c[k], b[k]-d[k]
				d1 = complex(imag(d1), -real(d1)) // −i·d1
				a[k], b[k] = s0+s1, (s0-s1)*w[k][1]
				c[k], d[k] = (d0+d1)*w[k][0], (d0-d1)*w[k][2]
			}
		}
		m = q
	}
	if m == 2 {
		pairwise(x)
	}
}

// backward is the inverse of forward, times size.
func (f *fft) backward(x []complex128) {
	m := 1
	if len(f.stages)*2 < bits.Len(uint(f.size))-1 {
		pairwise(x)
		m = 2
	}
	for i := len(f.stages) - 1; i >= 0; i-- {
		w, q := f.stages[i], m
		m *= 4
		for block := 0; block < f.size; block += m {
			a, b := x[block:block+q], x[block+q:block+2*q]
			c, d := x[block+2*q:block+3*q], x[block+3*q:block+4*q]
			for k := range w {
				b1, c1, d1 := b[k]*conj(w[k][1]), c[k]*conj(w[k][0]), d[k]*conj(w[k][2])
				s0, s1 := a[k]+b1, a[k]-b1
				t0, t1 := c1+d1, c1-d1
				t1 = complex(-imag(t1), real(t1)) // i·t1
				a[k], c[k] = s0+t0, s0-t0
				b[k], d[k] = s1+t1, s1-t1
			}
		}
	}
}

func pairwise(x []complex128) {
	for i := 0; i+1 < len(x); i += 2 {
		x[i], x[i+1] = x[i]+x[i+1], x[i]-x[i+1]
	}
}

func conj(z complex128) complex128 { return complex(real(z), -imag(z)) }
