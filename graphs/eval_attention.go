package graphs

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

var attentionKernels = kernelTable{
	"Attention":       {3, evalAttention},
	"RotaryEmbedding": {3, evalRotaryEmbedding},
}

func init() { register(attentionKernels) }

// heads brings [B, S, H·D] to [B, H, S, D]; values of rank 4 stay.
func (a *Array) heads(n int) (*Array, error) {
	if err := needFloat(a); err != nil {
		return nil, err
	}
	if len(a.Dims) == 4 {
		return a, nil
	}
	if len(a.Dims) != 3 || n <= 0 || n > a.Dims[2] || a.Dims[2]%n != 0 {
		return nil, fmt.Errorf("dims %v do not split into %d heads", a.Dims, n)
	}
	return a.withDims([]int{a.Dims[0], a.Dims[1], n, a.Dims[2] / n}).transpose([]int{0, 2, 1, 3})
}

// evalAttention is softmax(scale·QKᵀ, capped and masked)·V per head (Attention-23 to -25 of the specification).
// A query that attends to nothing gives zeros. The fourth output is the score matrix at the stage of qk_matmul_output_mode.
func evalAttention(c *call) ([]*Array, error) {
	q, err := c.in[0].heads(c.intAttr("q_num_heads", 0))
	if err != nil {
		return nil, err
	}
	k, err := c.in[1].heads(c.intAttr("kv_num_heads", 0))
	if err != nil {
		return nil, err
	}
	v, err := c.in[2].heads(c.intAttr("kv_num_heads", 0))
	if err != nil {
		return nil, err
	}
	past := 0
	if pk, pv := c.arg(4), c.arg(5); pk != nil && pv != nil {
		if k, err = concat(2, cloneType(pk, k), k); err != nil {
			return nil, err
		}
		if v, err = concat(2, cloneType(pv, v), v); err != nil {
			return nil, err
		}
		past = pk.Dims[2]
	} else if pk != nil || pv != nil {
		return nil, errors.New("one of past_key and past_value is missing")
	}
	b, h, s, d := q.Dims[0], q.Dims[1], q.Dims[2], q.Dims[3]
	kv, t, dv := k.Dims[1], k.Dims[2], v.Dims[3]
	if k.Dims[0] != b || v.Dims[0] != b || k.Dims[3] != d || v.Dims[1] != kv || v.Dims[2] != t || kv == 0 || h%kv != 0 {
		return nil, fmt.Errorf("query %v, key %v, value %v", q.Dims, k.Dims, v.Dims)
	}
	mask, err := attentionMask(c, b, h, s, t, past)
	if err != nil {
		return nil, err
	}
	scale := c.float("scale", 0)
	if _, given := c.Attrs["scale"]; !given {
		scale = 1 / math.Sqrt(float64(d))
	}
	softcap, mode := c.float("softcap", 0), c.intAttr("qk_matmul_output_mode", 0)
	scores := make([]float64, s*t)
	stages, err := newArray(q.DType, []int{b, h, s, t})
	if err != nil {
		return nil, err
	}
	y, err := newArray(q.DType, []int{b, h, s, dv})
	if err != nil {
		return nil, err
	}
	for i := range b * h {
		j := i/h*kv + i%h*kv/h
		keep := func(stage int) {
			if stage == mode {
				copy(stages.F[i*s*t:], scores)
			}
		}
		clear(scores)
		mulAdd(scores, q.F[i*s*d:][:s*d], k.F[j*t*d:][:t*d], s, d, t, false, true)
		for p := range scores {
			scores[p] *= scale
		}
		keep(0)
		if softcap > 0 {
			for p, x := range scores {
				scores[p] = softcap * math.Tanh(x/softcap)
			}
		}
		keep(1)
		for p, m := range mask[i*s*t:][:s*t] {
			if math.IsInf(m, -1) {
				scores[p] = m // even where the score is not finite
			} else {
				scores[p] += m
			}
		}
		keep(2)
		for p := range s {
			line := scores[p*t:][:t]
			if t > 0 && math.IsInf(maxOf(line), -1) {
				clear(line)
				continue
			}
			softmax(line, line)
		}
		keep(3)
		mulAdd(y.F[i*s*dv:][:s*dv], scores, v.F[j*t*dv:][:t*dv], s, t, dv, false, false)
	}
	if len(c.in[0].Dims) == 3 {
		if y, err = y.transpose([]int{0, 2, 1, 3}); err != nil {
			return nil, err
		}
		y = y.withDims([]int{b, s, h * dv})
	}
	return []*Array{y, k, v, stages}, nil
}

