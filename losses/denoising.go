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
	key      rng.Key
	x, g     []float32
	ct       [1]Values
	part     dsmPart
	sums     []float64
	blurs    func(context.Context, int) error // method values, made once
	compares func(context.Context, int) error
	terms    []Term
	termName []string
}

// dsmPart is what the blocks of one σ share.
type dsmPart struct {
	data, x, eps   []float32
	key            *rng.Key // of noise to draw; nil: it is given
	first          int      // of the noise
	sigma          float32
	dg, g          []float32
	inverse, scale float64
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
	l.part = dsmPart{data: b.X}
	switch {
	case l.eps == nil:
		l.drawn = grow(l.drawn, len(sigmas)*size)
		l.key = k.Sub("noise")
		l.part.key, l.eps = &l.key, l.drawn
	case len(l.eps) != size && len(l.eps) != len(sigmas)*size:
		return nil, fmt.Errorf("losses: dsm: the noise holds %d values, expected %d·%d, or %d times that, one for each σ", len(l.eps), b.N, b.Dim, len(sigmas))
	}
	l.x = grow(l.x, len(sigmas)*size)
	l.methods()
	for s, sigma := range sigmas {
		l.part.x, l.part.eps, l.part.first, l.part.sigma = l.x[s*size:(s+1)*size], l.noise(s, size), s*size, float32(sigma)
		eachBlock(size, l.blurs)
	}
	l.query[0] = Query{N: len(sigmas) * b.N, X: l.x, Want: WantGradient}
	return l.query[:], nil
}

// methods makes the method values, which takes memory.
func (l *DenoisingScoreMatching) methods() {
	if l.blurs == nil {
		l.blurs, l.compares = l.blur, l.compare
	}
}

// blur sets x = data + σε in a block, and draws the noise first where it is to be drawn.
func (l *DenoisingScoreMatching) blur(_ context.Context, i int) error {
	p := &l.part
	lo, hi := blockRange(i, len(p.data))
	data, x, eps := p.data[lo:hi], p.x[lo:hi], p.eps[lo:hi]
	if p.key != nil {
		p.key.Normals(eps, 0, uint64(p.first+lo))
	}
	for j, v := range data {
		x[j] = v + p.sigma*eps[j]
	}
	return nil
}

// compare is residual in a block.
func (l *DenoisingScoreMatching) compare(_ context.Context, i int) error {
	p := &l.part
	lo, hi := blockRange(i, len(p.g))
	l.sums[i] = residual(p.dg[lo:hi], p.g[lo:hi], p.eps[lo:hi], p.inverse, p.scale)
	return nil
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
	l.methods()
	var loss float64
	for s, sigma := range sigmas {
		span := func(x []float32) []float32 { return x[s*size : (s+1)*size] }
		w := l.weight(sigma)
		l.part = dsmPart{dg: span(l.g), g: span(v[0].G), eps: l.noise(s, size), inverse: 1 / sigma, scale: w / float64(len(sigmas)*n)}
		l.sums = grow(l.sums, blocks(size))
		eachBlock(size, l.compares)
		sum := 0.0
		for _, s := range l.sums {
			sum += s
		}
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
