package conformance

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	ort "github.com/yalue/onnxruntime_go"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/docs"
)

const backendArchive = "../../../shared/onnx-backend-v1.22.0.tar.gz"

// backendModel is a model of ONNX's backend tests with its first data set.
type backendModel struct {
	name            string
	model           []byte
	inputs, outputs map[int][]byte
}

// eachArchived calls f for the files of the backend archive.
func eachArchived(t testing.TB, f func(name string, data []byte)) {
	file, err := os.Open(backendArchive)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("ONNX's backend archive is not beside the repository")
	}
	require.NoError(t, err)
	defer file.Close()
	gz, err := gzip.NewReader(file)
	require.NoError(t, err)
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return
		}
		require.NoError(t, err)
		if h.Typeflag == tar.TypeReg {
			data, err := io.ReadAll(tr)
			require.NoError(t, err)
			f(path.Clean(h.Name), data)
		}
	}
}

var backendFile = regexp.MustCompile(`/(test_[^/]+)/(?:model\.onnx|test_data_set_0/(input|output)_(\d+)\.pb)$`)

func readBackend(t testing.TB) []*backendModel {
	all := map[string]*backendModel{}
	eachArchived(t, func(name string, data []byte) {
		m := backendFile.FindStringSubmatch(name)
		if m == nil || strings.Contains(name, "/real/") {
			return
		}
		c := all[m[1]]
		if c == nil {
			c = &backendModel{name: m[1], inputs: map[int][]byte{}, outputs: map[int][]byte{}}
			all[m[1]] = c
		}
		var k int
		fmt.Sscan(m[3], &k)
		switch m[2] {
		case "":
			c.model = data
		case "input":
			c.inputs[k] = data
		case "output":
			c.outputs[k] = data
		}
	})
	return slices.SortedFunc(maps.Values(all), func(a, b *backendModel) int { return cmp.Compare(a.name, b.name) })
}

// readTensor reads a serialized TensorProto by way of a model that has nothing but it.
func readTensor(pb []byte) (*graphs.Tensor, error) {
	pb = message(slices.Clone(pb), 8, []byte("t"))
	graph := message(message(nil, 5, pb), 12, message(nil, 1, []byte("t")))
	opset := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 18)
	model := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 8)
	g, _, err := graphs.Decode(message(message(model, 7, graph), 8, opset), "")
	if err != nil {
		return nil, err
	}
	return g.Outputs[0].Value.Tensor, nil
}

func tensorsOf(files map[int][]byte) ([]*graphs.Tensor, error) {
	list := make([]*graphs.Tensor, len(files))
	for i := range list {
		if files[i] == nil {
			return nil, outOfScope(otherData)
		}
		t, err := readTensor(files[i])
		if err != nil || t.DType == graphs.String {
			return nil, outOfScope(otherData)
		}
		list[i] = t
	}
	return list, nil
}

const otherData = "data are strings, sequences, or numbers of fewer than 16 bits"

// outOfScope says why a model is not judged.
type outOfScope string

func (e outOfScope) Error() string { return string(e) }

// message appends a field that holds bytes to a protobuf message.
func message(b []byte, k protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, k, protowire.BytesType), v)
}

// withInitializer gives an input of a model a value: a second graph field is merged into the first one.
func withInitializer(model []byte, name string, tensor []byte) []byte {
	tensor = message(slices.Clone(tensor), 8, []byte(name))
	return message(slices.Clone(model), 7, message(nil, 5, tensor))
}

// runORT runs a model as it is; results have the types and shapes of expected. The binding has no values without dimensions or elements:
// such inputs become initializers.
func (m *backendModel) runORT(model []byte, inputs, expected []*graphs.Tensor) (map[string]*graphs.Array, error) {
	in, out, err := ort.GetInputOutputInfoWithONNXData(model)
	if err != nil {
		return nil, err
	}
	if len(in) != len(inputs) || len(out) != len(expected) {
		return nil, fmt.Errorf("%d inputs for %d data", len(in), len(inputs))
	}
	var names, results []string
	var feeds []ort.Value
	for i, t := range inputs {
		if len(t.Dims) == 0 || t.Len() == 0 {
			model = withInitializer(model, in[i].Name, m.inputs[i])
			continue
		}
		v, err := ort.NewCustomDataTensor(ort.NewShape(t.Dims...), t.Raw, ort.TensorElementDataType(t.DType))
		if err != nil {
			return nil, err
		}
		defer v.Destroy()
		names, feeds = append(names, in[i].Name), append(feeds, v)
	}
	values := make([]ort.Value, len(out))
	for i, t := range expected {
		results = append(results, out[i].Name)
		if values[i], err = resultFor(t); err != nil {
			return nil, err
		}
	}
	session, err := ort.NewDynamicAdvancedSessionWithONNXData(model, names, results, nil)
	if err != nil {
		return nil, err
	}
	defer session.Destroy()
	if len(feeds) == 0 {
		return nil, outOfScope("no inputs with elements")
	}
	if err := session.Run(feeds, values); err != nil {
		return nil, err
	}
	arrays := map[string]*graphs.Array{}
	for i, v := range values {
		defer v.Destroy()
		t, err := tensorOf(v)
		if err != nil {
			return nil, err
		}
		if arrays[results[i]], err = graphs.ArrayOf(t); err != nil {
			return nil, err
		}
	}
	return arrays, nil
}

