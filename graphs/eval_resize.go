package graphs

import (
	"fmt"
	"math"
	"slices"
)

var resizeKernels = kernelTable{
	"Resize":     {1, evalResize},
	"AffineGrid": {2, evalAffineGrid},
	"GridSample": {2, evalGridSample},
	"RoiAlign":   {3, evalRoiAlign},
}

func init() { register(resizeKernels) }

// resizeAxis is the resampling of one axis of n elements to m.
type resizeAxis struct {
	n, m       int
	scale      float64 // nominal scale, which may differ from m/n
	start, end float64 // region of interest of tf_crop_and_resize
}

// source returns the coordinate in the operand of position i in the result (coordinate_transformation_mode).
func (r resizeAxis) source(mode string, i int) (float64, error) {
	x, n, m := float64(i), float64(r.n), float64(r.m)
	switch mode {
	case "half_pixel":
		return (x+0.5)/r.scale - 0.5, nil
	case "half_pixel_symmetric":
		return n/2*(1-m/(r.scale*n)) + (x+0.5)/r.scale - 0.5, nil
	case "pytorch_half_pixel":
		if r.m == 1 {
			return 0, nil
		}
		return (x+0.5)/r.scale - 0.5, nil
	case "align_corners":
		if r.m == 1 {
			return 0, nil
		}
		return x * (n - 1) / (m - 1), nil
	case "asymmetric":
		return x / r.scale, nil
	case "tf_crop_and_resize":
		if r.m == 1 {
			return 0.5 * (r.start + r.end) * (n - 1), nil
		}
		return r.start*(n-1) + x*(r.end-r.start)*(n-1)/(m-1), nil
	}
	return 0, fmt.Errorf("coordinate_transformation_mode %q is not known", mode)
}

// farAway bounds coordinates, so that neighbouring ones stay distinct numbers; it lies outside every axis.
const farAway = 1 << 40

// tapWeight is one element of the operand with its weight in an element of the result.
type tapWeight struct {
	at int
	w  float64
}

// cubic is the convolution kernel of Keys (1981) with parameter a.
func cubic(x, a float64) float64 {
	x = math.Abs(x)
	switch {
	case x <= 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return ((a*x-5*a)*x+8*a)*x - 4*a
	}
	return 0
}

// taps returns the weights of the element at coordinate x.
func (r resizeAxis) taps(c *call, x float64) ([]tapWeight, error) {
	var kernel func(float64) float64
	support := 1.0
	switch mode := c.Text("mode", "nearest"); mode {
	case "nearest":
		at, err := nearest(c.Text("nearest_mode", "round_prefer_floor"), x)
		return []tapWeight{{min(max(at, 0), r.n-1), 1}}, err
	case "linear":
		kernel = func(x float64) float64 { return max(0, 1-math.Abs(x)) }
	case "cubic":
		a := c.float("cubic_coeff_a", -0.75)
		kernel, support = func(x float64) float64 { return cubic(x, a) }, 2
	default:
		return nil, fmt.Errorf("mode %q is not known", mode)
	}
	shrink := 1.0
	if c.Int("antialias", 0) != 0 {
		shrink = min(r.scale, 1)
	}
	exclude := c.Int("exclude_outside", 0) != 0
	x = min(max(x, -farAway), farAway)
	var list []tapWeight
	total := 0.0
	for j := math.Floor(x-support/shrink) + 1; j < x+support/shrink; j++ {
		w := kernel((j - x) * shrink)
		at := min(max(j, 0), float64(r.n-1))
		if w == 0 || exclude && at != j {
			continue
		}
		list = append(list, tapWeight{int(at), w})
		total += w
	}
	for i := range list {
		list[i].w /= total
	}
	return list, nil
}

func nearest(mode string, x float64) (int, error) {
	switch mode {
	case "round_prefer_floor":
		return int(math.Ceil(x - 0.5)), nil
	case "round_prefer_ceil":
		return int(math.Floor(x + 0.5)), nil
	case "floor":
		return int(math.Floor(x)), nil
	case "ceil":
		return int(math.Ceil(x)), nil
	}
	return 0, fmt.Errorf("nearest_mode %q is not known", mode)
}

