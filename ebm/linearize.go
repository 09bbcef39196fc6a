package ebm

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// linearProgram is a derivative program with residuals, and its pullback to the parameters.
type linearProgram struct {
	forward, pullback *program
	residuals         []string
	pulled            map[string]bool // inputs of the pullback
	pool              []*pair
}

// pair is a binding of each, the pullback reading the forward's memory.
type pair struct {
	forward, pullback *runtime.Binding
	hv                []float32 // [K·N·D], for several directions
}

// quantities of a loss's query, as program outputs in their order.
var quantities = []struct {
	loss losses.Want
	want gradients.Want
	name string
	of   func(v *losses.Values) *[]float32
}{
	{losses.WantEnergy, gradients.Energy, gradients.EnergyName, func(v *losses.Values) *[]float32 { return &v.E }},
	{losses.WantGradient, gradients.Gradient, gradients.GradientName, func(v *losses.Values) *[]float32 { return &v.G }},
	{losses.WantHVP, gradients.HVP, gradients.HVPName, func(v *losses.Values) *[]float32 { return &v.HV }},
	{losses.WantLaplacian, gradients.Laplacian, gradients.LaplacianName, func(v *losses.Values) *[]float32 { return &v.Lap }},
}

func wantOf(w losses.Want) gradients.Want {
	var g gradients.Want
	for _, q := range quantities {
		if w&q.loss != 0 {
			g |= q.want
		}
	}
	return g
}

// derivationOf checks a query and names its program.
func (e *Energy) derivationOf(q losses.Query) (derivation, error) {
	d := derivation{want: wantOf(q.Want)}
	if d.want.Has(gradients.HVP) {
		d.k = max(q.K, 1)
	}
	if len(q.X) != q.N*e.dim || d.k > 0 && len(q.V) != d.k*q.N*e.dim {
		return d, fmt.Errorf("ebm: a query of %d rows has %d values and %d of directions; an item has %d", q.N, len(q.X), len(q.V), e.dim)
	}
	return d, nil
}

// Evaluate answers a query without keeping anything for a pullback. The values are the caller's.
func (e *Energy) Evaluate(ctx context.Context, q losses.Query) (losses.Values, error) {
	d, err := e.derivationOf(q)
	if err != nil {
		return losses.Values{}, err
	}
	v := e.allocate(q.Want, q.N, d.k)
	return v, e.evaluate(ctx, d, q.X, q.V, q.N, values{v.E, v.G, v.HV, v.Lap})
}

func (e *Energy) allocate(w losses.Want, n, k int) losses.Values {
	var v losses.Values
	if w&losses.WantEnergy != 0 {
		v.E = make([]float32, n)
	}
	if w&losses.WantGradient != 0 {
		v.G = make([]float32, n*e.dim)
	}
	if w&losses.WantHVP != 0 {
		v.HV = make([]float32, k*n*e.dim)
	}
	if w&losses.WantLaplacian != 0 {
		v.Lap = make([]float32, n)
	}
	return v
}

// firstRows cuts what a padded batch has beyond n items.
func (e *Energy) firstRows(v losses.Values, n int) losses.Values {
	cut := func(s []float32, n int) []float32 {
		if s == nil {
			return nil
		}
		return s[:n]
	}
	return losses.Values{E: cut(v.E, n), G: cut(v.G, n*e.dim), HV: v.HV, Lap: cut(v.Lap, n)}
}

