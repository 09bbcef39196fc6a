package gradients

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// cases is the table of checked graphs. Files of further families append theirs in init.
var cases []gradCase

// addCases appends cases whose names begin with a prefix.
func addCases(prefix string, list ...gradCase) {
	for i, c := range list {
		if c.name == "" {
			c.name = fmt.Sprint(i)
		}
		c.name = prefix + " " + c.name
		cases = append(cases, c)
	}
}

type builds = func(b *graphs.Builder, in []*Value) []*Value

// op builds one node of all operands.
func op(name string, a graphs.Attrs) builds {
	return func(b *graphs.Builder, in []*Value) []*Value { return only(b.Op(name, a, in...)) }
}

// with builds one node of the operands and constant integer vectors (nil: absent).
func with(name string, a graphs.Attrs, ints ...[]int64) builds {
	return func(b *graphs.Builder, in []*Value) []*Value {
		all := append([]*Value{}, in...)
		for _, v := range ints {
			if v == nil {
				all = append(all, nil)
				continue
			}
			all = append(all, b.Ints(v...))
		}
		return only(b.Op(name, a, all...))
	}
}

// chain builds a function of one operand.
func chain(f func(b *graphs.Builder, x *Value) *Value) builds {
	return func(b *graphs.Builder, in []*Value) []*Value { return only(f(b, in[0])) }
}

func list(v ...int64) []int64 { return append([]int64{}, v...) }

func init() {
	unaries()
	binaries()
	matrices()
	reductions()
	movements()
	indexing()
	networks()
	arrangements()
	einsums()
}

func unaries() {
	units := map[string]operand{
		"Neg": in(2, 3), "Exp": in(2, 3), "Log": positive(2, 3), "Sqrt": positive(2, 3), "Reciprocal": positive(3), "Tanh": in(2, 3),
		"Sigmoid": in(2, 3), "Relu": in(2, 3), "Erf": in(2, 3), "Gelu": in(2, 3), "Swish": in(2, 3), "Softplus": in(2, 3),
		"Softsign": in(2, 3), "Abs": in(2, 3), "Sin": in(2, 3), "Cos": in(2, 3), "Tan": within(-1, 1, 2, 3), "Sinh": in(2, 3),
		"Cosh": in(2, 3), "Asin": within(-.8, .8, 2, 3), "Acos": within(-.8, .8, 2, 3), "Atan": in(2, 3), "Asinh": in(2, 3),
		"Acosh": within(1.5, 3, 2, 3), "Atanh": within(-.8, .8, 2, 3), "LeakyRelu": in(2, 3), "Elu": in(2, 3), "Selu": in(2, 3),
		"Celu": in(2, 3), "HardSigmoid": within(-4, 4, 2, 3), "HardSwish": within(-5, 5, 2, 3), "Mish": in(2, 3), "Identity": in(2, 3),
		"Dropout": in(2, 3), "Softmax": in(2, 3), "LogSoftmax": in(2, 3),
	}
	for _, name := range slices.Sorted(maps.Keys(units)) {
		o := units[name]
		addCases(name,
			gradCase{name: "matrix", in: []operand{o}, build: op(name, nil), batch: []int{0}},
		)
		o.dims = []int{}
		if name != "Softmax" && name != "LogSoftmax" {
			addCases(name, gradCase{name: "scalar", in: []operand{o}, build: op(name, nil)})
		}
	}
	for i, c := range []struct {
		op string
		a  graphs.Attrs
	}{
		{"Gelu", graphs.Attrs{"approximate": "tanh"}},
		{"Swish", graphs.Attrs{"alpha": float32(1.75)}},
		{"LeakyRelu", graphs.Attrs{"alpha": float32(0.25)}},
		{"Elu", graphs.Attrs{"alpha": float32(1.5)}},
		{"Selu", graphs.Attrs{"alpha": float32(1.5), "gamma": float32(0.75)}},
		{"Celu", graphs.Attrs{"alpha": float32(0.5)}},
		{"HardSigmoid", graphs.Attrs{"alpha": float32(0.5), "beta": float32(0.25)}},
		{"Softmax", graphs.Attrs{"axis": int64(0)}},
		{"Softmax", graphs.Attrs{"axis": int64(1)}},
		{"LogSoftmax", graphs.Attrs{"axis": int64(0)}},
		{"LogSoftmax", graphs.Attrs{"axis": int64(-2)}},
	} {
		addCases(c.op, gradCase{name: fmt.Sprint("attributes ", i), in: []operand{in(2, 3, 2)}, build: op(c.op, c.a)})
	}
	addCases("Cast",
		gradCase{name: "to float64", in: []operand{in(3)}, build: op("Cast", graphs.Attrs{"to": int64(graphs.Float64)})},
		gradCase{name: "through float32", in: []operand{in(3)}, build: chain(func(b *graphs.Builder, x *Value) *Value {
			return b.Op("Cast", graphs.Attrs{"to": int64(graphs.Float64)}, b.Op("Cast", graphs.Attrs{"to": int64(graphs.Float32)}, x))
		})},
		gradCase{name: "to an integer is flat", in: []operand{in(3)}, build: chain(func(b *graphs.Builder, x *Value) *Value {
			i := b.Op("Cast", graphs.Attrs{"to": int64(graphs.Int64)}, x)
			return b.Op("Mul", nil, x, b.Op("Cast", graphs.Attrs{"to": int64(x.Type.DType)}, i))
		})},
	)
	addCases("CastLike", gradCase{in: []operand{in(3), still(in(1))}, build: op("CastLike", nil)})
	for _, name := range []string{"Sign", "Floor", "Ceil", "Round", "Hardmax"} {
		addCases(name, gradCase{name: "times x", in: []operand{in(2, 3)}, build: chain(func(b *graphs.Builder, x *Value) *Value {
			return b.Op("Mul", nil, x, b.Op(name, nil, x))
		})})
	}
	addCases("Relu", gradCase{name: "two paths", in: []operand{in(2, 3)}, build: chain(func(b *graphs.Builder, x *Value) *Value {
		return b.Op("Add", nil, b.Op("Relu", nil, x), b.Op("Mul", nil, x, b.Op("Tanh", nil, x)))
	})})
}

// broadcasts are pairs of extents that broadcast into each other in every way.
var broadcasts = [][2][]int{
	{{2, 3}, {2, 3}}, {{2, 3}, {3}}, {{3}, {2, 3}}, {{2, 1}, {1, 3}}, {{2, 3}, {}}, {{}, {2, 3}}, {{2, 3}, {1, 1}}, {{1, 3}, {2, 1, 1}}, {{1}, {1}}, {{}, {}},
}

