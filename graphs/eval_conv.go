package graphs

import (
	"fmt"
	"math"
	"slices"
)

var convKernels = kernelTable{
	"Conv":          {2, evalConv},
	"ConvInteger":   {2, evalConvInteger},
	"ConvTranspose": {2, evalConvTranspose},
	"Col2Im":        {3, evalCol2Im},
	"DeformConv":    {3, evalDeformConv},
}

func init() { register(convKernels) }

// window is a kernel sliding over the spatial axes of an image.
type window struct {
	in, kernel, stride, dilation, before, after, out []int
}

// newWindow reads strides, dilations, pads, auto_pad and ceil_mode of a node.
func newWindow(c *call, in, kernel []int) (*window, error) {
	w, err := windowAttrs(c, in, kernel)
	if err != nil {
		return nil, err
	}
	mode := c.Text("auto_pad", "NOTSET")
	w.out = make([]int, len(in))
	for i, d := range in {
		span := (kernel[i]-1)*w.dilation[i] + 1
		switch mode {
		case "NOTSET", "":
		case "VALID":
			w.before[i], w.after[i] = 0, 0
		case "SAME_UPPER", "SAME_LOWER":
			total := max(((d+w.stride[i]-1)/w.stride[i]-1)*w.stride[i]+span-d, 0)
			w.before[i], w.after[i] = total/2, total-total/2
			if mode == "SAME_LOWER" {
				w.before[i], w.after[i] = w.after[i], w.before[i]
			}
		default:
			return nil, fmt.Errorf("auto_pad %q is not known", mode)
		}
		free := d + w.before[i] + w.after[i] - span
		if free < 0 {
			return nil, fmt.Errorf("kernel %v is larger than the image %v with its pads", kernel, in)
		}
		w.out[i] = free/w.stride[i] + 1
		if c.Int("ceil_mode", 0) != 0 {
			w.out[i] = (free+w.stride[i]-1)/w.stride[i] + 1
			// A window must not start in the trailing pads.
			if (w.out[i]-1)*w.stride[i] >= d+w.before[i] {
				w.out[i]--
			}
		}
	}
	return w, nil
}

// windowAttrs reads strides, dilations and pads, and leaves out open.
func windowAttrs(c *call, in, kernel []int) (*window, error) {
	r := len(in)
	list := func(name string, n, def int) ([]int, error) {
		v := c.intsAttr(name)
		if v == nil {
			v = slices.Repeat([]int{def}, n)
		}
		if len(v) != n {
			return nil, fmt.Errorf("%s %v for %d spatial axes", name, v, r)
		}
		return v, nil
	}
	stride, err := list("strides", r, 1)
	if err != nil {
		return nil, err
	}
	dilation, err := list("dilations", r, 1)
	if err != nil {
		return nil, err
	}
	pads, err := list("pads", 2*r, 0)
	if err != nil {
		return nil, err
	}
	if len(kernel) != r {
		return nil, fmt.Errorf("kernel %v for %d spatial axes", kernel, r)
	}
	for i := range r {
		for _, v := range []int{stride[i], dilation[i], kernel[i], 1 + max(pads[i], -pads[i]), 1 + max(pads[r+i], -pads[r+i])} {
			if v <= 0 || v > maxElements {
				return nil, fmt.Errorf("kernel %v, strides %v, dilations %v, pads %v", kernel, stride, dilation, pads)
			}
		}
	}
	if _, err := elements(kernel); err != nil {
		return nil, err
	}
	return &window{in: in, kernel: kernel, stride: stride, dilation: dilation, before: slices.Clone(pads[:r]), after: slices.Clone(pads[r:])}, nil
}

// Positions of a tap that are no element of the image.
const (
	inPad   = -1 // within the pads
	outside = -2 // beyond them, in the last window of ceil_mode
)

// taps returns, for every kernel position and every output position (both row-major), the flat position in the image.
func (w *window) taps() ([][]int, error) {
	if _, err := elements(slices.Concat(w.kernel, w.out)); err != nil {
		return nil, err
	}
	taps := make([][]int, product(w.kernel))
	for t := range taps {
		idx := []int{0}
		left := t
		offs := make([]int, len(w.in))
		for ax := len(w.in) - 1; ax >= 0; ax-- {
			offs[ax] = left % w.kernel[ax]
			left /= w.kernel[ax]
		}
		for ax, d := range w.in {
			next := make([]int, 0, len(idx)*w.out[ax])
			for _, base := range idx {
				for o := range w.out[ax] {
					i := o*w.stride[ax] + offs[ax]*w.dilation[ax] - w.before[ax]
					switch {
					case base == outside || i >= d+w.after[ax]:
						next = append(next, outside)
					case base == inPad || i < 0 || i >= d:
						next = append(next, inPad)
					default:
						next = append(next, base*d+i)
					}
				}
			}
			idx = next
		}
		taps[t] = idx
	}
	return taps, nil
}

