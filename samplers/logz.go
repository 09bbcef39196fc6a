package samplers

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// LogZConfig is one estimate of log Z. The zero value is useful.
type LogZConfig struct {
	Method       string // "ais" or "smc"; "": smc
	Chains       int    // N; 0: 16384
	Temperatures int    // K, steps from the base to the target; 0: 6 times what the pilot took (ais: until weights spread little), at least 200
	Leapfrogs    int    // L: proposals of HMC take L ± L/2 leapfrog steps, at random; 0: 5
	Moves        int    // HMC proposals at each temperature; 0: 1

	// The base is a multivariate Student t distribution with three degrees of
	// freedom. Where both are nil, a first pilot goes from one of mean 0 and scale
	// 1 to the target and the base is widened, about 0, to where it arrives;
	// otherwise nil is mean 0 and scale 1. A base that is too narrow misses modes,
	// and nothing tells: choose it wide.
	BaseMean, BaseStd []float64

	Seed uint64
	Key  rng.Key // zero: rng.NewKey(Seed)
	// OnProgress is told of temperatures done, of total.
	OnProgress func(done, total int)
}

// LogZ is an estimate of log ∫exp(−E(x))dx.
type LogZ struct {
	LogZ float64
	MCSE float64 // Monte Carlo standard error of LogZ
	// ESS is the effective number of independent chains in the final weights.
	ESS float64
	// OpenDirections is the share of directions in which exp(−E) has no finite integral far from the base. Where it is not 0, log Z is
	// infinite, strictly, and LogZ that of the mass which chains reach.
	OpenDirections float64
	Betas          []float64 // inverse temperatures, 0 to 1
	X              []float32 // last states [N·D]
	LogW           []float64 // their log weights, up to a constant [N]
	Info           Info      // pilot included
}

// LogZMethods are the names of LogZConfig.Method.
func LogZMethods() []string { return []string{"ais", "smc"} }

// islands is how many independent populations smc divides its chains into;
// their spread is its error estimate.
const islands = 16

// EstimateLogZ estimates log Z by annealed importance sampling (Neal 2001) or by
// sequential Monte Carlo (Del Moral, Doucet & Jasra 2006) along
//
//	E_β(x) = (1−β)·E₀(x) + β·E(x),  β from 0 to 1,
//
// E₀ the base's, by HMC whose steps are halved where the target is stiff. A pilot
// population chooses the β, the step sizes and a diagonal mass for each β; the
// chains of the estimate do not look at each other while moving, so Z itself is
// unbiased. A target that has no Z in half of all directions is an ErrNoIntegral.
//
// AIS averages independent weights; SMC resamples (systematically, where the effective size falls below half) within 16 independent islands and averages
// their Z. MCSE is that of log Z by the delta method. Z is dominated by rare large
// weights where its MCSE exceeds about 0.5: take more temperatures then.
func EstimateLogZ(ctx context.Context, t Target, cfg LogZConfig) (*LogZ, error) {
	p, err := newPath(t, cfg)
	if err != nil {
		return nil, err
	}
	k := cfg.Key
	if k == (rng.Key{}) {
		k = rng.NewKey(cfg.Seed)
	}
	open, err := p.openDirections(ctx, k.Sub("rays"))
	if err != nil {
		return nil, err
	}
	knots, q, err := p.pilot(ctx, k.Sub("pilot"))
	if err == nil && cfg.BaseMean == nil && cfg.BaseStd == nil {
		p.base = p.base.widened(q)
		knots, _, err = p.pilot(ctx, k.Sub("second pilot"))
	}
	if err != nil {
		return nil, err
	}
	if err := p.plan(ctx, knots, k.Sub("trial")); err != nil {
		return nil, err
	}
	z, err := p.estimate(ctx, p.refine(knots), k.Sub("estimate"))
	if err != nil {
		return nil, err
	}
	z.OpenDirections = open
	return z, nil
}

// path is the family E_β.
type path struct {
	cfg  LogZConfig
	t    Target
	base *base
	beta float64
	info Info
}