func binaries() {
	pairs := map[string][2]operand{
		"Add": {in(), in()}, "Sub": {in(), in()}, "Mul": {in(), in()}, "Div": {in(), positive()}, "Pow": {positive(), in()},
		"Min": {in(), in()}, "Max": {in(), in()}, "Sum": {in(), in()}, "Mean": {in(), in()},
	}
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		o := pairs[name]
		for _, dims := range broadcasts {
			a, b := o[0], o[1]
			a.dims, b.dims = dims[0], dims[1]
			c := gradCase{name: fmt.Sprint(dims[0], dims[1]), in: []operand{a, b}, build: op(name, nil)}
			if len(dims[0]) > 0 && dims[0][0] == 2 {
				c.batch = []int{0}
				if len(dims[1]) > 1 && dims[1][0] == 2 {
					c.batch = []int{0, 1}
				}
			}
			addCases(name, c)
		}
		addCases(name, gradCase{name: "of its square", in: []operand{o[1], o[1]}, build: func(b *graphs.Builder, in []*Value) []*Value {
			return only(b.Op(name, nil, b.Op("Exp", nil, in[0]), b.Op("Mul", nil, in[0], in[1])))
		}})
	}
	for _, name := range []string{"Sum", "Mean", "Min", "Max"} {
		addCases(name,
			gradCase{name: "one", in: []operand{in(2, 3)}, build: op(name, nil)},
			gradCase{name: "three", in: []operand{in(2, 3), in(3), in(2, 1)}, build: op(name, nil), batch: []int{0, 2}},
		)
	}
	addCases("Mul",
		gradCase{name: "square", in: []operand{in(2, 3)}, build: chain(func(b *graphs.Builder, x *Value) *Value { return b.Op("Mul", nil, x, x) }), batch: []int{0}},
		gradCase{name: "swish", in: []operand{in(2, 3)}, build: chain(func(b *graphs.Builder, x *Value) *Value {
			return b.Op("Mul", nil, b.Op("Sigmoid", nil, x), x)
		}), batch: []int{0}},
	)
	for _, e := range []float64{-2, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 5} {
		addCases("Pow", gradCase{name: fmt.Sprint("constant ", e), in: []operand{positive(2, 3)}, build: chain(func(b *graphs.Builder, x *Value) *Value {
			return b.Op("Pow", nil, x, b.FloatLike(x, e))
		}), batch: []int{0}})
	}
	for _, e := range []float64{2, 3, 5} {
		addCases("Pow", gradCase{name: fmt.Sprint("negative base ", e), in: []operand{in(2, 3)}, build: chain(func(b *graphs.Builder, x *Value) *Value {
			return b.Op("Pow", nil, x, b.FloatLike(x, e))
		})})
	}
	addCases("Pow",
		gradCase{name: "integer exponents", in: []operand{in(2, 3), indices([]int{3}, 2, 3, 1)}, build: op("Pow", nil)},
		gradCase{name: "vector of exponents", in: []operand{positive(2, 3)}, build: chain(func(b *graphs.Builder, x *Value) *Value {
			t, _ := graphs.FromFloat64s(x.Type.DType, []float64{1.5, 2, -1}, 3)
			return b.Op("Pow", nil, x, b.Const(t))
		})},
	)
	addCases("Mod",
		gradCase{name: "fmod", in: []operand{values([]int{4}, 5.3, -5.3, 2.2, -0.4), values([]int{4}, 2.1, 2.1, -1.3, 1)}, build: op("Mod", graphs.Attrs{"fmod": int64(1)})},
		gradCase{name: "fmod broadcast", in: []operand{in(2, 3), positive(3)}, build: op("Mod", graphs.Attrs{"fmod": int64(1)}), batch: []int{0}},
	)
	addCases("PRelu",
		gradCase{name: "full", in: []operand{in(2, 3), in(2, 3)}, build: op("PRelu", nil)},
		gradCase{name: "channel", in: []operand{in(2, 3, 2), in(3, 1)}, build: op("PRelu", nil), batch: []int{0}},
		gradCase{name: "scalar", in: []operand{in(2, 3), in(1)}, build: op("PRelu", nil), batch: []int{0}},
	)
	for _, dims := range [][3][]int{
		{{2, 3}, {2, 3}, {2, 3}}, {{3}, {2, 3}, {1}}, {{2, 1}, {}, {3}}, {{2, 3}, {1, 1}, {3}}, {{}, {2, 1}, {1, 3}}, {{2, 3}, {}, {}},
	} {
		c, a, b := flags(), in(), in()
		c.dims, a.dims, b.dims = dims[0], dims[1], dims[2]
		addCases("Where", gradCase{name: fmt.Sprint(dims), in: []operand{c, a, b}, build: op("Where", nil)})
	}
	clip := func(lo, hi *float64) builds {
		return chain(func(b *graphs.Builder, x *Value) *Value {
			in := []*Value{x, nil, nil}
			if lo != nil {
				in[1] = b.FloatLike(x, *lo)
			}
			if hi != nil {
				in[2] = b.FloatLike(x, *hi)
			}
			return b.Op("Clip", nil, in...)
		})
	}
	lo, hi := -0.7, 0.9
	addCases("Clip",
		gradCase{name: "both", in: []operand{in(3, 4)}, build: clip(&lo, &hi), batch: []int{0}},
		gradCase{name: "below", in: []operand{in(3, 4)}, build: clip(&lo, nil)},
		gradCase{name: "above", in: []operand{in(3, 4)}, build: clip(nil, &hi)},
		gradCase{name: "none", in: []operand{in(3, 4)}, build: clip(nil, nil)},
		gradCase{name: "tensor bounds", in: []operand{in(3, 4), values(nil, -0.7), values(nil, 0.9)}, build: op("Clip", nil), batch: []int{0}},
		gradCase{name: "lower tensor bound", in: []operand{in(3, 4), values(nil, -0.3)}, build: op("Clip", nil)},
		gradCase{name: "crossed bounds", in: []operand{in(3, 4), values(nil, 0.7), values(nil, -0.3)}, build: op("Clip", nil)},
		gradCase{name: "of a product", in: []operand{in(3, 1), in(4)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			return clip(&lo, &hi)(b, only(b.Op("Mul", nil, in...)))
		}},
	)
}

