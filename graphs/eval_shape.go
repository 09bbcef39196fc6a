package graphs

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

var shapeKernels = kernelTable{
	"Constant":        {0, evalConstant},
	"Shape":           {1, evalShape},
	"Size":            {1, func(c *call) ([]*Array, error) { return []*Array{Ints(nil, []int64{int64(c.in[0].Len())})}, nil }},
	"Reshape":         {2, evalReshape},
	"Flatten":         {1, evalFlatten},
	"Squeeze":         {1, evalSqueeze},
	"Unsqueeze":       {2, evalUnsqueeze},
	"Transpose":       {1, evalTranspose},
	"Expand":          {2, evalExpand},
	"Concat":          {1, func(c *call) ([]*Array, error) { return one(concat(c.intAttr("axis", 0), c.in...)) }},
	"Split":           {1, evalSplit},
	"Slice":           {3, evalSlice},
	"Pad":             {2, evalPad},
	"CenterCropPad":   {2, evalCenterCropPad},
	"Tile":            {2, evalTile},
	"DepthToSpace":    {1, evalDepthToSpace},
	"SpaceToDepth":    {1, evalSpaceToDepth},
	"Trilu":           {1, evalTrilu},
	"EyeLike":         {1, evalEyeLike},
	"Range":           {3, evalRange},
	"ConstantOfShape": {1, evalConstantOfShape},
	"ReverseSequence": {2, evalReverseSequence},
}

func init() { register(shapeKernels) }

func evalConstant(c *call) ([]*Array, error) {
	for name, v := range c.Attrs {
		switch v := v.(type) {
		case *Tensor:
			return one(ArrayOf(v))
		case int64:
			return []*Array{Ints(nil, []int64{v})}, nil
		case []int64:
			return []*Array{Ints([]int{len(v)}, v)}, nil
		case float32:
			return []*Array{reals(Float32, nil, []float64{float64(v)})}, nil
		case []float32:
			return []*Array{reals(Float32, []int{len(v)}, convert(v, func(x float32) float64 { return float64(x) }))}, nil
		default:
			return nil, fmt.Errorf("no value of attribute %q", name)
		}
	}
	return nil, errors.New("no value")
}

func evalShape(c *call) ([]*Array, error) {
	dims := c.in[0].Dims
	r := len(dims)
	clamp := func(i int) int {
		if i < 0 {
			i += r
		}
		return min(max(i, 0), r)
	}
	start, end := clamp(c.intAttr("start", 0)), clamp(c.intAttr("end", r))
	dims = dims[start:max(start, end)]
	return []*Array{Ints([]int{len(dims)}, toInt64s(dims))}, nil
}

func evalReshape(c *call) ([]*Array, error) {
	a := c.in[0]
	shape, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	dims := slices.Clone(shape)
	infer := -1
	for i, d := range dims {
		switch {
		case d == 0 && c.Int("allowzero", 0) == 0:
			if i >= len(a.Dims) {
				return nil, fmt.Errorf("shape %v copies axis %d of dims %v", shape, i, a.Dims)
			}
			dims[i] = a.Dims[i]
		case d == -1 && infer < 0:
			infer = i
		case d < 0:
			return nil, fmt.Errorf("shape %v has a negative extent", shape)
		}
	}
	if infer >= 0 {
		dims[infer] = 1
		n, err := elements(dims)
		if err != nil {
			return nil, err
		}
		if n == 0 || a.Len()%n != 0 {
			return nil, fmt.Errorf("dims %v do not reshape to %v", a.Dims, shape)
		}
		dims[infer] = a.Len() / n
	}
	if n, err := elements(dims); err != nil || n != a.Len() {
		return nil, fmt.Errorf("dims %v do not reshape to %v", a.Dims, shape)
	}
	return []*Array{a.withDims(dims)}, nil
}

