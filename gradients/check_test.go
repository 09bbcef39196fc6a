package gradients

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// gradCase is a small graph whose derivatives are checked against finite differences, to third order, with respect to every float
// operand, with static and with symbolic extents.
type gradCase struct {
	name  string
	in    []operand
	build func(b *graphs.Builder, in []*Value) []*Value
	// batch lists the operands whose leading axis is the batch: the case is also run with batches of 0 and 1.
	batch []int
	// refuses lists the variants in which the op has no derivative and must say so.
	refuses []variant
	opset   int64 // highest of the linearized programs, 18 when 0
}

// thorough takes all variants to third order, not just the static one.
var thorough = false

// operand is an input of a case.
type operand struct {
	dims   []int
	lo, hi float64   // bounds of random values
	data   []float64 // values instead of random ones
	dtype  graphs.DType
	fixed  bool // not differentiated
	rigid  bool // extents are static in every variant
	// fixedAxes lists axes whose extents are static in every variant.
	fixedAxes []int
}

func in(dims ...int) operand { return within(-2, 2, dims...) }

func positive(dims ...int) operand { return within(0.4, 2, dims...) }

func within(lo, hi float64, dims ...int) operand {
	return operand{dims: dims, lo: lo, hi: hi, dtype: graphs.Float64}
}

func values(dims []int, v ...float64) operand {
	return operand{dims: dims, data: v, dtype: graphs.Float64}
}

// index is an integer operand with random elements of [lo, hi).
func index(lo, hi int, dims ...int) operand {
	return operand{dims: dims, lo: float64(lo), hi: float64(hi), dtype: graphs.Int64, fixed: true}
}

// indices is an integer operand with the given elements.
func indices(dims []int, v ...float64) operand {
	return operand{dims: dims, data: v, dtype: graphs.Int64, fixed: true}
}

// numbers is an integer vector that describes a shape, axes or bounds.
func numbers(v ...float64) operand {
	o := indices([]int{len(v)}, v...)
	o.rigid = true
	return o
}

// flags is a bool operand with random elements.
func flags(dims ...int) operand {
	return operand{dims: dims, lo: 0, hi: 2, dtype: graphs.Bool, fixed: true}
}

// still is a float operand that is not differentiated.
func still(o operand) operand {
	o.fixed = true
	return o
}

// variant says which extents of the operands are symbolic.
type variant int

const (
	static  variant = iota // none
	shared                 // all but 1; equal extents have one symbol
	each                   // all, each with a symbol of its own
	batched                // the batch, N
)

func (v variant) String() string {
	return [...]string{"static", "shared", "each", "batched"}[v]
}

func (v variant) shape(o operand, k int, isBatch bool) graphs.Shape {
	s := graphs.Shape{}
	for i, d := range o.dims {
		switch {
		case v == batched && isBatch && i == 0:
			s = append(s, graphs.Symbol("N"))
		case o.rigid || slices.Contains(o.fixedAxes, i) || v == static || v == batched || v == shared && d <= 1:
			s = append(s, graphs.Static(int64(d)))
		case v == shared:
			s = append(s, graphs.Symbol(fmt.Sprintf("s%d", d)))
		default:
			s = append(s, graphs.Symbol(fmt.Sprintf("%s_%d", operandName(k), i)))
		}
	}
	return s
}

func operandName(k int) string { return string(rune('x'+k%3)) + strings.Repeat("'", k/3) }

// graph builds the case's graph with float operands of the given type.
func (c gradCase) graph(v variant, dt graphs.DType) (*graphs.Graph, error) {
	b := graphs.NewBuilder("case")
	ins := make([]*Value, len(c.in))
	for k, o := range c.in {
		t := o.dtype
		if t == graphs.Float64 {
			t = dt
		}
		ins[k] = b.Input(operandName(k), t, v.shape(o, k, slices.Contains(c.batch, k)))
	}
	var outs []graphs.Output
	for i, y := range c.build(b, ins) {
		outs = append(outs, graphs.Output{Name: fmt.Sprintf("f%d", i), Value: y})
	}
	return b.Graph(outs...)
}

// feeds draws the operands, with n rows along the batch when n ≥ 0.
func (c gradCase) feeds(r *rand.Rand, n int) map[string]*graphs.Array {
	feeds := map[string]*graphs.Array{}
	for k, o := range c.in {
		dims := slices.Clone(o.dims)
		if n >= 0 && slices.Contains(c.batch, k) {
			dims[0] = n
		}
		feeds[operandName(k)] = draw(r, o, dims)
	}
	return feeds
}

