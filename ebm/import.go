package ebm

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
)

// ImportOptions says how an ONNX model is read as an energy.
type ImportOptions struct {
	Input  string              // the input that becomes x; empty: the only float input that Set does not fix
	Output string              // the output, or a value inside by name, that E is made of; empty: the only output
	Set    map[string]SetValue // values of the other inputs
	As     string              // identity (default), negate, sum, sqnorm, neglogsumexp or neglogit:K

	KeepBatch bool // keep a batch axis of fixed size: the energy is run in batches of it
}

// SetValue is the value of an input that an energy holds fixed: one number for all elements, or an array.
type SetValue struct {
	Number float64
	Array  *npy.Array // nil: Number
}

// ParseSet reads NAME=VALUE or NAME=@FILE.npy.
func ParseSet(text string) (string, SetValue, error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" || value == "" {
		return "", SetValue{}, fmt.Errorf("ebm: %q is not NAME=VALUE or NAME=@FILE.npy", text)
	}
	if file, ok := strings.CutPrefix(value, "@"); ok {
		a, err := npy.ReadFile(file, npy.Ints)
		if err != nil {
			return "", SetValue{}, fmt.Errorf("ebm: value of %q: %w", name, err)
		}
		return name, SetValue{Array: &a}, nil
	}
	if value == "true" || value == "false" {
		return name, SetValue{Number: map[string]float64{"true": 1}[value]}, nil
	}
	f, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return "", SetValue{}, fmt.Errorf("ebm: value of %q: %q is neither a number nor @FILE.npy", name, value)
	}
	return name, SetValue{Number: f}, nil
}

// importer turns a model into an energy graph, step by step.
type importer struct {
	g       *graphs.Graph
	o       ImportOptions
	x       *graphs.Value // input of the model
	notices []string
}

// Import makes an energy graph of any model: input x [N, D…] float32, output energy [N]. The model's initializers keep names, shapes and
// values; models of other float types become float32, which is among the notices. It does not run anything: see CheckRows.
func Import(src *graphs.Graph, o ImportOptions) (energy *graphs.Graph, notices []string, err error) {
	im := &importer{g: src, o: o}
	for _, step := range []func() error{im.known, im.infer, im.toFloat32, im.chooseInput, im.freeBatch, im.setOthers, im.makeEnergy, im.freeNames, im.bounded} {
		if err := step(); err != nil {
			return nil, nil, fmt.Errorf("ebm: %w", err)
		}
	}
	return im.g, im.notices, nil
}