func matrices() {
	for _, dims := range [][2][]int{
		{{2, 3}, {3, 4}}, {{3}, {3}}, {{3}, {3, 4}}, {{2, 3}, {3}}, {{2, 4, 3}, {3, 2}}, {{2, 4, 3}, {3}}, {{3}, {2, 3, 4}}, {{4, 3}, {2, 3, 2}},
		{{2, 4, 3}, {2, 3, 2}}, {{2, 4, 3}, {1, 3, 2}}, {{1, 4, 3}, {2, 3, 2}}, {{2, 1, 2, 3}, {4, 3, 2}}, {{2, 3, 2, 2}, {2, 2}}, {{3, 2, 2}, {2, 3, 2, 2}},
		{{2, 1}, {1, 4}}, {{1, 3}, {3, 1}}, {{2, 1, 3}, {3, 1}}, {{1, 1}, {1, 1}}, {{1}, {1}},
	} {
		a, b := in(dims[0]...), in(dims[1]...)
		c := gradCase{name: fmt.Sprint(dims[0], dims[1]), in: []operand{a, b}, build: op("MatMul", nil)}
		if len(dims[0]) > 1 && len(dims[1]) <= 2 {
			c.batch = []int{0}
		}
		addCases("MatMul", c)
		name := c.name
		c.name, c.build = name+" summed", func(b *graphs.Builder, in []*Value) []*Value {
			return only(b.Op("ReduceSum", nil, b.Op("MatMul", nil, in...)))
		}
		addCases("MatMul", c)
		if len(dims[0])*len(dims[1]) == 1 {
			continue
		}
		c.name, c.build = name+" summed over one axis", func(b *graphs.Builder, in []*Value) []*Value {
			y := b.Op("MatMul", nil, in...)
			return only(b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, y, b.FloatLike(y, 3)), b.Ints(int64(y.Rank()-1))))
		}
		addCases("MatMul", c)
		c.name, c.build = name+" summed over the first", func(b *graphs.Builder, in []*Value) []*Value {
			return only(b.Op("ReduceSum", nil, b.Op("MatMul", nil, in...), b.Ints(0)))
		}
		addCases("MatMul", c)
	}
	addCases("MatMul", gradCase{name: "with itself", in: []operand{in(3, 3)}, build: chain(func(b *graphs.Builder, x *Value) *Value { return b.Op("MatMul", nil, x, x) })})
	biases := [][]int{nil, {2, 4}, {4}, {1, 4}, {2, 1}, {1}, {}}
	for ta := range int64(2) {
		for tb := range int64(2) {
			for i, bias := range biases {
				a, b := in(2, 3), in(3, 4)
				if ta == 1 {
					a = in(3, 2)
				}
				if tb == 1 {
					b = in(4, 3)
				}
				c := gradCase{in: []operand{a, b}}
				label := "no C"
				if i > 0 {
					label = fmt.Sprint(bias)
					c.in = append(c.in, in(bias...))
				}
				if ta == 0 {
					c.batch = []int{0}
					if len(bias) == 2 && bias[0] == 2 {
						c.batch = []int{0, 2}
					}
				}
				attrs := graphs.Attrs{"transA": ta, "transB": tb}
				c.name, c.build = fmt.Sprint("trans ", ta, tb, " ", label), op("Gemm", attrs)
				addCases("Gemm", c)
				scaled := graphs.Attrs{"transA": ta, "transB": tb, "alpha": float32(0.75), "beta": float32(-1.5)}
				c.name, c.build = fmt.Sprint("scaled ", ta, tb, " ", label), op("Gemm", scaled)
				addCases("Gemm", c)
				c.name, c.build = fmt.Sprint("rows summed ", ta, tb, " ", label), func(b *graphs.Builder, in []*Value) []*Value {
					return only(b.Op("ReduceSum", nil, b.Op("Gemm", scaled, in...), b.Ints(0)))
				}
				addCases("Gemm", c)
				c.name, c.build = fmt.Sprint("columns summed ", ta, tb, " ", label), func(b *graphs.Builder, in []*Value) []*Value {
					y := b.Op("Gemm", scaled, in...)
					return only(b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, y, y), b.Ints(1)))
				}
				addCases("Gemm", c)
			}
		}
	}
	addCases("Gemm", gradCase{name: "beta 0", in: []operand{in(2, 3), in(3, 4), in(4)}, build: op("Gemm", graphs.Attrs{"beta": float32(0)})})
}

func reductions() {
	ops := map[string]operand{"ReduceSum": in(), "ReduceMean": in(), "ReduceMax": in(), "ReduceMin": in(), "ReduceProd": in(), "ReduceL1": in(),
		"ReduceL2": in(), "ReduceSumSquare": in(), "ReduceLogSum": positive(), "ReduceLogSumExp": in()}
	for _, name := range slices.Sorted(maps.Keys(ops)) {
		o := ops[name]
		for _, axes := range [][]int64{nil, {0}, {1}, {-1}, {0, 2}, {-1, 0}, {0, 1, 2}} {
			for keep := range int64(2) {
				o.dims = []int{2, 3, 2}
				c := gradCase{name: fmt.Sprint(axes, " keep ", keep), in: []operand{o}, batch: []int{0}}
				attrs := graphs.Attrs{"keepdims": keep}
				c.build = with(name, attrs)
				if axes != nil {
					c.build = with(name, attrs, axes)
				}
				if name == "ReduceProd" {
					c.refuses = []variant{shared, each}
					if axes == nil || axes[0] == 0 || len(axes) > 1 {
						c.batch = nil
					}
				}
				if name == "ReduceMax" || name == "ReduceMin" || name == "ReduceLogSum" || name == "ReduceMean" || name == "ReduceLogSumExp" {
					c.noEmpty(axes)
				}
				addCases(name, c)
			}
		}
		o.dims = []int{3, 1}
		addCases(name,
			gradCase{name: "unit axis", in: []operand{o}, build: with(name, graphs.Attrs{"keepdims": int64(0)}, list(1)), refuses: prodOnly(name, each)},
			gradCase{name: "no axes", in: []operand{o}, build: with(name, graphs.Attrs{"noop_with_empty_axes": int64(1)}, list())},
		)
		o.dims = []int{}
		addCases(name, gradCase{name: "scalar", in: []operand{o}, build: with(name, nil)})
		o.dims = []int{4}
		addCases(name, gradCase{name: "vector times x", in: []operand{o}, build: chain(func(b *graphs.Builder, x *Value) *Value {
			return b.Op("Mul", nil, x, b.Op(name, nil, x))
		}), refuses: prodOnly(name, shared, each)})
	}
	addCases("ReduceProd", gradCase{name: "zeros", in: []operand{values([]int{2, 3}, 0, 2, 3, 0, 0, 1.5)}, build: with("ReduceProd", nil, list(1)), refuses: []variant{shared, each}})
	addCases("ReduceSum",
		gradCase{name: "of sums", in: []operand{in(2, 3, 2)}, build: chain(func(b *graphs.Builder, x *Value) *Value {
			s := b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Exp", nil, x), b.Ints(2))
			return b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, s, s), b.Ints(1))
		}), batch: []int{0}},
		gradCase{name: "of a broadcast sum", in: []operand{in(2, 3), in(3)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			return only(b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Add", nil, in...), b.Ints(1)))
		}, batch: []int{0}},
		gradCase{name: "of everything", in: []operand{in(2, 3), in(3)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			return only(b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Sub", nil, in...)))
		}, batch: []int{0}},
		gradCase{name: "run-time axes", in: []operand{in(2, 3), numbers(1)}, build: op("ReduceSum", nil)},
		gradCase{name: "of a view", in: []operand{in(2, 6), in(3)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			v := b.Op("Reshape", nil, in[0], b.Ints(0, 3, 2))
			return only(b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, v, b.Ints(1, 2)))
		}, batch: []int{0}},
	)
}

