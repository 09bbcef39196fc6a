package losses

import (
	"context"
	"errors"
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Run plans, evaluates, takes the value and does dTheta += ∂loss/∂θ. dTheta is as long as m.Params(), or nil where no gradient is
// wanted. Queries about the same rows are evaluated once. Penalties of the loss are included and reported as reg_loss.
//
// A loss that is NaN or infinite comes back as it is, with ErrNonFinite and dTheta untouched; check it with errors.Is. The same holds
// for a loss that hides a non-finite energy, as the logistic function would.
func Run(ctx context.Context, m Model, l Loss, b Batch, k rng.Key, dTheta []float32) (res Result, err error) {
	if b.Dim != m.Dim() {
		return Result{}, fmt.Errorf("losses: %s: rows of %d values for a model of %d", l.Name(), b.Dim, m.Dim())
	}
	if dTheta != nil && len(dTheta) != len(m.Params()) {
		return Result{}, fmt.Errorf("losses: %s: a gradient of %d values for %d parameters", l.Name(), len(dTheta), len(m.Params()))
	}
	queries, err := l.Plan(ctx, b, k)
	if err != nil {
		return Result{}, err
	}
	var penalty Penalty
	if p, ok := l.(Penalised); ok {
		penalty = p.Penalties()
	}
	smooth := GradientPenalty{Lambda: penalty.Gradient}
	own := len(queries)
	if smooth.Lambda != 0 {
		more, err := smooth.Plan(ctx, b, k)
		if err != nil {
			return Result{}, err
		}
		queries = append(queries[:own:own], more...)
	}

	tasks := merge(queries)
	defer func() {
		for _, t := range tasks {
			if failed := t.close(); failed != nil {
				err = errors.Join(err, failed)
			}
		}
	}()
	values := make([]Values, len(queries))
	for i := range tasks {
		if err := tasks[i].evaluate(ctx, m, dTheta != nil, values, queries); err != nil {
			return Result{}, fmt.Errorf("losses: %s: evaluating %v at %d rows: %w", l.Name(), tasks[i].query.Want, tasks[i].query.N, err)
		}
	}
	res, err = l.Value(queries[:own], values[:own])
	if err != nil {
		return Result{}, err
	}
	if len(res.Cotangents) != own {
		return Result{}, fmt.Errorf("losses: %s: %d cotangents for %d queries", l.Name(), len(res.Cotangents), own)
	}
	if penalty != (Penalty{}) {
		reg := penalty.params(m)
		if smooth.Lambda != 0 {
			more, err := smooth.Value(queries[own:], values[own:])
			if err != nil {
				return Result{}, err
			}
			reg += more.Loss
			res.Cotangents = append(res.Cotangents[:own:own], more.Cotangents...)
		}
		res.Loss += reg
		res.Terms = withReg(res.Terms, reg)
	}
	if !finite(res.Loss) {
		return res, fmt.Errorf("losses: %s: %w: %g", l.Name(), ErrNonFinite, res.Loss)
	}
	if bad := nonFiniteEnergies(values); bad > 0 {
		return res, fmt.Errorf("losses: %s: %w: %d energies are not finite", l.Name(), ErrNonFinite, bad)
	}
	if dTheta == nil {
		return res, nil
	}
	for i := range tasks {
		if err := tasks[i].pull.Add(tasks[i].cotangent(res.Cotangents), dTheta); err != nil {
			return res, fmt.Errorf("losses: %s: gradient by the parameters: %w", l.Name(), err)
		}
	}
	penalty.addParams(m, dTheta)
	return res, nil
}

// nonFiniteEnergies counts NaN and infinite energies. Of ∇E, Hv and the Laplacian the losses are polynomials and show them.
func nonFiniteEnergies(values []Values) (count int) {
	for _, v := range values {
		for _, e := range v.E {
			if !finite(float64(e)) {
				count++
			}
		}
	}
	return count
}

// withReg adds to the term reg_loss, or appends it.
func withReg(terms []Term, reg float64) []Term {
	for i := range terms {
		if terms[i].Name == regTerm {
			terms[i].Value += reg
			return terms
		}
	}
	return append(terms[:len(terms):len(terms)], Term{regTerm, reg})
}

// task is one evaluation, answering one or more queries.
type task struct {
	query   Query
	members []int
	pull    Pullback
}

// merge joins queries about the same rows (the same memory) unless both bring different directions.
func merge(queries []Query) []task {
	tasks := make([]task, 0, len(queries))
next:
	for i, q := range queries {
		for j := range tasks {
			t := &tasks[j]
			if q.N != t.query.N || !same(q.X, t.query.X) || q.K > 0 && t.query.K > 0 && !(q.K == t.query.K && same(q.V, t.query.V)) {
				continue
			}
			t.query.Want |= q.Want
			if q.K > 0 {
				t.query.K, t.query.V = q.K, q.V
			}
			t.members = append(t.members, i)
			continue next
		}
		tasks = append(tasks, task{query: q, members: []int{i}})
	}
	return tasks
}

func same(a, b []float32) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// evaluate asks the model and gives every member what it wanted.
func (t *task) evaluate(ctx context.Context, m Model, gradient bool, values []Values, queries []Query) (err error) {
	var v Values
	if e, ok := m.(Evaluator); ok && !gradient {
		v, err = e.Evaluate(ctx, t.query)
	} else {
		v, t.pull, err = m.Linearize(ctx, t.query)
	}
	if err != nil {
		return err
	}
	for _, i := range t.members {
		values[i] = v.only(queries[i].Want)
	}
	return nil
}

// cotangent is the sum of the members' cotangents.
func (t *task) cotangent(all []Values) Values {
	sum := all[t.members[0]]
	for _, i := range t.members[1:] {
		sum = Values{
			E:   plus(sum.E, all[i].E),
			G:   plus(sum.G, all[i].G),
			HV:  plus(sum.HV, all[i].HV),
			Lap: plus(sum.Lap, all[i].Lap),
		}
	}
	return sum
}

func (t *task) close() error {
	if t.pull == nil {
		return nil
	}
	return t.pull.Close()
}

// only keeps the wanted values.
func (v Values) only(w Want) Values {
	var out Values
	if w.Has(WantEnergy) {
		out.E = v.E
	}
	if w.Has(WantGradient) {
		out.G = v.G
	}
	if w.Has(WantHVP) {
		out.HV = v.HV
	}
	if w.Has(WantLaplacian) {
		out.Lap = v.Lap
	}
	return out
}

// plus is a + b, where nil is zero.
func plus(a, b []float32) []float32 {
	if a == nil || b == nil {
		return append(a[:len(a):len(a)], b...)
	}
	sum := make([]float32, len(a))
	for i := range sum {
		sum[i] = a[i] + b[i]
	}
	return sum
}
