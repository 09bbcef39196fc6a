package optim

import "math"

// ClipNorm scales grads so that their Euclidean norm is at most limit (Pascanu et al. 2013), and returns the norm before, summed in
// float64. Frozen groups do not count and are left alone. A non-finite norm leaves everything as it is: skip that step.
func ClipNorm(grads []float32, limit float64, groups ...Group) float64 {
	var sum float64
	trainable(grads, groups, func(g []float32) { sum += sumOfSquares(g) })
	norm := math.Sqrt(sum)
	if !(norm > limit) || math.IsInf(norm, 0) {
		return norm
	}
	scale := float32(limit / norm)
	trainable(grads, groups, func(g []float32) {
		for i := range g {
			g[i] *= scale
		}
	})
	return norm
}

// sumOfSquares adds in four strands, so that additions need not wait for each other.
func sumOfSquares(g []float32) float64 {
	var s [4]float64
	for ; len(g) >= 4; g = g[4:] {
		a, b, c, d := float64(g[0]), float64(g[1]), float64(g[2]), float64(g[3])
		s[0], s[1], s[2], s[3] = s[0]+a*a, s[1]+b*b, s[2]+c*c, s[3]+d*d
	}
	for i, v := range g {
		s[i] += float64(v) * float64(v)
	}
	return s[0] + s[1] + s[2] + s[3]
}

// ClipValue bounds every gradient to [−limit, limit]; NaN stays NaN.
func ClipValue(grads []float32, limit float64) {
	bound := float32(limit)
	for i, v := range grads {
		grads[i] = min(max(v, -bound), bound)
	}
}

// trainable calls f with the stretches of grads that no group freezes. Groups rise.
func trainable(grads []float32, groups []Group, f func([]float32)) {
	from := 0
	for _, group := range groups {
		if group.Frozen {
			f(grads[from:group.From])
			from = group.To
		}
	}
	f(grads[from:])
}
