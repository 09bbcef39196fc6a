package gradients

import (
	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	rewrites["GridSample"] = gridSample
	rewrites["AffineGrid"] = affineGrid
	rewrites["RoiAlign"] = roiAlign
	rewrites["DeformConv"] = deformConv
	rewrites["Col2Im"] = col2im
	refusals["GridSample"] = "the rank of its image must be known; give it in the file"
	refusals["AffineGrid"] = "the extents of the grid must be constants; export with a fixed image size"
	refusals["RoiAlign"] = "mode must be avg and sampling_ratio positive"
	refusals["DeformConv"] = "the channels and extents of its image and the shape of its weight must be known; export with a fixed image size"
	refusals["Col2Im"] = "the number of channels and the extents of image and block must be constants; export with a fixed image size"
}

// maths is the builder with the arithmetic of positions and weights.
type maths struct{ *graphs.Builder }

func (m maths) add(a, b *Value) *Value           { return m.Op("Add", nil, a, b) }
func (m maths) sub(a, b *Value) *Value           { return m.Op("Sub", nil, a, b) }
func (m maths) mul(a, b *Value) *Value           { return m.Op("Mul", nil, a, b) }
func (m maths) plus(a *Value, f float64) *Value  { return m.add(a, m.FloatLike(a, f)) }
func (m maths) times(a *Value, f float64) *Value { return m.mul(a, m.FloatLike(a, f)) }
func (m maths) cast(a *Value, t graphs.DType) *Value {
	return m.Op("Cast", graphs.Attrs{"to": int64(t)}, a)
}
func (m maths) clamp(a, lo, hi *Value) *Value { return m.Op("Min", nil, m.Op("Max", nil, a, lo), hi) }
func (m maths) pick(v *Value, axis, i int64) *Value {
	return m.Op("Gather", graphs.Attrs{"axis": axis}, v, m.Int(i))
}
func (m maths) within(a *Value, lo, hi *Value) *Value {
	in := m.Op("And", nil, m.Op("GreaterOrEqual", nil, a, lo), m.Op("LessOrEqual", nil, a, hi))
	return m.cast(in, a.Type.DType)
}

// length is the extent of an axis as a number of the type of like.
func (m maths) length(v *Value, axis int, like *Value) *Value {
	if d := v.Shape()[axis]; d.IsStatic() {
		return m.FloatLike(like, float64(d.Size))
	}
	return m.cast(m.Op("Squeeze", nil, extentsOf(m.Builder, v, axis, axis+1), m.Ints(0)), like.Type.DType)
}

// tap is an element of an axis that contributes to every position: its index and its weight.
type tap struct{ index, weight *Value }

// bounded makes a tap of a real-valued index: it counts only inside [0, d).
func (m maths) bounded(at, weight, d *Value) tap {
	zero, last := m.FloatLike(at, 0), m.sub(d, m.FloatLike(at, 1))
	inside := m.within(at, zero, last)
	if weight == nil {
		weight = inside
	} else {
		weight = m.mul(weight, inside)
	}
	return tap{m.cast(m.clamp(at, zero, last), graphs.Int64), weight}
}

// linearTaps are the two neighbours of a position in an axis of extent d, weighted by nearness; outside is zero.
func (m maths) linearTaps(pos, d *Value) []tap {
	lo := m.Op("Floor", nil, pos)
	f := m.sub(pos, lo)
	return []tap{m.bounded(lo, m.sub(m.FloatLike(pos, 1), f), d), m.bounded(m.plus(lo, 1), f, d)}
}

// cubicTaps are four neighbours weighted by the kernel with a = −¾; place moves their indices into the image.
func (m maths) cubicTaps(pos, d *Value, place func(*Value) *Value) []tap {
	const a = -0.75
	lo := m.Op("Floor", nil, pos)
	t := m.sub(pos, lo)
	poly := func(u *Value, c3, c2, c1, c0 float64) *Value {
		return m.plus(m.mul(m.plus(m.mul(m.plus(m.times(u, c3), c2), u), c1), u), c0)
	}
	near := func(u *Value) *Value { return poly(u, a+2, -(a + 3), 0, 1) }
	far := func(u *Value) *Value { return poly(u, a, -5*a, 8*a, -4*a) }
	one := func(u *Value, f func(*Value) *Value, shift float64) tap {
		return m.bounded(m.Op("Round", nil, place(m.plus(lo, shift))), f(u), d)
	}
	back := m.sub(m.FloatLike(t, 1), t)
	return []tap{one(m.plus(t, 1), far, -1), one(t, near, 0), one(back, near, 1), one(m.plus(back, 1), far, 2)}
}