// convSizes checks the operands of a convolution and returns the batch, the number of groups and the image channels per group.
func convSizes(c *call, x, w *Array) (n, g, cin int, err error) {
	if err := needFloat(x, w, c.arg(2)); err != nil {
		return 0, 0, 0, err
	}
	if len(x.Dims) < 2 || len(w.Dims) != len(x.Dims) {
		return 0, 0, 0, fmt.Errorf("image of dims %v, weight of dims %v", x.Dims, w.Dims)
	}
	g = c.intAttr("group", 1)
	if g <= 0 || x.Dims[1]%g != 0 {
		return 0, 0, 0, fmt.Errorf("%d groups of %d channels", g, x.Dims[1])
	}
	return x.Dims[0], g, x.Dims[1] / g, nil
}

// evalConv is Y[n,o,p] = Σ X[n,c,p·s + k·d − pad]·W[o,c,k] + B[o], as one matrix product per sample and group (im2col).
func evalConv(c *call) ([]*Array, error) {
	x, w := c.in[0], c.in[1]
	n, g, cin, err := convSizes(c, x, w)
	if err != nil {
		return nil, err
	}
	if w.Dims[1] != cin || w.Dims[0]%g != 0 {
		return nil, fmt.Errorf("image of dims %v, weight of dims %v, %d groups", x.Dims, w.Dims, g)
	}
	win, err := newWindow(c, x.Dims[2:], w.Dims[2:])
	if err != nil {
		return nil, err
	}
	taps, err := win.taps()
	if err != nil {
		return nil, err
	}
	cout := w.Dims[0] / g
	in, p, k := product(win.in), product(win.out), len(taps)
	out, err := newArray(x.DType, slices.Concat([]int{n, w.Dims[0]}, win.out))
	if err != nil {
		return nil, err
	}
	cols, err := newArray(Float64, []int{cin * k, p})
	if err != nil {
		return nil, err
	}
	for b := range n {
		for q := range g {
			for ch := range cin {
				img := x.F[((b*g+q)*cin+ch)*in:][:in]
				for t, idx := range taps {
					row := cols.F[(ch*k+t)*p:][:p]
					for o, i := range idx {
						if i < 0 {
							row[o] = 0
						} else {
							row[o] = img[i]
						}
					}
				}
			}
			y := out.F[(b*g+q)*cout*p:][:cout*p]
			mulAdd(y, w.F[q*cout*cin*k:][:cout*cin*k], cols.F, cout, cin*k, p, false, false)
		}
	}
	return one(addBias(out, c.arg(2)))
}

// addBias adds a vector per channel in place.
func addBias(y, bias *Array) (*Array, error) {
	if bias == nil {
		return y, nil
	}
	ch, inner := y.Dims[1], product(y.Dims[2:])
	if err := perChannel(ch, bias); err != nil {
		return nil, err
	}
	for i := range y.F {
		y.F[i] += bias.F[i/inner%ch]
	}
	return y, nil
}

// evalConvInteger convolves 8-bit integers less their zero points (that of the weight may be one per output channel) into int32.
func evalConvInteger(c *call) ([]*Array, error) {
	var op [2]*Array
	for i := range op {
		op[i] = reals(Float64, c.in[i].Dims, c.in[i].floats())
		zero := c.arg(i + 2)
		if zero == nil {
			continue
		}
		dims := slices.Repeat([]int{1}, len(op[i].Dims))
		if zero.Len() > 1 && i == 1 && len(dims) > 0 {
			dims[0] = zero.Len()
		}
		if product(dims) != zero.Len() {
			return nil, fmt.Errorf("zero point of dims %v", zero.Dims)
		}
		var err error
		if op[i], err = subtraction.apply(op[i], reals(Float64, dims, zero.floats())); err != nil {
			return nil, err
		}
	}
	y, err := evalConv(&call{Node: c.Node, in: op[:]})
	if err != nil {
		return nil, err
	}
	return one(cast(y[0], Int32))
}

