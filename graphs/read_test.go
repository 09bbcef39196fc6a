package graphs

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
)

// protoAttr makes an attribute from a Go value as the writer does.
func protoAttr(name string, v any) *onnxpb.Attribute {
	if g, ok := v.(*onnxpb.Graph); ok {
		return &onnxpb.Attribute{Name: name, Type: onnxpb.AttrGraph, G: g}
	}
	a, err := (&writer{}).attribute(name, v, nil)
	if err != nil {
		panic(err)
	}
	return a
}

// protoNode makes a node; in and out are names separated by spaces, "-" for an absent one.
func protoNode(op, in, out string, attrs Attrs) *onnxpb.Node {
	domain, op, _ := strings.Cut("::"+op, "::")
	if d, o, ok := strings.Cut(op, "::"); ok {
		domain, op = d, o
	}
	split := func(s string) []string {
		names := strings.Fields(s)
		for i, n := range names {
			if n == "-" {
				names[i] = ""
			}
		}
		return names
	}
	n := &onnxpb.Node{OpType: op, Domain: domain, Input: split(in), Output: split(out)}
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		n.Attribute = append(n.Attribute, protoAttr(k, attrs[k]))
	}
	return n
}

// protoModel makes a model of one graph whose inputs are float32 unless stated.
func protoModel(opset int64, inputs []*onnxpb.ValueInfo, outputs string, nodes ...*onnxpb.Node) *onnxpb.Model {
	m := &onnxpb.Model{
		IRVersion:   8,
		OpsetImport: []*onnxpb.OperatorSetID{{Version: opset}, {Domain: "com.microsoft", Version: 1}, {Domain: "ai.onnx.ml", Version: 3}},
		Graph:       &onnxpb.Graph{Name: "test", Input: inputs, Node: nodes},
	}
	for _, name := range strings.Fields(outputs) {
		m.Graph.Output = append(m.Graph.Output, &onnxpb.ValueInfo{Name: name})
	}
	return m
}

func floatInput(name string, s Shape) *onnxpb.ValueInfo { return valueInfo(name, Type{Float32, s}) }

func encodeProto(t testing.TB, m *onnxpb.Model) []byte {
	b, err := onnxpb.Encode(m)
	require.NoError(t, err)
	return b
}

func readProto(t testing.TB, m *onnxpb.Model) *Graph {
	g, _, err := Decode(encodeProto(t, m), "")
	require.NoError(t, err)
	require.NoError(t, Check(g))
	return g
}

func readError(t testing.TB, m *onnxpb.Model) error {
	g, _, err := Decode(encodeProto(t, m), "")
	require.Nil(t, g)
	require.Error(t, err)
	return err
}

var vector = []*onnxpb.ValueInfo{floatInput("x", Shape{Symbol("N"), Static(2)})}

func TestReadSortsNodes(t *testing.T) {
	g := readProto(t, protoModel(18, vector, "y",
		protoNode("Exp", "b", "y", nil), protoNode("Neg", "a", "b", nil), protoNode("Abs", "x", "a", nil)))
	var ops []string
	for _, n := range g.Nodes {
		ops = append(ops, n.Op)
	}
	require.Equal(t, []string{"Abs", "Neg", "Exp"}, ops)
	require.Equal(t, "float32[N,2]", g.Inputs[0].Type.String())
}

