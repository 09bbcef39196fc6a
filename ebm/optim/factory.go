package optim

import (
	"fmt"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// Options completes a specification with what text cannot hold.
type Options struct{ Groups Groups }

type kind struct {
	name, usage string // usage with the defaults
	build       func(s *spec.Spec, b base) Optimizer
}

var kinds = []kind{
	{"sgd", "sgd:momentum=0:dampening=0:nesterov=false:weight-decay=0", buildSGD},
	{"adam", "adam:beta1=0.9:beta2=0.999:eps=1e-8:weight-decay=0", func(s *spec.Spec, b base) Optimizer { return buildAdam(s, b, NewAdam()) }},
	{"adamw", "adamw:beta1=0.9:beta2=0.999:eps=1e-8:weight-decay=0.01", func(s *spec.Spec, b base) Optimizer { return buildAdam(s, b, NewAdamW()) }},
	{"rmsprop", "rmsprop:alpha=0.99:eps=1e-8:momentum=0:centered=false:weight-decay=0", buildRMSprop},
	{"lion", "lion:beta1=0.9:beta2=0.99:weight-decay=0", buildLion},
}

// Names lists the optimisers that New makes.
func Names() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// Usages lists each optimiser with its keys and their defaults.
func Usages() []string {
	usages := make([]string, len(kinds))
	for i, k := range kinds {
		usages[i] = k.usage
	}
	return usages
}

// New makes an optimiser of NAME[:key=value]…, case ignored: "adam:beta1=0.5". Unknown names and keys list the valid ones.
func New(text string, o Options) (Optimizer, error) {
	s, err := spec.Parse(strings.ToLower(text))
	if err != nil {
		return nil, fmt.Errorf("optim: %w", err)
	}
	table := map[string]kind{}
	for _, k := range kinds {
		table[k.name] = k
	}
	k, err := spec.Lookup("optimizer", s.Name, table)
	if err != nil {
		return nil, fmt.Errorf("optim: %w", err)
	}
	optimizer := k.build(s, base{Groups: o.Groups})
	if err := s.Done(); err != nil {
		return nil, fmt.Errorf("optim: %w", err)
	}
	return optimizer, nil
}

// fraction is a number in [0, 1).
func fraction(s *spec.Spec, key string, def float64) float64 {
	f := s.NonNegative(key, def)
	if f >= 1 {
		s.Fail("%s must be below 1, not %v", key, f)
	}
	return f
}

func buildSGD(s *spec.Spec, b base) Optimizer {
	o := &SGD{
		base:        b,
		Momentum:    fraction(s, "momentum", 0),
		Dampening:   fraction(s, "dampening", 0),
		Nesterov:    s.Bool("nesterov", false),
		WeightDecay: s.NonNegative("weight-decay", 0),
	}
	if o.Nesterov && (o.Momentum == 0 || o.Dampening != 0) {
		s.Fail("nesterov needs momentum and no dampening")
	}
	return o
}

func buildAdam(s *spec.Spec, b base, o *Adam) Optimizer {
	o.base = b
	o.Beta1, o.Beta2 = fraction(s, "beta1", o.Beta1), fraction(s, "beta2", o.Beta2)
	o.Eps = s.Positive("eps", o.Eps)
	o.WeightDecay = s.NonNegative("weight-decay", o.WeightDecay)
	return o
}

func buildRMSprop(s *spec.Spec, b base) Optimizer {
	o := NewRMSprop()
	o.base = b
	o.Alpha, o.Eps = fraction(s, "alpha", o.Alpha), s.Positive("eps", o.Eps)
	o.Momentum, o.Centered = fraction(s, "momentum", 0), s.Bool("centered", false)
	o.WeightDecay = s.NonNegative("weight-decay", 0)
	return o
}

func buildLion(s *spec.Spec, b base) Optimizer {
	o := NewLion()
	o.base = b
	o.Beta1, o.Beta2 = fraction(s, "beta1", o.Beta1), fraction(s, "beta2", o.Beta2)
	o.WeightDecay = s.NonNegative("weight-decay", 0)
	return o
}