// evalConvTranspose is the adjoint of Conv in its image: Y[n,o,p·s + k·d − pad] += X[n,c,p]·W[c,o,k].
func evalConvTranspose(c *call) ([]*Array, error) {
	x, w := c.in[0], c.in[1]
	n, g, cin, err := convSizes(c, x, w)
	if err != nil {
		return nil, err
	}
	if w.Dims[0] != x.Dims[1] {
		return nil, fmt.Errorf("image of dims %v, weight of dims %v", x.Dims, w.Dims)
	}
	win, err := transposedWindow(c, x.Dims[2:], w.Dims[2:])
	if err != nil {
		return nil, err
	}
	taps, err := win.taps()
	if err != nil {
		return nil, err
	}
	cout := w.Dims[1]
	full, p, k := product(win.in), product(win.out), len(taps)
	out, err := newArray(x.DType, slices.Concat([]int{n, cout * g}, win.in))
	if err != nil {
		return nil, err
	}
	cols, err := newArray(Float64, []int{cout * k, p})
	if err != nil {
		return nil, err
	}
	for b := range n {
		for q := range g {
			clear(cols.F)
			mulAdd(cols.F, w.F[q*cin*cout*k:][:cin*cout*k], x.F[(b*g+q)*cin*p:][:cin*p], cout*k, cin, p, true, false)
			for ch := range cout {
				scatterTaps(out.F[((b*g+q)*cout+ch)*full:][:full], cols.F[ch*k*p:][:k*p], taps)
			}
		}
	}
	return one(addBias(out, c.arg(2)))
}

// scatterTaps adds columns [taps, positions] into an image.
func scatterTaps(img, cols []float64, taps [][]int) {
	for t, idx := range taps {
		row := cols[t*len(idx):]
		for o, i := range idx {
			if i >= 0 {
				img[i] += row[o]
			}
		}
	}
}

// transposedWindow is the window of the convolution whose adjoint is wanted: it slides over the result, and its positions are those of the operand.
func transposedWindow(c *call, in, kernel []int) (*window, error) {
	w, err := windowAttrs(c, in, kernel)
	if err != nil {
		return nil, err
	}
	extra, shape := c.intsAttr("output_padding"), c.intsAttr("output_shape")
	if extra == nil {
		extra = make([]int, len(in))
	}
	if len(shape) == len(in)+2 {
		shape = shape[2:]
	}
	if len(extra) != len(in) || shape != nil && len(shape) != len(in) {
		return nil, fmt.Errorf("output_padding %v, output_shape %v for %d spatial axes", extra, shape, len(in))
	}
	mode := c.Text("auto_pad", "NOTSET")
	result := make([]int, len(in))
	for i, d := range in {
		full := w.stride[i]*(d-1) + extra[i] + (kernel[i]-1)*w.dilation[i] + 1
		same := mode == "SAME_UPPER" || mode == "SAME_LOWER"
		switch {
		case shape != nil:
			result[i] = shape[i]
		case same:
			result[i] = d * w.stride[i]
		case mode == "VALID":
			result[i], w.before[i] = full, 0
		default:
			result[i] = full - w.before[i] - w.after[i]
		}
		if shape != nil || same {
			total := max(full-result[i], 0)
			w.before[i] = total - total/2
			if mode == "SAME_UPPER" {
				w.before[i] = total / 2
			}
		}
		if result[i] < 0 {
			return nil, fmt.Errorf("pads exceed the result %v", result)
		}
		w.after[i] = 0
	}
	w.in, w.out = result, in
	return w, nil
}

// evalCol2Im adds the columns [N, C·taps, positions] of sliding blocks back into images.
func evalCol2Im(c *call) ([]*Array, error) {
	x := c.in[0]
	image, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	block, err := c.ints(2)
	if err != nil {
		return nil, err
	}
	win, err := newWindow(c, image, block)
	if err != nil {
		return nil, err
	}
	taps, err := win.taps()
	if err != nil {
		return nil, err
	}
	k, p := len(taps), product(win.out)
	if err := needFloat(x); err != nil {
		return nil, err
	}
	if len(x.Dims) != 3 || x.Dims[1]%k != 0 || x.Dims[2] != p {
		return nil, fmt.Errorf("columns of dims %v for %d taps at %d positions", x.Dims, k, p)
	}
	n, ch, full := x.Dims[0], x.Dims[1]/k, product(image)
	out, err := newArray(x.DType, slices.Concat([]int{n, ch}, image))
	if err != nil {
		return nil, err
	}
	for i := range n * ch {
		scatterTaps(out.F[i*full:][:full], x.F[i*k*p:][:k*p], taps)
	}
	return []*Array{out}, nil
}

