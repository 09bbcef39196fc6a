package losses

import (
	"context"
	"fmt"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Labelled trains a joint energy of items and weights of classes, E(x, t) = −log Σₖ exp(fₖ(x) + tₖ) (models.Joint), whose rows are the
// D values of an item and then the weights t that keep its class alone. Another loss, of x, sees
//
//	E(x) = E(x, 0) = −log Σₖ exp fₖ(x), the energy of the classifier f (JEM, Grathwohl et al., ICLR 2020), or
//	E(x | y) = E(x, t_y) = −f_y(x) with ByClass, each item under the energy of its own class;
//
// and CrossEntropy·mean(−log p(y | x)) is added, −log p(y | x) = E(x, t_y) − E(x, 0).
//
// What the other loss draws (noise, directions) and is given (Batch.Noise, Batch.Vectors) has D values a row. A contrastive loss
// with ByClass is the exception: its chains carry the weights of their class with them, so it works on whole rows, and its sampler
// must hold the last values of each (train.Chains.Held).
type Labelled struct {
	Of           Loss // of x
	Classes      int  // K: each row ends with K weights
	ByClass      bool
	CrossEntropy float64 // weight; 0: no such term

	parts   []labelledPart
	queries []Query
	cts     []Values
	terms   []Term
	x, t    []float32 // of the batch
	smooth  GradientPenalty
}

// labelledPart is one loss with its own queries, of x unless whole.
type labelledPart struct {
	loss  Loss
	whole bool
	own   []Query
}

// Unwrap is the loss of x.
func (l *Labelled) Unwrap() Loss { return l.Of }

// Name is that of the loss of x, and what labels add to it.
func (l *Labelled) Name() string {
	name := l.Of.Name()
	if l.ByClass {
		name += " by class"
	}
	if l.CrossEntropy != 0 {
		name += " + cross-entropy"
	}
	return name
}

// Penalties are those of the loss of x that regard parameters; its gradient penalty is of x too.
func (l *Labelled) Penalties() Penalty {
	p := l.penalties()
	p.Gradient = 0
	return p
}

func (l *Labelled) penalties() Penalty {
	if p, ok := l.Of.(Penalised); ok {
		return p.Penalties()
	}
	return Penalty{}
}

// OwnParams are those of the loss of x.
func (l *Labelled) OwnParams() []float32 {
	if p, ok := l.Of.(Parametric); ok {
		return p.OwnParams()
	}
	return nil
}

// NeedsSecondOrder is what the loss of x needs.
func (l *Labelled) NeedsSecondOrder() bool { return NeedsSecondOrder(l.Of) }

// Plan widens the queries of the loss of x to rows of D + K.
func (l *Labelled) Plan(ctx context.Context, b Batch, k rng.Key) ([]Query, error) {
	if err := b.check(l.Name()); err != nil {
		return nil, err
	}
	d := b.Dim - l.Classes
	if l.Classes < 2 || d < 1 {
		return nil, fmt.Errorf("losses: labelled: rows of %d values cannot end with the weights of %d classes; give at least 2 classes", b.Dim, l.Classes)
	}
	l.x, l.t = grow(l.x, b.N*d), grow(l.t, b.N*l.Classes)
	for i := range b.N {
		copy(l.x[i*d:(i+1)*d], b.X[i*b.Dim:])
		copy(l.t[i*l.Classes:(i+1)*l.Classes], b.X[i*b.Dim+d:])
	}
	items := Batch{N: b.N, Dim: d, X: l.x, M: b.M, LogNoise: b.LogNoise, Noise: b.Noise, Vectors: b.Vectors}
	if b.Neg != nil {
		items.Neg = l.narrow(b.Neg, b.M, d)
	}
	_, contrastive := l.Of.(*Contrastive)
	l.parts, l.queries = append(l.parts[:0], labelledPart{loss: l.Of, whole: contrastive && l.ByClass}), l.queries[:0]
	if l.smooth.Lambda = l.penalties().Gradient; l.smooth.Lambda != 0 {
		l.parts = append(l.parts, labelledPart{loss: &l.smooth})
	}
	for i := range l.parts {
		p := &l.parts[i]
		of := items
		if p.whole {
			of = b
		}
		own, err := p.loss.Plan(ctx, of, k)
		if err != nil {
			return nil, err
		}
		p.own = own
		for _, q := range own {
			if !p.whole {
				q = l.widen(q, d)
			}
			l.queries = append(l.queries, q)
		}
	}
	if l.CrossEntropy != 0 {
		l.queries = append(l.queries, l.pairs(b))
	}
	return l.queries, nil
}

// pairs asks for the energies of rows as they are, then with no class ruled out.
func (l *Labelled) pairs(b Batch) Query {
	both := append(append(make([]float32, 0, 2*len(b.X)), b.X...), b.X...)
	for i := b.N; i < 2*b.N; i++ {
		clear(both[(i+1)*b.Dim-l.Classes : (i+1)*b.Dim])
	}
	return Query{N: 2 * b.N, X: both, Want: WantEnergy}
}

// widen puts the weights of the batch's rows, in turn, behind the rows of a query, or no weights at all. A Laplacian is that of all
// values and needs the gradient to be made one of x: see inner.
func (l *Labelled) widen(q Query, d int) Query {
	n, row := q.N, d+l.Classes
	x := make([]float32, n*row)
	for i := range n {
		copy(x[i*row:], q.X[i*d:(i+1)*d])
		if l.ByClass {
			j := i % (len(l.t) / l.Classes)
			copy(x[i*row+d:(i+1)*row], l.t[j*l.Classes:])
		}
	}
	q.X, q.V = x, l.pad(q.V, d)
	if q.Want.Has(WantLaplacian) {
		q.Want |= WantGradient
	}
	return q
}

// pad appends K zeros to rows of d; narrow takes them off.
func (l *Labelled) pad(rows []float32, d int) []float32 {
	if rows == nil {
		return nil
	}
	n, row := len(rows)/d, d+l.Classes
	out := make([]float32, n*row)
	for i := range n {
		copy(out[i*row:], rows[i*d:(i+1)*d])
	}
	return out
}

func (l *Labelled) narrow(rows []float32, n, d int) []float32 {
	if rows == nil {
		return nil
	}
	row, out := d+l.Classes, make([]float32, n*d)
	for i := range n {
		copy(out[i*d:(i+1)*d], rows[i*row:])
	}
	return out
}

// Value gives the loss of x with its terms, and cross_entropy, unweighted.
func (l *Labelled) Value(q []Query, v []Values) (Result, error) {
	if len(q) != len(l.queries) || len(v) != len(q) {
		return Result{}, fmt.Errorf("losses: labelled: %d queries and %d answers, expected %d: pass what Plan returned", len(q), len(v), len(l.queries))
	}
	d := len(q[0].X)/q[0].N - l.Classes
	var res Result
	l.cts, l.terms = l.cts[:0], l.terms[:0]
	at := 0
	for i, p := range l.parts {
		answers := v[at : at+len(p.own)]
		if !p.whole {
			answers = make([]Values, len(p.own))
			for j, own := range p.own {
				answers[j] = l.inner(own, v[at+j], d)
			}
		}
		r, err := p.loss.Value(p.own, answers)
		if err != nil {
			return Result{}, err
		}
		for j, ct := range r.Cotangents {
			if !p.whole {
				ct = l.outer(p.own[j], ct, v[at+j], d)
			}
			l.cts = append(l.cts, ct)
		}
		res.Loss += r.Loss
		if i == 0 {
			l.terms, res.Own = append(l.terms, r.Terms...), r.Own
			if res.Negatives = r.Negatives; !p.whole {
				res.Negatives = l.pad(r.Negatives, d)
			}
		} else {
			l.terms = withReg(l.terms, r.Loss)
		}
		at += len(p.own)
	}
	if l.CrossEntropy != 0 {
		entropy, ct := l.crossEntropy(v[at].E)
		res.Loss += l.CrossEntropy * entropy
		l.terms, l.cts = append(l.terms, Term{"cross_entropy", entropy}), append(l.cts, ct)
	}
	res.Terms, res.Cotangents = l.terms, l.cts
	return res, nil
}

// crossEntropy is mean(E(x, t_y) − E(x, 0)), with the cotangents of its weighted value.
func (l *Labelled) crossEntropy(e []float32) (value float64, ct Values) {
	n := len(e) / 2
	ct.E = make([]float32, 2*n)
	fill(ct.E[:n], l.CrossEntropy/float64(n))
	fill(ct.E[n:], -l.CrossEntropy/float64(n))
	return mean(e[:n]) - mean(e[n:]), ct
}

// inner makes values of x of those of rows (x, t). With gₖ = ∂E/∂tₖ = −pₖ, ∂²E/∂tₖ² = −pₖ(1 − pₖ) = gₖ(1 + gₖ), so the Laplacian in
// x alone is Lap − Σ gₖ(1 + gₖ).
func (l *Labelled) inner(own Query, v Values, d int) Values {
	out := Values{E: v.E}
	if own.Want.Has(WantGradient) {
		out.G = l.narrow(v.G, own.N, d)
	}
	if own.Want.Has(WantHVP) {
		out.HV = l.narrow(v.HV, own.K*own.N, d)
	}
	if own.Want.Has(WantLaplacian) {
		out.Lap = make([]float32, own.N)
		for i := range out.Lap {
			sum := 0.0
			for _, g := range l.weights(v.G, i, d) {
				sum += float64(g) * (1 + float64(g))
			}
			out.Lap[i] = float32(float64(v.Lap[i]) - sum)
		}
	}
	return out
}

// weights are the gₖ of row i.
func (l *Labelled) weights(g []float32, i, d int) []float32 {
	row := d + l.Classes
	return g[i*row+d : (i+1)*row]
}

// outer is the transpose of inner's derivative.
func (l *Labelled) outer(own Query, ct, v Values, d int) Values {
	out := Values{E: ct.E, G: l.pad(ct.G, d), HV: l.pad(ct.HV, d), Lap: ct.Lap}
	if ct.Lap == nil {
		return out
	}
	if out.G == nil {
		out.G = make([]float32, own.N*(d+l.Classes))
	}
	for i, c := range ct.Lap {
		slope := l.weights(out.G, i, d)
		for k, g := range l.weights(v.G, i, d) {
			slope[k] = -c * (1 + 2*g)
		}
	}
	return out
}

// Classifier is implemented by losses of data with classes.
type Classifier interface {
	// Correct counts the rows of a batch whose class is the most probable one to the model.
	Correct(ctx context.Context, m Evaluator, b Batch) (int, error)
}

// Correct compares the class of each row with the largest p(k | x) = −∂E/∂tₖ at t = 0. A row where that is not a number is not correct.
func (l *Labelled) Correct(ctx context.Context, m Evaluator, b Batch) (count int, err error) {
	if err := b.check(l.Name()); err != nil {
		return 0, err
	}
	d, x := b.Dim-l.Classes, slices.Clone(b.X)
	for i := range b.N {
		clear(l.weights(x, i, d))
	}
	v, err := m.Evaluate(ctx, Query{N: b.N, X: x, Want: WantGradient})
	if err != nil {
		return 0, fmt.Errorf("losses: %s: classes of %d rows: %w", l.Name(), b.N, err)
	}
	for i := range b.N {
		t, g := l.weights(b.X, i, d), l.weights(v.G, i, d)
		if slices.Index(g, slices.Min(g)) == slices.Index(t, slices.Max(t)) { // no element equals a minimum that is not a number
			count++
		}
	}
	return count, nil
}

// As finds a loss of type T: l itself, or one that it wraps (Unwrap).
func As[T any](l Loss) (found T, ok bool) {
	for l != nil {
		if found, ok = l.(T); ok {
			return found, true
		}
		w, wraps := l.(interface{ Unwrap() Loss })
		if !wraps {
			break
		}
		l = w.Unwrap()
	}
	return found, false
}
