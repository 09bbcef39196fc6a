package diag

// autocov computes autocovariances of rows of n values by FFT.
type autocov struct {
	n     int
	plans []*fft // of growing size; the last one reaches all lags
	z     []complex128
	power []float64
	means []float64
}

func newAutocov(n int) *autocov {
	all := powerOfTwo(2 * n)
	a := &autocov{n: n, z: make([]complex128, all), power: make([]float64, all)}
	// Chains that mix need few lags, and those may take half of the length.
	if some := powerOfTwo(n + n/8); some < all {
		a.plans = append(a.plans, newFFT(some))
	}
	a.plans = append(a.plans, newFFT(all))
	return a
}

// covariances are those of some rows at the lags below their number.
type covariances struct {
	a     *autocov
	rows  []float64
	plan  int
	means []float64 // of the rows
	acov  []complex128
}

// of prepares the autocovariances (1/n)Σ(xᵢ−x̄)(xᵢ₊ₜ−x̄), averaged over the rows
// [m, n]. They live until the next call.
func (a *autocov) of(rows []float64) *covariances {
	a.means = a.means[:0]
	for r := 0; r < len(rows); r += a.n {
		a.means = append(a.means, mean(rows[r:r+a.n]))
	}
	c := &covariances{a: a, rows: rows, means: a.means}
	c.transform()
	return c
}

// at is the autocovariance at a lag below n.
func (c *covariances) at(lag int) float64 {
	if lag >= len(c.acov) {
		c.plan++
		c.transform()
	}
	return real(c.acov[lag])
}

// transform finds the lags that the plan reaches.
//
// Two rows share one complex transform: with z = a + ib, the real part of the
// inverse transform of |Z|² is the sum of both autocorrelations, as their cross
// terms are odd in the frequency. Power is additive, so one inverse serves all.
func (c *covariances) transform() {
	a, f := c.a, c.a.plans[c.plan]
	z, power := a.z[:f.size], a.power[:f.size]
	clear(power)
	for r := 0; r < len(c.means); r += 2 {
		c.load(z, r)
		f.forward(z)
		for i, v := range z {
			power[i] += real(v)*real(v) + imag(v)*imag(v)
		}
	}
	for i, p := range power {
		z[i] = complex(p, 0)
	}
	f.backward(z)
	// A sequence of n padded to size wraps around at lags above size−n.
	c.acov = z[:min(a.n, f.size-a.n+1)]
	scale := 1 / (float64(f.size) * float64(len(c.rows)))
	for i, v := range c.acov {
		c.acov[i] = complex(real(v)*scale, 0)
	}
}

// load sets z to row r less its mean, plus i times the next one, then zeros.
func (c *covariances) load(z []complex128, r int) {
	n := c.a.n
	first, m := c.rows[r*n:(r+1)*n], c.means[r]
	if r+1 < len(c.means) {
		second, m2 := c.rows[(r+1)*n:(r+2)*n], c.means[r+1]
		for i, v := range first {
			z[i] = complex(v-m, second[i]-m2)
		}
	} else {
		for i, v := range first {
			z[i] = complex(v-m, 0)
		}
	}
	clear(z[n:])
}

// mean is taken about the first value, so that it is exact for a constant. It is
// NaN if one is infinite.
func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v - x[0]
	}
	return x[0] + sum/float64(len(x))
}

// variance is Σ(x−x̄)²/(n−1).
func variance(x []float64) float64 {
	m, sum := mean(x), 0.0
	for _, v := range x {
		sum += (v - m) * (v - m)
	}
	return sum / float64(len(x)-1)
}
