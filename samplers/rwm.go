package samplers

import (
	"context"
	"errors"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// RWM is random-walk Metropolis (Metropolis et al. 1953): x′ = x + sε is
// accepted with probability min(1, exp(−(E(x′)−E(x))/T)). It asks for energies
// alone. The optimal s on N(0, I_d) is 2.38/√d, with acceptance 0.234 (Roberts,
// Gelman & Gilks 1997). Reflecting walls keep the proposal symmetric.
type RWM struct {
	StepSize    schedule.Schedule // s, the proposal's standard deviation; nil: 0.1
	Temperature schedule.Schedule // T; nil: 1
	// TargetAccept, where positive, is the mean acceptance that s is scaled to
	// while the run adapts; 0 leaves s alone.
	TargetAccept float64

	hook       hook
	y, ey      []float32
	verdicts   []verdict
	s          *State
	scale      float32
	temp       float64
	k, coin    rng.Key
	propose    func(lo, hi int)
	decideRows func(lo, hi int)
}

// Start implements Kernel.
func (m *RWM) Start(ctx context.Context, t Target, s *State) error {
	if err := validGoal(m.TargetAccept); err != nil {
		return err
	}
	if !s.EnergyFresh {
		if err := s.Energies(ctx, t); err != nil {
			return err
		}
		s.Startup.Energies += s.N
	}
	if err := finiteStart(s.E); err != nil {
		return err
	}
	m.y, m.ey, m.verdicts = sized(m.y, len(s.X)), sized(m.ey, s.N), sized(m.verdicts, s.N)
	m.propose, m.decideRows = m.proposeRange, m.decideRange
	return nil
}

// Step implements Kernel.
func (m *RWM) Step(ctx context.Context, t Target, s *State, k rng.Key) (Info, error) {
	scale := value(m.StepSize, s.Step, defaultMetropolisStep) * tuned(s, m.TargetAccept)
	temp := value(m.Temperature, s.Step, 1)
	if err := errors.Join(positive("the step size", scale, s.Step, false), positive("the temperature", temp, s.Step, false)); err != nil {
		return Info{}, err
	}
	m.s, m.scale, m.temp = s, float32(scale), temp
	m.k, m.coin = k.Sub("proposal"), k.Sub("accept")
	s.rows(m.propose)
	if err := evaluate(ctx, t, m.y, s.N, m.ey, nil); err != nil {
		return Info{}, err
	}
	s.rows(m.decideRows)
	s.GradientFresh = false
	s.StepSize = m.scale
	info := count(s.Accept, m.verdicts)
	info.Energies = s.N
	learnStep(s, m.TargetAccept, info.Acceptance())
	s.Step++
	return info, nil
}

func (m *RWM) proposeRange(lo, hi int) {
	a, b := lo*m.s.Dim, hi*m.s.Dim
	y, x := m.y[a:b], m.s.X[a:b]
	m.k.Normals(y, uint64(m.s.Step), uint64(a))
	shift := float32(m.hook.at("shift", 0))
	for i := range y {
		y[i] = x[i] + float32(m.scale*(y[i]+shift))
	}
	if m.s.Box.Mode == Reflect {
		m.s.Box.apply(y, nil)
	}
}

func (m *RWM) decideRange(lo, hi int) {
	s := m.s
	for c := lo; c < hi; c++ {
		y := s.row(m.y, c)
		r := m.hook.at("log ratio", -(float64(m.ey[c])-float64(s.E[c]))/m.temp)
		switch {
		case !allFinite(y):
			r = math.NaN()
		case !s.Box.contains(y):
			r = math.Inf(-1)
		case !isFinite(m.ey[c]):
			r = m.hook.at("not finite", math.NaN())
		}
		m.verdicts[c], s.Accept[c] = decide(r, m.coin, s.Step, c)
		if m.verdicts[c] == accepted {
			copy(s.row(s.X, c), y)
			if m.hook.at("refresh energy", 1) != 0 {
				s.E[c] = m.ey[c]
			}
		}
	}
}
