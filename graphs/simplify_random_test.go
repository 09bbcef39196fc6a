package graphs

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// maker builds random graphs node by node and evaluates as it goes, so that whatever it holds is well-formed.
type maker struct {
	*rand.Rand
	b      *Builder
	feeds  map[string]*Array
	floats []*Value
	ints   []*Value
	bools  []*Value
	value  map[*Value]*Array
}

func newMaker(seed uint64) *maker {
	r := rand.New(rand.NewPCG(seed, 11))
	m := &maker{Rand: r, b: NewBuilder("random"), feeds: map[string]*Array{}, value: map[*Value]*Array{}}
	rows := r.IntN(4)
	n := Symbol("N")
	for name, s := range map[string]Shape{"x": {n, Static(3)}, "y": {Static(3)}, "z": {n, Static(1), Static(3)}, "m": {Static(3), Static(3)}, "s": {}, "u": {Static(1), n}} {
		a := &Array{DType: Float32, Dims: []int{}}
		for _, d := range s {
			extent := rows
			if d.IsStatic() {
				extent = int(d.Size)
			}
			a.Dims = append(a.Dims, extent)
		}
		for range a.Len() {
			a.F = append(a.F, r.NormFloat64())
		}
		m.feeds[name] = a
	}
	for _, name := range []string{"x", "y", "z", "m", "s", "u"} {
		shape := map[string]Shape{"x": {n, Static(3)}, "y": {Static(3)}, "z": {n, Static(1), Static(3)}, "m": {Static(3), Static(3)}, "s": {}, "u": {Static(1), n}}[name]
		v := m.b.Input(name, Float32, shape)
		m.floats = append(m.floats, v)
		m.value[v] = m.feeds[name]
	}
	return m
}

// constant makes one and remembers its value.
func (m *maker) constant(t *Tensor) *Value {
	v := m.b.Const(t)
	m.value[v], _ = ArrayOf(t)
	return v
}

func (m *maker) list(v ...int64) *Value { return m.constant(IntsTensor(v...)) }

// number is a float constant: 0, 1, −1 and others, scalar or uniform or not.
func (m *maker) number() *Value {
	c := []float32{0, 1, -1, 2, 0.5, -3}[m.IntN(6)]
	switch m.IntN(4) {
	case 0:
		return m.constant(NewTensor([]float32{c}, 1))
	case 1:
		return m.constant(NewTensor([]float32{c, c, c}, 3))
	case 2:
		return m.constant(NewTensor([]float32{c, 1, c}, 1, 3))
	}
	return m.constant(ScalarTensor(c))
}

func pickOf[T any](m *maker, list []T) T { return list[m.IntN(len(list))] }

// recent prefers values made lately, so that rewrites chain.
func (m *maker) recent(list []*Value) *Value {
	if len(list) > 2 && m.IntN(4) > 0 {
		list = list[len(list)-2:]
	}
	return pickOf(m, list)
}

func (m *maker) float() *Value {
	if m.IntN(5) == 0 {
		return m.number()
	}
	return m.recent(m.floats)
}

// add adds the node when inference and evaluation take it.
func (m *maker) add(nout int, op string, a Attrs, in ...*Value) {
	n := &Node{Op: op, Attrs: a, In: in, Out: make([]*Value, nout)}
	for i := range n.Out {
		n.Out[i] = &Value{Kind: Computed, Node: n}
	}
	if err := infer(n); err != nil {
		return
	}
	args := make([]*Array, len(in))
	for i, v := range in {
		if v != nil {
			args[i] = m.value[v]
		}
	}
	out, err := evaluateNode(n, args)
	if err != nil || slices.ContainsFunc(out, func(a *Array) bool { return a == nil || a.Len() > 4096 || !moderate(a) }) {
		return
	}
	for i, v := range m.b.Add(n) {
		m.value[v] = out[i]
		switch {
		case v.Type.DType.IsFloat():
			m.floats = append(m.floats, v)
		case v.Type.DType == Bool:
			m.bools = append(m.bools, v)
		default:
			m.ints = append(m.ints, v)
		}
	}
}

func moderate(a *Array) bool {
	return !slices.ContainsFunc(a.F, func(f float64) bool { return math.IsNaN(f) || math.Abs(f) > 1e4 })
}

// axes are some axes of v, perhaps none, negative ones among them.
func (m *maker) axes(v *Value) []int64 {
	list := []int64{}
	for i := range len(m.value[v].Dims) {
		if m.IntN(2) == 0 {
			list = append(list, int64(i-m.IntN(2)*len(m.value[v].Dims)))
		}
	}
	return list
}

