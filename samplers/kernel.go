package samplers

import (
	"context"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// Kernel is one way of moving chains. A kernel value holds settings and
// scratch space and serves one run at a time; all that it must remember is in
// the State.
type Kernel interface {
	// Start prepares the kernel for s. On a state that has moved before (Step
	// > 0) it changes nothing that the coming iterations depend on.
	Start(ctx context.Context, t Target, s *State) error
	// Step does one iteration, number s.Step, on all chains and adds 1 to
	// s.Step. k is the same at every call of a run. On an error the state is
	// that of before the call.
	Step(ctx context.Context, t Target, s *State, k rng.Key) (Info, error)
}

// multiStepper is a kernel that can do many iterations in one go. It writes
// each one's mean acceptance into accept (len n) and says how many it did.
type multiStepper interface {
	steps(ctx context.Context, t Target, s *State, k rng.Key, accept []float32) (done int, info Info, err error)
}

// value is a schedule's value at a step, or the default where there is none.
func value(s schedule.Schedule, step int, otherwise float64) float64 {
	if s == nil {
		return otherwise
	}
	return s.At(step)
}

// positive checks one scheduled value; zero says whether 0 will do.
func positive(what string, v float64, step int, zero bool) error {
	if finite64(v) && (v > 0 || zero && v == 0) && !math.IsInf(float64(float32(v)), 0) {
		return nil
	}
	return fmt.Errorf("samplers: %s is %v at step %d; give a schedule that stays positive", what, v, step)
}
