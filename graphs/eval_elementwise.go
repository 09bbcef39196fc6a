package graphs

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// elementwiseKernels: formulas are those of the ONNX operator specification.
var elementwiseKernels = kernelTable{
	"Identity": {1, func(c *call) ([]*Array, error) { return []*Array{c.in[0]}, nil }},
	"Dropout":  {1, evalDropout},
	"Cast":     {1, func(c *call) ([]*Array, error) { return one(cast(c.in[0], DType(c.Int("to", 0)))) }},
	"CastLike": {2, func(c *call) ([]*Array, error) { return one(cast(c.in[0], c.in[1].DType)) }},

	"Abs":        {1, unary(math.Abs, func(x int64) int64 { return max(x, -x) })},
	"Neg":        {1, unary(func(x float64) float64 { return -x }, func(x int64) int64 { return -x })},
	"Sign":       {1, unary(sign, func(x int64) int64 { return min(max(x, -1), 1) })},
	"Relu":       {1, unary(relu, func(x int64) int64 { return max(x, 0) })},
	"Exp":        {1, unary(math.Exp, nil)},
	"Log":        {1, unary(math.Log, nil)},
	"Sqrt":       {1, unary(math.Sqrt, nil)},
	"Reciprocal": {1, unary(func(x float64) float64 { return 1 / x }, nil)},
	"Sin":        {1, unary(math.Sin, nil)},
	"Cos":        {1, unary(math.Cos, nil)},
	"Tan":        {1, unary(math.Tan, nil)},
	"Sinh":       {1, unary(math.Sinh, nil)},
	"Cosh":       {1, unary(math.Cosh, nil)},
	"Tanh":       {1, unary(math.Tanh, nil)},
	"Asin":       {1, unary(math.Asin, nil)},
	"Acos":       {1, unary(math.Acos, nil)},
	"Atan":       {1, unary(math.Atan, nil)},
	"Asinh":      {1, unary(math.Asinh, nil)},
	"Acosh":      {1, unary(math.Acosh, nil)},
	"Atanh":      {1, unary(math.Atanh, nil)},
	"Erf":        {1, unary(math.Erf, nil)},
	"Floor":      {1, unary(math.Floor, nil)},
	"Ceil":       {1, unary(math.Ceil, nil)},
	"Round":      {1, unary(math.RoundToEven, nil)},
	"Sigmoid":    {1, unary(sigmoid, nil)},
	"Softplus":   {1, unary(softplus, nil)},
	"Softsign":   {1, unary(softsign, nil)},
	"Mish":       {1, unary(func(x float64) float64 { return x * math.Tanh(softplus(x)) }, nil)},
	"HardSwish":  {1, unary(func(x float64) float64 { return x * hardSigmoid(x, 1.0/6, 0.5) }, nil)},

	"Gelu": {1, activation(func(c *call) func(float64) float64 {
		if c.Text("approximate", "none") == "tanh" {
			return geluTanh
		}
		return func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }
	})},
	"Swish": {1, activation(func(c *call) func(float64) float64 {
		alpha := c.float("alpha", 1)
		return func(x float64) float64 { return x * sigmoid(alpha*x) }
	})},
	"Elu": {1, activation(func(c *call) func(float64) float64 {
		alpha := c.float("alpha", 1)
		return func(x float64) float64 { return elu(x, alpha) }
	})},
	"Selu": {1, activation(func(c *call) func(float64) float64 {
		alpha, gamma := c.float("alpha", seluAlpha), c.float("gamma", seluGamma)
		return func(x float64) float64 { return gamma * elu(x, alpha) }
	})},
	"Celu": {1, activation(func(c *call) func(float64) float64 {
		alpha := c.float("alpha", 1)
		return func(x float64) float64 { return max(0, x) + min(0, alpha*math.Expm1(x/alpha)) }
	})},
	"LeakyRelu": {1, activation(func(c *call) func(float64) float64 {
		alpha := c.float("alpha", 0.01)
		return func(x float64) float64 { return leaky(x, alpha) }
	})},
	"HardSigmoid": {1, activation(func(c *call) func(float64) float64 {
		alpha, beta := c.float("alpha", 0.2), c.float("beta", 0.5)
		return func(x float64) float64 { return hardSigmoid(x, alpha, beta) }
	})},
	"ThresholdedRelu": {1, activation(func(c *call) func(float64) float64 {
		alpha := c.float("alpha", 1)
		return func(x float64) float64 {
			if x <= alpha {
				return 0
			}
			return x
		}
	})},
	"Shrink": {1, evalShrink},

	"IsNaN": {1, test(func(*call) func(float64) bool { return math.IsNaN })},
	"IsInf": {1, test(func(c *call) func(float64) bool {
		neg, pos := c.Int("detect_negative", 1) != 0, c.Int("detect_positive", 1) != 0
		return func(x float64) bool { return neg && math.IsInf(x, -1) || pos && math.IsInf(x, 1) }
	})},
	"Not":        {1, integerUnary(func(x int64) int64 { return 1 - x })},
	"BitwiseNot": {1, integerUnary(func(x int64) int64 { return ^x })},

	"Add": {2, binary(addition)},
	"Sub": {2, binary(subtraction)},
	"Mul": {2, binary(multiplication)},
	"Div": {2, binary(arith{f: func(x, y float64) float64 { return x / y }, i: func(x, y int64) int64 { return x / y }, u: func(x, y uint64) uint64 { return x / y }, nonzero: true})},
	"Mod": {2, evalMod},
	"Pow": {2, evalPow},

	"Min":  {1, fold(minimum)},
	"Max":  {1, fold(maximum)},
	"Sum":  {1, fold(addition)},
	"Mean": {1, evalMean},

	"BitwiseAnd": {2, binary(arith{i: func(x, y int64) int64 { return x & y }})},
	"BitwiseOr":  {2, binary(arith{i: func(x, y int64) int64 { return x | y }})},
	"BitwiseXor": {2, binary(arith{i: func(x, y int64) int64 { return x ^ y }})},
	"BitShift":   {2, evalBitShift},
	"And":        {2, binary(arith{i: func(x, y int64) int64 { return x & y }})},
	"Or":         {2, binary(arith{i: func(x, y int64) int64 { return x | y }})},
	"Xor":        {2, binary(arith{i: func(x, y int64) int64 { return x ^ y }})},

	"Equal":          {2, compare(func(s int) bool { return s == 0 })},
	"Less":           {2, compare(func(s int) bool { return s == -1 })},
	"Greater":        {2, compare(func(s int) bool { return s == 1 })},
	"LessOrEqual":    {2, compare(func(s int) bool { return s == -1 || s == 0 })},
	"GreaterOrEqual": {2, compare(func(s int) bool { return s == 1 || s == 0 })},

	"Where": {3, evalWhere},
	"Clip":  {1, evalClip},
	"PRelu": {2, binary(arith{f: func(x, s float64) float64 { return leaky(x, s) }, i: func(x, s int64) int64 { return max(x, 0) + s*min(x, 0) }})},
}

