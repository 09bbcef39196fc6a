package samplers

import (
	"context"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// mover moves a population by Hamiltonian Monte Carlo whose step size suits each state.
//
// A trajectory of L leapfrog steps of size ε that errs by more than tolerance in H is done again, from the same state and momentum, by 2L steps
// of size ε/2, and so on; the first that does not, or the last, is the proposal. It passes the Metropolis test of H and, for the choice to be
// reversible, the trajectory back must choose the same halving (the case of GIST, Bou-Rabee, Carpenter & Marsden 2024, in which the step is a
// function of state and momentum). So neck and mouth of a funnel are moved through alike, and where ε suits every state a proposal costs L
// gradients on average.
//
// L is drawn anew for every proposal, evenly within half of itself: with all of one length energies return on a Gaussian of many dimensions where εL is
// near half a period, π, and states of equal energies weigh the same at every temperature.
type mover struct {
	hook     hook
	path     *path
	metric   metric
	eps      float64
	proposed int // proposals made
	steps    int // leapfrog steps of this one before ε is halved

	p0, p1  []float32 // momenta at both ends [N·D]
	ends    *population
	coins   []float64 // logarithms of the numbers of the Metropolis tests [N]
	jitter  []float64 // factors of ε [N]
	h0      []float64 // H at the beginning of the trajectory [N]
	ratio   []float64 // H0 − H at its end [N]
	halved  []int     // how often ε was halved for the proposal; below 0: refused [N]
	rows    []int     // chains that are being moved
	batches map[int]*batch
}

const (
	tolerance  = 1.5
	halvings   = 6
	stepJitter = 0.2
)

// batchSizes are how many chains are moved together that are not the whole population: few sizes, since a target is bound anew for each.
var batchSizes = []int{1024, 128, 16}

// batch is scratch space for n states that are moved together.
type batch struct {
	n          int
	p, v, g    []float32 // momenta, velocities, gradients where trajectories begin [n·D]
	x, tg, te  []float32 // states, gradients and energies, for targets that lend no memory
	chains     []int     // at most n; what is beyond moves with the last
	population *population
	momenta    []float32
	out        *population // where ends go, or nil
	steps      int
	eps        float64
}

func newMover(p *path, n int) *mover {
	d := p.t.Dim()
	return &mover{
		path: p, metric: identityMetric(d), p0: make([]float32, n*d), p1: make([]float32, n*d), ends: newPopulation(n, d),
		coins: make([]float64, n), jitter: make([]float64, n), h0: make([]float64, n), ratio: make([]float64, n),
		halved: make([]int, n), batches: map[int]*batch{},
	}
}

// propose moves each state of the population once, or not, and says what happened. coarse is the mean acceptance that the trajectories with ε
// itself would have.
func (m *mover) propose(ctx context.Context, q *population, key rng.Key) (coarse float64, info Info, err error) {
	d := q.dim
	m.draw(q.n, d, key)
	info.Moves = q.n
	for h := 0; h <= halvings && len(m.rows) > 0; h++ {
		if err := m.integrate(ctx, q, m.p0, m.ends, h, &info); err != nil {
			return 0, info, err
		}
		again := m.rows[:0]
		for _, c := range m.rows {
			r := m.ratio[c]
			if h == 0 && finite64(r) {
				coarse += math.Exp(min(0, r)) / float64(q.n)
			}
			if m.halved[c] = h; math.Abs(r) > tolerance || math.IsNaN(r) {
				again = append(again, c)
			}
		}
		m.rows = again
	}
	for c, r := range m.ratio {
		if !finite64(r) {
			info.RejectedNonFinite++
		}
		if !(m.coins[c] < r) {
			m.halved[c] = -1
		}
	}
	if err := m.lookBack(ctx, &info); err != nil {
		return 0, info, err
	}
	for c, h := range m.halved {
		if h >= 0 {
			info.Accepted++
			q.copyRow(m.ends, c)
		}
	}
	m.proposed++
	return coarse, info, nil
}

// draw draws what one proposal of every chain needs.
func (m *mover) draw(n, d int, key rng.Key) {
	step := uint64(m.proposed)
	half := m.path.cfg.Leapfrogs / 2
	m.steps = m.path.cfg.Leapfrogs - half + key.Sub("length").IntN(2*half+1, step, 0)
	key.Sub("momentum").Normals(m.p0, step, 0)
	coin, jitter := key.Sub("accept"), key.Sub("jitter")
	m.rows = m.rows[:0]
	for c := range n {
		m.metric.momentum(m.p0[c*d : (c+1)*d])
		m.coins[c] = math.Log(coin.Float64(step, uint64(c)))
		m.jitter[c] = 1 + stepJitter*(2*jitter.Float64(step, uint64(c))-1)
		m.rows = append(m.rows, c)
	}
}

// lookBack refuses the proposals whose trajectories back would be halved less often.
func (m *mover) lookBack(ctx context.Context, info *Info) error {
	scale(m.p1, -1)
	for h := range halvings {
		m.rows = m.rows[:0]
		for c, n := range m.halved {
			if n > h {
				m.rows = append(m.rows, c)
			}
		}
		if err := m.integrate(ctx, m.ends, m.p1, nil, h, info); err != nil {
			return err
		}
		for _, c := range m.rows {
			if math.Abs(m.ratio[c]) <= m.hook.at("look back", tolerance) {
				m.halved[c] = -1
			}
		}
	}
	return nil
}

// integrate takes the chains in rows from q along trajectories with momenta p and ε halved h times: H0 − H goes into ratio, and the ends into
// out and p1 unless out is nil.
func (m *mover) integrate(ctx context.Context, q *population, p []float32, out *population, h int, info *Info) error {
	steps := m.steps << h
	info.Gradients += steps * len(m.rows)
	for rows := m.rows; len(rows) > 0; {
		b := m.batch(len(rows), q)
		b.chains, rows = rows[:min(b.n, len(rows))], rows[min(b.n, len(rows)):]
		b.population, b.momenta, b.out, b.steps, b.eps = q, p, out, steps, math.Ldexp(m.eps, -h)
		if err := m.run(ctx, b); err != nil {
			return fmt.Errorf("samplers: trajectories of %d states: %w", b.n, err)
		}
	}
	return nil
}

// batch is the largest that n chains fill, or the smallest.
func (m *mover) batch(n int, q *population) *batch {
	size := q.n
	if n < q.n {
		for _, size = range batchSizes {
			if size <= n {
				break
			}
		}
	}
	b, d := m.batches[size], q.dim
	if b == nil {
		b = &batch{n: size, p: make([]float32, size*d), v: make([]float32, size*d), g: make([]float32, size*d)}
		m.batches[size] = b
	}
	return b
}

func (m *mover) run(ctx context.Context, b *batch) error {
	tile := func(ctx context.Context, t Tile) error { return m.trajectory(ctx, b, t) }
	if t, ok := m.path.t.(Tiled); ok {
		return t.EachTile(ctx, b.n, tile)
	}
	if b.x == nil {
		b.x, b.tg, b.te = make([]float32, len(b.p)), make([]float32, len(b.p)), make([]float32, b.n)
	}
	return tile(ctx, &wholeTile{b, m.path.t})
}

// trajectory does the leapfrog steps of the states of one tile.
func (m *mover) trajectory(ctx context.Context, b *batch, t Tile) error {
	lo, hi := t.Range()
	for i := lo; i < hi; i++ {
		m.begin(b, i, t.X()[(i-lo)*m.metric.dim:])
	}
	for l := range b.steps {
		last := l == b.steps-1
		e, g, err := t.EnergyGradient(ctx, last)
		if err != nil {
			return err
		}
		for i := lo; i < hi; i++ {
			x, g := t.X()[(i-lo)*m.metric.dim:], g[(i-lo)*m.metric.dim:]
			if last {
				m.end(b, i, x, g, e[i-lo])
			} else {
				m.leap(b, i, x, g)
			}
		}
	}
	return nil
}

// place is one state of a batch: its chain, where it is, and the step size.
type place struct {
	chain      int
	spare      bool // the batch has no chain for it
	x, g, p, v []float32
	eps        float64
}

// place gives place i of a batch, whose state and gradient x and g begin with.
func (m *mover) place(b *batch, i int, x, g []float32) place {
	d := m.metric.dim
	c := b.chains[min(i, len(b.chains)-1)]
	return place{c, i >= len(b.chains), x[:d], g[:d], b.p[i*d : (i+1)*d], b.v[i*d : (i+1)*d], b.eps * m.jitter[c]}
}

func (m *mover) begin(b *batch, i int, x []float32) {
	at, q := m.place(b, i, x, b.g[i*m.metric.dim:]), b.population
	c := at.chain
	copy(at.x, q.row(q.x, c))
	copy(at.g, q.row(q.g, c))
	copy(at.p, q.row(b.momenta, c))
	if !at.spare {
		m.h0[c] = m.path.energy(at.x, q.e[c]) + m.metric.kinetic(at.p, at.v)
	}
	m.kickDrift(at, 0.5)
}

func (m *mover) leap(b *batch, i int, x, g []float32) { m.kickDrift(m.place(b, i, x, g), 1) }

// kickDrift is a kick, or part of one, by the gradient of E_β, and a drift.
func (m *mover) kickDrift(at place, part float64) {
	m.path.base.mix(m.path.beta, at.x, at.g)
	m.metric.kickDrift(at.x, at.p, at.g, at.v, float32(part*at.eps), float32(at.eps))
}

func (m *mover) end(b *batch, i int, x, g []float32, e float32) {
	at := m.place(b, i, x, g)
	if at.spare {
		return
	}
	c := at.chain
	if b.out != nil {
		copy(b.out.row(b.out.x, c), at.x)
		copy(b.out.row(b.out.g, c), at.g)
		b.out.e[c] = e
	}
	m.path.base.mix(m.path.beta, at.x, at.g)
	kick(at.p, at.g, float32(at.eps/2))
	if b.out != nil {
		copy(b.out.row(m.p1, c), at.p)
	}
	m.ratio[c] = m.hook.at("log ratio", m.h0[c]-m.path.energy(at.x, e)-m.metric.kinetic(at.p, at.v))
}

// wholeTile makes one tile of all states of a batch, for a target that lends none.
type wholeTile struct {
	b *batch
	t Target
}

func (w *wholeTile) Range() (lo, hi int) { return 0, w.b.n }

func (w *wholeTile) X() []float32 { return w.b.x }

func (w *wholeTile) EnergyGradient(ctx context.Context, energy bool) (e, g []float32, err error) {
	if energy {
		e = w.b.te
	}
	return e, w.b.tg, w.t.EnergyGradient(ctx, w.b.x, w.b.n, e, w.b.tg)
}