// sample reads images x [M, C, elements] of the given extents at positions [M, Q], described by the taps of each axis: Σ Π weights · element,
// [M, C, Q].
func (m maths) sample(x *Value, extents []*Value, taps [][]tap) *Value {
	var sum *Value
	choice := make([]int, len(taps))
	shape := m.Op("Concat", graphs.Attrs{"axis": int64(0)}, extentsOf(m.Builder, x, 0, 2), extentsOf(m.Builder, taps[0][0].weight, 1, 2))
	for {
		var at, weight *Value
		for ax, k := range choice {
			t := taps[ax][k]
			if at == nil {
				at, weight = t.index, t.weight
				continue
			}
			at = m.add(m.mul(at, m.cast(extents[ax], graphs.Int64)), t.index)
			weight = m.mul(weight, t.weight)
		}
		index := m.Op("Expand", nil, m.Op("Unsqueeze", nil, at, m.Ints(1)), shape)
		v := m.mul(m.Op("GatherElements", graphs.Attrs{"axis": int64(2)}, x, index), m.Op("Unsqueeze", nil, weight, m.Ints(1)))
		if sum == nil {
			sum = v
		} else {
			sum = m.add(sum, v)
		}
		ax := len(choice) - 1
		for ax >= 0 {
			if choice[ax]++; choice[ax] < len(taps[ax]) {
				break
			}
			choice[ax] = 0
			ax--
		}
		if ax < 0 {
			return sum
		}
	}
}

// pixels views the spatial axes of an image [N, C, D…] as one.
func (m maths) pixels(x *Value) *Value {
	all := m.Op("ReduceProd", nil, extentsOf(m.Builder, x, 2, x.Rank()), m.Ints(0))
	return shaped(m.Builder, x, extentsOf(m.Builder, x, 0, 2), all)
}

// gridSample reads images at normalized positions, −1 to 1 along each axis, the innermost axis first.
func gridSample(b *graphs.Builder, n *graphs.Node) *Value {
	x, grid := n.In[0], n.In[1]
	r := x.Rank() - 2
	if r < 1 || grid.Rank() != r+2 {
		return nil
	}
	m := maths{b}
	points := m.Op("ReduceProd", nil, extentsOf(b, grid, 1, r+1), b.Ints(0))
	flat := shaped(b, grid, extentsOf(b, grid, 0, 1), points, b.Ints(int64(r)))
	padding, aligned := n.Text("padding_mode", "zeros"), n.Int("align_corners", 0) != 0
	taps, extents := make([][]tap, r), make([]*Value, r)
	for ax := range r {
		d := m.length(x, ax+2, grid)
		g := m.plus(m.pick(flat, 2, int64(r-1-ax)), 1)
		var pos *Value
		if aligned {
			pos = m.mul(m.times(g, 0.5), m.plus(d, -1))
		} else {
			pos = m.times(m.plus(m.mul(g, d), -1), 0.5)
		}
		place := func(v *Value) *Value { return m.place(v, d, padding, aligned) }
		extents[ax] = d
		switch mode := n.Text("mode", "linear"); mode {
		case "nearest":
			taps[ax] = []tap{m.bounded(m.Op("Round", nil, place(pos)), nil, d)}
		case "linear", "bilinear":
			taps[ax] = m.linearTaps(place(pos), d)
		case "cubic", "bicubic":
			taps[ax] = m.cubicTaps(pos, d, place)
		default:
			return nil
		}
	}
	y := m.sample(m.pixels(x), extents, taps)
	return shaped(b, y, extentsOf(b, x, 0, 2), extentsOf(b, grid, 1, r+1))
}

// place moves a position into an axis of extent d: to the border, or by reflection at the borders.
func (m maths) place(pos, d *Value, padding string, aligned bool) *Value {
	if padding == "zeros" {
		return pos
	}
	zero, last := m.FloatLike(pos, 0), m.plus(d, -1)
	if padding == "reflection" {
		lo, span := -0.5, d
		if aligned {
			lo, span = 0, m.Op("Max", nil, last, m.FloatLike(pos, 1e-30))
		}
		away := m.Op("Abs", nil, m.plus(pos, -lo))
		flips := m.Op("Floor", nil, m.Op("Div", nil, away, span))
		rest := m.sub(away, m.mul(flips, span))
		half := m.times(flips, 0.5)
		even := m.Op("Equal", nil, half, m.Op("Floor", nil, half))
		pos = m.plus(m.Op("Where", nil, even, rest, m.sub(span, rest)), lo)
	}
	return m.clamp(pos, zero, last)
}