func evalFlatten(c *call) ([]*Array, error) {
	a := c.in[0]
	axis := c.intAttr("axis", 1)
	if axis < 0 {
		axis += len(a.Dims)
	}
	if axis < 0 || axis > len(a.Dims) {
		return nil, fmt.Errorf("axis %d is outside rank %d", axis, len(a.Dims))
	}
	return []*Array{a.withDims([]int{product(a.Dims[:axis]), product(a.Dims[axis:])})}, nil
}

func evalSqueeze(c *call) ([]*Array, error) {
	a := c.in[0]
	axes, err := c.ints(1)
	if err == nil {
		axes, err = axesOf(axes, len(a.Dims))
	}
	if err != nil {
		return nil, err
	}
	all := c.arg(1) == nil
	var dims []int
	for i, d := range a.Dims {
		switch {
		case !all && !slices.Contains(axes, i), all && d != 1:
			dims = append(dims, d)
		case d != 1:
			return nil, fmt.Errorf("axis %d of dims %v is not 1", i, a.Dims)
		}
	}
	return []*Array{a.withDims(dims)}, nil
}

func evalUnsqueeze(c *call) ([]*Array, error) {
	a := c.in[0]
	axes, err := c.ints(1)
	if err == nil {
		axes, err = axesOf(axes, len(a.Dims)+len(axes))
	}
	if err != nil {
		return nil, err
	}
	var dims []int
	next := a.Dims
	for i := range len(a.Dims) + len(axes) {
		if slices.Contains(axes, i) {
			dims = append(dims, 1)
			continue
		}
		dims = append(dims, next[0])
		next = next[1:]
	}
	return []*Array{a.withDims(dims)}, nil
}

func evalTranspose(c *call) ([]*Array, error) {
	perm := c.intsAttr("perm")
	if perm == nil {
		perm = ramp(len(c.in[0].Dims))
		slices.Reverse(perm)
	}
	return one(c.in[0].transpose(perm))
}

func (a *Array) transpose(perm []int) (*Array, error) {
	if _, err := axesOf(perm, len(a.Dims)); err != nil || len(perm) != len(a.Dims) {
		return nil, fmt.Errorf("%v does not permute the axes of dims %v", perm, a.Dims)
	}
	if slices.IsSorted(perm) {
		return a, nil
	}
	return a.view(pick(a.Dims, perm), 0, pick(strides(a.Dims), perm))
}

func evalExpand(c *call) ([]*Array, error) {
	shape, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	dims, err := broadcast(c.in[0].Dims, shape)
	if err != nil {
		return nil, err
	}
	return one(c.in[0].expandTo(dims))
}

// concat joins values of equal rank and type along an axis.
func concat(axis int, as ...*Array) (*Array, error) {
	if slices.Contains(as, nil) || len(as) == 0 {
		return nil, errors.New("an operand is missing")
	}
	axis, err := axisOf(axis, len(as[0].Dims))
	if err != nil {
		return nil, err
	}
	dims := slices.Clone(as[0].Dims)
	dims[axis] = 0
	for _, a := range as {
		if len(a.Dims) != len(dims) || a.DType != as[0].DType {
			return nil, fmt.Errorf("%v%v and %v%v do not join", as[0].DType, as[0].Dims, a.DType, a.Dims)
		}
		for i, d := range a.Dims {
			if i != axis && d != dims[i] {
				return nil, fmt.Errorf("dims %v and %v do not join along axis %d", as[0].Dims, a.Dims, axis)
			}
		}
		dims[axis] += a.Dims[axis]
	}
	out, err := newArray(as[0].DType, dims)
	if err != nil {
		return nil, err
	}
	outer, n, inner := around(dims, axis)
	at := 0
	for _, a := range as {
		run := a.Dims[axis] * inner
		for p := range outer {
			to := p*n*inner + at
			if a.DType.IsFloat() {
				copy(out.F[to:], a.F[p*run:(p+1)*run])
			} else {
				copy(out.I[to:], a.I[p*run:(p+1)*run])
			}
		}
		at += run
	}
	return out, nil
}

