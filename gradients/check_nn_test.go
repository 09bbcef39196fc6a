package gradients

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

func init() {
	convolutions()
	normalizations()
	pools()
	resampling()
	attentions()
	recurrences()
	controls()
	samples()
	signals()
	labelLosses()
}

// rigid is an operand whose extents are known in every variant: a weight.
func rigid(dims ...int) operand {
	o := within(-1, 1, dims...)
	o.rigid = true
	return o
}

// channelled is an image whose channels are known in every variant.
func channelled(dims ...int) operand {
	o := within(-1, 1, dims...)
	o.fixedAxes = []int{1}
	return o
}

func convolutions() {
	for _, c := range []struct {
		name string
		in   []operand
		a    graphs.Attrs
	}{
		{"1d", []operand{channelled(2, 2, 5), rigid(3, 2, 3), rigid(3)}, nil},
		{"2d", []operand{channelled(2, 2, 4, 5), rigid(3, 2, 3, 2), rigid(3)}, graphs.Attrs{"pads": list(1, 0, 2, 1)}},
		{"3d", []operand{channelled(1, 1, 3, 4, 3), rigid(2, 1, 2, 2, 2)}, graphs.Attrs{"pads": list(0, 1, 0, 1, 0, 0), "strides": list(1, 2, 1)}},
		{"pointwise", []operand{channelled(2, 3, 2, 2), rigid(2, 3, 1, 1)}, nil},
		{"pointwise strided", []operand{channelled(2, 2, 4, 3), rigid(2, 2, 1, 1)}, graphs.Attrs{"strides": list(2, 2)}},
		{"strided with remainder", []operand{channelled(1, 2, 7, 6), rigid(2, 2, 3, 3)}, graphs.Attrs{"strides": list(2, 3), "pads": list(1, 0, 0, 1)}},
		{"dilated", []operand{channelled(1, 2, 6, 7), rigid(2, 2, 2, 3)}, graphs.Attrs{"dilations": list(2, 3), "strides": list(2, 1), "pads": list(1, 2, 0, 3)}},
		{"grouped", []operand{channelled(2, 4, 4), rigid(6, 2, 2), rigid(6)}, graphs.Attrs{"group": int64(2), "strides": list(2)}},
		{"depthwise", []operand{channelled(1, 3, 4, 4), rigid(3, 1, 3, 3)}, graphs.Attrs{"group": int64(3), "pads": list(1, 1, 1, 1)}},
		{"same upper", []operand{channelled(1, 1, 5, 6), rigid(2, 1, 3, 2)}, graphs.Attrs{"auto_pad": "SAME_UPPER", "strides": list(2, 2)}},
		{"same lower", []operand{channelled(1, 1, 5, 6), rigid(2, 1, 2, 4)}, graphs.Attrs{"auto_pad": "SAME_LOWER", "strides": list(1, 3)}},
		{"valid", []operand{channelled(1, 1, 5), rigid(2, 1, 2)}, graphs.Attrs{"auto_pad": "VALID"}},
	} {
		addCases("Conv", gradCase{name: c.name, in: c.in, build: op("Conv", c.a), batch: []int{0}})
	}
	for _, c := range []struct {
		name string
		in   []operand
		a    graphs.Attrs
	}{
		{"1d", []operand{channelled(2, 2, 4), rigid(2, 3, 3), rigid(3)}, nil},
		{"2d", []operand{channelled(2, 2, 3, 3), rigid(2, 3, 3, 2), rigid(3)}, graphs.Attrs{"pads": list(1, 0, 1, 1), "strides": list(2, 2)}},
		{"3d", []operand{channelled(1, 1, 2, 2, 3), rigid(1, 2, 2, 2, 2)}, graphs.Attrs{"strides": list(1, 2, 1)}},
		{"output padding", []operand{channelled(1, 2, 3, 3), rigid(2, 1, 3, 3)}, graphs.Attrs{"strides": list(2, 3), "output_padding": list(1, 2), "pads": list(1, 0, 0, 1)}},
		{"output padding beyond the stride", []operand{channelled(1, 1, 3), rigid(1, 1, 3)}, graphs.Attrs{"strides": list(2), "dilations": list(4), "output_padding": list(3)}},
		{"dilated", []operand{channelled(1, 2, 3, 4), rigid(2, 2, 2, 3)}, graphs.Attrs{"dilations": list(2, 2), "strides": list(1, 2)}},
		{"grouped", []operand{channelled(2, 4, 3), rigid(4, 3, 2), rigid(6)}, graphs.Attrs{"group": int64(2), "strides": list(2)}},
		{"depthwise", []operand{channelled(1, 3, 2, 3), rigid(3, 1, 2, 2)}, graphs.Attrs{"group": int64(3)}},
		{"same upper", []operand{channelled(1, 1, 3, 3), rigid(1, 2, 3, 3)}, graphs.Attrs{"auto_pad": "SAME_UPPER", "strides": list(2, 2)}},
		{"same lower", []operand{channelled(1, 1, 3), rigid(1, 2, 4)}, graphs.Attrs{"auto_pad": "SAME_LOWER", "strides": list(1)}},
		{"valid", []operand{channelled(1, 1, 3), rigid(1, 2, 2)}, graphs.Attrs{"auto_pad": "VALID"}},
	} {
		addCases("ConvTranspose", gradCase{name: c.name, in: c.in, build: op("ConvTranspose", c.a), batch: []int{0}})
	}
	addCases("ConvTranspose", gradCase{name: "output shape", in: []operand{still(rigid(1, 1, 3, 4)), rigid(1, 2, 3, 3)}, build: op("ConvTranspose",
		graphs.Attrs{"output_shape": list(6, 7), "strides": list(2, 2)})})
	addCases("Conv", gradCase{name: "two layers", in: []operand{channelled(2, 1, 4, 4), rigid(2, 1, 3, 3), rigid(1, 2, 2, 2)}, batch: []int{0},
		build: func(b *graphs.Builder, in []*Value) []*Value {
			h := b.Op("Tanh", nil, b.Op("Conv", graphs.Attrs{"pads": list(1, 1, 1, 1)}, in[0], in[1]))
			y := b.Op("Conv", graphs.Attrs{"strides": list(2, 2)}, b.Op("Tanh", nil, h), in[2])
			return only(b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, y, y), b.Ints(1, 2, 3)))
		}})
}

