package samplers_test

import (
	"math"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/samplertest"
)

// Exact tests of kernels in the manner of Gandy & Scott ("Unit testing for
// MCMC and other Monte Carlo methods", 2021). If x₀ is an exact draw from the
// target π and the kernel leaves π invariant, then
//
//   - after any number of iterations the state is an exact draw: its
//     coordinates through their distribution function are uniform;
//   - with a reversible kernel, and the exact draw at a random place of a chain
//     that runs both ways from there, its rank within the chain is uniform.
//
// No chain needs to converge, no bias is tolerated: the only thing that may fail
// a correct kernel is chance, with odds of 1e-5 a test by their sequential
// procedure (algorithm 3 there).
type exactCase struct {
	name       string
	target     samplers.Target   // what the kernel sees
	law        samplertest.Exact // what it must leave invariant, exp(−E/T)
	kernel     func() samplers.Kernel
	reversible bool
	cfg        samplers.Config
	// replicas, for parallel tempering: the laws of the ladder.
	replicas []samplertest.Exact
}

const (
	rankLength = 4 // iterations each way
	falseAlarm = 1e-5
	rounds     = 5
)

// leavesInvariant is the sequential test; more draws are taken while it is in doubt.
func leavesInvariant(t *testing.T, c exactCase) bool {
	n := 2000
	beta := falseAlarm / rounds
	gamma := math.Pow(beta, 1.0/rounds)
	for round := range rounds {
		if round == 1 {
			n *= 4
		}
		ps := c.pValues(t, n, uint64(round))
		sort.Float64s(ps)
		q := ps[0] * float64(len(ps))
		if q <= beta {
			return false
		}
		if q > gamma+beta {
			return true
		}
		beta /= gamma
	}
	return true
}

func (c exactCase) pValues(t *testing.T, n int, round uint64) []float64 {
	t.Helper()
	key := rng.NewKey(99).Derive(round)
	x := make([]float32, n*c.law.Dim())
	c.law.Draw(x, key.Sub("exact"))
	forward := c.trajectory(t, x, key.Sub("forward"))
	ps := uniformCoordinates(c.law, forward[rankLength])
	if !c.reversible {
		return ps
	}
	back := c.trajectory(t, x, key.Sub("back"))
	for i, f := range []func(x []float32) float64{
		func(x []float32) float64 { return float64(x[0]) },
		func(x []float32) float64 { return c.energy(t, x) },
	} {
		ps = append(ps, uniformRanks(f, c.law.Dim(), forward, back, key.Sub("rank").Derive(uint64(i))))
	}
	return ps
}

func (c exactCase) energy(t *testing.T, x []float32) float64 {
	var e [1]float32
	require.NoError(t, c.target.EnergyGradient(background, x, 1, e[:], nil))
	return float64(e[0])
}

// trajectory is the states after 0, 1, … rankLength iterations from x.
func (c exactCase) trajectory(t *testing.T, x []float32, key rng.Key) [][]float32 {
	cfg := c.cfg
	cfg.Steps, cfg.Key, cfg.Init, cfg.Workers = rankLength, key, x, 1
	if c.replicas != nil {
		cfg.Resume = &samplers.Result{State: c.ladder(t, x, key)}
	}
	out := [][]float32{append([]float32(nil), x...)}
	cfg.OnStep = func(s *samplers.State) error {
		out = append(out, append([]float32(nil), s.X...))
		return nil
	}
	run(t, c.target, c.kernel(), cfg)
	return out
}

// ladder is a parallel-tempering state whose hotter replicas are exact draws too.
func (c exactCase) ladder(t *testing.T, x []float32, key rng.Key) *samplers.State {
	s, err := samplers.NewState(x, c.law.Dim())
	require.NoError(t, err)
	rows := s.N * len(c.replicas)
	s.Aux = make([]float32, rows*(2*s.Dim+1))
	copy(s.Aux, x)
	for i, law := range c.replicas {
		if i > 0 {
			law.Draw(s.Aux[i*len(x):(i+1)*len(x)], key.Sub("replica").Derive(uint64(i)))
		}
	}
	n := rows * s.Dim
	require.NoError(t, c.target.EnergyGradient(background, s.Aux[:n], rows, s.Aux[2*n:], s.Aux[n:2*n]))
	return s
}

