package samplers

import (
	"fmt"
	"math"
)

// metric is a constant mass matrix M, held by its inverse: diagonal (inv), dense
// (cov = M⁻¹ = LLᵀ), or the identity when both are nil. Momenta are N(0, M),
// velocities M⁻¹p.
type metric struct {
	dim  int
	inv  []float32 // diagonal of M⁻¹ [D]
	root []float32 // √ of the diagonal of M [D]
	cov  []float64 // M⁻¹ [D·D]
	chol []float64 // L [D·D], lower
}

func identityMetric(dim int) metric { return metric{dim: dim} }

// setDiagonal makes M⁻¹ = diag(inv).
func (m *metric) setDiagonal(inv []float32) {
	m.cov, m.chol = nil, nil
	m.inv = inv
	m.root = sized(m.root, len(inv))
	for i, v := range inv {
		m.root[i] = float32(1 / math.Sqrt(float64(v)))
	}
}

// setDense makes M⁻¹ = cov, symmetric and positive definite.
func (m *metric) setDense(cov []float64) error {
	l := cholesky(cov, m.dim)
	if l == nil {
		return fmt.Errorf("samplers: the inverse mass matrix is not positive definite")
	}
	m.inv, m.root, m.cov, m.chol = nil, nil, cov, l
	return nil
}

// massMetric is the metric of a given mass: the diagonal of M [D], or M [D·D].
func massMetric(mass []float32, dim int) (metric, error) {
	m := identityMetric(dim)
	switch len(mass) {
	case 0:
		return m, nil
	case dim:
		inv := make([]float32, dim)
		for i, v := range mass {
			if !(v > 0) || !isFinite(v) || !isFinite(1/v) {
				return m, fmt.Errorf("samplers: mass %d is %v; masses are positive", i, v)
			}
			inv[i] = 1 / v
		}
		m.setDiagonal(inv)
		return m, nil
	case dim * dim:
		inv := inverse(mass, dim)
		if inv == nil {
			return m, fmt.Errorf("samplers: the mass matrix is not symmetric and positive definite")
		}
		return m, m.setDense(inv)
	}
	return m, fmt.Errorf("samplers: %d masses for dimension %d; give %d (a diagonal) or %d (a matrix)", len(mass), dim, dim, dim*dim)
}

// momentum turns standard normals z into p ~ N(0, M), in place: M = L⁻ᵀL⁻¹, so
// p solves Lᵀp = z.
func (m *metric) momentum(z []float32) {
	switch {
	case m.chol != nil:
		d := m.dim
		for i := d - 1; i >= 0; i-- {
			v := float64(z[i])
			for j := i + 1; j < d; j++ {
				v -= m.chol[j*d+i] * float64(z[j])
			}
			z[i] = float32(v / m.chol[i*d+i])
		}
	case m.inv != nil:
		for i, r := range m.root {
			z[i] *= r
		}
	}
}

// velocity is v ← M⁻¹p.
func (m *metric) velocity(v, p []float32) {
	switch {
	case m.cov != nil:
		for i := range v {
			sum := 0.0
			for j, c := range m.cov[i*m.dim : (i+1)*m.dim] {
				sum += c * float64(p[j])
			}
			v[i] = float32(sum)
		}
	case m.inv != nil:
		inv := m.inv[:len(v)]
		p = p[:len(v)]
		for i := range v {
			v[i] = inv[i] * p[i]
		}
	default:
		copy(v, p)
	}
}

// drift is x ← x + h·M⁻¹p; v is scratch [D].
func (m *metric) drift(x, p, v []float32, h float32) {
	if m.inv == nil && m.cov == nil {
		drift(x, p, h)
		return
	}
	m.velocity(v, p)
	drift(x, v, h)
}

// kickDrift is p ← p − h·g, then x ← x + ε·M⁻¹p, in one pass over memory where M
// is diagonal; v is scratch [D].
func (m *metric) kickDrift(x, p, g, v []float32, h, eps float32) {
	p, g = p[:len(x)], g[:len(x)]
	switch {
	case m.cov != nil:
		kick(p, g, h)
		m.drift(x, p, v, eps)
	case m.inv != nil:
		inv := m.inv[:len(x)]
		for i := kickDriftWide(x, p, g, inv, h, eps); i < len(x); i++ {
			q := p[i] - float32(h*g[i])
			p[i] = q
			x[i] += float32(eps * float32(inv[i]*q))
		}
	default:
		for i := kickDriftWide(x, p, g, nil, h, eps); i < len(x); i++ {
			q := p[i] - float32(h*g[i])
			p[i] = q
			x[i] += float32(eps * q)
		}
	}
}

// kinetic is ½pᵀM⁻¹p; v is scratch [D].
func (m *metric) kinetic(p, v []float32) float64 {
	switch {
	case m.cov != nil:
		m.velocity(v, p)
		return dot(p, v) / 2
	case m.inv != nil:
		inv := m.inv[:len(p)]
		sum := 0.0
		for i, q := range p {
			sum += float64(q) * float64(q) * float64(inv[i])
		}
		return sum / 2
	}
	return dot(p, p) / 2
}

// dot is a·b in float64, in four sums that do not wait for each other.
func dot(a, b []float32) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	for len(a) >= 4 && len(b) >= 4 {
		s0 += float64(a[0]) * float64(b[0])
		s1 += float64(a[1]) * float64(b[1])
		s2 += float64(a[2]) * float64(b[2])
		s3 += float64(a[3]) * float64(b[3])
		a, b = a[4:], b[4:]
	}
	for i, v := range a {
		s0 += float64(v) * float64(b[i])
	}
	return s0 + s1 + (s2 + s3)
}

// cholesky is the lower L of a = LLᵀ [d·d], or nil.
func cholesky(a []float64, d int) []float64 {
	l := make([]float64, d*d)
	for i := range d {
		for j := 0; j <= i; j++ {
			v := a[i*d+j]
			for k := range j {
				v -= l[i*d+k] * l[j*d+k]
			}
			if i != j {
				l[i*d+j] = v / l[j*d+j]
				continue
			}
			if !(v > 0) || math.IsInf(v, 0) {
				return nil
			}
			l[i*d+i] = math.Sqrt(v)
		}
	}
	return l
}

// inverse is a⁻¹ of a symmetric positive definite a [d·d], or nil.
func inverse(a []float32, d int) []float64 {
	w := make([]float64, d*d)
	for i := range d {
		for j := range d {
			w[i*d+j] = float64(a[i*d+j])
			if math.Abs(w[i*d+j]-float64(a[j*d+i])) > 1e-5*math.Sqrt(math.Abs(float64(a[i*d+i])*float64(a[j*d+j]))) {
				return nil
			}
		}
	}
	l := cholesky(w, d)
	if l == nil {
		return nil
	}
	// Column by column: Ly = e_c, Lᵀx = y.
	for c := range d {
		x := make([]float64, d)
		for i := range d {
			if i == c {
				x[i] = 1
			}
			for j := range i {
				x[i] -= l[i*d+j] * x[j]
			}
			x[i] /= l[i*d+i]
		}
		for i := d - 1; i >= 0; i-- {
			for j := i + 1; j < d; j++ {
				x[i] -= l[j*d+i] * x[j]
			}
			x[i] /= l[i*d+i]
		}
		for i := range d {
			w[i*d+c] = x[i]
		}
	}
	for i := range d { // symmetric to the last bit
		for j := range i {
			w[i*d+j] = (w[i*d+j] + w[j*d+i]) / 2
			w[j*d+i] = w[i*d+j]
		}
	}
	return w
}
