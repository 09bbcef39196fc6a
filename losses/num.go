package losses

import "math"

// grow returns a buffer of n elements, reusing buf where it is large enough. Its content is unspecified.
func grow[T any](buf []T, n int) []T {
	if cap(buf) < n {
		return make([]T, n)
	}
	return buf[:n]
}

// mean is the float64 mean of float32 values; NaN for none.
func mean(x []float32) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v)
	}
	return sum / float64(len(x))
}

// meanSquare is the float64 mean of squares.
func meanSquare(x []float32) float64 { return dot(x, x) / float64(len(x)) }

// dot is ⟨a, b⟩ in float64, with four sums so that additions need not wait for each other.
func dot(a, b []float32) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(a[i]) * float64(b[i])
		s1 += float64(a[i+1]) * float64(b[i+1])
		s2 += float64(a[i+2]) * float64(b[i+2])
		s3 += float64(a[i+3]) * float64(b[i+3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i]) * float64(b[i])
	}
	return (s0 + s1) + (s2 + s3)
}

// fill sets every element to v.
func fill(x []float32, v float64) {
	f := float32(v)
	for i := range x {
		x[i] = f
	}
}

// scaled sets dst = s·src.
func scaled(dst, src []float32, s float64) {
	f := float32(s)
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = f * v
	}
}

// softplus is log(1 + eˣ) without overflow; −log σ(h) = softplus(−h).
func softplus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// sigmoid is 1/(1 + e⁻ˣ) without overflow.
func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func finiteRow(x []float32) bool {
	for _, v := range x {
		if !finite(float64(v)) {
			return false
		}
	}
	return true
}
