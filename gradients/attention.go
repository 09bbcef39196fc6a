package gradients

import (
	"math"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	expansions["Attention"] = attention
	rewrites["RotaryEmbedding"] = rotaryEmbedding
	refusals["Attention"] = "the ranks of query, key and value and the numbers of their heads must be known; give them in the file"
	refusals["RotaryEmbedding"] = "the rank of its operand, the number and the size of its heads must be known; give them in the file"
}

// extentsOf is an integer vector of extents from axis to axis of a value.
func extentsOf(b *graphs.Builder, v *Value, from, to int) *Value {
	return b.Op("Shape", graphs.Attrs{"start": int64(from), "end": int64(to)}, v)
}

// shaped gives x the extents that the integer vectors hold in a row; none counts as free, so that empty batches keep their shape.
func shaped(b *graphs.Builder, x *Value, parts ...*Value) *Value {
	target := b.Op("Concat", graphs.Attrs{"axis": int64(0)}, parts...)
	return b.Op("Reshape", graphs.Attrs{"allowzero": int64(1)}, x, target)
}

func permuted(b *graphs.Builder, x *Value, perm ...int64) *Value {
	return b.Op("Transpose", graphs.Attrs{"perm": perm}, x)
}

// splitHeads views the last axis of x [B, S, H·D] as H and D.
func splitHeads(b *graphs.Builder, x *Value, heads int64) *Value {
	size := b.Op("Div", nil, extentsOf(b, x, 2, 3), b.Ints(heads))
	return shaped(b, x, extentsOf(b, x, 0, 2), b.Ints(heads), size)
}

// attention: softmax(scale·QKᵀ, capped and masked)·V per head. Heads that share a key and value are one longer sequence of queries to them.
func attention(b *graphs.Builder, n *graphs.Node) []*Value {
	q, k, v := n.In[0], n.In[1], n.In[2]
	if q.Rank() < 3 || k.Rank() != q.Rank() || v.Rank() != q.Rank() {
		return nil
	}
	flat := q.Rank() == 3
	if flat {
		kv := n.Int("kv_num_heads", 0)
		q = permuted(b, splitHeads(b, q, n.Int("q_num_heads", 0)), 0, 2, 1, 3)
		k = permuted(b, splitHeads(b, k, kv), 0, 2, 1, 3)
		v = permuted(b, splitHeads(b, v, kv), 0, 2, 1, 3)
	}
	if pk, pv := n.Input(4), n.Input(5); pk != nil && pv != nil {
		join := graphs.Attrs{"axis": int64(2)}
		k, v = b.Op("Concat", join, pk, k), b.Op("Concat", join, pv, v)
	}
	heads, kv := q.Shape()[1], k.Shape()[1]
	shared := !heads.Same(kv)
	if shared && (!heads.IsStatic() || !kv.IsStatic()) {
		return nil
	}
	ungroup := func(x *Value) *Value { return x }
	qs := scaleQuery(b, n, q)
	if shared {
		rows := b.Op("Mul", nil, extentsOf(b, q, 2, 3), b.Ints(heads.Size/kv.Size))
		qs = shaped(b, qs, extentsOf(b, q, 0, 1), b.Ints(kv.Size), rows, extentsOf(b, q, 3, 4))
		ungroup = func(x *Value) *Value { return shaped(b, x, extentsOf(b, q, 0, 3), extentsOf(b, x, 3, 4)) }
	}
	stages := make([]*Value, 4)
	s := ungroup(b.Op("MatMul", nil, qs, permuted(b, k, 0, 1, 3, 2)))
	stages[0] = s
	if limit := float64(n.Float("softcap", 0)); limit > 0 {
		s = b.Op("Mul", nil, b.Op("Tanh", nil, b.Op("Mul", nil, s, b.FloatLike(s, 1/limit))), b.FloatLike(s, limit))
	}
	stages[1], stages[2] = s, s
	bias, alive := attentionBias(b, n, q, k)
	if bias != nil {
		s = b.Op("Add", nil, s, bias)
		stages[2] = s
	}
	p := b.Op("Softmax", graphs.Attrs{"axis": int64(-1)}, s)
	if alive != nil {
		p = b.Op("Mul", nil, p, alive)
	}
	stages[3] = p
	grouped := p
	if shared {
		grouped = shaped(b, p, extentsOf(b, qs, 0, 3), extentsOf(b, p, 3, 4))
	}
	y := ungroup(b.Op("MatMul", nil, grouped, v))
	if flat {
		y = permuted(b, y, 0, 2, 1, 3)
		y = shaped(b, y, extentsOf(b, y, 0, 2), b.Op("Mul", nil, extentsOf(b, y, 2, 3), extentsOf(b, y, 3, 4)))
	}
	mode := n.Int("qk_matmul_output_mode", 0)
	if mode < 0 || mode > 3 {
		return nil
	}
	return []*Value{y, k, v, stages[mode]}[:len(n.Out)]
}