// uniformCoordinates tests each coordinate for its law, and the first two for
// independence, by χ² on equiprobable cells.
func uniformCoordinates(law samplertest.Exact, x []float32) []float64 {
	d := law.Dim()
	cdf := law.CDF
	if w, ok := law.(samplertest.DoubleWell); ok {
		f := w.CDFs()
		cdf = func(_ int, v float64) float64 { return f(v) }
	}
	const cells = 20
	var ps []float64
	for j := range min(d, 2) {
		counts := make([]float64, cells)
		for i := j; i < len(x); i += d {
			tally(counts, cell(cdf(j, float64(x[i])), cells))
		}
		ps = append(ps, chiSquared(counts))
	}
	if d > 1 {
		const side = 6
		counts := make([]float64, side*side)
		for i := 0; i < len(x); i += d {
			a, b := cell(cdf(0, float64(x[i])), side), cell(cdf(1, float64(x[i+1])), side)
			tally(counts, a*side+b)
		}
		ps = append(ps, chiSquared(counts))
	}
	return ps
}

// cell is where u in [0, 1] falls among n, or far below 0 if it is NaN.
func cell(u float64, n int) int {
	if math.IsNaN(u) {
		return math.MinInt32
	}
	return min(int(u*float64(n)), n-1)
}

// tally counts a cell; NaN all goes to the first, which no test survives.
func tally(counts []float64, i int) { counts[max(i, 0)]++ }

// uniformRanks puts each chain's exact draw at a random place of its
// trajectory and tests its rank there. Ties are broken at random.
func uniformRanks(f func([]float32) float64, d int, forward, back [][]float32, key rng.Key) float64 {
	counts := make([]float64, rankLength+1)
	n := len(forward[0]) / d
	for c := range n {
		at := func(x []float32) float64 { return f(x[c*d : (c+1)*d]) }
		place := key.IntN(rankLength+1, 0, uint64(c))
		here := at(forward[0])
		below, ties := 0, 0
		see := func(v float64) {
			if v < here {
				below++
			} else if v == here {
				ties++
			}
		}
		for i := 1; i <= place; i++ {
			see(at(back[i]))
		}
		for i := 1; i <= rankLength-place; i++ {
			see(at(forward[i]))
		}
		counts[below+key.IntN(ties+1, 1, uint64(c))]++
	}
	return chiSquared(counts)
}

// chiSquared is the p-value of counts that should be equal.
func chiSquared(counts []float64) float64 {
	total := 0.0
	for _, c := range counts {
		total += c
	}
	want := total / float64(len(counts))
	sum := 0.0
	for _, c := range counts {
		sum += (c - want) * (c - want) / want
	}
	return distuv.ChiSquared{K: float64(len(counts) - 1)}.Survival(sum)
}

// heated is a Gaussian target and its law at a temperature.
func heated(temp float64) (samplertest.Gaussian, samplertest.Gaussian) {
	target := samplertest.Gaussian{Mean: []float64{1, -0.5}, Std: []float64{0.7, 1.4}}
	law := samplertest.Gaussian{Mean: target.Mean, Std: []float64{0.7 * math.Sqrt(temp), 1.4 * math.Sqrt(temp)}}
	return target, law
}

// truncated is N(0, I) on x₀ ≤ Above, the law of a Hole.
type truncated struct {
	samplertest.Gaussian
	above float64
}

func (t truncated) Draw(x []float32, k rng.Key) {
	d := t.Dim()
	t.Gaussian.Draw(x, k)
	row := make([]float32, d)
	for c := 0; c < len(x); c += d {
		for try := uint64(0); float64(x[c]) > t.above; try++ {
			t.Gaussian.Draw(row, k.Derive(uint64(c), try))
			copy(x[c:], row)
		}
	}
}

