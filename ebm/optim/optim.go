package optim

import "fmt"

// Optimizer updates parameters by gradients. One value serves one parameter vector, from one goroutine at a time.
type Optimizer interface {
	// Name is the optimiser's name in specifications.
	Name() string
	// Step does one update of params in place. Both slices are as long as at the first step.
	Step(params, grads []float32, lr float64) error
	// State is everything but the settings, for a checkpoint.
	State() []byte
	// Load restores what State gave, into an optimiser with the same settings.
	Load(state []byte) error
}

// Group treats parameters From … To−1 in its own way. Parameters outside of all groups are updated plainly.
type Group struct {
	From, To int
	Frozen   bool    // never updated, and not part of the norm that ClipNorm takes
	Scale    float64 // of the learning rate; 0 means 1
	NoDecay  bool    // no weight decay (biases, norms)
}

// Groups is a list of groups in rising order that do not overlap.
type Groups []Group

// Check reports what is wrong with groups over n parameters.
func (g Groups) Check(n int) error {
	end := 0
	for _, group := range g {
		if group.From < end || group.To < group.From || group.To > n {
			return fmt.Errorf("optim: group [%d, %d): groups rise, do not overlap and stay within %d parameters", group.From, group.To, n)
		}
		if group.Scale < 0 {
			return fmt.Errorf("optim: group [%d, %d): learning rate scale %g is negative", group.From, group.To, group.Scale)
		}
		end = group.To
	}
	return nil
}

// cover adds plain groups between the given ones, so that 0 … n−1 is covered.
func (g Groups) cover(n int) Groups {
	var all Groups
	end := 0
	plain := func(to int) {
		if end < to {
			all = append(all, Group{From: end, To: to, Scale: 1})
		}
	}
	for _, group := range g {
		plain(group.From)
		if group.Scale == 0 {
			group.Scale = 1
		}
		all = append(all, group)
		end = group.To
	}
	plain(n)
	return all
}

// base is what all optimisers share: the count of steps, the vectors of state and the groups.
type base struct {
	Groups Groups

	steps   uint64
	vectors [][]float32
	cover   Groups
	n       int
}

// begin checks the lengths, allocates at the first step and counts it.
func (b *base) begin(params, grads []float32, vectors int) error {
	if len(params) != len(grads) {
		return fmt.Errorf("optim: %d parameters and %d gradients", len(params), len(grads))
	}
	if b.cover == nil || b.n != len(params) {
		if b.steps > 0 && b.n != len(params) {
			return fmt.Errorf("optim: %d parameters, but %d at the steps before", len(params), b.n)
		}
		if err := b.Groups.Check(len(params)); err != nil {
			return err
		}
		b.n, b.cover = len(params), b.Groups.cover(len(params))
	}
	for len(b.vectors) < vectors {
		b.vectors = append(b.vectors, make([]float32, len(params)))
	}
	b.steps++
	return nil
}

// span is one group's share of a step.
type span struct {
	p, g      []float32
	v         [3][]float32 // state
	lr, decay float64
}

// span cuts group i out of a step; false where it is frozen.
func (b *base) span(i int, params, grads []float32, lr, decay float64) (s span, ok bool) {
	group := b.cover[i]
	if group.Frozen {
		return s, false
	}
	s = span{p: params[group.From:group.To], g: grads[group.From:group.To], lr: lr * group.Scale, decay: decay}
	for j, v := range b.vectors {
		s.v[j] = v[group.From:group.To]
	}
	if group.NoDecay {
		s.decay = 0
	}
	return s, true
}
