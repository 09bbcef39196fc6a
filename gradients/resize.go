package gradients

import (
	"maps"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	addRules(map[string]Rule{"Resize": resize})
	expansions["Resize"] = fixedSettings
}

// resize is linear and separable: along each axis it is the product with the matrix Resize(identity), and its adjoint the product with the
// transpose. Repeating every element a whole number of times has the sum over the repetitions as adjoint.
func resize(c *Context, n *graphs.Node, gs []*Value) []*Value {
	x, y := n.In[0], n.Out[0]
	out := make([]*Value, len(n.In))
	if x.Rank() < 0 {
		c.Failf("%s: the rank of its operand is unknown", n.Label())
		return out
	}
	if n.Text("keep_aspect_ratio_policy", "stretch") != "stretch" {
		c.Failf("%s: keep_aspect_ratio_policy %q is not supported; give the sizes", n.Label(), n.Text("keep_aspect_ratio_policy", ""))
		return out
	}
	axes, err := graphs.ResizeAxes(n)
	if err != nil {
		c.Failf("%s: %w", n.Label(), err)
		return out
	}
	if k, ok := wholeRepeats(n); ok {
		g := c.realAlong(gs[0], y, spatial(y)...)
		a := graphs.Attrs{"kernel_shape": k, "strides": k}
		out[0] = c.scale(c.Op("AveragePool", a, g), float64(count(k)))
		return out
	}
	g := gs[0]
	for i, a := range axes {
		if c.keepsAxis(n, i, a) {
			continue
		}
		m := c.matrixOf(x, a, func(b *graphs.Builder, eye *Value) *Value { return resizeAlong(b, n, i, a, eye) })
		g = c.applyAlong(m, c.realAlong(g, y, a), a)
	}
	out[0] = g
	return out
}

// keepsAxis reports whether axis a, the i-th resized one, keeps its elements.
func (c *Context) keepsAxis(n *graphs.Node, i, a int) bool {
	if n.Text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize" {
		return false
	}
	if s := n.Input(2); s.IsConst() && n.Input(3) == nil {
		return s.Tensor.Float64s()[i] == 1
	}
	return n.In[0].Shape()[a].Same(n.Out[0].Shape()[a])
}

// resizeAlong resizes the last axis of a matrix as n resizes axis a, its i-th.
func resizeAlong(b *graphs.Builder, n *graphs.Node, i, a int, eye *Value) *Value {
	attrs := maps.Clone(n.Attrs)
	if attrs == nil {
		attrs = graphs.Attrs{}
	}
	delete(attrs, "axes")
	attrs["extrapolation_value"] = float32(0)
	pick := func(v *Value, at int) *Value {
		if v.IsConst() { // as a constant also where nothing is folded
			f := v.Tensor.Float64s()
			t, err := graphs.FromFloat64s(v.Type.DType, f[at:at+1], 1)
			if err == nil {
				return b.Const(t)
			}
		}
		return b.Op("Slice", nil, v, b.Ints(int64(at)), b.Ints(int64(at+1)), b.Ints(0))
	}
	join := func(v ...*Value) *Value { return b.Op("Concat", graphs.Attrs{"axis": int64(0)}, v...) }
	roi, scales, sizes := n.Input(1), n.Input(2), n.Input(3)
	if roi != nil && attrs["coordinate_transformation_mode"] == "tf_crop_and_resize" {
		count := len(n.IntList("axes"))
		if count == 0 {
			count = n.In[0].Rank()
		}
		t, _ := graphs.FromFloat64s(roi.Type.DType, []float64{0}, 1)
		u, _ := graphs.FromFloat64s(roi.Type.DType, []float64{1}, 1)
		roi = join(b.Const(t), pick(roi, i), b.Const(u), pick(roi, count+i))
	} else {
		roi = nil
	}
	if sizes != nil {
		extent := b.Op("Shape", graphs.Attrs{"start": int64(0), "end": int64(1)}, eye)
		return b.Op("Resize", attrs, eye, roi, nil, join(extent, pick(sizes, i)))
	}
	return b.Op("Resize", attrs, eye, roi, join(b.Const(graphs.NewTensor([]float32{1}, 1)), pick(scales, i)))
}

// wholeRepeats returns how often each element is repeated along the spatial axes, where a nearest-neighbour Resize does just that.
func wholeRepeats(n *graphs.Node) ([]int64, bool) {
	x, y := n.In[0].Shape(), n.Out[0].Shape()
	if n.Text("mode", "nearest") != "nearest" || len(x) < 3 || !x[0].Same(y[0]) || !x[1].Same(y[1]) || n.Int("antialias", 0) != 0 {
		return nil, false
	}
	rounding := n.Text("nearest_mode", "round_prefer_floor")
	half := rounding == "round_prefer_floor" || rounding == "round_prefer_ceil"
	switch n.Text("coordinate_transformation_mode", "half_pixel") {
	case "asymmetric":
		if rounding != "floor" {
			return nil, false
		}
	case "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel":
		if !half {
			return nil, false
		}
	default:
		return nil, false
	}
	k := make([]int64, len(x)-2)
	for i := range k {
		d, e := x[i+2], y[i+2]
		r := e.Over(d)
		if !r.IsStatic() || r.Size < 1 || !d.Times(r).Same(e) {
			return nil, false
		}
		k[i] = r.Size
	}
	if s := n.Input(2); n.Input(3) == nil && (!s.IsConst() || !slices.Equal(wholeScales(s), append([]int64{1, 1}, k...)) && n.IntList("axes") == nil) {
		return nil, false
	}
	return k, true
}

// wholeScales returns the scales, 0 where one is no whole number.
func wholeScales(s *Value) []int64 {
	var list []int64
	for _, f := range s.Tensor.Float64s() {
		k := int64(f)
		if float64(k) != f {
			k = 0
		}
		list = append(list, k)
	}
	return list
}

// fixedSettings makes constants of settings that lie among the model's parameters.
func fixedSettings(b *graphs.Builder, n *graphs.Node) []*Value {
	in := slices.Clone(n.In)
	changed := false
	for _, i := range settings[n.Op] {
		if v := n.Input(i); v != nil && v.Kind == graphs.Param {
			in[i], changed = b.Const(v.Tensor), true
		}
	}
	if !changed {
		return nil
	}
	return b.Ops(n.Op, len(n.Out), n.Attrs, in...)
}