// evalResize resamples axis by axis, which is exact since every mode is separable.
func evalResize(c *call) ([]*Array, error) {
	x := c.in[0]
	axes, err := resizeAxes(c)
	if err != nil {
		return nil, err
	}
	mode := c.Text("coordinate_transformation_mode", "half_pixel")
	cur := reals(Float64, x.Dims, x.floats())
	outside := make([][]bool, len(axes))
	for ax, r := range axes {
		weights := make([][]tapWeight, r.m)
		outside[ax] = make([]bool, r.m)
		same := r.n == r.m
		if r.n == 0 && r.m > 0 {
			return nil, fmt.Errorf("axis %d is empty", ax)
		}
		for i := range weights {
			pos, err := r.source(mode, i)
			if err != nil {
				return nil, err
			}
			if weights[i], err = r.taps(c, pos); err != nil {
				return nil, err
			}
			outside[ax][i] = mode == "tf_crop_and_resize" && (pos < 0 || pos > float64(r.n-1))
			same = same && len(weights[i]) == 1 && weights[i][0] == tapWeight{i, 1}
		}
		if same {
			continue
		}
		if cur, err = cur.resample(ax, weights); err != nil {
			return nil, err
		}
	}
	if mode == "tf_crop_and_resize" {
		fill := c.float("extrapolation_value", 0)
		cur = reals(Float64, cur.Dims, slices.Clone(cur.F))
		st := strides(cur.Dims)
		for i := range cur.F {
			for ax, d := range cur.Dims {
				if outside[ax][i/st[ax]%d] {
					cur.F[i] = fill
				}
			}
		}
	}
	return one(cast(cur, x.DType))
}

// resample forms weighted sums along an axis.
func (a *Array) resample(axis int, weights [][]tapWeight) (*Array, error) {
	outer, n, inner := around(a.Dims, axis)
	dims := slices.Clone(a.Dims)
	dims[axis] = len(weights)
	out, err := newArray(a.DType, dims)
	if err != nil {
		return nil, err
	}
	for p := range outer {
		for i, list := range weights {
			y := out.F[(p*len(weights)+i)*inner:][:inner]
			for _, t := range list {
				for q, v := range a.F[(p*n+t.at)*inner:][:inner] {
					y[q] += t.w * v
				}
			}
		}
	}
	return out, nil
}

// resizeAxes reads scales or sizes. A length is ⌊scale·n⌋ in float32, as engines that hold scales in float32 compute it.
func resizeAxes(c *call) ([]resizeAxis, error) {
	x, roi, scales := c.in[0], c.arg(1), c.arg(2)
	sizes, err := c.ints(3)
	if err != nil {
		return nil, err
	}
	r := len(x.Dims)
	list := make([]resizeAxis, r)
	for i, d := range x.Dims {
		list[i] = resizeAxis{n: d, m: d, scale: 1, end: 1}
	}
	axes := c.intsAttr("axes")
	if axes == nil {
		axes = ramp(r)
	}
	if axes, err = axesOf(axes, r); err != nil {
		return nil, err
	}
	hasScales := scales != nil && scales.Len() > 0
	if err := needFloat(nil, roi, scales); err != nil {
		return nil, err
	}
	if hasScales && scales.Len() != len(axes) || !hasScales && len(sizes) != len(axes) {
		return nil, fmt.Errorf("scales or sizes do not fit %d axes", len(axes))
	}
	if roi != nil && roi.Len() > 0 && roi.Len() != 2*len(axes) {
		return nil, fmt.Errorf("region of %d bounds for %d axes", roi.Len(), len(axes))
	}
	policy := c.Text("keep_aspect_ratio_policy", "stretch")
	common := math.NaN()
	for k, ax := range axes {
		a := &list[ax]
		if hasScales {
			a.scale = scales.F[k]
			length := math.Floor(float64(float32(a.scale) * float32(a.n)))
			if !(a.scale > 0) || length > maxElements {
				return nil, fmt.Errorf("scale %g", a.scale)
			}
			a.m = int(length)
		} else {
			if sizes[k] < 0 || sizes[k] > maxElements || a.n == 0 {
				return nil, fmt.Errorf("size %d of an axis of %d", sizes[k], a.n)
			}
			a.m = sizes[k]
			a.scale = float64(a.m) / float64(a.n)
			switch {
			case math.IsNaN(common):
				common = a.scale
			case policy == "not_larger":
				common = min(common, a.scale)
			case policy == "not_smaller":
				common = max(common, a.scale)
			}
		}
		if roi != nil && roi.Len() > 0 {
			a.start, a.end = roi.F[k], roi.F[k+len(axes)]
		}
	}
	if !hasScales && policy != "stretch" {
		for _, ax := range axes {
			a := &list[ax]
			a.scale = common
			length := math.Floor(common*float64(a.n) + 0.5)
			if length > maxElements {
				return nil, fmt.Errorf("axis %d of %g elements", ax, length)
			}
			a.m = int(length)
		}
	}
	return list, nil
}