func init() { register(elementwiseKernels) }

// The constants of Selu as the specification prints them.
const (
	seluAlpha = 1.67326319217681884765625
	seluGamma = 1.05070102214813232421875
)

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

func relu(x float64) float64 {
	if x < 0 {
		return 0
	}
	return x
}

func leaky(x, slope float64) float64 {
	if x < 0 {
		return slope * x
	}
	return x
}

func elu(x, alpha float64) float64 {
	if x < 0 {
		return alpha * math.Expm1(x)
	}
	return x
}

// sigmoid is 1/(1+e^−x), evaluated on the side where the exponential does not overflow.
func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

// softplus is log(1+e^x) without overflow or lost tails.
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func softsign(x float64) float64 { return x / (1 + math.Abs(x)) }

func hardSigmoid(x, alpha, beta float64) float64 { return max(0, min(1, alpha*x+beta)) }

func geluTanh(x float64) float64 {
	return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

// unary applies f to floats and i to integers; without i integers are an error.
func unary(f func(float64) float64, i func(int64) int64) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		a := c.in[0]
		if a.DType.IsFloat() {
			return []*Array{reals(a.DType, a.Dims, convert(a.F, f))}, nil
		}
		if i == nil || a.DType == Bool {
			return nil, fmt.Errorf("no arithmetic for type %v", a.DType)
		}
		return []*Array{integers(a.DType, a.Dims, wrapAll(a.DType, convert(a.I, i)))}, nil
	}
}

// activation is unary with a function that depends on attributes.
func activation(f func(*call) func(float64) float64) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) { return unary(f(c), nil)(c) }
}

