package samplers

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// ParallelTempering runs replicas of every chain at a ladder of temperatures,
// moves each by MALA and exchanges neighbours (Swendsen & Wang 1986; Geyer
// 1991) with probability min(1, exp((1/Tᵢ−1/Tⱼ)(Eᵢ−Eⱼ))), even pairs and odd
// pairs in turn (Okabe et al. 2001; the non-reversible order of Syed et al.
// 2022). The first replica is the chain: exp(−E/T₀) is exact. Acceptance is
// that of the first replica's moves; gradients are those of all.
//
// All moves use the same η: at temperature T its noise is √T times wider, as
// the law is. State.Aux is the replicas' x, g and E, replica-major.
type ParallelTempering struct {
	StepSize    schedule.Schedule // η; nil: 0.1
	Temperature schedule.Schedule // multiplies the ladder; nil: 1
	// Temperatures is the ladder, rising from the first, which is the chain's;
	// nil: 1, 2, 4, 8.
	Temperatures []float64
	SwapEvery    int // iterations from one round of exchanges to the next; 0: 1

	hook   hook
	move   malaMove
	ladder []float64
	accept []float32
}

// Start implements Kernel.
func (p *ParallelTempering) Start(ctx context.Context, t Target, s *State) error {
	if s.Box.active() && s.Box.Mode == Reflect {
		return errReflect
	}
	p.ladder = p.Temperatures
	if len(p.ladder) == 0 {
		p.ladder = []float64{1, 2, 4, 8}
	}
	for i, v := range p.ladder {
		if !finite64(v) || v <= 0 || i > 0 && v <= p.ladder[i-1] {
			return fmt.Errorf("samplers: temperatures %v; give positive ones that rise", p.ladder)
		}
	}
	gradients, err := s.refresh(ctx, t)
	if err != nil {
		return err
	}
	s.Startup.Gradients += gradients
	r := len(p.ladder)
	if len(s.Aux) != r*s.N*(2*s.Dim+1) {
		s.Aux = make([]float32, r*s.N*(2*s.Dim+1))
		x, g, e := p.replicas(s)
		for i := range r {
			copy(x[i*len(s.X):], s.X)
			copy(g[i*len(s.X):], s.G)
			copy(e[i*s.N:], s.E)
		}
	}
	p.accept = sized(p.accept, r*s.N)
	p.move.start(s.N, r, s.Dim, p.hook)
	return nil
}

// replicas are the parts of State.Aux: x and g [R·N·D], E [R·N].
func (p *ParallelTempering) replicas(s *State) (x, g, e []float32) {
	n := len(p.ladder) * len(s.X)
	return s.Aux[:n], s.Aux[n : 2*n], s.Aux[2*n:]
}

// Step implements Kernel.
func (p *ParallelTempering) Step(ctx context.Context, t Target, s *State, k rng.Key) (Info, error) {
	eta, temp := value(p.StepSize, s.Step, defaultMetropolisStep), value(p.Temperature, s.Step, 1)
	if err := errors.Join(positive("the step size", eta, s.Step, false), positive("the temperature", temp, s.Step, false)); err != nil {
		return Info{}, err
	}
	p.move.eta = eta
	for i, f := range p.ladder {
		p.move.temp[i] = temp * f
	}
	x, g, e := p.replicas(s)
	if err := p.move.step(ctx, t, s, x, e, g, p.accept, k); err != nil {
		return Info{}, err
	}
	info := count(p.accept, p.move.verdicts)
	info.Moves, info.Accepted = s.N, 0
	for c, a := range p.accept[:s.N] {
		s.Accept[c] = a
		info.Accepted += float64(a)
	}
	info.Gradients = len(e)
	if every := max(p.SwapEvery, 1); (s.Step+1)%every == 0 {
		p.exchange(s, k.Sub("exchange"), s.Step/every%2, &info)
	}
	copy(s.X, x)
	copy(s.G, g)
	copy(s.E, e)
	s.StepSize = float32(eta)
	s.Step++
	return info, nil
}

// exchange offers to swap replicas i and i+1 of every chain, i of one parity.
func (p *ParallelTempering) exchange(s *State, k rng.Key, parity int, info *Info) {
	x, g, e := p.replicas(s)
	for i := parity; i+1 < len(p.ladder); i += 2 {
		gap := p.hook.at("inverse temperatures", 1/p.move.temp[i]-1/p.move.temp[i+1])
		for c := range s.N {
			a, b := i*s.N+c, (i+1)*s.N+c
			logRatio := gap * (float64(e[a]) - float64(e[b]))
			v, prob := decide(p.hook.at("log exchange", logRatio), k, s.Step, a)
			info.Swaps++
			info.SwapsAccepted += float64(prob)
			if v != accepted {
				continue
			}
			swapRows(x, a, b, s.Dim)
			if p.hook.at("exchange gradients", 1) != 0 {
				swapRows(g, a, b, s.Dim)
			}
			if p.hook.at("exchange energies", 1) != 0 {
				e[a], e[b] = e[b], e[a]
			}
		}
	}
}

func swapRows(v []float32, a, b, d int) {
	x, y := v[a*d:(a+1)*d], v[b*d:(b+1)*d]
	for i := range x {
		x[i], y[i] = y[i], x[i]
	}
}

// finiteStart refuses first states that a Metropolis test could not judge.
func finiteStart(e []float32) error {
	for c, v := range e {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("samplers: chain %d starts where the energy is %v; give other initial states", c, v)
		}
	}
	return nil
}
