package ebm

import (
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// Param is one parameter: a float initializer that the energy depends on differentiably.
type Param struct {
	Name      string
	Shape     []int64
	Offset    int // of its first element in Flat
	Len       int
	Trainable bool

	value *graphs.Value
}

// Params is the parameter store: all parameters, in the order in which the graph uses them. They are one slice, Flat, which is made when it is
// first asked for: a frozen energy does without and leaves its parameters where they were read, perhaps in a mapped file.
type Params struct {
	List []Param

	mu   sync.Mutex
	size int
	flat []float32
}

// Size is the number of elements of all parameters.
func (p *Params) Size() int { return p.size }

// Flat is the store's memory, all parameters one after the other.
func (p *Params) Flat() []float32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flat == nil {
		p.flat = make([]float32, p.size)
		for _, q := range p.List {
			copy(p.flat[q.Offset:], graphs.Data[float32](q.value.Tensor))
			q.value.Tensor.Forget()
		}
	}
	return p.flat
}

// Of returns the elements of a parameter: those of Flat, where it was made; otherwise they must not be written.
func (p *Params) Of(q Param) []float32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flat == nil {
		return graphs.Data[float32](q.value.Tensor)
	}
	return p.flat[q.Offset : q.Offset+q.Len]
}

// Lookup returns the parameter with the given name.
func (p *Params) Lookup(name string) (Param, bool) {
	for _, q := range p.List {
		if q.Name == name {
			return q, true
		}
	}
	return Param{}, false
}

// Names returns the names of all parameters in the store's order.
func (p *Params) Names() []string {
	names := make([]string, len(p.List))
	for i, q := range p.List {
		names[i] = q.Name
	}
	return names
}

// Select sets which parameters are trainable by glob patterns on their names: only those that match one of only (where any is given),
// and none that matches one of freeze. A pattern that matches nothing is an error.
func (p *Params) Select(only, freeze []string) error {
	match := func(pattern string, q Param) (bool, error) {
		ok, err := path.Match(pattern, q.Name)
		if err != nil {
			return false, fmt.Errorf("ebm: pattern %q: %w", pattern, err)
		}
		return ok || pattern == q.Name, nil
	}
	apply := func(patterns []string, set func(q *Param)) error {
		for _, pattern := range patterns {
			hits := 0
			for i := range p.List {
				ok, err := match(pattern, p.List[i])
				if err != nil {
					return err
				}
				if ok {
					set(&p.List[i])
					hits++
				}
			}
			if hits == 0 {
				return fmt.Errorf("ebm: no parameter matches %q; there are %v", pattern, p.Names())
			}
		}
		return nil
	}
	if len(only) > 0 {
		for i := range p.List {
			p.List[i].Trainable = false
		}
	}
	if err := apply(only, func(q *Param) { q.Trainable = true }); err != nil {
		return err
	}
	return apply(freeze, func(q *Param) { q.Trainable = false })
}

// generated matches the names that exporters invent for constants.
var generated = regexp.MustCompile(strings.Join([]string{
	`^(_?val_?\d*|scalar_tensor.*|_?to_copy.*|\w*_cast(_\d+)?|\d+)$`, // PyTorch, dynamo-based: val_7, scalar_tensor_default, min_val_cast
	`::|Constant|^/`, // PyTorch, TorchScript-based: onnx::Mul_12, /net/Constant_output_0
	`^const.*$|^(dot_bias|ipow_exp|pool_sum_scale|dpa_[a-z_]*|softmax_[a-z_]*)_\d+$`, // jax2onnx
	`const_fold|__\d+$|/(Const(_\d+)?|x|y):0$`,                                       // tf2onnx: layer_normalization/add/y:0
	`^(unity|exponent|prod_operand)$`,                                                // skl2onnx
}, "|"))

// exporterConstant reports whether a rank-0 initializer is a constant of the exporter's making rather than a parameter.
func exporterConstant(v *graphs.Value) bool { return v.Rank() == 0 && generated.MatchString(v.Name) }

// operandConstant reports whether every use of v is as an exponent, a bound or a shape: never something to train.
func operandConstant(g *graphs.Graph, v *graphs.Value) bool {
	role := map[string][]int{"Pow": {1}, "Clip": {1, 2}, "Pad": {2}, "Resize": {1, 2}, "Range": {0, 1, 2}, "Dropout": {1}}
	for _, n := range g.Nodes {
		for i, in := range n.In {
			if in == v && !slices.Contains(role[n.Op], i) {
				return false
			}
		}
	}
	return true
}

// splitParams finds the parameters of an energy graph, and replaces by constants what is none: initializers that E does not depend on
// differentiably, and the exporter's scalars. With all, scalars that are factors or terms stay parameters, not trainable.
func splitParams(g *graphs.Graph, all bool) (*graphs.Graph, []*graphs.Value, error) {
	values := g.Params()
	used := gradients.DependsOn(g, values)
	replace := map[*graphs.Value]*graphs.Value{}
	var params []*graphs.Value
	b := graphs.NewBuilder(g.Name)
	for _, v := range values {
		if !used[v] || exporterConstant(v) && (!all || operandConstant(g, v)) {
			replace[v] = b.Const(v.Tensor)
			continue
		}
		params = append(params, v)
	}
	if len(replace) == 0 {
		return g, params, nil
	}
	r, err := graphs.Replace(g, replace)
	return r, params, err
}

// isMask reports whether a tensor holds an infinity, as the masks of attention do: no weight is infinite.
func isMask(t *graphs.Tensor) bool {
	return t.Len() <= maxMask && slices.ContainsFunc(graphs.Data[float32](t), func(x float32) bool { return math.IsInf(float64(x), 0) })
}

// maxMask bounds the tensors that are looked through, so that large parameters stay unread in their file.
const maxMask = 1 << 22

// normStatistics are the parameters that arrive as running statistics, mean and variance, at a BatchNormalization, perhaps repeated or reshaped on the
// way (instance normalization with statistics of its own).
func normStatistics(g *graphs.Graph) map[*graphs.Value]bool {
	stats := map[*graphs.Value]bool{}
	for _, n := range g.Nodes {
		if n.Op != "BatchNormalization" || len(n.In) != 5 {
			continue
		}
		for _, v := range n.In[3:] {
			for v.Kind == graphs.Computed && slices.Contains(arrangements, v.Node.Op) {
				v = v.Node.In[0]
			}
			stats[v] = true
		}
	}
	return stats
}

var arrangements = []string{"Tile", "Expand", "Reshape", "Squeeze", "Unsqueeze", "Concat", "Identity"}

// newParams says where parameters lie in the flat slice.
func newParams(g *graphs.Graph, values []*graphs.Value) (*Params, error) {
	p := &Params{}
	stats := normStatistics(g)
	for _, v := range values {
		t := v.Tensor
		if t.DType != graphs.Float32 {
			return nil, fmt.Errorf("ebm: parameter %q is %v; import the model to make it float32", v.Name, t.DType)
		}
		q := Param{Name: v.Name, Shape: t.Dims, Offset: p.size, Len: int(t.Len()), value: v}
		q.Trainable = !stats[v] && !exporterConstant(v) && !isMask(t)
		p.List = append(p.List, q)
		p.size += q.Len
	}
	return p, nil
}