func integerUnary(f func(int64) int64) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		a := c.in[0]
		if a.DType.IsFloat() {
			return nil, fmt.Errorf("no bits of type %v", a.DType)
		}
		return []*Array{integers(a.DType, a.Dims, wrapAll(a.DType, convert(a.I, f)))}, nil
	}
}

// test gives bools.
func test(f func(*call) func(float64) bool) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		g := f(c)
		return []*Array{integers(Bool, c.in[0].Dims, convert(c.in[0].floats(), func(x float64) int64 { return truth(g(x)) }))}, nil
	}
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func evalShrink(c *call) ([]*Array, error) {
	lambd, bias := c.float("lambd", 0.5), c.float("bias", 0)
	f := func(x float64) float64 {
		switch {
		case x < -lambd:
			return x + bias
		case x > lambd:
			return x - bias
		}
		return 0
	}
	return unary(f, func(x int64) int64 { return int64(f(float64(x))) })(c)
}

// arith is an operation on two numbers: on floats, on integers, and on uint64 where that differs.
type arith struct {
	f       func(x, y float64) float64
	i       func(x, y int64) int64
	u       func(x, y uint64) uint64
	nonzero bool // an integer second operand must not be zero
}

var (
	subtraction    = arith{f: func(x, y float64) float64 { return x - y }, i: func(x, y int64) int64 { return x - y }}
	addition       = arith{f: func(x, y float64) float64 { return x + y }, i: func(x, y int64) int64 { return x + y }}
	multiplication = arith{f: func(x, y float64) float64 { return x * y }, i: func(x, y int64) int64 { return x * y }}
	minimum        = arith{f: func(x, y float64) float64 { return min(x, y) }, i: func(x, y int64) int64 { return min(x, y) }, u: func(x, y uint64) uint64 { return min(x, y) }}
	maximum        = arith{f: func(x, y float64) float64 { return max(x, y) }, i: func(x, y int64) int64 { return max(x, y) }, u: func(x, y uint64) uint64 { return max(x, y) }}
)

func binary(op arith) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) { return one(op.apply(c.in[0], c.in[1])) }
}

// apply broadcasts both operands, which must be of one class of types, and gives the type of the first.
func (op arith) apply(a, b *Array) (*Array, error) {
	if a.DType.IsFloat() != b.DType.IsFloat() {
		return nil, fmt.Errorf("types %v and %v differ", a.DType, b.DType)
	}
	out, w, err := pair(a, b, a.DType)
	if err != nil {
		return nil, err
	}
	switch {
	case a.DType.IsFloat():
		if op.f == nil {
			return nil, fmt.Errorf("not defined for %v", a.DType)
		}
		zip(out.F, a.F, b.F, w, op.f)
	case op.i == nil:
		return nil, fmt.Errorf("not defined for %v", a.DType)
	default:
		if op.nonzero {
			for _, y := range b.I {
				if y == 0 {
					return nil, errors.New("integer division by zero")
				}
			}
		}
		i := op.i
		if a.DType == Uint64 && op.u != nil {
			i = func(x, y int64) int64 { return int64(op.u(uint64(x), uint64(y))) }
		}
		zip(out.I, a.I, b.I, w, i)
		wrapInPlace(out.DType, out.I)
	}
	return out, nil
}

// pair makes the output of a broadcast of two values and the walk over it.
func pair(a, b *Array, dt DType) (*Array, *walk, error) {
	dims, err := broadcast(a.Dims, b.Dims)
	if err != nil {
		return nil, nil, err
	}
	out, err := newArray(dt, dims)
	if err != nil {
		return nil, nil, err
	}
	return out, newWalk(dims, spread(a.Dims, dims), spread(b.Dims, dims)), nil
}

func zip[T, R any](out []R, a, b []T, w *walk, f func(x, y T) R) {
	w.each(func(o, n int, at, inc []int) {
		i, j := at[0], at[1]
		for k := range n {
			out[o+k] = f(a[i], b[j])
			i += inc[0]
			j += inc[1]
		}
	})
}

// fold applies a binary operation over all inputs.
func fold(op arith) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		acc := c.in[0]
		for _, b := range c.in[1:] {
			if b == nil {
				return nil, errors.New("an operand is missing")
			}
			var err error
			if acc, err = op.apply(acc, b); err != nil {
				return nil, err
			}
		}
		return []*Array{acc}, nil
	}
}

