package gradients

import (
	"slices"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() { rewrites["Einsum"] = einsum }

// labelled is a tensor with one label per axis. Axes of an ellipsis carry the labels −1, −2, … from the right.
type labelled struct {
	v      *Value
	labels []rune
}

// einsum takes the operands two at a time: labels that nothing else needs are summed at once, and the rest is one product, of matrices
// where something is contracted and something is left. ORT's own Einsum takes up to ten times as long.
func einsum(b *graphs.Builder, n *graphs.Node) *Value {
	terms, result := graphs.EinsumTerms(n.Text("equation", ""))
	list := make([]labelled, len(terms))
	dots := 0
	for i, t := range terms {
		if n.In[i].Rank() < 0 {
			return nil
		}
		count := n.In[i].Rank() - len(strings.ReplaceAll(t, "...", ""))
		list[i] = labelled{n.In[i], labelsOf(t, count)}
		dots = max(dots, count)
	}
	want := labelsOf(result, dots)
	if dots > 0 && !strings.Contains(result, "...") || hasRepeated(want) {
		return nil
	}
	for i := range list {
		list[i] = diagonals(b, list[i])
	}
	p := list[0]
	for i, q := range list[1:] {
		needed := slices.Clone(want)
		for _, l := range list[i+2:] {
			needed = append(needed, l.labels...)
		}
		p, q = sumExcept(b, p, append(slices.Clone(needed), q.labels...)), sumExcept(b, q, append(slices.Clone(needed), p.labels...))
		p = contract(b, p, q, needed)
	}
	return arrange(b, sumExcept(b, p, want), want).v
}

// labelsOf splits a term of an equation whose ellipsis stands for count axes.
func labelsOf(term string, count int) []rune {
	left, right, dots := strings.Cut(term, "...")
	labels := []rune(left)
	if dots {
		for i := count; i > 0; i-- {
			labels = append(labels, rune(-i))
		}
	}
	return append(labels, []rune(right)...)
}

func hasRepeated(labels []rune) bool {
	for i, l := range labels {
		if slices.Contains(labels[:i], l) {
			return true
		}
	}
	return false
}

// diagonals keeps the elements whose indices agree on repeated labels, one axis for each label.
func diagonals(b *graphs.Builder, p labelled) labelled {
	for k := 0; k < len(p.labels); k++ {
		i := slices.Index(p.labels, p.labels[k])
		if i == k {
			continue
		}
		r := p.v.Rank()
		count := b.Op("Squeeze", nil, b.Op("Shape", graphs.Attrs{"start": int64(k), "end": int64(k + 1)}, p.v), b.Ints(0))
		iota := b.Op("Range", nil, b.Int(0), count, b.Int(1))
		along := func(axis int) *Value {
			target := slices.Repeat([]int64{1}, r)
			target[axis] = -1
			return b.Op("Reshape", nil, iota, b.Ints(target...))
		}
		on := b.Op("Where", nil, b.Op("Equal", nil, along(i), along(k)), p.v, b.FloatLike(p.v, 0))
		p = labelled{sumAxes(b, on, k), slices.Delete(slices.Clone(p.labels), k, k+1)}
		k--
	}
	return p
}

func sumAxes(b *graphs.Builder, v *Value, axes ...int) *Value {
	if len(axes) == 0 {
		return v
	}
	return b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, v, b.Ints(int64s(axes)...))
}

func int64s(v []int) []int64 {
	r := make([]int64, len(v))
	for i, x := range v {
		r[i] = int64(x)
	}
	return r
}

// sumExcept sums over the axes whose labels are not to be kept.
func sumExcept(b *graphs.Builder, p labelled, keep []rune) labelled {
	var axes []int
	var labels []rune
	for i, l := range p.labels {
		if slices.Contains(keep, l) {
			labels = append(labels, l)
		} else {
			axes = append(axes, i)
		}
	}
	return labelled{sumAxes(b, p.v, axes...), labels}
}