// ReadFile reads a model file as an energy, see AsEnergy.
func ReadFile(path string) (*graphs.Graph, error) {
	g, _, err := graphs.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if g, err = AsEnergy(g); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

// AsEnergy takes a model as an energy: that of an energy file as it is, another as Import does with the zero options.
func AsEnergy(g *graphs.Graph) (*graphs.Graph, error) {
	if !IsEnergy(g) {
		e, _, err := Import(g, ImportOptions{})
		return e, err
	}
	if err := CheckOps(g); err != nil {
		return nil, err
	}
	return graphs.Infer(g)
}

// IsEnergy reports whether a graph has the one input and the one output of an energy file.
func IsEnergy(g *graphs.Graph) bool {
	return len(g.Inputs) == 1 && g.Inputs[0].Name == gradients.X && g.Inputs[0].Type.DType == graphs.Float32 &&
		len(g.Outputs) == 1 && g.Outputs[0].Name == gradients.EnergyName && g.Outputs[0].Value.Rank() == 1
}

// maxElements bounds one value of one item: 8 GiB of float32.
const maxElements = int64(1) << 31

// bounded refuses graphs with a value that no machine would hold, before anything runs.
func (im *importer) bounded() error {
	check := func(v *graphs.Value, what string) error {
		n := int64(1)
		for _, d := range v.Shape() {
			if d.IsStatic() && d.Size > 0 {
				if n > maxElements/d.Size {
					return fmt.Errorf("%s has the shape %v: more than %d elements an item", what, v.Shape(), maxElements)
				}
				n *= d.Size
			}
		}
		return nil
	}
	if err := check(im.x, fmt.Sprintf("input %q", im.x.Name)); err != nil {
		return err
	}
	for _, n := range im.g.Nodes {
		for _, v := range n.Out {
			if err := check(v, "the result of "+n.Label()); err != nil {
				return err
			}
		}
	}
	return nil
}

// infer computes all shapes. What the file states must not contradict them.
func (im *importer) infer() (err error) {
	declared := map[string]graphs.Shape{}
	for _, n := range im.g.Nodes {
		for _, v := range n.Out {
			declared[v.Name] = v.Shape()
		}
	}
	delete(declared, "")
	if im.g, err = graphs.Resolve(im.g); err != nil {
		return err
	}
	for _, n := range im.g.Nodes {
		for _, v := range n.Out {
			if s := declared[v.Name]; contradict(s, v.Shape()) {
				return fmt.Errorf("%s: the file states the shape %v for %q, which has %v", n.Label(), s, v.Name, v.Shape())
			}
		}
	}
	return nil
}

// contradict reports whether no tensor has both shapes.
func contradict(s, t graphs.Shape) bool {
	if s == nil || t == nil {
		return false
	}
	if len(s) != len(t) {
		return true
	}
	for i := range s {
		if s[i].IsStatic() && t[i].IsStatic() && s[i] != t[i] {
			return true
		}
	}
	return false
}

func (im *importer) toFloat32() error {
	g, from, err := graphs.ToFloat32(im.g)
	if err != nil {
		return err
	}
	im.g = g
	if len(from) > 0 {
		names := make([]string, len(from))
		for i, t := range from {
			names[i] = t.String()
		}
		im.notices = append(im.notices, "the model's "+strings.Join(names, " and ")+" values became float32")
	}
	return nil
}

func (im *importer) chooseInput() error {
	var free []string
	for _, v := range im.g.Inputs {
		_, fixed := im.o.Set[v.Name]
		if v.Type.DType.IsFloat() && !fixed {
			free = append(free, v.Name)
		}
		if v.Name == im.o.Input {
			im.x = v
		}
	}
	switch {
	case im.o.Input != "" && im.x == nil:
		return fmt.Errorf("the model has no input %q; its inputs are %s", im.o.Input, describe(im.g.Inputs))
	case im.o.Input != "":
		if !im.x.Type.DType.IsFloat() {
			return fmt.Errorf("input %q is %v; an energy needs a float input", im.o.Input, im.x.Type)
		}
	case len(free) == 0:
		return fmt.Errorf("the model has no float input to differentiate by; its inputs are %s", describe(im.g.Inputs))
	case len(free) > 1:
		return fmt.Errorf("the model has several float inputs, %s: choose one with --input NAME and fix the others with --set NAME=VALUE", describe(im.g.Inputs))
	default:
		im.x = im.g.Input(free[0])
	}
	if im.x.Rank() < 1 {
		return fmt.Errorf("input %q is %v; an energy needs a batch axis: [N, D…]", im.x.Name, im.x.Type)
	}
	for name := range im.o.Set {
		if im.g.Input(name) == nil {
			return fmt.Errorf("--set %s: the model has no such input; its inputs are %s", name, describe(im.g.Inputs))
		}
		if name == im.x.Name {
			return fmt.Errorf("--set %s: that input is x itself", name)
		}
	}
	return nil
}

func describe(inputs []*graphs.Value) string {
	parts := make([]string, len(inputs))
	for i, v := range inputs {
		parts[i] = fmt.Sprintf("%q %v", v.Name, v.Type)
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// freeBatch gives x the batch axis N, also where the model was exported with a fixed batch size: constants of reshapes that hold that size
// are freed with it. If the model cannot be freed, it keeps its size and is run in batches of it.
func (im *importer) freeBatch() error {
	fixed := im.x.Shape()[0]
	if fixed == batch {
		return nil
	}
	if fixed.IsStatic() && im.o.KeepBatch {
		im.notices = append(im.notices, fmt.Sprintf("the batch size %v is part of the model, which is run in batches of it", fixed))
		return nil
	}
	g, x, err := freeBatch(im.g, im.x, fixed, im.o.Set)
	if err != nil {
		if !fixed.IsStatic() {
			return err
		}
		im.notices = append(im.notices, fmt.Sprintf("the batch size %v is part of the model, which is run in batches of it", fixed))
		return nil
	}
	if fixed.IsStatic() {
		im.notices = append(im.notices, fmt.Sprintf("the batch axis, exported as %v, became dynamic", fixed))
	}
	im.g, im.x = g, x
	return nil
}

func (im *importer) setOthers() error {
	var missing []string
	by := map[*graphs.Value]*graphs.Value{}
	b := graphs.NewBuilder(im.g.Name)
	x := *im.x
	x.Name = gradients.X
	b.AddInput(&x)
	by[im.x] = &x
	for _, v := range im.g.Inputs {
		if v == im.x {
			continue
		}
		value, ok := im.o.Set[v.Name]
		if !ok {
			missing = append(missing, fmt.Sprintf("%s (%v)", v.Name, v.Type))
			continue
		}
		c, err := setInput(b, v, im.x, &x, value)
		if err != nil {
			return fmt.Errorf("--set %s: %w", v.Name, err)
		}
		by[v] = c
	}
	if len(missing) > 0 && !unused(im.g, by) {
		return fmt.Errorf("the model has more inputs than x = %q: give each a value with --set NAME=VALUE: %s", im.x.Name, strings.Join(missing, ", "))
	}
	outs := b.Splice(im.g, by)
	named := make([]graphs.Output, len(outs))
	for i, v := range outs {
		named[i] = graphs.Output{Name: im.g.Outputs[i].Name, Value: v}
	}
	g, err := b.Graph(named...)
	if err != nil {
		return err
	}
	g.Doc, g.Metadata, g.Name = im.g.Doc, maps.Clone(im.g.Metadata), "energy"
	im.g, im.x = g, &x
	return nil
}

// unused reports whether no node uses an input that by does not replace.
func unused(g *graphs.Graph, by map[*graphs.Value]*graphs.Value) bool {
	uses := g.Uses()
	for _, v := range g.Inputs {
		if by[v] == nil && uses[v] > 0 {
			return false
		}
	}
	return true
}

// setInput makes the constant that stands for input v. A number fills the declared shape; axes of x's batch extent follow x.
func setInput(b *graphs.Builder, v, oldX, x *graphs.Value, s SetValue) (*graphs.Value, error) {
	shape := v.Shape()
	if shape == nil {
		return nil, errors.New("the rank of that input is not known")
	}
	follows := make([]bool, len(shape))
	static := true
	for i, d := range shape {
		follows[i] = !d.IsStatic() && (d.Same(oldX.Shape()[0]) || i == 0) || d == batch
		static = static && !follows[i]
		if !d.IsStatic() && !follows[i] && s.Array == nil {
			return nil, fmt.Errorf("its shape %v has open extents; give an array", shape)
		}
	}
	numbers, dims := []float64{s.Number}, []int64(nil)
	if s.Array != nil {
		numbers = make([]float64, len(s.Array.Data))
		for i, f := range s.Array.Data {
			numbers[i] = float64(f)
		}
		for _, n := range s.Array.Shape {
			dims = append(dims, int64(n))
		}
		if err := fitsArray(shape, follows, dims); err != nil {
			return nil, err
		}
	}
	if v.Type.DType.IsInt() && slices.ContainsFunc(numbers, func(f float64) bool { return f != float64(int64(f)) }) {
		return nil, fmt.Errorf("input is %v; the value is no integer", v.Type)
	}
	t, err := graphs.FromFloat64s(v.Type.DType, numbers, dims...)
	if err != nil {
		return nil, err
	}
	c := b.Const(t)
	if s.Array != nil && static {
		return c, nil
	}
	parts := make([]*graphs.Value, len(shape))
	for i, d := range shape {
		if follows[i] {
			parts[i] = b.Op("Shape", graphs.Attrs{"start": int64(0), "end": int64(1)}, x)
		} else if d.IsStatic() {
			parts[i] = b.Ints(d.Size)
		} else {
			parts[i] = b.Ints(dims[len(dims)-len(shape)+i])
		}
	}
	if len(parts) == 0 {
		return b.Op("Reshape", nil, c, b.Ints()), b.Err()
	}
	target := parts[0]
	if len(parts) > 1 {
		target = b.Op("Concat", graphs.Attrs{"axis": int64(0)}, parts...)
	}
	return b.Op("Expand", nil, c, target), b.Err()
}

// fitsArray checks that an array has the declared shape, or that without the batch axis (or with an extent 1 there).
func fitsArray(shape graphs.Shape, follows []bool, dims []int64) error {
	lead := len(shape) - len(dims)
	ok := lead == 0 || lead == 1 && follows[0]
	for i, n := range dims {
		if !ok {
			break
		}
		d := shape[lead+i]
		ok = n == 1 && follows[lead+i] || d.Is(n) || !d.IsStatic() && !follows[lead+i]
	}
	if !ok {
		return fmt.Errorf("an array of shape %v does not fit the input's %v (the batch axis follows x: leave it out or give it the extent 1)", dims, shape)
	}
	return nil
}

func (im *importer) makeEnergy() error {
	out, err := im.output()
	if err != nil {
		return err
	}
	mode, arg, _ := strings.Cut(im.o.As, ":")
	if mode == "" {
		mode = "identity"
	}
	make, ok := modes[mode]
	if !ok {
		return fmt.Errorf("unknown --as %q; valid: identity, negate, sum, sqnorm, neglogsumexp, neglogit:K", im.o.As)
	}
	if !out.Type.DType.IsFloat() {
		return fmt.Errorf("the output is %v; an energy is made of floats", out.Type)
	}
	if out.Rank() < 0 {
		return fmt.Errorf("the rank of the output %q could not be inferred", out.Name)
	}
	b := graphs.NewBuilder(im.g.Name)
	b.AddInput(im.x)
	y := b.SpliceWith(&graphs.Graph{Nodes: im.g.Nodes, Outputs: []graphs.Output{{Value: out}}}, nil, im.forgetBatch(out))[0]
	e, err := make(b, y, arg)
	if err != nil {
		return err
	}
	if e, err = perItem(b, e, im.x); err != nil {
		return err
	}
	g, err := b.Graph(graphs.Output{Name: gradients.EnergyName, Value: e})
	if err != nil {
		return err
	}
	g.Doc, g.Metadata = im.g.Doc, im.g.Metadata
	if g.Metadata == nil {
		g.Metadata = map[string]string{}
	}
	g.Metadata["onnx-ebm.role"] = "energy"
	g.Metadata["onnx-ebm.sign"] = "p(x) ∝ exp(-energy)"
	if delete(g.Metadata, "onnx-ebm.logits"); mode == "neglogsumexp" && y.Rank() == 2 {
		g.Metadata["onnx-ebm.logits"] = y.Name
	}
	g.Metadata["onnx-ebm.as"] = strings.TrimSuffix(mode+":"+arg, ":")
	im.g = g
	return nil
}

// forgetBatch drops what the file states of the output's batch axis: where an exporter lost track of a shape, it states that of its example.
func (im *importer) forgetBatch(out *graphs.Value) func(*graphs.Node) {
	return func(n *graphs.Node) {
		for _, v := range n.Out {
			if v.Name == out.Name && v.Rank() > 0 && v.Shape()[0].IsStatic() && !im.x.Shape()[0].IsStatic() {
				v.Type.Shape = append(graphs.Shape{graphs.UnknownDim}, v.Shape()[1:]...)
			}
		}
	}
}

// freeNames renames parameters that have the name of an energy's input or output.
func (im *importer) freeNames() (err error) {
	by := map[*graphs.Value]*graphs.Value{}
	for _, v := range im.g.Params() {
		if v.Name == gradients.X || v.Name == gradients.EnergyName {
			c := *v
			c.Name = "model." + v.Name
			by[v] = &c
			im.notices = append(im.notices, fmt.Sprintf("the parameter %q, which has the name of an energy's input or output, became %q", v.Name, c.Name))
		}
	}
	if len(by) > 0 {
		im.g, err = graphs.Replace(im.g, by)
		im.x = im.g.Inputs[0]
	}
	return err
}

func (im *importer) output() (*graphs.Value, error) {
	names := make([]string, len(im.g.Outputs))
	for i, o := range im.g.Outputs {
		names[i] = o.Name
		if o.Name == im.o.Output {
			return o.Value, nil
		}
	}
	switch {
	case im.o.Output != "":
		// A value inside the graph, such as the logits of an energy with classes.
		for _, n := range im.g.Nodes {
			for _, v := range n.Out {
				if v.Name == im.o.Output {
					return v, nil
				}
			}
		}
		return nil, fmt.Errorf("the model has no output %q; its outputs are %s", im.o.Output, strings.Join(names, ", "))
	case len(names) == 0:
		return nil, errors.New("the model has no output")
	case len(names) > 1:
		return nil, fmt.Errorf("the model has the outputs %s: choose one with --output NAME", strings.Join(names, ", "))
	}
	return im.g.Outputs[0].Value, nil
}

// modes make an energy of an output y.
var modes = map[string]func(b *graphs.Builder, y *graphs.Value, arg string) (*graphs.Value, error){
	"identity": func(_ *graphs.Builder, y *graphs.Value, _ string) (*graphs.Value, error) { return scalarOutput(y) },
	"negate": func(b *graphs.Builder, y *graphs.Value, _ string) (*graphs.Value, error) {
		if _, err := scalarOutput(y); err != nil {
			return nil, err
		}
		return b.Op("Neg", nil, y), nil
	},
	"sum": func(b *graphs.Builder, y *graphs.Value, _ string) (*graphs.Value, error) { return sumItem(b, y), nil },
	"sqnorm": func(b *graphs.Builder, y *graphs.Value, _ string) (*graphs.Value, error) {
		return sumItem(b, b.Op("Mul", nil, y, y)), nil
	},
	"neglogsumexp": func(b *graphs.Builder, y *graphs.Value, _ string) (*graphs.Value, error) {
		if y.Rank() < 2 {
			return nil, fmt.Errorf("neglogsumexp needs logits [N, K]; the output is %v", y.Shape())
		}
		lse := b.Op("ReduceLogSumExp", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(-1))
		return b.Op("Neg", nil, lse), nil
	},
	"neglogit": func(b *graphs.Builder, y *graphs.Value, arg string) (*graphs.Value, error) {
		k, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || k < 0 {
			return nil, fmt.Errorf("--as neglogit:K needs a class number K ≥ 0, not %q", arg)
		}
		if y.Rank() != 2 {
			return nil, fmt.Errorf("neglogit needs logits [N, K]; the output is %v", y.Shape())
		}
		if d := y.Shape()[1]; d.IsStatic() && k >= d.Size {
			return nil, fmt.Errorf("--as neglogit:%d: the output has the classes 0 to %d", k, d.Size-1)
		}
		return b.Op("Neg", nil, b.Op("Gather", graphs.Attrs{"axis": int64(1)}, y, b.Int(k))), nil
	},
}

// scalarOutput accepts [N], [N,1] and [N,1,1].
func scalarOutput(y *graphs.Value) (*graphs.Value, error) {
	s := y.Shape()
	ok := len(s) >= 1 && len(s) <= 3
	for i := 1; ok && i < len(s); i++ {
		ok = s[i].Is(1)
	}
	if !ok {
		return nil, fmt.Errorf("the output has the shape %v, not one number an item: say how the energy is made of it with import --as sum|sqnorm|neglogsumexp|neglogit:K", s)
	}
	return y, nil
}

func sumItem(b *graphs.Builder, y *graphs.Value) *graphs.Value {
	axes := []int64{}
	for i := 1; i < y.Rank(); i++ {
		axes = append(axes, int64(i))
	}
	if len(axes) == 0 {
		return y
	}
	return b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(axes...))
}

// perItem drops axes of extent 1 behind the batch axis and checks that what is left is [N].
func perItem(b *graphs.Builder, e, x *graphs.Value) (*graphs.Value, error) {
	for e.Rank() > 1 && e.Shape()[e.Rank()-1].Is(1) {
		e = b.Op("Squeeze", nil, e, b.Ints(int64(e.Rank()-1)))
	}
	if b.Err() != nil {
		return nil, b.Err()
	}
	if e.Rank() == 0 && x.Shape()[0].Is(1) {
		e = b.Op("Reshape", nil, e, b.Ints(1))
	}
	if e.Rank() != 1 {
		return nil, fmt.Errorf("the energy has the shape %v, not [N]: choose another --as or --output", e.Shape())
	}
	if d := e.Shape()[0]; d.IsStatic() && d != x.Shape()[0] {
		return nil, fmt.Errorf("the energy has %v values whatever the batch size: its rows are mixed, so it is no energy of one item", d)
	}
	if d := e.Shape()[0]; !d.IsStatic() && d.Over(x.Shape()[0]).IsStatic() && !d.Same(x.Shape()[0]) {
		return nil, fmt.Errorf("the output has %v rows for %v items: an energy is one value an item (does the model reshape values of an item to rows of their own?)", d, x.Shape()[0])
	}
	if d := e.Shape()[0]; !d.IsStatic() && d != x.Shape()[0] { // through sizes that cannot be followed: one value a row, or the run fails
		e = b.Op("Reshape", nil, e, b.Op("Shape", graphs.Attrs{"start": int64(0), "end": int64(1)}, x))
	}
	return e, b.Err()
}
