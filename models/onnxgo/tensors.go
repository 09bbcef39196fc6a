package onnxgo

import (
	"errors"
	"fmt"

	"gorgonia.org/tensor"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// elements returns the elements of a dense tensor in row-major order; the memory is the tensor's where it is so already.
func elements[T graphs.Number](t tensor.Tensor) ([]T, error) {
	d, ok := t.(*tensor.Dense)
	switch {
	case !ok:
		return nil, fmt.Errorf("it is a %T: only dense tensors are supported", t)
	case !d.IsNativelyAccessible():
		return nil, errors.New("its memory is not the process's own")
	case d.IsMasked():
		return nil, errors.New("it is masked")
	}
	switch data := d.Data().(type) {
	case T: // Data of a scalar
		return []T{data}, nil
	case []T:
		return inOrder(data, d.Shape(), d.Strides())
	}
	return nil, fmt.Errorf("its elements are %v", d.Dtype())
}

// inOrder reads the memory of a tensor that may be a slice, a transpose or column-major.
func inOrder[T any](data []T, shape tensor.Shape, strides []int) ([]T, error) {
	if len(strides) != len(shape) {
		return nil, fmt.Errorf("its shape is %v and its strides %v", shape, strides)
	}
	size, plain, long := 1, true, 0
	for i := len(shape) - 1; i >= 0; i-- {
		plain = plain && (shape[i] == 1 || strides[i] == size)
		size *= shape[i]
		if shape[i] > 1 {
			long++
		}
	}
	if len(data) == size && (plain || long <= 1) { // a transposed vector keeps the strides that it had
		return data, nil
	}
	out := make([]T, size)
	at := make([]int, len(shape))
	for i := range out {
		offset := 0
		for k, a := range at {
			offset += a * strides[k]
		}
		if offset >= len(data) {
			return nil, fmt.Errorf("it has %d elements in memory, too few for the shape %v with strides %v", len(data), shape, strides)
		}
		out[i] = data[offset]
		for k := len(at) - 1; k >= 0; k-- {
			if at[k]++; at[k] < shape[k] {
				break
			}
			at[k] = 0
		}
	}
	return out, nil
}

// convert gives a tensor of package graphs for one of the types that onnx-go decodes.
var convert = map[tensor.Dtype]func(tensor.Tensor) (*graphs.Tensor, error){
	tensor.Float32: converted[float32],
	tensor.Float64: converted[float64],
	tensor.Int32:   converted[int32],
	tensor.Int64:   converted[int64],
	tensor.Bool:    converted[bool],
}

func converted[T graphs.Number](t tensor.Tensor) (*graphs.Tensor, error) {
	data, err := elements[T](t)
	if err != nil {
		return nil, err
	}
	return graphs.NewTensor(data, extents(t)...), nil
}

func graphsTensor(t tensor.Tensor) (*graphs.Tensor, error) {
	f, ok := convert[t.Dtype()]
	if !ok {
		return nil, fmt.Errorf("its elements are %v", t.Dtype())
	}
	return f(t)
}

func extents(t tensor.Tensor) []int64 {
	dims := make([]int64, len(t.Shape()))
	for i, d := range t.Shape() {
		dims[i] = int64(d)
	}
	return dims
}

// denseOf copies what a program computed; a scalar has the empty shape.
func denseOf(data []float32, item []int64) tensor.Tensor {
	shape := make([]int, len(item))
	for i, d := range item {
		shape[i] = int(d)
	}
	if len(shape) == 0 {
		return tensor.New(tensor.FromScalar(data[0]))
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(append([]float32(nil), data...)))
}

// element types of onnx-go's placeholders.
var dtypes = map[tensor.Dtype]graphs.DType{
	tensor.Float32: graphs.Float32, tensor.Float64: graphs.Float64, tensor.Bool: graphs.Bool,
	tensor.Int8: graphs.Int8, tensor.Int16: graphs.Int16, tensor.Int32: graphs.Int32, tensor.Int64: graphs.Int64,
	tensor.Uint8: graphs.Uint8, tensor.Uint16: graphs.Uint16, tensor.Uint32: graphs.Uint32, tensor.Uint64: graphs.Uint64,
}
