package graphs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
)

// valueOf makes a computed value with its node.
func nodeOf(op string, a Attrs, in ...*Value) *Node {
	n := &Node{Op: op, Attrs: a, In: in}
	n.Out = []*Value{{Kind: Computed, Node: n}}
	return n
}

func written(t testing.TB, g *Graph, o WriteOptions) *onnxpb.Model {
	b, err := Encode(g, o)
	require.NoError(t, err)
	m, err := onnxpb.Decode(b)
	require.NoError(t, err)
	return m
}

// A value behind a reshape to −1 has its batch axis in the file: a runtime's own inference loses it there.
func TestWriteValueInfo(t *testing.T) {
	b := NewBuilder("g")
	x := b.Input("x", Float32, Shape{Symbol("N"), Static(2), Static(3)})
	windows := b.Op("Reshape", nil, x, b.Ints(-1, 3))
	y := b.Op("Relu", nil, windows)
	g, err := b.Graph(Output{"y", b.Op("Exp", nil, y)})
	require.NoError(t, err)
	require.Empty(t, written(t, g, WriteOptions{}).Graph.ValueInfo)
	info := written(t, g, WriteOptions{ValueInfo: true}).Graph.ValueInfo
	require.Len(t, info, 2)
	for _, v := range info {
		dims := v.Type.Tensor.Shape.Dim
		require.Len(t, dims, 2)
		require.Equal(t, "2*N", dims[0].Param)
		require.EqualValues(t, 3, dims[1].Value)
	}
}

func TestWriteNames(t *testing.T) {
	x := &Value{Name: "x", Kind: Input, Type: Type{Float32, Shape{Symbol("N"), Static(2)}}}
	w := &Value{Name: "w", Kind: Param, Type: Type{Float32, ShapeOf(2)}, Tensor: NewTensor([]float32{1, 2}, 2)}
	two := constant(ScalarTensor(float32(2)))
	shape := constant(IntsTensor(-1, 2))
	mul, scale, reshape := nodeOf("Mul", nil, x, w), nodeOf("Mul", nil, nil, two), nodeOf("Reshape", nil, nil, shape)
	scale.In[0], reshape.In[0] = mul.Out[0], scale.Out[0]
	mul.Out[0].Name, scale.Out[0].Name = "energy", "hidden" // the first wants a name that an output has
	y := reshape.Out[0]
	g := &Graph{Inputs: []*Value{x}, Nodes: []*Node{mul, scale, reshape}, Metadata: map[string]string{"b": "2", "a": "1"}, Outputs: []Output{
		{"energy", y}, {"same", y}, {"input", x}, {"param", w}, {"two", two},
	}}
	m := written(t, g, WriteOptions{Producer: "p"})
	p := m.Graph
	require.EqualValues(t, 8, m.IRVersion)
	require.EqualValues(t, 18, m.OpsetImport[0].Version)
	require.Equal(t, "a", m.MetadataProps[0].Key)
	var outs []string
	for _, o := range p.Output {
		outs = append(outs, o.Name)
	}
	require.Equal(t, []string{"energy", "same", "input", "param", "two"}, outs)
	require.Equal(t, "w", p.Initializer[0].Name)
	require.Len(t, p.Initializer, 2)
	ops := map[string]int{}
	producers := map[string]int{}
	for _, n := range p.Node {
		ops[n.OpType]++
		for _, o := range n.Output {
			producers[o]++
		}
	}
	require.Equal(t, map[string]int{"Mul": 2, "Reshape": 1, "Constant": 1, "Identity": 4}, ops)
	for name, c := range producers {
		require.Equal(t, 1, c, name)
	}
	require.Equal(t, "N", p.Input[0].Type.Tensor.Shape.Dim[0].Param)

	again, _, err := Decode(mustEncode(t, g, WriteOptions{}), "")
	require.NoError(t, err)
	require.NoError(t, Check(again))
	require.Equal(t, []string{"w"}, []string{again.Params()[0].Name})
	require.Len(t, again.Params(), 1)
	got, err := Evaluate(again, map[string]*Array{"x": {DType: Float32, Dims: []int{1, 2}, F: []float64{3, 4}}})
	require.NoError(t, err)
	require.Equal(t, []float64{6, 16}, got["energy"].F)
	require.Equal(t, []float64{6, 16}, got["same"].F)
	require.Equal(t, []float64{3, 4}, got["input"].F)
	require.Equal(t, []float64{1, 2}, got["param"].F)
}