// noEmpty drops the batch where a reduction over it has no value.
func (c *gradCase) noEmpty(axes []int64) {
	if axes == nil {
		c.batch = nil
	}
	for _, a := range axes {
		if a == 0 {
			c.batch = nil
		}
	}
}

func prodOnly(name string, v ...variant) []variant {
	if name == "ReduceProd" {
		return v
	}
	return nil
}

// curved follows a linear op by a product, so that higher orders do not vanish, and sums over the last axis so that cotangents stay under-broadcast.
func curved(f builds) builds {
	return func(b *graphs.Builder, in []*Value) []*Value {
		out := f(b, in)
		for i, y := range out {
			out[i] = b.Op("Mul", nil, y, b.Op("Tanh", nil, y))
		}
		return out
	}
}

// summed sums the first result of a linear op over everything but its first axis.
func summed(f builds) builds {
	return func(b *graphs.Builder, in []*Value) []*Value {
		y := f(b, in)[0]
		axes := []int64{}
		for i := 1; i < y.Rank(); i++ {
			axes = append(axes, int64(i))
		}
		if len(axes) == 0 {
			return only(y)
		}
		s := b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(axes...))
		return only(b.Op("Mul", nil, s, s))
	}
}

// total sums over everything.
func total(f builds) builds {
	return func(b *graphs.Builder, in []*Value) []*Value {
		s := b.Op("ReduceSum", nil, f(b, in)[0])
		return only(b.Op("Mul", nil, s, s))
	}
}

// linear adds the three uses of an op that is linear in its first operand.
func linear(op string, c gradCase) {
	f, name := c.build, c.name
	c.name, c.build = name+" curved", curved(f)
	addCases(op, c)
	c.name, c.build = name+" summed", summed(f)
	addCases(op, c)
	c.name, c.build = name+" total", total(f)
	addCases(op, c)
}