func draw(r *rand.Rand, o operand, dims []int) *graphs.Array {
	size := 1
	for _, d := range dims {
		size *= d
	}
	f := make([]float64, size)
	for i := range f {
		if o.data != nil {
			f[i] = o.data[i]
		} else {
			f[i] = o.lo + (o.hi-o.lo)*r.Float64()
		}
	}
	if o.dtype.IsFloat() {
		return &graphs.Array{DType: o.dtype, Dims: dims, F: f}
	}
	a := &graphs.Array{DType: o.dtype, Dims: dims, I: make([]int64, size)}
	for i, x := range f {
		a.I[i] = int64(math.Floor(x))
	}
	return a
}

func (c gradCase) wrt() []string {
	var names []string
	for k, o := range c.in {
		if !o.fixed && o.dtype.IsFloat() {
			names = append(names, operandName(k))
		}
	}
	return names
}

func outputNames(g *graphs.Graph) []string {
	names := make([]string, len(g.Outputs))
	for i, o := range g.Outputs {
		names[i] = o.Name
	}
	return names
}

// tolerances by order, relative.
var tolerances = []float64{1: 1e-7, 2: 1e-6, 3: 1e-5}

func (c gradCase) run(t *testing.T) {
	variants := []variant{static, shared, each}
	if c.batch != nil {
		variants = append(variants, batched)
	}
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			g, err := c.graph(v, graphs.Float64)
			require.NoError(t, err)
			if slices.Contains(c.refuses, v) {
				_, err := VJP(g, outputNames(g), c.wrt())
				require.Error(t, err)
				return
			}
			rows := []int{-1}
			if v == batched {
				rows = []int{-1, 1, 0}
			}
			for _, n := range rows {
				h := fnv.New64a()
				fmt.Fprint(h, c.name, n)
				r := rand.New(rand.NewPCG(h.Sum64(), 1))
				order := 2
				if thorough || v == static {
					order = 3
				}
				c.checkOrders(t, r, g, c.feeds(r, n), order)
			}
			c.checkLinearize(t, v)
		})
	}
}

// checkOrders differentiates g, its derivative graph, and so on, and compares each with finite differences of the one before; the
// same chain without any simplification must give the same numbers.
func (c gradCase) checkOrders(t *testing.T, r *rand.Rand, g *graphs.Graph, feeds map[string]*graphs.Array, order int) {
	wrt := c.wrt()
	plain := g
	for k := 1; k <= order; k++ {
		outs := outputNames(g)
		d, err := VJP(g, outs, wrt)
		require.NoError(t, err, "order %d", k)
		require.NoError(t, graphs.Check(d))
		requireClosed(t, d)
		plain, err = plainVJP(plain, outs, wrt)
		require.NoError(t, err, "order %d unsimplified", k)
		requireClosed(t, plain)
		cts := cotangents(t, r, g, feeds)
		requireShapes(t, plain, merge(feeds, cts))
		grads := evaluate(t, d, merge(feeds, cts))
		other := evaluate(t, plain, merge(feeds, cts))
		for name, a := range grads {
			requireClose(t, a, other[name], fmt.Sprintf("order %d, %s: simplified and unsimplified", k, name))
		}
		for _, name := range wrt {
			c.checkDirection(t, r, g, feeds, cts, name, grads[GradPrefix+name], k)
		}
		rename(d, k)
		rename(plain, k)
		wrt = append(slices.Clone(wrt), mapKeys(cts)...)
		feeds = merge(feeds, cts)
		g = d
	}
}

func rename(g *graphs.Graph, order int) {
	for i := range g.Outputs {
		g.Outputs[i].Name = fmt.Sprintf("d%d.%d", order, i)
	}
}

func mapKeys(m map[string]*graphs.Array) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func merge(a, b map[string]*graphs.Array) map[string]*graphs.Array {
	m := map[string]*graphs.Array{}
	for k, v := range a {
		m[k] = v
	}
	for k, v := range b {
		m[k] = v
	}
	return m
}

func evaluate(t *testing.T, g *graphs.Graph, feeds map[string]*graphs.Array) map[string]*graphs.Array {
	out, err := graphs.Evaluate(g, feeds)
	if err != nil {
		require.NoError(t, err, "%s", graphs.Print(g))
	}
	return out
}

// cotangents draws one for every output of g.
func cotangents(t *testing.T, r *rand.Rand, g *graphs.Graph, feeds map[string]*graphs.Array) map[string]*graphs.Array {
	cts := map[string]*graphs.Array{}
	y := evaluate(t, g, feeds)
	for _, name := range outputNames(g) {
		cts[CotangentPrefix+name] = draw(r, in(), y[name].Dims)
	}
	return cts
}

