package runtime

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"google.golang.org/protobuf/encoding/protowire"
)

// pb builds protobuf messages; field numbers are those of onnx.proto.
type pb []byte

func (p pb) int(field protowire.Number, v int64) pb {
	return protowire.AppendVarint(protowire.AppendTag(p, field, protowire.VarintType), uint64(v))
}

func (p pb) bytes(field protowire.Number, v []byte) pb {
	return protowire.AppendBytes(protowire.AppendTag(p, field, protowire.BytesType), v)
}

func (p pb) text(field protowire.Number, v ...string) pb {
	for _, s := range v {
		p = p.bytes(field, []byte(s))
	}
	return p
}

// port is a ValueInfoProto; a negative dimension is unknown.
func port(name string, dims ...int64) pb {
	var shape pb
	for _, d := range dims {
		var dim pb
		if d >= 0 {
			dim = dim.int(1, d)
		}
		shape = shape.bytes(1, dim)
	}
	return pb{}.text(1, name).bytes(2, pb{}.bytes(1, pb{}.int(1, 1).bytes(2, shape)))
}

// node is a NodeProto with integer attributes.
func node(op string, in []string, out string, ints ...any) pb {
	n := pb{}.text(1, in...).text(2, out).text(4, op)
	for i := 0; i < len(ints); i += 2 {
		n = n.bytes(5, pb{}.text(1, ints[i].(string)).int(3, int64(ints[i+1].(int))).int(20, 2))
	}
	return n
}

// tensor is a float32 TensorProto.
func tensor(name string, data []float32, dims ...int64) pb {
	var t pb
	for _, d := range dims {
		t = t.int(1, d)
	}
	raw := make([]byte, 0, 4*len(data))
	for _, v := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return t.int(2, 1).text(8, name).bytes(9, raw)
}

// onnx is a ModelProto of opset 18.
func onnx(nodes, inits, in, out []pb) []byte {
	var g pb
	for _, n := range nodes {
		g = g.bytes(1, n)
	}
	g = g.text(2, "g")
	for _, t := range inits {
		g = g.bytes(5, t)
	}
	for _, v := range in {
		g = g.bytes(11, v)
	}
	for _, v := range out {
		g = g.bytes(12, v)
	}
	return pb{}.int(1, 9).bytes(8, pb{}.int(2, 18)).bytes(7, g)
}

// mlp is E(x) = w₃·silu(W₂ silu(W₁x+b₁)+b₂), x in R^d, h units a layer.
type mlp struct {
	d, h               int
	w1, b1, w2, b2, w3 []float32
}

func newMLP(d, h int) *mlp {
	r := rand.New(rand.NewPCG(1, 2))
	normals := func(n, fan int) []float32 {
		w := make([]float32, n)
		for i := range w {
			w[i] = float32(r.NormFloat64() / math.Sqrt(float64(fan)))
		}
		return w
	}
	return &mlp{d, h, normals(d*h, d), normals(h, h), normals(h*h, h), normals(h, h), normals(h, h)}
}

// parameters are the initializers, or the inputs of a trainable build.
func (m *mlp) parameters() []struct {
	name string
	data []float32
	dims []int64
} {
	d, h := int64(m.d), int64(m.h)
	return []struct {
		name string
		data []float32
		dims []int64
	}{
		{"W1", m.w1, []int64{d, h}}, {"b1", m.b1, []int64{h}}, {"W2", m.w2, []int64{h, h}}, {"b2", m.b2, []int64{h}}, {"w3", m.w3, []int64{1, h}},
	}
}

// gradient is the model of ∇ₓE: inputs x [N,d], output g [N,d]. If trainable,
// the parameters are inputs too and W1's share of ∂(Σ g·x)/∂… is not wanted:
// only xᵀg [d,d] is added as the Sum output "s".
func (m *mlp) gradient(trainable bool) Model {
	f := func(op, out string, in ...string) pb { return node(op, in, out) }
	nodes := []pb{
		f("Gemm", "z1", "x", "W1", "b1"), f("Sigmoid", "s1", "z1"), f("Mul", "h1", "z1", "s1"),
		f("Gemm", "z2", "h1", "W2", "b2"), f("Sigmoid", "s2", "z2"), f("Mul", "h2", "z2", "s2"),
		f("Sub", "m2", "one", "h2"), f("Mul", "t2", "s2", "m2"), f("Add", "d2", "h2", "t2"), f("Mul", "g2", "d2", "w3"),
		node("Gemm", []string{"g2", "W2"}, "gh1", "transB", 1),
		f("Sub", "m1", "one", "h1"), f("Mul", "t1", "s1", "m1"), f("Add", "d1", "h1", "t1"), f("Mul", "g1", "gh1", "d1"),
		node("Gemm", []string{"g1", "W1"}, "g", "transB", 1),
	}
	d := int64(m.d)
	model := Model{Name: "mlp gradient", Inputs: []Port{{Name: "x", Item: []int64{d}}}, Outputs: []Port{{Name: "g", Item: []int64{d}}}}
	inits := []pb{tensor("one", []float32{1})}
	in, out := []pb{port("x", -1, d)}, []pb{port("g", -1, d)}
	for _, p := range m.parameters() {
		if trainable {
			in = append(in, port(p.name, p.dims...))
			model.Inputs = append(model.Inputs, Port{Name: p.name, Item: p.dims, Kind: Shared})
		} else {
			inits = append(inits, tensor(p.name, p.data, p.dims...))
		}
	}
	if trainable {
		nodes = append(nodes, node("Gemm", []string{"x", "g"}, "s", "transA", 1))
		out = append(out, port("s", d, d))
		model.Outputs = append(model.Outputs, Port{Name: "s", Item: []int64{d, d}, Kind: Sum})
	}
	model.Bytes = onnx(nodes, inits, in, out)
	return model
}

// gradientAt is ∇ₓE in float64.
func (m *mlp) gradientAt(x []float32) []float64 {
	layer := func(in []float64, w, b []float32, n int) (h, dh []float64) {
		h, dh = make([]float64, n), make([]float64, n)
		for j := range n {
			z := float64(b[j])
			for i, v := range in {
				z += v * float64(w[i*n+j])
			}
			s := 1 / (1 + math.Exp(-z))
			h[j], dh[j] = z*s, s+z*s*(1-s)
		}
		return h, dh
	}
	back := func(g []float64, w []float32, n int) []float64 {
		out := make([]float64, n)
		for i := range out {
			for j, v := range g {
				out[i] += v * float64(w[i*len(g)+j])
			}
		}
		return out
	}
	in := make([]float64, m.d)
	for i := range in {
		in[i] = float64(x[i])
	}
	h1, d1 := layer(in, m.w1, m.b1, m.h)
	_, d2 := layer(h1, m.w2, m.b2, m.h)
	for j := range d2 {
		d2[j] *= float64(m.w3[j])
	}
	g := back(d2, m.w2, m.h)
	for j := range g {
		g[j] *= d1[j]
	}
	return back(g, m.w1, m.d)
}