func movements() {
	linear("Reshape", gradCase{name: "merge", in: []operand{in(2, 3, 2)}, build: with("Reshape", nil, list(2, 6)), refuses: nil})
	linear("Reshape", gradCase{name: "free", in: []operand{in(2, 3, 2)}, build: with("Reshape", nil, list(-1, 2)), batch: []int{0}})
	linear("Reshape", gradCase{name: "keep", in: []operand{in(2, 6)}, build: with("Reshape", nil, list(0, 2, 3)), batch: []int{0}})
	linear("Reshape", gradCase{name: "flat", in: []operand{in(2, 3)}, build: with("Reshape", nil, list(-1)), batch: []int{0}})
	linear("Reshape", gradCase{name: "unit", in: []operand{in(2, 3)}, build: with("Reshape", nil, list(-1, 1, 3)), batch: []int{0}})
	linear("Reshape", gradCase{name: "scalar", in: []operand{in(1, 1)}, build: with("Reshape", nil, list())})
	linear("Reshape", gradCase{name: "like another", in: []operand{in(2, 6), still(in(2, 3, 2))}, build: func(b *graphs.Builder, in []*Value) []*Value {
		return only(b.Op("Reshape", nil, in[0], b.Op("Shape", nil, in[1])))
	}})
	for _, axis := range []int64{0, 1, 2, -1, 3} {
		linear("Flatten", gradCase{name: fmt.Sprint(axis), in: []operand{in(2, 3, 2)}, build: op("Flatten", graphs.Attrs{"axis": axis}), batch: []int{0}})
	}
	linear("Squeeze", gradCase{name: "axes", in: []operand{in(2, 1, 3, 1)}, build: with("Squeeze", nil, list(-1, 1)), batch: []int{0}})
	linear("Squeeze", gradCase{name: "one", in: []operand{in(2, 1, 3, 1)}, build: with("Squeeze", nil, list(1)), batch: []int{0}})
	linear("Unsqueeze", gradCase{name: "front and back", in: []operand{in(2, 3)}, build: with("Unsqueeze", nil, list(0, -1)), batch: []int{0}})
	linear("Unsqueeze", gradCase{name: "middle", in: []operand{in(2, 3)}, build: with("Unsqueeze", nil, list(1)), batch: []int{0}})
	addCases("Squeeze", gradCase{name: "all", in: []operand{in(2, 1, 3, 1)}, build: curved(with("Squeeze", nil)), refuses: []variant{shared, each}})
	linear("Transpose", gradCase{name: "default", in: []operand{in(2, 3, 4)}, build: op("Transpose", nil)})
	linear("Transpose", gradCase{name: "cycle", in: []operand{in(2, 3, 4)}, build: op("Transpose", graphs.Attrs{"perm": list(1, 2, 0)}), batch: []int{0}})
	linear("Transpose", gradCase{name: "unit axes", in: []operand{in(2, 1, 3)}, build: op("Transpose", graphs.Attrs{"perm": list(1, 0, 2)})})
	linear("Expand", gradCase{name: "front", in: []operand{in(3)}, build: with("Expand", nil, list(2, 3))})
	linear("Expand", gradCase{name: "middle", in: []operand{in(2, 1, 2)}, build: with("Expand", nil, list(1, 3, 1)), batch: []int{0}})
	linear("Expand", gradCase{name: "scalar", in: []operand{in()}, build: with("Expand", nil, list(2, 3))})
	linear("Expand", gradCase{name: "like another", in: []operand{in(2, 1), still(in(2, 3))}, build: func(b *graphs.Builder, in []*Value) []*Value {
		return only(b.Op("Expand", nil, in[0], b.Op("Shape", nil, in[1])))
	}})
	for _, axis := range []int64{0, 1, -1} {
		linear("Concat", gradCase{name: fmt.Sprint("axis ", axis), in: []operand{in(2, 3), in(2, 3), in(2, 3)}, build: op("Concat", graphs.Attrs{"axis": axis})})
	}
	linear("Concat", gradCase{name: "unequal", in: []operand{in(2, 1), in(2, 3), in(2, 0)}, build: op("Concat", graphs.Attrs{"axis": int64(1)}), batch: []int{0, 1, 2}})
	linear("Concat", gradCase{name: "with a constant", in: []operand{in(2, 3)}, build: func(b *graphs.Builder, in []*Value) []*Value {
		t, _ := graphs.FromFloat64s(in[0].Type.DType, []float64{1, 2, 3}, 1, 3)
		return only(b.Op("Concat", graphs.Attrs{"axis": int64(0)}, b.Const(t), in[0]))
	}, batch: []int{0}})
	linear("Concat", gradCase{name: "twice the same", in: []operand{in(2, 3)}, build: func(b *graphs.Builder, in []*Value) []*Value {
		return only(b.Op("Concat", graphs.Attrs{"axis": int64(1)}, in[0], b.Op("Neg", nil, in[0]), in[0]))
	}, batch: []int{0}})
	split := func(n int, attrs graphs.Attrs, sizes []int64, pick ...int) builds {
		return func(b *graphs.Builder, in []*Value) []*Value {
			if sizes != nil {
				in = append(in[:1:1], b.Ints(sizes...))
			}
			all := b.Ops("Split", n, attrs, in...)
			var out []*Value
			for _, i := range pick {
				out = append(out, all[i])
			}
			return out
		}
	}
	addCases("Split",
		gradCase{name: "even", in: []operand{in(4, 3)}, build: curved(split(2, graphs.Attrs{"num_outputs": int64(2)}, nil, 0, 1))},
		gradCase{name: "uneven", in: []operand{in(2, 5)}, build: curved(split(2, graphs.Attrs{"axis": int64(1), "num_outputs": int64(2)}, nil, 0, 1)), batch: []int{0}},
		gradCase{name: "sizes", in: []operand{in(2, 5)}, build: curved(split(3, graphs.Attrs{"axis": int64(-1)}, list(1, 3, 1), 0, 1, 2)), batch: []int{0}},
		gradCase{name: "absent cotangent", in: []operand{in(2, 5)}, build: curved(split(3, graphs.Attrs{"axis": int64(-1)}, list(1, 3, 1), 1)), batch: []int{0}},
		gradCase{name: "two absent cotangents", in: []operand{in(2, 6)}, build: summed(split(3, graphs.Attrs{"axis": int64(1)}, list(1, 3, 2), 2)), batch: []int{0}},
		gradCase{name: "empty part", in: []operand{in(2, 4)}, build: curved(split(3, graphs.Attrs{"axis": int64(1)}, list(1, 0, 3), 0, 1, 2)), batch: []int{0}},
	)
	big := int64(1) << 62
	for _, s := range []struct {
		name                      string
		starts, ends, axes, steps []int64
	}{
		{"front", list(0), list(2), list(1), nil},
		{"back", list(-2), list(big), list(1), nil},
		{"middle", list(1), list(-1), list(-1), nil},
		{"two axes", list(1, 1), list(2, 3), list(0, 1), nil},
		{"default axes", list(0, 2), list(2, 5), nil, nil},
		{"out of range", list(-9), list(99), list(1), nil},
		{"nothing", list(3), list(2), list(1), nil},
		{"step 2", list(0), list(5), list(1), list(2)},
		{"step 3 from 1", list(1), list(big), list(1), list(3)},
		{"reversed", list(-1), list(-big), list(1), list(-1)},
		{"step −2", list(4), list(-9), list(1), list(-2)},
		{"mixed", list(0, -1), list(2, -big), list(0, 1), list(1, -2)},
	} {
		ints := [][]int64{s.starts, s.ends, s.axes}
		if s.steps != nil {
			ints = append(ints, s.steps)
		}
		c := gradCase{name: s.name, in: []operand{in(3, 5)}, build: with("Slice", nil, ints...)}
		if s.axes != nil && s.axes[0] != 0 {
			c.batch = []int{0}
		}
		linear("Slice", c)
	}
	linear("Slice", gradCase{name: "run-time bounds", in: []operand{in(3, 5), numbers(1), numbers(4), numbers(1)}, build: op("Slice", nil), batch: []int{0}})
	linear("Slice", gradCase{name: "run-time bounds of two axes", in: []operand{in(3, 5), numbers(1, -1), numbers(3, -9), numbers(0, 1), numbers(1, -2)}, build: op("Slice", nil)})
	for _, p := range []struct {
		mode string
		pads []int64
		axes []int64
	}{
		{"constant", list(0, 1, 0, 2), nil}, {"constant", list(1, 2), list(1)}, {"constant", list(0, -1, 0, -1), nil}, {"constant", list(1, -1, 0, 2), nil},
		{"constant", list(1, 2), list(-1)},
		{"reflect", list(0, 2, 0, 1), nil}, {"edge", list(0, 2, 0, 1), nil}, {"wrap", list(0, 2, 0, 1), nil}, {"reflect", list(1, 3), list(1)}, {"edge", list(1, 1, 2, 0), nil},
	} {
		ints := [][]int64{p.pads}
		if p.axes != nil {
			ints = append(ints, nil, p.axes)
		}
		c := gradCase{name: fmt.Sprint(p.mode, p.pads, p.axes), in: []operand{in(3, 4)}, build: with("Pad", graphs.Attrs{"mode": p.mode}, ints...)}
		if p.axes != nil || p.pads[0] == 0 && p.pads[2] == 0 {
			c.batch = []int{0}
		}
		linear("Pad", c)
	}
	padWith := func(b *graphs.Builder, in []*Value) []*Value {
		return only(b.Op("Pad", nil, in[0], b.Ints(0, 1, 0, 2), in[1]))
	}
	linear("Pad", gradCase{name: "with a value", in: []operand{in(2, 3), in()}, build: padWith, batch: []int{0}})
	linear("Pad", gradCase{name: "run-time pads", in: []operand{in(2, 3), numbers(0, 1, 1, 0)}, build: op("Pad", nil)})
}