// checkDirection is the adjoint identity ⟨Jᵀu, v⟩ = ⟨u, Jv⟩ for a random direction v of one operand, with Jv by the five-point rule
// (f(x−2h) − 8f(x−h) + 8f(x+h) − f(x+2h))/12h, whose error is h⁴f⁗′/30.
func (c gradCase) checkDirection(t *testing.T, r *rand.Rand, g *graphs.Graph, feeds, cts map[string]*graphs.Array, name string, grad *graphs.Array, order int) {
	const h = 1e-4
	x := feeds[name]
	require.True(t, slices.Equal(x.Dims, grad.Dims), "order %d: gradient of %s: dims %v, want %v", order, name, grad.Dims, x.Dims)
	v := draw(r, within(-1, 1), x.Dims)
	sum, scale := 0.0, 1e-3
	for _, p := range []struct{ step, weight float64 }{{-2, 1}, {-1, -8}, {1, 8}, {2, -1}} {
		moved := &graphs.Array{DType: x.DType, Dims: x.Dims, F: slices.Clone(x.F)}
		for i := range moved.F {
			moved.F[i] += p.step * h * v.F[i]
		}
		for out, y := range evaluate(t, g, merge(feeds, map[string]*graphs.Array{name: moved})) {
			for i, u := range cts[CotangentPrefix+out].F {
				sum += p.weight / (12 * h) * u * y.F[i]
			}
		}
	}
	got := 0.0
	for i := range v.F {
		got += grad.F[i] * v.F[i]
		scale += math.Abs(grad.F[i] * v.F[i])
	}
	if !(math.Abs(got-sum) <= tolerances[order]*max(scale, math.Abs(sum))) {
		require.Failf(t, "derivative differs", "order %d, %s: finite difference %v, derivative %v\n%s", order, name, sum, got, graphs.Print(g))
	}
}

func requireClose(t *testing.T, a, b *graphs.Array, what string) {
	require.True(t, slices.Equal(a.Dims, b.Dims), "%s: dims %v and %v", what, a.Dims, b.Dims)
	scale := 1e-3
	for _, x := range a.F {
		scale = max(scale, math.Abs(x))
	}
	for i, x := range a.F {
		if !(math.Abs(x-b.F[i]) <= 1e-9*scale) {
			require.Failf(t, "values differ", "%s: element %d: %v and %v", what, i, x, b.F[i])
		}
	}
}

// requireClosed: whatever a derivative graph holds can be differentiated again.
func requireClosed(t *testing.T, g *graphs.Graph) {
	for op := range g.Ops() {
		require.True(t, HasRule(op), "%s has no derivative", op)
	}
}

// requireShapes: every value of the graph has the extents that were inferred for it.
func requireShapes(t *testing.T, g *graphs.Graph, feeds map[string]*graphs.Array) {
	all := *g
	all.Outputs = nil
	known := map[string]int{}
	for _, v := range g.Inputs {
		for i, d := range v.Shape() {
			if d.Sym != "" && !strings.ContainsAny(d.Sym, "+*{") {
				known[d.Sym] = feeds[v.Name].Dims[i]
			}
		}
	}
	var list []*Value
	for _, n := range g.Nodes {
		for _, v := range n.Out {
			all.Outputs = append(all.Outputs, graphs.Output{Name: fmt.Sprint(len(list)), Value: v})
			list = append(list, v)
		}
	}
	got := evaluate(t, &all, feeds)
	for i, v := range list {
		a := got[fmt.Sprint(i)]
		if v.Shape() == nil {
			continue
		}
		ok := len(a.Dims) == v.Rank()
		for k, d := range v.Shape() {
			want, isKnown := known[d.Sym]
			ok = ok && (!d.IsStatic() || int(d.Size) == a.Dims[k]) && (!isKnown || want == a.Dims[k])
		}
		if !ok {
			require.Failf(t, "wrong inference", "%v of %s has the extents %v\n%s", v.Type, v.Node.Op, a.Dims, graphs.Print(g))
		}
	}
}

// plainVJP is VJP without simplification: only the rewrites of ops that have no rule of their own.
func plainVJP(g *graphs.Graph, outs, wrt []string) (*graphs.Graph, error) {
	b := graphs.NewBuilder(g.Name)
	for _, v := range g.Inputs {
		b.AddInput(v)
	}
	p, err := plainCopy(b, g)
	if err != nil {
		return nil, err
	}
	targets, err := named(g, wrt)
	if err != nil {
		return nil, err
	}
	seeds, err := cotangentInputs(b, p, outs)
	if err != nil {
		return nil, err
	}
	grads, err := pullFull(b, p.Nodes, seeds, targets)
	if err != nil {
		return nil, err
	}
	return b.Graph(gradOutputs(targets, grads)...)
}