func (t truncated) CDF(j int, v float64) float64 {
	p := t.Gaussian.CDF(j, v)
	if j == 0 {
		p /= t.Gaussian.CDF(0, t.above)
	}
	return min(p, 1)
}

// between is N(0, I) in a box.
type between struct {
	samplertest.Gaussian
	lo, hi float64
}

func (b between) inside(v float32) bool { return b.lo <= float64(v) && float64(v) <= b.hi }

func (b between) Draw(x []float32, k rng.Key) {
	k.Normals(x, 0, 0)
	for i := range x {
		for try := uint64(1); !b.inside(x[i]); try++ {
			k.Normals(x[i:i+1], try, uint64(i))
		}
	}
}

func (b between) CDF(j int, v float64) float64 {
	lo, hi := b.Gaussian.CDF(j, b.lo), b.Gaussian.CDF(j, b.hi)
	return (b.Gaussian.CDF(j, v) - lo) / (hi - lo)
}

const rankTemp = 1.6

var (
	gaussTarget, gaussLaw = heated(rankTemp)
	well                  = samplertest.DoubleWell{D: 2, H: 1, B: 1}
	hole                  = truncated{samplertest.StandardNormal(2), 0.7}
	box                   = between{samplertest.StandardNormal(2), -0.5, 1.2}
)

// hooked are kernels by name, with room for a planted bug.
var hooked = map[string]func(temp float64, bug samplers.Hook) samplers.Kernel{
	"mala": func(temp float64, bug samplers.Hook) samplers.Kernel {
		k := &samplers.MALA{StepSize: constant(0.35), Temperature: constant(temp)}
		k.Plant(bug)
		return k
	},
	"rwm": func(temp float64, bug samplers.Hook) samplers.Kernel {
		k := &samplers.RWM{StepSize: constant(1), Temperature: constant(temp)}
		k.Plant(bug)
		return k
	},
	"hmc": func(temp float64, bug samplers.Hook) samplers.Kernel {
		k := &samplers.HMC{Hamiltonian: samplers.Hamiltonian{StepSize: constant(0.7), Temperature: constant(temp), Mass: []float32{1.3, 0.8}}, Leapfrogs: 3, Jitter: 0.3}
		k.Plant(bug)
		return k
	},
	"hmc dense": func(temp float64, bug samplers.Hook) samplers.Kernel {
		k := &samplers.HMC{Hamiltonian: samplers.Hamiltonian{StepSize: constant(0.5), Temperature: constant(temp), Mass: []float32{1.3, 0.5, 0.5, 0.8}}, Leapfrogs: 3}
		k.Plant(bug)
		return k
	},
	"nuts": func(temp float64, bug samplers.Hook) samplers.Kernel {
		k := &samplers.NUTS{Hamiltonian: samplers.Hamiltonian{StepSize: constant(0.45), Temperature: constant(temp), Mass: []float32{1.3, 0.8}}, MaxDepth: 6}
		k.Plant(bug)
		return k
	},
	"nuts dense": func(temp float64, bug samplers.Hook) samplers.Kernel {
		k := &samplers.NUTS{Hamiltonian: samplers.Hamiltonian{StepSize: constant(0.3), Temperature: constant(temp), Mass: []float32{1.3, 0.5, 0.5, 0.8}}}
		k.Plant(bug)
		return k
	},
	"halving": func(_ float64, bug samplers.Hook) samplers.Kernel {
		k := &samplers.Halving{StepSize: 0.8, Leapfrogs: 1, Mass: []float32{1.3, 0.8}}
		k.Plant(bug)
		return k
	},
	"underdamped": func(temp float64, bug samplers.Hook) samplers.Kernel {
		k := &samplers.Underdamped{StepSize: constant(0.8), Temperature: constant(temp)}
		k.Plant(bug)
		return k
	},
	"parallel-tempering": func(temp float64, bug samplers.Hook) samplers.Kernel {
		k := &samplers.ParallelTempering{StepSize: constant(0.2), Temperature: constant(temp), Temperatures: []float64{1, 2, 3.5}}
		k.Plant(bug)
		return k
	},
}

