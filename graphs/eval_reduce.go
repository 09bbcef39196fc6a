package graphs

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// reducer maps the elements along the reduced axes to one. Without i, integers are reduced as floats and truncated.
type reducer struct {
	f func(row []float64) float64
	i func(row []int64) (int64, error)
}

var reduceKernels = kernelTable{
	"ReduceSum":       {1, reduce(reducer{f: sum[float64], i: func(r []int64) (int64, error) { return sum(r), nil }})},
	"ReduceMean":      {1, reduce(reducer{f: func(r []float64) float64 { return sum(r) / float64(len(r)) }})},
	"ReduceProd":      {1, reduce(reducer{f: prod[float64], i: func(r []int64) (int64, error) { return prod(r), nil }})},
	"ReduceMax":       {1, reduce(reducer{f: maxOf, i: extreme(func(x, y int64) int64 { return max(x, y) })})},
	"ReduceMin":       {1, reduce(reducer{f: minOf, i: extreme(func(x, y int64) int64 { return min(x, y) })})},
	"ReduceL1":        {1, reduce(reducer{f: func(r []float64) float64 { return sumOf(r, math.Abs) }})},
	"ReduceL2":        {1, reduce(reducer{f: func(r []float64) float64 { return math.Sqrt(sumOf(r, square)) }})},
	"ReduceSumSquare": {1, reduce(reducer{f: func(r []float64) float64 { return sumOf(r, square) }, i: func(r []int64) (int64, error) { return sumOf(r, func(x int64) int64 { return x * x }), nil }})},
	"ReduceLogSum":    {1, reduce(reducer{f: func(r []float64) float64 { return math.Log(sum(r)) }})},
	"ReduceLogSumExp": {1, reduce(reducer{f: logSumExp})},
	"ArgMax":          {1, argExtreme(func(x, best float64) bool { return x > best || math.IsNaN(x) && !math.IsNaN(best) })},
	"ArgMin":          {1, argExtreme(func(x, best float64) bool { return x < best || math.IsNaN(x) && !math.IsNaN(best) })},
	"CumSum":          {2, cumulate(0, func(x, y float64) float64 { return x + y }, func(x, y int64) int64 { return x + y })},
	"CumProd":         {2, cumulate(1, func(x, y float64) float64 { return x * y }, func(x, y int64) int64 { return x * y })},
}

func init() { register(reduceKernels) }

func sum[T float64 | int64](r []T) T { return sumOf(r, func(x T) T { return x }) }

func sumOf[T float64 | int64](r []T, f func(T) T) T {
	var s T
	for _, x := range r {
		s += f(x)
	}
	return s
}

func square(x float64) float64 { return x * x }

func prod[T float64 | int64](r []T) T {
	p := T(1)
	for _, x := range r {
		p *= x
	}
	return p
}

// maxOf is −∞ for no elements and NaN when one is.
func maxOf(r []float64) float64 {
	m := math.Inf(-1)
	for _, x := range r {
		m = max(m, x)
	}
	return m
}

// minOf is +∞ for no elements and NaN when one is.
func minOf(r []float64) float64 {
	m := math.Inf(1)
	for _, x := range r {
		m = min(m, x)
	}
	return m
}

func extreme(better func(x, y int64) int64) func([]int64) (int64, error) {
	return func(r []int64) (int64, error) {
		if len(r) == 0 {
			return 0, errors.New("no integer is the extreme of an empty set")
		}
		m := r[0]
		for _, x := range r[1:] {
			m = better(m, x)
		}
		return m, nil
	}
}

// logSumExp shifts by the maximum; rows of −∞ (or none) give −∞, rows with +∞ give +∞.
func logSumExp(r []float64) float64 {
	m := maxOf(r)
	if math.IsInf(m, 0) {
		return m
	}
	return m + math.Log(sumOf(r, func(x float64) float64 { return math.Exp(x - m) }))
}

func reduce(op reducer) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		a := c.in[0]
		axes, err := c.ints(1)
		if err != nil {
			return nil, err
		}
		if len(axes) == 0 && c.Int("noop_with_empty_axes", 0) == 0 {
			axes = ramp(len(a.Dims))
		}
		return one(op.apply(a, axes, c.Int("keepdims", 1) != 0))
	}
}

