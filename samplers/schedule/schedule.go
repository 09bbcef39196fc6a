package schedule

import (
	"math"
	"strconv"
	"strings"
)

// Schedule is a value that depends on the step alone.
type Schedule interface {
	// At is the value at step n; 0 is the first step and negative steps count as 0.
	At(step int) float64
	// String is the text form; Parse reads it back to an equal schedule.
	String() string
}

// Constant is Value at every step.
type Constant struct{ Value float64 }

// Linear goes from From to To in a straight line and stays there:
// v(n) = From + (To−From)·n/Steps, and To from n = Steps on.
type Linear struct {
	From, To float64
	Steps    int
}

// Cosine goes from From to To along half a cosine and stays there:
// v(n) = To + (From−To)·(1+cos(πn/Steps))/2, and To from n = Steps on
// (Loshchilov & Hutter 2017, eq. 5, one cycle).
type Cosine struct {
	From, To float64
	Steps    int
}

// Exponential decays by a factor a step: v(n) = max(Min, From·Rateⁿ).
type Exponential struct{ From, Rate, Min float64 }

// MultiStep multiplies by Gamma at each milestone:
// v(n) = From·Gamma^#{milestones ≤ n}.
type MultiStep struct {
	From, Gamma float64
	Milestones  []int // strictly increasing, positive
}

// Warmup rises in a straight line from 0.01·v₀ to v₀ = Then.At(0) during Steps
// steps; after them Then runs from its own beginning.
type Warmup struct {
	Steps int
	Then  Schedule
}

// Polynomial goes from From to To and stays there:
// v(n) = To + (From−To)·(1−min(n,Steps)/Steps)^Power.
type Polynomial struct {
	From, To float64
	Steps    int
	Power    float64
}

// warmupFactor is where a warm-up starts, as a fraction of the first value.
const warmupFactor = 0.01

// fraction is how much of steps is done at step n, within [0, 1].
func fraction(n, steps int) float64 {
	switch {
	case n >= steps:
		return 1
	case n <= 0:
		return 0
	}
	return float64(n) / float64(steps)
}

// At is Value.
func (s Constant) At(int) float64 { return s.Value }

// At is the value at step n.
func (s Linear) At(n int) float64 {
	f := fraction(n, s.Steps)
	if f == 1 {
		return s.To
	}
	return s.From + (s.To-s.From)*f
}

// At is the value at step n.
func (s Cosine) At(n int) float64 {
	f := fraction(n, s.Steps)
	if f == 1 {
		return s.To
	}
	return s.To + (s.From-s.To)*(1+math.Cos(math.Pi*f))/2
}

// At is the value at step n.
func (s Exponential) At(n int) float64 {
	return max(s.Min, s.From*math.Pow(s.Rate, float64(max(n, 0))))
}

// At is the value at step n.
func (s MultiStep) At(n int) float64 {
	passed := 0
	for _, at := range s.Milestones {
		if at <= n {
			passed++
		}
	}
	return s.From * math.Pow(s.Gamma, float64(passed))
}

// At is the value at step n.
func (s Warmup) At(n int) float64 {
	if s.Then == nil {
		return 0
	}
	if n >= s.Steps {
		return s.Then.At(n - s.Steps)
	}
	last := s.Then.At(0)
	first := warmupFactor * last
	return first + (last-first)*fraction(n, s.Steps)
}

// At is the value at step n.
func (s Polynomial) At(n int) float64 {
	f := fraction(n, s.Steps)
	if f == 1 {
		return s.To
	}
	return s.To + (s.From-s.To)*math.Pow(1-f, s.Power)
}

// String is the number.
func (s Constant) String() string { return number(s.Value) }

// String is linear:from,to,steps.
func (s Linear) String() string { return text("linear", s.From, s.To, float64(s.Steps)) }

// String is cosine:from,to,steps.
func (s Cosine) String() string { return text("cosine", s.From, s.To, float64(s.Steps)) }

// String is exponential:from,rate, with the minimum where there is one.
func (s Exponential) String() string {
	if s.Min == 0 {
		return text("exponential", s.From, s.Rate)
	}
	return text("exponential", s.From, s.Rate, s.Min)
}

// String is multistep:from,gamma,at1,at2….
func (s MultiStep) String() string {
	args := []float64{s.From, s.Gamma}
	for _, at := range s.Milestones {
		args = append(args, float64(at))
	}
	return text("multistep", args...)
}

// String is warmup:steps,SCHEDULE.
func (s Warmup) String() string {
	then := "0"
	if s.Then != nil {
		then = s.Then.String()
	}
	return text("warmup", float64(s.Steps)) + "," + then
}

// String is polynomial:from,to,steps,power.
func (s Polynomial) String() string {
	return text("polynomial", s.From, s.To, float64(s.Steps), s.Power)
}

// number is the shortest text that parses to the same float64.
func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func text(name string, args ...float64) string {
	parts := make([]string, len(args))
	for i, a := range args {
		parts[i] = number(a)
	}
	return name + ":" + strings.Join(parts, ",")
}