// exactCaseOf is kernel name, with a bug or nil, on one of four targets.
func exactCaseOf(name, on string, bug samplers.Hook) exactCase {
	temp := 1.0
	c := exactCase{name: name + " on " + on, reversible: name != "parallel-tempering" && name != "underdamped"}
	switch on {
	case "gaussian":
		temp, c.target, c.law = rankTemp, gaussTarget, gaussLaw
		if name == "parallel-tempering" {
			for _, f := range []float64{1, 2, 3.5} {
				_, law := heated(rankTemp * f)
				c.replicas = append(c.replicas, law)
			}
		}
	case "double well":
		c.target, c.law = well, well
		if name == "parallel-tempering" {
			for _, f := range []float64{1, 2, 3.5} {
				c.replicas = append(c.replicas, samplertest.DoubleWell{D: 2, H: well.H / f, B: 1})
			}
		}
	case "hole":
		c.target, c.law = samplertest.Hole{Target: hole.Gaussian, Above: float32(hole.above)}, hole
	case "clamp", "reflect":
		c.target, c.law = box.Gaussian, box
		c.cfg.Box = samplers.Box{Lo: float32(box.lo), Hi: float32(box.hi)}
		if on == "reflect" {
			c.cfg.Box.Mode = samplers.Reflect
		}
	}
	c.kernel = func() samplers.Kernel { return hooked[name](temp, bug) }
	return c
}

func TestKernelsLeaveTheirTargetInvariant(t *testing.T) {
	for name, targets := range map[string][]string{
		"mala":               {"gaussian", "double well", "hole", "clamp"},
		"rwm":                {"gaussian", "double well", "hole", "clamp", "reflect"},
		"hmc":                {"gaussian", "double well", "hole", "clamp", "reflect"},
		"hmc dense":          {"gaussian", "double well", "hole", "clamp"},
		"nuts":               {"gaussian", "double well", "hole", "clamp", "reflect"},
		"nuts dense":         {"gaussian", "double well", "hole", "clamp"},
		"parallel-tempering": {"gaussian", "double well"},
		"halving":            {"double well", "hole"},
	} {
		for _, on := range targets {
			t.Run(name+" on "+on, func(t *testing.T) {
				require.True(t, leavesInvariant(t, exactCaseOf(name, on, nil)))
			})
		}
	}
}

// replace makes a bug that alters what passes one point of a kernel.
func replace(point string, f func(v float64) float64) samplers.Hook {
	return func(at string, v float64) float64 {
		if at == point {
			return f(v)
		}
		return v
	}
}

func times(a float64) func(float64) float64 { return func(v float64) float64 { return a * v } }
func is(a float64) func(float64) float64    { return func(float64) float64 { return a } }