// arrange transposes to the order of the labels, which may hold others that p lacks: those become axes of extent 1.
func arrange(b *graphs.Builder, p labelled, order []rune) labelled {
	var perm, missing []int64
	for i, l := range order {
		if k := slices.Index(p.labels, l); k >= 0 {
			perm = append(perm, int64(k))
		} else {
			missing = append(missing, int64(i))
		}
	}
	v := p.v
	if !slices.IsSorted(perm) {
		v = b.Op("Transpose", graphs.Attrs{"perm": perm}, v)
	}
	if len(missing) > 0 {
		v = b.Op("Unsqueeze", nil, v, b.Ints(missing...))
	}
	return labelled{v, order}
}

// contract multiplies p and q and sums over the labels of both that are not needed further.
func contract(b *graphs.Builder, p, q labelled, needed []rune) labelled {
	var batch, inner, left, right []rune
	for i, l := range p.labels {
		k := slices.Index(q.labels, l)
		switch {
		case k < 0:
			left = append(left, l)
		case slices.Contains(needed, l):
			batch = append(batch, l)
		case p.v.Shape()[i].Is(1) != q.v.Shape()[k].Is(1): // an extent of 1 is broadcast: it meets the sum of the other
			return contract(b, without(b, p, l), without(b, q, l), needed)
		default:
			inner = append(inner, l)
		}
	}
	for _, l := range q.labels {
		if !slices.Contains(p.labels, l) {
			right = append(right, l)
		}
	}
	if len(inner) == 0 || len(left)+len(right) == 0 {
		order := slices.Concat(batch, left, right, inner)
		y := b.Op("Mul", nil, arrange(b, p, order).v, arrange(b, q, order).v)
		return sumExcept(b, labelled{y, order}, needed)
	}
	a := merged(b, arrange(b, p, slices.Concat(batch, left, inner)), len(batch), len(left), len(inner))
	c := merged(b, arrange(b, q, slices.Concat(batch, inner, right)), len(batch), len(inner), len(right))
	y := b.Op("MatMul", nil, a, c)
	var parts []*Value
	for i := range batch {
		parts = append(parts, extent(b, y, i))
	}
	for _, l := range left {
		parts = append(parts, extent(b, p.v, slices.Index(p.labels, l)))
	}
	for _, l := range right {
		parts = append(parts, extent(b, q.v, slices.Index(q.labels, l)))
	}
	if len(left) != 1 || len(right) != 1 {
		y = b.Op("Reshape", graphs.Attrs{"allowzero": int64(1)}, y, concatVector(b, parts))
	}
	return labelled{y, slices.Concat(batch, left, right)}
}

func without(b *graphs.Builder, p labelled, l rune) labelled {
	return sumExcept(b, p, slices.DeleteFunc(slices.Clone(p.labels), func(k rune) bool { return k == l }))
}

func extent(b *graphs.Builder, v *Value, axis int) *Value {
	return b.Op("Shape", graphs.Attrs{"start": int64(axis), "end": int64(axis + 1)}, v)
}

func concatVector(b *graphs.Builder, parts []*Value) *Value {
	if len(parts) == 0 {
		return b.Ints()
	}
	return b.Op("Concat", graphs.Attrs{"axis": int64(0)}, parts...)
}

// merged gives v, with axes [batch…, rows…, columns…], one axis of rows and one of columns.
func merged(b *graphs.Builder, p labelled, batch, rows, columns int) *Value {
	if rows == 1 && columns == 1 {
		return p.v
	}
	var parts []*Value
	for i := range batch {
		parts = append(parts, extent(b, p.v, i))
	}
	product := func(from, to int) *Value {
		size := b.Ints(1)
		for i := from; i < to; i++ {
			size = b.Op("Mul", nil, size, extent(b, p.v, i))
		}
		return size
	}
	parts = append(parts, product(batch, batch+rows), product(batch+rows, batch+rows+columns))
	return b.Op("Reshape", graphs.Attrs{"allowzero": int64(1)}, p.v, concatVector(b, parts))
}
