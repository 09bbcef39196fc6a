package graphs

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

var normKernels = kernelTable{
	"Softmax":                   {1, rowwise(softmax)},
	"LogSoftmax":                {1, rowwise(logSoftmax)},
	"Hardmax":                   {1, rowwise(hardmax)},
	"LpNormalization":           {1, evalLpNormalization},
	"BatchNormalization":        {5, evalBatchNormalization},
	"InstanceNormalization":     {3, evalInstanceNormalization},
	"GroupNormalization":        {3, evalGroupNormalization},
	"LayerNormalization":        {2, evalLayerNormalization},
	"RMSNormalization":          {2, evalRMSNormalization},
	"MeanVarianceNormalization": {1, evalMeanVarianceNormalization},
	"LRN":                       {1, evalLRN},
}

func init() { register(normKernels) }

// rowwise applies f to every line along the axis attribute.
func rowwise(f func(y, x []float64)) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) { return one(mapLines(c.in[0], c.intAttr("axis", -1), f)) }
}

// mapLines applies f to every line of a along an axis; y and x have the line's elements.
func mapLines(a *Array, axis int, f func(y, x []float64)) (*Array, error) {
	if err := needFloat(a); err != nil {
		return nil, err
	}
	if len(a.Dims) == 0 {
		out, err := mapLines(a.withDims([]int{1}), axis, f)
		if err != nil {
			return nil, err
		}
		return out.withDims(nil), nil
	}
	axis, err := axisOf(axis, len(a.Dims))
	if err != nil {
		return nil, err
	}
	out, err := newArray(a.DType, a.Dims)
	if err != nil {
		return nil, err
	}
	outer, n, inner := around(a.Dims, axis)
	if n == 0 {
		return out, nil
	}
	if inner == 1 {
		for p := range outer {
			f(out.F[p*n:(p+1)*n], a.F[p*n:(p+1)*n])
		}
		return out, nil
	}
	x, y := make([]float64, n), make([]float64, n)
	for p := range outer {
		for q := range inner {
			base := p*n*inner + q
			for k := range n {
				x[k] = a.F[base+k*inner]
			}
			f(y, x)
			for k := range n {
				out.F[base+k*inner] = y[k]
			}
		}
	}
	return out, nil
}

func softmax(y, x []float64) {
	m := maxOf(x)
	s := 0.0
	for i, v := range x {
		y[i] = math.Exp(v - m)
		s += y[i]
	}
	for i := range y {
		y[i] /= s
	}
}

func logSoftmax(y, x []float64) {
	m := maxOf(x)
	s := math.Log(sumOf(x, func(v float64) float64 { return math.Exp(v - m) }))
	for i, v := range x {
		y[i] = v - m - s
	}
}

func hardmax(y, x []float64) {
	best := 0
	for i, v := range x {
		y[i] = 0
		if v > x[best] {
			best = i
		}
	}
	y[best] = 1
}

func evalLpNormalization(c *call) ([]*Array, error) {
	p := c.intAttr("p", 2)
	if p != 1 && p != 2 {
		return nil, fmt.Errorf("p = %d is neither 1 nor 2", p)
	}
	return one(mapLines(c.in[0], c.intAttr("axis", -1), func(y, x []float64) {
		norm := sumOf(x, math.Abs)
		if p == 2 {
			norm = math.Sqrt(sumOf(x, square))
		}
		for i, v := range x {
			y[i] = 0
			if norm != 0 {
				y[i] = v / norm
			}
		}
	}))
}

// standardize writes (x − mean)/√(var + ε) to y, with the population variance.
func standardize(y, x []float64, eps float64) (mean, inv float64) {
	n := float64(len(x))
	mean = sum(x) / n
	inv = 1 / math.Sqrt(sumOf(x, func(v float64) float64 { return square(v - mean) })/n+eps)
	for i, v := range x {
		y[i] = (v - mean) * inv
	}
	return mean, inv
}

// channels reports the number of channels C of x [N, C, …] and the size of a channel's map.
func channels(x *Array) (n, ch, inner int, err error) {
	if err := needFloat(x); err != nil {
		return 0, 0, 0, err
	}
	switch len(x.Dims) {
	case 0:
		return 0, 0, 0, errors.New("the operand is a scalar")
	case 1:
		return x.Dims[0], 1, 1, nil
	}
	n, ch, inner = around(x.Dims, 1)
	return n, ch, inner, nil
}