func evalMean(c *call) ([]*Array, error) {
	out, err := fold(addition)(c)
	if err != nil {
		return nil, err
	}
	if err := needFloat(out[0]); err != nil {
		return nil, err
	}
	n := float64(len(c.in))
	return []*Array{reals(out[0].DType, out[0].Dims, convert(out[0].F, func(x float64) float64 { return x / n }))}, nil
}

// evalMod takes the sign of the divisor, or with fmod=1 that of the dividend.
func evalMod(c *call) ([]*Array, error) {
	op := arith{
		f: func(x, y float64) float64 {
			r := math.Mod(x, y)
			if r != 0 && (r < 0) != (y < 0) {
				r += y
			}
			return r
		},
		i: func(x, y int64) int64 {
			r := x % y
			if r != 0 && (r < 0) != (y < 0) {
				r += y
			}
			return r
		},
		u:       func(x, y uint64) uint64 { return x % y },
		nonzero: true,
	}
	if c.Int("fmod", 0) != 0 {
		op.f, op.i = math.Mod, func(x, y int64) int64 { return x % y }
	}
	return one(op.apply(c.in[0], c.in[1]))
}

// evalPow has the type of the base; a float exponent of an integer base gives the truncated real power.
func evalPow(c *call) ([]*Array, error) {
	a, b := c.in[0], c.in[1]
	if !a.DType.IsFloat() && !b.DType.IsFloat() {
		return one(arith{i: intPower}.apply(a, b))
	}
	out, w, err := pair(a, b, Float64)
	if err != nil {
		return nil, err
	}
	zip(out.F, a.floats(), b.floats(), w, math.Pow)
	return one(cast(out, a.DType))
}

// intPower is x^y by squaring; negative exponents truncate toward zero.
func intPower(x, y int64) int64 {
	if y < 0 {
		switch {
		case x == 1:
			return 1
		case x == -1:
			return 1 - 2*(y&1)
		}
		return 0
	}
	r := int64(1)
	for ; y > 0; y >>= 1 {
		if y&1 == 1 {
			r *= x
		}
		x *= x
	}
	return r
}

func evalBitShift(c *call) ([]*Array, error) {
	op := arith{i: func(x, y int64) int64 { return int64(uint64(x) << uint64(y)) }}
	switch dir := c.Text("direction", ""); dir {
	case "LEFT":
	case "RIGHT":
		op.i = func(x, y int64) int64 { return int64(uint64(x) >> uint64(y)) }
	default:
		return nil, fmt.Errorf("direction %q is neither LEFT nor RIGHT", dir)
	}
	return one(op.apply(c.in[0], c.in[1]))
}

// unordered is the comparison of a NaN.
const unordered = 2

// compare gives holds(sign of x−y); a NaN compares as unordered.
func compare(holds func(int) bool) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		a, b := c.in[0], c.in[1]
		if a.DType.IsFloat() != b.DType.IsFloat() {
			return nil, fmt.Errorf("types %v and %v differ", a.DType, b.DType)
		}
		out, w, err := pair(a, b, Bool)
		if err != nil {
			return nil, err
		}
		switch {
		case a.DType.IsFloat():
			zip(out.I, a.F, b.F, w, func(x, y float64) int64 { return truth(holds(order(x, y))) })
		case a.DType == Uint64:
			zip(out.I, a.I, b.I, w, func(x, y int64) int64 { return truth(holds(order(uint64(x), uint64(y)))) })
		default:
			zip(out.I, a.I, b.I, w, func(x, y int64) int64 { return truth(holds(order(x, y))) })
		}
		return []*Array{out}, nil
	}
}

func order[T float64 | int64 | uint64](x, y T) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	case x == y:
		return 0
	}
	return unordered
}

func evalWhere(c *call) ([]*Array, error) {
	cond, a, b := c.in[0], c.in[1], c.in[2]
	if cond.DType != Bool || a.DType.IsFloat() != b.DType.IsFloat() {
		return nil, fmt.Errorf("types %v, %v, %v do not fit", cond.DType, a.DType, b.DType)
	}
	dims, err := broadcast(cond.Dims, a.Dims, b.Dims)
	if err != nil {
		return nil, err
	}
	out, err := newArray(a.DType, dims)
	if err != nil {
		return nil, err
	}
	w := newWalk(dims, spread(cond.Dims, dims), spread(a.Dims, dims), spread(b.Dims, dims))
	if a.DType.IsFloat() {
		choose(out.F, cond.I, a.F, b.F, w)
	} else {
		choose(out.I, cond.I, a.I, b.I, w)
	}
	return []*Array{out}, nil
}