// scaleQuery applies the scale to the query, which is smaller than the matrix of scores; it is 1/√D unless given.
func scaleQuery(b *graphs.Builder, n *graphs.Node, q *Value) *Value {
	if _, given := n.Attrs["scale"]; given {
		return b.Op("Mul", nil, q, b.FloatLike(q, float64(n.Float("scale", 1))))
	}
	if d := q.Shape()[3]; d.IsStatic() {
		return b.Op("Mul", nil, q, b.FloatLike(q, 1/math.Sqrt(float64(d.Size))))
	}
	d := b.Op("Cast", graphs.Attrs{"to": int64(q.Type.DType)}, extentsOf(b, q, 3, 4))
	return b.Op("Div", nil, q, b.Op("Sqrt", nil, d))
}

// attentionBias returns what is added to the scores [B, H, S, T] before the softmax, and the factor that is 0 for queries that may attend to no
// key; nil where there is nothing to add or no such query. −∞ is added as a large negative number, so that no row of the softmax is NaN.
func attentionBias(b *graphs.Builder, n *graphs.Node, q, k *Value) (bias, alive *Value) {
	mask := n.Input(3)
	allowed := allowedKeys(b, n, q, k)
	zero, never := b.FloatLike(q, 0), b.FloatLike(q, math.Inf(-1))
	if mask != nil {
		mask = fullMask(b, mask, k)
		if mask.Type.DType == graphs.Bool {
			allowed = both(b, allowed, mask)
			mask = nil
		}
	}
	switch {
	case allowed == nil && mask == nil:
		return nil, nil
	case allowed == nil && (mask.Kind == graphs.Param || mask.IsConst() && allFinite(mask)):
		return mask, nil
	case allowed == nil:
		bias = mask
	case mask == nil:
		bias = b.Op("Where", nil, allowed, zero, never)
	default:
		bias = b.Op("Where", nil, allowed, mask, never)
	}
	top := b.Op("ReduceMax", nil, bias, b.Ints(-1))
	live := b.Op("Greater", nil, top, never)
	return b.Op("Max", nil, bias, b.FloatLike(q, -3e38)), b.Op("Cast", graphs.Attrs{"to": int64(q.Type.DType)}, live)
}

func both(b *graphs.Builder, x, y *Value) *Value {
	if x == nil {
		return y
	}
	return b.Op("And", nil, x, y)
}

func allFinite(v *Value) bool {
	for _, x := range v.Tensor.Float64s() {
		if math.IsInf(x, 0) || math.IsNaN(x) {
			return false
		}
	}
	return true
}

// fullMask extends a mask that is shorter than the keys: what it leaves out is not attended.
func fullMask(b *graphs.Builder, mask, k *Value) *Value {
	have, want := mask.Shape()[mask.Rank()-1], k.Shape()[2]
	if !have.IsStatic() || have.Is(1) || have.Same(want) {
		return mask
	}
	missing := b.Op("Sub", nil, extentsOf(b, k, 2, 3), b.Ints(have.Size))
	pads := b.Op("Concat", graphs.Attrs{"axis": int64(0)}, b.Ints(0), missing)
	if mask.Type.DType != graphs.Bool {
		return b.Op("Pad", nil, mask, pads, b.FloatLike(mask, math.Inf(-1)), b.Ints(-1))
	}
	number := b.Op("Cast", graphs.Attrs{"to": int64(graphs.Int64)}, mask)
	padded := b.Op("Pad", nil, number, pads, b.Int(0), b.Ints(-1))
	return b.Op("Cast", graphs.Attrs{"to": int64(graphs.Bool)}, padded)
}

