package onnxgo

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/owulveryck/onnx-go"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/graph/simple"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"gorgonia.org/tensor"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/runtime"
)

func openRuntime(t testing.TB) *runtime.Runtime {
	rt, err := runtime.Open(runtime.Options{})
	if errors.Is(err, runtime.ErrNoLibrary) {
		t.Skip("needs ONNX Runtime: make runtime")
	}
	require.NoError(t, err)
	return rt
}

func open(t testing.TB, rt *runtime.Runtime, options ...Option) *Backend {
	b, err := New(rt, options...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// file is a model in the making; the wire form lets it hold what no writer would write.
type file struct {
	graph   message
	opset   int64
	domains []string
}

func newFile(opset int64) *file { return &file{opset: opset} }

func (f *file) value(field int, name string, dt graphs.DType, s graphs.Shape) *file {
	f.graph = f.graph.bytes(protowire.Number(field), valueMessage(name, graphs.Type{DType: dt, Shape: s}))
	return f
}

func (f *file) in(name string, s graphs.Shape) *file   { return f.value(11, name, graphs.Float32, s) }
func (f *file) out(name string, s graphs.Shape) *file  { return f.value(12, name, graphs.Float32, s) }
func (f *file) info(name string, s graphs.Shape) *file { return f.value(13, name, graphs.Float32, s) }

func (f *file) init(name string, t *graphs.Tensor) *file {
	f.graph = f.graph.bytes(5, tensorMessage(name, t))
	return f
}

// node adds an op; DOMAIN::OP is of another domain.
func (f *file) node(op string, attrs graphs.Attrs, in, out string) *file {
	domain, name, ok := strings.Cut(op, "::")
	if !ok {
		f.graph = f.graph.bytes(1, nodeMessage(op, attrs, split(in), split(out)))
		return f
	}
	f.domains = append(f.domains, domain)
	f.graph = f.graph.bytes(1, nodeMessage(name, attrs, split(in), split(out)).text(7, domain))
	return f
}

func split(names string) []string {
	if names == "" {
		return nil
	}
	return strings.Split(names, ",")
}

func (f *file) bytes() []byte {
	m := modelMessage(f.graph.text(2, "test"), f.opset)
	for _, d := range f.domains {
		m = m.bytes(8, message(nil).text(1, d).int(2, 1))
	}
	return m
}

func rows(extents ...int64) graphs.Shape {
	return append(graphs.Shape{graphs.Symbol("N")}, graphs.ShapeOf(extents...)...)
}

func floats(v ...float32) *graphs.Tensor { return graphs.NewTensor(v, int64(len(v))) }

// TestRecovers has models of which onnx-go's graph says too little, and what they compute of x = [[1 2][3 4][5 6]].
func TestRecovers(t *testing.T) {
	rt := openRuntime(t)
	s := rows(2)
	x := dense([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
	for name, c := range map[string]struct {
		file *file
		want []float32
	}{
		"operand used twice": {newFile(13).in("x", s).out("y", s).node("Mul", nil, "x,x", "y"), []float32{1, 4, 9, 16, 25, 36}},
		"operands in between": {newFile(13).in("x", s).out("y", s).node("Neg", nil, "x", "m").node("Max", nil, "m,x,m,x", "y"),
			[]float32{1, 2, 3, 4, 5, 6}},
		"optional operand": {newFile(13).in("x", s).out("y", s).init("top", graphs.ScalarTensor(float32(3))).node("Clip", nil, "x,,top", "y"),
			[]float32{1, 2, 3, 3, 3, 3}},
		"no operands": {newFile(13).in("x", s).out("y", s).
			node("Constant", graphs.Attrs{"value": floats(10, 20)}, "", "c").node("Constant", graphs.Attrs{"value_float": float32(0.5)}, "", "d").
			node("Add", nil, "x,c", "s").node("Add", nil, "s,d", "y"), []float32{11.5, 22.5, 13.5, 24.5, 15.5, 26.5}},
		"results in order": {newFile(13).in("x", s).out("y", rows(1)).node("Split", graphs.Attrs{"axis": int64(1)}, "x", "a,b").
			node("Sub", nil, "b,a", "d").node("Mul", nil, "a,d", "y"), []float32{1, 3, 5}},
		"operand and result": {newFile(13).in("x", s).out("y", rows(1)).node("Split", graphs.Attrs{"axis": int64(1)}, "x,sizes", "a,b").
			init("sizes", graphs.NewTensor([]int64{1, 1}, 2)).node("Sub", nil, "b,a", "d").node("Mul", nil, "b,d", "y"), []float32{2, 4, 6}},
		"initializer listed as an input": {newFile(13).in("x", s).in("w", graphs.ShapeOf(2)).out("y", s).init("w", floats(2, 3)).
			node("Mul", nil, "x,w", "y"), []float32{2, 6, 6, 12, 10, 18}},
		"initializer of one element": {newFile(13).in("x", s).out("y", rows(1, 2)).init("axes", graphs.NewTensor([]int64{1}, 1)).
			node("Unsqueeze", nil, "x,axes", "y"), []float32{1, 2, 3, 4, 5, 6}},
		"older form": {newFile(11).in("x", s).out("y", rows()).node("ReduceSum", graphs.Attrs{"axes": []int64{1}, "keepdims": int64(0)}, "x", "y"),
			[]float32{3, 7, 11}},
		"scalar": {newFile(13).in("x", s).out("y", graphs.Shape{}).node("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, "x", "y"), []float32{21}},
		"nodes in disorder": {newFile(13).in("x", s).out("y", s).node("Add", nil, "m,x", "y").node("Mul", nil, "x,x", "m"),
			[]float32{2, 6, 12, 20, 30, 42}},
		"declared intermediates": {newFile(13).in("x", s).out("y", s).info("m", s).value(13, "k", graphs.Int64, graphs.ShapeOf(2)).
			node("Shape", nil, "x", "k").node("Mul", nil, "x,x", "m").node("Reshape", nil, "m,k", "y"), []float32{1, 4, 9, 16, 25, 36}},
	} {
		for way, option := range map[string]Option{"recorded": WithOpset(c.file.opset), "file": WithModel(c.file.bytes())} {
			t.Run(name+"/"+way, func(t *testing.T) {
				got := forward(t, open(t, rt, option), c.file.bytes(), x)
				require.Len(t, got, 1)
				near(t, c.want, got[0], 1e-6)
			})
		}
	}
}

func TestRecoversFromTheFileAlone(t *testing.T) {
	rt := openRuntime(t)
	s := rows(2)
	x := dense([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
	for name, c := range map[string]struct {
		file  *file
		given bool // onnx-go decodes the file itself
		want  []float32
	}{
		"bool initializer": {newFile(13).in("x", s).out("y", s).init("mask", graphs.NewTensor([]bool{true, false}, 2)).
			init("zero", graphs.ScalarTensor(float32(0))).node("Where", nil, "mask,x,zero", "y"), false, []float32{1, 0, 3, 0, 5, 0}},
		"domain": {newFile(13).in("x", s).out("y", rows(1)).init("w", graphs.NewTensor([]float32{1, 10}, 1, 2)).
			node("com.microsoft::FusedMatMul", graphs.Attrs{"transB": int64(1), "alpha": float32(2)}, "x,w", "y"), true, []float32{42, 86, 130}},
		"opset": {newFile(11).in("x", rows(2)).out("y", rows(2)).node("Softmax", nil, "x", "p").node("Log", nil, "p", "l").
			node("Exp", nil, "l", "y"), true, []float32{.26894143, .7310586, .26894143, .7310586, .26894143, .7310586}},
		"output that is used": {newFile(13).in("x", s).info("m", s).out("x2", s).out("y", s).node("Mul", nil, "x,x", "x2").
			node("Neg", nil, "x2", "m").node("Neg", nil, "m", "y"), true, []float32{1, 4, 9, 16, 25, 36}},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, rt, WithModel(c.file.bytes()))
			outline, err := b.Outline()
			require.NoError(t, err)
			near(t, c.want, forward(t, b, outline, x)[0], 1e-6)
			if c.given {
				near(t, c.want, forward(t, open(t, rt, WithModel(c.file.bytes())), c.file.bytes(), x)[0], 1e-6)
			} else {
				require.Error(t, onnx.NewModel(open(t, rt)).UnmarshalBinary(c.file.bytes()))
			}
		})
	}
}

// TestControlFlow has a branch, which onnx-go cannot decode, and its derivative.
func TestControlFlow(t *testing.T) {
	rt := openRuntime(t)
	b := graphs.NewBuilder("branch")
	x := b.Input("x", graphs.Float32, rows(1))
	branch := func(op string) *graphs.Graph {
		inner := graphs.NewBuilder(op)
		g, err := inner.Graph(graphs.Output{Name: op, Value: inner.Op(op, nil, x)})
		require.NoError(t, err)
		return g
	}
	positive := b.Op("Greater", nil, b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, x), b.Float(0))
	y := b.Op("If", graphs.Attrs{"then_branch": branch("Exp"), "else_branch": branch("Neg")}, positive)
	g, err := b.Graph(graphs.Output{Name: "y", Value: y})
	require.NoError(t, err)
	file, err := graphs.Encode(g, graphs.WriteOptions{})
	require.NoError(t, err)
	require.Error(t, onnx.NewModel(open(t, rt)).UnmarshalBinary(file))

	e := open(t, rt, WithModel(file))
	outline, err := e.Outline()
	require.NoError(t, err)
	near(t, []float32{2.7182817, 7.389056}, forward(t, e, outline, dense([]float32{1, 2}, 2, 1))[0], 1e-6)
	grad, err := e.Gradient("y", "x")
	require.NoError(t, err)
	near(t, []float32{2.7182817, 7.389056}, grad[0], 1e-6)
	e = open(t, rt, WithModel(file))
	near(t, []float32{1, 2}, forward(t, e, outline, dense([]float32{-1, -2}, 2, 1))[0], 1e-6)
	grad, err = e.Gradient("y", "x")
	require.NoError(t, err)
	near(t, []float32{-1, -1}, grad[0], 0)
}

// TestSoftmaxOfOpset: opset 13 changed the axes that a softmax with the default axis sums over.
func TestSoftmaxOfOpset(t *testing.T) {
	rt := openRuntime(t)
	s := rows(2, 2)
	x := dense([]float32{0, 0, 0, 0}, 1, 2, 2)
	for opset, want := range map[int64]float32{11: 0.25, 13: 0.5} {
		f := newFile(opset).in("x", s).out("y", s).node("Softmax", nil, "x", "y").bytes()
		for _, option := range []Option{WithOpset(opset), WithModel(f)} {
			near(t, []float32{want, want, want, want}, forward(t, open(t, rt, option), f, x)[0], 1e-6)
		}
	}
}

func TestInputThatIsAnOutput(t *testing.T) {
	rt := openRuntime(t)
	f := newFile(13).in("x", rows(2)).out("x", rows(2)).out("y", rows(2)).node("Neg", nil, "x", "y").bytes()
	got := forward(t, open(t, rt, WithModel(f)), f, dense([]float32{1, 2}, 1, 2))
	near(t, []float32{1, 2}, got[0], 0)
	near(t, []float32{-1, -2}, got[1], 0)

	b := open(t, rt)
	m := onnx.NewModel(b)
	require.NoError(t, m.UnmarshalBinary(f))
	require.NoError(t, m.SetInput(0, dense([]float32{1, 2}, 1, 2)))
	require.ErrorContains(t, b.Run(), `declares "x" twice`)
}

func TestRefusesByName(t *testing.T) {
	rt := openRuntime(t)
	s := rows(2)
	one := func(opset int64, op string, attrs graphs.Attrs, in string) *file {
		return newFile(opset).in("x", s).in("z", s).out("y", s).node(op, attrs, in, "y")
	}
	for name, c := range map[string]struct {
		file *file
		want string
	}{
		"unstated opset":   {one(11, "Softmax", nil, "x"), `Softmax that makes "y": opset 13 changed`},
		"older attribute":  {one(11, "Squeeze", graphs.Attrs{"axes": []int64{1}}, "x"), `Squeeze that makes "y": opset 13 of ai.onnx does not have the attribute "axes"`},
		"newer attribute":  {one(14, "Reshape", graphs.Attrs{"allowzero": int64(1)}, "x,z"), `"allowzero"`},
		"newer operands":   {one(18, "ReduceMax", nil, "x,z"), "does not have 2 operands"},
		"op gone":          {one(9, "Upsample", nil, "x,z"), "does not have the op"},
		"same name":        {one(13, "com.microsoft::Attention", nil, "x,z"), "Attention"},
		"other domain":     {one(13, "com.microsoft::FusedMatMul", nil, "x,z"), "FusedMatMul"},
		"nowhere produced": {one(13, "Add", nil, "x,ghost"), "ghost"},
		"integer output": {newFile(13).in("x", s).value(12, "k", graphs.Int64, graphs.ShapeOf(2)).node("Shape", nil, "x", "k"),
			`output "k" is int64: only float32`},
		"shape of values": {newFile(13).in("x", s).out("y", graphs.UnknownShape(1)).node("NonZero", nil, "x", "i").
			node("Cast", graphs.Attrs{"to": int64(graphs.Float32)}, "i", "y"), `output "y": its shape`},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, rt)
			m := onnx.NewModel(b)
			require.NoError(t, m.UnmarshalBinary(c.file.bytes()))
			x := dense([]float32{1, 2}, 1, 2)
			require.NoError(t, m.SetInput(0, x))
			if len(m.Input) > 1 {
				require.NoError(t, m.SetInput(1, x))
			}
			require.ErrorContains(t, b.Run(), c.want)
			_, err := b.Gradient("y", "x")
			require.Error(t, err)
		})
	}
}

func TestRefusesInputs(t *testing.T) {
	rt := openRuntime(t)
	f := newFile(13).in("x", rows(2)).in("z", rows(2)).in("w", graphs.ShapeOf(2)).out("y", rows(2)).init("w", floats(1, 1)).
		node("Add", nil, "x,z", "s").node("Mul", nil, "s,w", "y").bytes()
	b := open(t, rt, WithModel(f))
	require.ErrorContains(t, b.Run(), "no model")
	m := onnx.NewModel(b)
	require.NoError(t, m.UnmarshalBinary(f))
	require.ErrorContains(t, b.Run(), `input "x" has no tensor`)

	set := func(i int, x tensor.Tensor) { require.NoError(t, m.SetInput(i, x)) }
	two := dense([]float32{1, 2, 3, 4}, 2, 2)
	set(0, two)
	set(1, dense([]float32{1, 2}, 1, 2))
	require.ErrorContains(t, b.Run(), "N is 2 already")
	set(1, dense([]float32{1, 2, 3, 4, 5, 6}, 2, 3))
	require.ErrorContains(t, b.Run(), "axis 1 differs")
	set(1, dense([]float32{1, 2}, 2))
	require.ErrorContains(t, b.Run(), "ranks differ")
	set(1, tensor.New(tensor.WithShape(2, 2), tensor.Of(tensor.Float64)))
	require.ErrorContains(t, b.Run(), "its elements are float64")
	n, ok := m.GetNodeByName("w")
	require.True(t, ok)
	require.ErrorContains(t, n.(onnx.DataCarrier).SetTensor(two), `"w" is no input`)
	n, _ = m.GetNodeByName("y")
	require.ErrorContains(t, n.(onnx.DataCarrier).SetTensor(two), `"y" is no input`)
	require.Nil(t, n.(onnx.DataCarrier).GetTensor())

	set(1, two)
	require.NoError(t, b.Run())
	_, err := b.Gradient("y", "x")
	require.ErrorContains(t, err, "not a number for each row")
	_, err = b.Gradient("e", "x")
	require.ErrorContains(t, err, `its outputs are "y"`)

	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	require.ErrorContains(t, b.Run(), "closed")

	other := newFile(13).in("q", rows(2)).out("y", rows(2)).node("Neg", nil, "q", "y").bytes()
	b = open(t, rt, WithModel(f))
	m = onnx.NewModel(b)
	require.NoError(t, m.UnmarshalBinary(other))
	require.ErrorContains(t, b.Run(), `no input "x"`)
}

func TestRefusesForeignNodes(t *testing.T) {
	b, err := New(nil)
	require.NoError(t, err)
	require.ErrorContains(t, b.Run(), "no runtime")
	b.rt = &runtime.Runtime{}
	b.AddNode(simple.Node(3))
	require.ErrorContains(t, b.Run(), "node 3 was not made")
	require.ErrorContains(t, b.ApplyOperation(onnx.Operation{Name: "Neg"}), "0 results")
	require.ErrorContains(t, b.ApplyOperation(onnx.Operation{Name: "Neg"}, simple.Node(4)), "not a node of this backend")
	for _, n := range []int64{0, 5, 27} {
		_, err = New(nil, WithOpset(n))
		require.ErrorContains(t, err, "must be 6 to 26")
	}
	_, err = New(nil, WithModel([]byte("no model")))
	require.Error(t, err)
	_, err = b.Outline()
	require.ErrorContains(t, err, "WithModel")
}

// TestModelFile has external data, which onnx-go cannot read.
func TestModelFile(t *testing.T) {
	rt := openRuntime(t)
	g, _ := energyFile(t, energies["mlp tanh"])
	path := filepath.Join(t.TempDir(), "model.onnx")
	require.NoError(t, graphs.WriteFile(path, g, graphs.WriteOptions{}))
	b := open(t, rt, WithModelFile(path))
	outline, err := b.Outline()
	require.NoError(t, err)
	_, file := energyFile(t, energies["mlp tanh"])
	x := inputOf(g, 300)
	near(t, forward(t, open(t, rt), file, x)[0].Data().([]float32), forward(t, b, outline, x)[0], 0)
	_, err = New(rt, WithModelFile(path+"x"))
	require.Error(t, err)
}

// TestViews sets inputs whose memory is not in row-major order.
func TestViews(t *testing.T) {
	rt := openRuntime(t)
	f := newFile(13).in("x", graphs.Shape{graphs.Symbol("N"), graphs.Symbol("M")}).out("y", graphs.Shape{graphs.Symbol("N"), graphs.Symbol("M")}).
		node("Neg", nil, "x", "y").bytes()
	base := func() *tensor.Dense { return dense([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 3, 4) }
	transposed := base()
	require.NoError(t, transposed.T())
	column, err := base().Slice(nil, span{1, 3})
	require.NoError(t, err)
	row, err := base().Slice(span{1, 3}, nil)
	require.NoError(t, err)
	vector := dense([]float32{1, 2, 3}, 1, 3)
	require.NoError(t, vector.T())
	for name, c := range map[string]struct {
		x    tensor.Tensor
		want []float32
	}{
		"plain":        {base(), []float32{-1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -12}},
		"transposed":   {transposed, []float32{-1, -5, -9, -2, -6, -10, -3, -7, -11, -4, -8, -12}},
		"columns":      {column, []float32{-2, -3, -6, -7, -10, -11}},
		"rows":         {row, []float32{-5, -6, -7, -8, -9, -10, -11, -12}},
		"vector":       {vector, []float32{-1, -2, -3}},
		"column-major": {tensor.New(tensor.WithShape(2, 3), tensor.AsFortran([]float32{1, 2, 3, 4, 5, 6})), []float32{-1, -2, -3, -4, -5, -6}},
	} {
		t.Run(name, func(t *testing.T) {
			got := forward(t, open(t, rt), f, c.x)[0]
			require.Equal(t, c.x.Shape(), got.Shape())
			near(t, c.want, got, 0)
		})
	}
	masked := base()
	masked.MaskedEqual(float32(1))
	b := open(t, rt)
	m := onnx.NewModel(b)
	require.NoError(t, m.UnmarshalBinary(f))
	require.NoError(t, m.SetInput(0, masked))
	require.ErrorContains(t, b.Run(), "masked")
}

type span [2]int

func (s span) Start() int { return s[0] }
func (s span) End() int   { return s[1] }
func (s span) Step() int  { return 1 }

// TestShapesChange runs more shapes than programs are kept, back and forth.
func TestShapesChange(t *testing.T) {
	rt := openRuntime(t)
	f := newFile(13).in("x", rows(2)).out("y", rows(2)).node("Neg", nil, "x", "y").bytes()
	b := open(t, rt)
	m := onnx.NewModel(b)
	require.NoError(t, m.UnmarshalBinary(f))
	for _, n := range []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 10} {
		data := make([]float32, 2*n)
		for i := range data {
			data[i] = float32(-i - 1)
		}
		require.NoError(t, m.SetInput(0, dense(data, n, 2)))
		require.NoError(t, b.Run())
		out, err := m.GetOutputTensors()
		require.NoError(t, err)
		require.Equal(t, tensor.Shape{int(n), 2}, out[0].Shape())
		require.Equal(t, float32(2*n), out[0].Data().([]float32)[2*n-1])
		require.LessOrEqual(t, len(b.programs), maxPrograms)
	}
}

// TestGradientOfZero: an output that does not depend on an input.
func TestGradientOfZero(t *testing.T) {
	rt := openRuntime(t)
	f := newFile(13).in("x", rows(1)).in("z", rows(1)).out("y", rows(1)).node("Mul", nil, "x,x", "s").node("Mul", nil, "z,z", "q").
		node("Sub", nil, "q,q", "o").node("Floor", nil, "z", "r").node("Add", nil, "s,r", "y").bytes()
	b := open(t, rt, WithModel(f))
	forward(t, b, f, dense([]float32{1, 3}, 2, 1), dense([]float32{4, 5}, 2, 1))
	g, err := b.Gradient("y", "z", "x")
	require.NoError(t, err)
	require.Equal(t, []float32{0, 0}, g[0].Data())
	require.Equal(t, []float32{2, 6}, g[1].Data())
	g, err = b.Gradient("y", "z")
	require.NoError(t, err)
	require.Equal(t, []float32{0, 0}, g[0].Data())
}

// TestProtobuf: onnx-go alone registers the protobuf package onnx. A second one would have stopped this process at its start.
func TestProtobuf(t *testing.T) {
	var files []string
	protoregistry.GlobalFiles.RangeFilesByPackage("onnx", func(f protoreflect.FileDescriptor) bool {
		files = append(files, f.Path())
		return true
	})
	require.Len(t, files, 1)
	const module = "github.com/onnx-ebm/onnx-ebm/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", module+"ebm/...", module+"models", module+"gradients", module+"tools/...").Output()
	require.NoError(t, err)
	for _, path := range strings.Fields(string(out)) {
		require.False(t, strings.HasPrefix(path, "github.com/owulveryck/") || strings.HasPrefix(path, "gorgonia.org/"), path)
		require.NotEqual(t, "google.golang.org/protobuf/reflect/protoregistry", path)
	}
}