func mustEncode(t testing.TB, g *Graph, o WriteOptions) []byte {
	b, err := Encode(g, o)
	require.NoError(t, err)
	return b
}

func TestWriteNameCollisions(t *testing.T) {
	x := &Value{Name: "x", Kind: Input, Type: Type{Float32, Shape{}}}
	w := &Value{Name: "x", Kind: Param, Type: Type{Float32, Shape{}}, Tensor: ScalarTensor(float32(1))}
	n := nodeOf("Mul", nil, x, w)
	g := &Graph{Inputs: []*Value{x}, Nodes: []*Node{n}, Outputs: []Output{{"y", n.Out[0]}}}
	for name, want := range map[string]string{"x": "x_0", "y": "y_0", "w": "w"} {
		w.Name = name
		p := written(t, g, WriteOptions{}).Graph
		require.Equal(t, want, p.Initializer[0].Name)
		require.Equal(t, []string{"x", want}, p.Node[0].Input)
		require.Equal(t, "y", p.Output[0].Name)
		p = written(t, g, WriteOptions{ParamsAsInputs: true, ParamPrefix: "p/"}).Graph
		require.Equal(t, "p/"+name, p.Input[1].Name)
	}
	w.Name = "x"
	_, err := Encode(g, WriteOptions{ParamsAsInputs: true})
	require.ErrorContains(t, err, `"x"`)
	w.Name = "w"
	_, err = Encode(&Graph{Inputs: []*Value{x}, Nodes: []*Node{n}, Outputs: []Output{{"x", n.Out[0]}}}, WriteOptions{})
	require.ErrorContains(t, err, `"x"`)
	_, err = Encode(&Graph{Inputs: []*Value{x}, Outputs: []Output{{"y", n.Out[0]}}}, WriteOptions{})
	require.ErrorContains(t, err, "not defined")
}

func TestWriteParamsAsInputs(t *testing.T) {
	g := readProto(t, protoModel(18, vector, "y", protoNode("Relu", "x", "y", nil)))
	w := &Value{Name: "w", Kind: Param, Type: Type{Float32, ShapeOf(2)}, Tensor: NewTensor([]float32{1, 2}, 2)}
	n := nodeOf("Mul", nil, g.Outputs[0].Value, w)
	g.Nodes = append(g.Nodes, n)
	g.Outputs = []Output{{"z", n.Out[0]}}
	m := written(t, g, WriteOptions{ParamsAsInputs: true})
	require.Empty(t, m.Graph.Initializer)
	require.Equal(t, "w", m.Graph.Input[1].Name)
	require.EqualValues(t, 2, m.Graph.Input[1].Type.Tensor.Shape.Dim[0].Value)
}

// Where ceil_mode lets windows reach beyond counted pads, ONNX Runtime's kernel before opset 19 divides by too much.
func TestWriteOpsetOfCeilMode(t *testing.T) {
	x := &Value{Name: "x", Kind: Input, Type: Type{Float32, ShapeOf(1, 1, 4)}}
	for count, want := range []int64{18, 19} {
		n := nodeOf("AveragePool", Attrs{"kernel_shape": []int64{3}, "strides": []int64{2}, "ceil_mode": int64(1), "count_include_pad": int64(count)}, x)
		m := written(t, &Graph{Inputs: []*Value{x}, Nodes: []*Node{n}, Outputs: []Output{{"y", n.Out[0]}}}, WriteOptions{})
		require.EqualValues(t, want, m.OpsetImport[0].Version)
	}
}