func indexing() {
	for _, axis := range []int64{0, 1, -1} {
		for _, i := range []operand{indices([]int{}, 1), indices([]int{3}, 0, 2, 0), indices([]int{2, 2}, -1, 0, 1, -3), indices([]int{0}), indices([]int{1}, -1)} {
			linear("Gather", gradCase{name: fmt.Sprint(axis, i.dims), in: []operand{in(3, 4, 3), i}, build: op("Gather", graphs.Attrs{"axis": axis})})
		}
		for _, i := range [][]int64{{1}, {0, 1}, {-1}, {-2, -1}, {2, 0}, {1, 2}, {0, 1, 2}} {
			c := gradCase{name: fmt.Sprint(axis, " constant ", i), in: []operand{in(3, 4, 3)}, build: with("Gather", graphs.Attrs{"axis": axis}, i)}
			if axis != 0 {
				c.batch = []int{0}
			}
			linear("Gather", c)
		}
		for _, i := range []int64{0, 1, -1} {
			linear("Gather", gradCase{name: fmt.Sprint(axis, " constant scalar ", i), in: []operand{in(3, 4, 3)}, build: func(b *graphs.Builder, in []*Value) []*Value {
				return only(b.Op("Gather", graphs.Attrs{"axis": axis}, in[0], b.Int(i)))
			}})
		}
		linear("GatherElements", gradCase{name: fmt.Sprint(axis), in: []operand{in(3, 4), index(-3, 3, 3, 4)}, build: op("GatherElements", graphs.Attrs{"axis": axis})})
		linear("GatherElements", gradCase{name: fmt.Sprint(axis, " fewer"), in: []operand{in(3, 4), index(-3, 3, 2, 3)}, build: op("GatherElements", graphs.Attrs{"axis": axis})})
	}
	linear("Gather", gradCase{name: "batch", in: []operand{in(2, 4), indices([]int{3}, 1, 1, -1)}, build: op("Gather", graphs.Attrs{"axis": int64(1)}), batch: []int{0}})
	linear("Gather", gradCase{name: "embedding", in: []operand{in(5, 3), index(0, 5, 2, 4)}, build: op("Gather", nil), batch: []int{1}})
	linear("GatherElements", gradCase{name: "batch", in: []operand{in(3, 4), index(-4, 4, 3, 2)}, build: op("GatherElements", graphs.Attrs{"axis": int64(1)}), batch: []int{0, 1}})
	for _, g := range []struct {
		name  string
		x, i  operand
		batch int64
	}{
		{"points", in(3, 4), indices([]int{3, 2}, 0, 1, 2, -1, 0, 1), 0},
		{"rows", in(3, 4), indices([]int{2, 1}, 2, -3), 0},
		{"batched points", in(2, 3, 4), indices([]int{2, 1, 2}, 0, 1, 2, -1), 1},
		{"batched rows", in(2, 3, 4), indices([]int{2, 2, 1}, 0, 1, 1, -1), 1},
		{"two batch axes", in(2, 3, 4), indices([]int{2, 3, 1}, 0, 1, 1, -1, 3, 2), 2},
	} {
		g.i.rigid = true
		linear("GatherND", gradCase{name: g.name, in: []operand{g.x, g.i}, build: op("GatherND", graphs.Attrs{"batch_dims": g.batch})})
	}
	scatterIndex := indices([]int{2, 3}, 0, 1, 2, 1, -1, 0)
	for _, reduction := range []string{"none", "add", "mul", "min", "max"} {
		i := scatterIndex
		if reduction == "none" {
			i = indices([]int{2, 3}, 0, 1, 2, 1, -1, 0)
		}
		var refuses []variant
		if reduction == "mul" {
			refuses = []variant{static, shared, each}
		}
		addCases("ScatterElements",
			gradCase{name: reduction, in: []operand{in(3, 3), i, in(2, 3)}, build: curved(op("ScatterElements", graphs.Attrs{"reduction": reduction})), refuses: refuses},
			gradCase{name: reduction + " axis 1", in: []operand{in(2, 4), i, in(2, 3)}, build: summed(op("ScatterElements", graphs.Attrs{"axis": int64(1), "reduction": reduction})), refuses: refuses},
		)
		point := indices([]int{2, 2}, 0, 1, 2, -1)
		row := indices([]int{2, 1}, 0, -1)
		point.rigid, row.rigid = true, true
		addCases("ScatterND",
			gradCase{name: reduction + " points", in: []operand{in(3, 4), point, in(2)}, build: curved(op("ScatterND", graphs.Attrs{"reduction": reduction})), refuses: refuses},
			gradCase{name: reduction + " rows", in: []operand{in(3, 4), row, in(2, 4)}, build: summed(op("ScatterND", graphs.Attrs{"reduction": reduction})), refuses: refuses},
		)
	}
	twice := indices([]int{2, 1}, 1, 1)
	twice.rigid = true
	addCases("ScatterND", gradCase{name: "duplicates add", in: []operand{in(3, 4), twice, in(2, 4)}, build: curved(op("ScatterND", graphs.Attrs{"reduction": "add"}))})
	addCases("ScatterElements", gradCase{name: "duplicates add", in: []operand{in(3), indices([]int{4}, 1, 1, -1, 2), in(4)}, build: curved(op("ScatterElements", graphs.Attrs{"reduction": "add"}))})
}

// networks are whole energies, where rules meet.
func networks() {
	mlp := func(act string) builds {
		return func(b *graphs.Builder, in []*Value) []*Value {
			h := b.Op(act, nil, b.Op("Gemm", nil, in[0], in[1], in[2]))
			h = b.Op(act, nil, b.Op("Add", nil, b.Op("MatMul", nil, h, in[3]), in[2]))
			y := b.Op("MatMul", nil, h, in[4])
			return only(b.Op("Squeeze", nil, y, b.Ints(1)))
		}
	}
	for _, act := range []string{"Tanh", "Softplus", "Relu", "Gelu", "Swish"} {
		addCases("network", gradCase{name: act, in: []operand{in(3, 2), in(2, 4), in(4), in(4, 4), in(4, 1)}, build: mlp(act), batch: []int{0}})
	}
	addCases("network",
		gradCase{name: "mixture of Gaussians", in: []operand{in(3, 2), in(4, 2)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			d := b.Op("Sub", nil, b.Op("Unsqueeze", nil, in[0], b.Ints(1)), in[1])
			q := b.Op("ReduceSumSquare", graphs.Attrs{"keepdims": int64(0)}, d, b.Ints(2))
			e := b.Op("ReduceLogSumExp", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, q, b.FloatLike(q, -0.5)), b.Ints(1))
			return only(b.Op("Neg", nil, e))
		}, batch: []int{0}},
		gradCase{name: "attention", in: []operand{in(2, 3, 2), in(2, 2), in(2, 2), in(2, 2)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			q, k, v := b.Op("MatMul", nil, in[0], in[1]), b.Op("MatMul", nil, in[0], in[2]), b.Op("MatMul", nil, in[0], in[3])
			s := b.Op("MatMul", nil, q, b.Op("Transpose", graphs.Attrs{"perm": list(0, 2, 1)}, k))
			y := b.Op("MatMul", nil, b.Op("Softmax", nil, b.Op("Div", nil, s, b.FloatLike(s, 1.5))), v)
			return only(b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, y, y), b.Ints(1, 2)))
		}, batch: []int{0}},
		gradCase{name: "quadratic form", in: []operand{in(3, 2), in(2, 2), in(2)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			d := b.Op("Sub", nil, in[0], in[2])
			return only(b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, b.Op("MatMul", nil, d, in[1]), d), b.Ints(1)))
		}, batch: []int{0}},
		gradCase{name: "no dependence", in: []operand{in(3, 2), in(3)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			return only(b.Op("Tanh", nil, in[1]))
		}},
	)
}

