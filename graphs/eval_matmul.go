package graphs

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
)

var matmulKernels = kernelTable{
	"MatMul":        {2, func(c *call) ([]*Array, error) { return one(matMul(c.in[0], c.in[1])) }},
	"Gemm":          {2, evalGemm},
	"Einsum":        {1, evalEinsum},
	"Det":           {1, evalDet},
	"MatMulInteger": {2, evalMatMulInteger},
}

func init() { register(matmulKernels) }

// mulAdd computes y += op(a)·op(b) for row-major y [m,n], op(a) [m,k], op(b) [k,n].
func mulAdd(y, a, b []float64, m, k, n int, ta, tb bool) {
	if m == 0 || n == 0 || k == 0 {
		return
	}
	if !finite(a) || !finite(b) {
		// BLAS may skip a zero factor, which would lose 0·∞ = NaN.
		mulAddNaive(y, a, b, m, k, n, ta, tb)
		return
	}
	A := blas64.General{Rows: m, Cols: k, Stride: k, Data: a}
	B := blas64.General{Rows: k, Cols: n, Stride: n, Data: b}
	tA, tB := blas.NoTrans, blas.NoTrans
	if ta {
		A.Rows, A.Cols, A.Stride, tA = k, m, m, blas.Trans
	}
	if tb {
		B.Rows, B.Cols, B.Stride, tB = n, k, k, blas.Trans
	}
	blas64.Gemm(tA, tB, 1, A, B, 1, blas64.General{Rows: m, Cols: n, Stride: n, Data: y})
}

func finite(v []float64) bool {
	for _, x := range v {
		if math.IsInf(x, 0) || math.IsNaN(x) {
			return false
		}
	}
	return true
}

func mulAddNaive[T float64 | int64](y, a, b []T, m, k, n int, ta, tb bool) {
	aRow, aCol, bRow, bCol := k, 1, n, 1
	if ta {
		aRow, aCol = 1, m
	}
	if tb {
		bRow, bCol = 1, k
	}
	for i := range m {
		for l := range k {
			x := a[i*aRow+l*aCol]
			for j := range n {
				y[i*n+j] += x * b[l*bRow+j*bCol]
			}
		}
	}
}

// matMul is numpy.matmul: a vector is a row on the left and a column on the right, leading axes broadcast.
func matMul(a, b *Array) (*Array, error) {
	if a.DType.IsFloat() != b.DType.IsFloat() {
		return nil, fmt.Errorf("types %v and %v differ", a.DType, b.DType)
	}
	if len(a.Dims) == 0 || len(b.Dims) == 0 {
		return nil, errors.New("an operand is a scalar")
	}
	ad, bd := a.Dims, b.Dims
	if len(ad) == 1 {
		ad = []int{1, ad[0]}
	}
	if len(bd) == 1 {
		bd = []int{bd[0], 1}
	}
	ra, rb := len(ad), len(bd)
	m, k, n := ad[ra-2], ad[ra-1], bd[rb-1]
	lead, err := broadcast(ad[:ra-2], bd[:rb-2])
	if err != nil || bd[rb-2] != k {
		return nil, fmt.Errorf("dims %v and %v do not multiply", a.Dims, b.Dims)
	}
	out, err := newArray(a.DType, append(slices.Clone(lead), m, n))
	if err != nil {
		return nil, err
	}
	batchA, batchB := ad[:ra-2], bd[:rb-2]
	if product(batchB) == 1 && len(batchB) <= len(batchA) {
		m *= product(batchA) // one matrix on the right: a single product
		lead, batchA, batchB = nil, nil, nil
	}
	newWalk(lead, spread(batchA, lead), spread(batchB, lead)).each(func(o, cnt int, at, inc []int) {
		for t := range cnt {
			i, j := (at[0]+t*inc[0])*m*k, (at[1]+t*inc[1])*k*n
			y := (o + t) * m * n
			if a.DType.IsFloat() {
				mulAdd(out.F[y:y+m*n], a.F[i:i+m*k], b.F[j:j+k*n], m, k, n, false, false)
			} else {
				mulAddNaive(out.I[y:y+m*n], a.I[i:i+m*k], b.I[j:j+k*n], m, k, n, false, false)
			}
		}
	})
	if !a.DType.IsFloat() {
		wrapInPlace(a.DType, out.I)
	}
	dims := out.Dims[:len(out.Dims)-2]
	if len(a.Dims) > 1 {
		dims = append(dims, out.Dims[len(out.Dims)-2])
	}
	if len(b.Dims) > 1 {
		dims = append(dims, n)
	}
	return out.withDims(slices.Clone(dims)), nil
}

