package graphs

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
)

var indexKernels = kernelTable{
	"Gather":          {2, evalGather},
	"GatherElements":  {2, evalGatherElements},
	"GatherND":        {2, evalGatherND},
	"Scatter":         {3, evalScatterElements},
	"ScatterElements": {3, evalScatterElements},
	"ScatterND":       {3, evalScatterND},
	"TensorScatter":   {2, evalTensorScatter},
	"OneHot":          {3, evalOneHot},
	"NonZero":         {1, evalNonZero},
	"TopK":            {2, evalTopK},
	"Compress":        {2, evalCompress},
	"Unique":          {1, evalUnique},
}

func init() { register(indexKernels) }

// index resolves a possibly negative index into an axis of extent d.
func index(i, d int) (int, error) {
	if i < -d || i >= d {
		return 0, fmt.Errorf("index %d is outside an axis of %d", i, d)
	}
	if i < 0 {
		i += d
	}
	return i, nil
}

func evalGather(c *call) ([]*Array, error) {
	a := c.in[0]
	axis, err := axisOf(c.intAttr("axis", 0), len(a.Dims))
	if err != nil {
		return nil, err
	}
	idx, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	return one(a.take(axis, idx, c.in[1].Dims))
}

// take gathers along an axis, which the dims of the indices replace.
func (a *Array) take(axis int, idx, idxDims []int) (*Array, error) {
	outer, d, inner := around(a.Dims, axis)
	out, err := newArray(a.DType, slices.Concat(a.Dims[:axis], idxDims, a.Dims[axis+1:]))
	if err != nil {
		return nil, err
	}
	for k, i := range idx {
		j, err := index(i, d)
		if err != nil {
			return nil, err
		}
		for p := range outer {
			to, from := (p*len(idx)+k)*inner, (p*d+j)*inner
			if a.DType.IsFloat() {
				copy(out.F[to:to+inner], a.F[from:])
			} else {
				copy(out.I[to:to+inner], a.I[from:])
			}
		}
	}
	return out, nil
}

// alongAxis returns, for every element of an index array, the flat position in data that has the same coordinates but the index along the axis.
func alongAxis(c *call, data, indices *Array) ([]int, error) {
	axis, err := axisOf(c.intAttr("axis", 0), len(data.Dims))
	if err != nil {
		return nil, err
	}
	if len(indices.Dims) != len(data.Dims) {
		return nil, fmt.Errorf("indices of dims %v into dims %v", indices.Dims, data.Dims)
	}
	for ax, d := range indices.Dims {
		if ax != axis && d > data.Dims[ax] {
			return nil, fmt.Errorf("indices of dims %v into dims %v", indices.Dims, data.Dims)
		}
	}
	raw, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	move := strides(data.Dims)
	step := move[axis]
	move[axis] = 0
	idx := make([]int, len(raw))
	bad := error(nil)
	newWalk(indices.Dims, move).each(func(o, n int, at, inc []int) {
		for k := range n {
			i, err := index(raw[o+k], data.Dims[axis])
			if err != nil {
				bad = err
				return
			}
			idx[o+k] = at[0] + k*inc[0] + i*step
		}
	})
	return idx, bad
}

func evalGatherElements(c *call) ([]*Array, error) {
	idx, err := alongAxis(c, c.in[0], c.in[1])
	if err != nil {
		return nil, err
	}
	return []*Array{c.in[0].pick(c.in[1].Dims, idx)}, nil
}

func evalScatterElements(c *call) ([]*Array, error) {
	data, updates := c.in[0], c.in[2]
	idx, err := alongAxis(c, data, c.in[1])
	if err != nil {
		return nil, err
	}
	if !slices.Equal(updates.Dims, c.in[1].Dims) {
		return nil, fmt.Errorf("updates of dims %v for indices of dims %v", updates.Dims, c.in[1].Dims)
	}
	return one(data.scatter(idx, updates, 1, c.Text("reduction", "none")))
}