func arrangements() {
	linear("Tile", gradCase{name: "constant", in: []operand{in(2, 3)}, build: with("Tile", nil, list(1, 2)), batch: []int{0}})
	linear("Tile", gradCase{name: "batch", in: []operand{in(2, 1)}, build: with("Tile", nil, list(3, 2)), batch: []int{0}})
	linear("Tile", gradCase{name: "run-time", in: []operand{in(2, 3), numbers(2, 1)}, build: op("Tile", nil)})
	linear("Tile", gradCase{name: "none", in: []operand{in(2, 3)}, build: with("Tile", nil, list(0, 2))})
	for _, upper := range []int64{0, 1} {
		a := graphs.Attrs{"upper": upper}
		linear("Trilu", gradCase{name: fmt.Sprint("upper ", upper), in: []operand{in(2, 3, 3)}, build: op("Trilu", a), batch: []int{0}})
		linear("Trilu", gradCase{name: fmt.Sprint("offset, upper ", upper), in: []operand{in(3, 4)}, build: func(b *graphs.Builder, in []*Value) []*Value {
			return only(b.Op("Trilu", a, in[0], b.Int(-1)))
		}})
		for _, reverse := range []int64{0, 1} {
			for _, cum := range []string{"CumSum", "CumProd"} {
				c := gradCase{name: fmt.Sprint("exclusive ", upper, " reverse ", reverse), in: []operand{in(2, 5)}, build: func(b *graphs.Builder, in []*Value) []*Value {
					return only(b.Op(cum, graphs.Attrs{"exclusive": upper, "reverse": reverse}, in[0], b.Int(-1)))
				}, batch: []int{0}}
				if cum == "CumProd" {
					c.refuses = []variant{shared, each}
				}
				linear(cum, c)
			}
		}
	}
	addCases("CumProd", gradCase{name: "zeros", in: []operand{values([]int{5}, 2, 0, 3, 0, 1)}, build: func(b *graphs.Builder, in []*Value) []*Value {
		return only(b.Op("CumProd", nil, in[0], b.Int(0)))
	}, refuses: []variant{shared, each}})
	linear("CumSum", gradCase{name: "run-time axis", in: []operand{in(2, 3), indices([]int{}, 1)}, build: op("CumSum", nil), batch: []int{0}})
	for _, axis := range []int64{-1, 0} {
		depth := func(b *graphs.Builder, in []*Value) []*Value {
			return curved(func(b *graphs.Builder, in []*Value) []*Value {
				return only(b.Op("OneHot", graphs.Attrs{"axis": axis}, in[0], b.Int(4), in[1]))
			})(b, in)
		}
		addCases("OneHot", gradCase{name: fmt.Sprint("axis ", axis), in: []operand{index(-4, 4, 2, 3), in(2)}, build: depth, batch: []int{0}})
	}
	addCases("Range",
		gradCase{name: "floats", in: []operand{values(nil, 0.5), values(nil, 3.1), values(nil, 0.7)}, build: curved(op("Range", nil))},
		gradCase{name: "summed", in: []operand{values(nil, 2), still(values(nil, -3)), values(nil, -0.7)}, build: total(op("Range", nil))},
	)
	for _, largest := range []int64{0, 1} {
		for _, axis := range []int64{0, 1, -1} {
			linear("TopK", gradCase{name: fmt.Sprint("axis ", axis, " largest ", largest), in: []operand{in(3, 4)}, build: with("TopK", graphs.Attrs{"axis": axis, "largest": largest}, list(2))})
		}
	}
	linear("TopK", gradCase{name: "run-time k", in: []operand{in(2, 4), numbers(3)}, build: op("TopK", nil), batch: []int{0}})
	linear("Unique", gradCase{name: "flat", in: []operand{values([]int{2, 3}, 3, 1, 2, 5, 4, 0)}, build: op("Unique", nil)})
	linear("Unique", gradCase{name: "first seen", in: []operand{values([]int{2, 3}, 3, 1, 2, 5, 4, 0)}, build: op("Unique", graphs.Attrs{"sorted": int64(0)})})
	linear("Unique", gradCase{name: "rows", in: []operand{values([]int{3, 2}, 3, 1, 2, 5, 4, 0)}, build: op("Unique", graphs.Attrs{"axis": int64(0)})})
	keep := operand{dims: []int{3}, data: []float64{1, 0, 1}, dtype: graphs.Bool, fixed: true}
	linear("Compress", gradCase{name: "columns", in: []operand{in(2, 3), keep}, build: op("Compress", graphs.Attrs{"axis": int64(-1)}), batch: []int{0}})
	linear("Compress", gradCase{name: "rows, short condition", in: []operand{in(4, 3), keep}, build: op("Compress", graphs.Attrs{"axis": int64(0)})})
	linear("Compress", gradCase{name: "flat", in: []operand{in(2, 3), keep}, build: op("Compress", nil)})
	linear("ReverseSequence", gradCase{name: "time first", in: []operand{in(4, 3, 2), indices([]int{3}, 1, 4, 2)}, build: op("ReverseSequence", nil)})
	linear("ReverseSequence", gradCase{name: "batch first", in: []operand{in(3, 4), indices([]int{3}, 1, 4, 2)}, build: op("ReverseSequence", graphs.Attrs{"batch_axis": int64(0), "time_axis": int64(1)})})
	for _, mode := range []string{"DCR", "CRD"} {
		c := gradCase{name: mode, in: []operand{in(2, 8, 1, 2)}, build: op("DepthToSpace", graphs.Attrs{"blocksize": int64(2), "mode": mode}), batch: []int{0}}
		if mode == "CRD" {
			c.refuses = []variant{shared, each}
		}
		linear("DepthToSpace", c)
	}
	linear("TensorScatter", gradCase{name: "linear", in: []operand{in(2, 4, 3), in(2, 2, 3), indices([]int{2}, 1, 2)}, build: op("TensorScatter", nil)})
	linear("TensorScatter", gradCase{name: "circular", in: []operand{in(2, 2, 4, 3), in(2, 2, 3, 3), indices([]int{2}, 3, 0)}, build: op("TensorScatter", graphs.Attrs{"mode": "circular"})})
	linear("TensorScatter", gradCase{name: "from the start", in: []operand{in(2, 4, 3), in(2, 2, 3)}, build: op("TensorScatter", nil)})
	linear("SpaceToDepth", gradCase{name: "blocks", in: []operand{in(2, 2, 2, 4)}, build: op("SpaceToDepth", graphs.Attrs{"blocksize": int64(2)}), batch: []int{0}})
	linear("CenterCropPad", gradCase{name: "both", in: []operand{in(2, 5)}, build: with("CenterCropPad", nil, list(3, 4))})
	linear("CenterCropPad", gradCase{name: "axis", in: []operand{in(2, 3, 4)}, build: with("CenterCropPad", graphs.Attrs{"axes": list(-1, 1)}, list(2, 6)), batch: []int{0}})
	for n := 1; n <= 3; n++ {
		addCases("Det",
			gradCase{name: fmt.Sprint(n, " rows"), in: []operand{in(n, n)}, build: op("Det", nil), refuses: []variant{each, shared}[:1+min(1, n-1)]},
			gradCase{name: fmt.Sprint(n, " rows, batch"), in: []operand{in(2, n, n)}, build: op("Det", nil), batch: []int{0}, refuses: []variant{each, shared}[:1+min(1, n-1)]},
		)
	}
	addCases("Det", gradCase{name: "4 rows", in: []operand{in(4, 4)}, build: op("Det", nil), refuses: []variant{static, shared, each}})
	addCases("Shrink",
		gradCase{name: "default", in: []operand{in(2, 4)}, build: op("Shrink", nil)},
		gradCase{name: "biased", in: []operand{in(2, 4)}, build: curved(op("Shrink", graphs.Attrs{"bias": float32(0.25), "lambd": float32(0.75)}))},
	)
	addCases("ThresholdedRelu",
		gradCase{name: "default", in: []operand{in(2, 4)}, build: op("ThresholdedRelu", nil)},
		gradCase{name: "threshold", in: []operand{in(2, 4)}, build: curved(op("ThresholdedRelu", graphs.Attrs{"alpha": float32(-0.75)}))},
	)
	for _, name := range []string{"ArgMax", "ArgMin"} {
		addCases(name, gradCase{name: "selects", in: []operand{in(2, 4)}, build: chain(func(b *graphs.Builder, x *Value) *Value {
			return b.Op("GatherElements", graphs.Attrs{"axis": int64(1)}, b.Op("Exp", nil, x), b.Op(name, graphs.Attrs{"axis": int64(1)}, x))
		}), batch: []int{0}})
	}
	addCases("NonZero", gradCase{name: "selects", in: []operand{in(2, 4)}, build: chain(func(b *graphs.Builder, x *Value) *Value {
		where := b.Op("NonZero", nil, b.Op("Relu", nil, x))
		return b.Op("GatherND", nil, b.Op("Exp", nil, x), b.Op("Transpose", nil, where))
	})})
	addCases("IsNaN", gradCase{name: "selects", in: []operand{in(2, 4)}, build: chain(func(b *graphs.Builder, x *Value) *Value {
		return b.Op("Where", nil, b.Op("Or", nil, b.Op("IsNaN", nil, x), b.Op("IsInf", nil, x)), b.FloatLike(x, 0), b.Op("Exp", nil, x))
	})})
	addCases("EyeLike", gradCase{name: "trace", in: []operand{in(3, 3)}, build: chain(func(b *graphs.Builder, x *Value) *Value {
		return b.Op("ReduceSum", nil, b.Op("Mul", nil, b.Op("EyeLike", nil, x), b.Op("MatMul", nil, x, x)))
	})})
}