// evalGemm is α·op(A)·op(B) + β·C.
func evalGemm(c *call) ([]*Array, error) {
	a, b, bias := c.in[0], c.in[1], c.arg(2)
	if len(a.Dims) != 2 || len(b.Dims) != 2 {
		return nil, fmt.Errorf("dims %v and %v are not those of matrices", a.Dims, b.Dims)
	}
	ta, tb := c.Int("transA", 0) != 0, c.Int("transB", 0) != 0
	m, k, k2, n := a.Dims[0], a.Dims[1], b.Dims[0], b.Dims[1]
	if ta {
		m, k = k, m
	}
	if tb {
		k2, n = n, k2
	}
	if k != k2 || a.DType.IsFloat() != b.DType.IsFloat() {
		return nil, fmt.Errorf("%v%v and %v%v do not multiply", a.DType, a.Dims, b.DType, b.Dims)
	}
	prod, err := newArray(Float64, []int{m, n})
	if err != nil {
		return nil, err
	}
	mulAdd(prod.F, a.floats(), b.floats(), m, k, n, ta, tb)
	alpha, beta := c.float("alpha", 1), c.float("beta", 1)
	for i := range prod.F {
		prod.F[i] *= alpha
	}
	if bias != nil && beta != 0 {
		full, err := reals(Float64, bias.Dims, bias.floats()).expandTo(prod.Dims)
		if err != nil {
			return nil, err
		}
		for i, x := range full.F {
			prod.F[i] += beta * x
		}
	}
	return one(cast(prod, a.DType))
}

// evalMatMulInteger multiplies int8 or uint8 matrices less their zero points (a scalar, per row of A, or per column of B) into int32.
func evalMatMulInteger(c *call) ([]*Array, error) {
	var op [2]*Array
	for i := range op {
		zero := c.arg(i + 2)
		for _, a := range []*Array{c.in[i], zero} {
			if a != nil && !a.DType.IsInt() {
				return nil, fmt.Errorf("%v is no integer type", a.DType)
			}
		}
		var err error
		if op[i], err = cast(c.in[i], Int64); err != nil {
			return nil, err
		}
		if zero == nil {
			continue
		}
		if i == 0 && zero.Len() > 1 && len(zero.Dims) == 1 {
			zero = zero.withDims([]int{zero.Len(), 1})
		}
		if op[i], err = subtraction.apply(op[i], integers(Int64, zero.Dims, zero.I)); err != nil {
			return nil, err
		}
	}
	y, err := matMul(op[0], op[1])
	if err != nil {
		return nil, err
	}
	return one(cast(y, Int32))
}

// einTerm is an operand of an Einsum with one label per axis; ellipsis axes carry labels below zero.
type einTerm struct {
	labels []int
	a      *Array
}