// scatter combines runs of `run` updates into copies of the elements from idx on.
func (a *Array) scatter(idx []int, updates *Array, run int, reduction string) (*Array, error) {
	if a.DType.IsFloat() != updates.DType.IsFloat() {
		return nil, fmt.Errorf("updates of type %v into %v", updates.DType, a.DType)
	}
	op := arith{f: func(_, y float64) float64 { return y }, i: func(_, y int64) int64 { return y }}
	switch reduction {
	case "none":
	case "add":
		op = addition
	case "mul":
		op = multiplication
	case "max":
		op = maximum
	case "min":
		op = minimum
	default:
		return nil, fmt.Errorf("reduction %q is not known", reduction)
	}
	out := &Array{DType: a.DType, Dims: a.Dims, F: slices.Clone(a.F), I: slices.Clone(a.I)}
	for k, at := range idx {
		for r := range run {
			if a.DType.IsFloat() {
				out.F[at+r] = op.f(out.F[at+r], updates.F[k*run+r])
			} else {
				out.I[at+r] = op.i(out.I[at+r], updates.I[k*run+r])
			}
		}
	}
	if !a.DType.IsFloat() {
		wrapInPlace(a.DType, out.I)
	}
	return out, nil
}

// tuples resolves the index tuples of GatherND and ScatterND to flat positions of slices of data; run is the slices' size.
func tuples(c *call, data, indices *Array, batch int) (idx []int, run int, err error) {
	q, r := len(indices.Dims), len(data.Dims)
	if q == 0 || batch < 0 || batch >= q || batch > r {
		return nil, 0, fmt.Errorf("indices of dims %v into dims %v with %d batch axes", indices.Dims, data.Dims, batch)
	}
	k := indices.Dims[q-1]
	if batch+k > r || !slices.Equal(indices.Dims[:batch], data.Dims[:batch]) {
		return nil, 0, fmt.Errorf("indices of dims %v into dims %v with %d batch axes", indices.Dims, data.Dims, batch)
	}
	raw, err := c.ints(1)
	if err != nil {
		return nil, 0, err
	}
	n := product(indices.Dims[:q-1])
	perBatch := product(indices.Dims[batch : q-1])
	run = product(data.Dims[batch+k:])
	move := strides(data.Dims)
	idx = make([]int, n)
	for t := range idx {
		if batch > 0 {
			idx[t] = t / perBatch * move[batch-1]
		}
		for j := range k {
			i, err := index(raw[t*k+j], data.Dims[batch+j])
			if err != nil {
				return nil, 0, err
			}
			idx[t] += i * move[batch+j]
		}
	}
	return idx, run, nil
}

func evalGatherND(c *call) ([]*Array, error) {
	a, ix := c.in[0], c.in[1]
	batch := c.intAttr("batch_dims", 0)
	starts, run, err := tuples(c, a, ix, batch)
	if err != nil {
		return nil, err
	}
	q := len(ix.Dims)
	dims := slices.Concat(ix.Dims[:q-1], a.Dims[batch+ix.Dims[q-1]:])
	if _, err := elements(dims); err != nil {
		return nil, err
	}
	idx := make([]int, 0, len(starts)*run)
	for _, s := range starts {
		for r := range run {
			idx = append(idx, s+r)
		}
	}
	return []*Array{a.pick(dims, idx)}, nil
}

func evalScatterND(c *call) ([]*Array, error) {
	a, ix, updates := c.in[0], c.in[1], c.in[2]
	idx, run, err := tuples(c, a, ix, 0)
	if err != nil {
		return nil, err
	}
	q := len(ix.Dims)
	if want := slices.Concat(ix.Dims[:q-1], a.Dims[ix.Dims[q-1]:]); !slices.Equal(updates.Dims, want) {
		return nil, fmt.Errorf("updates of dims %v, not %v", updates.Dims, want)
	}
	return one(a.scatter(idx, updates, run, c.Text("reduction", "none")))
}