func normalizations() {
	addCases("BatchNormalization",
		gradCase{name: "inference", in: []operand{in(2, 3, 2, 2), in(3), in(3), in(3), positive(3)}, build: op("BatchNormalization", nil), batch: []int{0}},
		gradCase{name: "vectors", in: []operand{in(4, 3), in(3), in(3), in(3), positive(3)}, build: op("BatchNormalization", graphs.Attrs{"epsilon": float32(0.5)}), batch: []int{0}},
		gradCase{name: "after a convolution", in: []operand{channelled(2, 2, 3, 3), rigid(3, 2, 2, 2), rigid(3), rigid(3), rigid(3), rigid(3), positive(3)}, batch: []int{0},
			build: func(b *graphs.Builder, in []*Value) []*Value {
				return only(b.Op("BatchNormalization", nil, append(only(b.Op("Conv", nil, in[:3]...)), in[3:]...)...))
			}},
		gradCase{name: "training", in: []operand{in(3, 2, 2), in(2), in(2), in(2), positive(2)},
			build: func(b *graphs.Builder, in []*Value) []*Value {
				return b.Ops("BatchNormalization", 3, graphs.Attrs{"training_mode": int64(1)}, in...)
			}},
	)
	affine := []operand{in(2, 4, 3), rigid(4), rigid(4)}
	image := []operand{channelled(2, 4, 2, 3), rigid(4), rigid(4)}
	addCases("LayerNormalization",
		gradCase{name: "last axis", in: []operand{in(2, 3, 4), in(4), in(4)}, build: op("LayerNormalization", nil), batch: []int{0}},
		gradCase{name: "two axes", in: []operand{in(3, 2, 4), in(2, 4)}, build: op("LayerNormalization", graphs.Attrs{"axis": int64(1), "epsilon": float32(0.25)}), batch: []int{0}},
		gradCase{name: "three outputs", in: []operand{in(3, 4), in(4), in(4)}, batch: []int{0}, build: func(b *graphs.Builder, in []*Value) []*Value {
			return b.Ops("LayerNormalization", 3, nil, in...)
		}},
		gradCase{name: "moments only", in: []operand{in(3, 4), in(4)}, batch: []int{0}, build: func(b *graphs.Builder, in []*Value) []*Value {
			return b.Ops("LayerNormalization", 3, nil, in...)[1:]
		}},
		gradCase{name: "sum of rows", in: []operand{in(3, 4), in(4), in(4)}, batch: []int{0}, build: func(b *graphs.Builder, in []*Value) []*Value {
			y := b.Op("LayerNormalization", nil, in...)
			return only(b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(1)))
		}},
	)
	addCases("InstanceNormalization",
		gradCase{name: "sequence", in: affine, build: op("InstanceNormalization", nil), batch: []int{0}},
		gradCase{name: "image", in: image, build: op("InstanceNormalization", graphs.Attrs{"epsilon": float32(0.25)}), batch: []int{0}},
	)
	addCases("GroupNormalization",
		gradCase{name: "image", in: image, build: op("GroupNormalization", graphs.Attrs{"num_groups": int64(2)}), batch: []int{0}},
		gradCase{name: "one group", in: affine, build: op("GroupNormalization", graphs.Attrs{"num_groups": int64(1)}), batch: []int{0}},
	)
	addCases("RMSNormalization",
		gradCase{name: "last axis", in: []operand{in(2, 3, 4), in(4)}, build: op("RMSNormalization", nil), batch: []int{0}},
		gradCase{name: "two axes", in: []operand{in(3, 2, 4), in(2, 4)}, build: op("RMSNormalization", graphs.Attrs{"axis": int64(-2), "epsilon": float32(0.25)}), batch: []int{0}},
	)
	addCases("MeanVarianceNormalization",
		gradCase{name: "batch", in: []operand{in(2, 3, 2, 2)}, build: op("MeanVarianceNormalization", nil)},
		gradCase{name: "rows", in: []operand{in(2, 5)}, build: op("MeanVarianceNormalization", graphs.Attrs{"axes": list(1)}), batch: []int{0}},
	)
	addCases("LpNormalization",
		gradCase{name: "p 1", in: []operand{in(2, 3)}, build: op("LpNormalization", graphs.Attrs{"p": int64(1)}), batch: []int{0}},
		gradCase{name: "p 2", in: []operand{in(2, 3, 2)}, build: op("LpNormalization", graphs.Attrs{"axis": int64(1)}), batch: []int{0}},
	)
	addCases("LRN",
		gradCase{name: "odd window", in: []operand{channelled(2, 4, 2)}, build: op("LRN", graphs.Attrs{"size": int64(3), "alpha": float32(0.5)}), batch: []int{0}},
		gradCase{name: "even window", in: []operand{channelled(1, 4, 2, 2)}, batch: []int{0}, build: op("LRN",
			graphs.Attrs{"size": int64(2), "alpha": float32(0.5), "beta": float32(0.5), "bias": float32(2)})},
		gradCase{name: "power", in: []operand{channelled(1, 3, 2)}, build: op("LRN", graphs.Attrs{"size": int64(5), "beta": float32(0.625)}), batch: []int{0}},
	)
}