// Linearize answers a query and keeps what its pullback needs. The values are valid until the pullback is closed.
func (e *Energy) Linearize(ctx context.Context, q losses.Query) (losses.Values, losses.Pullback, error) {
	if !e.options.Trainable {
		return losses.Values{}, nil, ErrFrozen
	}
	d, err := e.derivationOf(q)
	if err != nil {
		return losses.Values{}, nil, err
	}
	l, err := e.linearProgram(d)
	if err != nil {
		return losses.Values{}, nil, err
	}
	p, err := e.acquirePair(l, e.padded(q.N))
	if err != nil {
		return losses.Values{}, nil, err
	}
	if v := p.forward.In(gradients.V); v != nil {
		e.scatter(p.forward, v, q.V, q.N, d.k, false)
	}
	in := p.forward.In(gradients.X)
	err = runTiles(ctx, p.forward, func(lo, hi int) {
		e.fill(in[lo*e.dim:hi*e.dim], q.X[min(lo, q.N-1)*e.dim:min(hi, q.N)*e.dim], min(hi, q.N)-min(lo, q.N-1))
	})
	if err != nil {
		e.releasePair(l, p)
		return losses.Values{}, nil, fmt.Errorf("ebm: %w", err)
	}
	var v losses.Values
	for _, o := range quantities {
		if q.Want&o.loss != 0 {
			*o.of(&v) = p.forward.Out(o.name)
		}
	}
	if v.HV != nil {
		if len(p.hv) != len(q.V) {
			p.hv = make([]float32, len(q.V))
		}
		e.gather(p.forward, p.hv, v.HV, q.N, d.k)
		v.HV = p.hv
	}
	return e.firstRows(v, q.N), &pullback{e: e, ctx: ctx, l: l, p: p, want: q.Want, n: q.N, k: d.k}, nil
}

// pullback is the losses.Pullback of one query.
type pullback struct {
	e    *Energy
	ctx  context.Context
	l    *linearProgram
	p    *pair
	want losses.Want
	n, k int
}

// cotangent is memory of the pullback and what a loss gave for it, perhaps fewer rows or none.
type cotangent struct {
	in, given []float32
	item      int
	scale     float32 // by which the given ones are divided
}

func (c cotangent) copy(lo, hi int) {
	in, end := c.in[lo*c.item:hi*c.item], len(c.given)
	clear(in[copy(in, c.given[min(lo*c.item, end):min(hi*c.item, end)]):])
	if c.scale != 1 {
		for i := range in {
			in[i] /= c.scale
		}
	}
}

// runTiles runs a binding; the worker that takes a tile first fills its rows.
func runTiles(ctx context.Context, b *runtime.Binding, fill func(lo, hi int)) error {
	err := b.EachTile(ctx, func(ctx context.Context, i int) error {
		lo, n := b.Tile(i)
		fill(lo, lo+n)
		return b.RunTile(ctx, i)
	})
	if err != nil {
		return err
	}
	return b.AddUp(ctx)
}

// Add implements losses.Pullback: dTheta has the layout of the flat parameter store; parameters that are not trainable get gradients too.
func (b *pullback) Add(ct losses.Values, dTheta []float32) error {
	if b.p == nil {
		return errors.New("ebm: the pullback is closed")
	}
	if len(dTheta) != b.e.params.Size() {
		return fmt.Errorf("ebm: a gradient of %d elements for %d parameters", len(dTheta), b.e.params.Size())
	}
	scale := float32(1)
	if b.want == losses.WantEnergy {
		scale = largest(ct.E)
	}
	var copies []cotangent
	for _, o := range quantities {
		if b.want&o.loss == 0 {
			continue
		}
		in, given := b.p.pullback.In(gradients.CotangentPrefix+o.name), *o.of(&ct)
		if len(in) == 0 { // a quantity that no parameter changes
			continue
		}
		if o.loss == losses.WantHVP && given != nil {
			b.e.scatter(b.p.pullback, in, given, b.n, b.k, true)
			continue
		}
		copies = append(copies, cotangent{in, given, len(in) / b.p.pullback.N(), scale})
	}
	err := runTiles(b.ctx, b.p.pullback, func(lo, hi int) {
		for _, c := range copies {
			c.copy(lo, hi)
		}
	})
	if err != nil {
		return fmt.Errorf("ebm: %w", err)
	}
	for _, q := range b.e.params.List {
		dst := dTheta[q.Offset : q.Offset+q.Len]
		for i, g := range b.p.pullback.Out(gradients.GradPrefix + q.Name) {
			dst[i] += scale * g
		}
	}
	return nil
}

