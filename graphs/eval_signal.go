package graphs

import (
	"fmt"
	"math"
	"slices"
)

var signalKernels = kernelTable{
	"DFT":             {1, evalDFT},
	"STFT":            {2, evalSTFT},
	"HannWindow":      {1, cosineWindow(0.5, 0.5, 0)},
	"HammingWindow":   {1, cosineWindow(25.0/46, 21.0/46, 0)},
	"BlackmanWindow":  {1, cosineWindow(0.42, 0.5, 0.08)},
	"MelWeightMatrix": {5, evalMelWeightMatrix},
}

func init() { register(signalKernels) }

// twiddles returns e^(±2πi·k/n) for k < n.
func twiddles(n int, inverse bool) []complex128 {
	sign := -1.0
	if inverse {
		sign = 1
	}
	w := make([]complex128, n)
	for k := range w {
		s, c := math.Sincos(2 * math.Pi * float64(k) / float64(n))
		w[k] = complex(c, sign*s)
	}
	return w
}

// dft writes Σ_t x[t]·w[k·t] for the first len(y) frequencies; x is zero beyond its end and cut at the length of w.
func dft(y, x, w []complex128) {
	n := len(w)
	for k := range y {
		s, at := complex(0, 0), 0
		for t := range min(len(x), n) {
			s += x[t] * w[at]
			if at += k; at >= n {
				at -= n
			}
		}
		y[k] = s
	}
}

// evalDFT transforms along an axis of a signal whose last axis holds real, or real and imaginary parts (DFT-20).
func evalDFT(c *call) ([]*Array, error) {
	x := c.in[0]
	if err := needFloat(x); err != nil {
		return nil, err
	}
	r := len(x.Dims)
	if r < 2 || x.Dims[r-1] != 1 && x.Dims[r-1] != 2 {
		return nil, fmt.Errorf("dims %v do not end in 1 (real) or 2 (complex)", x.Dims)
	}
	axis, err := c.scalarInt(2, -2)
	if err != nil {
		return nil, err
	}
	if axis, err = axisOf(axis, r); err != nil || axis == r-1 {
		return nil, fmt.Errorf("axis %d of dims %v is no signal axis", axis, x.Dims)
	}
	inverse, oneSided := c.Int("inverse", 0) != 0, c.Int("onesided", 0) != 0
	outer, d, inner := around(x.Dims[:r-1], axis)
	n := d
	if inverse && oneSided {
		n = 2 * (d - 1)
	}
	if n, err = c.scalarInt(1, n); err != nil {
		return nil, err
	}
	if n <= 0 || n > maxElements {
		return nil, fmt.Errorf("transform of length %d", n)
	}
	parts := x.Dims[r-1]
	bins, outParts := n, 2
	switch {
	case oneSided && inverse:
		outParts = 1
	case oneSided:
		bins = n/2 + 1
	}
	dims := slices.Clone(x.Dims)
	dims[axis], dims[r-1] = bins, outParts
	out, err := newArray(x.DType, dims)
	if err != nil {
		return nil, err
	}
	w := twiddles(n, inverse)
	scale := 1.0
	if inverse {
		scale = 1 / float64(n)
	}
	in := make([]complex128, d, max(d, n))
	y := make([]complex128, bins)
	for p := range outer {
		for q := range inner {
			for t := range d {
				at := ((p*d+t)*inner + q) * parts
				in[t] = complex(x.F[at], 0)
				if parts == 2 {
					in[t] = complex(x.F[at], x.F[at+1])
				}
			}
			signal := in
			if inverse && oneSided {
				signal = hermitian(in, n)
			}
			dft(y, signal, w)
			for k, v := range y {
				at := ((p*bins+k)*inner + q) * outParts
				out.F[at] = real(v) * scale
				if outParts == 2 {
					out.F[at+1] = imag(v) * scale
				}
			}
		}
	}
	return []*Array{out}, nil
}

// hermitian completes a one-sided spectrum to n bins.
func hermitian(half []complex128, n int) []complex128 {
	full := make([]complex128, n)
	copy(full, half)
	for k := n/2 + 1; k < n; k++ {
		full[k] = 0
		if n-k < len(half) {
			full[k] = complex(real(half[n-k]), -imag(half[n-k]))
		}
	}
	return full
}