// affineGrid maps the positions of an image, a constant matrix [points, r+1], by a matrix [r, r+1] per sample.
func affineGrid(b *graphs.Builder, n *graphs.Node) *Value {
	theta, size := n.In[0], n.In[1]
	r := len(size.Ints) - 2
	if r < 1 {
		return nil
	}
	dims := make([]int64, r)
	for i := range dims {
		d := size.Ints[i+2]
		if !d.IsStatic() || d.Size < 1 {
			return nil
		}
		dims[i] = d.Size
	}
	points := count(dims)
	base := make([]float64, points*int64(r+1))
	aligned := n.Int("align_corners", 0) != 0
	for p := range points {
		left := p
		for ax := r - 1; ax >= 0; ax-- {
			d := dims[ax]
			k := float64(left % d)
			left /= d
			v := (2*k+1)/float64(d) - 1
			if aligned {
				v = -1
				if d > 1 {
					v = 2*k/float64(d-1) - 1
				}
			}
			base[p*int64(r+1)+int64(r-1-ax)] = v
		}
		base[p*int64(r+1)+int64(r)] = 1
	}
	t, err := graphs.FromFloat64s(theta.Type.DType, base, points, int64(r+1))
	if err != nil {
		return nil
	}
	y := b.Op("MatMul", nil, b.Const(t), permuted(b, theta, 0, 2, 1))
	return b.Op("Reshape", nil, y, b.Ints(append(append([]int64{-1}, dims...), int64(r))...))
}

// roiAlign averages bilinear samples on a regular grid in each bin of each region (Mask R-CNN, arXiv:1703.06870). The grid is a product
// of positions along the axes, so the averages are A_h·x·A_wᵀ with A[bin, i] the mean over the bin's positions p of max(0, 1 − |p − i|).
func roiAlign(b *graphs.Builder, n *graphs.Node) *Value {
	x, rois := n.In[0], n.In[1]
	ratio := n.Int("sampling_ratio", 0)
	if x.Rank() != 4 || ratio < 1 || n.Text("mode", "avg") != "avg" {
		return nil
	}
	m := maths{b}
	scale, offset, half := float64(n.Float("spatial_scale", 1)), -0.5, true
	if n.Text("coordinate_transformation_mode", "half_pixel") == "output_half_pixel" {
		offset, half = 0, false
	}
	weights := func(ax int, bins int64) *Value { // [regions, bins, extent]
		lo := m.plus(m.times(m.pick(rois, 1, int64(1-ax)), scale), offset)
		size := m.sub(m.plus(m.times(m.pick(rois, 1, int64(3-ax)), scale), offset), lo)
		if !half {
			size = m.Op("Max", nil, size, m.FloatLike(size, 1))
		}
		steps := make([]float64, bins*ratio)
		for i := range steps {
			steps[i] = (float64(i) + 0.5) / float64(bins*ratio)
		}
		t, err := graphs.FromFloat64s(rois.Type.DType, steps, bins*ratio)
		if err != nil {
			b.Fail(err)
		}
		unsqueeze := func(v *Value, axis int64) *Value { return b.Op("Unsqueeze", nil, v, b.Ints(axis)) }
		pos := m.add(unsqueeze(lo, 1), m.mul(unsqueeze(size, 1), b.Const(t)))
		d := m.length(x, ax+2, rois)
		inside := m.within(pos, m.FloatLike(pos, -1), d)
		pos = m.clamp(pos, m.FloatLike(pos, 0), m.plus(d, -1))
		index := m.cast(b.Op("Range", nil, b.Int(0), b.Op("Squeeze", nil, extentsOf(b, x, ax+2, ax+3), b.Ints(0)), b.Int(1)), rois.Type.DType)
		hat := b.Op("Relu", nil, m.sub(m.FloatLike(pos, 1), b.Op("Abs", nil, m.sub(unsqueeze(pos, 2), index))))
		hat = m.mul(hat, unsqueeze(inside, 2))
		hat = shaped(b, hat, extentsOf(b, rois, 0, 1), b.Ints(bins, ratio), extentsOf(b, x, ax+2, ax+3))
		return unsqueeze(b.Op("ReduceMean", graphs.Attrs{"keepdims": int64(0)}, hat, b.Ints(2)), 1)
	}
	images := b.Op("Gather", graphs.Attrs{"axis": int64(0)}, x, n.In[2])
	rows := b.Op("MatMul", nil, weights(0, n.Int("output_height", 1)), images)
	return b.Op("MatMul", nil, rows, permuted(b, weights(1, n.Int("output_width", 1)), 0, 1, 3, 2))
}

