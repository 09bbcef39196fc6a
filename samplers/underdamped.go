package samplers

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// Underdamped is underdamped (kinetic) Langevin dynamics of unit mass,
//
//	dx = v dt,  dv = −∇E dt − γv dt + √(2γT) dW,
//
// in the splitting BAOAB (Leimkuhler & Matthews 2013): half a kick, half a
// drift, the exact friction and noise, half a drift, half a kick; one gradient
// an iteration. It is unadjusted, but on a Gaussian x has the exact law
// (velocities have variance T(1−h²/4) for unit curvature); stable for h below
// 2/√(largest curvature). State.Aux is v [N·D], which starts at N(0, T).
//
// A step to what is not finite is rejected, with v set to 0, and counted.
type Underdamped struct {
	StepSize    schedule.Schedule // h; nil: 0.1
	Temperature schedule.Schedule // T; nil: 1
	Friction    schedule.Schedule // γ; nil: 1

	hook              hook
	prevX, prevG, old []float32
	s                 *State
	h, keep, noise    float32
	k                 rng.Key
	before, after     func(lo, hi int)
}

// Start implements Kernel.
func (u *Underdamped) Start(ctx context.Context, t Target, s *State) error {
	if !s.GradientFresh {
		if err := evaluate(ctx, t, s.X, s.N, nil, s.G); err != nil {
			return err
		}
		s.GradientFresh = true
		s.Startup.Gradients += s.N
	}
	for c := range s.N {
		if !allFinite(s.row(s.G, c)) {
			return fmt.Errorf("samplers: chain %d starts where the gradient is not finite; give other initial states", c)
		}
	}
	u.prevX, u.prevG, u.old = sized(u.prevX, len(s.X)), sized(u.prevG, len(s.X)), sized(u.old, len(s.X))
	u.before, u.after = u.firstHalf, u.secondHalf
	return nil
}

// Step implements Kernel.
func (u *Underdamped) Step(ctx context.Context, t Target, s *State, k rng.Key) (Info, error) {
	h := value(u.StepSize, s.Step, defaultMetropolisStep)
	temp := value(u.Temperature, s.Step, 1)
	friction := value(u.Friction, s.Step, 1)
	if err := errors.Join(positive("the step size", h, s.Step, true), positive("the temperature", temp, s.Step, true), positive("the friction", friction, s.Step, true)); err != nil {
		return Info{}, err
	}
	if len(s.Aux) != len(s.X) {
		s.Aux = make([]float32, len(s.X))
		k.Sub("velocity").Normals(s.Aux, 0, 0)
		scale(s.Aux, float32(math.Sqrt(temp)))
	}
	keep := math.Exp(-u.hook.at("friction", friction) * h)
	u.s, u.h, u.k = s, float32(h), k
	u.keep, u.noise = float32(keep), float32(u.hook.at("noise", math.Sqrt(temp*(1-keep*keep))))
	copy(u.prevX, s.X)
	copy(u.prevG, s.G)
	copy(u.old, s.Aux)
	s.rows(u.before)
	if err := evaluate(ctx, t, s.X, s.N, nil, s.G); err != nil {
		copy(s.X, u.prevX)
		copy(s.G, u.prevG)
		copy(s.Aux, u.old)
		return Info{}, err
	}
	s.rows(u.after)
	s.EnergyFresh, s.GradientFresh = false, true
	s.StepSize = u.h
	s.Step++
	info := tally(s)
	info.Gradients = s.N
	return info, nil
}

// firstHalf is B, A, O, A.
func (u *Underdamped) firstHalf(lo, hi int) {
	s := u.s
	for c := lo; c < hi; c++ {
		x, v, g := s.row(s.X, c), s.row(s.Aux, c), s.row(s.G, c)
		kick(v, g, u.h/2*float32(u.hook.at("first kick", 1)))
		drift(x, v, u.h/2)
		s.Box.apply(x, v)
		scale(v, u.keep)
		u.k.Langevin(v, v, 0, u.noise, uint64(s.Step), uint64(c*s.Dim))
		drift(x, v, u.h/2*float32(u.hook.at("second drift", 1)))
		s.Box.apply(x, v)
	}
}

// secondHalf is the last B, where the new state is finite.
func (u *Underdamped) secondHalf(lo, hi int) {
	s := u.s
	for c := lo; c < hi; c++ {
		x, v, g := s.row(s.X, c), s.row(s.Aux, c), s.row(s.G, c)
		kick(v, g, u.h/2*float32(u.hook.at("last kick", 1)))
		s.Accept[c] = 1
		if allFinite(x) && allFinite(v) && allFinite(g) {
			continue
		}
		s.Accept[c] = 0
		copy(x, s.row(u.prevX, c))
		copy(g, s.row(u.prevG, c))
		clear(v)
	}
}

// kick is p ← p − h·g.
func kick(p, g []float32, h float32) {
	g = g[:len(p)]
	for i := range p {
		p[i] -= float32(h * g[i])
	}
}

// drift is x ← x + h·v.
func drift(x, v []float32, h float32) {
	v = v[:len(x)]
	for i := range x {
		x[i] += float32(h * v[i])
	}
}

// scale is v ← a·v.
func scale(v []float32, a float32) {
	for i := range v {
		v[i] *= a
	}
}