// perChannel checks vectors of one float per channel.
func perChannel(ch int, vs ...*Array) error {
	for _, v := range vs {
		if err := needFloat(v); err != nil {
			return err
		}
		if v.Len() != ch {
			return fmt.Errorf("vector of dims %v for %d channels", v.Dims, ch)
		}
	}
	return nil
}

// evalBatchNormalization uses the given moments, or with training_mode the batch's own.
func evalBatchNormalization(c *call) ([]*Array, error) {
	x, scale, bias, mean, variance := c.in[0], c.in[1], c.in[2], c.in[3], c.in[4]
	n, ch, inner, err := channels(x)
	if err != nil {
		return nil, err
	}
	if err := perChannel(ch, scale, bias, mean, variance); err != nil {
		return nil, err
	}
	outs := []*Array{nil}
	if c.Int("training_mode", 0) != 0 {
		momentum := c.float("momentum", 0.9)
		rows, dims, err := x.rows(slices.Delete(ramp(len(x.Dims)), 1, 2), false)
		if err != nil {
			return nil, err
		}
		m, v := make([]float64, ch), make([]float64, ch)
		runM, runV := make([]float64, ch), make([]float64, ch)
		for i := range ch {
			row := rows.F[i*n*inner : (i+1)*n*inner]
			m[i] = sum(row) / float64(len(row))
			v[i] = sumOf(row, func(e float64) float64 { return square(e - m[i]) }) / float64(len(row))
			runM[i] = momentum*mean.F[i] + (1-momentum)*m[i]
			runV[i] = momentum*variance.F[i] + (1-momentum)*v[i]
		}
		outs = append(outs, reals(mean.DType, dims, runM), reals(variance.DType, dims, runV))
		mean, variance = reals(mean.DType, dims, m), reals(variance.DType, dims, v)
	}
	eps := c.float("epsilon", 1e-5)
	y := make([]float64, len(x.F))
	for p := range n * ch {
		i := p % ch
		a := scale.F[i] / math.Sqrt(variance.F[i]+eps)
		for k := p * inner; k < (p+1)*inner; k++ {
			y[k] = (x.F[k]-mean.F[i])*a + bias.F[i]
		}
	}
	outs[0] = reals(x.DType, x.Dims, y)
	return outs, nil
}

func evalInstanceNormalization(c *call) ([]*Array, error) {
	x, scale, bias := c.in[0], c.in[1], c.in[2]
	_, ch, _, err := channels(x)
	if err != nil {
		return nil, err
	}
	return one(groupNorm(x, scale, bias, ch, c.float("epsilon", 1e-5)))
}

func evalGroupNormalization(c *call) ([]*Array, error) {
	return one(groupNorm(c.in[0], c.in[1], c.in[2], c.intAttr("num_groups", 0), c.float("epsilon", 1e-5)))
}

// groupNorm standardizes each group of channels of each sample, then scales and shifts per channel, or per group when the vectors have that length.
func groupNorm(x, scale, bias *Array, groups int, eps float64) (*Array, error) {
	n, ch, inner, err := channels(x)
	if err != nil {
		return nil, err
	}
	if groups <= 0 || ch%groups != 0 {
		return nil, fmt.Errorf("%d groups of %d channels", groups, ch)
	}
	vec := scale.Len()
	if vec != ch && vec != groups {
		vec = ch
	}
	if err := perChannel(vec, scale, bias); err != nil {
		return nil, err
	}
	y := make([]float64, len(x.F))
	run := ch / groups * inner
	for p := range n * groups {
		standardize(y[p*run:(p+1)*run], x.F[p*run:(p+1)*run], eps)
	}
	for p := range n * ch {
		i := p % ch * vec / ch
		for k := p * inner; k < (p+1)*inner; k++ {
			y[k] = y[k]*scale.F[i] + bias.F[i]
		}
	}
	return reals(x.DType, x.Dims, y), nil
}

// lastAxes splits x at the axis attribute into rows and normalized elements.
func lastAxes(c *call) (axis, rows, n int, err error) {
	x := c.in[0]
	if err := needFloat(c.in...); err != nil {
		return 0, 0, 0, err
	}
	if axis, err = axisOf(c.intAttr("axis", -1), len(x.Dims)); err != nil {
		return 0, 0, 0, err
	}
	return axis, product(x.Dims[:axis]), product(x.Dims[axis:]), nil
}

