package models

import (
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// transformer is an encoder with normalisation before each part (Vaswani et al. 2017, Xiong et al. 2020), whose tokens are averaged:
//
//	x ← x + attention(norm1(x));  x ← x + mlp(norm2(x))
//
// Tokens are the rows of items [T, F], the coordinates of items [D], or the patches of images [C, H, W] (Dosovitskiy et al. 2021).
// Without positions the energy does not depend on the order of the tokens.
func transformer(s *spec.Spec, item []int64) body {
	list := widths(s, 64)
	t := trunk{depth: s.Count("depth", 2, 1), heads: int64(s.Count("heads", 4, 1)), ratio: int64(s.Count("mlp", 4, 1))}
	t.positions = s.Word("positions", "learned", "learned", "none") == "learned"
	patch := int64(s.Count("patch", 4, 1))
	if len(list) != 1 {
		s.Fail("transformer takes one width, such as transformer:64:depth=2, not %d", len(list))
		return nil
	}
	if t.width = list[0]; t.width%t.heads != 0 {
		s.Fail("the width %d is not a multiple of heads=%d", t.width, t.heads)
	}
	switch len(item) {
	case 1, 2:
		if s.Has("patch") {
			s.Fail("patch goes with images [C, H, W], not with items of shape %v", item)
		}
	case 3:
		if item[1]%patch != 0 || item[2]%patch != 0 {
			s.Fail("patch=%d does not divide images of %d by %d", patch, item[1], item[2])
		}
	default:
		s.Fail("transformer takes items of shape [D], [T, F] or [C, H, W], not %v", item)
	}
	return func(m *network, x *graphs.Value) features {
		t.network = m
		return t.features(t.tokens(x, patch))
	}
}

// trunk builds a transformer over tokens, which it keeps as [N·T, F]: normalisation and linear layers work on rows.
type trunk struct {
	*network
	depth               int
	width, heads, ratio int64
	positions           bool
	count               int64 // T
}

// tokens returns [N·T, F] and F.
func (t *trunk) tokens(x *graphs.Value, p int64) (*graphs.Value, int64) {
	width := int64(1)
	switch len(t.item) {
	case 1:
		t.count = t.item[0]
	case 2:
		t.count, width = t.item[0], t.item[1]
	case 3:
		c, h, w := t.item[0], t.item[1]/p, t.item[2]/p
		t.count, width = h*w, c*p*p
		x = t.Op("Reshape", nil, x, t.Ints(-1, c, h, p, w, p))
		x = t.Op("Transpose", graphs.Attrs{"perm": []int64{0, 2, 4, 1, 3, 5}}, x)
	}
	return t.Op("Reshape", nil, x, t.Ints(-1, width)), width
}

func (t *trunk) features(x *graphs.Value, width int64) features {
	x = t.linear("embed", x, width, t.width, 1)
	if t.positions && t.reserve(t.count*t.width) {
		w := make([]float32, t.count*t.width)
		normal(w, 0.02, t.key.Sub("positions"))
		x = t.Op("Add", nil, t.Op("Reshape", nil, x, t.Ints(-1, t.count, t.width)), t.Param("positions", graphs.NewTensor(w, t.count, t.width)))
		x = t.Op("Reshape", nil, x, t.Ints(-1, t.width))
	}
	for i := range t.depth {
		if t.Err() != nil {
			return features{}
		}
		name := fmt.Sprintf("blocks.%d.", i)
		x = t.Op("Add", nil, x, t.attention(name+"attention", t.norm(name+"norm1", x)))
		h := t.hidden(t.linear(name+"mlp.0", t.norm(name+"norm2", x), t.width, t.ratio*t.width, t.act.gain))
		x = t.Op("Add", nil, x, t.linear(name+"mlp.1", h, t.ratio*t.width, t.width, 1))
	}
	x = t.Op("Reshape", nil, t.norm("norm", x), t.Ints(-1, t.count, t.width))
	mean := scale(t.Builder, t.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, x, t.Ints(1)), 1/float64(t.count))
	return features{mean, t.width, "head"}
}

// norm is layer normalisation of rows.
func (t *trunk) norm(name string, x *graphs.Value) *graphs.Value {
	if !t.reserve(2 * t.width) {
		return &graphs.Value{}
	}
	weight, bias := make([]float32, t.width), make([]float32, t.width)
	for i := range weight {
		weight[i] = 1
	}
	return t.Op("LayerNormalization", graphs.Attrs{"axis": int64(-1), "epsilon": float32(1e-5)}, x,
		t.Param(name+".weight", graphs.NewTensor(weight, t.width)), t.Param(name+".bias", graphs.NewTensor(bias, t.width)))
}

// attention is softmax(QKᵀ/√d)·V over the tokens of an item, in heads of width d. Queries, keys and values come of one linear layer.
func (t *trunk) attention(name string, x *graphs.Value) *graphs.Value {
	d := t.width / t.heads
	qkv := t.Op("Reshape", nil, t.linear(name+".qkv", x, t.width, 3*t.width, 1), t.Ints(-1, t.count, 3, t.heads, d))
	parts := t.Ops("Split", 3, graphs.Attrs{"axis": int64(2)}, qkv, t.Ints(1, 1, 1))
	head := func(i int, perm ...int64) *graphs.Value {
		return t.Op("Transpose", graphs.Attrs{"perm": perm}, t.Op("Squeeze", nil, parts[i], t.Ints(2)))
	}
	q, k, v := head(0, 0, 2, 1, 3), head(1, 0, 2, 3, 1), head(2, 0, 2, 1, 3)
	scores := t.Op("MatMul", nil, scale(t.Builder, q, 1/math.Sqrt(float64(d))), k)
	mixed := t.Op("MatMul", nil, t.Op("Softmax", graphs.Attrs{"axis": int64(-1)}, scores), v)
	rows := t.Op("Reshape", nil, t.Op("Transpose", graphs.Attrs{"perm": []int64{0, 2, 1, 3}}, mixed), t.Ints(-1, t.width))
	return t.linear(name+".out", rows, t.width, t.width, 1)
}