// evalTensorScatter writes a block of new entries into a cache along an axis, from a position per batch entry on.
func evalTensorScatter(c *call) ([]*Array, error) {
	cache, update := c.in[0], c.in[1]
	axis, err := axisOf(c.intAttr("axis", -2), len(cache.Dims))
	if err != nil {
		return nil, err
	}
	want := slices.Clone(cache.Dims)
	if len(update.Dims) == len(want) {
		want[axis] = update.Dims[axis]
	}
	if axis == 0 || !slices.Equal(update.Dims, want) {
		return nil, fmt.Errorf("update of dims %v into dims %v along axis %d", update.Dims, cache.Dims, axis)
	}
	write, err := c.ints(2)
	if err != nil {
		return nil, err
	}
	if c.arg(2) == nil {
		write = make([]int, cache.Dims[0])
	}
	if len(write) != cache.Dims[0] {
		return nil, fmt.Errorf("%d write indices for a batch of %d", len(write), cache.Dims[0])
	}
	mode := c.Text("mode", "linear")
	outer, d, inner := around(cache.Dims, axis)
	n := update.Dims[axis]
	idx := make([]int, 0, outer*n)
	for p := range outer {
		for s := range n {
			at := write[p/(outer/cache.Dims[0])] + s
			if mode == "circular" && d > 0 {
				at = ((at % d) + d) % d
			}
			if at < 0 || at >= d {
				return nil, fmt.Errorf("position %d is outside an axis of %d", at, d)
			}
			idx = append(idx, (p*d+at)*inner)
		}
	}
	return one(cache.scatter(idx, update, inner, "none"))
}

// evalOneHot leaves rows of indices that are out of range at the off value.
func evalOneHot(c *call) ([]*Array, error) {
	depthF, err := c.scalarFloat(1, 0)
	if err != nil {
		return nil, err
	}
	depth, values := int(depthF), c.in[2]
	if depth < 0 || values.Len() != 2 {
		return nil, fmt.Errorf("depth %d, values of dims %v", depth, values.Dims)
	}
	dims := c.in[0].Dims
	axis, err := axisOf(c.intAttr("axis", -1), len(dims)+1)
	if err != nil {
		return nil, err
	}
	outDims := slices.Insert(slices.Clone(dims), axis, depth)
	if _, err := elements(outDims); err != nil {
		return nil, err
	}
	outer, inner := product(dims[:axis]), product(dims[axis:])
	sel := make([]int, product(outDims))
	for i, x := range c.in[0].floats() {
		at := int(x)
		if at < 0 {
			at += depth
		}
		if p, q := i/inner, i%inner; at >= 0 && at < depth && p < outer {
			sel[(p*depth+at)*inner+q] = 1
		}
	}
	return []*Array{values.pick(outDims, sel)}, nil
}

func evalNonZero(c *call) ([]*Array, error) {
	a := c.in[0]
	var at []int
	for i, x := range a.floats() {
		if x != 0 {
			at = append(at, i)
		}
	}
	r, n := len(a.Dims), len(at)
	out := make([]int64, r*n)
	for ax, st := range strides(a.Dims) {
		for k, i := range at {
			out[ax*n+k] = int64(i / st % a.Dims[ax])
		}
	}
	return []*Array{Ints([]int{r, n}, out)}, nil
}