// largest is the largest magnitude, 1 where all are zero. Weights of ±1/N, divided by it, add up without rounding: the gradient of a bias
// that data and negatives share is then exactly zero.
func largest(ct []float32) float32 {
	var m float32
	for _, c := range ct {
		m = max(m, c, -c)
	}
	if m == 0 {
		return 1
	}
	return m
}

// Close gives the bindings back.
func (b *pullback) Close() error {
	if b.p != nil {
		b.e.releasePair(b.l, b.p)
		b.p = nil
	}
	return nil
}

func (e *Energy) linearProgram(d derivation) (*linearProgram, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.linear[d]; l != nil {
		return l, nil
	}
	lin, err := e.linearize(d)
	if err != nil {
		return nil, err
	}
	l := &linearProgram{residuals: lin.Residuals, pulled: map[string]bool{}}
	for _, v := range lin.Pullback.Inputs {
		l.pulled[v.Name] = true
	}
	if l.forward, err = e.compile("forward program", lin.Forward, graphs.FLOPs(lin.Forward, 1)); err != nil {
		return nil, err
	}
	if l.pullback, err = e.compile("pullback", lin.Pullback, graphs.FLOPs(lin.Pullback, 1)); err != nil {
		return nil, errors.Join(err, l.forward.close())
	}
	e.linear[d] = l
	return l, nil
}

// linearize derives the program of a query with its pullback to the parameters.
func (e *Energy) linearize(d derivation) (*gradients.Linear, error) {
	f, err := e.derive(d)
	if err != nil {
		return nil, fmt.Errorf("ebm: %w", err)
	}
	var outs []string
	for _, o := range f.Outputs {
		outs = append(outs, o.Name)
	}
	policy := e.options.Policy
	if policy == gradients.Keep && e.fuses() {
		policy = gradients.Lean
	}
	lin, err := gradients.Linearize(f, outs, f.Params(), policy, maxOpset)
	if err != nil {
		return nil, fmt.Errorf("ebm: %w", err)
	}
	return lin, nil
}

func (e *Energy) acquirePair(l *linearProgram, n int) (*pair, error) {
	e.mu.Lock()
	for i, p := range l.pool {
		if p.forward.N() == n {
			l.pool = append(l.pool[:i], l.pool[i+1:]...)
			e.mu.Unlock()
			return p, nil
		}
	}
	e.mu.Unlock()
	// The pullback reads residuals tile by tile, so both have the tiles that suit the pullback.
	tiles := e.tiles(n)
	if tiles == 0 {
		tiles = l.pullback.prog.Tiles(n)
	}
	f, err := l.forward.prog.Bind(n, runtime.BindOptions{Shared: l.forward.shared, Tiles: tiles})
	if err != nil {
		return nil, fmt.Errorf("ebm: %w", err)
	}
	rows := map[string][]float32{}
	for _, name := range l.residuals {
		rows[name] = f.Out(name)
	}
	for _, name := range []string{gradients.X, gradients.V} {
		if l.pulled[name] {
			rows[name] = f.In(name)
		}
	}
	maps.DeleteFunc(rows, func(_ string, s []float32) bool { return s == nil })
	b, err := l.pullback.prog.Bind(n, runtime.BindOptions{Shared: l.pullback.shared, Rows: rows, Tiles: tiles})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ebm: %w", err), f.Close())
	}
	return &pair{forward: f, pullback: b}, nil
}

func (e *Energy) releasePair(l *linearProgram, p *pair) {
	e.mu.Lock()
	l.pool = append(l.pool, p)
	var old *pair
	if len(l.pool) > maxBindings {
		old = l.pool[0]
		l.pool = l.pool[1:]
	}
	e.mu.Unlock()
	if old != nil {
		old.forward.Close()
		old.pullback.Close()
	}
}