// evalSTFT transforms windowed frames of a signal [B, L, 1 or 2] to [B, frames, bins, 2].
func evalSTFT(c *call) ([]*Array, error) {
	x, window := c.in[0], c.arg(2)
	if err := needFloat(x, nil, window); err != nil {
		return nil, err
	}
	if len(x.Dims) != 3 || x.Dims[2] != 1 && x.Dims[2] != 2 {
		return nil, fmt.Errorf("signal of dims %v", x.Dims)
	}
	batch, length, parts := x.Dims[0], x.Dims[1], x.Dims[2]
	step, err := c.scalarInt(1, 0)
	if err != nil {
		return nil, err
	}
	n := length
	if window != nil {
		n = window.Len()
	}
	if n, err = c.scalarInt(3, n); err != nil {
		return nil, err
	}
	if step <= 0 || n <= 0 || n > length || window != nil && window.Len() != n {
		return nil, fmt.Errorf("frames of %d every %d in a signal of %d", n, step, length)
	}
	bins := n
	if c.Int("onesided", 1) != 0 {
		bins = n/2 + 1
	}
	frames := (length-n)/step + 1
	out, err := newArray(x.DType, []int{batch, frames, bins, 2})
	if err != nil {
		return nil, err
	}
	w := twiddles(n, false)
	in, y := make([]complex128, n), make([]complex128, bins)
	for i := range batch * frames {
		start := i/frames*length + i%frames*step
		for t := range n {
			v := complex(x.F[(start+t)*parts], 0)
			if parts == 2 {
				v = complex(x.F[(start+t)*2], x.F[(start+t)*2+1])
			}
			if window != nil {
				v *= complex(window.F[t], 0)
			}
			in[t] = v
		}
		dft(y, in, w)
		for k, v := range y {
			out.F[(i*bins+k)*2], out.F[(i*bins+k)*2+1] = real(v), imag(v)
		}
	}
	return []*Array{out}, nil
}

// cosineWindow is a0 − a1·cos(2πt/N) + a2·cos(4πt/N), N the size of a periodic window and one less of a symmetric one.
func cosineWindow(a0, a1, a2 float64) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		size, err := c.scalarInt(0, 0)
		if err != nil {
			return nil, err
		}
		out, err := newArray(Float64, []int{size})
		if err != nil {
			return nil, err
		}
		n := float64(size)
		if c.Int("periodic", 1) == 0 {
			n--
		}
		for t := range out.F {
			phase := 2 * math.Pi * float64(t) / n
			out.F[t] = a0 - a1*math.Cos(phase) + a2*math.Cos(2*phase)
		}
		return one(cast(out, DType(c.Int("output_datatype", int64(Float32)))))
	}
}

// evalMelWeightMatrix has triangular filters between frequencies that are even on the mel scale 2595·log₁₀(1 + f/700).
func evalMelWeightMatrix(c *call) ([]*Array, error) {
	var v [5]float64
	for i := range v {
		var err error
		if v[i], err = c.scalarFloat(i, 0); err != nil {
			return nil, err
		}
	}
	mels, length, rate := int(v[0]), int(v[1]), v[2]
	if mels <= 0 || length <= 0 || rate <= 0 {
		return nil, fmt.Errorf("%d mel bins, length %d, sample rate %g", mels, length, rate)
	}
	rows := length/2 + 1
	out, err := newArray(Float64, []int{rows, mels})
	if err != nil {
		return nil, err
	}
	toMel := func(f float64) float64 { return 2595 * math.Log10(1+f/700) }
	low, high := toMel(v[3]), toMel(v[4])
	edges := make([]int, mels+2)
	for i := range edges {
		mel := low + float64(i)*(high-low)/float64(mels+2)
		f := 700 * (math.Pow(10, mel/2595) - 1)
		edges[i] = int(math.Floor(float64(length+1) * f / rate))
	}
	for m := range mels {
		lo, mid, hi := edges[m], edges[m+1], edges[m+2]
		if lo < 0 || hi > rows {
			return nil, fmt.Errorf("filter from bin %d to %d of %d", lo, hi, rows)
		}
		if lo == mid && mid < rows {
			out.F[mid*mels+m] = 1
		}
		for k := lo; k <= mid && lo != mid && k < rows; k++ {
			out.F[k*mels+m] = float64(k-lo) / float64(mid-lo)
		}
		for k := mid; k < hi; k++ {
			out.F[k*mels+m] = float64(hi-k) / float64(hi-mid)
		}
	}
	return one(cast(out, DType(c.Int("output_datatype", int64(Float32)))))
}