// evalAffineGrid maps the positions of an image, in [−1, 1] per axis, by a matrix per sample.
func evalAffineGrid(c *call) ([]*Array, error) {
	theta := c.in[0]
	size, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	r := len(size) - 2
	if err := needFloat(theta); err != nil {
		return nil, err
	}
	if r < 1 || !slices.Equal(theta.Dims, []int{size[0], r, r + 1}) {
		return nil, fmt.Errorf("matrices of dims %v for size %v", theta.Dims, size)
	}
	spatial := size[2:]
	out, err := newArray(theta.DType, slices.Concat([]int{size[0]}, spatial, []int{r}))
	if err != nil {
		return nil, err
	}
	aligned := c.Int("align_corners", 0) != 0
	st, p := strides(spatial), product(spatial)
	pos := make([]float64, r+1)
	pos[r] = 1
	for i := range size[0] * p {
		for ax, d := range spatial {
			k := float64(i % p / st[ax] % d)
			v := (2*k+1)/float64(d) - 1
			if aligned {
				v = 2*k/float64(d-1) - 1
				if d == 1 {
					v = -1
				}
			}
			pos[r-1-ax] = v // the innermost axis comes first
		}
		m := theta.F[i/p*r*(r+1):]
		for j := range r {
			for k, v := range pos {
				out.F[i*r+j] += m[j*(r+1)+k] * v
			}
		}
	}
	return []*Array{out}, nil
}

// evalGridSample reads images at normalized positions.
func evalGridSample(c *call) ([]*Array, error) {
	x, grid := c.in[0], c.in[1]
	r := len(x.Dims) - 2
	if err := needFloat(grid); err != nil {
		return nil, err
	}
	if r < 1 || len(grid.Dims) != r+2 || grid.Dims[0] != x.Dims[0] || grid.Dims[r+1] != r {
		return nil, fmt.Errorf("grid of dims %v for dims %v", grid.Dims, x.Dims)
	}
	aligned, padding := c.Int("align_corners", 0) != 0, c.Text("padding_mode", "zeros")
	if !slices.Contains([]string{"zeros", "border", "reflection"}, padding) {
		return nil, fmt.Errorf("padding_mode %q is not known", padding)
	}
	mode := c.Text("mode", "linear")
	var kernel func(float64) float64
	reach := 0
	switch mode {
	case "nearest":
	case "linear", "bilinear":
		kernel, reach = func(x float64) float64 { return max(0, 1-math.Abs(x)) }, 1
	case "cubic", "bicubic":
		kernel, reach = func(x float64) float64 { return cubic(x, -0.75) }, 2
	default:
		return nil, fmt.Errorf("mode %q is not known", mode)
	}
	n, ch, spatial, outDims := x.Dims[0], x.Dims[1], x.Dims[2:], grid.Dims[1:r+1]
	p, full := product(outDims), product(spatial)
	out, err := newArray(Float64, slices.Concat([]int{n, ch}, outDims))
	if err != nil {
		return nil, err
	}
	src := x.floats()
	if full == 0 && len(out.F) > 0 {
		return nil, fmt.Errorf("image of dims %v is empty", x.Dims)
	}
	lists := make([][]tapWeight, r)
	for i := range n * p {
		for ax, d := range spatial {
			g := grid.F[i*r+r-1-ax]
			pos := ((g+1)*float64(d) - 1) / 2
			if aligned {
				pos = (g + 1) / 2 * float64(d-1)
			}
			lists[ax] = gridTaps(pos, d, kernel, reach, padding, aligned)
		}
		eachTap(lists, spatial, func(at int, w float64) {
			for k := range ch {
				out.F[(i/p*ch+k)*p+i%p] += w * src[(i/p*ch+k)*full+at]
			}
		})
	}
	return one(cast(out, x.DType))
}

// eachTap calls f for every combination of taps of the axes.
func eachTap(lists [][]tapWeight, dims []int, f func(at int, w float64)) {
	var rec func(ax, at int, w float64)
	rec = func(ax, at int, w float64) {
		if ax == len(dims) {
			f(at, w)
			return
		}
		for _, t := range lists[ax] {
			rec(ax+1, at*dims[ax]+t.at, w*t.w)
		}
	}
	rec(0, 0, 1)
}

// gridTaps returns the elements of an axis of d that contribute to a position; without a kernel it is the nearest one, half to even.
func gridTaps(pos float64, d int, kernel func(float64) float64, reach int, padding string, aligned bool) []tapWeight {
	if math.IsNaN(pos) {
		pos = -1
	}
	pos = min(max(pos, -farAway), farAway)
	if reach < 2 {
		pos = padPosition(pos, d, padding, aligned)
	}
	if kernel == nil {
		return keepInside(nil, math.RoundToEven(pos), 1, d)
	}
	var list []tapWeight
	for j := math.Floor(pos) - float64(reach-1); j <= math.Floor(pos)+float64(reach); j++ {
		at := j
		if reach == 2 {
			at = padPosition(j, d, padding, aligned)
		}
		list = keepInside(list, math.RoundToEven(at), kernel(j-pos), d)
	}
	return list
}

