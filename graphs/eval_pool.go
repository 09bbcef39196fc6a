package graphs

import (
	"fmt"
	"math"
	"slices"
)

var poolKernels = kernelTable{
	"MaxPool":     {1, evalMaxPool},
	"AveragePool": {1, evalAveragePool},
	"LpPool":      {1, evalLpPool},
	"GlobalAveragePool": {1, globalPool(func(*call) func([]float64) float64 {
		return func(r []float64) float64 { return sum(r) / float64(len(r)) }
	})},
	"GlobalMaxPool": {1, globalPool(func(*call) func([]float64) float64 { return maxOf })},
	"GlobalLpPool": {1, globalPool(func(c *call) func([]float64) float64 {
		p := float64(c.Int("p", 2))
		return func(r []float64) float64 {
			return math.Pow(sumOf(r, func(x float64) float64 { return math.Pow(math.Abs(x), p) }), 1/p)
		}
	})},
	"MaxUnpool": {2, evalMaxUnpool},
}

func init() { register(poolKernels) }

func globalPool(f func(*call) func([]float64) float64) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		if err := needRank(c.in[0], 2); err != nil {
			return nil, err
		}
		return one(reducer{f: f(c)}.apply(c.in[0], ramp(len(c.in[0].Dims))[2:], true))
	}
}

// pool calls f for every map and output position: x is the map, taps the kernel's positions in it.
func pool(c *call, f func(x []float64, tap func(t int) int, taps int) (y float64, best int)) (y *Array, best []int, w *window, err error) {
	a := c.in[0]
	if err := needRank(a, 3); err != nil {
		return nil, nil, nil, err
	}
	kernel := c.intsAttr("kernel_shape")
	if w, err = newWindow(c, a.Dims[2:], kernel); err != nil {
		return nil, nil, nil, err
	}
	taps, err := w.taps()
	if err != nil {
		return nil, nil, nil, err
	}
	if y, err = newArray(Float64, slices.Concat(a.Dims[:2], w.out)); err != nil {
		return nil, nil, nil, err
	}
	x, in, p := a.floats(), product(w.in), product(w.out)
	best = make([]int, len(y.F))
	for m := range a.Dims[0] * a.Dims[1] {
		img := x[m*in:][:in]
		for o := range p {
			y.F[m*p+o], best[m*p+o] = f(img, func(t int) int { return taps[t][o] }, len(taps))
		}
	}
	y, err = cast(y, a.DType)
	return y, best, w, err
}

// evalMaxPool gives the maxima and their positions in the flattened operand, the first one among equals.
func evalMaxPool(c *call) ([]*Array, error) {
	y, best, w, err := pool(c, func(x []float64, tap func(int) int, n int) (float64, int) {
		m, at := math.Inf(-1), -1
		for t := range n {
			if i := tap(t); i >= 0 && (at < 0 || x[i] > m || math.IsNaN(x[i]) && !math.IsNaN(m)) {
				m, at = x[i], i
			}
		}
		return m, at
	})
	if err != nil {
		return nil, err
	}
	in, p := product(w.in), product(w.out)
	rowMajor, colMajor := strides(w.in), make([]int, len(w.in))
	for i, n := 0, 1; i < len(w.in); i++ {
		colMajor[i] = n
		n *= w.in[i]
	}
	idx := make([]int64, len(best))
	for i, at := range best {
		if at >= 0 && c.Int("storage_order", 0) == 1 {
			flat := at
			at = 0
			for ax, d := range w.in {
				at += flat / rowMajor[ax] % d * colMajor[ax]
			}
		}
		idx[i] = int64(i/p*in + at)
	}
	return []*Array{y, Ints(y.Dims, idx)}, nil
}

// evalAveragePool divides by the number of elements in the window, with count_include_pad also of pads.
func evalAveragePool(c *call) ([]*Array, error) {
	last := inPad + 1
	if c.Int("count_include_pad", 0) != 0 {
		last = inPad
	}
	y, _, _, err := pool(c, func(x []float64, tap func(int) int, n int) (float64, int) {
		s, cnt := 0.0, 0
		for t := range n {
			i := tap(t)
			if i >= last {
				cnt++
			}
			if i >= 0 {
				s += x[i]
			}
		}
		return s / float64(cnt), 0
	})
	return one(y, err)
}

// evalLpPool is (Σ |x|^p)^(1/p).
func evalLpPool(c *call) ([]*Array, error) {
	p := float64(c.Int("p", 2))
	y, _, _, err := pool(c, func(x []float64, tap func(int) int, n int) (float64, int) {
		s := 0.0
		for t := range n {
			if i := tap(t); i >= 0 {
				s += math.Pow(math.Abs(x[i]), p)
			}
		}
		return math.Pow(s, 1/p), 0
	})
	return one(y, err)
}

// evalMaxUnpool puts elements back to the positions that MaxPool reported.
func evalMaxUnpool(c *call) ([]*Array, error) {
	a := c.in[0]
	if err := needRank(a, 3); err != nil {
		return nil, err
	}
	w, err := windowAttrs(c, a.Dims[2:], c.intsAttr("kernel_shape"))
	if err != nil {
		return nil, err
	}
	dims := slices.Clone(a.Dims)
	for i, d := range w.in {
		dims[i+2] = (d-1)*w.stride[i] + w.kernel[i] - w.before[i] - w.after[i]
	}
	out, err := newArray(a.DType, dims)
	if err != nil {
		return nil, err
	}
	idx, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	if len(idx) != a.Len() {
		return nil, fmt.Errorf("%d indices for %d elements", len(idx), a.Len())
	}
	for _, i := range idx {
		if i < 0 || i >= out.Len() {
			return nil, fmt.Errorf("position %d is outside dims %v", i, dims)
		}
	}
	if out, err = out.scatter(idx, a, 1, "none"); err != nil {
		return nil, err
	}
	given, err := c.ints(2)
	if err != nil {
		return nil, err
	}
	if given == nil || slices.Equal(given, dims) {
		return []*Array{out}, nil
	}
	// A larger output_shape leaves zeros at the ends of the axes; the positions are those of the smaller one.
	if len(given) != len(dims) {
		return nil, fmt.Errorf("output_shape %v for dims %v", given, dims)
	}
	maps := make([][]int, len(dims))
	for i, d := range dims {
		if maps[i], err = padAxis("constant", d, 0, given[i]-d); err != nil {
			return nil, err
		}
	}
	zero, err := newArray(a.DType, []int{1})
	if err != nil {
		return nil, err
	}
	return one(out.remap(maps, zero))
}
