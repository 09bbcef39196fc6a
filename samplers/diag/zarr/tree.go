package zarr

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/samplers/diag"
)

// Tree is what a store holds.
type Tree struct {
	Chains, Draws int
	Posterior     []Variable        // at least one
	SampleStats   []Variable        // may be empty
	Attributes    map[string]string // such as inference_library
}

// Variable is one array of a group, over chain, draw and axes of its own.
type Variable struct {
	Name  string   // a file name: no slash, no leading "__"
	Shape []int    // extents of the axes after chain and draw
	Dims  []string // names of those axes; nil: NAME_dim_0, NAME_dim_1, …
	Data  any      // [chain, draw, Shape…] as []float32, []float64, []int32, []int64 or []bool
}

// Stats are statistics of draws, each [chains, draws], by the names ArviZ has for
// them. Those that are nil are not known.
type Stats struct {
	LP             []float32 // lp: log density of the draw, up to a constant: −E/T
	Energy         []float32 // energy: the Hamiltonian, potential plus kinetic energy
	AcceptanceRate []float32 // acceptance_rate
	StepSize       []float32 // step_size
	Diverging      []bool    // diverging
	TreeDepth      []int32   // tree_depth
	NSteps         []int32   // n_steps: gradients the draw took
}

// Sampled is the tree of draws as samplers give them: the posterior is one
// variable x, of the shape given after chain and draw; nil is [Dim].
func Sampled(d diag.Draws, shape []int, s Stats) (*Tree, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("zarr: %w", err)
	}
	if shape == nil {
		shape = []int{d.Dim}
	}
	x := Variable{Name: "x", Shape: shape, Data: d.X}
	if d.X64 != nil {
		x.Data = d.X64
	}
	t := &Tree{Chains: d.Chains, Draws: d.Draws, Posterior: []Variable{x}}
	add := func(name string, known bool, data any) {
		if known {
			t.SampleStats = append(t.SampleStats, Variable{Name: name, Data: data})
		}
	}
	add("acceptance_rate", s.AcceptanceRate != nil, s.AcceptanceRate)
	add("diverging", s.Diverging != nil, s.Diverging)
	add("energy", s.Energy != nil, s.Energy)
	add("lp", s.LP != nil, s.LP)
	add("n_steps", s.NSteps != nil, s.NSteps)
	add("step_size", s.StepSize != nil, s.StepSize)
	add("tree_depth", s.TreeDepth != nil, s.TreeDepth)
	return t, t.Validate()
}

// Validate returns an error unless every variable has a name of its own, data of
// a known type, and as many values as its shape says.
func (t *Tree) Validate() error {
	if t.Chains < 1 || t.Draws < 1 || len(t.Posterior) == 0 {
		return fmt.Errorf("zarr: a store needs a chain, a draw and a posterior variable; this has %d, %d and %d", t.Chains, t.Draws, len(t.Posterior))
	}
	for _, group := range t.groups() {
		taken := map[string]int{"chain": t.Chains, "draw": t.Draws}
		for _, v := range group.variables {
			if _, ok := taken[v.Name]; ok {
				return fmt.Errorf("zarr: the name %s is taken twice in %s", v.Name, group.name)
			}
			taken[v.Name] = -1
		}
		for _, v := range group.variables {
			if err := v.validate(t.Chains, t.Draws); err != nil {
				return err
			}
			for i, dim := range v.dims() {
				if n, ok := taken[dim]; ok && n != v.Shape[i] {
					return fmt.Errorf("zarr: the dimension %s of %s has a name that is taken in %s; give Dims of its own", dim, v.Name, group.name)
				}
				taken[dim] = v.Shape[i]
			}
		}
	}
	return nil
}

func (v Variable) validate(chains, draws int) error {
	if v.Dims != nil && len(v.Dims) != len(v.Shape) {
		return fmt.Errorf("zarr: %s has %d axes and %d names for them", v.Name, len(v.Shape), len(v.Dims))
	}
	for _, name := range append([]string{v.Name}, v.dims()...) {
		if name == "" || strings.Trim(name, ".") == "" || strings.HasPrefix(name, "__") || strings.ContainsAny(name, "/\\\x00") || name == "zarr.json" {
			return fmt.Errorf("zarr: %q cannot be the name of a variable; use letters, digits and _", name)
		}
	}
	have, ok := length(v.Data)
	if !ok {
		return fmt.Errorf("zarr: %s is a %T; give []float32, []float64, []int32, []int64 or []bool", v.Name, v.Data)
	}
	if want, ok := product(append([]int{chains, draws}, v.Shape...)); !ok || want != have || slices.Contains(v.Shape, 0) {
		return fmt.Errorf("zarr: %s of %d values does not have the shape [%d, %d] and %v", v.Name, have, chains, draws, v.Shape)
	}
	return nil
}

func (v Variable) dims() []string {
	if v.Dims != nil {
		return v.Dims
	}
	out := make([]string, len(v.Shape))
	for i := range out {
		out[i] = fmt.Sprintf("%s_dim_%d", v.Name, i)
	}
	return out
}

type group struct {
	name      string
	variables []Variable
}