// resultFor allocates what the binding does not: numbers without dimensions and 16-bit floats.
func resultFor(t *graphs.Tensor) (ort.Value, error) {
	scalar := len(t.Dims) == 0
	switch {
	case scalar && t.DType == graphs.Float32:
		return ort.NewEmptyScalar[float32]()
	case scalar && t.DType == graphs.Float64:
		return ort.NewEmptyScalar[float64]()
	case scalar && t.DType == graphs.Int64:
		return ort.NewEmptyScalar[int64]()
	case scalar && t.DType == graphs.Uint8:
		return ort.NewEmptyScalar[uint8]()
	case !scalar && t.Len() > 0 && (t.DType == graphs.Float16 || t.DType == graphs.BFloat16):
		return ort.NewCustomDataTensor(ort.NewShape(t.Dims...), make([]byte, len(t.Raw)), ort.TensorElementDataType(t.DType))
	}
	return nil, nil
}

func tensorOf(v ort.Value) (*graphs.Tensor, error) {
	switch v := v.(type) {
	case *ort.Scalar[float32]:
		return graphs.ScalarTensor(v.GetData()), nil
	case *ort.Scalar[float64]:
		return graphs.ScalarTensor(v.GetData()), nil
	case *ort.Scalar[int64]:
		return graphs.ScalarTensor(v.GetData()), nil
	case *ort.Scalar[uint8]:
		return graphs.ScalarTensor(v.GetData()), nil
	case *ort.Tensor[float32]:
		return graphs.NewTensor(slices.Clone(v.GetData()), v.GetShape()...), nil
	case *ort.Tensor[float64]:
		return graphs.NewTensor(slices.Clone(v.GetData()), v.GetShape()...), nil
	case *ort.Tensor[int64]:
		return graphs.NewTensor(slices.Clone(v.GetData()), v.GetShape()...), nil
	case *ort.Tensor[int32]:
		return graphs.NewTensor(slices.Clone(v.GetData()), v.GetShape()...), nil
	case *ort.Tensor[uint8]:
		return graphs.NewTensor(slices.Clone(v.GetData()), v.GetShape()...), nil
	case *ort.Tensor[int8]:
		return graphs.NewTensor(slices.Clone(v.GetData()), v.GetShape()...), nil
	case *ort.Tensor[bool]:
		ints := make([]int64, len(v.GetData()))
		for i, b := range v.GetData() {
			if b {
				ints[i] = 1
			}
		}
		return graphs.FromInt64s(graphs.Bool, ints, v.GetShape()...)
	case *ort.CustomDataTensor:
		return &graphs.Tensor{DType: graphs.DType(v.DataType()), Dims: v.GetShape(), Raw: slices.Clone(v.GetData())}, nil
	}
	return nil, outOfScope(otherData)
}

func sameArrays(want, got *graphs.Array, rel, abs float64) error {
	if got == nil || !slices.Equal(want.Dims, got.Dims) || !slices.Equal(want.I, got.I) || len(want.F) != len(got.F) {
		return fmt.Errorf("want %v%v, got %v", want.DType, want.Dims, got)
	}
	for i, w := range want.F {
		g := got.F[i]
		if w == g || math.IsNaN(w) && math.IsNaN(g) {
			continue
		}
		if !(math.Abs(w-g) <= abs+rel*math.Abs(w)) || math.IsInf(w, 0) {
			return fmt.Errorf("element %d: want %v, got %v", i, w, g)
		}
	}
	return nil
}