func einsums() {
	for _, e := range []struct {
		equation string
		in       []operand
	}{
		{"ij->ji", []operand{in(2, 3)}}, {"ij->", []operand{in(2, 3)}}, {"ij->j", []operand{in(2, 3)}}, {"ii->", []operand{in(3, 3)}}, {"ii->i", []operand{in(3, 3)}},
		{"iij->j", []operand{in(3, 3, 2)}}, {"iii->i", []operand{in(2, 2, 2)}}, {"ba", []operand{in(2, 3)}}, {"...ij->...ji", []operand{in(2, 2, 3)}},
		{"ij,jk->ik", []operand{in(2, 3), in(3, 4)}}, {"ij,kj->ik", []operand{in(2, 3), in(4, 3)}}, {"ij,ij->i", []operand{in(2, 3), in(2, 3)}},
		{"ij,ij->", []operand{in(2, 3), in(2, 3)}}, {"i,j->ij", []operand{in(2), in(3)}}, {"i,i", []operand{in(3), in(3)}}, {"ij,j->i", []operand{in(2, 3), in(3)}},
		{"bij,bjk->bik", []operand{in(2, 2, 3), in(2, 3, 2)}}, {"bhqd,bhkd->bhqk", []operand{in(2, 1, 2, 3), in(2, 1, 2, 3)}}, {"bi,ij,bj->b", []operand{in(2, 3), in(3, 3), in(2, 3)}},
		{"bijk,jkl->bil", []operand{in(2, 2, 2, 3), in(2, 3, 2)}}, {"abc,cd->abd", []operand{in(2, 2, 3), in(3, 2)}}, {"ab,cd->adbc", []operand{in(2, 2), in(2, 3)}},
		{"...ij,...jk->...ik", []operand{in(2, 1, 2, 3), in(2, 3, 2)}}, {"ij,j,...k->ik...", []operand{in(2, 3), in(3), in(2, 2)}}, {"...,...->...", []operand{in(2, 3), in(3)}},
		{"ab,bc,cd,de->ae", []operand{in(2, 2), in(2, 3), in(3, 2), in(2, 1)}}, {"ij,kl->", []operand{in(2, 3), in(2, 2)}}, {"ij,jk->k", []operand{in(2, 3), in(3, 4)}},
		{"i,->i", []operand{in(3), in()}}, {"ib,bc->", []operand{in(2, 2), in(2, 3)}},
	} {
		c := gradCase{name: e.equation, in: e.in, build: op("Einsum", graphs.Attrs{"equation": e.equation})}
		for i, t := range strings.Split(strings.Split(e.equation, "->")[0], ",") {
			if strings.HasPrefix(t, "b") && strings.HasPrefix(e.equation, "b") {
				c.batch = append(c.batch, i)
			}
		}
		if e.equation == "ba" {
			c.batch = nil
		}
		c.build = curved(c.build)
		addCases("Einsum", c)
	}
	addCases("Einsum",
		gradCase{name: "lost ellipsis", in: []operand{in(2, 3)}, build: op("Einsum", graphs.Attrs{"equation": "...i->i"}), refuses: []variant{static, shared, each}},
	)
}
