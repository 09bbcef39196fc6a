package runtime

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	ort "github.com/yalue/onnxruntime_go"
)

// elementwise is a model of one Elementwise node whose inputs are a0, a1, …
// and outputs o0, o1, ….
func elementwise(program string, constants []float32, inputs, outputs []Port) Model {
	m := Model{Name: "elementwise", Inputs: slices.Clone(inputs), Outputs: slices.Clone(outputs)}
	ports := func(prefix string, list []Port) (names []string, infos []pb) {
		for i := range list {
			list[i].Name = fmt.Sprint(prefix, i)
			dims := list[i].Item
			if list[i].Kind == Rows {
				dims = append([]int64{-1}, dims...)
			}
			names, infos = append(names, list[i].Name), append(infos, port(list[i].Name, dims...))
		}
		return names, infos
	}
	in, inInfos := ports("a", m.Inputs)
	out, outInfos := ports("o", m.Outputs)
	n := pb{}.text(1, in...).text(2, out...).text(4, "Elementwise").text(7, ElementwiseDomain)
	n = n.bytes(5, pb{}.text(1, "program").text(4, program).int(20, 3))
	if len(constants) > 0 {
		var raw []byte
		for _, c := range constants {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(c))
		}
		n = n.bytes(5, pb{}.text(1, "constants").bytes(7, raw).int(20, 6))
	}
	m.Bytes = append(onnx([]pb{n}, nil, inInfos, outInfos), pb{}.bytes(8, pb{}.text(1, ElementwiseDomain).int(2, 1))...)
	return m
}

// eachLevel runs a test with every kind of instructions the processor has.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	for level, name := range elementwiseLevels() {
		t.Run(name, func(t *testing.T) {
			useElementwise(level)
			defer useElementwise(-1)
			f(t)
		})
	}
}

// apply runs a program of one output on the elements of its operands.
func apply(t *testing.T, r *Runtime, program string, operands ...[]float32) []float32 {
	b := bind(t, compile(t, r, elementwise(program, nil, make([]Port, len(operands)), make([]Port, 1))), len(operands[0]), BindOptions{})
	for i, x := range operands {
		copy(b.In(fmt.Sprint("a", i)), x)
	}
	require.NoError(t, b.Run(background))
	return slices.Clone(b.Out("o0"))
}

// samples are floats of every magnitude and sign, whole and odd ones, and what is not finite.
func samples() []float32 {
	x := []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0.5, -0.5, math.MaxFloat32, -math.MaxFloat32, 88.72283, 88.7229, -87.3, -103.9, -104.1,
		float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		x = append(x, float32(r.NormFloat64()*math.Exp(3*r.NormFloat64())))
		if f := math.Float32frombits(r.Uint32()); f == 0 || math.Abs(float64(f)) > 1e-37 { // operands below are flushed
			x = append(x, f)
		}
	}
	return x
}

// TestElementwiseFunctions compares with float64.
func TestElementwiseFunctions(t *testing.T) {
	r := open(t, 1)
	x := samples()
	for op, f := range map[string]func(float64) float64{
		"Exp": math.Exp, "Log": math.Log, "Tanh": math.Tanh, "Erf": math.Erf, "Sqrt": math.Sqrt, "Abs": math.Abs,
		"Reciprocal": func(x float64) float64 { return 1 / x },
		"Neg":        func(x float64) float64 { return -x },
		"Sigmoid":    func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
		"Softplus":   func(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) },
		"Relu":       func(x float64) float64 { return math.Max(x, 0) },
		"Sign": func(x float64) float64 {
			if x == 0 || x != x {
				return x
			}
			return math.Copysign(1, x)
		},
	} {
		t.Run(op, func(t *testing.T) {
			eachLevel(t, func(t *testing.T) {
				worst, at := 0.0, float32(0)
				for i, got := range apply(t, r, op+" a0; Out t0", x) {
					want := f(float64(x[i]))
					switch rounded := float32(want); {
					case want != want:
						require.True(t, got != got, "%s(%g) = %g", op, x[i], got)
					case math.IsInf(float64(rounded), 0):
						require.Equal(t, rounded, got, "%s(%g)", op, x[i])
					case math.Abs(want) < 0x1p-125: // flushed or not
						require.LessOrEqual(t, math.Abs(float64(got)), 0x1p-124, "%s(%g)", op, x[i])
					default:
						if e := math.Abs(float64(got)-want) / math.Abs(want); !(e <= worst) {
							worst, at = e, x[i]
						}
					}
				}
				t.Logf("relative error %.2g at %g", worst, at)
				require.LessOrEqual(t, worst, 2e-7, at)
			})
		})
	}
}

