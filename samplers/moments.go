package samplers

import "math"

// Moments are running moments of states and gradients, over draws of all chains.
type Moments struct {
	Count float64
	X, G  Powers
	CoX   []float64 // sums of products of deviations of states [D·D], or nil
}

// Powers are means and the sums of second, third and fourth powers of deviations from them [D] (Welford 1962; Pébay 2008, equation 3.4).
type Powers struct{ Mean, Sum2, Sum3, Sum4 []float64 }

func newPowers(d int) Powers {
	return Powers{make([]float64, d), make([]float64, d), make([]float64, d), make([]float64, d)}
}

func (p Powers) all() [4][]float64 { return [4][]float64{p.Mean, p.Sum2, p.Sum3, p.Sum4} }

func (p Powers) clone() Powers {
	return Powers{clone(p.Mean), clone(p.Sum2), clone(p.Sum3), clone(p.Sum4)}
}

func (p Powers) fits(d int) bool {
	for _, v := range p.all() {
		if len(v) != d {
			return false
		}
	}
	return true
}

// add takes coordinate i of draw n and returns its deviation from the mean before.
func (p Powers) add(i int, n, v float64) float64 {
	dev := v - p.Mean[i]
	part := dev / n
	term := dev * part * (n - 1)
	p.Mean[i] += part
	p.Sum4[i] += term*part*part*(n*n-3*n+3) + 6*part*part*p.Sum2[i] - 4*part*p.Sum3[i]
	p.Sum3[i] += term*part*(n-2) - 3*part*p.Sum2[i]
	p.Sum2[i] += term
	return dev
}

func newMoments(dim int, dense bool) *Moments {
	m := &Moments{X: newPowers(dim), G: newPowers(dim)}
	if dense {
		m.CoX = make([]float64, dim*dim)
	}
	return m
}

func (m *Moments) clone() *Moments {
	if m == nil {
		return nil
	}
	return &Moments{m.Count, m.X.clone(), m.G.clone(), clone(m.CoX)}
}

func (m *Moments) fits(d int) bool {
	return m == nil || m.X.fits(d) && m.G.fits(d) && fits(m.CoX, d*d)
}

func (m *Moments) reset() {
	m.Count = 0
	for _, p := range []Powers{m.X, m.G} {
		for _, v := range p.all() {
			clear(v)
		}
	}
	clear(m.CoX)
}

// add takes one state and its gradient; dev is scratch [D].
func (m *Moments) add(x, g []float32, dev []float64) {
	m.Count++
	for i := range x {
		dev[i] = m.X.add(i, m.Count, float64(x[i]))
		m.G.add(i, m.Count, float64(g[i]))
	}
	if len(m.CoX) == 0 {
		return
	}
	d, shrink := len(x), (m.Count-1)/m.Count
	for i := range d {
		row := m.CoX[i*d : (i+1)*d]
		di := dev[i] * shrink
		for j := range row {
			row[j] += di * dev[j]
		}
	}
}

// diagonal writes M⁻¹ᵢ = (μ₄(xᵢ)/μ₄(∂ᵢE))^¼ into inv, μ₄ the fourth central moment.
//
// For a Gaussian with precision P it is √(Σᵢᵢ/Pᵢᵢ), the geometric mean of the marginal and the conditional variance: of all diagonal scalings the
// one with the least Fisher divergence between the scaled target and N(0, I), which nutpie (Seyboldt et al.) takes from variances. Fourth
// moments agree with them there, and give less weight to a coordinate whose gradient is small in most places and large in some: the
// step size must be stable in those. A coordinate that has not moved keeps its entry.
func (m *Moments) diagonal(inv []float32) {
	for i := range inv {
		v := float32(math.Sqrt(math.Sqrt(m.X.Sum4[i] / m.G.Sum4[i])))
		if v > 1e-20 && v < 1e20 {
			inv[i] = v
		}
	}
}

// dense writes the covariance of the draws into cov, shrunk as Stan does:
// n/(n+5)·Σ + 10⁻³·5/(n+5)·I.
func (m *Moments) dense(cov []float64) {
	d := len(m.X.Mean)
	n := m.Count
	for i := range cov {
		cov[i] = m.CoX[i] / (n - 1) * n / (n + 5)
	}
	for i := range d {
		cov[i*d+i] += 1e-3 * 5 / (n + 5)
	}
}