func TestReadRefusesBadGraphs(t *testing.T) {
	relu := func(in, out string) *onnxpb.Node { return protoNode("Relu", in, out, nil) }
	body := &onnxpb.Graph{Name: "b", Node: []*onnxpb.Node{relu("nothing", "r")}, Output: []*onnxpb.ValueInfo{{Name: "r"}}}
	for name, c := range map[string]struct {
		m    *onnxpb.Model
		want []string
	}{
		"cycle":         {protoModel(18, vector, "c", protoNode("Add", "x c", "a", nil), relu("a", "b"), relu("b", "c")), []string{"cycle", `"a"`, `"b"`, `"c"`}},
		"dangling":      {protoModel(18, vector, "y", relu("h", "y")), []string{`"h"`, "produced by nothing", `Relu → "y"`}},
		"dangling body": {protoModel(18, vector, "y", protoNode("If", "x", "y", nil), withBodies(body)), []string{`"nothing"`, "produced by nothing"}},
		"two producers": {protoModel(18, vector, "y", relu("x", "y"), protoNode("Exp", "x", "y", nil)), []string{`"y"`, "defined twice"}},
		"input again":   {protoModel(18, vector, "x", relu("x", "x")), []string{"cycle"}},
		"two inputs":    {protoModel(18, append(slices.Clone(vector), vector...), "y", relu("x", "y")), []string{`"x"`, "defined twice"}},
		"no output":     {protoModel(18, vector, "z", relu("x", "y")), []string{`output "z"`, "produced by nothing"}},
		"output twice":  {protoModel(18, vector, "y y", relu("x", "y")), []string{`"y"`, "listed twice"}},
		"old opset":     {protoModel(5, vector, "y", relu("x", "y")), []string{"opset 5", "6 to 26"}},
		"new opset":     {protoModel(27, vector, "y", relu("x", "y")), []string{"opset 27", "6 to 26"}},
		"attribute":     {protoModel(18, vector, "y", protoNode("Softmax", "x", "y", Attrs{"axis": float32(1)})), []string{`"axis"`, "float", "must be int"}},
		"8-bit float":   {protoModel(18, []*onnxpb.ValueInfo{valueInfo("x", Type{17, nil})}, "y", relu("x", "y")), []string{"float8e4m3fn", "not supported"}},
		"cast":          {protoModel(18, vector, "y", protoNode("Cast", "x", "y", Attrs{"to": int64(14)})), []string{"complex64", "not supported"}},
		"constant":      {protoModel(18, vector, "y", protoNode("Constant", "", "y", Attrs{"value": int64(1)})), []string{`"value"`, "tensor"}},
	} {
		err := readError(t, c.m)
		for _, w := range c.want {
			require.ErrorContains(t, err, w, name)
		}
	}
}

func withBodies(g *onnxpb.Graph) *onnxpb.Node {
	n := protoNode("If", "x", "z", nil)
	n.Attribute = []*onnxpb.Attribute{protoAttr("then_branch", g), protoAttr("else_branch", g)}
	return n
}

func TestReadKinds(t *testing.T) {
	m := protoModel(18, slices.Clone(vector), "y",
		protoNode("Constant", "", "half", Attrs{"value_float": float32(0.5)}),
		protoNode("Identity", "w", "alias", nil),
		protoNode("Mul", "x alias", "a", nil), protoNode("Mul", "a half", "b", nil), protoNode("Reshape", "b shape", "c", nil),
		protoNode("Dropout", "c", "d", nil), protoNode("Identity", "d", "y", nil))
	m.IRVersion = 3 // initializers are listed among the inputs
	m.Graph.Initializer = []*onnxpb.Tensor{tensorProto("w", NewTensor([]float32{1, 2}, 2)), tensorProto("shape", IntsTensor(-1, 2))}
	m.Graph.Input = append(m.Graph.Input, floatInput("w", ShapeOf(2)))
	m.MetadataProps = []*onnxpb.StringStringEntry{{Key: "k", Value: "v"}}
	g := readProto(t, m)

	require.Len(t, g.Inputs, 1)
	require.Len(t, g.Nodes, 3)
	w := g.Nodes[0].In[1]
	require.Equal(t, Param, w.Kind)
	require.Equal(t, "w", w.Name)
	half := g.Nodes[1].In[1]
	require.Equal(t, Constant, half.Kind)
	require.Equal(t, "half", half.Name)
	require.Equal(t, Constant, g.Nodes[2].In[1].Kind)
	require.Equal(t, []int64{-1, 2}, g.Nodes[2].In[1].Tensor.Int64s())
	require.Equal(t, "y", g.Outputs[0].Name)
	require.Same(t, g.Nodes[2].Out[0], g.Outputs[0].Value)
	require.Equal(t, map[string]string{"k": "v"}, g.Metadata)
}

func TestReadConstantForms(t *testing.T) {
	forms := Attrs{
		"value": NewTensor([]float64{3}, 1), "value_float": float32(1.5), "value_floats": []float32{1, 2}, "value_int": int64(7),
		"value_ints": []int64{8, 9}, "value_string": "s", "value_strings": []string{"a", "b"},
	}
	for name, v := range forms {
		g := readProto(t, protoModel(18, nil, "y", protoNode("Constant", "", "y", Attrs{name: v})))
		c := g.Outputs[0].Value
		require.Equal(t, Constant, c.Kind, name)
		switch v := v.(type) {
		case float32:
			require.Equal(t, []float64{1.5}, c.Tensor.Float64s())
			require.Empty(t, c.Tensor.Dims)
		case int64:
			require.Equal(t, []int64{7}, c.Tensor.Int64s())
		case []float32:
			require.Equal(t, v, Data[float32](c.Tensor))
		case []int64:
			require.Equal(t, v, c.Tensor.Int64s())
		case string:
			require.Equal(t, []string{v}, c.Tensor.Strings)
		case []string:
			require.Equal(t, v, c.Tensor.Strings)
		}
	}
}