func TestWriteOpset(t *testing.T) {
	x := &Value{Name: "x", Kind: Input, Type: Type{Float32, ShapeOf(2)}}
	gelu := nodeOf("Gelu", nil, x)
	gelu.Name = "/act/Gelu"
	g := &Graph{Inputs: []*Value{x}, Nodes: []*Node{gelu}, Outputs: []Output{{"y", gelu.Out[0]}}}
	m := written(t, g, WriteOptions{})
	require.EqualValues(t, 20, m.OpsetImport[0].Version)
	require.EqualValues(t, 9, m.IRVersion)
	_, err := Encode(g, WriteOptions{MaxOpset: 19})
	var op *OpError
	require.ErrorAs(t, err, &op)
	require.Equal(t, "Gelu", op.Op)
	require.Equal(t, "/act/Gelu", op.Node)
	require.EqualValues(t, 22, written(t, g, WriteOptions{MinOpset: 22}).OpsetImport[0].Version)
	require.EqualValues(t, 10, written(t, g, WriteOptions{MinOpset: 22}).IRVersion)

	sample := nodeOf("GridSample", Attrs{"mode": "bilinear"}, x, x)
	g = &Graph{Inputs: []*Value{x}, Nodes: []*Node{sample}, Outputs: []Output{{"y", sample.Out[0]}}}
	require.Equal(t, "bilinear", string(written(t, g, WriteOptions{}).Graph.Node[0].Attribute[0].S))
	m = written(t, g, WriteOptions{MinOpset: 20})
	require.Equal(t, "linear", string(m.Graph.Node[0].Attribute[0].S))
	b, err := onnxpb.Encode(m)
	require.NoError(t, err)
	back, _, err := Decode(b, "")
	require.NoError(t, err)
	require.Equal(t, "bilinear", back.Nodes[0].Text("mode", ""))
}

func TestWriteDims(t *testing.T) {
	for _, d := range []Dim{Static(0), Static(3), Symbol("N"), UnknownDim, Symbol("N").Times(Static(12)), Symbol("a b"), Symbol("floor(N/2)"),
		Symbol("N").Over(Static(2)).Plus(Static(1))} {
		x := &Value{Name: "x", Kind: Input, Type: Type{Float32, Shape{d}}}
		g := &Graph{Inputs: []*Value{x}, Outputs: []Output{{"x", x}}}
		m := written(t, g, WriteOptions{})
		require.Empty(t, m.Graph.Node)
		back, _, err := Decode(mustEncode(t, g, WriteOptions{}), "")
		require.NoError(t, err)
		got := back.Inputs[0].Type.Shape[0]
		if d.Sym == "" || plainSymbol(d.Sym) || d.Sym == "12*N" {
			require.Equal(t, d, got)
		} else {
			require.NotEmpty(t, got.Sym)
		}
	}
}

func TestWriteFileLeavesNothingHalfDone(t *testing.T) {
	dir := t.TempDir()
	g := readProto(t, protoModel(18, vector, "y", protoNode("Relu", "x", "y", nil)))
	path := filepath.Join(dir, "m.onnx")
	require.NoError(t, WriteFile(path, g, WriteOptions{}))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	g.Nodes[0].Attrs = Attrs{"bad": 3.5}
	require.Error(t, WriteFile(path, g, WriteOptions{}))
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	g.Nodes[0].Attrs = nil
	require.Error(t, WriteFile(filepath.Join(dir, "missing", "m.onnx"), g, WriteOptions{}))
}

func TestWriteConstantsUsedInSeveralBodies(t *testing.T) {
	x := &Value{Name: "x", Kind: Input, Type: Type{Float32, ShapeOf(1)}}
	c := &Value{Name: "c", Kind: Input, Type: Type{Bool, Shape{}}}
	k := constant(NewTensor([]float32{5}, 1))
	k.Name = "k"
	branch := func(op string) *Graph {
		n := nodeOf(op, nil, x, k)
		n.Out[0].Name = "r"
		return &Graph{Name: op, Nodes: []*Node{n}, Outputs: []Output{{"r", n.Out[0]}}}
	}
	pass := &Graph{Name: "pass", Outputs: []Output{{"r", x}}} // an outer value returned as it is
	n := nodeOf("If", Attrs{"then_branch": branch("Add"), "else_branch": branch("Mul")}, c)
	n2 := nodeOf("If", Attrs{"then_branch": pass, "else_branch": branch("Sub")}, c)
	g := &Graph{Inputs: []*Value{x, c}, Nodes: []*Node{n, n2}, Outputs: []Output{{"y", n.Out[0]}, {"z", n2.Out[0]}}}
	again, _, err := Decode(mustEncode(t, g, WriteOptions{}), "")
	require.NoError(t, err)
	require.NoError(t, Check(again))
	for cond, want := range map[int64][2]float64{1: {7, 2}, 0: {10, -3}} {
		got, err := Evaluate(again, map[string]*Array{"x": {DType: Float32, Dims: []int{1}, F: []float64{2}}, "c": {DType: Bool, I: []int64{cond}}})
		require.NoError(t, err)
		require.Equal(t, want[0], got["y"].F[0])
		require.Equal(t, want[1], got["z"].F[0])
	}
}