func (op reducer) apply(a *Array, axes []int, keep bool) (*Array, error) {
	rows, dims, err := a.rows(axes, keep)
	if err != nil {
		return nil, err
	}
	out, err := newArray(a.DType, dims)
	if err != nil {
		return nil, err
	}
	n := 0
	if len(rows.Dims) > 0 {
		n = rows.Dims[len(rows.Dims)-1]
	}
	switch {
	case a.DType.IsFloat():
		for i := range out.F {
			out.F[i] = op.f(rows.F[i*n : (i+1)*n])
		}
	case op.i != nil:
		for i := range out.I {
			if out.I[i], err = op.i(rows.I[i*n : (i+1)*n]); err != nil {
				return nil, err
			}
		}
		wrapInPlace(out.DType, out.I)
	default:
		f := rows.floats()
		trunc := truncate(a.DType)
		for i := range out.I {
			out.I[i] = trunc(op.f(f[i*n : (i+1)*n]))
		}
		wrapInPlace(out.DType, out.I)
	}
	return out, nil
}

// rows brings the reduced axes to the end and merges them: a value of dims [kept, reduced] and the dims of the reduction's result.
func (a *Array) rows(axes []int, keep bool) (*Array, []int, error) {
	axes, err := axesOf(axes, len(a.Dims))
	if err != nil {
		return nil, nil, err
	}
	var perm, last, dims []int
	m, n := 1, 1
	for ax, d := range a.Dims {
		if slices.Contains(axes, ax) {
			last = append(last, ax)
			n *= d
			if keep {
				dims = append(dims, 1)
			}
			continue
		}
		perm = append(perm, ax)
		dims = append(dims, d)
		m *= d
	}
	t, err := a.transpose(append(perm, last...))
	if err != nil {
		return nil, nil, err
	}
	return t.withDims([]int{m, n}), dims, nil
}

func argExtreme(better func(x, best float64) bool) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		a := c.in[0]
		axis, err := axisOf(c.intAttr("axis", 0), len(a.Dims))
		if err != nil {
			return nil, err
		}
		if a.Dims[axis] == 0 {
			return nil, fmt.Errorf("axis %d is empty", axis)
		}
		rows, dims, err := a.rows([]int{axis}, c.Int("keepdims", 1) != 0)
		if err != nil {
			return nil, err
		}
		last := c.Int("select_last_index", 0) != 0
		f, n := rows.floats(), rows.Dims[1]
		idx := make([]int64, rows.Dims[0])
		for i := range idx {
			row := f[i*n : (i+1)*n]
			best := 0
			for k, x := range row {
				if better(x, row[best]) || last && x == row[best] {
					best = k
				}
			}
			idx[i] = int64(best)
		}
		return []*Array{integers(Int64, dims, idx)}, nil
	}
}

func cumulate(start float64, f func(x, y float64) float64, i func(x, y int64) int64) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		a := c.in[0]
		axis, err := c.scalarInt(1, 0)
		if err == nil {
			axis, err = axisOf(axis, len(a.Dims))
		}
		if err != nil {
			return nil, err
		}
		out, err := newArray(a.DType, a.Dims)
		if err != nil {
			return nil, err
		}
		exclusive, reverse := c.Int("exclusive", 0) != 0, c.Int("reverse", 0) != 0
		outer, n, inner := around(a.Dims, axis)
		for p := range outer {
			for q := range inner {
				base, step := p*n*inner+q, inner
				if reverse {
					base, step = base+(n-1)*inner, -inner
				}
				if a.DType.IsFloat() {
					scan(out.F, a.F, base, step, n, exclusive, start, f)
				} else {
					scan(out.I, a.I, base, step, n, exclusive, int64(start), i)
				}
			}
		}
		if !a.DType.IsFloat() {
			wrapInPlace(a.DType, out.I)
		}
		return []*Array{out}, nil
	}
}

func scan[T any](out, in []T, at, step, n int, exclusive bool, acc T, f func(x, y T) T) {
	for range n {
		next := f(acc, in[at])
		if exclusive {
			out[at] = acc
		} else {
			out[at] = next
		}
		acc = next
		at += step
	}
}