// TestElementwiseExact compares instructions of two and three operands with Go's own arithmetic.
func TestElementwiseExact(t *testing.T) {
	r := open(t, 1)
	x := samples()
	y := slices.Clone(x)
	rand.New(rand.NewPCG(5, 6)).Shuffle(len(y), func(i, j int) { y[i], y[j] = y[j], y[i] })
	for i := 0; i < len(y); i += 7 {
		y[i] = x[i]
	}
	truth := func(b bool) float32 {
		if b {
			return 1
		}
		return 0
	}
	nan := float32(math.NaN())
	for op, f := range map[string]func(a, b float32) float32{
		"Add": func(a, b float32) float32 { return a + b }, "Sub": func(a, b float32) float32 { return a - b },
		"Mul": func(a, b float32) float32 { return a * b }, "Div": func(a, b float32) float32 { return a / b },
		"Max":   func(a, b float32) float32 { return max(a, b) },
		"Min":   func(a, b float32) float32 { return min(a, b) },
		"Equal": func(a, b float32) float32 { return truth(a == b) }, "Less": func(a, b float32) float32 { return truth(a < b) },
		"LessOrEqual": func(a, b float32) float32 { return truth(a <= b) }, "Greater": func(a, b float32) float32 { return truth(a > b) },
		"GreaterOrEqual": func(a, b float32) float32 { return truth(a >= b) },
		"And":            func(a, b float32) float32 { return truth(a != 0 && b != 0) },
		"Or":             func(a, b float32) float32 { return truth(a != 0 || b != 0) },
	} {
		eachLevel(t, func(t *testing.T) {
			for i, got := range apply(t, r, op+" a0 a1; Out t0", x, y) {
				want := f(x[i], y[i])
				if want != want {
					want, got = 0, truth(got == got)
				}
				if math.Abs(float64(want)) < 0x1p-126 {
					want, got = 0, truth(math.Abs(float64(got)) > 0x1p-125)
				}
				require.Equal(t, want, got, "%s(%g, %g)", op, x[i], y[i])
			}
		})
	}
	require.Equal(t, []float32{1, 0, 0, 0}, apply(t, r, "Not a0; Out t0", []float32{0, 1, -2, nan}))
	require.Equal(t, []float32{5, 2, 7, 8}, apply(t, r, "Where a0 a1 a2; Out t0", []float32{0, 1, nan, 2}, []float32{1, 2, 7, 8}, []float32{5, 6, 3, 4}))
}

// TestElementwiseInstructions: every instruction was named in a test above.
func TestElementwiseInstructions(t *testing.T) {
	source, err := os.ReadFile("elementwise_test.go")
	require.NoError(t, err)
	ops := ElementwiseOps()
	require.Len(t, ops, 27)
	for op, operands := range ops {
		require.Contains(t, string(source), `"`+op, "no test of %s", op)
		require.True(t, operands >= 1 && operands <= 3)
	}
}

// form is a shape of an operand relative to a whole [N, S, H]; index gives the
// element that belongs to one of the whole.
type form struct {
	name  string
	port  Port
	index func(n, s, h, S, H int) int
}

func forms(s, h int64) []form {
	return []form{
		{"whole", Port{Item: []int64{s, h}}, func(n, s, h, S, H int) int { return (n*S+s)*H + h }},
		{"number", Port{Kind: Shared}, func(n, s, h, S, H int) int { return 0 }},
		{"one", Port{Kind: Shared, Item: []int64{1, 1}}, func(n, s, h, S, H int) int { return 0 }},
		{"row", Port{Kind: Shared, Item: []int64{h}}, func(n, s, h, S, H int) int { return h }},
		{"long row", Port{Kind: Shared, Item: []int64{1, s, h}}, func(n, s, h, S, H int) int { return s*H + h }},
		{"column", Port{Item: []int64{1, 1}}, func(n, s, h, S, H int) int { return n }},
		{"long column", Port{Item: []int64{s, 1}}, func(n, s, h, S, H int) int { return n*S + s }},
		{"outer", Port{Item: []int64{1, h}}, func(n, s, h, S, H int) int { return n*H + h }},
		{"middle", Port{Kind: Shared, Item: []int64{1, s, 1}}, func(n, s, h, S, H int) int { return s }},
	}
}

