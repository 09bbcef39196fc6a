package graphs

import (
	"errors"
	"fmt"
	"slices"
)

// Array is a dense, row-major value of the evaluator. Floating-point types of any width hold their elements as float64 in F,
// integers and bools (0 or 1) in I; unsigned 64-bit integers keep their bits. The evaluator never writes to an Array after it has been made.
type Array struct {
	DType DType
	Dims  []int
	F     []float64
	I     []int64
}

// maxElements bounds a single value, so that a malformed graph ends in an error instead of exhausting memory.
const maxElements = 1 << 28

// Floats returns an Array of type float64 that shares data's memory. A nil dims is a scalar.
func Floats(dims []int, data []float64) *Array { return &Array{DType: Float64, Dims: dims, F: data} }

// Ints returns an Array of type int64 that shares data's memory. A nil dims is a scalar.
func Ints(dims []int, data []int64) *Array { return &Array{DType: Int64, Dims: dims, I: data} }

// ArrayOf returns the value of a tensor. Strings and types without a numeric reading give an error.
func ArrayOf(t *Tensor) (*Array, error) {
	if t == nil {
		return nil, errors.New("graphs: no tensor")
	}
	a := &Array{DType: t.DType, Dims: make([]int, len(t.Dims))}
	for i, d := range t.Dims {
		a.Dims[i] = int(d)
	}
	switch {
	case t.DType.IsFloat():
		a.F = t.Float64s()
	case t.DType.IsInt() || t.DType == Bool:
		a.I = slices.Clone(t.Int64s())
	default:
		return nil, fmt.Errorf("graphs: the evaluator has no values of type %v", t.DType)
	}
	return a, a.check()
}

// Tensor returns the value rounded to the given type, or to the Array's own type when dt is Undefined.
func (a *Array) Tensor(dt DType) (*Tensor, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	if dt == Undefined {
		dt = a.DType
	}
	dims := make([]int64, len(a.Dims))
	for i, d := range a.Dims {
		dims[i] = int64(d)
	}
	if a.DType.IsFloat() {
		return FromFloat64s(dt, a.F, dims...)
	}
	return FromInt64s(dt, a.I, dims...)
}

// Len returns the number of elements that Dims announces.
func (a *Array) Len() int { return product(a.Dims) }

// check reports a value whose data do not fit its type and dims.
func (a *Array) check() error {
	if a == nil {
		return errors.New("graphs: no array")
	}
	n, err := elements(a.Dims)
	if err != nil {
		return err
	}
	have := len(a.I)
	if a.DType.IsFloat() {
		have = len(a.F)
	} else if !a.DType.IsInt() && a.DType != Bool {
		return fmt.Errorf("graphs: the evaluator has no values of type %v", a.DType)
	}
	if have != n {
		return fmt.Errorf("graphs: %v array of dims %v has %d elements, not %d", a.DType, a.Dims, have, n)
	}
	return nil
}

// Evaluate runs the graph in float64 arithmetic: nothing is rounded to a narrower floating-point type, not even by Cast,
// while integers wrap to their type's width. feeds holds the inputs by name and may override parameters and constants by name;
// an element type within the same class (floats, integers) is adopted from the graph. It returns the outputs by name.
// An operation that has no kernel gives an *OpError.
func Evaluate(g *Graph, feeds map[string]*Array) (map[string]*Array, error) {
	s := &frame{vals: map[*Value]*Array{}, feeds: feeds}
	for _, in := range g.Inputs {
		a, err := s.feed(in)
		if err != nil {
			return nil, err
		}
		s.vals[in] = a
	}
	outs, err := s.run(g, true)
	if err != nil {
		return nil, err
	}
	res := make(map[string]*Array, len(outs))
	for i, o := range g.Outputs {
		res[o.Name] = outs[i]
	}
	return res, nil
}

// CanEvaluate reports whether the evaluator has a kernel for an op, named as by Node.FullOp.
func CanEvaluate(op string) bool {
	_, ok := kernels[op]
	return ok
}

// evaluateNode runs one node; in[i] is nil for an absent input. A body of If, Loop or Scan may use constants of the graphs around it, nothing else.
func evaluateNode(n *Node, in []*Array) ([]*Array, error) {
	return runNode(n, in, nil)
}

// frame holds the values of one graph during its evaluation; bodies look up what they capture in the frames around them.
type frame struct {
	outer *frame
	vals  map[*Value]*Array
	feeds map[string]*Array // outermost frame only
}