// tolerance is that of a type's rounding, relative and absolute.
func tolerance(dt graphs.DType, loose float64) (rel, abs float64) {
	switch dt {
	case graphs.Float16:
		return 2e-3, 2e-3
	case graphs.BFloat16:
		return 2e-2, 2e-2
	}
	return loose, loose / 10
}

// roundTrip reads a model, writes it, and compares what ONNX Runtime makes of both.
func (m *backendModel) roundTrip() (g *graphs.Graph, inputs []*graphs.Tensor, err error) {
	if inputs, err = tensorsOf(m.inputs); err != nil {
		return nil, nil, err
	}
	expected, err := tensorsOf(m.outputs)
	if err != nil {
		return nil, nil, err
	}
	if !slices.ContainsFunc(slices.Concat(inputs, expected), func(t *graphs.Tensor) bool { return t.DType.IsFloat() }) {
		return nil, nil, outOfScope("no floats in or out")
	}
	if len(inputs) == 0 {
		return nil, nil, outOfScope("no inputs")
	}
	ref, err := m.runORT(m.model, inputs, expected)
	if s := outOfScope(""); errors.As(err, &s) {
		return nil, nil, s
	}
	if err != nil {
		return nil, nil, outOfScope("ONNX Runtime refuses it: " + kernelReason(err))
	}
	g, info, err := graphs.Decode(m.model, "")
	if why := refusalOf(err); why != "" {
		return nil, nil, outOfScope(why)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read: %w", err)
	}
	for i, o := range g.Outputs {
		want, err := graphs.ArrayOf(expected[i])
		if err != nil {
			return nil, nil, outOfScope(otherData)
		}
		rel, abs := tolerance(want.DType, 1e-3)
		if sameArrays(want, ref[o.Name], rel, abs) != nil {
			return nil, nil, outOfScope("ONNX Runtime gives other values than the data set")
		}
	}
	if g, err = graphs.Infer(g); err != nil {
		return nil, nil, fmt.Errorf("infer: %w", err)
	}
	if err := graphs.Check(g); err != nil {
		return nil, nil, fmt.Errorf("check: %w", err)
	}
	raw, err := graphs.Encode(g, graphs.WriteOptions{Domains: info.Opsets})
	if err != nil {
		return nil, nil, fmt.Errorf("write: %w", err)
	}
	got, err := m.runORT(raw, inputs, expected)
	if err != nil {
		return nil, nil, fmt.Errorf("run what was written: %w", err)
	}
	for name, want := range ref {
		rel, abs := tolerance(want.DType, 1e-5)
		if err := sameArrays(want, got[name], rel, abs); err != nil {
			return nil, nil, fmt.Errorf("output %q: %w", name, err)
		}
	}
	return g, inputs, nil
}

// kernelReason shortens ONNX Runtime's refusals.
func kernelReason(err error) string {
	text := err.Error()
	for _, r := range []struct{ has, why string }{
		{"NOT_IMPLEMENTED", "no kernel"}, {"Could not find an implementation", "no kernel"}, {"opset", "a later opset than it has"},
		{"is not a registered function/op", "an unknown op"}, {"ype Error", "element types"},
	} {
		if strings.Contains(text, r.has) {
			return r.why
		}
	}
	return "at run time"
}

// refusalOf is the reason of a refusal by name.
func refusalOf(err error) string {
	if err == nil {
		return ""
	}
	var op *graphs.OpError
	if errors.As(err, &op) {
		return "op " + op.Op
	}
	if s := err.Error(); strings.Contains(s, "not supported") {
		return s[strings.LastIndex(s, ": ")+2:]
	}
	return ""
}

// withoutGradient are the float operands that a value is not differentiable by: they are lengths, positions and switches.
var withoutGradient = map[string][]int{"Resize": {1, 2}, "Upsample": {1}, "Dropout": {1}, "OneHot": {0, 1}, "Range": {1}, "CastLike": {1}, "NonMaxSuppression": {0, 1, 2, 3, 4}}