// narrow returns n elements of an axis from start on, every step-th.
func (a *Array) narrow(axis, start, n, step int) (*Array, error) {
	dims := slices.Clone(a.Dims)
	dims[axis] = n
	steps := strides(a.Dims)
	offset := start * steps[axis]
	steps[axis] *= step
	return a.view(dims, offset, steps)
}

func evalSplit(c *call) ([]*Array, error) {
	a := c.in[0]
	axis, err := axisOf(c.intAttr("axis", 0), len(a.Dims))
	if err != nil {
		return nil, err
	}
	sizes, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	if c.arg(1) == nil {
		n := c.intAttr("num_outputs", len(c.Out))
		if n <= 0 || n > max(len(c.Out), a.Dims[axis]) {
			return nil, fmt.Errorf("%d outputs of dims %v", n, a.Dims)
		}
		chunk := (a.Dims[axis] + n - 1) / n
		sizes = make([]int, n)
		for i := range sizes {
			sizes[i] = max(0, min(chunk, a.Dims[axis]-i*chunk))
		}
	}
	var outs []*Array
	start := 0
	for _, n := range sizes {
		if n < 0 || start+n > a.Dims[axis] {
			return nil, fmt.Errorf("sizes %v do not fit axis %d of dims %v", sizes, axis, a.Dims)
		}
		part, err := a.narrow(axis, start, n, 1)
		if err != nil {
			return nil, err
		}
		outs = append(outs, part)
		start += n
	}
	if start != a.Dims[axis] {
		return nil, fmt.Errorf("sizes %v do not cover axis %d of dims %v", sizes, axis, a.Dims)
	}
	return outs, nil
}