// groups are those that are written: an empty one is left out.
func (t *Tree) groups() []group {
	out := []group{{"posterior", t.Posterior}}
	if len(t.SampleStats) > 0 {
		out = append(out, group{"sample_stats", t.SampleStats})
	}
	return out
}

// Flat is the posterior as draws over one flat axis, variables one after another
// in their order, and a label of every coordinate, such as mu or theta[3]. Values
// that float32 cannot hold are errors.
func (t *Tree) Flat() (diag.Draws, []string, error) {
	if err := t.Validate(); err != nil {
		return diag.Draws{}, nil, err
	}
	var labels []string
	for _, v := range t.Posterior {
		labels = append(labels, v.labels()...)
	}
	d := diag.Draws{X: make([]float32, t.Chains*t.Draws*len(labels)), Chains: t.Chains, Draws: t.Draws, Dim: len(labels)}
	if t.allDouble() {
		d.X64 = make([]float64, len(d.X))
	}
	at := 0
	for _, v := range t.Posterior {
		values, err := floats(v)
		if err != nil {
			return diag.Draws{}, nil, err
		}
		n := len(values) / (t.Chains * t.Draws)
		for i := range t.Chains * t.Draws {
			copy(d.X[i*d.Dim+at:], values[i*n:(i+1)*n])
		}
		if exact, ok := v.Data.([]float64); ok && d.X64 != nil {
			for i := range t.Chains * t.Draws {
				copy(d.X64[i*d.Dim+at:], exact[i*n:(i+1)*n])
			}
		}
		at += n
	}
	return d, labels, nil
}

// allDouble reports that the whole posterior is in double precision.
func (t *Tree) allDouble() bool {
	return !slices.ContainsFunc(t.Posterior, func(v Variable) bool {
		_, double := v.Data.([]float64)
		return !double
	})
}

// labels names the elements of one draw.
func (v Variable) labels() []string {
	if len(v.Shape) == 0 {
		return []string{v.Name}
	}
	n, _ := product(v.Shape)
	out, index := make([]string, n), make([]string, len(v.Shape))
	for i := range out {
		rest := i
		for k := len(v.Shape) - 1; k >= 0; k-- {
			index[k] = fmt.Sprint(rest % v.Shape[k])
			rest /= v.Shape[k]
		}
		out[i] = v.Name + "[" + strings.Join(index, ", ") + "]"
	}
	return out
}

// Stats are the sample statistics with the names and shapes that Stats has;
// others are left alone.
func (t *Tree) Stats() (Stats, error) {
	var s Stats
	real := map[string]*[]float32{"lp": &s.LP, "energy": &s.Energy, "acceptance_rate": &s.AcceptanceRate, "step_size": &s.StepSize}
	whole := map[string]*[]int32{"tree_depth": &s.TreeDepth, "n_steps": &s.NSteps}
	for _, v := range t.SampleStats {
		if len(v.Shape) > 0 {
			continue
		}
		if field, ok := real[v.Name]; ok {
			values, err := floats(v)
			if err != nil {
				return Stats{}, err
			}
			*field = values
		}
		if field, ok := whole[v.Name]; ok {
			values, err := integers(v)
			if err != nil {
				return Stats{}, err
			}
			*field = values
		}
		if v.Name == "diverging" {
			values, ok := v.Data.([]bool)
			if !ok {
				return Stats{}, fmt.Errorf("zarr: diverging is a %T and not []bool", v.Data)
			}
			s.Diverging = values
		}
	}
	return s, nil
}

// floats are the values of v in float32. Integers beyond 2²⁴ are rounded.
func floats(v Variable) ([]float32, error) {
	switch data := v.Data.(type) {
	case []float32:
		return data, nil
	case []float64:
		out := make([]float32, len(data))
		for i, x := range data {
			out[i] = float32(x)
			if math.IsInf(float64(out[i]), 0) && !math.IsInf(x, 0) {
				return nil, fmt.Errorf("zarr: %s holds %g, which float32 cannot hold", v.Name, x)
			}
		}
		return out, nil
	case []int32:
		return converted[float32](data), nil
	case []int64:
		return converted[float32](data), nil
	}
	return nil, fmt.Errorf("zarr: %s is a %T and not numbers", v.Name, v.Data)
}

func integers(v Variable) ([]int32, error) {
	switch data := v.Data.(type) {
	case []int32:
		return data, nil
	case []int64:
		for _, x := range data {
			if x != int64(int32(x)) {
				return nil, fmt.Errorf("zarr: %s holds %d, which is too large", v.Name, x)
			}
		}
		return converted[int32](data), nil
	}
	return nil, fmt.Errorf("zarr: %s is a %T and not integers", v.Name, v.Data)
}

func converted[T, F float32 | int32 | int64](x []F) []T {
	out := make([]T, len(x))
	for i, v := range x {
		out[i] = T(v)
	}
	return out
}

// product is that of extents, unless it or an extent is out of all proportion.
func product(shape []int) (int, bool) {
	n := 1
	for _, s := range shape {
		if s < 0 || s > 1<<40 || n > 1<<40 {
			return 0, false
		}
		if s > 0 && n > (1<<40)/s {
			return 0, false
		}
		n *= s
	}
	return n, true
}
