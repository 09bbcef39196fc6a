package graphs

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// Attributes that kernels read, with values both sensible and not.
var (
	intAttrs = []string{"axis", "keepdims", "noop_with_empty_axes", "to", "group", "ceil_mode", "blocksize", "num_groups", "size", "p", "batch_dims", "k",
		"onesided", "inverse", "exclusive", "reverse", "transA", "transB", "num_outputs", "start", "end", "allowzero", "upper", "storage_order",
		"count_include_pad", "training_mode", "q_num_heads", "kv_num_heads", "num_heads", "rotary_embedding_dim", "offset_group", "layout",
		"batch_axis", "time_axis", "select_last_index", "largest", "sorted", "dtype", "is_causal", "block_size", "antialias", "exclude_outside", "fmod",
		"output_height", "output_width", "sampling_ratio", "ignore_index", "output_dtype", "num_scan_inputs", "hidden_size"}
	listAttrs = []string{"axes", "perm", "pads", "strides", "dilations", "kernel_shape", "output_padding", "output_shape", "scan_input_axes"}
	textAttrs = map[string][]string{
		"mode":     {"constant", "reflect", "edge", "wrap", "linear", "nearest", "cubic", "DCR", "CRD", "max", "avg", "circular", "what"},
		"auto_pad": {"SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "what"}, "reduction": {"none", "add", "mul", "max", "min", "sum", "mean", "what"},
		"equation": {"ij,jk->ik", "ii->i", "...i,i...", "ij->", "i,j,k", "a->b", "->", ""}, "direction": {"LEFT", "RIGHT", "forward", "reverse", "bidirectional"},
		"padding_mode": {"zeros", "border", "reflection"}, "keep_aspect_ratio_policy": {"stretch", "not_larger", "not_smaller"},
		"coordinate_transformation_mode": {"half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize", "pytorch_half_pixel", "what"},
	}
)

func randomDims(r *rand.Rand) []int {
	dims := make([]int, r.IntN(6))
	for i := range dims {
		dims[i] = []int{0, 1, 1, 2, 2, 3, 4}[r.IntN(7)]
	}
	return dims
}

func randomArray(r *rand.Rand) *Array {
	types := []DType{Float32, Float64, Int64, Int64, Int32, Uint8, Uint64, Bool}
	a, err := newArray(types[r.IntN(len(types))], randomDims(r))
	if err != nil {
		panic(err)
	}
	for i := range a.F {
		a.F[i] = []float64{0, 1, -1, 0.5, 2, 3, posInf, -posInf, notNum, 1e18}[r.IntN(10)]
	}
	for i := range a.I {
		a.I[i] = []int64{0, 1, 2, 3, 4, -1, -2, 1 << 40, -1 << 63, 1<<63 - 1}[min(r.IntN(20), 9)]
		if a.DType == Uint8 {
			a.I[i] &= 3
		}
	}
	if !a.DType.IsFloat() {
		wrapInPlace(a.DType, a.I)
	}
	return a
}

func randomAttrs(r *rand.Rand) Attrs {
	a := Attrs{}
	for _, n := range intAttrs {
		if r.IntN(8) == 0 {
			a[n] = []int64{0, 1, 2, 3, -1, 4, -7, 1 << 62}[r.IntN(8)]
		}
	}
	for _, n := range listAttrs {
		if r.IntN(8) == 0 {
			list := make([]int64, r.IntN(5))
			for i := range list {
				list[i] = []int64{0, 1, 1, 2, 2, 3, -1, 1 << 62}[r.IntN(8)]
			}
			a[n] = list
		}
	}
	for n, values := range textAttrs {
		if r.IntN(2) == 0 {
			a[n] = values[r.IntN(len(values))]
		}
	}
	return a
}

// No operands and attributes, however senseless, make a kernel panic: what it cannot do it reports.
func TestKernelsDoNotPanic(t *testing.T) {
	for i, op := range slices.Sorted(maps.Keys(kernels)) {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		for range 200 {
			ins := make([]*Array, kernels[op].need+r.IntN(4))
			for k := range ins {
				if k < kernels[op].need || r.IntN(2) == 0 {
					ins[k] = randomArray(r)
				}
			}
			attrs := randomAttrs(r)
			if _, err := evalOp(op, attrs, ins...); errors.Is(err, errPanicked) {
				t.Errorf("%v of %v with %v", err, ins, attrs)
			}
		}
	}
}
