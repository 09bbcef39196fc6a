package samplers

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// MALA is the Metropolis-adjusted Langevin algorithm (Roberts & Tweedie 1996):
// the step of Langevin is a proposal x′, accepted with probability
//
//	min(1, exp(−(E(x′)−E(x))/T − (‖x−x′+η∇E(x′)‖² − ‖x′−x+η∇E(x)‖²)/(4ηT))),
//
// so that exp(−E/T) is exact. The optimal η on N(0, I_d) is ½ℓ²d^{−1/3}, ℓ =
// 1.65, with acceptance 0.574 (Roberts & Rosenthal 1998). The gradient is
// carried over: one evaluation an iteration.
type MALA struct {
	StepSize    schedule.Schedule // η; nil: 0.1
	Temperature schedule.Schedule // T; nil: 1
	// TargetAccept, where positive, is the mean acceptance that η is scaled to
	// while the run adapts; 0 leaves η alone.
	TargetAccept float64

	hook hook
	move malaMove
}

const defaultMetropolisStep = 0.1

var errReflect = errors.New("samplers: reflecting walls would need the density of the folded proposal, which this sampler does not have; use clamp, which rejects proposals outside the box")

// Start implements Kernel.
func (m *MALA) Start(ctx context.Context, t Target, s *State) error {
	if s.Box.active() && s.Box.Mode == Reflect {
		return errReflect
	}
	if err := validGoal(m.TargetAccept); err != nil {
		return err
	}
	gradients, err := s.refresh(ctx, t)
	if err != nil {
		return err
	}
	s.Startup.Gradients += gradients
	m.move.start(s.N, 1, s.Dim, m.hook)
	return nil
}

// Step implements Kernel.
func (m *MALA) Step(ctx context.Context, t Target, s *State, k rng.Key) (Info, error) {
	factor := tuned(s, m.TargetAccept)
	eta := value(m.StepSize, s.Step, defaultMetropolisStep) * factor
	temp := value(m.Temperature, s.Step, 1)
	if err := errors.Join(positive("the step size", eta, s.Step, false), positive("the temperature", temp, s.Step, false)); err != nil {
		return Info{}, err
	}
	m.move.eta, m.move.temp[0] = eta, temp
	if err := m.move.step(ctx, t, s, s.X, s.E, s.G, s.Accept, k); err != nil {
		return Info{}, err
	}
	s.StepSize = float32(eta)
	info := count(s.Accept, m.move.verdicts)
	info.Gradients = s.N
	learnStep(s, m.TargetAccept, info.Acceptance())
	s.Step++
	return info, nil
}

// malaMove moves groups of n chains each at its own temperature; the row of
// chain c in group r is r·n+c.
type malaMove struct {
	n, d     int
	eta      float64
	temp     []float64 // one a group
	y, gy    []float32 // proposals and their gradients
	ey       []float32
	verdicts []verdict
	hook     hook

	s           *State
	x, e, g     []float32
	accept      []float32
	noise, coin rng.Key
	proposeRows func(lo, hi int)
	decideRows  func(lo, hi int)
}

func (m *malaMove) start(n, groups, d int, h hook) {
	rows := n * groups
	m.n, m.d, m.hook = n, d, h
	m.temp = make([]float64, groups)
	m.y, m.gy, m.ey = sized(m.y, rows*d), sized(m.gy, rows*d), sized(m.ey, rows)
	m.verdicts = sized(m.verdicts, rows)
	m.proposeRows, m.decideRows = m.propose, m.decide
}

// step does one iteration on rows x, whose e and g are fresh and stay so.
func (m *malaMove) step(ctx context.Context, t Target, s *State, x, e, g, accept []float32, k rng.Key) error {
	m.s, m.x, m.e, m.g, m.accept = s, x, e, g, accept
	m.noise, m.coin = k.Sub("proposal"), k.Sub("accept")
	rows := len(e)
	s.team.run(rows, m.d, m.proposeRows)
	if err := evaluate(ctx, t, m.y, rows, m.ey, m.gy); err != nil {
		return err
	}
	s.team.run(rows, m.d, m.decideRows)
	return nil
}

func (m *malaMove) propose(lo, hi int) {
	for lo < hi {
		group := lo / m.n
		end := min(hi, (group+1)*m.n)
		a, b := lo*m.d, end*m.d
		copy(m.y[a:b], m.x[a:b])
		eta, temp := float32(m.eta), float32(m.temp[group])
		sigma := float32(m.hook.at("noise", float64(NoiseScale(eta, temp))))
		drift := float32(m.hook.at("drift", float64(eta)))
		m.noise.Langevin(m.y[a:b], m.g[a:b], drift, sigma, uint64(m.s.Step), uint64(a))
		lo = end
	}
}

func (m *malaMove) decide(lo, hi int) {
	d := m.d
	for row := lo; row < hi; row++ {
		x, y, g, gy := m.x[row*d:(row+1)*d], m.y[row*d:(row+1)*d], m.g[row*d:(row+1)*d], m.gy[row*d:(row+1)*d]
		m.verdicts[row], m.accept[row] = decide(m.logRatio(row, x, y, g, gy), m.coin, m.s.Step, row)
		if m.verdicts[row] == accepted {
			copy(x, y)
			m.e[row] = m.ey[row]
			if m.hook.at("refresh gradient", 1) != 0 {
				copy(g, gy)
			}
		}
	}
}

func (m *malaMove) logRatio(row int, x, y, g, gy []float32) float64 {
	if !m.s.Box.contains(y) && allFinite(y) {
		return math.Inf(-1)
	}
	temp := m.temp[row/m.n]
	eta := float64(float32(m.eta))
	forward, back := 0.0, 0.0
	for i := range x {
		a, b := float64(x[i]), float64(y[i])
		f := b - a + eta*float64(g[i])
		r := a - b + eta*float64(gy[i])
		forward += f * f
		back += r * r
	}
	proposal := m.hook.at("proposal", (back-forward)/(4*eta*temp))
	energy := m.hook.at("energy", (float64(m.ey[row])-float64(m.e[row]))/temp)
	r := m.hook.at("log ratio", -energy-proposal)
	if !finite64(r) || !allFinite(gy) {
		return m.hook.at("not finite", math.NaN())
	}
	return r
}

// validGoal checks a target acceptance; 0 is none.
func validGoal(a float64) error {
	if a < 0 || a >= 1 || math.IsNaN(a) {
		return fmt.Errorf("samplers: the target acceptance is %v; give one between 0 and 1", a)
	}
	return nil
}
