package graphs

import (
	"fmt"
	"math"
	"slices"
)

var quantizeKernels = kernelTable{
	"QuantizeLinear":        {2, evalQuantizeLinear},
	"DequantizeLinear":      {2, evalDequantizeLinear},
	"DynamicQuantizeLinear": {1, evalDynamicQuantizeLinear},
}

func init() { register(quantizeKernels) }

// granular spreads a scale or zero point over x: a scalar, a vector along the axis, or blocks along it.
func granular(c *call, v, x *Array) (*Array, error) {
	if v.Len() == 1 && len(v.Dims) <= 1 {
		return v.withDims(nil).expandTo(x.Dims)
	}
	axis, err := axisOf(c.intAttr("axis", 1), len(x.Dims))
	if err != nil {
		return nil, err
	}
	if len(v.Dims) == 1 {
		dims := slices.Repeat([]int{1}, len(x.Dims))
		dims[axis] = v.Dims[0]
		return v.withDims(dims).expandTo(x.Dims)
	}
	block := c.intAttr("block_size", 0)
	if block <= 0 || len(v.Dims) != len(x.Dims) {
		return nil, fmt.Errorf("scale of dims %v for dims %v", v.Dims, x.Dims)
	}
	idx := make([]int, x.Dims[axis])
	for i := range idx {
		idx[i] = i / block
	}
	full, err := v.take(axis, idx, []int{len(idx)})
	if err != nil {
		return nil, err
	}
	return full.expandTo(x.Dims)
}

// bounds returns the least and greatest value of an integer type of at most 32 bits.
func bounds(dt DType) (lo, hi float64, err error) {
	n := 8 * dt.Size()
	switch dt {
	case Int8, Int16, Int32:
		return -math.Ldexp(1, n-1), math.Ldexp(1, n-1) - 1, nil
	case Uint8, Uint16, Uint32:
		return 0, math.Ldexp(1, n) - 1, nil
	}
	return 0, 0, &OpError{Op: "QuantizeLinear", Reason: fmt.Sprintf("the evaluator does not quantize to %v", dt)}
}

// evalQuantizeLinear is saturate(round(x/scale) + zero point), rounding half to even.
func evalQuantizeLinear(c *call) ([]*Array, error) {
	x, zero := c.in[0], c.arg(2)
	to := DType(c.Int("output_dtype", 0))
	if to == Undefined {
		to = Uint8
		if zero != nil {
			to = zero.DType
		}
	}
	lo, hi, err := bounds(to)
	if err != nil {
		return nil, err
	}
	if err := needFloat(x, c.in[1]); err != nil {
		return nil, err
	}
	scale, err := granular(c, c.in[1], x)
	if err != nil {
		return nil, err
	}
	y := make([]float64, len(x.F))
	for i, v := range x.F {
		y[i] = math.RoundToEven(v / scale.F[i])
	}
	if zero != nil {
		full, err := granular(c, zero, x)
		if err != nil {
			return nil, err
		}
		for i, z := range full.floats() {
			y[i] += z
		}
	}
	for i, v := range y {
		y[i] = min(max(v, lo), hi)
	}
	return one(cast(reals(Float64, x.Dims, y), to))
}

// evalDequantizeLinear is (x − zero point)·scale in the scale's type.
func evalDequantizeLinear(c *call) ([]*Array, error) {
	x, zero := c.in[0], c.arg(2)
	if err := needFloat(c.in[1]); err != nil {
		return nil, err
	}
	scale, err := granular(c, c.in[1], x)
	if err != nil {
		return nil, err
	}
	y := slices.Clone(x.floats())
	if zero != nil {
		full, err := granular(c, zero, x)
		if err != nil {
			return nil, err
		}
		for i, z := range full.floats() {
			y[i] -= z
		}
	}
	for i, s := range scale.F {
		y[i] *= s
	}
	to := DType(c.Int("output_dtype", 0))
	if to == Undefined {
		to = scale.DType
	}
	return one(cast(reals(Float64, x.Dims, y), to))
}

// evalDynamicQuantizeLinear spreads uint8 over the range of x, which is made to contain 0.
func evalDynamicQuantizeLinear(c *call) ([]*Array, error) {
	x := c.in[0]
	if err := needFloat(x); err != nil {
		return nil, err
	}
	lo, hi := min(0, minOf(x.F)), max(0, maxOf(x.F))
	scale := (hi - lo) / 255
	if scale == 0 {
		scale = 1
	}
	clamp := func(v float64) float64 { return min(max(v, 0), 255) }
	zero := math.RoundToEven(clamp(-lo / scale))
	y := convert(x.F, func(v float64) int64 { return int64(clamp(math.RoundToEven(v/scale) + zero)) })
	return []*Array{integers(Uint8, x.Dims, y), reals(x.DType, nil, []float64{scale}), integers(Uint8, nil, []int64{int64(zero)})}, nil
}