// deformConv is a convolution whose taps are displaced by offsets [N, groups·K·r, P…] and weighted by a mask [N, groups·K, P…]: the image is sampled
// linearly at all taps of all positions, and the samples multiplied by the weight as a matrix.
func deformConv(b *graphs.Builder, n *graphs.Node) *Value {
	x, w, offset, mask := n.In[0], n.In[1], n.In[2], n.Input(4)
	if x.Rank() < 3 || !x.Shape()[1:].IsStatic() || !w.Shape().IsStatic() || n.Text("auto_pad", "NOTSET") != "NOTSET" {
		return nil
	}
	dims := w.Shape().Ints()
	win, err := graphs.WindowOf(n, dims[2:])
	if err != nil {
		return nil
	}
	m := maths{b}
	r, taps := len(win.Kernel), count(win.Kernel)
	channels, group, og := x.Shape()[1].Size, n.Int("group", 1), n.Int("offset_group", 1)
	out := make([]int64, r)
	for i := range out {
		out[i] = win.Positions(i, x.Shape()[i+2]).Size
	}
	places := count(out)
	flat := func(v *Value, parts ...int64) *Value {
		return b.Op("Reshape", nil, v, b.Ints(append([]int64{-1}, parts...)...))
	}
	shift := flat(offset, taps, int64(r), places)
	axisTaps, extents := make([][]tap, r), make([]*Value, r)
	for ax := range r {
		base, err := graphs.FromFloat64s(offset.Type.DType, tapPositions(win, out, ax), taps, places)
		if err != nil {
			return nil
		}
		pos := flat(m.add(m.pick(shift, 2, int64(ax)), b.Const(base)), taps*places)
		extents[ax] = m.length(x, ax+2, offset)
		axisTaps[ax] = m.linearTaps(pos, extents[ax])
	}
	images := flat(x, channels/og, count(x.Shape()[2:].Ints()))
	cols := m.sample(images, extents, axisTaps)
	if mask != nil {
		cols = m.mul(cols, flat(mask, 1, taps*places))
	}
	cols = flat(cols, group, channels/group*taps, places)
	weight := b.Op("Reshape", nil, w, b.Ints(group, dims[0]/group, dims[1]*taps))
	y := b.Op("MatMul", nil, weight, cols)
	y = b.Op("Reshape", nil, y, b.Ints(append([]int64{-1, dims[0]}, out...)...))
	if bias := n.Input(3); bias != nil {
		y = b.Op("Add", nil, y, perChannel(b, bias, y))
	}
	return y
}

// tapPositions returns the undisplaced position along an axis of every tap of the kernel at every place, both row-major.
func tapPositions(win graphs.Window, out []int64, axis int) []float64 {
	taps, places := count(win.Kernel), count(out)
	inner := func(dims []int64) int64 { return count(dims[axis+1:]) }
	pos := make([]float64, 0, taps*places)
	for t := range taps {
		for p := range places {
			k, o := t/inner(win.Kernel)%win.Kernel[axis], p/inner(out)%out[axis]
			pos = append(pos, float64(o*win.Stride[axis]+k*win.Dilation[axis]-win.Before[axis]))
		}
	}
	return pos
}

// col2im adds blocks up into images: the transposed convolution of each channel with weights that put tap k of a block at place k.
func col2im(b *graphs.Builder, n *graphs.Node) *Value {
	x := n.In[0]
	image, ok1 := n.In[1].ConstInts()
	block, ok2 := n.In[2].ConstInts()
	if !ok1 || !ok2 || x.Rank() != 3 || !x.Shape()[1].IsStatic() {
		return nil
	}
	win, err := graphs.WindowOf(n, block)
	if err != nil || len(image) != len(block) {
		return nil
	}
	taps := count(block)
	channels := x.Shape()[1].Size / taps
	weight := make([]float64, channels*taps*taps)
	for i := range channels * taps {
		weight[i*taps+i%taps] = 1
	}
	t, err := graphs.FromFloat64s(x.Type.DType, weight, append([]int64{channels * taps, 1}, block...)...)
	if err != nil {
		return nil
	}
	places, rest := []int64{-1, channels * taps}, make([]int64, len(image))
	for i, d := range image {
		places = append(places, win.Positions(i, graphs.Static(d)).Size)
		rest[i] = (d + win.Before[i] + win.After[i] - win.Span(i)) % win.Stride[i]
	}
	attrs := windowAttrs(win, channels)
	attrs["output_padding"] = rest
	return b.Op("ConvTranspose", attrs, b.Op("Reshape", nil, x, b.Ints(places...)), b.Const(t))
}