func pools() {
	k := func(kernel []int64, more graphs.Attrs) graphs.Attrs {
		a := graphs.Attrs{"kernel_shape": kernel}
		for name, v := range more {
			a[name] = v
		}
		return a
	}
	windows := []struct {
		name string
		in   operand
		a    graphs.Attrs
	}{
		{"tiles", channelled(2, 2, 4, 6), k(list(2, 3), graphs.Attrs{"strides": list(2, 3)})},
		{"tiles 1d", channelled(2, 1, 6), k(list(3), graphs.Attrs{"strides": list(3)})},
		{"whole image", channelled(2, 2, 2, 3), k(list(2, 3), graphs.Attrs{"strides": list(2, 3)})},
		{"overlap", channelled(1, 2, 5, 4), k(list(3, 2), graphs.Attrs{"strides": list(2, 1)})},
		{"pads", channelled(1, 1, 4, 5), k(list(3, 2), graphs.Attrs{"pads": list(1, 0, 1, 1), "strides": list(2, 2)})},
		{"ceil", channelled(1, 1, 5, 6), k(list(2, 3), graphs.Attrs{"strides": list(2, 2), "ceil_mode": int64(1)})},
		{"3d", channelled(1, 1, 3, 4, 2), k(list(2, 2, 2), graphs.Attrs{"strides": list(1, 2, 1)})},
		{"remainder", channelled(1, 1, 5), k(list(2), graphs.Attrs{"strides": list(2)})},
		{"dilated", channelled(1, 1, 6, 5), k(list(2, 2), graphs.Attrs{"dilations": list(3, 2)})},
		{"valid", channelled(1, 1, 5), k(list(2), graphs.Attrs{"auto_pad": "VALID"})},
	}
	for _, w := range windows {
		addCases("MaxPool", gradCase{name: w.name, in: []operand{w.in}, build: op("MaxPool", w.a), batch: []int{0}})
		addCases("AveragePool", gradCase{name: w.name, in: []operand{w.in}, build: op("AveragePool", w.a), batch: []int{0}})
		if w.name != "ceil" {
			addCases("LpPool", gradCase{name: w.name, in: []operand{w.in}, build: op("LpPool", w.a), batch: []int{0}})
		}
	}
	fixed := rigid(1, 1, 5, 6)
	addCases("MaxPool",
		gradCase{name: "same", in: []operand{fixed}, build: op("MaxPool", k(list(3, 2), graphs.Attrs{"auto_pad": "SAME_UPPER", "strides": list(2, 2)}))},
		gradCase{name: "indices and unpool", in: []operand{rigid(1, 2, 4, 4)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			p := b.Ops("MaxPool", 2, k(list(2, 2), graphs.Attrs{"strides": list(2, 2)}), in[0])
			return only(b.Op("MaxUnpool", k(list(2, 2), graphs.Attrs{"strides": list(2, 2)}), b.Op("Tanh", nil, p[0]), p[1]))
		}},
	)
	addCases("AveragePool",
		gradCase{name: "same", in: []operand{fixed}, build: op("AveragePool", k(list(3, 2), graphs.Attrs{"auto_pad": "SAME_LOWER", "strides": list(2, 2)}))},
		gradCase{name: "count with pads", in: []operand{channelled(1, 1, 4, 5)}, build: op("AveragePool", k(list(3, 2), graphs.Attrs{"pads": list(1, 0, 1, 1), "count_include_pad": int64(1)}))},
	)
	addCases("LpPool", gradCase{name: "p 3", in: []operand{channelled(1, 2, 4)}, build: op("LpPool", k(list(2), graphs.Attrs{"p": int64(3)}))})
	for _, name := range []string{"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"} {
		addCases(name,
			gradCase{name: "image", in: []operand{in(2, 3, 2, 2)}, build: op(name, nil), batch: []int{0}},
			gradCase{name: "sequence", in: []operand{in(2, 3, 4)}, build: op(name, nil), batch: []int{0}},
		)
	}
	for _, p := range []int64{1, 3, 4} {
		addCases("GlobalLpPool", gradCase{name: fmt.Sprint("p ", p), in: []operand{in(2, 3, 2)}, build: op("GlobalLpPool", graphs.Attrs{"p": p}), batch: []int{0}})
	}
}

// scaled builds a Resize by constant scales.
func scaled(a graphs.Attrs, scales ...float32) builds {
	return func(b *graphs.Builder, in []*Value) []*Value {
		return only(b.Op("Resize", a, in[0], nil, b.Const(graphs.NewTensor(scales, int64(len(scales))))))
	}
}

// sized builds a Resize to constant extents of the given axes.
func sized(a graphs.Attrs, sizes ...int64) builds {
	return func(b *graphs.Builder, in []*Value) []*Value {
		return only(b.Op("Resize", a, in[0], nil, nil, b.Ints(sizes...)))
	}
}

