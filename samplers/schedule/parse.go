package schedule

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// form is one kind of schedule as text: how it is written, how many numbers it
// takes, and how they make a schedule.
type form struct {
	name, usage string
	least, most int
	build       func(a []float64) (Schedule, error)
}

// forms are the ways to write a schedule, but for the bare number and warmup
// (which holds another schedule).
var forms = []form{
	{"linear", "linear:from,to,steps", 3, 3, func(a []float64) (Schedule, error) {
		n, err := whole("steps", a[2], 1)
		return Linear{a[0], a[1], n}, err
	}},
	{"cosine", "cosine:from,to,steps", 3, 3, func(a []float64) (Schedule, error) {
		n, err := whole("steps", a[2], 1)
		return Cosine{a[0], a[1], n}, err
	}},
	{"exponential", "exponential:from,rate[,min]", 2, 3, func(a []float64) (Schedule, error) {
		if a[1] <= 0 || a[1] > 1 {
			return nil, fmt.Errorf("rate is %v, want 0 < rate ≤ 1", a[1])
		}
		s := Exponential{From: a[0], Rate: a[1]}
		if len(a) == 3 {
			s.Min = a[2]
		}
		return s, nil
	}},
	{"multistep", "multistep:from,gamma,at1,at2…", 3, math.MaxInt, func(a []float64) (Schedule, error) {
		s := MultiStep{From: a[0], Gamma: a[1]}
		last := 0
		for _, v := range a[2:] {
			at, err := whole("a milestone", v, 1)
			if err != nil {
				return nil, err
			}
			if at <= last {
				return nil, fmt.Errorf("milestone %d comes after %d, want them increasing", at, last)
			}
			s.Milestones, last = append(s.Milestones, at), at
		}
		return s, nil
	}},
	{"polynomial", "polynomial:from,to,steps,power", 4, 4, func(a []float64) (Schedule, error) {
		n, err := whole("steps", a[2], 1)
		if a[3] <= 0 {
			return nil, fmt.Errorf("power is %v, want it above 0", a[3])
		}
		return Polynomial{a[0], a[1], n, a[3]}, err
	}},
}

const warmupUsage = "warmup:steps,SCHEDULE"

// Forms lists every way to write a schedule.
func Forms() []string {
	out := []string{"a number"}
	for _, f := range forms {
		out = append(out, f.usage)
	}
	return append(out, warmupUsage)
}

// Parse reads a schedule: a number, or one of linear:from,to,steps,
// cosine:from,to,steps, exponential:from,rate[,min],
// multistep:from,gamma,at1,at2…, warmup:steps,SCHEDULE and
// polynomial:from,to,steps,power. The error lists the forms.
func Parse(s string) (Schedule, error) {
	sch, err := parse(strings.TrimSpace(s))
	if err != nil {
		return nil, fmt.Errorf("schedule: %q: %w", s, err)
	}
	return sch, nil
}

func parse(s string) (Schedule, error) {
	name, rest, has := strings.Cut(s, ":")
	if !has {
		v, err := finite(s)
		if err != nil {
			return nil, fmt.Errorf("%w; want %s", err, strings.Join(Forms(), ", "))
		}
		return Constant{v}, nil
	}
	if name == "warmup" {
		return parseWarmup(rest)
	}
	for _, f := range forms {
		if f.name == name {
			return f.parse(rest)
		}
	}
	return nil, fmt.Errorf("there is no schedule %q; want %s", name, strings.Join(Forms(), ", "))
}

func (f form) parse(rest string) (Schedule, error) {
	parts := strings.Split(rest, ",")
	if len(parts) < f.least || len(parts) > f.most {
		return nil, fmt.Errorf("%s takes another number of values than %d; write %s", f.name, len(parts), f.usage)
	}
	args := make([]float64, len(parts))
	for i, p := range parts {
		v, err := finite(p)
		if err != nil {
			return nil, fmt.Errorf("%w; write %s", err, f.usage)
		}
		args[i] = v
	}
	sch, err := f.build(args)
	if err != nil {
		return nil, fmt.Errorf("%w; write %s", err, f.usage)
	}
	return sch, nil
}

func parseWarmup(rest string) (Schedule, error) {
	head, tail, has := strings.Cut(rest, ",")
	if !has {
		return nil, errors.New("warmup needs a schedule after its steps; write " + warmupUsage)
	}
	v, err := finite(head)
	if err != nil {
		return nil, fmt.Errorf("%w; write %s", err, warmupUsage)
	}
	steps, err := whole("steps", v, 0)
	if err != nil {
		return nil, fmt.Errorf("%w; write %s", err, warmupUsage)
	}
	then, err := parse(strings.TrimSpace(tail))
	if err != nil {
		return nil, err
	}
	return Warmup{steps, then}, nil
}

// finite reads one finite number.
func finite(s string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is not a finite number", s)
	}
	return v, nil
}

// whole is v as an integer of at least least. The upper bound keeps it exact
// in a float64 and in an int of 32 bits.
func whole(what string, v float64, least int) (int, error) {
	if v != math.Trunc(v) || v < float64(least) || v > math.MaxInt32 {
		return 0, fmt.Errorf("%s is %v, want a whole number from %d to %d", what, v, least, math.MaxInt32)
	}
	return int(v), nil
}