func newPath(t Target, cfg LogZConfig) (*path, error) {
	d := t.Dim()
	if cfg.Method == "" {
		cfg.Method = "smc"
	}
	if cfg.Chains == 0 {
		cfg.Chains = 16384
	}
	if cfg.Leapfrogs == 0 {
		cfg.Leapfrogs = 5
	}
	if cfg.Moves == 0 {
		cfg.Moves = 1
	}
	switch {
	case !slices.Contains(LogZMethods(), cfg.Method):
		return nil, fmt.Errorf("samplers: there is no method %q for log Z; the methods are %s", cfg.Method, strings.Join(LogZMethods(), ", "))
	case cfg.Chains < 2*islands:
		return nil, fmt.Errorf("samplers: %d chains are too few for log Z; give at least %d", cfg.Chains, 2*islands)
	case cfg.Temperatures < 0 || cfg.Leapfrogs < 0 || cfg.Moves < 0:
		return nil, fmt.Errorf("samplers: negative count in temperatures %d, leapfrogs %d, moves %d", cfg.Temperatures, cfg.Leapfrogs, cfg.Moves)
	case cfg.BaseMean != nil && len(cfg.BaseMean) != d || cfg.BaseStd != nil && len(cfg.BaseStd) != d:
		return nil, fmt.Errorf("samplers: a base of %d means and %d standard deviations for dimension %d", len(cfg.BaseMean), len(cfg.BaseStd), d)
	}
	mean, std := cfg.BaseMean, cfg.BaseStd
	if mean == nil {
		mean = make([]float64, d)
	}
	if std == nil {
		std = make([]float64, d)
		for i := range std {
			std[i] = 1
		}
	}
	for i, s := range std {
		if !(s > 0) || math.IsInf(s, 0) || !finite64(mean[i]) {
			return nil, fmt.Errorf("samplers: base coordinate %d has mean %v and standard deviation %v", i, mean[i], s)
		}
	}
	return &path{cfg: cfg, t: t, base: newBase(mean, std)}, nil
}

// energy is E_β of one state where the target's is e.
func (p *path) energy(x []float32, e float32) float64 {
	return (1-p.beta)*p.base.energy(x) + p.beta*float64(e)
}

// population is states that move along the path.
type population struct {
	n, dim int
	x, g   []float32 // states and gradients of the target [N·D]
	e      []float32 // energies of the target [N]
	mover  *mover
}

func newPopulation(n, d int) *population {
	return &population{n: n, dim: d, x: make([]float32, n*d), g: make([]float32, n*d), e: make([]float32, n)}
}

// copyRow copies the state of chain c from r.
func (q *population) copyRow(r *population, c int) {
	copy(q.row(q.x, c), r.row(r.x, c))
	copy(q.row(q.g, c), r.row(r.g, c))
	q.e[c] = r.e[c]
}

func (q *population) row(v []float32, c int) []float32 { return v[c*q.dim : (c+1)*q.dim] }

// populate draws n states from the base.
func (p *path) populate(ctx context.Context, n int, k rng.Key) (*population, error) {
	q := newPopulation(n, p.t.Dim())
	q.mover = newMover(p, n)
	p.base.draw(q.x, k)
	p.info.Gradients += n
	return q, evaluate(ctx, p.t, q.x, n, q.e, q.g)
}

// weigh adds the log weights −(β′−β)(E−E₀) to logW. A state of infinite or
// undefined energy has weight 0; its count is in Info.
func (p *path) weigh(q *population, step float64, logW []float64) {
	for c, e := range q.e {
		gap := float64(e) - p.base.energy(q.row(q.x, c))
		switch {
		case math.IsNaN(gap) || math.IsInf(gap, 0):
			logW[c] = math.Inf(-1)
			p.info.RejectedNonFinite++
		default:
			logW[c] -= step * gap
		}
	}
}

// move goes to β and moves the population there. It returns the acceptance to steer ε by.
func (p *path) move(ctx context.Context, q *population, k knot, key rng.Key) (accept float64, err error) {
	p.beta, q.mover.eps = k.beta, k.eps
	q.mover.metric.setDiagonal(k.inv)
	for range p.cfg.Moves {
		coarse, info, err := q.mover.propose(ctx, q, key)
		if err != nil {
			return 0, err
		}
		p.info.Add(info)
		accept += coarse / float64(p.cfg.Moves)
	}
	return accept, nil
}