// evalDeformConv is a convolution whose taps are displaced by offsets and weighted by a mask; images are sampled linearly and are 0 outside.
func evalDeformConv(c *call) ([]*Array, error) {
	x, w, offset, mask := c.in[0], c.in[1], c.in[2], c.arg(4)
	if err := needFloat(x, w, offset, c.arg(3), mask); err != nil {
		return nil, err
	}
	g, og := c.intAttr("group", 1), c.intAttr("offset_group", 1)
	r := len(x.Dims) - 2
	if r < 1 || len(w.Dims) != r+2 || g <= 0 || og <= 0 || x.Dims[1] != w.Dims[1]*g || w.Dims[0]%g != 0 || x.Dims[1]%og != 0 {
		return nil, fmt.Errorf("image of dims %v, weight of dims %v, %d groups, %d offset groups", x.Dims, w.Dims, g, og)
	}
	kernel := w.Dims[2:]
	if ks := c.intsAttr("kernel_shape"); ks != nil && !slices.Equal(ks, kernel) {
		return nil, fmt.Errorf("kernel_shape %v, weight of dims %v", ks, w.Dims)
	}
	win, err := newWindow(c, x.Dims[2:], kernel)
	if err != nil {
		return nil, err
	}
	n, ch, k, p, full := x.Dims[0], x.Dims[1], product(kernel), product(win.out), product(win.in)
	if want := slices.Concat([]int{n, og * k * r}, win.out); !slices.Equal(offset.Dims, want) {
		return nil, fmt.Errorf("offset of dims %v, not %v", offset.Dims, want)
	}
	if want := slices.Concat([]int{n, og * k}, win.out); mask != nil && !slices.Equal(mask.Dims, want) {
		return nil, fmt.Errorf("mask of dims %v, not %v", mask.Dims, want)
	}
	out, err := newArray(x.DType, slices.Concat([]int{n, w.Dims[0]}, win.out))
	if err != nil {
		return nil, err
	}
	cin, cout := ch/g, w.Dims[0]/g
	cols := make([]float64, ch*k*p)
	pos := make([]float64, r)
	for b := range n {
		for grp := range og {
			for t := range k {
				for o := range p {
					left, tap := o, t
					for ax := r - 1; ax >= 0; ax-- {
						at := left%win.out[ax]*win.stride[ax] + tap%kernel[ax]*win.dilation[ax] - win.before[ax]
						pos[ax] = float64(at) + offset.F[(((b*og+grp)*k+t)*r+ax)*p+o]
						left, tap = left/win.out[ax], tap/kernel[ax]
					}
					weight := 1.0
					if mask != nil {
						weight = mask.F[((b*og+grp)*k+t)*p+o]
					}
					for i := grp * ch / og; i < (grp+1)*ch/og; i++ {
						cols[(i*k+t)*p+o] = weight * sampleLinear(x.F[(b*ch+i)*full:][:full], win.in, pos)
					}
				}
			}
		}
		for q := range g {
			mulAdd(out.F[(b*g+q)*cout*p:][:cout*p], w.F[q*cout*cin*k:][:cout*cin*k], cols[q*cin*k*p:][:cin*k*p], cout, cin*k, p, false, false)
		}
	}
	return one(addBias(out, c.arg(3)))
}

// sampleLinear interpolates an image between the corners of the cell around pos; corners outside the image are 0.
func sampleLinear(img []float64, dims []int, pos []float64) float64 {
	v := 0.0
	for corner := range 1 << len(dims) {
		weight, at := 1.0, 0
		for ax, d := range dims {
			lo := math.Floor(pos[ax])
			f := pos[ax] - lo
			if corner>>ax&1 == 1 {
				lo++
			} else {
				f = 1 - f
			}
			if f == 0 || !(lo >= 0 && lo < float64(d)) {
				weight = 0
				break
			}
			weight *= f
			at = at*d + int(lo)
		}
		if weight != 0 {
			v += weight * img[at]
		}
	}
	return v
}