func TestReadOptionalInputs(t *testing.T) {
	m := protoModel(18, vector, "y", protoNode("Clip", "x - hi", "y", nil), protoNode("Clip", "x lo -", "z", nil))
	m.Graph.Initializer = []*onnxpb.Tensor{tensorProto("hi", ScalarTensor(float32(1))), tensorProto("lo", ScalarTensor(float32(0)))}
	g := readProto(t, m)
	require.Nil(t, g.Nodes[0].In[1])
	require.Len(t, g.Nodes[0].In, 3)
	require.Len(t, g.Nodes[1].In, 2)
}

func TestReadDims(t *testing.T) {
	for text, want := range map[string]Dim{
		"N": Symbol("N"), "batch_size": Symbol("batch_size"), "2*s0": Symbol("s0").Times(Static(2)), "s0 + 1": Symbol("s0").Plus(Static(1)),
		"unk__1": Symbol("unk__1"), "batch-size": Symbol("batch-size"), "7": Symbol("7"), "floor(N/2)": Symbol("floor(N/2)"),
	} {
		require.Equal(t, want, parseSymbol(text), text)
	}
}

func TestReadTypedData(t *testing.T) {
	for name, c := range map[string]struct {
		p    *onnxpb.Tensor
		want []float64
	}{
		"float":   {&onnxpb.Tensor{DataType: 1, Dims: []int64{2}, FloatData: onnxpb.Packed[float32]{1.5, -2}}, []float64{1.5, -2}},
		"double":  {&onnxpb.Tensor{DataType: 11, DoubleData: onnxpb.Packed[float64]{0.1}}, []float64{0.1}},
		"int64":   {&onnxpb.Tensor{DataType: 7, Dims: []int64{1}, Int64Data: onnxpb.Packed[int64]{-5}}, []float64{-5}},
		"int32":   {&onnxpb.Tensor{DataType: 6, Dims: []int64{1}, Int32Data: onnxpb.Packed[int32]{-5}}, []float64{-5}},
		"int8":    {&onnxpb.Tensor{DataType: 3, Dims: []int64{1}, Int32Data: onnxpb.Packed[int32]{-5}}, []float64{-5}},
		"uint8":   {&onnxpb.Tensor{DataType: 2, Dims: []int64{1}, Int32Data: onnxpb.Packed[int32]{250}}, []float64{250}},
		"int16":   {&onnxpb.Tensor{DataType: 5, Dims: []int64{1}, Int32Data: onnxpb.Packed[int32]{-300}}, []float64{-300}},
		"uint32":  {&onnxpb.Tensor{DataType: 12, Dims: []int64{1}, Uint64Data: onnxpb.Packed[uint64]{1 << 31}}, []float64{1 << 31}},
		"uint64":  {&onnxpb.Tensor{DataType: 13, Dims: []int64{1}, Uint64Data: onnxpb.Packed[uint64]{9}}, []float64{9}},
		"bool":    {&onnxpb.Tensor{DataType: 9, Dims: []int64{2}, Int32Data: onnxpb.Packed[int32]{0, 1}}, []float64{0, 1}},
		"float16": {&onnxpb.Tensor{DataType: 10, Dims: []int64{1}, Int32Data: onnxpb.Packed[int32]{0x3c00}}, []float64{1}},
		"bf16":    {&onnxpb.Tensor{DataType: 16, Dims: []int64{1}, Int32Data: onnxpb.Packed[int32]{0xc000}}, []float64{-2}},
		"empty":   {&onnxpb.Tensor{DataType: 1, Dims: []int64{0, 3}}, []float64{}},
	} {
		got, err := (&reader{}).tensor(c.p)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got.Float64s(), name)
	}
}

