package models

import (
	"fmt"
	"strconv"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// convnet is a chain of 3×3 convolutions, layers.0, layers.1, …, with an activation after each; all but the first halve the image.
// Dense layers, dense.0, dense.1, …, may follow: on images of few pixels they cost less than convolutions that see as much.
func convnet(s *spec.Spec, item []int64) body {
	channels := widths(s, 32, 64)
	pool, dense := readPool(s, "flatten"), readDense(s)
	checkImage(s, item)
	return func(m *network, x *graphs.Value) features {
		f := m.image(x)
		for i, c := range channels {
			stride := int64(2)
			if i == 0 {
				stride = 1
			}
			f = m.convolved("layers."+strconv.Itoa(i), f, c, stride)
		}
		return m.dense(m.pooled(f, pool), dense)
	}
}

// resnet is a residual network of pre-activation blocks (He et al., ECCV 2016) with group normalisation (Wu & He, ECCV 2018):
//
//	x + conv2(act(norm2(conv1(act(norm1(x))))))
//
// a stem, then a stage for every width; each stage but the first halves the image in its first block.
func resnet(s *spec.Spec, item []int64) body {
	channels := widths(s, 64, 128)
	blocks, groups := s.Count("blocks", 1, 1), s.Count("groups", 8, 1)
	norm := s.Word("norm", "group", "group", "none") == "group"
	pool := readPool(s, "mean")
	checkImage(s, item)
	return func(m *network, x *graphs.Value) features {
		if len(channels) == 0 || m.Err() != nil {
			return features{}
		}
		r := residual{m, int64(groups), norm}
		f := m.conv("stem", m.image(x), channels[0], 3, 1, 1)
		for stage, c := range channels {
			for k := range blocks {
				stride := int64(1)
				if stage > 0 && k == 0 {
					stride = 2
				}
				f = r.block(fmt.Sprintf("stages.%d.%d", stage, k), f, c, stride)
				if m.Err() != nil {
					return features{}
				}
			}
		}
		return m.pooled(r.activated("norm", f), pool)
	}
}

// residual builds the blocks of a residual network.
type residual struct {
	*network
	groups int64
	norm   bool
}

func (r residual) block(name string, x picture, channels, stride int64) picture {
	y := r.conv(name+".conv1", r.activated(name+".norm1", x), channels, 3, stride, r.act.gain)
	y = r.conv(name+".conv2", r.activated(name+".norm2", y), channels, 3, 1, 1)
	shortcut := x
	if x.channels != channels || stride != 1 {
		shortcut = r.conv(name+".shortcut", x, channels, 1, stride, 1)
	}
	y.v = r.Op("Add", nil, shortcut.v, y.v)
	return y
}

// activated is act(norm(x)).
func (r residual) activated(name string, x picture) picture {
	if r.norm {
		x.v = r.groupNorm(name, x, gcd(x.channels, r.groups))
	}
	x.v = r.hidden(x.v)
	return x
}

// groupNorm normalises groups of channels, written as an InstanceNormalization of the groups: the op itself is newer than most runtimes.
func (m *network) groupNorm(name string, x picture, groups int64) *graphs.Value {
	grouped := m.Op("Reshape", nil, x.v, m.Ints(-1, groups, x.channels/groups*x.height*x.width))
	ones, zeros := make([]float64, groups), make([]float64, groups)
	for i := range ones {
		ones[i] = 1
	}
	z := m.Op("InstanceNormalization", graphs.Attrs{"epsilon": float32(1e-5)}, grouped, row(m.Builder, x.v, ones), row(m.Builder, x.v, zeros))
	z = m.Op("Reshape", nil, z, m.Ints(-1, x.channels, x.height, x.width))
	return m.affine(name, z, x.channels, x.channels, 1, 1)
}

// affine is z·weight + bias with a weight of ones and a bias of zeros, [width] each, viewed in the given shape.
func (m *network) affine(name string, z *graphs.Value, width int64, view ...int64) *graphs.Value {
	if !m.reserve(2 * width) {
		return &graphs.Value{}
	}
	weight, bias := make([]float32, width), make([]float32, width)
	for i := range weight {
		weight[i] = 1
	}
	of := func(name string, data []float32) *graphs.Value {
		p := m.Param(name, graphs.NewTensor(data, width))
		if len(view) > 1 {
			return m.Op("Reshape", nil, p, m.Ints(view...))
		}
		return p
	}
	return m.Op("Add", nil, m.Op("Mul", nil, z, of(name+".weight", weight)), of(name+".bias", bias))
}

// picture is [N, channels, height, width].
type picture struct {
	v                       *graphs.Value
	channels, height, width int64
}

// checkImage refuses items that are no images [H, W] or [C, H, W].
func checkImage(s *spec.Spec, item []int64) {
	if len(item) != 2 && len(item) != 3 {
		s.Fail("%s takes images of shape [H, W] or [C, H, W], not items of shape %v", s.Name, item)
	}
}

// image is x as a picture; images [H, W] get one channel.
func (m *network) image(x *graphs.Value) picture {
	if len(m.item) == 2 {
		return picture{m.Op("Unsqueeze", nil, x, m.Ints(1)), 1, m.item[0], m.item[1]}
	}
	return picture{x, m.item[0], m.item[1], m.item[2]}
}

// conv is a k×k convolution padded so that an image is kept, or with stride 2 halved, rounding up.
func (m *network) conv(name string, x picture, out, k, stride int64, gain float64) picture {
	w := m.weights(name+".weight", int(out*k*k), gain, out, x.channels, k, k)
	bias := m.bias(name+".bias", out, x.channels*k*k)
	if w == nil || bias == nil {
		return x
	}
	pad := (k - 1) / 2
	y := m.Op("Conv", graphs.Attrs{"kernel_shape": []int64{k, k}, "strides": []int64{stride, stride}, "pads": []int64{pad, pad, pad, pad}}, x.v,
		m.normed(name, m.Param(name+".weight", graphs.NewTensor(w, out, x.channels, k, k))), m.Param(name+".bias", graphs.NewTensor(bias, out)))
	half := func(n int64) int64 { return (n + stride - 1) / stride }
	return picture{y, out, half(x.height), half(x.width)}
}

func readPool(s *spec.Spec, def string) string { return s.Word("pool", def, "flatten", "mean", "sum") }

// pooled makes features of a picture: all of it, or the mean or sum over its positions.
func (m *network) pooled(x picture, pool string) features {
	if pool == "flatten" {
		return features{m.Op("Flatten", graphs.Attrs{"axis": int64(1)}, x.v), x.channels * x.height * x.width, "head"}
	}
	y := m.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, x.v, m.Ints(2, 3))
	if pool == "mean" {
		y = scale(m.Builder, y, 1/float64(x.height*x.width))
	}
	return features{y, x.channels, "head"}
}

// readDense reads the widths of dense layers; 0, the default, is none.
func readDense(s *spec.Spec) []int64 {
	list := s.Ints("dense", 0)
	if len(list) == 1 && list[0] == 0 {
		return nil
	}
	return checkWidths(s, list)
}

// dense puts dense layers over features.
func (m *network) dense(f features, widths []int64) features {
	for i, w := range widths {
		f.v = m.hidden(m.linear("dense."+strconv.Itoa(i), f.v, f.width, w, m.act.gain))
		f.width = w
	}
	return f
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