// TestElementwiseShapes runs one program with operands of every form, with all
// kinds of sums, against a loop in float64; whole outputs must not depend on the tiles.
func TestElementwiseShapes(t *testing.T) {
	r := open(t, 2)
	random := rand.New(rand.NewPCG(1, 2))
	const program = "Mul a0 a1; Add t0 c0; Sub t1 a2; Sigmoid t2; Mul t3 a0; Out t3; Sum t4 2 1 0; Sum t4 1 2 1; Out t4; Sum t4 0 1 0; Sum t1 0 2 1; Sum t4 1 1 0"
	for _, extent := range [][3]int{{1, 1, 1}, {3, 1, 2}, {2, 3, 1}, {5, 2, 16}, {7, 3, 17}, {4, 5, 128}, {3, 2, 700}, {2, 300, 3}, {1, 1, 513}, {130, 1, 8}, {2, 1, 1025}} {
		N, S, H := extent[0], extent[1], extent[2]
		s, h := int64(S), int64(H)
		all := forms(s, h)
		for i, f := range all {
			g := all[(i+random.IntN(len(all)))%len(all)]
			ports := []Port{all[0].port, f.port, g.port}
			outs := []Port{{Item: []int64{s, h}}, {Item: []int64{s}}, {Item: []int64{1, 1}}, {Item: []int64{s, h}}, {Item: []int64{s, h}, Kind: Sum}, {Item: []int64{1, 1, h}, Kind: Sum}, {Item: []int64{h}}}
			p := compile(t, r, elementwise(program, []float32{0.25}, ports, outs))
			var first *Binding
			for _, tiles := range []int{1, min(2, N), N} {
				b := bind(t, p, N, BindOptions{Tiles: tiles})
				for k := range ports {
					in := b.In(fmt.Sprint("a", k))
					for j := range in {
						in[j] = float32(random.NormFloat64())
					}
					if first != nil {
						copy(in, first.In(fmt.Sprint("a", k)))
					}
				}
				require.NoError(t, b.Run(background))
				what := fmt.Sprintf("%v %s %s, %d tiles", extent, f.name, g.name, tiles)
				if first == nil {
					first = b
				}
				for _, o := range []string{"o0", "o1", "o2", "o3", "o6"} {
					require.Equal(t, first.Out(o), b.Out(o), "%s %s", what, o)
				}
				compareForms(t, b, f, g, S, H, what)
			}
		}
	}
}

func compareForms(t *testing.T, b *Binding, f, g form, S, H int, what string) {
	a0, a1, a2 := b.In("a0"), b.In("a1"), b.In("a2")
	want, size := make([][]float64, 7), make([][]float64, 7) // of sums, and of the magnitudes in them
	for o := range want {
		want[o] = make([]float64, len(b.Out(fmt.Sprint("o", o))))
		size[o] = make([]float64, len(want[o]))
	}
	add := func(o, i int, v float64) {
		want[o][i] += v
		size[o][i] += math.Abs(v)
	}
	for n := range b.N() {
		for s := range S {
			for h := range H {
				e := (n*S+s)*H + h
				x, y, z := float64(a0[e]), float64(a1[f.index(n, s, h, S, H)]), float64(a2[g.index(n, s, h, S, H)])
				t1 := x*y + 0.25
				t3 := 1 / (1 + math.Exp(z-t1))
				add(0, e, t3)
				add(3, e, t3*x)
				for o, i := range map[int]int{1: n*S + s, 2: n, 4: s*H + h, 6: n*H + h} {
					add(o, i, t3*x)
				}
				add(5, h, t1)
			}
		}
	}
	for o := range want {
		for i, got := range b.Out(fmt.Sprint("o", o)) {
			require.InDelta(t, want[o][i], float64(got), 1e-6*(1+size[o][i]), "%s: o%d[%d]", what, o, i)
		}
	}
}

// TestElementwisePlace: the value of an element is the same wherever it stands.
func TestElementwisePlace(t *testing.T) {
	r := open(t, 1)
	x := samples()[:1500]
	for op, operands := range ElementwiseOps() {
		program := op + strings.Repeat(" a0", operands) + "; Out t0"
		whole := apply(t, r, program, x)
		for _, from := range []int{1, 3, 7, 1499} {
			for i, got := range apply(t, r, program, x[from:]) {
				require.Equal(t, math.Float32bits(whole[from+i]), math.Float32bits(got), "%s(%g)", op, x[from+i])
			}
		}
	}
}

