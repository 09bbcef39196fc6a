package conformance

import (
	"math"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// Gradient and Hessian-vector graphs as one writes them by hand: each layer has its value y, its tangent ẏ along v, and from the cotangent g of y and
// its tangent ġ those of its input. A Hessian-vector product is the tangent of the gradient.

type val = *graphs.Value

// layer is a written layer. back takes g and ġ (nil: zero) and gives those of the input; without tangents ġ of the input is nil.
type layer struct {
	y, dy val
	back  func(g, dg val) (gx, dgx val)
}

type hand struct {
	*graphs.Builder
	params map[string]val
	hv     bool
}

func newHand(g *graphs.Graph, hv bool) *hand {
	h := &hand{graphs.NewBuilder("hand"), map[string]val{}, hv}
	for _, p := range g.Params() {
		h.params[p.Name] = p
	}
	return h
}

func (h *hand) mul(a, b val) val { return h.Op("Mul", nil, a, b) }
func (h *hand) add(a, b val) val { return h.Op("Add", nil, a, b) }
func (h *hand) sub(a, b val) val { return h.Op("Sub", nil, a, b) }

func (h *hand) sumMaybe(a, b val) val {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return h.add(a, b)
}

// linearly applies a linear map to the value and to the tangent, where there is one.
func linearly(f func(val) val, x, dx val) (val, val) {
	if dx == nil {
		return f(x), nil
	}
	return f(x), f(dx)
}

// chain runs the layers' pullbacks from the last to the first.
func chain(layers []layer, g, dg val) (val, val) {
	for i := len(layers) - 1; i >= 0; i-- {
		g, dg = layers[i].back(g, dg)
	}
	return g, dg
}

// view is a linear layer whose adjoint is another linear map.
func view(f, adjoint func(val) val, x, dx val) layer {
	l := layer{back: func(g, dg val) (val, val) { return linearly(adjoint, g, dg) }}
	l.y, l.dy = linearly(f, x, dx)
	return l
}

// linear: y = x·Wᵀ + b.
func (h *hand) linear(name string, x, dx val) layer {
	w, t := h.params[name+".weight"], graphs.Attrs{"transB": int64(1)}
	l := layer{y: h.Op("Gemm", t, x, w, h.params[name+".bias"])}
	if dx != nil {
		l.dy = h.Op("Gemm", t, dx, w)
	}
	l.back = func(g, dg val) (val, val) {
		return linearly(func(g val) val { return h.Op("MatMul", nil, g, w) }, g, dg)
	}
	return l
}

// conv of a 3×3 kernel with pads 1, or of a 1×1 kernel, on images of even size.
func (h *hand) conv(name string, k, stride int64, x, dx val) layer {
	w, pad := h.params[name+".weight"], (k-1)/2
	a := graphs.Attrs{"kernel_shape": []int64{k, k}, "pads": []int64{pad, pad, pad, pad}, "strides": []int64{stride, stride}}
	t := graphs.Attrs{"output_padding": []int64{stride - 1, stride - 1}}
	for key, v := range a {
		t[key] = v
	}
	l := layer{y: h.Op("Conv", a, x, w, h.params[name+".bias"])}
	if dx != nil {
		l.dy = h.Op("Conv", a, dx, w)
	}
	l.back = func(g, dg val) (val, val) {
		return linearly(func(g val) val { return h.Op("ConvTranspose", t, g, w) }, g, dg)
	}
	return l
}

// silu: y = x·s with s = σ(x); y′ = s + y(1−s), y″ = s(1−s)(2 + x(1−2s)).
func (h *hand) silu(x, dx val) layer {
	s := h.Op("Sigmoid", nil, x)
	y, u := h.mul(x, s), h.sub(h.Float(1), s)
	first := h.add(s, h.mul(y, u))
	l := layer{y: y}
	var bend val // y″ẋ
	if dx != nil {
		l.dy = h.mul(first, dx)
		bend = h.mul(h.mul(h.mul(s, u), h.add(h.mul(x, h.sub(u, s)), h.Float(2))), dx)
	}
	l.back = func(g, dg val) (val, val) {
		gx := h.mul(g, first)
		if bend == nil {
			return gx, nil
		}
		if dg != nil {
			dg = h.mul(dg, first)
		}
		return gx, h.sumMaybe(dg, h.mul(g, bend))
	}
	return l
}

// standardize: z = (x−⟨x⟩)r along the last axis. Its Jacobian is P(u) = r(u − ⟨u⟩ − z⟨zu⟩), which is symmetric, and ṙ = −r²⟨zẋ⟩.
func (h *hand) standardize(x, dx val, extent int64) layer {
	ones := make([]float32, extent)
	for i := range ones {
		ones[i] = 1
	}
	out := h.Ops("LayerNormalization", 3, graphs.Attrs{"axis": int64(-1), "epsilon": float32(1e-5)}, x, h.Const(graphs.NewTensor(ones, extent)))
	z, r := out[0], out[2]
	mean := func(u val) val { return h.Op("ReduceMean", nil, u, h.Ints(-1)) }
	project := func(u, zu val) val { return h.mul(r, h.sub(h.sub(u, mean(u)), h.mul(z, zu))) }
	l := layer{y: z}
	var zdx val
	if dx != nil {
		zdx = mean(h.mul(z, dx))
		l.dy = project(dx, zdx)
	}
	l.back = func(u, du val) (val, val) {
		zu := mean(h.mul(z, u))
		gx := project(u, zu)
		if dx == nil {
			return gx, nil
		}
		both := h.mul(l.dy, u)
		inner := h.add(h.mul(l.dy, zu), h.mul(gx, zdx))
		if du == nil {
			return gx, h.Op("Neg", nil, h.mul(r, h.add(inner, h.mul(z, mean(both)))))
		}
		both = h.add(both, h.mul(z, du))
		return gx, h.mul(r, h.sub(h.sub(h.sub(du, mean(du)), h.mul(z, mean(both))), inner))
	}
	return l
}

// scaleShift: y = z·γ + β.
func (h *hand) scaleShift(z, dz, gamma, beta val) layer {
	l := layer{y: h.add(h.mul(z, gamma), beta)}
	times := func(v val) val { return h.mul(v, gamma) }
	if dz != nil {
		l.dy = times(dz)
	}
	l.back = func(g, dg val) (val, val) { return linearly(times, g, dg) }
	return l
}

func (h *hand) reshaped(x, dx val, to, from []int64) layer {
	reshape := func(s []int64) func(val) val {
		return func(v val) val { return h.Op("Reshape", nil, v, h.Ints(s...)) }
	}
	return view(reshape(to), reshape(from), x, dx)
}

// groupNorm of images [N, c, size, size].
func (h *hand) groupNorm(name string, c, size, groups int64, x, dx val) []layer {
	flat, full := []int64{-1, groups, c / groups * size * size}, []int64{-1, c, size, size}
	of := func(p string) val { return h.Op("Reshape", nil, h.params[name+p], h.Ints(c, 1, 1)) }
	a := h.reshaped(x, dx, flat, full)
	b := h.standardize(a.y, a.dy, flat[2])
	d := h.reshaped(b.y, b.dy, full, flat)
	return []layer{a, b, d, h.scaleShift(d.y, d.dy, of(".weight"), of(".bias"))}
}

func last(l []layer) layer { return l[len(l)-1] }

// finish makes the graph of what was asked for.
func (h *hand) finish(g, dg val) (*graphs.Graph, error) {
	if h.hv {
		return h.Graph(graphs.Output{Name: "hvp", Value: dg})
	}
	return h.Graph(graphs.Output{Name: "gradient", Value: g})
}

// inputs are x, and v where a Hessian-vector product is asked for.
func (h *hand) inputs(item ...int64) (x, v val) {
	s := append(graphs.Shape{graphs.Symbol("N")}, graphs.ShapeOf(item...)...)
	x = h.Input("x", graphs.Float32, s)
	if h.hv {
		v = h.Input("v", graphs.Float32, s)
	}
	return x, v
}

// mlp is layers.0, …, layers.depth with silu between.
func (h *hand) mlp(dim int64, depth int) (*graphs.Graph, error) {
	y, dy := h.inputs(dim)
	var layers []layer
	for i := range depth {
		l := h.linear(layerName(i), y, dy)
		a := h.silu(l.y, l.dy)
		layers, y, dy = append(layers, l, a), a.y, a.dy
	}
	return h.finish(chain(layers, h.params[layerName(depth)+".weight"], nil))
}

func layerName(i int) string { return "layers." + string(rune('0'+i)) }

// convnet is two convolutions, the second with stride 2, and a linear layer over all of the image.
func (h *hand) convnet(channels, size, out int64) (*graphs.Graph, error) {
	x, v := h.inputs(channels, size, size)
	a := h.conv("layers.0", 3, 1, x, v)
	b := h.silu(a.y, a.dy)
	c := h.conv("layers.1", 3, 2, b.y, b.dy)
	d := h.silu(c.y, c.dy)
	seed := h.Op("Reshape", nil, h.params["head.weight"], h.Ints(1, out, size/2, size/2))
	return h.finish(chain([]layer{a, b, c, d}, seed, nil))
}

// resnet is a stem and a residual block of each width.
func (h *hand) resnet(channels, size int64, widths []int64, groups int64) (*graphs.Graph, error) {
	x, v := h.inputs(channels, size, size)
	stem := h.conv("stem", 3, 1, x, v)
	layers := []layer{stem}
	y, dy, c := stem.y, stem.dy, widths[0]
	for i, w := range widths {
		stride := int64(1)
		if i > 0 {
			stride = 2
		}
		b := h.block("stages."+string(rune('0'+i))+".0", c, w, size, stride, groups, y, dy)
		layers, y, dy, c, size = append(layers, b), b.y, b.dy, w, size/stride
	}
	layers = append(layers, h.normSilu("norm", c, size, groups, y, dy)...)
	w := h.Op("Reshape", nil, h.params["head.weight"], h.Ints(1, c, 1, 1))
	return h.finish(chain(layers, h.mul(w, h.Float(1/float64(size*size))), nil))
}

func (h *hand) normSilu(name string, c, size, groups int64, x, dx val) []layer {
	l := h.groupNorm(name, c, size, groups, x, dx)
	return append(l, h.silu(last(l).y, last(l).dy))
}

func (h *hand) block(name string, in, out, size, stride, groups int64, x, dx val) layer {
	path := h.normSilu(name+".norm1", in, size, groups, x, dx)
	path = append(path, h.conv(name+".conv1", 3, stride, last(path).y, last(path).dy))
	path = append(path, h.normSilu(name+".norm2", out, size/stride, groups, last(path).y, last(path).dy)...)
	path = append(path, h.conv(name+".conv2", 3, 1, last(path).y, last(path).dy))
	var short []layer
	y, dy := x, dx
	if in != out || stride != 1 {
		short = []layer{h.conv(name+".shortcut", 1, stride, x, dx)}
		y, dy = short[0].y, short[0].dy
	}
	return h.parallel(y, dy, last(path), short, path)
}

// parallel is the sum of two paths from the same input.
func (h *hand) parallel(y, dy val, other layer, a, b []layer) layer {
	l := layer{y: h.add(y, other.y)}
	if dy != nil {
		l.dy = h.add(dy, other.dy)
	}
	l.back = func(g, dg val) (val, val) {
		g1, d1 := chain(a, g, dg)
		g2, d2 := chain(b, g, dg)
		return h.add(g1, g2), h.sumMaybe(d1, d2)
	}
	return l
}

// transformer over items [tokens, features].
func (h *hand) transformer(tokens, features, width, heads int64, depth int) (*graphs.Graph, error) {
	x, v := h.inputs(tokens, features)
	layers := []layer{h.reshaped(x, v, []int64{-1, features}, []int64{-1, tokens, features})}
	layers = append(layers, h.linear("embed", last(layers).y, last(layers).dy))
	y, dy := last(layers).y, last(layers).dy
	items := h.Op("Reshape", nil, y, h.Ints(-1, tokens, width))
	y = h.Op("Reshape", nil, h.add(items, h.params["positions"]), h.Ints(-1, width))
	for i := range depth {
		name := "blocks." + string(rune('0'+i)) + "."
		path := h.layerNorm(name+"norm1", width, y, dy)
		path = append(path, h.attention(name+"attention", tokens, width, heads, last(path))...)
		l := h.parallel(y, dy, last(path), nil, path)
		path = h.layerNorm(name+"norm2", width, l.y, l.dy)
		path = append(path, h.linear(name+"mlp.0", last(path).y, last(path).dy))
		path = append(path, h.silu(last(path).y, last(path).dy))
		path = append(path, h.linear(name+"mlp.1", last(path).y, last(path).dy))
		m := h.parallel(l.y, l.dy, last(path), nil, path)
		layers, y, dy = append(layers, l, m), m.y, m.dy
	}
	layers = append(layers, h.layerNorm("norm", width, y, dy)...)
	return h.finish(chain(layers, h.mul(h.params["head.weight"], h.Float(1/float64(tokens))), nil))
}

func (h *hand) layerNorm(name string, width int64, x, dx val) []layer {
	z := h.standardize(x, dx, width)
	return []layer{z, h.scaleShift(z.y, z.dy, h.params[name+".weight"], h.params[name+".bias"])}
}

// attention: a = softmax(qkᵀ/√d), y = a·v, of one product that gives q, k and v.
func (h *hand) attention(name string, tokens, width, heads int64, x layer) []layer {
	d := width / heads
	qkv := h.linear(name+".qkv", x.y, x.dy)
	inner := layer{}
	parts := func(v val) []val {
		p := h.Op("Transpose", graphs.Attrs{"perm": []int64{2, 0, 3, 1, 4}}, h.Op("Reshape", nil, v, h.Ints(-1, tokens, 3, heads, d)))
		s := slices.Clone(h.Ops("Split", 3, graphs.Attrs{"axis": int64(0)}, p, h.Ints(1, 1, 1)))
		for i := range s {
			s[i] = h.Op("Squeeze", nil, s[i], h.Ints(0))
		}
		return s
	}
	join := func(q, k, v val) val {
		for _, p := range []*val{&q, &k, &v} {
			*p = h.Op("Unsqueeze", nil, *p, h.Ints(0))
		}
		p := h.Op("Transpose", graphs.Attrs{"perm": []int64{1, 3, 0, 2, 4}}, h.Op("Concat", graphs.Attrs{"axis": int64(0)}, q, k, v))
		return h.Op("Reshape", nil, p, h.Ints(-1, 3*width))
	}
	merge := func(v val) val {
		return h.Op("Reshape", nil, h.Op("Transpose", graphs.Attrs{"perm": []int64{0, 2, 1, 3}}, v), h.Ints(-1, width))
	}
	unmerge := func(v val) val {
		return h.Op("Transpose", graphs.Attrs{"perm": []int64{0, 2, 1, 3}}, h.Op("Reshape", nil, v, h.Ints(-1, tokens, heads, d)))
	}
	t := func(v val) val { return h.Op("Transpose", graphs.Attrs{"perm": []int64{0, 1, 3, 2}}, v) }
	dot := func(a, b val) val { return h.Op("MatMul", nil, a, b) }
	sum := func(v val) val { return h.Op("ReduceSum", nil, v, h.Ints(-1)) }
	scale := func(v val) val { return h.mul(v, h.Float(1/math.Sqrt(float64(d)))) }

	p := parts(qkv.y)
	q, k, v := scale(p[0]), p[1], p[2]
	a := h.Op("Softmax", graphs.Attrs{"axis": int64(-1)}, dot(q, t(k)))
	inner.y = merge(dot(a, v))
	var dq, dk, dv, da val
	if x.dy != nil {
		dp := parts(qkv.dy)
		dq, dk, dv = scale(dp[0]), dp[1], dp[2]
		w := h.mul(a, h.add(dot(dq, t(k)), dot(q, t(dk))))
		da = h.sub(w, h.mul(a, sum(w)))
		inner.dy = merge(h.add(dot(da, v), dot(a, dv)))
	}
	inner.back = func(g, dg val) (val, val) {
		gm := unmerge(g)
		ga := dot(gm, t(v))
		w := h.mul(a, ga)
		total := sum(w)
		gs := h.sub(w, h.mul(a, total))
		gx := join(scale(dot(gs, k)), dot(t(gs), q), dot(t(a), gm))
		if da == nil {
			return gx, nil
		}
		dga := dot(gm, t(dv))
		dgv := dot(t(da), gm)
		if dg != nil {
			dgm := unmerge(dg)
			dga, dgv = h.add(dot(dgm, t(v)), dga), h.add(dgv, dot(t(a), dgm))
		}
		// the tangent of a∘(ga − Σa∘ga)
		dw := h.add(h.mul(da, ga), h.mul(a, dga))
		dgs := h.sub(h.sub(dw, h.mul(da, total)), h.mul(a, sum(dw)))
		dgq := scale(h.add(dot(dgs, k), dot(gs, dk)))
		dgk := h.add(dot(t(dgs), q), dot(t(gs), dq))
		return gx, join(dgq, dgk, dgv)
	}
	return []layer{qkv, inner, h.linear(name+".out", inner.y, inner.dy)}
}