func TestReadRefusesBadTensors(t *testing.T) {
	raw := &onnxpb.Tensor{DataType: 1, Dims: []int64{3}, RawData: make([]byte, 8)}
	raw.Mark(onnxpb.FieldRawData)
	for name, c := range map[string]struct {
		p    *onnxpb.Tensor
		want string
	}{
		"short raw":     {raw, "8 bytes where float32[3] needs 12"},
		"short typed":   {&onnxpb.Tensor{DataType: 1, Dims: []int64{3}, FloatData: onnxpb.Packed[float32]{1}}, "needs 12"},
		"long typed":    {&onnxpb.Tensor{DataType: 7, Int64Data: onnxpb.Packed[int64]{1, 2}}, "needs 8"},
		"no data":       {&onnxpb.Tensor{DataType: 1, Dims: []int64{1 << 40}}, "0 bytes"},
		"overflow":      {&onnxpb.Tensor{DataType: 1, Dims: []int64{1 << 32, 1 << 32}}, "impossible dims"},
		"byte overflow": {&onnxpb.Tensor{DataType: 11, Dims: []int64{1 << 61}}, "impossible dims"},
		"negative":      {&onnxpb.Tensor{DataType: 1, Dims: []int64{-1}}, "impossible dims"},
		"type":          {&onnxpb.Tensor{DataType: 21, Dims: []int64{1}}, "uint4 is not supported"},
		"unknown type":  {&onnxpb.Tensor{DataType: 99, Dims: []int64{1}}, "is not supported"},
		"bool":          {&onnxpb.Tensor{DataType: 9, Dims: []int64{1}, Int32Data: onnxpb.Packed[int32]{2}}, "no bool"},
		"memory":        {&onnxpb.Tensor{DataType: 1, Dims: []int64{1}, DataLocation: onnxpb.External, ExternalData: []*onnxpb.StringStringEntry{{Key: "location", Value: "w"}}}, "read from memory"},
	} {
		_, err := (&reader{}).tensor(c.p)
		require.ErrorContains(t, err, c.want, name)
	}
}

func TestReadExternalData(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "model")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	data := []byte{9, 9, 9, 9, 0, 0, 128, 63, 0, 0, 0, 64}
	for _, f := range []string{filepath.Join(dir, "w.bin"), filepath.Join(dir, "sub", "w.bin"), filepath.Join(base, "secret.bin")} {
		require.NoError(t, os.WriteFile(f, data, 0o644))
	}
	require.NoError(t, os.Symlink("../secret.bin", filepath.Join(dir, "link.bin")))
	require.NoError(t, os.Symlink("w.bin", filepath.Join(dir, "inside.bin")))

	read := func(entries ...string) error {
		p := &onnxpb.Tensor{Name: "w", DataType: 1, Dims: []int64{2}, DataLocation: onnxpb.External}
		for i := 0; i < len(entries); i += 2 {
			p.ExternalData = append(p.ExternalData, &onnxpb.StringStringEntry{Key: entries[i], Value: entries[i+1]})
		}
		m := protoModel(18, vector, "y", protoNode("Mul", "x w", "y", nil))
		m.Graph.Initializer = []*onnxpb.Tensor{p}
		path := filepath.Join(dir, "model.onnx")
		require.NoError(t, os.WriteFile(path, encodeProto(t, m), 0o644))
		g, info, err := ReadFile(path)
		if err == nil {
			require.True(t, info.External)
			require.Equal(t, []float32{1, 2}, Data[float32](g.Nodes[0].In[1].Tensor))
		}
		return err
	}
	require.NoError(t, read("location", "w.bin", "offset", "4", "length", "8"))
	require.NoError(t, read("location", "sub/w.bin", "offset", "4"))
	require.NoError(t, read("location", "inside.bin", "offset", "4"))
	for _, c := range [][]string{
		{"location", "../secret.bin", "offset", "4"},
		{"location", "sub/../../secret.bin", "offset", "4"},
		{"location", "sub/../w.bin", "offset", "4"},
		{"location", filepath.Join(base, "secret.bin"), "offset", "4"},
		{"location", "link.bin", "offset", "4"},
		{"location", "sub"},
		{"location", "missing.bin"},
		{"location", "w.bin", "offset", "8"},
		{"location", "w.bin", "offset", "-4"},
		{"location", "w.bin", "offset", "9223372036854775807"},
		{"location", "w.bin", "offset", "4", "length", "7"},
		{"location", "w.bin", "offset", "four"},
		{"offset", "4"},
	} {
		require.ErrorContains(t, read(c...), "external data", "%v", c)
	}
}