func resampling() {
	image := channelled(1, 2, 4, 3)
	modes := []struct {
		name string
		a    graphs.Attrs
	}{
		{"nearest", nil},
		{"nearest asymmetric floor", graphs.Attrs{"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}},
		{"nearest asymmetric", graphs.Attrs{"coordinate_transformation_mode": "asymmetric"}},
		{"nearest ceil", graphs.Attrs{"nearest_mode": "ceil"}},
		{"linear", graphs.Attrs{"mode": "linear"}},
		{"linear align corners", graphs.Attrs{"mode": "linear", "coordinate_transformation_mode": "align_corners"}},
		{"linear asymmetric", graphs.Attrs{"mode": "linear", "coordinate_transformation_mode": "asymmetric"}},
		{"linear pytorch half pixel", graphs.Attrs{"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}},
		{"cubic", graphs.Attrs{"mode": "cubic"}},
		{"cubic excluding outside", graphs.Attrs{"mode": "cubic", "exclude_outside": int64(1), "cubic_coeff_a": float32(-0.5)}},
		{"linear antialias", graphs.Attrs{"mode": "linear", "antialias": int64(1)}},
	}
	for _, m := range modes {
		addCases("Resize",
			gradCase{name: m.name + " up", in: []operand{image}, build: scaled(m.a, 1, 1, 2, 3), batch: []int{0}},
			gradCase{name: m.name + " odd", in: []operand{rigid(1, 2, 4, 3)}, build: scaled(m.a, 1, 1, 0.6, 1.7)},
		)
	}
	addCases("Resize",
		gradCase{name: "sizes", in: []operand{channelled(1, 1, 4, 3)}, build: sized(graphs.Attrs{"mode": "linear", "axes": list(2, 3)}, 3, 7)},
		gradCase{name: "sizes by nearest", in: []operand{channelled(2, 1, 2, 3)}, build: sized(graphs.Attrs{"axes": list(3, 2)}, 6, 6), batch: []int{0}},
		gradCase{name: "1d", in: []operand{channelled(1, 2, 4)}, build: scaled(graphs.Attrs{"mode": "linear"}, 1, 1, 2), batch: []int{0}},
		gradCase{name: "3d", in: []operand{channelled(1, 1, 2, 2, 3)}, build: scaled(graphs.Attrs{"mode": "linear"}, 1, 1, 2, 1, 2), batch: []int{0}},
		gradCase{name: "3d nearest", in: []operand{channelled(1, 1, 2, 2, 3)}, build: scaled(nil, 1, 1, 2, 1, 2), batch: []int{0}},
		gradCase{name: "crop", in: []operand{rigid(1, 1, 4, 3)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			roi := b.Const(graphs.NewTensor([]float32{0, 0, 0.2, 0.1, 1, 1, 0.7, 1.4}, 8))
			a := graphs.Attrs{"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": float32(2)}
			return only(b.Op("Resize", a, in[0], roi, nil, b.Ints(1, 1, 3, 4)))
		}},
	)
}

// axesFixed keeps the extents of axes in every variant.
func axesFixed(o operand, axes ...int) operand {
	o.fixedAxes = axes
	return o
}

func attentions() {
	qkv := func(h, kv int) []operand {
		return []operand{axesFixed(in(2, h, 3, 4), 1, 3), axesFixed(in(2, kv, 5, 4), 1, 3), axesFixed(in(2, kv, 5, 2), 1, 3)}
	}
	flat := []operand{axesFixed(in(2, 3, 8), 2), axesFixed(in(2, 5, 4), 2), axesFixed(in(2, 5, 2), 2)}
	heads := graphs.Attrs{"q_num_heads": int64(4), "kv_num_heads": int64(2)}
	and := func(in []operand, more ...operand) []operand { return append(append([]operand{}, in...), more...) }
	outs := func(k int, a graphs.Attrs) builds {
		return func(b *graphs.Builder, in []*Value) []*Value { return b.Ops("Attention", k, a, in...) }
	}
	batch := []int{0, 1, 2}
	addCases("Attention",
		gradCase{name: "heads", in: qkv(2, 2), build: op("Attention", nil), batch: batch},
		gradCase{name: "shared keys", in: qkv(4, 2), build: op("Attention", graphs.Attrs{"scale": float32(0.75)}), batch: batch},
		gradCase{name: "flat", in: flat, build: op("Attention", heads), batch: batch},
		gradCase{name: "causal", in: []operand{channelled(1, 2, 3, 2), channelled(1, 2, 3, 2), channelled(1, 2, 3, 2)}, build: op("Attention", graphs.Attrs{"is_causal": int64(1), "softcap": float32(1.5)})},
		gradCase{name: "float mask", in: and(qkv(2, 2), in(3, 5)), build: op("Attention", nil)},
		gradCase{name: "float mask with holes", in: and(qkv(2, 1), still(values([]int{3, 5}, 0, math.Inf(-1), 1, 0, 0,
			math.Inf(-1), math.Inf(-1), math.Inf(-1), math.Inf(-1), math.Inf(-1), 2, 0, 0, 0, math.Inf(-1)))), build: op("Attention", nil)},
		gradCase{name: "bool mask", in: and(qkv(2, 2), flags(2, 1, 3, 5)), build: op("Attention", nil)},
		gradCase{name: "short mask", in: and(qkv(2, 2), axesFixed(flags(3, 3), 1)), build: op("Attention", nil)},
		gradCase{name: "past", in: []operand{channelled(1, 2, 2, 3), channelled(1, 2, 2, 3), channelled(1, 2, 2, 3), in(2, 5), channelled(1, 2, 3, 3), channelled(1, 2, 3, 3)}, build: outs(3, graphs.Attrs{"is_causal": int64(1)})},
		gradCase{name: "lengths", in: []operand{channelled(2, 1, 2, 2), channelled(2, 1, 4, 2), channelled(2, 1, 4, 2), indices([]int{2}, 2, 4)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			return only(b.Op("Attention", graphs.Attrs{"is_causal": int64(1)}, in[0], in[1], in[2], nil, nil, nil, in[3]))
		}},
	)
	for mode := range int64(4) {
		addCases("Attention", gradCase{name: fmt.Sprint("scores ", mode), in: qkv(2, 1), build: func(b *graphs.Builder, in []*Value) []*Value {
			a := graphs.Attrs{"qk_matmul_output_mode": mode, "softcap": float32(2)}
			y := b.Ops("Attention", 4, a, in...)
			return []*Value{y[0], y[3]}
		}})
	}
	table := axesFixed(in(2, 3, 2), 2)
	addCases("RotaryEmbedding",
		gradCase{name: "heads", in: []operand{axesFixed(in(2, 2, 3, 4), 3), table, table}, build: op("RotaryEmbedding", nil)},
		gradCase{name: "interleaved", in: []operand{axesFixed(in(2, 2, 3, 4), 3), table, table}, build: op("RotaryEmbedding", graphs.Attrs{"interleaved": int64(1)})},
		gradCase{name: "partial and flat", in: []operand{axesFixed(in(2, 3, 12), 2), table, table}, build: op("RotaryEmbedding", graphs.Attrs{"rotary_embedding_dim": int64(4), "num_heads": int64(2)})},
		gradCase{name: "positions", in: []operand{axesFixed(in(2, 1, 3, 4), 3), axesFixed(in(5, 2), 1), axesFixed(in(5, 2), 1), indices([]int{2, 3}, 0, 3, 1, 4, 2, 2)}, build: op("RotaryEmbedding", nil)},
	)
}

func recurrences() {
	const steps, hidden, width = 2, 2, 2
	seq := axesFixed(in(steps, 2, width), 2)
	weights := func(dirs, gates int) []operand {
		return []operand{seq, rigid(dirs, gates*hidden, width), rigid(dirs, gates*hidden, hidden)}
	}
	and := func(in []operand, more ...operand) []operand { return append(append([]operand{}, in...), more...) }
	hiddenSize := func(more graphs.Attrs) graphs.Attrs {
		a := graphs.Attrs{"hidden_size": int64(hidden)}
		for k, v := range more {
			a[k] = v
		}
		return a
	}
	layer := func(op string, outs int, a graphs.Attrs, at ...int) builds { // at: the inputs that the operands are
		return func(b *graphs.Builder, in []*Value) []*Value {
			all := make([]*Value, 8)
			for i, v := range in {
				k := i
				if i >= 3 && at != nil {
					k = at[i-3]
				}
				all[k] = v
			}
			return b.Ops(op, outs, hiddenSize(a), all...)
		}
	}
	start := func(dirs int) operand { return axesFixed(in(dirs, 2, hidden), 0, 2) }
	for _, c := range []struct {
		op          string
		gates, outs int
	}{{"RNN", 1, 2}, {"GRU", 3, 2}, {"LSTM", 4, 3}} {
		bias := func(dirs int) operand { return rigid(dirs, 2*c.gates*hidden) }
		addCases(c.op,
			gradCase{name: "plain", in: weights(1, c.gates), build: layer(c.op, c.outs, nil)},
			gradCase{name: "last state", in: and(weights(1, c.gates), bias(1)), build: func(b *graphs.Builder, in []*Value) []*Value {
				return b.Ops(c.op, c.outs, hiddenSize(nil), in...)[1:2]
			}},
			gradCase{name: "bias and start", in: and(weights(1, c.gates), bias(1), start(1)), build: layer(c.op, c.outs, nil, 3, 5)},
			gradCase{name: "reverse", in: and(weights(1, c.gates), bias(1)), build: layer(c.op, c.outs, graphs.Attrs{"direction": "reverse"})},
			gradCase{name: "both directions", in: and(weights(2, c.gates), bias(2), start(2)), build: layer(c.op, c.outs, graphs.Attrs{"direction": "bidirectional"}, 3, 5)},
			gradCase{name: "lengths", in: and(weights(2, c.gates), indices([]int{2}, 1, 2)), build: layer(c.op, c.outs, graphs.Attrs{"direction": "bidirectional"}, 4)},
			gradCase{name: "clip", in: weights(1, c.gates), build: layer(c.op, c.outs, graphs.Attrs{"clip": float32(0.5)})},
			gradCase{name: "batch first", in: []operand{axesFixed(in(2, steps, width), 2), rigid(1, c.gates*hidden, width), rigid(1, c.gates*hidden, hidden), axesFixed(in(2, 1, hidden), 1, 2)},
				build: layer(c.op, c.outs, graphs.Attrs{"layout": int64(1)}, 5)},
		)
	}
	addCases("LSTM",
		gradCase{name: "peepholes", in: and(weights(1, 4), rigid(1, 8*hidden), start(1), start(1), rigid(1, 3*hidden)), build: layer("LSTM", 3, nil, 3, 5, 6, 7)},
		gradCase{name: "coupled", in: weights(1, 4), build: layer("LSTM", 3, graphs.Attrs{"input_forget": int64(1)})},
		gradCase{name: "activations", in: weights(1, 4), build: layer("LSTM", 3, graphs.Attrs{
			"activations": []string{"HardSigmoid", "ScaledTanh", "Affine"}, "activation_alpha": []float32{0.25, 1.5, 0.75}, "activation_beta": []float32{0.5, 0.5, 0.25}})},
	)
	addCases("GRU",
		gradCase{name: "linear before reset", in: and(weights(1, 3), rigid(1, 6*hidden), start(1)), build: layer("GRU", 2, graphs.Attrs{"linear_before_reset": int64(1)}, 3, 5)},
		gradCase{name: "linear before reset from zero", in: and(weights(1, 3), rigid(1, 6*hidden)), build: layer("GRU", 2, graphs.Attrs{"linear_before_reset": int64(1)})},
	)
	addCases("RNN",
		gradCase{name: "elu", in: weights(1, 1), build: layer("RNN", 2, graphs.Attrs{"activations": []string{"Elu"}, "activation_alpha": []float32{0.5}})},
		gradCase{name: "leaky", in: weights(1, 1), build: layer("RNN", 2, graphs.Attrs{"activations": []string{"LeakyRelu"}})},
	)
}

// body is a subgraph of inputs of the given types.
func body(build func(b *graphs.Builder, in []*Value) []*Value, in ...graphs.Type) *graphs.Graph {
	b := graphs.NewBuilder("body")
	values := make([]*Value, len(in))
	for i, t := range in {
		values[i] = b.Input(fmt.Sprint("in", i), t.DType, t.Shape)
	}
	var outs []graphs.Output
	for i, v := range build(b, values) {
		outs = append(outs, graphs.Output{Name: fmt.Sprint("out", i), Value: v})
	}
	g, err := b.Graph(outs...)
	if err != nil {
		panic(err)
	}
	return g
}

func controls() {
	choose := func(cond func(b *graphs.Builder, in []*Value) *Value) builds {
		return func(b *graphs.Builder, in []*Value) []*Value {
			x, w := in[0], in[1]
			h := b.Op("Sin", nil, x)
			a := graphs.Attrs{
				"then_branch": body(func(b *graphs.Builder, _ []*Value) []*Value {
					return []*Value{b.Op("Mul", nil, b.Op("Tanh", nil, h), w), b.Op("Mul", nil, x, x)}
				}),
				"else_branch": body(func(b *graphs.Builder, _ []*Value) []*Value {
					return []*Value{b.Op("Exp", nil, x), b.Op("Identity", nil, h)}
				}),
			}
			y := b.Ops("If", 2, a, cond(b, in))
			return []*Value{b.Op("Mul", nil, y[0], h), b.Op("Cos", nil, y[1])}
		}
	}
	for i, yes := range []float64{1, 0} {
		flag := values([]int{}, yes)
		flag.dtype, flag.fixed = graphs.Bool, true
		addCases("If",
			gradCase{name: fmt.Sprint("condition ", i), in: []operand{in(2, 3), in(3), flag}, batch: []int{0},
				build: choose(func(_ *graphs.Builder, in []*Value) *Value { return in[2] })},
			gradCase{name: fmt.Sprint("constant condition ", i), in: []operand{in(2, 3), in(3)}, batch: []int{0},
				build: choose(func(b *graphs.Builder, _ []*Value) *Value { return b.Const(graphs.NewTensor([]bool{yes == 1})) })},
		)
	}
	scan := func(directions bool) builds {
		return func(b *graphs.Builder, in []*Value) []*Value {
			w := in[2]
			step := body(func(b *graphs.Builder, in []*Value) []*Value {
				h := b.Op("Tanh", nil, b.Op("Add", nil, b.Op("Mul", nil, in[0], w), in[1]))
				return []*Value{h, b.Op("Mul", nil, h, in[1])}
			}, in[0].Type, graphs.Type{DType: in[1].Type.DType, Shape: in[1].Shape()[1:]})
			a := graphs.Attrs{"body": step, "num_scan_inputs": int64(1)}
			if directions {
				a["scan_input_directions"], a["scan_output_directions"], a["scan_output_axes"] = list(1), list(1), list(-1)
			}
			return b.Ops("Scan", 2, a, in[0], in[1])
		}
	}
	addCases("Scan",
		gradCase{name: "forward", in: []operand{in(2), in(3, 2), in(2)}, build: scan(false)},
		gradCase{name: "backward", in: []operand{in(2), in(3, 2), in(2)}, build: scan(true)},
	)
	addCases("Loop", gradCase{name: "counted", in: []operand{in(2, 3), in(3)}, batch: []int{0}, build: func(b *graphs.Builder, in []*Value) []*Value {
		w := in[1]
		step := body(func(b *graphs.Builder, in []*Value) []*Value {
			t := b.Op("Cast", graphs.Attrs{"to": int64(w.Type.DType)}, in[0])
			h := b.Op("Sin", nil, b.Op("Add", nil, b.Op("Mul", nil, in[2], w), t))
			return []*Value{b.Op("Identity", nil, in[1]), h, b.Op("Mul", nil, h, h)}
		}, graphs.Type{DType: graphs.Int64, Shape: graphs.Shape{}}, graphs.Type{DType: graphs.Bool, Shape: graphs.Shape{}}, in[0].Type)
		return b.Ops("Loop", 2, graphs.Attrs{"body": step}, b.Int(3), nil, in[0])
	}})
	// As many iterations as x has rows, or as the state allows, of a step that reads w and a slice of x.
	loop := func(until bool) builds {
		return func(b *graphs.Builder, in []*Value) []*Value {
			h, x, w := in[0], in[1], in[2]
			step := body(func(b *graphs.Builder, in []*Value) []*Value {
				slice := b.Op("Gather", nil, x, in[0])
				next := b.Op("Tanh", nil, b.Op("Add", nil, b.Op("Mul", nil, in[2], w), slice))
				going := b.Op("Identity", nil, in[1])
				if until {
					going = b.Op("Less", nil, in[3], b.Int(1))
				}
				return []*Value{going, next, b.Op("Add", nil, in[3], b.Int(1)), b.Op("Mul", nil, next, slice)}
			}, graphs.Type{DType: graphs.Int64, Shape: graphs.Shape{}}, graphs.Type{DType: graphs.Bool, Shape: graphs.Shape{}}, h.Type, graphs.Type{DType: graphs.Int64, Shape: graphs.Shape{}})
			trips := b.Op("Squeeze", nil, b.Op("Shape", graphs.Attrs{"start": int64(0), "end": int64(1)}, x), b.Ints(0))
			out := b.Ops("Loop", 3, graphs.Attrs{"body": step}, trips, b.Const(graphs.ScalarTensor(true)), h, b.Int(0))
			return []*Value{out[0], out[2]}
		}
	}
	addCases("Loop",
		gradCase{name: "dynamic", in: []operand{in(2), in(3, 2), in(2)}, build: loop(false), refuses: []variant{each}},
		gradCase{name: "until", in: []operand{in(2), in(3, 2), in(2)}, build: loop(true), refuses: []variant{each}},
	)
	// A number of iterations that is an input, 0 among them.
	for _, trips := range []float64{0, 2} {
		count := indices([]int{}, trips)
		addCases("Loop", gradCase{name: fmt.Sprint("of ", trips), in: []operand{in(2), in(2), count}, build: func(b *graphs.Builder, in []*Value) []*Value {
			w := in[1]
			step := body(func(b *graphs.Builder, in []*Value) []*Value {
				return []*Value{b.Op("Identity", nil, in[1]), b.Op("Sin", nil, b.Op("Mul", nil, in[2], w))}
			}, graphs.Type{DType: graphs.Int64, Shape: graphs.Shape{}}, graphs.Type{DType: graphs.Bool, Shape: graphs.Shape{}}, in[0].Type)
			return only(b.Op("Loop", graphs.Attrs{"body": step}, in[2], nil, in[0]))
		}, refuses: []variant{each}})
	}
	// A Scan within a Scan, over rows and columns, and a branch in the inner step that depends on the data.
	addCases("Scan", gradCase{name: "nested", in: []operand{in(2), in(3, 2, 2), within(-0.9, 0.9, 2)}, build: func(b *graphs.Builder, in []*Value) []*Value {
		w, dt := in[2], in[0].Type.DType
		inner := func(x *Value) *graphs.Graph {
			return body(func(b *graphs.Builder, in []*Value) []*Value {
				h := b.Op("Mul", nil, b.Op("Add", nil, in[0], in[1]), w)
				positive := b.Op("Greater", nil, b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, in[1]), b.FloatLike(w, 0))
				y := b.Op("If", graphs.Attrs{
					"then_branch": body(func(b *graphs.Builder, _ []*Value) []*Value { return only(b.Op("Sin", nil, h)) }),
					"else_branch": body(func(b *graphs.Builder, _ []*Value) []*Value { return only(b.Op("Tanh", nil, b.Op("Mul", nil, h, w))) }),
				}, positive)
				return []*Value{y}
			}, in[0].Type, graphs.Type{DType: dt, Shape: x.Shape()[1:]})
		}
		outer := body(func(b *graphs.Builder, in []*Value) []*Value {
			h := b.Op("Scan", graphs.Attrs{"body": inner(in[1]), "num_scan_inputs": int64(1)}, in[0], in[1])
			return []*Value{h, b.Op("Mul", nil, h, h)}
		}, in[0].Type, graphs.Type{DType: dt, Shape: in[1].Shape()[1:]})
		return b.Ops("Scan", 2, graphs.Attrs{"body": outer, "num_scan_inputs": int64(1)}, in[0], in[1])
	}})
}

func samples() {
	// Positions whose pixels are not integers, so that no neighbour changes within a difference.
	grid := func(dims ...int) operand {
		return values(dims, -0.83, 0.41, 0.27, -1.37, 0.93, 0.61, -0.12, 0.08, 1.21, -0.55, 0.37, -0.29)
	}
	for _, c := range []struct {
		mode, padding string
		align         int64
	}{{"linear", "zeros", 0}, {"linear", "border", 1}, {"linear", "reflection", 0}, {"linear", "reflection", 1}, {"nearest", "zeros", 1}, {"cubic", "zeros", 0}, {"cubic", "border", 1}, {"cubic", "reflection", 0}} {
		addCases("GridSample", gradCase{name: fmt.Sprint(c.mode, " ", c.padding, " ", c.align), in: []operand{in(1, 2, 3, 4), grid(1, 3, 2, 2)},
			build: op("GridSample", graphs.Attrs{"mode": c.mode, "padding_mode": c.padding, "align_corners": c.align})})
	}
	addCases("GridSample",
		gradCase{name: "1d", in: []operand{in(2, 1, 5), grid(2, 6, 1)}, build: op("GridSample", nil)},
		gradCase{name: "3d", in: []operand{in(1, 1, 2, 3, 2), grid(1, 2, 2, 1, 3)}, build: op("GridSample", nil)},
	)
	addCases("AffineGrid",
		gradCase{name: "2d", in: []operand{axesFixed(in(2, 2, 3), 1, 2)}, build: with("AffineGrid", nil, list(2, 1, 3, 2))},
		gradCase{name: "3d aligned", in: []operand{axesFixed(in(2, 3, 4), 1, 2)}, build: with("AffineGrid", graphs.Attrs{"align_corners": int64(1)}, list(2, 1, 2, 1, 3))},
	)
	rois := axesFixed(values([]int{3, 4}, 0.3, 0.6, 2.2, 3.1, 1.1, 0.2, 3.4, 1.9, -0.8, 0.7, 1.3, 4.6), 1)
	addCases("RoiAlign",
		gradCase{name: "half pixel", in: []operand{in(2, 2, 4, 3), rois, indices([]int{3}, 0, 1, 1)}, build: op("RoiAlign",
			graphs.Attrs{"output_height": int64(2), "output_width": int64(3), "sampling_ratio": int64(2), "spatial_scale": float32(0.875)})},
		gradCase{name: "output half pixel", in: []operand{in(2, 2, 4, 3), rois, indices([]int{3}, 0, 1, 1)}, build: op("RoiAlign",
			graphs.Attrs{"output_height": int64(1), "output_width": int64(2), "sampling_ratio": int64(1), "coordinate_transformation_mode": "output_half_pixel"})},
	)
	image := axesFixed(in(2, 4, 4, 3), 1, 2, 3)
	offsets := func(groups int) operand { return axesFixed(within(-0.4, -0.1, 2, groups*8, 3, 2), 1, 2, 3) }
	addCases("DeformConv",
		gradCase{name: "plain", in: []operand{image, rigid(2, 4, 2, 2), offsets(1)}, build: op("DeformConv", nil)},
		gradCase{name: "groups, bias, mask", in: []operand{image, rigid(4, 2, 2, 2), offsets(2), rigid(4), axesFixed(in(2, 8, 3, 2), 1, 2, 3)},
			build: op("DeformConv", graphs.Attrs{"group": int64(2), "offset_group": int64(2)})},
		gradCase{name: "strided", in: []operand{image, rigid(1, 4, 2, 2), axesFixed(within(0.1, 0.4, 2, 8, 2, 2), 1, 2, 3)},
			build: op("DeformConv", graphs.Attrs{"strides": list(2, 1), "pads": list(1, 0, 0, 1), "dilations": list(1, 2)})},
	)
	addCases("Col2Im",
		gradCase{name: "2d", in: []operand{axesFixed(in(2, 8, 6), 1, 2)}, build: with("Col2Im", nil, list(4, 3), list(2, 2)), batch: []int{0}},
		gradCase{name: "strided", in: []operand{axesFixed(in(1, 3, 3), 1, 2)}, build: with("Col2Im", graphs.Attrs{"strides": list(2), "pads": list(1, 0), "dilations": list(1)}, list(7), list(3))},
	)
}

func signals() {
	dft := func(a graphs.Attrs, length, axis int64) builds {
		return func(b *graphs.Builder, in []*Value) []*Value {
			var n *Value
			if length > 0 {
				n = b.Int(length)
			}
			return only(b.Op("DFT", a, in[0], n, b.Int(axis)))
		}
	}
	complexSignal, real := axesFixed(in(2, 5, 2), 2), axesFixed(in(2, 5, 1), 2)
	inverse, oneSided := graphs.Attrs{"inverse": int64(1)}, graphs.Attrs{"onesided": int64(1)}
	both := graphs.Attrs{"inverse": int64(1), "onesided": int64(1)}
	addCases("DFT",
		gradCase{opset: 20, name: "complex", in: []operand{complexSignal}, build: dft(nil, 0, 1)},
		gradCase{opset: 20, name: "inverse", in: []operand{complexSignal}, build: dft(inverse, 0, -2)},
		gradCase{opset: 20, name: "real", in: []operand{real}, build: dft(nil, 0, 1)},
		gradCase{opset: 20, name: "one-sided", in: []operand{real}, build: dft(oneSided, 0, 1)},
		gradCase{opset: 20, name: "one-sided even", in: []operand{axesFixed(in(4, 2, 1), 2)}, build: dft(oneSided, 0, 0)},
		gradCase{opset: 20, name: "padded", in: []operand{complexSignal}, build: dft(nil, 7, 1)},
		gradCase{opset: 20, name: "cut", in: []operand{real}, build: dft(oneSided, 3, 1)},
		gradCase{opset: 20, name: "half a spectrum", in: []operand{axesFixed(in(2, 4, 2), 1, 2)}, build: dft(both, 0, 1)},
		gradCase{opset: 20, name: "half an odd spectrum", in: []operand{axesFixed(in(2, 4, 2), 1, 2)}, build: dft(both, 7, 1)},
	)
	addCases("STFT",
		gradCase{opset: 20, name: "window", in: []operand{axesFixed(in(2, 7, 1), 2), in(4)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			return only(b.Op("STFT", nil, in[0], b.Int(2), in[1]))
		}},
		gradCase{opset: 20, name: "two-sided", in: []operand{axesFixed(in(2, 7, 2), 2)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			return only(b.Op("STFT", graphs.Attrs{"onesided": int64(0)}, in[0], b.Int(1), nil, b.Int(3)))
		}},
	)
}

func labelLosses() {
	labels := indices([]int{3}, 1, 0, 3)
	image := indices([]int{2, 2}, 1, 2, 0, 1)
	ignore := func(r string) graphs.Attrs { return graphs.Attrs{"reduction": r, "ignore_index": int64(0)} }
	for _, name := range []string{"SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"} {
		addCases(name,
			gradCase{name: "mean", in: []operand{in(3, 4), labels}, build: op(name, nil)},
			gradCase{name: "weighted", in: []operand{in(3, 4), labels, positive(4)}, build: op(name, nil)},
			gradCase{name: "none", in: []operand{in(2, 3, 2), image}, build: op(name, graphs.Attrs{"reduction": "none"})},
			gradCase{name: "sum with ignored labels", in: []operand{in(2, 3, 2), image, positive(3)}, build: op(name, ignore("sum"))},
			gradCase{name: "mean with ignored labels", in: []operand{in(3, 4), labels}, build: op(name, ignore("mean"))},
		)
	}
	addCases("SoftmaxCrossEntropyLoss", gradCase{name: "log-probabilities", in: []operand{in(3, 4), labels}, build: func(b *graphs.Builder, in []*Value) []*Value {
		return b.Ops("SoftmaxCrossEntropyLoss", 2, graphs.Attrs{"reduction": "none"}, in...)
	}})
	addCases("DequantizeLinear",
		gradCase{name: "tensor", in: []operand{index(0, 9, 2, 3), positive(), indices([]int{}, 3)}, build: op("DequantizeLinear", nil)},
		gradCase{name: "axis", in: []operand{index(0, 9, 2, 3, 2), positive(3)}, build: op("DequantizeLinear", graphs.Attrs{"axis": int64(1)})},
	)
}

// TestRefusals: what has no derivative here says so by name and reason, and only where the result depends on it.
func TestRefusals(t *testing.T) {
	sequence := graphs.Shape{graphs.Symbol("T"), graphs.Symbol("N"), graphs.Static(2)}
	weights := func(b *graphs.Builder) []*Value {
		return []*Value{b.Param("w", graphs.NewTensor(make([]float32, 4), 1, 2, 2)), b.Param("r", graphs.NewTensor(make([]float32, 4), 1, 2, 2))}
	}
	for name, c := range map[string]struct {
		shape  graphs.Shape
		build  func(b *graphs.Builder, x *Value) *Value
		reason string
	}{
		"RNN": {sequence, func(b *graphs.Builder, x *Value) *Value {
			return b.Op("RNN", graphs.Attrs{"hidden_size": int64(2), "activations": []string{"ThresholdedRelu"}}, append([]*Value{x}, weights(b)...)...)
		}, "ThresholdedRelu"},
		"Loop": {sequence, func(b *graphs.Builder, x *Value) *Value {
			step := body(func(b *graphs.Builder, in []*Value) []*Value {
				return []*Value{b.Op("Identity", nil, in[1]), b.Op("Concat", graphs.Attrs{"axis": int64(0)}, in[2], in[2])}
			}, graphs.Type{DType: graphs.Int64, Shape: graphs.Shape{}}, graphs.Type{DType: graphs.Bool, Shape: graphs.Shape{}}, graphs.Type{DType: graphs.Float32, Shape: sequence})
			trips := b.Op("Size", nil, x)
			return b.Op("Loop", graphs.Attrs{"body": step}, trips, nil, x)
		}, "keep their shapes"},
		"RoiAlign": {graphs.ShapeOf(1, 1, 4, 4), func(b *graphs.Builder, x *Value) *Value {
			return b.Op("RoiAlign", nil, x, b.Const(graphs.NewTensor([]float32{0, 0, 2, 2}, 1, 4)), b.Ints(0))
		}, "sampling_ratio"},
		"LpPool": {graphs.Shape{graphs.Symbol("N"), graphs.Symbol("C"), graphs.Static(4)}, func(b *graphs.Builder, x *Value) *Value {
			return b.Op("LpPool", graphs.Attrs{"kernel_shape": list(2)}, x)
		}, "number of channels"},
	} {
		t.Run(name, func(t *testing.T) {
			b := graphs.NewBuilder("refused")
			x := b.Input("x", graphs.Float32, c.shape)
			y := c.build(b, x)
			g, err := b.Graph(graphs.Output{Name: "y", Value: y}, graphs.Output{Name: "z", Value: b.Op("Tanh", nil, x)})
			require.NoError(t, err)
			_, err = VJP(g, []string{"y"}, []string{"x"})
			var op *graphs.OpError
			require.ErrorAs(t, err, &op)
			require.Equal(t, name, op.Op)
			require.Contains(t, op.Reason, c.reason)
			_, err = VJP(g, []string{"z"}, []string{"x"})
			require.NoError(t, err)
		})
	}
}