func evalSlice(c *call) ([]*Array, error) {
	a := c.in[0]
	var arg [4][]int
	for i := range arg {
		var err error
		if arg[i], err = c.ints(i + 1); err != nil {
			return nil, err
		}
	}
	starts, ends, axes, steps := arg[0], arg[1], arg[2], arg[3]
	if c.arg(3) == nil {
		axes = ramp(len(starts))
	}
	if c.arg(4) == nil {
		steps = slices.Repeat([]int{1}, len(starts))
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || len(steps) != len(starts) {
		return nil, fmt.Errorf("%d starts, %d ends, %d axes, %d steps", len(starts), len(ends), len(axes), len(steps))
	}
	axes, err := axesOf(axes, len(a.Dims))
	if err != nil {
		return nil, err
	}
	dims, move := slices.Clone(a.Dims), strides(a.Dims)
	offset := 0
	for i, ax := range axes {
		start, n, err := sliceRange(starts[i], ends[i], steps[i], a.Dims[ax])
		if err != nil {
			return nil, err
		}
		dims[ax] = n
		if n > 0 {
			offset += start * move[ax]
		}
		if n > 1 {
			move[ax] *= steps[i]
		}
	}
	return one(a.view(dims, offset, move))
}

// sliceRange resolves start:end:step on an axis of extent d to the first index and the number of elements.
func sliceRange(start, end, step, d int) (first, n int, err error) {
	if step == 0 {
		return 0, 0, errors.New("step 0")
	}
	if start < 0 {
		start += d
	}
	if end < 0 {
		end += d
	}
	if step > 0 {
		start, end = min(max(start, 0), d), min(max(end, 0), d)
		if end <= start {
			return start, 0, nil
		}
		return start, (end-start-1)/step + 1, nil
	}
	start, end = min(max(start, -1), d-1), min(max(end, -1), d-1)
	if end >= start {
		return 0, 0, nil
	}
	if step == math.MinInt {
		return start, 1, nil
	}
	return start, (start-end-1)/-step + 1, nil
}

// evalPad lays out each axis on its own: every output position names the input position it copies, −1 for the constant.
func evalPad(c *call) ([]*Array, error) {
	a := c.in[0]
	pads, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	axes, err := c.ints(3)
	if err != nil {
		return nil, err
	}
	if c.arg(3) == nil {
		axes = ramp(len(a.Dims))
	}
	if axes, err = axesOf(axes, len(a.Dims)); err != nil {
		return nil, err
	}
	if len(pads) != 2*len(axes) {
		return nil, fmt.Errorf("%d pads for %d axes", len(pads), len(axes))
	}
	mode := c.Text("mode", "constant")
	maps := make([][]int, len(a.Dims))
	for i, d := range a.Dims {
		maps[i] = ramp(d)
	}
	for i, ax := range axes {
		if maps[ax], err = padAxis(mode, a.Dims[ax], pads[i], pads[i+len(axes)]); err != nil {
			return nil, err
		}
	}
	fill, err := newArray(a.DType, []int{1})
	if err != nil {
		return nil, err
	}
	if v := c.arg(2); v != nil {
		if v.Len() != 1 || v.DType.IsFloat() != a.DType.IsFloat() {
			return nil, fmt.Errorf("value %v%v does not fit %v", v.DType, v.Dims, a.DType)
		}
		fill = v
	}
	return one(a.remap(maps, fill))
}

func padAxis(mode string, d, before, after int) ([]int, error) {
	n := d + before + after
	if n < 0 || n > maxElements {
		return nil, fmt.Errorf("pads %d and %d of an axis of %d", before, after, d)
	}
	m := make([]int, n)
	for i := range m {
		j := i - before
		if j >= 0 && j < d {
			m[i] = j
			continue
		}
		if d == 0 && mode != "constant" {
			return nil, fmt.Errorf("mode %q of an empty axis", mode)
		}
		switch mode {
		case "constant":
			m[i] = -1
		case "edge":
			m[i] = min(max(j, 0), d-1)
		case "wrap":
			m[i] = ((j % d) + d) % d
		case "reflect":
			if period := 2 * (d - 1); period > 0 {
				j = ((j % period) + period) % period
				m[i] = min(j, period-j)
			}
		default:
			return nil, fmt.Errorf("mode %q is not known", mode)
		}
	}
	return m, nil
}

// remap builds a value from per-axis lists of input positions; −1 takes fill's element.
func (a *Array) remap(maps [][]int, fill *Array) (*Array, error) {
	dims := make([]int, len(maps))
	for i, m := range maps {
		dims[i] = len(m)
	}
	n, err := elements(dims)
	if err != nil {
		return nil, err
	}
	idx := make([]int, 1, max(n, 1))
	st := strides(a.Dims)
	for ax, m := range maps {
		next := make([]int, 0, len(idx)*len(m))
		for _, base := range idx {
			for _, j := range m {
				if j < 0 || base < 0 {
					next = append(next, -1)
				} else {
					next = append(next, base+j*st[ax])
				}
			}
		}
		idx = next
	}
	out := &Array{DType: a.DType, Dims: dims}
	if a.DType.IsFloat() {
		out.F = pickOr(a.F, idx, fill.F[0])
	} else {
		out.I = pickOr(a.I, idx, fill.I[0])
	}
	return out, nil
}

func pickOr[T any](src []T, idx []int, fill T) []T {
	v := make([]T, len(idx))
	for i, j := range idx {
		if j < 0 {
			v[i] = fill
		} else {
			v[i] = src[j]
		}
	}
	return v
}

func evalCenterCropPad(c *call) ([]*Array, error) {
	a := c.in[0]
	shape, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	axes := c.intsAttr("axes")
	if axes == nil {
		axes = ramp(len(a.Dims))
	}
	if axes, err = axesOf(axes, len(a.Dims)); err != nil {
		return nil, err
	}
	if len(shape) != len(axes) {
		return nil, fmt.Errorf("%d extents for %d axes", len(shape), len(axes))
	}
	maps := make([][]int, len(a.Dims))
	for i, d := range a.Dims {
		maps[i] = ramp(d)
	}
	for i, ax := range axes {
		d := a.Dims[ax]
		before := (shape[i] - d) / 2
		if shape[i] < d {
			before = -((d - shape[i]) / 2)
		}
		if maps[ax], err = padAxis("constant", d, before, shape[i]-d-before); err != nil {
			return nil, err
		}
	}
	fill, err := newArray(a.DType, []int{1})
	if err != nil {
		return nil, err
	}
	return one(a.remap(maps, fill))
}

func evalTile(c *call) ([]*Array, error) {
	a := c.in[0]
	reps, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	if len(reps) != len(a.Dims) {
		return nil, fmt.Errorf("%d repeats for rank %d", len(reps), len(a.Dims))
	}
	var dims, steps, flat []int
	for i, st := range strides(a.Dims) {
		if reps[i] < 0 {
			return nil, fmt.Errorf("repeats %v", reps)
		}
		dims = append(dims, reps[i], a.Dims[i])
		steps = append(steps, 0, st)
		flat = append(flat, reps[i]*a.Dims[i])
	}
	out, err := a.view(dims, 0, steps)
	if err != nil {
		return nil, err
	}
	return []*Array{out.withDims(flat)}, nil
}

// shuffle is Reshape, Transpose, Reshape.
func (a *Array) shuffle(split, perm, dims []int) ([]*Array, error) {
	t, err := a.withDims(split).transpose(perm)
	if err != nil {
		return nil, err
	}
	return []*Array{t.withDims(dims)}, nil
}

func evalDepthToSpace(c *call) ([]*Array, error) {
	a, b := c.in[0], c.intAttr("blocksize", 0)
	if len(a.Dims) != 4 || b <= 0 || b > a.Dims[1] || a.Dims[1]%(b*b) != 0 {
		return nil, fmt.Errorf("dims %v with block size %d", a.Dims, b)
	}
	n, ch, h, w := a.Dims[0], a.Dims[1]/(b*b), a.Dims[2], a.Dims[3]
	dims := []int{n, ch, h * b, w * b}
	switch mode := c.Text("mode", "DCR"); mode {
	case "DCR":
		return a.shuffle([]int{n, b, b, ch, h, w}, []int{0, 3, 4, 1, 5, 2}, dims)
	case "CRD":
		return a.shuffle([]int{n, ch, b, b, h, w}, []int{0, 1, 4, 2, 5, 3}, dims)
	default:
		return nil, fmt.Errorf("mode %q is not known", mode)
	}
}

func evalSpaceToDepth(c *call) ([]*Array, error) {
	a, b := c.in[0], c.intAttr("blocksize", 0)
	if len(a.Dims) != 4 || b <= 0 || b > maxElements || a.Dims[2]%b != 0 || a.Dims[3]%b != 0 {
		return nil, fmt.Errorf("dims %v with block size %d", a.Dims, b)
	}
	n, ch, h, w := a.Dims[0], a.Dims[1], a.Dims[2]/b, a.Dims[3]/b
	return a.shuffle([]int{n, ch, h, b, w, b}, []int{0, 3, 5, 1, 2, 4}, []int{n, ch * b * b, h, w})
}

func evalTrilu(c *call) ([]*Array, error) {
	a := c.in[0]
	if err := needRank(a, 2); err != nil {
		return nil, err
	}
	k, err := c.scalarInt(1, 0)
	if err != nil {
		return nil, err
	}
	out, err := newArray(a.DType, a.Dims)
	if err != nil {
		return nil, err
	}
	upper := c.Int("upper", 1) != 0
	rows, cols := a.Dims[len(a.Dims)-2], a.Dims[len(a.Dims)-1]
	for i := range out.Len() {
		r, col := i/cols%rows, i%cols
		if upper && col-r < k || !upper && col-r > k {
			continue
		}
		if a.DType.IsFloat() {
			out.F[i] = a.F[i]
		} else {
			out.I[i] = a.I[i]
		}
	}
	return []*Array{out}, nil
}

func evalEyeLike(c *call) ([]*Array, error) {
	a := c.in[0]
	if len(a.Dims) != 2 {
		return nil, fmt.Errorf("dims %v are not those of a matrix", a.Dims)
	}
	eye, err := newArray(Int64, a.Dims)
	if err != nil {
		return nil, err
	}
	k := c.intAttr("k", 0)
	for r := range a.Dims[0] {
		if col := r + k; col >= 0 && col < a.Dims[1] {
			eye.I[r*a.Dims[1]+col] = 1
		}
	}
	return one(cast(eye, DType(c.Int("dtype", int64(a.DType)))))
}

// evalRange has max(⌈(limit−start)/delta⌉, 0) elements start + i·delta.
func evalRange(c *call) ([]*Array, error) {
	dt := c.in[0].DType
	for _, a := range c.in[:3] {
		if a.Len() != 1 || a.DType.IsFloat() != dt.IsFloat() {
			return nil, errors.New("bounds are no scalars of one type")
		}
	}
	if !dt.IsFloat() {
		start, limit, delta := c.in[0].I[0], c.in[1].I[0], c.in[2].I[0]
		if delta == 0 {
			return nil, errors.New("delta is 0")
		}
		n := int64(0)
		if delta > 0 && limit > start {
			n = int64((uint64(limit-start)-1)/uint64(delta)) + 1
		} else if delta < 0 && limit < start {
			n = int64((uint64(start-limit)-1)/uint64(-delta)) + 1
		}
		if n < 0 || n > maxElements {
			return nil, fmt.Errorf("%d elements are too many", n)
		}
		v := make([]int64, n)
		for i := range v {
			v[i] = start + int64(i)*delta
		}
		return []*Array{integers(dt, []int{int(n)}, v)}, nil
	}
	start, limit, delta := c.in[0].F[0], c.in[1].F[0], c.in[2].F[0]
	n := math.Max(math.Ceil((limit-start)/delta), 0)
	if !(n <= maxElements) {
		return nil, fmt.Errorf("%g elements from %g to %g by %g", n, start, limit, delta)
	}
	v := make([]float64, int(n))
	for i := range v {
		v[i] = start + float64(i)*delta
	}
	return []*Array{reals(dt, []int{len(v)}, v)}, nil
}

func evalConstantOfShape(c *call) ([]*Array, error) {
	dims, err := c.ints(0)
	if err != nil {
		return nil, err
	}
	value := reals(Float32, nil, []float64{0})
	if t, ok := c.Attrs["value"].(*Tensor); ok {
		if value, err = ArrayOf(t); err != nil {
			return nil, err
		}
	}
	if value.Len() != 1 {
		return nil, fmt.Errorf("value of dims %v", value.Dims)
	}
	return one(value.view(dims, 0, make([]int, len(dims))))
}

func evalReverseSequence(c *call) ([]*Array, error) {
	a := c.in[0]
	lens, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	batch, time := c.intAttr("batch_axis", 1), c.intAttr("time_axis", 0)
	axes, err := axesOf([]int{batch, time}, len(a.Dims))
	if err != nil {
		return nil, err
	}
	batch, time = axes[0], axes[1]
	if len(lens) != a.Dims[batch] {
		return nil, fmt.Errorf("%d lengths for a batch of %d", len(lens), a.Dims[batch])
	}
	st := strides(a.Dims)
	idx := ramp(a.Len())
	for i := range idx {
		b, t := i/st[batch]%a.Dims[batch], i/st[time]%a.Dims[time]
		n := lens[b]
		if n < 0 || n > a.Dims[time] {
			return nil, fmt.Errorf("length %d of a sequence of %d", n, a.Dims[time])
		}
		if t < n {
			idx[i] = i + (n-1-2*t)*st[time]
		}
	}
	return []*Array{a.pick(a.Dims, idx)}, nil
}