// checkGradient compares the derivative of a model of one op along a random direction, for random cotangents, with central differences by the
// float64 evaluator. It returns false where there is nothing to differentiate.
func (m *backendModel) checkGradient(g *graphs.Graph, inputs []*graphs.Tensor) (bool, error) {
	feeds := map[string]*graphs.Array{}
	var wrt, outs []string
	constants := map[*graphs.Value]*graphs.Value{}
	for i, v := range g.Inputs {
		a, err := graphs.ArrayOf(inputs[i])
		if err != nil {
			return false, outOfScope(otherData)
		}
		feeds[v.Name] = a
		fixed := false
		for _, n := range g.Nodes {
			for _, k := range withoutGradient[n.Op] {
				fixed = fixed || n.Input(k) == v
			}
		}
		if v.Type.DType.IsFloat() && !fixed {
			wrt = append(wrt, v.Name)
		} else {
			constants[v] = &graphs.Value{Tensor: inputs[i]}
		}
	}
	g, err := setInputs(g, constants)
	if err != nil {
		return false, err
	}
	for _, o := range g.Outputs {
		if o.Value.Type.DType.IsFloat() {
			outs = append(outs, o.Name)
		}
	}
	if len(wrt) == 0 || len(outs) == 0 {
		return false, nil
	}
	d, err := gradients.VJP(g, outs, wrt)
	if err != nil {
		var op *graphs.OpError
		if errors.As(err, &op) {
			return false, outOfScope(op.Op + ": " + shortReason(op.Reason))
		}
		if s := err.Error(); strings.Contains(s, "support") {
			return false, outOfScope(g.Nodes[0].Op + ":" + shortReason(s))
		}
		return false, err
	}
	h := fnv.New64a()
	h.Write([]byte(m.name))
	r := rand.New(rand.NewPCG(h.Sum64(), 1))
	const draws = 6
	for k := range draws {
		judged, err := oneDirection(r, g, d, feeds, wrt, outs, float64(k)/50)
		if judged || err != nil {
			return true, err
		}
	}
	return false, outOfScope("its data lie on kinks")
}

func shortReason(s string) string {
	s, _, _ = strings.Cut(s, "; ")
	return s[strings.LastIndex(s, ": ")+1:]
}

// setInputs makes constants of inputs, as import does with what is set.
func setInputs(g *graphs.Graph, by map[*graphs.Value]*graphs.Value) (*graphs.Graph, error) {
	b := graphs.NewBuilder(g.Name)
	for _, v := range g.Inputs {
		if by[v] == nil {
			b.AddInput(v)
		} else {
			by[v] = b.Const(by[v].Tensor)
		}
	}
	outs := make([]graphs.Output, len(g.Outputs))
	for i, v := range b.Splice(g, by) {
		outs[i] = graphs.Output{Name: g.Outputs[i].Name, Value: v}
	}
	return b.Graph(outs...)
}

// oneDirection judges one draw. Differences of two widths must agree: a point on a kink or next to one is not judged.
func oneDirection(r *rand.Rand, g, d *graphs.Graph, data map[string]*graphs.Array, wrt, outs []string, spread float64) (bool, error) {
	feeds := maps.Clone(data)
	dirs := map[string][]float64{}
	for _, name := range wrt {
		a := data[name]
		f, v := make([]float64, len(a.F)), make([]float64, len(a.F))
		for i, x := range a.F {
			f[i], v[i] = x*(1-0.02*r.Float64())+spread*r.NormFloat64(), 2*r.Float64()-1
		}
		feeds[name], dirs[name] = &graphs.Array{DType: a.DType, Dims: a.Dims, F: f}, v
	}
	y, err := graphs.Evaluate(g, feeds)
	if err != nil {
		return false, outOfScope("no evaluator: " + err.Error())
	}
	cts := maps.Clone(feeds)
	for _, name := range outs {
		c := &graphs.Array{DType: y[name].DType, Dims: y[name].Dims, F: make([]float64, len(y[name].F))}
		for i := range c.F {
			c.F[i] = r.NormFloat64()
		}
		cts[gradients.CotangentPrefix+name] = c
	}
	grads, err := graphs.Evaluate(d, cts)
	if err != nil {
		return false, fmt.Errorf("the derivative does not run: %w", err)
	}
	got, scale := 0.0, 1e-3
	for _, name := range wrt {
		for i, v := range dirs[name] {
			got += grads[gradients.GradPrefix+name].F[i] * v
			scale += math.Abs(grads[gradients.GradPrefix+name].F[i] * v)
		}
	}
	moved := func(h float64) (float64, error) {
		at := maps.Clone(feeds)
		for _, name := range wrt {
			f := slices.Clone(feeds[name].F)
			for i, v := range dirs[name] {
				f[i] += h * v
			}
			at[name] = &graphs.Array{DType: feeds[name].DType, Dims: feeds[name].Dims, F: f}
		}
		out, err := graphs.Evaluate(g, at)
		sum := 0.0
		for _, name := range outs {
			if err != nil || !slices.Equal(out[name].Dims, y[name].Dims) {
				return 0, outOfScope("shapes depend on values")
			}
			for i, c := range cts[gradients.CotangentPrefix+name].F {
				sum += c * out[name].F[i]
			}
		}
		return sum, nil
	}
	middle, err := moved(0)
	if err != nil {
		return false, err
	}
	// A kink shows in slopes to both sides whose difference does not shrink with the width.
	widths := []float64{1e-4, 3e-5}
	var slopes, bend [2]float64
	for k, h := range widths {
		up, err := moved(h)
		if err != nil {
			return false, err
		}
		down, err := moved(-h)
		if err != nil {
			return false, err
		}
		slopes[k], bend[k] = (up-down)/(2*h), (up+down-2*middle)/h
	}
	scale = max(scale, math.Abs(slopes[1]))
	if !(max(math.Abs(slopes[0]-slopes[1]), math.Abs(bend[0]-bend[1]*widths[0]/widths[1])) <= 3e-6*scale) {
		return false, nil
	}
	if !(math.Abs(got-slopes[1]) <= 1e-5*scale) {
		return false, fmt.Errorf("the derivative is %v, central differences give %v", got, slopes[1])
	}
	return true, nil
}