// cloneType gives a the floating-point type of b, so that both can be joined.
func cloneType(a, b *Array) *Array {
	if a.DType.IsFloat() && b.DType.IsFloat() {
		return reals(b.DType, a.Dims, a.F)
	}
	return a
}

// attentionMask returns the bias [B, H, S, T] that is added to the scores: 0 or the float mask where a key is attended, −∞ elsewhere.
func attentionMask(c *call, b, h, s, t, past int) ([]float64, error) {
	dims := []int{b, h, s, t}
	if _, err := elements(dims); err != nil {
		return nil, err
	}
	bias := make([]float64, b*h*s*t)
	if m := c.arg(3); m != nil {
		if m.DType == Bool {
			m = reals(Float64, m.Dims, convert(m.I, func(x int64) float64 { return math.Log(float64(x)) }))
		}
		if err := needFloat(m); err != nil {
			return nil, err
		}
		if err := needRank(m, 1); err != nil {
			return nil, err
		}
		if last := m.Dims[len(m.Dims)-1]; last < t && last != 1 {
			maps := make([][]int, len(m.Dims))
			for i, d := range m.Dims {
				maps[i] = ramp(d)
			}
			maps[len(maps)-1] = append(ramp(last), slices.Repeat([]int{-1}, t-last)...)
			var err error
			if m, err = m.remap(maps, reals(Float64, []int{1}, []float64{math.Inf(-1)})); err != nil {
				return nil, err
			}
		}
		full, err := m.expandTo(dims)
		if err != nil {
			return nil, err
		}
		copy(bias, full.F)
	}
	valid, err := c.ints(6)
	if err != nil {
		return nil, err
	}
	if valid != nil && len(valid) != b {
		return nil, fmt.Errorf("%d lengths for a batch of %d", len(valid), b)
	}
	causal := c.Int("is_causal", 0) != 0
	left, right := c.intAttr("left_window_size", -1), c.intAttr("right_window_size", -1)
	for i := range bias {
		key, query, batch := i%t, i/t%s, i/(t*s*h)
		at := query + past
		if valid != nil {
			if key >= valid[batch] {
				bias[i] = math.Inf(-1)
			}
			if c.arg(4) == nil {
				at = query + valid[batch] - s
			}
		}
		if causal && key > at || left >= 0 && key < at-left || right >= 0 && key > at+right {
			bias[i] = math.Inf(-1)
		}
	}
	return bias, nil
}

// evalRotaryEmbedding rotates pairs of features by the angles of their token's position.
func evalRotaryEmbedding(c *call) ([]*Array, error) {
	x, err := c.in[0].heads(c.intAttr("num_heads", 0))
	if err != nil {
		return nil, err
	}
	b, h, s, d := x.Dims[0], x.Dims[1], x.Dims[2], x.Dims[3]
	rot := c.intAttr("rotary_embedding_dim", 0)
	if rot == 0 {
		rot = d
	}
	if rot < 0 || rot > d || rot%2 != 0 {
		return nil, fmt.Errorf("rotation of %d of %d features", rot, d)
	}
	half := rot / 2
	var table [2]*Array
	for i := range table {
		table[i] = c.in[i+1]
		if err := needRank(table[i], 2); err != nil {
			return nil, err
		}
		if pos := c.arg(3); pos != nil {
			idx, err := c.ints(3)
			if err != nil {
				return nil, err
			}
			if table[i], err = table[i].take(0, idx, pos.Dims); err != nil {
				return nil, err
			}
		}
		if err := needFloat(table[i]); err != nil {
			return nil, err
		}
		if !slices.Equal(table[i].Dims, []int{b, s, half}) {
			return nil, fmt.Errorf("angles of dims %v, not [%d %d %d]", table[i].Dims, b, s, half)
		}
	}
	first, second := func(k int) int { return k }, func(k int) int { return k + half }
	if c.Int("interleaved", 0) != 0 {
		first, second = func(k int) int { return 2 * k }, func(k int) int { return 2*k + 1 }
	}
	y := slices.Clone(x.F)
	for i := range b * h * s {
		at := (i/(h*s)*s + i%s) * half
		in, out := x.F[i*d:], y[i*d:]
		for k := range half {
			cos, sin := table[0].F[at+k], table[1].F[at+k]
			out[first(k)] = cos*in[first(k)] - sin*in[second(k)]
			out[second(k)] = sin*in[first(k)] + cos*in[second(k)]
		}
	}
	out := reals(x.DType, x.Dims, y)
	if len(c.in[0].Dims) == 3 {
		if out, err = out.transpose([]int{0, 2, 1, 3}); err != nil {
			return nil, err
		}
		out = out.withDims(c.in[0].Dims)
	}
	return []*Array{out}, nil
}