// knot is one temperature of the path and how to move there.
type knot struct {
	beta, eps float64
	inv       []float32 // M⁻¹, the variances of the population [D]
}

// The pilot: its size, how much of the effective size a step in β may cost, the
// acceptance it steers for, and the most temperatures it takes.
const (
	pilotChains = 256
	pilotLoss   = 0.1
	pilotAccept = 0.8
	pilotMost   = 2000
)

// pilot goes from the base to the target by SMC that chooses each β so that the
// effective size falls by pilotLoss, and tunes ε on the way.
func (p *path) pilot(ctx context.Context, key rng.Key) ([]knot, *population, error) {
	q, err := p.populate(ctx, min(p.cfg.Chains, pilotChains), key)
	if err != nil {
		return nil, nil, err
	}
	d := p.t.Dim()
	eps := 1.0 / math.Pow(float64(d), 0.25)
	knots := []knot{{beta: 0, eps: eps, inv: p.spread(q)}}
	logW := make([]float64, q.n)
	for beta := 0.0; beta < 1; {
		if len(knots) > pilotMost {
			return nil, nil, fmt.Errorf("samplers: log Z: after %d temperatures the pilot is at β = %.3g only; the base is too far from the target: widen it or move it", pilotMost, beta)
		}
		step := p.largestStep(q, beta, logW)
		if step == 0 {
			return nil, nil, fmt.Errorf("samplers: log Z: no state drawn from the base has a finite energy, or none can move on, at β = %.3g; give another base", beta)
		}
		beta = min(1, beta+step)
		if 1-beta < 1e-12 {
			beta = 1
		}
		clear(logW)
		p.weigh(q, step, logW)
		p.resample(q, 0, q.n, logW, key.Sub("resample"), uint64(len(knots)))
		k := knot{beta: beta, eps: eps, inv: p.spread(q)}
		accept, err := p.move(ctx, q, k, key.Sub("move"))
		if err != nil {
			return nil, nil, err
		}
		knots = append(knots, k)
		eps *= math.Exp(accept - pilotAccept)
	}
	return knots, q, nil
}