// evalEinsum folds the operands from the left: labels that nothing else needs are summed, the rest is one batched matrix product per pair.
func evalEinsum(c *call) ([]*Array, error) {
	eq := strings.ReplaceAll(c.Text("equation", ""), " ", "")
	lhs, rhs, explicit := strings.Cut(eq, "->")
	specs := strings.Split(lhs, ",")
	if len(specs) != len(c.in) {
		return nil, fmt.Errorf("equation %q has %d operands, not %d", eq, len(specs), len(c.in))
	}
	size := map[int]int{}
	count := map[int]int{}
	dotRank := 0
	terms := make([]einTerm, len(specs))
	for i, spec := range specs {
		if c.in[i] == nil {
			return nil, errors.New("an operand is missing")
		}
		if err := needFloat(c.in[i]); err != nil && !c.in[i].DType.IsInt() {
			return nil, err
		}
		labels, dots, err := einLabels(spec, len(c.in[i].Dims))
		if err != nil {
			return nil, fmt.Errorf("equation %q: %w", eq, err)
		}
		dotRank = max(dotRank, dots)
		terms[i] = einTerm{labels, c.in[i]}
		for ax, l := range labels {
			d := c.in[i].Dims[ax]
			if old, ok := size[l]; ok && old != d && old != 1 && d != 1 {
				return nil, fmt.Errorf("equation %q: extents %d and %d of one label", eq, old, d)
			}
			if _, ok := size[l]; !ok || d != 1 {
				size[l] = d
			}
			count[l]++
		}
	}
	var want []int
	if explicit {
		n := 0
		if strings.Contains(rhs, "...") {
			n = dotRank
		}
		var err error
		if want, _, err = einLabels(rhs, len(strings.ReplaceAll(rhs, "...", ""))+n); err != nil {
			return nil, fmt.Errorf("equation %q: %w", eq, err)
		}
	} else {
		for l := -dotRank; l < 128; l++ {
			if count[l] == 1 || l < 0 {
				want = append(want, l)
			}
		}
	}
	for i, l := range want {
		if count[l] == 0 || slices.Contains(want[:i], l) {
			return nil, fmt.Errorf("equation %q: output label", eq)
		}
	}
	dt := c.in[0].DType
	acc := einTerm{nil, Floats(nil, []float64{1})}
	for i, t := range terms {
		needed := slices.Clone(want)
		for _, later := range terms[i+1:] {
			needed = append(needed, later.labels...)
		}
		var err error
		if t, err = t.diagonal(size); err != nil {
			return nil, err
		}
		if acc, err = acc.contract(t, needed, size); err != nil {
			return nil, err
		}
	}
	out, err := acc.arrange(want)
	if err != nil {
		return nil, err
	}
	return one(cast(out, dt))
}

// einLabels reads the labels of one operand; ellipsis axes get −dots … −1, aligned at the right.
func einLabels(spec string, rank int) (labels []int, dots int, err error) {
	before, after, has := strings.Cut(spec, "...")
	dots = rank - len(before) - len(after)
	if dots < 0 || dots > 0 && !has {
		return nil, 0, fmt.Errorf("term %q does not fit rank %d", spec, rank)
	}
	letters := func(s string) {
		for _, r := range s {
			if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
				err = fmt.Errorf("term %q has the character %q", spec, r)
			}
			labels = append(labels, int(r))
		}
	}
	letters(before)
	for l := -dots; l < 0; l++ {
		labels = append(labels, l)
	}
	letters(after)
	return labels, dots, err
}

// diagonal merges repeated labels and broadcasts axes of extent 1 to their label's extent.
func (t einTerm) diagonal(size map[int]int) (einTerm, error) {
	var labels, dims, steps []int
	for ax, st := range strides(t.a.Dims) {
		l := t.labels[ax]
		if t.a.Dims[ax] == 1 && size[l] != 1 {
			st = 0
		}
		if k := slices.Index(labels, l); k >= 0 {
			steps[k] += st
			continue
		}
		labels, dims, steps = append(labels, l), append(dims, size[l]), append(steps, st)
	}
	a, err := reals(Float64, t.a.Dims, t.a.floats()).view(dims, 0, steps)
	return einTerm{labels, a}, err
}

