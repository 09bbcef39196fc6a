package graphs

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
)

// within fails where f takes long or much memory: what is read has kilobytes, whatever extents it announces.
func within(t *testing.T, f func()) {
	const most, longest = 256 << 20, 5 * time.Second
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(most), "bytes allocated")
	require.Less(t, took, longest)
}

// checkInference infers, checks and simplifies a graph; errors are fine.
func checkInference(t *testing.T, g *Graph) {
	within(t, func() {
		inferred, err := Infer(g)
		if err != nil || Check(g) != nil {
			return
		}
		require.NoError(t, Check(inferred))
		for _, n := range inferred.Nodes {
			for _, v := range n.Out {
				for _, d := range v.Shape() {
					require.True(t, d.Sym != "" || d.Size >= -1, "%v has the type %v", n.Label(), v.Type)
				}
			}
		}
		if s, err := Simplify(inferred); err == nil {
			require.NoError(t, Check(s))
		}
	})
}

// FuzzInfer: no file, however contradictory, makes inference, the checker or simplification panic, hang or fill the memory.
func FuzzInfer(f *testing.F) {
	huge := Attrs{"value": NewTensor([]int64{1 << 40, 1 << 40}, 2)}
	for _, m := range []*onnxpb.Model{
		protoModel(18, vector, "y", protoNode("Relu", "x", "y", nil)),
		protoModel(18, vector, "y", protoNode("Constant", "", "s", huge), protoNode("ConstantOfShape", "s", "b", nil), protoNode("Add", "b b", "y", nil)),
		protoModel(18, vector, "y", protoNode("Constant", "", "s", huge), protoNode("Expand", "x s", "y", nil)),
		protoModel(18, vector, "y", protoNode("Constant", "", "s", huge), protoNode("Tile", "x s", "a", nil), protoNode("Concat", "a a", "b", Attrs{"axis": int64(0)}), protoNode("Reshape", "b s", "y", nil)),
		protoModel(11, vector, "y", protoNode("Reshape", "x", "a", nil), protoNode("Softmax", "a", "y", nil)),
		protoModel(13, vector, "y", protoNode("Conv", "x x", "y", Attrs{"strides": []int64{0, 0}, "pads": []int64{-1, 1 << 60}})),
	} {
		f.Add(encodeProto(f, m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, _, err := Decode(b, ""); err == nil {
			checkInference(t, g)
		}
	})
}

// FuzzInferNode: the same for every op with random operands, shapes and attributes, some of them constants, shape bombs among them.
func FuzzInferNode(f *testing.F) {
	for i := range uint64(20) {
		f.Add(i)
	}
	ops := KnownOps()
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := NewBuilder("fuzz")
		pool := []*Value{nil}
		for range 2 + r.IntN(5) {
			pool = append(pool, randomOperand(r, b, len(pool)))
		}
		for range 1 + r.IntN(3) {
			op := ops[r.IntN(len(ops))]
			info, _ := Info(op)
			in := make([]*Value, info.MinIn+r.IntN(3))
			for i := range in {
				in[i] = pool[r.IntN(len(pool))]
			}
			outs := b.Ops(op, 1+r.IntN(2), randomAttrs(r), in...)
			if b.Err() != nil {
				return
			}
			pool = append(pool, outs...)
		}
		var outputs []Output
		for i, v := range pool[1:] {
			outputs = append(outputs, Output{string(rune('a' + i)), v})
		}
		if g, err := b.Graph(outputs...); err == nil {
			checkInference(t, g)
		}
	})
}

var fuzzTypes = []DType{Float32, Float32, Float64, Int64, Int32, Bool, Undefined}

var fuzzExtents = []Dim{Static(0), Static(1), Static(1), Static(2), Static(3), Static(1 << 31), Static(1 << 62), Symbol("N"), Symbol("M"), UnknownDim}

// randomOperand is an input or a constant vector.
func randomOperand(r *rand.Rand, b *Builder, k int) *Value {
	if r.IntN(2) == 0 {
		v := make([]int64, r.IntN(5))
		for i := range v {
			v[i] = []int64{0, 1, 2, 3, -1, -2, 1 << 31, 1 << 62, -1 << 63}[r.IntN(9)]
		}
		if len(v) == 1 && r.IntN(2) == 0 {
			return b.Int(v[0])
		}
		return b.Const(NewTensor(v, int64(len(v))))
	}
	var s Shape
	if r.IntN(8) > 0 {
		s = make(Shape, r.IntN(6))
		for i := range s {
			s[i] = fuzzExtents[r.IntN(len(fuzzExtents))]
		}
		s = slices.Clip(s)
	}
	return b.Input(string(rune('p'+k)), fuzzTypes[r.IntN(len(fuzzTypes))], s)
}