// largestStep finds by bisection the step in β that costs pilotLoss of the
// effective size.
func (p *path) largestStep(q *population, beta float64, logW []float64) float64 {
	kept := func(step float64) bool {
		clear(logW)
		p.weigh(q, step, logW)
		return effective(logW) >= (1-pilotLoss)*float64(len(logW))
	}
	before := p.info.RejectedNonFinite
	defer func() { p.info.RejectedNonFinite = before }()
	lo, hi := 0.0, 1-beta
	if kept(hi) {
		return hi
	}
	for range 60 {
		if mid := (lo + hi) / 2; kept(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// spread is the variance of each coordinate over the population.
func (p *path) spread(q *population) []float32 {
	m := newMoments(q.dim, false)
	dev := make([]float64, q.dim)
	for c := range q.n {
		m.add(q.row(q.x, c), q.row(q.x, c), dev)
	}
	inv := make([]float32, q.dim)
	for i := range inv {
		inv[i] = float32(max(m.X.Sum2[i]/(m.Count-1), 1e-12))
	}
	return inv
}

// refine takes K steps along the pilot's knots, evenly in the number of the knot.
func (p *path) refine(knots []knot) []knot {
	n := p.cfg.Temperatures
	out := make([]knot, n+1)
	for i := range out {
		at := float64(i) / float64(n) * float64(len(knots)-1)
		j := min(int(at), len(knots)-2)
		f := at - float64(j)
		a, b := knots[j], knots[j+1]
		inv := make([]float32, len(a.inv))
		for k := range inv {
			inv[k] = a.inv[k] + float32(f)*(b.inv[k]-a.inv[k])
		}
		out[i] = knot{a.beta + f*(b.beta-a.beta), a.eps + f*(b.eps-a.eps), inv}
	}
	out[n].beta = 1
	return out
}

// estimate is the estimate proper, with everything fixed.
func (p *path) estimate(ctx context.Context, knots []knot, key rng.Key) (*LogZ, error) {
	q, logW, parts, err := p.travel(ctx, knots, key)
	if err != nil {
		return nil, err
	}
	out := &LogZ{}
	for _, k := range knots {
		out.Betas = append(out.Betas, k.beta)
	}
	p.summarise(out, logW, parts)
	out.X, out.LogW, out.Info = q.x, logW, p.info
	if !finite64(out.LogZ) {
		return out, fmt.Errorf("samplers: log Z is %v: every chain met an energy that is not finite, or weights underflow; give another base", out.LogZ)
	}
	return out, nil
}

// travel takes chains from the base along the knots. parts is log Z of each island so far, but for its present weights.
func (p *path) travel(ctx context.Context, knots []knot, key rng.Key) (q *population, logW, parts []float64, err error) {
	n := p.cfg.Chains
	if q, err = p.populate(ctx, n, key); err != nil {
		return nil, nil, nil, err
	}
	logW, parts = make([]float64, n), make([]float64, islands)
	for i := 1; i < len(knots); i++ {
		p.weigh(q, knots[i].beta-knots[i-1].beta, logW)
		if p.cfg.Method == "smc" && i < len(knots)-1 {
			for j := range parts {
				lo, hi := j*n/islands, (j+1)*n/islands
				if w := logW[lo:hi]; effective(w) < float64(hi-lo)/2 {
					parts[j] += logMeanExp(w)
					p.resample(q, lo, hi, w, key.Derive(uint64(j)), uint64(i))
					clear(w)
				}
			}
		}
		if _, err := p.move(ctx, q, knots[i], key.Sub("move")); err != nil {
			return nil, nil, nil, err
		}
		if p.cfg.OnProgress != nil {
			p.cfg.OnProgress(i, len(knots)-1)
		}
	}
	return q, logW, parts, nil
}

// summarise makes log Z and its error of weights (ais) or of islands (smc).
func (p *path) summarise(out *LogZ, logW, parts []float64) {
	terms := logW
	if p.cfg.Method == "smc" {
		n := len(logW)
		terms = make([]float64, islands)
		for j := range terms {
			lo, hi := j*n/islands, (j+1)*n/islands
			for c := lo; c < hi; c++ {
				logW[c] += parts[j]
			}
			terms[j] = logMeanExp(logW[lo:hi]) + math.Log(float64((hi-lo)*islands)/float64(n))
		}
	}
	out.ESS = effective(logW)
	mean := logMeanExp(terms)
	out.LogZ = p.base.logZ() + mean
	sum := 0.0
	for _, v := range terms {
		r := math.Exp(v-mean) - 1
		sum += r * r
	}
	m := float64(len(terms))
	out.MCSE = math.Sqrt(sum / (m * (m - 1)))
}

// resample replaces states lo…hi−1 by systematic draws among them (Kitagawa
// 1996), weighted by logW.
func (p *path) resample(q *population, lo, hi int, logW []float64, k rng.Key, step uint64) {
	n := hi - lo
	top := slices.Max(logW)
	sums := make([]float64, n)
	total := 0.0
	for i, w := range logW {
		total += math.Exp(w - top)
		sums[i] = total
	}
	d := q.dim
	x, g, e := clone(q.x[lo*d:hi*d]), clone(q.g[lo*d:hi*d]), clone(q.e[lo:hi])
	u := k.Float64(step, 0)
	for i := range n {
		from := min(sort.SearchFloat64s(sums, (u+float64(i))/float64(n)*total), n-1)
		copy(q.row(q.x, lo+i), x[from*d:(from+1)*d])
		copy(q.row(q.g, lo+i), g[from*d:(from+1)*d])
		q.e[lo+i] = e[from]
	}
}

// effective is (Σw)²/Σw².
func effective(logW []float64) float64 {
	top := slices.Max(logW)
	if math.IsInf(top, -1) {
		return 0
	}
	sum, sq := 0.0, 0.0
	for _, w := range logW {
		v := math.Exp(w - top)
		sum += v
		sq += v * v
	}
	return sum * sum / sq
}

// logMeanExp is log of the mean of eᵛ.
func logMeanExp(v []float64) float64 {
	top := slices.Max(v)
	if math.IsInf(top, -1) {
		return top
	}
	sum := 0.0
	for _, w := range v {
		sum += math.Exp(w - top)
	}
	return top + math.Log(sum/float64(len(v)))
}