// target is a shape that the elements of v fit, as a constant.
func (m *maker) target(v *Value) *Value {
	var t []int64
	free := m.IntN(2) == 0
	for _, d := range m.value[v].Dims {
		switch {
		case free && m.IntN(2) == 0:
			t, free = append(t, -1), false
		case m.IntN(3) == 0 && len(t) == len(m.value[v].Dims)-1:
			t = append(t, 0)
		case m.IntN(4) == 0:
			t = append(t, 1, int64(d))
		default:
			t = append(t, int64(d))
		}
	}
	if m.IntN(4) == 0 {
		t = []int64{-1}
	}
	return m.list(t...)
}

// step adds one random node.
func (m *maker) step() {
	x := m.float()
	dims := m.value[x].Dims
	bit := func() int64 { return int64(m.IntN(2)) }
	switch m.IntN(24) {
	case 0, 1:
		m.add(1, pickOf(m, []string{"Neg", "Relu", "Identity", "Abs", "Tanh", "Neg"}), nil, x)
	case 2, 3, 4, 5, 6:
		m.add(1, pickOf(m, []string{"Add", "Sub", "Mul", "Mul", "Add", "Div", "Min", "Max", "Sum", "Mean"}), nil, x, m.float())
	case 7:
		m.add(1, "Pow", nil, m.recent(m.floats), m.constant(ScalarTensor(pickOf(m, []float32{1, 2, 3, 4, 5}))))
	case 8:
		m.add(1, pickOf(m, []string{"Sum", "Mean", "Min", "Max"}), nil, []*Value{x, m.float(), m.float()}[:1+m.IntN(3)]...)
	case 9:
		m.add(1, "Reshape", nil, x, m.target(x))
	case 10:
		other := m.recent(m.floats)
		m.add(1, "Reshape", Attrs{"allowzero": int64(1)}, x, m.shapeOf(other))
	case 11:
		if m.IntN(2) == 0 {
			m.add(1, "Flatten", Attrs{"axis": int64(m.IntN(len(dims) + 1))}, x)
		}
		m.add(1, "Unsqueeze", nil, x, m.list([]int64{0, -1, 1}[:1+m.IntN(2)]...))
	case 12:
		m.add(1, "Squeeze", nil, x, m.list(m.axes(x)...))
	case 13:
		perm := []int64{}
		for _, p := range m.Perm(len(dims)) {
			perm = append(perm, int64(p))
		}
		m.add(1, "Transpose", Attrs{"perm": perm}, x)
	case 14:
		t := []int64{}
		for _, d := range dims {
			t = append(t, []int64{1, int64(d), int64(d), 2}[m.IntN(4)])
		}
		if m.IntN(3) == 0 {
			t = append([]int64{2}, t...)
		}
		m.add(1, "Expand", nil, x, m.list(t...))
	case 15:
		m.add(1, "Expand", nil, x, m.shapeOf(m.recent(m.floats)))
	case 16:
		if len(dims) == 0 {
			return
		}
		bounds := []int64{0, 0, 1, -1, -3, 99, math.MaxInt64, 2}
		in := []*Value{x, m.list(pickOf(m, bounds)), m.list(pickOf(m, append(bounds, 99, math.MaxInt64))), m.list(int64(m.IntN(len(dims))))}
		if m.IntN(3) == 0 {
			in = append(in, m.list(pickOf(m, []int64{1, 2, -1})))
		}
		m.add(1, "Slice", nil, in...)
	case 17:
		axes := m.axes(x)
		pads := make([]int64, 2*len(axes))
		for i := range pads {
			pads[i] = int64(m.IntN(3)) * bit()
		}
		m.add(1, "Pad", nil, x, m.list(pads...), nil, m.list(axes...))
	case 18:
		if len(dims) > 0 {
			m.add(1, "Concat", Attrs{"axis": int64(m.IntN(len(dims)))}, []*Value{x, m.float(), x}[:1+m.IntN(3)]...)
			m.add(1, "Split", Attrs{"axis": int64(m.IntN(len(dims))), "num_outputs": int64(1)}, x)
		}
	case 19, 20:
		op := pickOf(m, []string{"ReduceSum", "ReduceSum", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare"})
		m.add(1, op, Attrs{"keepdims": bit(), "noop_with_empty_axes": bit()}, x, m.list(m.axes(x)...))
	case 21:
		m.add(1, "MatMul", nil, x, m.float())
	case 22:
		in := []*Value{x, m.float(), m.float()}[:2+m.IntN(2)]
		m.add(1, "Gemm", Attrs{"transA": bit(), "transB": bit(), "alpha": pickOf(m, []float32{1, 2}), "beta": pickOf(m, []float32{0, 1, -1})}, in...)
	case 23:
		// of values that no rewrite rounds differently
		m.add(1, pickOf(m, []string{"Greater", "Equal", "LessOrEqual"}), nil, pickOf(m, m.floats[:6]), pickOf(m, []*Value{m.number(), pickOf(m, m.floats[:6])}))
		m.selection(x)
	}
	m.integers()
}

func (m *maker) shapeOf(v *Value) *Value {
	m.add(1, "Shape", nil, v)
	if len(m.ints) == 0 {
		return m.list(3)
	}
	return m.ints[len(m.ints)-1]
}

// selection uses bools.
func (m *maker) selection(x *Value) {
	if len(m.bools) == 0 {
		return
	}
	c := m.recent(m.bools)
	switch m.IntN(4) {
	case 0:
		m.add(1, "Not", nil, c)
	case 1:
		m.add(1, "Cast", Attrs{"to": int64(pickOf(m, []DType{Float32, Int64, Bool}))}, c)
	case 2:
		m.add(1, "Where", nil, m.constant(NewTensor([]bool{true, m.IntN(2) == 0, true}, 3)), x, m.float())
	case 3:
		m.add(1, "Where", nil, c, x, m.float())
	}
}

// integers does arithmetic on shapes.
func (m *maker) integers() {
	if len(m.ints) == 0 || m.IntN(3) > 0 {
		return
	}
	i := m.recent(m.ints)
	j := []*Value{m.recent(m.ints), m.list(2), m.list(-1), m.constant(ScalarTensor(int64(0)))}[m.IntN(4)]
	switch m.IntN(9) {
	case 0:
		m.add(1, pickOf(m, []string{"Add", "Sub", "Mul", "Div"}), nil, i, j)
	case 1:
		m.add(1, "Gather", nil, i, []*Value{m.list(0, 1), m.constant(ScalarTensor(int64(-1))), m.constant(NewTensor([]int64{0, 1, 1, 0}, 2, 2))}[m.IntN(3)])
	case 2:
		m.add(1, "Concat", Attrs{"axis": int64(0)}, i, j)
	case 3:
		m.add(1, "Unsqueeze", nil, i, m.list([]int64{0, 1}[:1+m.IntN(2)]...))
	case 4:
		m.add(1, "Squeeze", nil, i)
	case 5:
		m.add(1, "Equal", nil, i, j)
	case 6:
		m.add(1, "Cast", Attrs{"to": int64(pickOf(m, []DType{Float32, Int64, Bool}))}, i)
	case 7:
		m.add(1, "ReduceProd", Attrs{"keepdims": int64(m.IntN(2))}, i)
	case 8:
		m.add(1, "Neg", nil, i)
	}
}

// outputs are the last values and some others: few of them, so that most values have a single user.
func (m *maker) outputs() []Output {
	var outs []Output
	for _, list := range [][]*Value{m.floats[6:], m.ints, m.bools} {
		for i, v := range list {
			if i >= len(list)-2 || m.IntN(8) == 0 {
				outs = append(outs, Output{fmt.Sprint(len(outs)), v})
			}
		}
	}
	return outs
}

// TestSimplifyKeepsValues simplifies random graphs: types, extents and values of the results stay.
func TestSimplifyKeepsValues(t *testing.T) {
	graphs := 5000
	if testing.Short() {
		graphs = 300
	}
	nodes := 0
	for seed := range uint64(graphs) {
		m := newMaker(seed)
		for range 4 + m.IntN(20) {
			m.step()
		}
		g, err := m.b.Graph(m.outputs()...)
		require.NoError(t, err)
		nodes += len(g.Nodes)
		s, err := Simplify(g)
		require.NoError(t, err, "seed %d\n%s", seed, Print(g))
		require.NoError(t, Check(s))
		got, err := Evaluate(s, m.feeds)
		require.NoError(t, err, "seed %d\n%s\n%s", seed, Print(g), Print(s))
		for i, o := range g.Outputs {
			want := m.value[o.Value]
			require.Equal(t, o.Value.Type.DType, s.Outputs[i].Value.Type.DType)
			require.NoError(t, compareArrays(&Array{DType: got[o.Name].DType, Dims: slices.Clone(want.Dims), F: want.F, I: want.I}, got[o.Name], 1e-5, 1e-4), "seed %d, output %s\n%s\n%s", seed, o.Name, Print(g), Print(s))
		}
	}
	require.Greater(t, nodes, 3*graphs)
}