// feed returns the value that was given for v, with v's element type.
func (s *frame) feed(v *Value) (*Array, error) {
	a := s.feeds[v.Name]
	if a == nil {
		return nil, fmt.Errorf("graphs: input %q is not fed", v.Name)
	}
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("feed %q: %w", v.Name, err)
	}
	want := v.Type.DType
	if want == Undefined || want == a.DType {
		return a, nil
	}
	if want.IsFloat() != a.DType.IsFloat() {
		return nil, fmt.Errorf("graphs: feed %q is %v, the graph takes %v", v.Name, a.DType, want)
	}
	if a.DType.IsFloat() {
		return &Array{DType: want, Dims: a.Dims, F: a.F}, nil
	}
	return integers(want, a.Dims, wrapAll(want, a.I)), nil
}

// get returns the value of v: computed here, captured from a graph around this one, overridden, or v's own tensor.
func (s *frame) get(v *Value) (*Array, error) {
	root := s
	for e := s; e != nil; e = e.outer {
		if a := e.vals[v]; a != nil {
			return a, nil
		}
		root = e
	}
	if v.Kind != Constant && (v.Kind != Param || root == nil) || v.Tensor == nil {
		return nil, fmt.Errorf("graphs: value %q is not known here", v.Name)
	}
	var a *Array
	var err error
	if root != nil && v.Name != "" && root.feeds[v.Name] != nil {
		a, err = root.feed(v)
	} else {
		a, err = ArrayOf(v.Tensor)
	}
	if err == nil && root != nil {
		root.vals[v] = a
	}
	return a, err
}

// run evaluates the nodes of g in order and returns its outputs. With release, values are dropped after their last use.
func (s *frame) run(g *Graph, release bool) ([]*Array, error) {
	var uses map[*Value]int
	if release {
		uses = g.Uses()
	}
	for _, n := range g.Nodes {
		in := make([]*Array, len(n.In))
		for i, v := range n.In {
			if v == nil {
				continue
			}
			a, err := s.get(v)
			if err != nil {
				return nil, fmt.Errorf("%w (input %d of %s)", err, i, n.Label())
			}
			in[i] = a
		}
		out, err := runNode(n, in, s)
		if err != nil {
			return nil, err
		}
		for i, v := range n.Out {
			if v == nil || i >= len(out) {
				continue
			}
			s.vals[v] = out[i]
		}
		if release {
			for _, v := range n.In {
				if v != nil {
					if uses[v]--; uses[v] == 0 {
						delete(s.vals, v)
					}
				}
			}
		}
	}
	outs := make([]*Array, len(g.Outputs))
	for i, o := range g.Outputs {
		a, err := s.get(o.Value)
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", o.Name, err)
		}
		outs[i] = a
	}
	return outs, nil
}

// call is one execution of a node.
type call struct {
	*Node
	in    []*Array
	frame *frame // for bodies; nil when a single node is evaluated
}

// kernel computes the outputs of an op. The first `need` inputs are mandatory.
type kernel struct {
	need int
	run  func(c *call) ([]*Array, error)
}

type kernelTable map[string]kernel

// kernels holds every op that can be evaluated, by Node.FullOp. It is filled at start, since kernels of control flow refer to it.
var kernels = kernelTable{}

func register(tables ...kernelTable) {
	for _, t := range tables {
		for op, k := range t {
			kernels[op] = k
		}
	}
}

// errPanicked marks operands that a kernel overlooked to refuse.
var errPanicked = errors.New("malformed operands")

// runNode checks the inputs, runs the kernel and checks the outputs.
func runNode(n *Node, in []*Array, s *frame) (out []*Array, err error) {
	k, ok := kernels[n.FullOp()]
	if !ok {
		return nil, &OpError{Op: n.FullOp(), Node: n.Name, Reason: "the evaluator has no kernel for it"}
	}
	// The kernels check what they are given; this guards against what they overlook.
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("graphs: %s: %w: %v", n.Label(), errPanicked, r)
		}
	}()
	for i := range k.need {
		if i >= len(in) || in[i] == nil {
			return nil, fmt.Errorf("graphs: %s: input %d is missing", n.Label(), i)
		}
	}
	out, err = k.run(&call{Node: n, in: in, frame: s})
	if err != nil {
		return nil, fmt.Errorf("graphs: %s: %w", n.Label(), err)
	}
	for i, a := range out {
		if a == nil {
			continue
		}
		if err := a.check(); err != nil {
			return nil, fmt.Errorf("graphs: %s: output %d: %w", n.Label(), i, err)
		}
	}
	return out, nil
}

// arg returns input i, nil when absent.
func (c *call) arg(i int) *Array {
	if i < len(c.in) {
		return c.in[i]
	}
	return nil
}

// ints returns the elements of an integer input, nil when it is absent.
func (c *call) ints(i int) ([]int, error) {
	a := c.arg(i)
	if a == nil {
		return nil, nil
	}
	if a.DType.IsFloat() {
		return nil, fmt.Errorf("input %d is %v, not an integer", i, a.DType)
	}
	return toInts(a.I), nil
}