func TestReadInlinesFunctions(t *testing.T) {
	scaled := &onnxpb.Function{
		Domain: "local", Name: "Scaled", Input: []string{"a", "b"}, Output: []string{"out"}, Attribute: []string{"alpha"},
		OpsetImport: []*onnxpb.OperatorSetID{{Version: 11}, {Domain: "local", Version: 1}},
		Node: []*onnxpb.Node{
			{OpType: "LeakyRelu", Input: []string{"a"}, Output: []string{"r"}, Attribute: []*onnxpb.Attribute{{Name: "alpha", RefAttrName: "alpha", Type: onnxpb.AttrFloat}}},
			protoNode("ReduceSum", "r", "s", Attrs{"axes": []int64{1}, "keepdims": int64(0)}), // opset 11: axes is an attribute
			protoNode("local::Twice", "s", "out", nil),
		},
	}
	twice := &onnxpb.Function{
		Domain: "local", Name: "Twice", Input: []string{"v"}, Output: []string{"w"}, OpsetImport: []*onnxpb.OperatorSetID{{Version: 18}},
		Node: []*onnxpb.Node{protoNode("Add", "v v", "w", nil)},
	}
	m := protoModel(18, vector, "y", protoNode("local::Scaled", "x", "y", Attrs{"alpha": float32(0.25)}))
	m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetID{Domain: "local", Version: 1})
	m.Functions = []*onnxpb.Function{scaled, twice}
	g := readProto(t, m)
	got, err := Evaluate(g, map[string]*Array{"x": {DType: Float32, Dims: []int{2, 2}, F: []float64{1, -4, 3, 5}}})
	require.NoError(t, err)
	require.Equal(t, []float64{0, 16}, got["y"].F)
	require.Equal(t, "y", g.Outputs[0].Value.Name)

	twice.Node[0] = protoNode("local::Twice", "v", "w", nil)
	require.ErrorContains(t, readError(t, m), "calls itself")
}

func TestReadBodiesSeeOuterValues(t *testing.T) {
	branch := func(op, out string) *onnxpb.Graph {
		return &onnxpb.Graph{Name: op, Node: []*onnxpb.Node{protoNode(op, "h w", out, nil)}, Output: []*onnxpb.ValueInfo{{Name: out}}}
	}
	cond := protoNode("If", "c", "y", nil)
	cond.Attribute = []*onnxpb.Attribute{protoAttr("then_branch", branch("Add", "t")), protoAttr("else_branch", branch("Sub", "e"))}
	inputs := append(slices.Clone(vector), valueInfo("c", Type{Bool, Shape{}}))
	m := protoModel(18, inputs, "y", cond, protoNode("Neg", "x", "h", nil)) // the If comes before what its bodies use
	m.Graph.Initializer = []*onnxpb.Tensor{tensorProto("w", NewTensor([]float32{10, 20}, 2))}
	g := readProto(t, m)
	require.Equal(t, []string{"Neg", "If"}, []string{g.Nodes[0].Op, g.Nodes[1].Op})
	then := g.Nodes[1].Body("then_branch")
	require.Same(t, g.Nodes[0].Out[0], then.Nodes[0].In[0])
	require.Equal(t, []string{"w"}, []string{g.Params()[0].Name})

	b, err := Encode(g, WriteOptions{})
	require.NoError(t, err)
	again, _, err := Decode(b, "")
	require.NoError(t, err)
	for _, g := range []*Graph{g, again} {
		for c, want := range map[int64][]float64{1: {9, 18}, 0: {-11, -22}} {
			got, err := Evaluate(g, map[string]*Array{"x": {DType: Float32, Dims: []int{1, 2}, F: []float64{1, 2}}, "c": {DType: Bool, I: []int64{c}}})
			require.NoError(t, err)
			require.Equal(t, want, got["y"].F)
		}
	}
}

func TestReadDeepGraphs(t *testing.T) {
	const n = 20000
	var nodes []*onnxpb.Node
	name := func(i int) string { return "v" + strings.Repeat("i", i%3) + string(rune('a'+i%26)) + itoa(i) }
	for i := n; i > 0; i-- { // each node before the one that it depends on
		from := name(i - 1)
		if i == 1 {
			from = "x"
		}
		nodes = append(nodes, protoNode("Relu", from, name(i), nil))
	}
	g := readProto(t, protoModel(18, vector, name(n), nodes...))
	require.Len(t, g.Nodes, n)
}