// evalTopK sorts stably, so that of equal elements the lower index comes first; NaN counts as the largest.
func evalTopK(c *call) ([]*Array, error) {
	a := c.in[0]
	axis, err := axisOf(c.intAttr("axis", -1), len(a.Dims))
	if err != nil {
		return nil, err
	}
	k, err := c.scalarInt(1, 0)
	if err != nil {
		return nil, err
	}
	outer, d, inner := around(a.Dims, axis)
	if k < 0 || k > d {
		return nil, fmt.Errorf("k = %d of an axis of %d", k, d)
	}
	less := func(i, j int) bool { return a.I[i] < a.I[j] }
	switch {
	case a.DType.IsFloat():
		less = func(i, j int) bool { return a.F[i] < a.F[j] || math.IsNaN(a.F[j]) && !math.IsNaN(a.F[i]) }
	case a.DType == Uint64:
		less = func(i, j int) bool { return uint64(a.I[i]) < uint64(a.I[j]) }
	}
	largest := c.Int("largest", 1) != 0
	dims := slices.Clone(a.Dims)
	dims[axis] = k
	idx, pos := make([]int, product(dims)), make([]int64, product(dims))
	row := make([]int, d)
	for p := range outer {
		for q := range inner {
			for t := range row {
				row[t] = (p*d+t)*inner + q
			}
			sort.SliceStable(row, func(i, j int) bool {
				if largest {
					return less(row[j], row[i])
				}
				return less(row[i], row[j])
			})
			for t, i := range row[:k] {
				o := (p*k+t)*inner + q
				idx[o], pos[o] = i, int64(i/inner%d)
			}
		}
	}
	return []*Array{a.pick(dims, idx), Ints(dims, pos)}, nil
}

func evalCompress(c *call) ([]*Array, error) {
	a := c.in[0]
	if _, ok := c.Attrs["axis"]; !ok {
		a = a.withDims([]int{a.Len()})
	}
	axis, err := axisOf(c.intAttr("axis", 0), len(a.Dims))
	if err != nil {
		return nil, err
	}
	cond, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	var keep []int
	for i, t := range cond {
		if t != 0 {
			keep = append(keep, i)
		}
	}
	return one(a.take(axis, keep, []int{len(keep)}))
}

// evalUnique compares slices along the axis, or elements without one, in lexicographic order.
func evalUnique(c *call) ([]*Array, error) {
	a := c.in[0]
	if _, ok := c.Attrs["axis"]; !ok {
		a = a.withDims([]int{a.Len()})
	}
	axis, err := axisOf(c.intAttr("axis", 0), len(a.Dims))
	if err != nil {
		return nil, err
	}
	perm := slices.Insert(slices.Delete(ramp(len(a.Dims)), axis, axis+1), 0, axis)
	t, err := a.transpose(perm)
	if err != nil {
		return nil, err
	}
	d := a.Dims[axis]
	if d == 0 {
		return nil, errors.New("the axis is empty")
	}
	run := a.Len() / d
	order := func(i, j int) int {
		for r := range run {
			var s int
			if a.DType.IsFloat() {
				s = cmp.Compare(t.F[i*run+r], t.F[j*run+r])
			} else {
				s = cmp.Compare(t.I[i*run+r], t.I[j*run+r])
			}
			if s != 0 {
				return s
			}
		}
		return 0
	}
	sorted := ramp(d)
	slices.SortStableFunc(sorted, order)
	var first []int // first occurrence of each distinct slice
	group := make([]int, d)
	for k, i := range sorted {
		if k == 0 || order(sorted[k-1], i) != 0 {
			first = append(first, i)
		}
		group[i] = len(first) - 1
	}
	rank := ramp(len(first))
	if c.Int("sorted", 1) == 0 {
		slices.SortFunc(rank, func(x, y int) int { return cmp.Compare(first[x], first[y]) })
	}
	place := make([]int, len(rank))
	for k, g := range rank {
		place[g] = k
	}
	inverse, counts := make([]int64, d), make([]int64, len(first))
	for i, g := range group {
		inverse[i] = int64(place[g])
		counts[place[g]]++
	}
	idx := pick(first, rank)
	y, err := a.take(axis, idx, []int{len(idx)})
	if err != nil {
		return nil, err
	}
	n := []int{len(idx)}
	return []*Array{y, Ints(n, toInt64s(idx)), Ints([]int{d}, inverse), Ints(n, counts)}, nil
}
