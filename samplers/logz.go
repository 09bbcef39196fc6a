package samplers

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// LogZConfig is one estimate of log Z. The zero value is useful.
type LogZConfig struct {
	Method       string // "ais" or "smc"; "": smc
	Chains       int    // N; 0: 16384
	Temperatures int    // K, steps from the base to the target; 0: 4 times what the pilot took, at least 100
	Leapfrogs    int    // of HMC at each temperature; 0: 5
	Moves        int    // HMC proposals at each temperature, at ε, ε/4, ε/16 in turn; 0: 2

	// The base is independent normals. Where both are nil, a first pilot goes
	// from N(0, I) to the target and the base is widened, about 0, to where it
	// arrives; otherwise nil is mean 0 and standard deviation 1. A base that is
	// too narrow misses modes, and nothing tells: choose it wide.
	BaseMean, BaseStd []float64

	Seed    uint64
	Key     rng.Key // zero: rng.NewKey(Seed)
	Workers int
	// OnProgress is told of temperatures done, of total.
	OnProgress func(done, total int)
}

// LogZ is an estimate of log ∫exp(−E(x))dx.
type LogZ struct {
	LogZ float64
	MCSE float64 // Monte Carlo standard error of LogZ
	// ESS is the effective number of independent chains in the final weights.
	ESS   float64
	Betas []float64 // inverse temperatures, 0 to 1
	X     []float32 // last states [N·D]
	LogW  []float64 // their log weights, up to a constant [N]
	Info  Info      // pilot included
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
// E₀ the base's, by HMC. A pilot population chooses the β, the step sizes and a
// diagonal mass for each β; the chains of the estimate do not look at each other
// while moving, so Z itself is unbiased. AIS averages independent weights; SMC
// resamples (systematically, where the effective size falls below half) within
// 16 independent islands and averages their Z. MCSE is that of log Z by the
// delta method. Z is dominated by rare large weights where its MCSE exceeds
// about 0.5: take more temperatures then.
func EstimateLogZ(ctx context.Context, t Target, cfg LogZConfig) (*LogZ, error) {
	p, err := newPath(t, cfg)
	if err != nil {
		return nil, err
	}
	k := cfg.Key
	if k == (rng.Key{}) {
		k = rng.NewKey(cfg.Seed)
	}
	defer p.close()
	knots, q, err := p.pilot(ctx, k.Sub("pilot"))
	if err == nil && cfg.BaseMean == nil && cfg.BaseStd == nil {
		p.widenBase(q.s)
		knots, _, err = p.pilot(ctx, k.Sub("second pilot"))
	}
	if err != nil {
		return nil, err
	}
	return p.estimate(ctx, p.refine(knots), k.Sub("estimate"))
}

// path is the family E_β.
type path struct {
	cfg       LogZConfig
	t         Target
	mean, std []float64
	beta      float64
	raw, rawG []float32 // E and ∇E at the states of the population
	e0        []float64
	info      Info

	team             *team
	mixX, mixE, mixG []float32
	mixRows          func(lo, hi int)
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
		cfg.Moves = 2
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
	p := &path{cfg: cfg, t: t, mean: cfg.BaseMean, std: cfg.BaseStd}
	if p.mean == nil {
		p.mean = make([]float64, d)
	}
	if p.std == nil {
		p.std = make([]float64, d)
		for i := range p.std {
			p.std[i] = 1
		}
	}
	for i, s := range p.std {
		if !(s > 0) || math.IsInf(s, 0) || !finite64(p.mean[i]) {
			return nil, fmt.Errorf("samplers: base coordinate %d has mean %v and standard deviation %v", i, p.mean[i], s)
		}
	}
	p.team, p.mixRows = newTeam(cfg.Workers), p.mixRange
	return p, nil
}

// baseWidth is how much wider than the pilot's last population its base is: an
// estimate bears too wide a base better than too narrow a one.
const baseWidth = 1.2

// widenBase widens the base, about 0, to the root mean square of a population.
// It never narrows or moves it: the population may have lost modes.
func (p *path) widenBase(s *State) {
	for i := range p.std {
		sum := 0.0
		for c := range s.N {
			v := float64(s.X[c*s.Dim+i])
			sum += v * v
		}
		p.std[i] = max(p.std[i], baseWidth*math.Sqrt(sum/float64(s.N)))
	}
}

// logZ0 is the base's log Z.
func (p *path) logZ0() float64 {
	sum := 0.0
	for _, s := range p.std {
		sum += math.Log(s) + math.Log(2*math.Pi)/2
	}
	return sum
}

func (p *path) close() { p.team.close() }

// Dim implements Target.
func (p *path) Dim() int { return len(p.mean) }

// EnergyGradient implements Target with E_β.
func (p *path) EnergyGradient(ctx context.Context, x []float32, n int, e, g []float32) error {
	if err := p.t.EnergyGradient(ctx, x, n, e, g); err != nil {
		return err
	}
	p.mix(x, n, e, g)
	return nil
}

// mix turns E and ∇E at x into E_β and ∇E_β.
func (p *path) mix(x []float32, n int, e, g []float32) {
	p.mixX, p.mixE, p.mixG = x, e, g
	p.team.run(n, p.Dim(), p.mixRows)
}

func (p *path) mixRange(lo, hi int) {
	d := p.Dim()
	for c := lo; c < hi; c++ {
		x := p.mixX[c*d : (c+1)*d]
		if p.mixG != nil {
			g := p.mixG[c*d : (c+1)*d]
			for i, v := range x {
				z := (float64(v) - p.mean[i]) / (p.std[i] * p.std[i])
				g[i] = float32((1-p.beta)*z + p.beta*float64(g[i]))
			}
		}
		if p.mixE != nil {
			p.mixE[c] = float32((1-p.beta)*p.base(x) + p.beta*float64(p.mixE[c]))
		}
	}
}

// base is E₀ of one state.
func (p *path) base(x []float32) float64 {
	sum := 0.0
	for i, v := range x {
		z := (float64(v) - p.mean[i]) / p.std[i]
		sum += z * z
	}
	return sum / 2
}

// population is states that move along the path.
type population struct {
	s    *State
	hmc  *HMC
	gaps []float64 // E − E₀ at the states [N]
}

// populate draws n states from the base.
func (p *path) populate(ctx context.Context, n int, k rng.Key) (*population, error) {
	d := len(p.mean)
	x := make([]float32, n*d)
	k.Sub("base").Normals(x, 0, 0)
	for i := range x {
		x[i] = float32(p.mean[i%d] + p.std[i%d]*float64(x[i]))
	}
	s, err := NewState(x, d)
	if err != nil {
		return nil, err
	}
	s.team = p.team
	q := &population{s: s, gaps: make([]float64, n)}
	p.raw, p.rawG = make([]float32, n), make([]float32, n*d)
	return q, p.look(ctx, q)
}

// look evaluates the target at the population's states.
func (p *path) look(ctx context.Context, q *population) error {
	s := q.s
	if err := evaluate(ctx, p.t, s.X, s.N, p.raw, p.rawG); err != nil {
		return err
	}
	p.info.Gradients += s.N
	for c := range s.N {
		q.gaps[c] = float64(p.raw[c]) - p.base(s.row(s.X, c))
	}
	return nil
}

// weigh adds the log weights −(β′−β)(E−E₀) to logW. A state of infinite or
// undefined energy has weight 0; its count is in Info.
func (p *path) weigh(q *population, step float64, logW []float64) {
	for c, gap := range q.gaps {
		switch {
		case math.IsNaN(gap) || math.IsInf(gap, 0):
			logW[c] = math.Inf(-1)
			p.info.RejectedNonFinite++
		default:
			logW[c] -= step * gap
		}
	}
}

// move goes to β and moves the population by HMC there.
func (p *path) move(ctx context.Context, q *population, k knot, key rng.Key) (accept float64, err error) {
	s := q.s
	p.beta = k.beta
	copy(s.E, p.raw)
	copy(s.G, p.rawG)
	p.mix(s.X, s.N, s.E, s.G)
	s.EnergyFresh, s.GradientFresh = true, true
	if q.hmc == nil {
		q.hmc = &HMC{Leapfrogs: p.cfg.Leapfrogs, Jitter: 0.2}
		s.EnergyFresh = true
		if err := q.hmc.Start(ctx, p, s); err != nil {
			return 0, err
		}
	}
	q.hmc.metric.setDiagonal(k.inv)
	var sum Info
	for m := range p.cfg.Moves {
		q.hmc.StepSize = schedule.Constant{Value: k.eps * stepScales[m%len(stepScales)]}
		info, err := q.hmc.Step(ctx, p, s, key)
		if err != nil {
			return 0, err
		}
		sum.Add(info)
	}
	p.info.Add(sum)
	return sum.Acceptance(), p.look(ctx, q)
}

// stepScales are the step sizes of successive moves at one temperature, as
// parts of ε: no single one suits both the neck of a funnel and its mouth.
var stepScales = []float64{1, 1.0 / 4, 1.0 / 16}

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
	d := len(p.mean)
	eps := 1.0 / math.Pow(float64(d), 0.25)
	knots := []knot{{beta: 0, eps: eps, inv: p.spread(q.s)}}
	logW := make([]float64, q.s.N)
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
		p.resample(q, 0, q.s.N, logW, key.Sub("resample"), uint64(len(knots)))
		k := knot{beta: beta, eps: eps, inv: p.spread(q.s)}
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
func (p *path) spread(s *State) []float32 {
	m := newMoments(s.Dim, false)
	dev := make([]float64, s.Dim)
	for c := range s.N {
		m.add(s.row(s.X, c), s.row(s.X, c), dev)
	}
	inv := make([]float32, s.Dim)
	for i := range inv {
		inv[i] = float32(max(m.VarX[i]/(m.Count-1), 1e-12))
	}
	return inv
}

// refine takes K steps along the pilot's knots, evenly in the number of the knot.
func (p *path) refine(knots []knot) []knot {
	n := p.cfg.Temperatures
	if n == 0 {
		n = max(100, 4*(len(knots)-1))
	}
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
	n := p.cfg.Chains
	q, err := p.populate(ctx, n, key)
	if err != nil {
		return nil, err
	}
	logW := make([]float64, n)
	parts := make([]float64, islands) // log Z of each island, but for its present weights
	out := &LogZ{}
	for i, k := range knots {
		out.Betas = append(out.Betas, k.beta)
		if i == 0 {
			continue
		}
		p.weigh(q, k.beta-knots[i-1].beta, logW)
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
		if _, err := p.move(ctx, q, k, key.Sub("move")); err != nil {
			return nil, err
		}
		if p.cfg.OnProgress != nil {
			p.cfg.OnProgress(i, len(knots)-1)
		}
	}
	p.summarise(out, logW, parts)
	out.X, out.LogW, out.Info = q.s.X, logW, p.info
	if !finite64(out.LogZ) {
		return out, fmt.Errorf("samplers: log Z is %v: every chain met an energy that is not finite, or weights underflow; give another base", out.LogZ)
	}
	return out, nil
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
	out.LogZ = p.logZ0() + mean
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
	s, d := q.s, q.s.Dim
	x, g := clone(s.X[lo*d:hi*d]), clone(p.rawG[lo*d:hi*d])
	e, gaps := clone(p.raw[lo:hi]), clone(q.gaps[lo:hi])
	u := k.Float64(step, 0)
	for i := range n {
		from := min(sort.SearchFloat64s(sums, (u+float64(i))/float64(n)*total), n-1)
		copy(s.row(s.X, lo+i), x[from*d:(from+1)*d])
		copy(s.row(p.rawG, lo+i), g[from*d:(from+1)*d])
		p.raw[lo+i], q.gaps[lo+i] = e[from], gaps[from]
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
