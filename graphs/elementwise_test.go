package graphs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fusedMLP is the gradient of a SiLU network with a cotangent, sums for its biases, and a switch that is decided early and used late.
func fusedMLP(t *testing.T, constant bool) *Graph {
	b := NewBuilder("fused")
	n := Symbol("N")
	param := func(name string, dims ...int64) *Value {
		return b.Param(name, NewTensor(make([]float32, ShapeOf(dims...).Size().Size), dims...))
	}
	x, w, bias := b.Input("x", Float32, Shape{n, Static(4)}), param("w", 8, 4), param("b", 8)
	v := param("v", 1, 8)
	z := b.Op("Gemm", Attrs{"transB": int64(1)}, x, w, bias)
	s := b.Op("Sigmoid", nil, z)
	h := b.Op("Mul", nil, z, s)
	slope := b.Op("Add", nil, s, b.Op("Mul", nil, h, b.Op("Sub", nil, b.Float(1), s)))
	early := b.Op("Greater", nil, x, b.Float(0))
	out := b.Op("ReduceSum", Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, h, v), b.Ints(-1))
	half := b.Op("Mul", nil, v, b.Float(0.5))
	up := b.Op("Mul", nil, b.Op("Mul", nil, half, slope), b.Float(2))
	back := b.Op("Gemm", nil, up, w)
	gx := b.Op("Where", nil, early, back, b.Op("Mul", nil, back, b.Float(0.1)))
	gb := b.Op("Squeeze", nil, b.Op("ReduceSum", nil, up, b.Ints(0)), b.Ints(0))
	alone := b.Op("Mul", nil, b.Op("Transpose", Attrs{"perm": []int64{1, 0}}, x), b.Float(3))
	log := b.Op("Softplus", nil, b.Op("Transpose", Attrs{"perm": []int64{1, 0}}, back))
	gelu := b.Op("Gelu", nil, b.Op("MatMul", nil, h, b.Const(NewTensor(make([]float32, 16), 8, 2))))
	g, err := b.Graph(Output{"e", out}, Output{"gx", gx}, Output{"gb", gb}, Output{"alone", alone}, Output{"log", log}, Output{"gelu", gelu})
	require.NoError(t, err)
	f, err := FuseElementwise(g, constant)
	require.NoError(t, err)
	return f
}

func TestFuseElementwise(t *testing.T) {
	require.Equal(t, strings.TrimLeft(`
graph fused(x float32[N,4])
  w = param float32[8,4]
  b = param float32[8]
  v = param float32[1,8]
  %0 = Gemm(x, w, b) {transB=1} : float32[N,8]
  %1 = Mul(v, 0.5) : float32[1,8]
  %2, %3, %4, %5 = onnx-ebm::Elementwise(%0, v, %1) {constants=[1 2], program=Sigmoid a0; Mul a0 t0; Sub c0 t0; Mul t1 t2; Add t0 t3; Mul t1 a1; Mul a2 t4; Mul t6 c1; Out t1; Sum t5 1 1 0; Out t7; Sum t7 0 1 0} : float32[N,8], float32[N], float32[N,8], float32[8]
  %6 = Gemm(%4, w) : float32[N,4]
  %7 = onnx-ebm::Elementwise(%6, x) {constants=[0.1 0], program=Mul a0 c0; Greater a1 c1; Where t1 a0 t0; Out t2} : float32[N,4]
  %8 = Transpose(x) {perm=[1 0]} : float32[4,N]
  %9 = Mul(%8, 3) : float32[4,N]
  %10 = Transpose(%6) {perm=[1 0]} : float32[4,N]
  %11 = onnx-ebm::Elementwise(%10) {program=Softplus a0; Out t0} : float32[4,N]
  %12 = MatMul(%2, float32[8,2]) : float32[N,2]
  %13 = Gelu(%12) : float32[N,2]
  return e=%3, gx=%7, gb=%5, alone=%9, log=%11, gelu=%13
`, "\n"), Print(fusedMLP(t, true)))
}

