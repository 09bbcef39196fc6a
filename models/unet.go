package models

import (
	"strconv"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// unet is a small U-shaped network (Ronneberger et al., MICCAI 2015): 3×3 convolutions down.0, down.1, …, all but the first of which halve
// the image, then up.0, up.1, … of the doubled image beside the one of that size on the way down:
//
//	dᵢ = act(Conv(dᵢ₋₁)),  u = act(Conv([double(u), dᵢ])), back to the size of x
func unet(s *spec.Spec, item []int64) body {
	channels := widths(s, 16, 32)
	pool := readPool(s, "mean")
	checkImage(s, item)
	return func(m *network, x *graphs.Value) features {
		if len(channels) == 0 || m.Err() != nil {
			return features{}
		}
		f := m.image(x)
		down := make([]picture, len(channels))
		for i, c := range channels {
			f = m.convolved("down."+strconv.Itoa(i), f, c, min(int64(i)+1, 2))
			down[i] = f
		}
		for i := len(channels) - 2; i >= 0; i-- {
			f = m.convolved("up."+strconv.Itoa(len(channels)-2-i), m.beside(m.doubled(f, down[i]), down[i]), channels[i], 1)
		}
		return m.pooled(f, pool)
	}
}

// convolved is act(Conv(x)).
func (m *network) convolved(name string, x picture, channels, stride int64) picture {
	x = m.conv(name, x, channels, 3, stride, m.act.gain)
	x.v = m.hidden(x.v)
	return x
}

// doubled repeats every pixel in both directions, and cuts the picture to the size of another.
func (m *network) doubled(x, size picture) picture {
	apart := m.Op("Unsqueeze", nil, x.v, m.Ints(3, 5))
	y := m.Op("Expand", nil, apart, m.Ints(1, 1, 1, 2, 1, 2))
	x.v = m.Op("Reshape", nil, y, m.Ints(-1, x.channels, 2*x.height, 2*x.width))
	if 2*x.height != size.height || 2*x.width != size.width {
		x.v = m.Op("Slice", nil, x.v, m.Ints(0, 0), m.Ints(size.height, size.width), m.Ints(2, 3))
	}
	x.height, x.width = size.height, size.width
	return x
}

// beside joins the channels of two pictures of one size.
func (m *network) beside(x, y picture) picture {
	x.v = m.Op("Concat", graphs.Attrs{"axis": int64(1)}, x.v, y.v)
	x.channels += y.channels
	return x
}
