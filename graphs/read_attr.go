package graphs

import (
	"fmt"
	"math"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
)

// attributes converts a node's attributes; bodies see the values of s.
func (e *emitter) attributes(p *onnxpb.Node, s *scope) (Attrs, error) {
	if len(p.Attribute) == 0 {
		return nil, nil
	}
	attrs := Attrs{}
	for _, a := range p.Attribute {
		a, err := e.resolve(a)
		if err != nil {
			return nil, err
		}
		if a == nil {
			continue
		}
		if _, ok := attrs[a.Name]; ok {
			return nil, fmt.Errorf("attribute %q is given twice", a.Name)
		}
		v, err := e.attribute(a, s)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", a.Name, err)
		}
		attrs[a.Name] = v
	}
	return attrs, nil
}

func (e *emitter) attribute(a *onnxpb.Attribute, s *scope) (any, error) {
	t := attributeType(a)
	if !filled(a, t) {
		return nil, fmt.Errorf("it is said to be of type %v and holds another", t)
	}
	switch t {
	case onnxpb.AttrFloat:
		return a.F, nil
	case onnxpb.AttrInt:
		return a.I, nil
	case onnxpb.AttrString:
		return string(a.S), nil
	case onnxpb.AttrFloats:
		return append([]float32{}, a.Floats...), nil
	case onnxpb.AttrInts:
		return append([]int64{}, a.Ints...), nil
	case onnxpb.AttrStrings:
		v := make([]string, len(a.Strings))
		for i, s := range a.Strings {
			v[i] = string(s)
		}
		return v, nil
	case onnxpb.AttrTensor:
		return e.r.tensor(a.T)
	case onnxpb.AttrGraph:
		return e.r.graph(a.G, s, e.c)
	}
	return nil, fmt.Errorf("attributes of type %v are not supported", t)
}

// attributeType returns the stated type, or where a file of IR version 1 states none, that of the value it holds.
func attributeType(a *onnxpb.Attribute) onnxpb.AttributeType {
	if a.Type != onnxpb.AttrUndefined {
		return a.Type
	}
	for t := onnxpb.AttrFloat; t <= onnxpb.AttrTypeProtos; t++ {
		if holds(a, t) {
			return t
		}
	}
	return onnxpb.AttrUndefined
}

var singleTypes = []onnxpb.AttributeType{onnxpb.AttrFloat, onnxpb.AttrInt, onnxpb.AttrString, onnxpb.AttrTensor, onnxpb.AttrGraph,
	onnxpb.AttrFloats, onnxpb.AttrInts, onnxpb.AttrStrings}

// filled reports whether a holds a value of type t. Writers may leave out zeros and empty lists, so holding nothing is fine
// for those; holding a value of another type is not.
func filled(a *onnxpb.Attribute, t onnxpb.AttributeType) bool {
	if holds(a, t) {
		return true
	}
	if t == onnxpb.AttrTensor || t == onnxpb.AttrGraph {
		return false
	}
	for _, o := range singleTypes {
		if o != t && holds(a, o) {
			return false
		}
	}
	return true
}

func holds(a *onnxpb.Attribute, t onnxpb.AttributeType) bool {
	switch t {
	case onnxpb.AttrFloat:
		return a.F != 0 || math.Signbit(float64(a.F))
	case onnxpb.AttrInt:
		return a.I != 0
	case onnxpb.AttrString:
		return len(a.S) > 0
	case onnxpb.AttrTensor:
		return a.T != nil
	case onnxpb.AttrGraph:
		return a.G != nil
	case onnxpb.AttrFloats:
		return len(a.Floats) > 0
	case onnxpb.AttrInts:
		return len(a.Ints) > 0
	case onnxpb.AttrStrings:
		return len(a.Strings) > 0
	case onnxpb.AttrTensors:
		return len(a.Tensors) > 0
	case onnxpb.AttrGraphs:
		return len(a.Graphs) > 0
	case onnxpb.AttrSparseTensor:
		return a.SparseTensor != nil
	case onnxpb.AttrSparseTensors:
		return len(a.SparseTensors) > 0
	case onnxpb.AttrTypeProto:
		return a.TP != nil
	case onnxpb.AttrTypeProtos:
		return len(a.TypeProtos) > 0
	}
	return false
}

// attributeKinds lists the attribute names of ai.onnx by type. Almost every name has one type in all ops and opsets;
// reading one with another type would silently give the default.
var attributeKinds = map[string]string{
	"int": `align_corners allowzero antialias axis batch_axis batch_dims block_size blocksize broadcast ceil_mode center_point_box
		chunk_size count_include_pad detect_negative detect_positive dtype end exclude_outside exclusive fmod group hidden_size
		ignore_index input_forget interleaved inverse is_causal is_test k keepdims kv_num_heads largest layout
		linear_before_reset max_gram_length max_skip_count min_gram_length new_axis noop_with_empty_axes num_groups num_heads
		num_outputs num_scan_inputs offset_group onesided output_dtype output_height output_width periodic precision
		q_num_heads qk_matmul_output_mode reverse rotary_embedding_dim sample_size sampling_ratio saturate select_last_index size
		softmax_precision sorted spatial start stash_type storage_order time_axis to training_mode transA transB upper value_int`,
	"float": `alpha beta bias clip cubic_coeff_a epsilon extrapolation_value gamma height_scale high lambd low max mean min momentum
		ratio scale softcap spatial_scale value_float width_scale`,
	"string": `approximate auto_pad coordinate_transformation_mode direction equation keep_aspect_ratio_policy mode nearest_mode
		padding_mode reduction round_mode value_string`,
	"graph": `body else_branch then_branch`,
	"ints": `axes dilations directions ends kernel_shape output_padding output_shape pads perm scan_input_axes
		scan_input_directions scan_output_axes scan_output_directions shape split starts strides value_ints`,
	"strings": `activations value_strings`,
	"floats":  `activation_alpha activation_beta scales value_floats`,
}

var attributeKind = func() map[string]string {
	m := map[string]string{}
	for kind, names := range attributeKinds {
		for _, name := range strings.Fields(names) {
			m[name] = kind
		}
	}
	return m
}()

// checkAttributes refuses attributes of ai.onnx ops that have another type than the specification gives them.
func checkAttributes(attrs Attrs) error {
	for name, v := range attrs {
		want, known := attributeKind[name]
		if got := kindOfAttr(v); known && got != want {
			return fmt.Errorf("attribute %q is of type %s and must be %s", name, got, want)
		}
	}
	return nil
}

func kindOfAttr(v any) string {
	switch v.(type) {
	case int64:
		return "int"
	case float32:
		return "float"
	case string:
		return "string"
	case []int64:
		return "ints"
	case []float32:
		return "floats"
	case []string:
		return "strings"
	case *Tensor:
		return "tensor"
	}
	return "graph"
}