// interpret runs an Elementwise node by the evaluator's own kernels, instruction by instruction.
func interpret(n *Node, in []*Array) ([]*Array, error) {
	run := func(op string, a Attrs, in ...*Array) (*Array, error) {
		m := &Node{Op: op, Attrs: a, Out: []*Value{{Type: Type{DType: Float32}}}}
		for _, x := range in {
			m.In = append(m.In, &Value{Type: Type{DType: x.DType}})
		}
		out, err := evaluateNode(m, in)
		if err != nil {
			return nil, err
		}
		return out[0], nil
	}
	whole := slices.Clone(in[0].Dims)
	for _, x := range in {
		for len(whole) < len(x.Dims) {
			whole = append([]int{1}, whole...)
		}
		for i, d := range x.Dims {
			if at := len(whole) - len(x.Dims) + i; whole[at] == 1 {
				whole[at] = d
			}
		}
	}
	values := map[string]*Array{}
	for i, c := range n.FloatList("constants") {
		values[fmt.Sprint("c", i)] = &Array{DType: Float32, F: []float64{float64(c)}}
	}
	for i, x := range in {
		values[fmt.Sprint("a", i)] = x
	}
	var outs []*Array
	results := 0
	for _, line := range strings.Split(n.Text("program", ""), "; ") {
		f := strings.Fields(line)
		var args []*Array
		for _, a := range f[1:] {
			if v := values[a]; v != nil {
				args = append(args, v)
			}
		}
		var err error
		var r *Array
		switch f[0] {
		case "Out":
			outs = append(outs, args[0])
			continue
		case "Sum":
			at, _ := strconv.ParseInt(f[2], 10, 64)
			k, _ := strconv.Atoi(f[3])
			keep, _ := strconv.ParseInt(f[4], 10, 64)
			axes := &Array{DType: Int64, Dims: []int{k}}
			for i := range k {
				axes.I = append(axes.I, at+int64(i))
			}
			if r, err = run("ReduceSum", Attrs{"keepdims": keep}, args[0], axes); err != nil {
				return nil, err
			}
			outs = append(outs, r)
			continue
		case "And", "Or", "Not", "Where":
			for i, a := range args[:max(1, len(args)%3)] {
				args[i] = &Array{DType: Bool, Dims: a.Dims, I: convert(a.F, func(v float64) int64 { return int64(v) })}
			}
		}
		if r, err = run(f[0], nil, args...); err != nil {
			return nil, err
		}
		if r.DType == Bool {
			r = &Array{DType: Float32, Dims: r.Dims, F: convert(r.I, func(v int64) float64 { return float64(v) })}
		}
		shape := &Array{DType: Int64, Dims: []int{len(whole)}, I: convert(whole, func(v int) int64 { return int64(v) })}
		if r, err = run("Expand", nil, r, shape); err != nil {
			return nil, err
		}
		values[fmt.Sprint("t", results)] = r
		results++
	}
	return outs, nil
}

// TestFuseKeepsValues fuses random graphs: the values of the results stay.
func TestFuseKeepsValues(t *testing.T) {
	kernels[ElementwiseDomain+"::Elementwise"] = kernel{1, func(c *call) ([]*Array, error) { return interpret(c.Node, c.in) }}
	defer delete(kernels, ElementwiseDomain+"::Elementwise")
	fused, nodes := 0, 0
	for seed := range uint64(400) {
		m := newMaker(seed)
		for range 4 + m.IntN(30) {
			m.step()
			m.chain()
		}
		g, err := m.b.Graph(m.outputs()...)
		require.NoError(t, err)
		f, err := FuseElementwise(g, seed%2 == 0)
		require.NoError(t, err, "seed %d\n%s", seed, Print(g))
		got, err := Evaluate(f, m.feeds)
		require.NoError(t, err, "seed %d\n%s\n%s", seed, Print(g), Print(f))
		for i, o := range g.Outputs {
			require.Equal(t, o.Value.Type, f.Outputs[i].Value.Type)
			want := m.value[o.Value]
			require.NoError(t, compareArrays(want, got[o.Name], 1e-12, 1e-12), "seed %d, output %s\n%s\n%s", seed, o.Name, Print(g), Print(f))
		}
		fused += f.Ops()[ElementwiseDomain+"::Elementwise"]
		nodes += len(g.Nodes) - len(f.Nodes)
	}
	t.Logf("%d programs, %d nodes fewer", fused, nodes)
	require.Greater(t, fused, 400)
	require.Greater(t, nodes, 3*fused/2)
}

// TestFuseGelu: both forms, whose constants are float32.
func TestFuseGelu(t *testing.T) {
	kernels[ElementwiseDomain+"::Elementwise"] = kernel{1, func(c *call) ([]*Array, error) { return interpret(c.Node, c.in) }}
	defer delete(kernels, ElementwiseDomain+"::Elementwise")
	for _, form := range []string{"none", "tanh"} {
		b := NewBuilder("gelu")
		x := b.Input("x", Float32, Shape{Symbol("N")})
		y := b.Op("Gelu", Attrs{"approximate": form}, x)
		g, err := b.Graph(Output{"y", y}, Output{"z", b.Op("Mul", nil, y, x)})
		require.NoError(t, err)
		f, err := FuseElementwise(g, true)
		require.NoError(t, err)
		require.Equal(t, 1, len(f.Nodes))
		feed := map[string]*Array{"x": {DType: Float32, Dims: []int{5}, F: []float64{-3, -0.5, 0, 1, 4}}}
		want, err := Evaluate(g, feed)
		require.NoError(t, err)
		got, err := Evaluate(f, feed)
		require.NoError(t, err)
		require.InDeltaSlice(t, want["y"].F, got["y"].F, 1e-6)
		require.InDeltaSlice(t, want["z"].F, got["z"].F, 1e-6)
	}
}

// chain adds element-wise nodes, which a random graph has too few of.
func (m *maker) chain() {
	for range 1 + m.IntN(3) {
		x := m.recent(m.floats)
		switch m.IntN(6) {
		case 0:
			m.add(1, pickOf(m, []string{"Sigmoid", "Erf", "Exp", "Sign", "LeakyRelu", "Elu", "Softplus"}), nil, x)
		case 1:
			m.add(1, pickOf(m, []string{"Less", "GreaterOrEqual"}), nil, pickOf(m, m.floats[:6]), m.number())
			m.selection(x)
		default:
			m.add(1, pickOf(m, []string{"Add", "Sub", "Mul"}), nil, x, pickOf(m, m.floats))
		}
	}
}