// scalarInt returns the only element of an integer input, or def when it is absent.
func (c *call) scalarInt(i, def int) (int, error) {
	v, err := c.ints(i)
	if err != nil || c.arg(i) == nil {
		return def, err
	}
	if len(v) != 1 {
		return 0, fmt.Errorf("input %d has %d elements, not one", i, len(v))
	}
	return v[0], nil
}

// scalarFloat returns the only element of a numeric input, or def when it is absent.
func (c *call) scalarFloat(i int, def float64) (float64, error) {
	a := c.arg(i)
	if a == nil {
		return def, nil
	}
	if a.Len() != 1 {
		return 0, fmt.Errorf("input %d has %d elements, not one", i, a.Len())
	}
	return a.floats()[0], nil
}

// float returns a float attribute as float64.
func (c *call) float(name string, def float32) float64 { return float64(c.Float(name, def)) }

// intAttr returns an integer attribute as int.
func (c *call) intAttr(name string, def int) int { return int(c.Int(name, int64(def))) }

// intsAttr returns an integer list attribute, nil when absent.
func (c *call) intsAttr(name string) []int {
	v := c.IntList(name)
	if v == nil {
		return nil
	}
	return toInts(v)
}

// needFloat reports an operand that is no float.
func needFloat(as ...*Array) error {
	for i, a := range as {
		if a != nil && !a.DType.IsFloat() {
			return fmt.Errorf("input %d is %v, not a float", i, a.DType)
		}
	}
	return nil
}

// needRank reports a first operand of lower rank.
func needRank(a *Array, r int) error {
	if len(a.Dims) < r {
		return fmt.Errorf("rank %d of dims %v is less than %d", len(a.Dims), a.Dims, r)
	}
	return nil
}

func one(a *Array, err error) ([]*Array, error) {
	if err != nil {
		return nil, err
	}
	return []*Array{a}, nil
}

// newArray returns a zero value of the given type and dims.
func newArray(dt DType, dims []int) (*Array, error) {
	n, err := elements(dims)
	if err != nil {
		return nil, err
	}
	a := &Array{DType: dt, Dims: slices.Clone(dims)}
	if dt.IsFloat() {
		a.F = make([]float64, n)
	} else {
		a.I = make([]int64, n)
	}
	return a, nil
}

func integers(dt DType, dims []int, v []int64) *Array {
	return &Array{DType: dt, Dims: dims, I: v}
}

func reals(dt DType, dims []int, v []float64) *Array {
	return &Array{DType: dt, Dims: dims, F: v}
}

// withDims returns the same elements under other dims.
func (a *Array) withDims(dims []int) *Array {
	return &Array{DType: a.DType, Dims: dims, F: a.F, I: a.I}
}

// floats returns the elements as float64, whatever their type. For floats it is the array's own memory.
func (a *Array) floats() []float64 {
	if a.DType.IsFloat() {
		return a.F
	}
	if a.DType == Uint64 {
		return convert(a.I, func(x int64) float64 { return float64(uint64(x)) })
	}
	return convert(a.I, func(x int64) float64 { return float64(x) })
}

// pick returns the elements at the given flat indices under new dims.
func (a *Array) pick(dims, idx []int) *Array {
	out := &Array{DType: a.DType, Dims: dims}
	if a.DType.IsFloat() {
		out.F = pick(a.F, idx)
	} else {
		out.I = pick(a.I, idx)
	}
	return out
}

func pick[T any](src []T, idx []int) []T {
	v := make([]T, len(idx))
	for i, j := range idx {
		v[i] = src[j]
	}
	return v
}

// view copies the elements at offset + Σ index·step: transposition, broadcasting, slicing and diagonals.
func (a *Array) view(dims []int, offset int, steps []int) (*Array, error) {
	out, err := newArray(a.DType, dims)
	if err != nil {
		return nil, err
	}
	w := newWalk(dims, steps)
	w.start[0] = offset
	if a.DType.IsFloat() {
		gather(out.F, a.F, w)
	} else {
		gather(out.I, a.I, w)
	}
	return out, nil
}

func gather[T any](out, src []T, w *walk) {
	w.each(func(o, n int, at, inc []int) {
		if inc[0] == 1 {
			copy(out[o:o+n], src[at[0]:])
			return
		}
		j := at[0]
		for k := range n {
			out[o+k] = src[j]
			j += inc[0]
		}
	})
}

// walk enumerates an index space in row-major order with the positions of several operands, run by run along the last axis.
type walk struct {
	dims  []int
	steps [][]int // per operand, per axis
	start []int   // per operand
}