// allowedKeys returns where keys lie within the lengths, the past and the window of a query, as bools that broadcast to the scores; nil where
// all do.
func allowedKeys(b *graphs.Builder, n *graphs.Node, q, k *Value) *Value {
	causal := n.Int("is_causal", 0) != 0
	left, right := n.Int("left_window_size", -1), n.Int("right_window_size", -1)
	valid := n.Input(6)
	if !causal && left < 0 && right < 0 && valid == nil {
		return nil
	}
	count := func(v *Value, axis int) *Value {
		return b.Op("Range", nil, b.Int(0), b.Op("Squeeze", nil, extentsOf(b, v, axis, axis+1), b.Ints(0)), b.Int(1))
	}
	key := count(k, 2)
	at := b.Op("Unsqueeze", nil, count(q, 2), b.Ints(1)) // position of a query among the keys
	var allowed *Value
	if valid != nil {
		valid = b.Op("Unsqueeze", nil, b.Op("Cast", graphs.Attrs{"to": int64(graphs.Int64)}, valid), b.Ints(1, 2, 3))
		allowed = b.Op("Less", nil, key, valid)
	}
	switch {
	case n.Input(4) != nil:
		at = b.Op("Add", nil, at, extentsOf(b, n.In[4], 2, 3))
	case valid != nil:
		at = b.Op("Add", nil, at, b.Op("Sub", nil, valid, extentsOf(b, q, 2, 3)))
	}
	if causal {
		allowed = both(b, allowed, b.Op("LessOrEqual", nil, key, at))
	}
	if left >= 0 {
		allowed = both(b, allowed, b.Op("GreaterOrEqual", nil, key, b.Op("Sub", nil, at, b.Int(left))))
	}
	if right >= 0 {
		allowed = both(b, allowed, b.Op("LessOrEqual", nil, key, b.Op("Add", nil, at, b.Int(right))))
	}
	return allowed
}

// rotaryEmbedding rotates pairs of features by the angle of their token: (a, b) ↦ (a·cos − b·sin, a·sin + b·cos).
func rotaryEmbedding(b *graphs.Builder, n *graphs.Node) *Value {
	x := n.In[0]
	if x.Rank() < 3 {
		return nil
	}
	y, headAxis := x, int64(1)
	if x.Rank() == 3 {
		heads := n.Int("num_heads", 0)
		if heads < 1 {
			return nil
		}
		y, headAxis = splitHeads(b, x, heads), 2
	}
	size := y.Shape()[3]
	if !size.IsStatic() {
		return nil
	}
	rot := n.Int("rotary_embedding_dim", 0)
	if rot == 0 {
		rot = size.Size
	}
	var table [2]*Value
	for i := range table {
		table[i] = n.In[i+1]
		if pos := n.Input(3); pos != nil {
			table[i] = b.Op("Gather", graphs.Attrs{"axis": int64(0)}, table[i], pos)
		}
		table[i] = b.Op("Unsqueeze", nil, table[i], b.Ints(headAxis))
	}
	part := func(from, to int64) *Value {
		return b.Op("Slice", nil, y, b.Ints(from), b.Ints(to), b.Ints(3))
	}
	first, second := part(0, rot/2), part(rot/2, rot)
	interleaved := n.Int("interleaved", 0) != 0
	var pairs *Value
	if interleaved {
		pairs = part(0, rot)
		pairs = shaped(b, pairs, extentsOf(b, pairs, 0, 3), b.Ints(rot/2, 2))
		pick := func(i int64) *Value { return b.Op("Gather", graphs.Attrs{"axis": int64(4)}, pairs, b.Int(i)) }
		first, second = pick(0), pick(1)
	}
	mul := func(u, v *Value) *Value { return b.Op("Mul", nil, u, v) }
	r1 := b.Op("Sub", nil, mul(first, table[0]), mul(second, table[1]))
	r2 := b.Op("Add", nil, mul(first, table[1]), mul(second, table[0]))
	var out []*Value
	if interleaved {
		last := b.Ints(4)
		both := b.Op("Concat", graphs.Attrs{"axis": int64(4)}, b.Op("Unsqueeze", nil, r1, last), b.Op("Unsqueeze", nil, r2, last))
		out = only(shaped(b, both, extentsOf(b, both, 0, 3), b.Ints(rot)))
	} else {
		out = []*Value{r1, r2}
	}
	if rot < size.Size {
		out = append(out, part(rot, size.Size))
	}
	return likeOf(b, b.Op("Concat", graphs.Attrs{"axis": int64(3)}, out...), x)
}