func keepInside(list []tapWeight, at, w float64, d int) []tapWeight {
	if at < 0 || at >= float64(d) || w == 0 {
		return list
	}
	return append(list, tapWeight{int(at), w})
}

// padPosition moves a position into the image: to the border, or by reflection at the borders and then to the border.
func padPosition(x float64, d int, padding string, aligned bool) float64 {
	if padding == "zeros" {
		return x
	}
	last := float64(d - 1)
	if padding == "reflection" {
		lo, hi := -0.5, last+0.5
		if aligned {
			lo, hi = 0, last
		}
		span := hi - lo
		if span == 0 {
			return 0
		}
		x = math.Abs(x - lo)
		flips := math.Floor(x / span)
		x -= flips * span
		if math.Mod(flips, 2) == 0 {
			x += lo
		} else {
			x = hi - x
		}
	}
	return min(max(x, 0), last)
}

// evalRoiAlign averages (or takes the maximum of) bilinear samples on a regular grid in each bin of each region (Mask R-CNN, arXiv 1703.06870).
func evalRoiAlign(c *call) ([]*Array, error) {
	x, rois := c.in[0], c.in[1]
	if err := needFloat(x, rois); err != nil {
		return nil, err
	}
	batch, err := c.ints(2)
	if err != nil {
		return nil, err
	}
	if len(x.Dims) != 4 || len(rois.Dims) != 2 || rois.Dims[1] != 4 || len(batch) != rois.Dims[0] {
		return nil, fmt.Errorf("image of dims %v, regions of dims %v, %d indices", x.Dims, rois.Dims, len(batch))
	}
	bins := []int{c.intAttr("output_height", 1), c.intAttr("output_width", 1)}
	ratio, scale := c.intAttr("sampling_ratio", 0), c.float("spatial_scale", 1)
	offset, least := 0.5, 0.0
	if c.Text("coordinate_transformation_mode", "half_pixel") == "output_half_pixel" {
		offset, least = 0, 1
	}
	useMax := c.Text("mode", "avg") == "max"
	ch, spatial := x.Dims[1], x.Dims[2:]
	out, err := newArray(x.DType, []int{len(batch), ch, bins[0], bins[1]})
	if err != nil {
		return nil, err
	}
	full, p := product(spatial), product(bins)
	for i, b := range batch {
		if b < 0 || b >= x.Dims[0] {
			return nil, fmt.Errorf("index %d of a batch of %d", b, x.Dims[0])
		}
		var start, size [2]float64
		var count [2]int
		for ax := range 2 {
			lo, hi := rois.F[i*4+1-ax]*scale-offset, rois.F[i*4+3-ax]*scale-offset
			start[ax], size[ax] = lo, max(hi-lo, least)/float64(bins[ax])
			if least == 0 {
				size[ax] = (hi - lo) / float64(bins[ax])
			}
			count[ax] = ratio
			if ratio <= 0 {
				count[ax] = int(math.Ceil(size[ax]))
			}
			if count[ax] > maxElements {
				return nil, fmt.Errorf("region %d is too large", i)
			}
		}
		for bin := range p {
			first := true
			total := float64(max(count[0]*count[1], 1))
			for s := range max(count[0]*count[1], 0) {
				lists := make([][]tapWeight, 2)
				for ax, k := range []int{s / count[1], s % count[1]} {
					cell := bin / bins[1]
					if ax == 1 {
						cell = bin % bins[1]
					}
					pos := start[ax] + (float64(cell)+(float64(k)+0.5)/float64(count[ax]))*size[ax]
					lists[ax] = roiTaps(pos, spatial[ax])
				}
				for k := range ch {
					v := 0.0
					peak := math.Inf(-1)
					img := x.F[(b*ch+k)*full:]
					eachTap(lists, spatial, func(at int, w float64) {
						v += w * img[at]
						peak = max(peak, w*img[at])
					})
					y := &out.F[(i*ch+k)*p+bin]
					switch {
					case !useMax:
						*y += v / total
					case first:
						*y = max(peak, 0)
						if !math.IsInf(peak, -1) {
							*y = peak
						}
					default:
						*y = max(*y, peak)
					}
				}
				first = false
			}
		}
	}
	return []*Array{out}, nil
}

// roiTaps returns the two neighbours of a position; more than one element outside there are none.
func roiTaps(pos float64, d int) []tapWeight {
	if !(pos >= -1 && pos <= float64(d)) || d == 0 {
		return nil
	}
	pos = min(max(pos, 0), float64(d-1))
	lo := int(pos)
	f := pos - float64(lo)
	return []tapWeight{{lo, 1 - f}, {min(lo+1, d-1), f}}
}