// newWalk makes a walk over dims in which operand k moves by steps[k][axis]. Axes that every operand passes at one stride are merged.
func newWalk(dims []int, steps ...[]int) *walk {
	w := &walk{steps: make([][]int, len(steps)), start: make([]int, len(steps))}
	for ax, d := range dims {
		if d == 1 {
			continue
		}
		last := len(w.dims) - 1
		merge := last >= 0
		for k := range steps {
			merge = merge && w.steps[k][last] == steps[k][ax]*d
		}
		if merge {
			w.dims[last] *= d
			for k := range steps {
				w.steps[k][last] = steps[k][ax]
			}
			continue
		}
		w.dims = append(w.dims, d)
		for k := range steps {
			w.steps[k] = append(w.steps[k], steps[k][ax])
		}
	}
	if len(w.dims) == 0 {
		w.dims = []int{1}
		for k := range steps {
			w.steps[k] = []int{1}
		}
	}
	return w
}

// each calls f for every run: o is the offset in the output, n its length, at and inc the operands' positions and increments.
func (w *walk) each(f func(o, n int, at, inc []int)) {
	total := product(w.dims)
	if total == 0 {
		return
	}
	last := len(w.dims) - 1
	n := w.dims[last]
	inc := make([]int, len(w.steps))
	at := slices.Clone(w.start)
	for k := range inc {
		inc[k] = w.steps[k][last]
	}
	idx := make([]int, last)
	for o := 0; ; {
		f(o, n, at, inc)
		if o += n; o >= total {
			return
		}
		for ax := last - 1; ; ax-- {
			idx[ax]++
			for k := range at {
				at[k] += w.steps[k][ax]
			}
			if idx[ax] < w.dims[ax] {
				break
			}
			for k := range at {
				at[k] -= w.dims[ax] * w.steps[k][ax]
			}
			idx[ax] = 0
		}
	}
}

// strides returns the row-major strides of dims.
func strides(dims []int) []int {
	s := make([]int, len(dims))
	n := 1
	for i := len(dims) - 1; i >= 0; i-- {
		s[i] = n
		n *= dims[i]
	}
	return s
}

// spread returns the steps by which a value of dims from moves in its broadcast to dims to.
func spread(from, to []int) []int {
	steps := make([]int, len(to))
	off := len(to) - len(from)
	for i, st := range strides(from) {
		if from[i] != 1 {
			steps[off+i] = st
		}
	}
	return steps
}

// broadcast returns the common dims of several shapes by the multidirectional rule of the ONNX specification (Broadcasting.md).
func broadcast(shapes ...[]int) ([]int, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := make([]int, rank)
	for i := range out {
		out[i] = 1
	}
	for _, s := range shapes {
		for i, d := range s {
			j := rank - len(s) + i
			switch {
			case out[j] == d || d == 1:
			case out[j] == 1:
				out[j] = d
			default:
				return nil, fmt.Errorf("dims %v do not broadcast", shapes)
			}
		}
	}
	return out, nil
}

// expandTo broadcasts a to dims, which must be reachable by one-directional broadcasting.
func (a *Array) expandTo(dims []int) (*Array, error) {
	if slices.Equal(a.Dims, dims) {
		return a, nil
	}
	to, err := broadcast(a.Dims, dims)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(to, dims) {
		return nil, fmt.Errorf("dims %v do not broadcast to %v", a.Dims, dims)
	}
	return a.view(dims, 0, spread(a.Dims, dims))
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// elements is product with a check of sign and size.
func elements(dims []int) (int, error) {
	n := 1
	for _, d := range dims {
		if d < 0 {
			return 0, fmt.Errorf("negative extent in dims %v", dims)
		}
		if d > maxElements {
			return 0, fmt.Errorf("dims %v are too large", dims)
		}
		if n *= d; n > maxElements {
			return 0, fmt.Errorf("dims %v are too large", dims)
		}
	}
	return n, nil
}

func toInts(v []int64) []int { return convert(v, func(x int64) int { return int(x) }) }

func toInt64s(v []int) []int64 { return convert(v, func(x int) int64 { return int64(x) }) }

// axisOf resolves a possibly negative axis.
func axisOf(axis, rank int) (int, error) {
	if axis < -rank || axis >= rank {
		return 0, fmt.Errorf("axis %d is outside rank %d", axis, rank)
	}
	if axis < 0 {
		axis += rank
	}
	return axis, nil
}

// axesOf resolves a list of distinct axes.
func axesOf(axes []int, rank int) ([]int, error) {
	r := make([]int, len(axes))
	for i, a := range axes {
		ax, err := axisOf(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(r[:i], ax) {
			return nil, fmt.Errorf("axis %d is repeated in %v", a, axes)
		}
		r[i] = ax
	}
	return r, nil
}

// around splits dims at an axis: the extents before it, of it and after it.
func around(dims []int, axis int) (outer, n, inner int) {
	return product(dims[:axis]), dims[axis], product(dims[axis+1:])
}

// ramp returns 0 … n−1.
func ramp(n int) []int {
	v := make([]int, n)
	for i := range v {
		v[i] = i
	}
	return v
}
