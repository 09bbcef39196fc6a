package data

import "math"

// NearestMoon returns which of the two moons of two-moons is nearer to (x, y),
// 0 for the upper one, (cos θ, sin θ), and 1 for the lower one,
// (1 − cos θ, ½ − sin θ), and the distance to it.
func NearestMoon(x, y float64) (moon int, distance float64) {
	upper := toHalfCircle(x, y)
	lower := toHalfCircle(1-x, 0.5-y) // the lower moon is the upper one turned about (½, ¼)
	if lower < upper {
		return 1, lower
	}
	return 0, upper
}

// toHalfCircle is the distance to the upper half of the unit circle.
func toHalfCircle(x, y float64) float64 {
	if y >= 0 {
		return math.Abs(math.Hypot(x, y) - 1)
	}
	return math.Hypot(math.Abs(x)-1, y) // the nearer end, (±1, 0)
}

// MoonShares returns the share of points x [n, 2] nearest to each moon; zeros
// for no points.
func MoonShares(x []float32) [2]float64 {
	var shares [2]float64
	n := len(x) / 2
	for i := range n {
		moon, _ := NearestMoon(float64(x[2*i]), float64(x[2*i+1]))
		shares[moon] += 1 / float64(n)
	}
	return shares
}