// tally counts models by what became of them.
type tally struct {
	mu                sync.Mutex
	passed, checked   int
	outside, unsuited map[string]int
	failed            []string
}

func (c *tally) judge(m *backendModel) {
	g, inputs, err := m.roundTrip()
	checked := false
	var why outOfScope
	var gradErr error
	if err == nil && len(g.Nodes) == 1 && !strings.HasSuffix(m.name, "_expanded") {
		checked, gradErr = m.checkGradient(g, inputs)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.As(err, &why):
		c.outside[string(why)]++
	case err != nil:
		c.failed = append(c.failed, m.name+": "+err.Error())
	default:
		c.passed++
	}
	switch {
	case errors.As(gradErr, &why):
		c.unsuited[string(why)]++
	case gradErr != nil:
		c.failed = append(c.failed, m.name+": gradient: "+gradErr.Error())
	case checked:
		c.checked++
	}
}

func (c *tally) text(total int) string {
	var b strings.Builder
	sum := 0
	for _, n := range c.outside {
		sum += n
	}
	fmt.Fprintf(&b, "Of the %d models of ONNX's backend tests 1.22 (single ops, their expansions, exported layers), with ONNX Runtime 1.27 on the CPU:\n", total)
	fmt.Fprintf(&b, "**%d passed** (read, written, and run with the results of the original), **%d out of scope**, **%d failed**.\n", c.passed, sum, len(c.failed))
	fmt.Fprintf(&b, "The gradients of %d of the models of one op were compared with central differences.\n\n| out of scope | models |\n|---|---|\n", c.checked)
	rows(&b, c.outside)
	b.WriteString("\n| gradient not compared | models |\n|---|---|\n")
	rows(&b, c.unsuited)
	return b.String()
}

func rows(b *strings.Builder, counts map[string]int) {
	keys := slices.SortedFunc(maps.Keys(counts), func(p, q string) int {
		return cmp.Or(cmp.Compare(counts[q], counts[p]), cmp.Compare(p, q))
	})
	for _, k := range keys {
		fmt.Fprintf(b, "| %s | %d |\n", k, counts[k])
	}
}

// TestBackend: every float model of ONNX's backend tests that ONNX Runtime passes survives reading and writing, and the derivatives of single
// ops agree with central differences. docs/ops.md holds the counts.
func TestBackend(t *testing.T) {
	openRuntime(t)
	models := readBackend(t)
	c := &tally{outside: map[string]int{}, unsuited: map[string]int{}}
	var wg sync.WaitGroup
	work := make(chan *backendModel)
	for range 2 {
		wg.Go(func() {
			for m := range work {
				c.judge(m)
			}
		})
	}
	for _, m := range models {
		work <- m
	}
	close(work)
	wg.Wait()
	slices.Sort(c.failed)
	text := c.text(len(models))
	t.Log("\n" + text)
	for _, f := range c.failed {
		t.Error(f)
	}
	const path = "../../docs/ops.md"
	if *update {
		require.NoError(t, docs.Update(path, "backend", text))
	}
	have, err := docs.Section(path, "backend")
	require.NoError(t, err)
	if ort.GetVersion() == "1.27.0" {
		require.Equal(t, have, text, "docs/ops.md is out of date: go test ./internal/conformance -run Backend -update")
	}
}