// scaleShift multiplies and adds vectors that broadcast to y.
func scaleShift(y, scale, bias *Array) (*Array, error) {
	for i, v := range []*Array{scale, bias} {
		if v == nil {
			continue
		}
		full, err := v.expandTo(y.Dims)
		if err != nil {
			return nil, err
		}
		if y, err = []arith{multiplication, addition}[i].apply(y, full); err != nil {
			return nil, err
		}
	}
	return y, nil
}

func evalLayerNormalization(c *call) ([]*Array, error) {
	x := c.in[0]
	axis, rows, n, err := lastAxes(c)
	if err != nil {
		return nil, err
	}
	eps := c.float("epsilon", 1e-5)
	y := reals(x.DType, x.Dims, make([]float64, len(x.F)))
	mean, inv := make([]float64, rows), make([]float64, rows)
	for i := range rows {
		mean[i], inv[i] = standardize(y.F[i*n:(i+1)*n], x.F[i*n:(i+1)*n], eps)
	}
	if y, err = scaleShift(y, c.in[1], c.arg(2)); err != nil {
		return nil, err
	}
	dims := slices.Clone(x.Dims)
	for i := axis; i < len(dims); i++ {
		dims[i] = 1
	}
	return []*Array{y, reals(x.DType, dims, mean), reals(x.DType, dims, inv)}, nil
}

// evalRMSNormalization is x/√(mean x² + ε) · scale.
func evalRMSNormalization(c *call) ([]*Array, error) {
	x := c.in[0]
	_, rows, n, err := lastAxes(c)
	if err != nil {
		return nil, err
	}
	eps := c.float("epsilon", 1e-5)
	y := reals(x.DType, x.Dims, make([]float64, len(x.F)))
	for i := range rows {
		row := x.F[i*n : (i+1)*n]
		r := 1 / math.Sqrt(sumOf(row, square)/float64(n)+eps)
		for k, v := range row {
			y.F[i*n+k] = v * r
		}
	}
	return one(scaleShift(y, c.in[1], nil))
}

// evalMeanVarianceNormalization is (x − mean)/(std + 1e−9), the function body of the specification.
func evalMeanVarianceNormalization(c *call) ([]*Array, error) {
	x := c.in[0]
	if err := needFloat(x); err != nil {
		return nil, err
	}
	axes := c.intsAttr("axes")
	if axes == nil {
		axes = []int{0, 2, 3}
	}
	average := reducer{f: func(r []float64) float64 { return sum(r) / float64(len(r)) }}
	mean, err := average.apply(x, axes, true)
	if err != nil {
		return nil, err
	}
	centred, err := subtraction.apply(x, mean)
	if err != nil {
		return nil, err
	}
	variance, err := average.apply(reals(x.DType, x.Dims, convert(centred.F, square)), axes, true)
	if err != nil {
		return nil, err
	}
	return one(arith{f: func(x, v float64) float64 { return x / (math.Sqrt(v) + 1e-9) }}.apply(centred, variance))
}

// evalLRN divides by (bias + α/size·Σ x²)^β, summed over a window of channels.
func evalLRN(c *call) ([]*Array, error) {
	x := c.in[0]
	n, ch, inner, err := channels(x)
	if err != nil {
		return nil, err
	}
	size := c.intAttr("size", 0)
	if size <= 0 {
		return nil, fmt.Errorf("size %d", size)
	}
	alpha, beta, bias := c.float("alpha", 1e-4), c.float("beta", 0.75), c.float("bias", 1)
	y := make([]float64, len(x.F))
	for b := range n {
		for i := range ch {
			lo, hi := max(0, i-(size-1)/2), min(ch-1, i+size/2)
			for q := range inner {
				s := 0.0
				for j := lo; j <= hi; j++ {
					s += square(x.F[(b*ch+j)*inner+q])
				}
				at := (b*ch+i)*inner + q
				y[at] = x.F[at] * math.Pow(bias+alpha/float64(size)*s, -beta)
			}
		}
	}
	return []*Array{reals(x.DType, x.Dims, y)}, nil
}