func choose[T any](out []T, cond []int64, a, b []T, w *walk) {
	w.each(func(o, n int, at, inc []int) {
		p, i, j := at[0], at[1], at[2]
		for k := range n {
			if cond[p] != 0 {
				out[o+k] = a[i]
			} else {
				out[o+k] = b[j]
			}
			p, i, j = p+inc[0], i+inc[1], j+inc[2]
		}
	})
}

// evalClip is min(max(x, lo), hi), so that hi wins when the bounds cross.
func evalClip(c *call) ([]*Array, error) {
	out := c.in[0]
	for i, op := range []arith{maximum, minimum} {
		bound := c.arg(i + 1)
		if bound == nil {
			continue
		}
		if bound.Len() != 1 {
			return nil, fmt.Errorf("bound of dims %v is no scalar", bound.Dims)
		}
		var err error
		if out, err = op.apply(out, bound.withDims(nil)); err != nil {
			return nil, err
		}
	}
	return []*Array{out}, nil
}

// evalDropout is the identity of inference. Random masks have no value to evaluate.
func evalDropout(c *call) ([]*Array, error) {
	ratio, err := c.scalarFloat(1, 0.5)
	if err != nil {
		return nil, err
	}
	training, err := c.scalarInt(2, 0)
	if err != nil {
		return nil, err
	}
	if training != 0 && ratio != 0 {
		return nil, &OpError{Op: "Dropout", Node: c.Name, Reason: "training mode is random"}
	}
	mask, err := newArray(Bool, c.in[0].Dims)
	if err != nil {
		return nil, err
	}
	for i := range mask.I {
		mask.I[i] = 1
	}
	return []*Array{c.in[0], mask}, nil
}

// cast changes the type. Floats stay unrounded; floats become integers by truncation toward zero, saturating at the ends of
// int64 (NaN gives 0) and wrapping into narrower types as integers do.
func cast(a *Array, to DType) (*Array, error) {
	switch {
	case to == a.DType:
		return a, nil
	case to.IsFloat():
		return reals(to, a.Dims, a.floats()), nil
	case to == Bool && a.DType.IsFloat():
		return integers(Bool, a.Dims, convert(a.F, func(x float64) int64 { return truth(x != 0) })), nil
	case to == Bool:
		return integers(Bool, a.Dims, convert(a.I, func(x int64) int64 { return truth(x != 0) })), nil
	case to.IsInt() && a.DType.IsFloat():
		return integers(to, a.Dims, wrapAll(to, convert(a.F, truncate(to)))), nil
	case to.IsInt():
		return integers(to, a.Dims, wrapAll(to, a.I)), nil
	}
	return nil, &OpError{Op: "Cast", Reason: fmt.Sprintf("the evaluator does not convert %v to %v", a.DType, to)}
}

func truncate(to DType) func(float64) int64 {
	return func(x float64) int64 {
		switch {
		case math.IsNaN(x):
			return 0
		case to == Uint64 && x >= 1<<63:
			if x >= 1<<64 {
				return -1
			}
			return int64(uint64(x))
		case x >= 1<<63:
			return math.MaxInt64
		case x < -1<<63:
			return math.MinInt64
		}
		return int64(x)
	}
}

// wrapAll returns the values reduced modulo the width of an integer type, sharing memory when nothing can change.
func wrapAll(dt DType, v []int64) []int64 {
	if dt == Int64 || dt == Uint64 {
		return v
	}
	w := append([]int64{}, v...)
	wrapInPlace(dt, w)
	return w
}

func wrapInPlace(dt DType, v []int64) {
	if dt == Bool {
		for i, x := range v {
			v[i] = truth(x != 0)
		}
		return
	}
	shift := uint(bits.UintSize - 8*dt.Size())
	if shift == 0 {
		return
	}
	signed := dt == Int8 || dt == Int16 || dt == Int32
	for i, x := range v {
		if signed {
			v[i] = x << shift >> shift
		} else {
			v[i] = int64(uint64(x) << shift >> shift)
		}
	}
}