// plantedBugs are mistakes that samplers have had, each with a target on which
// it must be found.
var plantedBugs = []struct {
	bug, kernel, on, point string
	f                      func(float64) float64
}{
	{"proposal density without the ½", "mala", "double well", "proposal", times(2)},
	{"proposal density with the wrong sign", "mala", "gaussian", "proposal", times(-1)},
	{"proposal density left out", "mala", "gaussian", "proposal", is(0)},
	{"energy difference with the wrong sign", "mala", "gaussian", "energy", times(-1)},
	{"temperature left out of the energy", "mala", "gaussian", "energy", times(rankTemp)},
	{"noise √η for √(2η)", "mala", "gaussian", "noise", times(math.Sqrt(0.5))},
	{"half a drift", "mala", "gaussian", "drift", times(0.5)},
	{"uphill drift", "mala", "gaussian", "drift", times(-1)},
	{"stale gradient after acceptance", "mala", "gaussian", "refresh gradient", is(0)},
	{"not finite taken for no change", "mala", "hole", "not finite", is(0)},
	{"everything accepted", "mala", "double well", "log ratio", is(1)},

	{"energy difference with the wrong sign", "rwm", "gaussian", "log ratio", times(-1)},
	{"energy difference halved", "rwm", "gaussian", "log ratio", times(0.5)},
	{"asymmetric proposal", "rwm", "gaussian", "shift", is(0.3)},
	{"stale energy after acceptance", "rwm", "double well", "refresh energy", is(0)},
	{"not finite taken for no change", "rwm", "hole", "not finite", is(0)},

	{"first kick not halved", "hmc", "gaussian", "half kick", is(1)},
	{"last kick missing", "hmc", "gaussian", "last kick", is(0)},
	{"kinetic energy without the ½", "hmc", "double well", "kinetic", times(2)},
	{"kinetic energy left out", "hmc", "gaussian", "kinetic", is(0)},
	{"momenta of the wrong variance", "hmc", "gaussian", "momentum", times(1.2)},
	{"temperature left out of the energy", "hmc", "gaussian", "temperature", is(1)},
	{"stale gradient after rejection", "hmc", "hole", "restore gradient", is(0)},
	{"everything accepted", "hmc", "double well", "log ratio", is(1)},
	{"ratio of energies inverted", "hmc", "double well", "log ratio", times(-1)},
	{"not finite taken for no change", "hmc", "hole", "not finite", is(0)},

	{"only into the future", "nuts", "double well", "direction", is(1)},
	{"leaves drawn without weights", "nuts", "double well", "leaf", is(0.5)},
	{"merge ratio inverted", "nuts", "double well", "merge", times(-1)},
	{"new subtree always taken", "nuts", "double well", "merge", is(0)},
	{"turns within subtrees ignored", "nuts", "gaussian", "turn within", is(0)},
	{"half kick not halved", "nuts", "double well", "half kick", is(1)},
	{"kinetic energy without the ½", "nuts", "double well", "kinetic", times(2)},
	{"temperature left out of the energy", "nuts", "gaussian", "temperature", is(1)},
	{"stale gradient carried over", "nuts", "gaussian", "carry gradient", is(0)},

	{"the choice of step not looked back at", "halving", "double well", "look back", is(-1)},
	{"ratio of energies inverted", "halving", "double well", "log ratio", times(-1)},
	{"everything accepted", "halving", "double well", "log ratio", is(1)},

	{"exchange ratio inverted", "parallel-tempering", "gaussian", "log exchange", times(-1)},
	{"every exchange accepted", "parallel-tempering", "gaussian", "log exchange", is(0)},
	{"energies not exchanged", "parallel-tempering", "gaussian", "exchange energies", is(0)},
	{"gradients not exchanged", "parallel-tempering", "gaussian", "exchange gradients", is(0)},
}

func TestPlantedBugsAreFound(t *testing.T) {
	require.GreaterOrEqual(t, len(plantedBugs), 20)
	for _, b := range plantedBugs {
		t.Run(b.kernel+": "+b.bug, func(t *testing.T) {
			require.False(t, leavesInvariant(t, exactCaseOf(b.kernel, b.on, replace(b.point, b.f))), "not found")
		})
	}
}

// The exactness of BAOAB on a Gaussian is a closed form, so its bugs show there.
func TestPlantedBugsOfBAOAB(t *testing.T) {
	variance := func(bug samplers.Hook) float64 {
		k := &samplers.Underdamped{StepSize: constant(0.8)}
		k.Plant(bug)
		res := run(t, samplertest.StandardNormal(1), k, samplers.Config{Steps: 60, Init: exactStart(samplertest.StandardNormal(1), 20000, 5)})
		sum := 0.0
		for _, v := range res.Final {
			sum += float64(v) * float64(v) / 20000
		}
		return sum
	}
	se := math.Sqrt(2.0 / 20000)
	require.InDelta(t, 1, variance(nil), 5*se)
	for point, f := range map[string]func(float64) float64{
		"noise": times(1.1), "first kick": is(0), "last kick": is(2), "second drift": is(0),
	} {
		require.Greater(t, math.Abs(variance(replace(point, f))-1), 5*se, point)
	}
}
