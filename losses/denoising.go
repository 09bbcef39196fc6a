package losses

import (
	"context"
	"fmt"
	"strconv"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Weight is the weight of each σ in denoising score matching.
type Weight int

// WeightAuto is WeightOne for a single σ and WeightSigma2 for several; WeightSigma2 is σ², which makes the terms equal in size.
const (
	WeightAuto Weight = iota
	WeightOne
	WeightSigma2
)

// DenoisingScoreMatching is the mean over σ of w(σ)·½ mean‖∇E(x + σε) − ε/σ‖², ε ~ N(0, I) (Vincent 2011, eq. 9 with ψ = −∇E;
// Song and Ermon 2019, eq. 5 and 6). Its optimum is the energy of the data blurred by N(0, σ²I).
type DenoisingScoreMatching struct {
	Penalty
	Sigmas []float64 // empty means 0.1
	Labels []string  // names of the σ in terms (loss_sigma_LABEL); empty: shortest decimal form
	Weight Weight

	query    [1]Query
	eps      []float32 // noise used: [N·D] shared by all σ, or [S·N·D]
	drawn    []float32
	x, g     []float32
	ct       [1]Values
	terms    []Term
	termName []string
}

var defaultSigmas = []float64{0.1}

// Name is "dsm".
func (*DenoisingScoreMatching) Name() string { return "dsm" }

// NeedsSecondOrder is false.
func (*DenoisingScoreMatching) NeedsSecondOrder() bool { return false }

func (l *DenoisingScoreMatching) sigmas() []float64 {
	if len(l.Sigmas) == 0 {
		return defaultSigmas
	}
	return l.Sigmas
}

func (l *DenoisingScoreMatching) weight(sigma float64) float64 {
	if l.Weight == WeightSigma2 || l.Weight == WeightAuto && len(l.sigmas()) > 1 {
		return sigma * sigma
	}
	return 1
}

// Plan asks for ∇E at x + σε, all σ as one query of S·N rows. A given noise of [N·D] serves every σ.
func (l *DenoisingScoreMatching) Plan(_ context.Context, b Batch, k rng.Key) ([]Query, error) {
	if err := b.check(l.Name()); err != nil {
		return nil, err
	}
	sigmas, size := l.sigmas(), len(b.X)
	for _, s := range sigmas {
		if !(s > 0) || !finite(s) {
			return nil, fmt.Errorf("losses: dsm: σ = %g: give a positive number", s)
		}
	}
	l.eps = b.Noise
	switch {
	case l.eps == nil:
		l.drawn = grow(l.drawn, len(sigmas)*size)
		k.Sub("noise").Normals(l.drawn, 0, 0)
		l.eps = l.drawn
	case len(l.eps) != size && len(l.eps) != len(sigmas)*size:
		return nil, fmt.Errorf("losses: dsm: the noise holds %d values, expected %d·%d, or %d times that, one for each σ", len(l.eps), b.N, b.Dim, len(sigmas))
	}
	l.x = grow(l.x, len(sigmas)*size)
	for s, sigma := range sigmas {
		eps, x, f := l.noise(s, size), l.x[s*size:(s+1)*size], float32(sigma)
		for i, v := range b.X {
			x[i] = v + f*eps[i]
		}
	}
	l.query[0] = Query{N: len(sigmas) * b.N, X: l.x, Want: WantGradient}
	return l.query[:], nil
}

// noise is the ε of the s-th σ.
func (l *DenoisingScoreMatching) noise(s, size int) []float32 {
	if len(l.eps) == size {
		return l.eps
	}
	return l.eps[s*size : (s+1)*size]
}

// Value gives the weighted mean, and each σ's own ½ mean‖r‖² as loss_sigma_S; ḡ = w·r/(S·N), r = ∇E(x + σε) − ε/σ.
func (l *DenoisingScoreMatching) Value(q []Query, v []Values) (Result, error) {
	if err := answered(l.Name(), q, v, 1); err != nil {
		return Result{}, err
	}
	sigmas := l.sigmas()
	size, n := len(q[0].X)/len(sigmas), q[0].N/len(sigmas)
	l.g = grow(l.g, len(q[0].X))
	l.name(sigmas)
	var loss float64
	for s, sigma := range sigmas {
		span := func(x []float32) []float32 { return x[s*size : (s+1)*size] }
		w := l.weight(sigma)
		sum := residual(span(l.g), span(v[0].G), l.noise(s, size), 1/sigma, w/float64(len(sigmas)*n))
		l.terms[s] = Term{l.termName[s], sum / float64(2*n)}
		loss += w * l.terms[s].Value / float64(len(sigmas))
	}
	l.ct[0] = Values{G: l.g}
	return Result{Loss: loss, Terms: l.terms, Cotangents: l.ct[:]}, nil
}

// residual gives Σ r² for r = g − inverse·eps, and sets dg = scale·r.
func residual(dg, g, eps []float32, inverse, scale float64) float64 {
	var sum float64
	dg, eps = dg[:len(g)], eps[:len(g)]
	for i, v := range g {
		r := float64(v) - inverse*float64(eps[i])
		sum += r * r
		dg[i] = float32(scale * r)
	}
	return sum
}

// name makes the terms' names, once for each number of σ.
func (l *DenoisingScoreMatching) name(sigmas []float64) {
	if len(l.termName) == len(sigmas) {
		return
	}
	l.terms, l.termName = make([]Term, len(sigmas)), make([]string, len(sigmas))
	for i, s := range sigmas {
		label := strconv.FormatFloat(s, 'g', -1, 64)
		if i < len(l.Labels) {
			label = l.Labels[i]
		}
		l.termName[i] = "loss_sigma_" + label
	}
}