// contract multiplies two terms and sums over the labels that are not needed any more.
func (t einTerm) contract(u einTerm, needed []int, size map[int]int) (einTerm, error) {
	t, err := t.sumOut(func(l int) bool { return slices.Contains(needed, l) || slices.Contains(u.labels, l) })
	if err != nil {
		return t, err
	}
	u, err = u.sumOut(func(l int) bool { return slices.Contains(needed, l) || slices.Contains(t.labels, l) })
	if err != nil {
		return t, err
	}
	var batch, rows, inner, cols []int
	for _, l := range t.labels {
		switch shared := slices.Contains(u.labels, l); {
		case !shared:
			rows = append(rows, l)
		case slices.Contains(needed, l):
			batch = append(batch, l)
		default:
			inner = append(inner, l)
		}
	}
	for _, l := range u.labels {
		if !slices.Contains(t.labels, l) {
			cols = append(cols, l)
		}
	}
	extent := func(labels []int) int {
		n := 1
		for _, l := range labels {
			n *= size[l]
		}
		return n
	}
	a, err := t.arrange(slices.Concat(batch, rows, inner))
	if err != nil {
		return t, err
	}
	b, err := u.arrange(slices.Concat(batch, inner, cols))
	if err != nil {
		return t, err
	}
	nb, m, k, n := extent(batch), extent(rows), extent(inner), extent(cols)
	y, err := matMul(a.withDims([]int{nb, m, k}), b.withDims([]int{nb, k, n}))
	if err != nil {
		return t, err
	}
	labels := slices.Concat(batch, rows, cols)
	dims := make([]int, len(labels))
	for i, l := range labels {
		dims[i] = size[l]
	}
	return einTerm{labels, y.withDims(dims)}, nil
}

// sumOut sums over the labels that keep rejects.
func (t einTerm) sumOut(keep func(int) bool) (einTerm, error) {
	var labels, axes []int
	for ax, l := range t.labels {
		if keep(l) {
			labels = append(labels, l)
		} else {
			axes = append(axes, ax)
		}
	}
	if axes == nil {
		return t, nil
	}
	a, err := reducer{f: sum[float64]}.apply(t.a, axes, false)
	return einTerm{labels, a}, err
}

// arrange transposes to an order of the labels.
func (t einTerm) arrange(order []int) (*Array, error) {
	perm := make([]int, len(order))
	for i, l := range order {
		if perm[i] = slices.Index(t.labels, l); perm[i] < 0 {
			return nil, fmt.Errorf("label %q is in no operand", rune(l))
		}
	}
	return t.a.transpose(perm)
}

// evalDet is the determinant by elimination with partial pivoting.
func evalDet(c *call) ([]*Array, error) {
	a := c.in[0]
	r := len(a.Dims)
	if r < 2 || a.Dims[r-1] != a.Dims[r-2] || !a.DType.IsFloat() {
		return nil, fmt.Errorf("%v%v holds no square matrices", a.DType, a.Dims)
	}
	n := a.Dims[r-1]
	out, err := newArray(a.DType, a.Dims[:r-2])
	if err != nil {
		return nil, err
	}
	for i := range out.F {
		out.F[i] = determinant(slices.Clone(a.F[i*n*n:(i+1)*n*n]), n)
	}
	return []*Array{out}, nil
}

func determinant(m []float64, n int) float64 {
	d := 1.0
	for k := range n {
		p := k
		for i := k + 1; i < n; i++ {
			if math.Abs(m[i*n+k]) > math.Abs(m[p*n+k]) {
				p = i
			}
		}
		if m[p*n+k] == 0 {
			return 0
		}
		if p != k {
			d = -d
			for j := range n {
				m[p*n+j], m[k*n+j] = m[k*n+j], m[p*n+j]
			}
		}
		d *= m[k*n+k]
		for i := k + 1; i < n; i++ {
			f := m[i*n+k] / m[k*n+k]
			for j := k; j < n; j++ {
				m[i*n+j] -= f * m[k*n+j]
			}
		}
	}
	return d
}