func itoa(i int) string {
	return string([]byte{byte('0' + i/10000%10), byte('0' + i/1000%10), byte('0' + i/100%10), byte('0' + i/10%10), byte('0' + i%10)})
}

func TestReadFileErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	_, _, err := ReadFile(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, _, err = ReadFile(dir)
	require.ErrorContains(t, err, "folder")
	require.NoError(t, os.WriteFile(path, []byte("plain text"), 0o644))
	_, _, err = ReadFile(path)
	require.ErrorContains(t, err, "not an ONNX file")
	whole := encodeProto(t, protoModel(18, vector, "y", protoNode("Relu", "x", "y", nil)))
	require.NoError(t, os.WriteFile(path, whole[:len(whole)-4], 0o644))
	_, _, err = ReadFile(path)
	require.ErrorContains(t, err, "truncated")
	for content, want := range map[string]string{"\x1f\x8b\x08rest": "gzip", "PK\x03\x04rest": "zip", "plain words, no model": "text", "\x89HDF\r\n": "HDF5"} {
		_, _, err = Decode([]byte(content), "")
		require.ErrorContains(t, err, "not an ONNX file")
		require.ErrorContains(t, err, want)
	}
}

// modelFiles returns the model files beside the repository.
func modelFiles(t testing.TB) map[string][]byte {
	models := map[string][]byte{}
	fixtures, _ := filepath.Glob("../../shared/fixtures/*/model.onnx")
	for _, f := range fixtures {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		models[f] = b
	}
	if f, err := os.Open("../../shared/onnx-backend-v1.22.0.tar.gz"); err == nil {
		defer f.Close()
		z, err := gzip.NewReader(f)
		require.NoError(t, err)
		for r := tar.NewReader(z); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			if strings.HasSuffix(h.Name, ".onnx") {
				b, err := io.ReadAll(r)
				require.NoError(t, err)
				models[h.Name] = b
			}
		}
	}
	if len(models) == 0 {
		t.Skip("no model files beside the repository")
	}
	return models
}

// TestReadFiles reads every model or refuses it for one of the known reasons; what is read keeps its meaning when written:
// reading again gives the same file.
func TestReadFiles(t *testing.T) {
	reasons := []string{"opsets 6 to 26 are read", "is no tensor", "element type", "Scan of opset 8"}
	read, refused := 0, map[string]int{}
	for name, b := range modelFiles(t) {
		g, info, err := Decode(b, "")
		if err != nil {
			i := slices.IndexFunc(reasons, func(r string) bool { return strings.Contains(err.Error(), r) })
			require.GreaterOrEqual(t, i, 0, "%s: %v", name, err)
			refused[reasons[i]]++
			continue
		}
		read++
		require.NoError(t, Check(g), name)
		first, err := Encode(g, WriteOptions{Domains: info.Opsets})
		require.NoError(t, err, name)
		again, info, err := Decode(first, "")
		require.NoError(t, err, name)
		second, err := Encode(again, WriteOptions{Domains: info.Opsets})
		require.NoError(t, err, name)
		require.True(t, string(first) == string(second), name)
		require.Len(t, again.Params(), len(g.Params()), name)
	}
	t.Logf("read %d; refused %v", read, refused)
	require.Greater(t, read, 0)
}

func FuzzDecode(f *testing.F) {
	for _, m := range []*onnxpb.Model{
		protoModel(18, vector, "y", protoNode("Relu", "x", "y", nil)),
		protoModel(6, vector, "y", protoNode("Add", "x x", "a", Attrs{"broadcast": int64(1), "axis": int64(0)}), protoNode("Softmax", "a", "y", nil)),
		protoModel(11, vector, "y", protoNode("ReduceSum", "x", "a", Attrs{"axes": []int64{1}}), protoNode("Constant", "", "y", Attrs{"value": NewTensor([]float32{1}, 1)})),
	} {
		f.Add(encodeProto(f, m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g, _, err := Decode(b, "")
		if err != nil {
			return
		}
		first, err := Encode(g, WriteOptions{})
		if err != nil {
			return // names that collide, ops from beyond the opset
		}
		_, _, err = Decode(first, "")
		require.NoError(t, err)
	})
}

func near(t testing.TB, want, got []float64, what string) {
	require.Len(t, got, len(want), what)
	for i := range want {
		require.InDelta(t, want[i], got[i], 1e-6*(1+math.Abs(want[i])), "%s, element %d", what, i)
	}
}