// TestElementwiseRefusals: programs that are none give errors.
func TestElementwiseRefusals(t *testing.T) {
	r := open(t, 1)
	for program, reason := range map[string]string{
		"":                            "unknown",
		"Out t0":                      "not there",
		"Exp":                         "unknown",
		"Exp a0":                      "fewer outputs",
		"Exp a1; Out t0":              "not there",
		"Exp t0; Out t0":              "not there",
		"Exp c0; Out t0":              "not there",
		"Exp b0; Out t0":              "an operand is",
		"Exp a99999999999999; Out t0": "too large",
		"Exp a-1; Out t0":             "missing",
		"Exp a0 Out t0":               "separated",
		"Exp a0; Out a0":              "an output is a result",
		"Exp a0; Out t0; Out t0":      "more outputs",
		"Exp a0; Sum t0 17 1 0":       "too large",
		"Exp a0; Sum t0 0 17 0":       "too large",
		"Exp a0; Sum t0 0 1 2":        "too large",
		"Expo a0; Out t0":             "unknown",
		"Add a0; Out t0":              "an operand is",
		strings.Repeat("Exp a0; ", 300) + "Out t0": "too long",
	} {
		_, err := r.Compile(elementwise(program, nil, make([]Port, 1), make([]Port, 1)))
		require.ErrorContains(t, err, reason, program)
	}
	_, err := r.Compile(elementwise("Exp a0; Out t0; Out t0", nil, make([]Port, 1), make([]Port, 2)))
	require.ErrorContains(t, err, "two outputs")

	for _, c := range []struct {
		program string
		in, out Port
		reason  string
	}{
		{"Mul a0 a1; Out t0", Port{Item: []int64{1, 4, 1}}, Port{Item: []int64{3, 4, 2}}, "more than one run"},
		{"Mul a0 a1; Out t0", Port{Kind: Shared, Item: []int64{1, 3, 1, 2}}, Port{Item: []int64{3, 4, 2}}, "more than one run"},
		{"Mul a0 a1; Out t0", Port{Item: []int64{3, 3, 2}}, Port{Item: []int64{3, 4, 2}}, "do not broadcast"},
		{"Mul a0 a1; Sum t0 3 2 0", Port{Item: []int64{3, 4, 2}}, Port{}, "more axes"},
	} {
		p := compile(t, r, elementwise(c.program, nil, []Port{{Item: []int64{3, 4, 2}}, c.in}, []Port{c.out}))
		require.ErrorContains(t, bind(t, p, 2, BindOptions{}).Run(background), c.reason)
	}
}

// TestElementwiseGarbage: programs of random pieces run or are refused.
func TestElementwiseGarbage(t *testing.T) {
	r := open(t, 1)
	pieces := strings.Fields("Exp Add Where Out Sum Sum Mul a0 a1 t0 t1 t2 t3 c0 c1 0 1 2 ; ; ; ;")
	random := rand.New(rand.NewPCG(7, 8))
	ran := 0
	for range 600 {
		program := "Exp a0 ; Mul t0 a1 ; Out t1"
		for range random.IntN(12) {
			program += " " + pieces[random.IntN(len(pieces))]
		}
		p, err := r.Compile(elementwise(program, []float32{2}, make([]Port, 2), make([]Port, 1+random.IntN(2))))
		if err != nil {
			continue
		}
		ran++
		if b, err := p.Bind(3, BindOptions{}); err == nil {
			b.Run(background) // an error of shapes is fine
			b.Close()
		}
		p.Close()
	}
	require.NotZero(t, ran)
}

// TestElementwiseAllocations: a run allocates nothing in Go.
func TestElementwiseAllocations(t *testing.T) {
	b := bind(t, compile(t, open(t, 1), elementwise("Exp a0; Out t0", nil, make([]Port, 1), make([]Port, 1))), 1000, BindOptions{})
	require.Zero(t, testing.AllocsPerRun(100, func() { b.Run(background) }))
}

// TestElementwiseLayout fails if the Go binding or the C API changes the
// layout that the registration of the op relies on.
func TestElementwiseLayout(t *testing.T) {
	open(t, 1)
	require.ErrorContains(t, addElementwise(&ort.SessionOptions{}), "layout")

	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	require.NoError(t, err)
	header, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "onnxruntime_c_api.h"))
	require.NoError(t, err)
	members := func(source, start string) int {
		_, body, found := strings.Cut(source, start)
		require.True(t, found)
		body, _, _ = strings.Cut(body, "\n};")
		body = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*`).ReplaceAllString(body, "")
		return strings.Count(body, ";")
	}
	own, err := os.ReadFile("elementwise.c")
	require.NoError(t, err)
	require.Equal(t, members(string(header), "\nstruct OrtCustomOp {"), members(string(own), "\nstruct custom_op {"))
}
