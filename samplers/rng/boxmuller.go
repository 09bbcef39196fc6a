package rng

import "math"

// Coefficients of the float32 polynomials, lowest degree first, fitted at Chebyshev nodes.
const (
	// −2 ln(1+f)/f ≈ −2 + f(l0 + l1 f + … + l7 f⁷) for 1+f in [√½, √2]; relative error 6e-8.
	ln0 float32 = 0.99999994
	ln1 float32 = -0.666673422
	ln2 float32 = 0.500022948
	ln3 float32 = -0.399441004
	ln4 float32 = 0.331769764
	ln5 float32 = -0.296695739
	ln6 float32 = 0.283192933
	ln7 float32 = -0.175745308

	// sin(πx/4)/x ≈ s0 + s1 x² + s2 x⁴ + s3 x⁶ for |x| ≤ 1; relative error 4e-8.
	sin0 float32 = 0.785398185
	sin1 float32 = -0.0807454363
	sin2 float32 = 0.00249000685
	sin3 float32 = -3.59542901e-05

	// cos(πx/4) ≈ 1 + x²(c0 + c1 x² + c2 x⁴ + c3 x⁶) for |x| ≤ 1; relative error 1e-8.
	cos0 float32 = -0.308425128
	cos1 float32 = 0.0158543382
	cos2 float32 = -0.000325961388
	cos3 float32 = 3.54195276e-06

	minusTwoLn2 float32 = -2 * math.Ln2

	sqrtHalfBits = 0x3f3504f3 // float32 bits of √½
	fractionBits = 0x007fffff
	// Subtracted from the bits of 2³¹u it leaves the exponent of u above bit 23, for u/2^exponent in
	// [√½, √2), and below it the distance of the mantissa from √½.
	exponentBias = sqrtHalfBits + 31<<23
)

// radius is √(−2 ln u) for u = (⌊a/2⌋+½)·2⁻³¹. Every product is rounded before it is added, here and
// below: float32(·) forbids the compiler to fuse.
func radius(a uint32) float32 {
	v := float32(int32(a>>1)) + 0.5
	i := int32(math.Float32bits(v)) - exponentBias
	e := float32(i >> 23)
	f := math.Float32frombits(uint32(i)&fractionBits+sqrtHalfBits) - 1

	q := float32(ln7*f) + ln6
	q = float32(q*f) + ln5
	q = float32(q*f) + ln4
	q = float32(q*f) + ln3
	q = float32(q*f) + ln2
	q = float32(q*f) + ln1
	q = float32(q*f) + ln0
	q = float32(q*f) - 2
	t := float32(q*f) + float32(e*minusTwoLn2)
	return float32(math.Sqrt(float64(t)))
}

// direction is the unit vector that b stands for. Bits 0 to 29, as a signed fraction x of a quarter
// turn's half, give (cos, sin) of πx/4; bit 30 negates the cosine and bit 31 exchanges the two, which
// takes that quarter of the circle to any of the four.
func direction(b uint32) (c, s float32) {
	x := float32(int32(b<<2)) * 0x1p-31
	z := x * x

	s = float32(sin3*z) + sin2
	s = float32(s*z) + sin1
	s = float32(s*z) + sin0
	s *= x

	c = float32(cos3*z) + cos2
	c = float32(c*z) + cos1
	c = float32(c*z) + cos0
	c = float32(c*z) + 1

	cosine, sine := math.Float32bits(c)^b<<1&(1<<31), math.Float32bits(s)
	swap := (cosine ^ sine) & uint32(int32(b)>>31) // a branch here would be mispredicted half the time
	return math.Float32frombits(cosine ^ swap), math.Float32frombits(sine ^ swap)
}

// boxMuller turns two words into two normals.
func boxMuller(a, b uint32) (z0, z1 float32) {
	r := radius(a)
	c, s := direction(b)
	return r * c, r * s
}