// plainCopy rewrites until nothing is left to rewrite.
func plainCopy(b *graphs.Builder, g *graphs.Graph) (*graphs.Graph, error) {
	for range 8 {
		c := graphs.NewBuilder(g.Name)
		for _, v := range g.Inputs {
			c.AddInput(v)
		}
		r, changed, err := plainRewrite(c, g)
		if err != nil {
			return nil, err
		}
		if g = r; !changed {
			break
		}
	}
	p, _, err := plainRewrite(b, g)
	return p, err
}

func plainRewrite(b *graphs.Builder, g *graphs.Graph) (r *graphs.Graph, changed bool, err error) {
	m := map[*Value]*Value{}
	of := func(v *Value) *Value {
		if w, ok := m[v]; ok {
			return w
		}
		return v
	}
	for _, n := range g.Nodes {
		one := &graphs.Graph{Nodes: []*graphs.Node{n}}
		for _, v := range n.Out {
			one.Outputs = append(one.Outputs, graphs.Output{Value: v})
		}
		outs := b.Splice(one, m)
		if rewrite := rewrites[n.Op]; rewrite != nil && n.Op != "Mul" {
			if v := rewrite(b, outs[0].Node); v != nil {
				outs, changed = only(v), true
			}
		}
		if expand := expansions[n.Op]; expand != nil {
			if v := expand(b, outs[0].Node); v != nil {
				outs, changed = v, true
			}
		}
		for i := range n.Out {
			if i < len(outs) {
				m[n.Out[i]] = outs[i]
			}
		}
	}
	var outs []graphs.Output
	for _, o := range g.Outputs {
		outs = append(outs, graphs.Output{Name: o.Name, Value: of(o.Value)})
	}
	r, err = b.Graph(outs...)
	return r, changed, err
}

// checkLinearize: a forward graph and its pullback give what the VJP gives, whether values are kept or computed again.
func (c gradCase) checkLinearize(t *testing.T, v variant) {
	g, err := c.graph(v, graphs.Float32)
	require.NoError(t, err)
	g, err = Prepare(g)
	require.NoError(t, err)
	outs := outputNames(g)
	d, err := VJP(g, outs, c.wrt())
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(7, 7))
	feeds := c.feeds(r, -1)
	cts := cotangents(t, r, g, feeds)
	want, values := evaluate(t, d, merge(feeds, cts)), evaluate(t, g, feeds)
	targets, err := named(g, c.wrt())
	require.NoError(t, err)
	for _, p := range []Policy{Keep, Lean, Recompute} {
		l, err := Linearize(g, outs, targets, p, max(c.opset, 18))
		require.NoError(t, err)
		forward := evaluate(t, l.Forward, feeds)
		for _, name := range outs {
			requireNear(t, values[name], forward[name], name)
		}
		back := evaluate(t, l.Pullback, merge(merge(feeds, forward), cts))
		for name, a := range want {
			requireNear(t, a, back[name], name)
		}
	}
}

// requireNear compares graphs of float32 constants that are evaluated in float64.
func requireNear(t *testing.T, a, b *graphs.Array, what string) {
	require.True(t, slices.Equal(a.Dims, b.Dims), "%s: dims %v and %v", what, a.Dims, b.Dims)
	scale := 1e-3
	for _, x := range a.F {
		scale = max(scale, math.Abs(x))
	}
	for i, x := range a.F {
		require.InDelta(t, x, b.F[i], 1e-6*scale, what)
	}
}

// TestDerivatives checks every case; -run 'TestDerivatives/Gemm' picks those of an op.
func TestDerivatives(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases {
		require.False(t, seen[c.name], "two cases are named %q", c.name)
		seen[c.name] = true
		t.Run(c.name, c.run)
	}
}

// checkedElsewhere lists the ops of families whose tests are in files of their own.
var checkedElsewhere = []string{
	"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "BatchNormalization",
	"LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization", "LpNormalization", "MeanVarianceNormalization",
	"LRN", "Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "MaxUnpool", "SimplifiedLayerNormalization",
}

// TestEveryRuleHasCase: no rule goes unchecked.
func TestEveryRuleHasCase(t *testing.T) {
	covered := map[string]bool{}
	for _, c := range cases {
		g, err := c.graph(static, graphs.Float64)
		require.NoError(t, err, c.name)
		for op := range g.Ops() {
			covered[op] = true
		}
	}
	for _, op := range Supported() {
		if slices.Contains(checkedElsewhere, op) {
			continue
		}
		require.True(t, covered[op], "%s has a rule and no case", op)
	}
}
