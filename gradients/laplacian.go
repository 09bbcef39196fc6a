package gradients

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// The forward Laplacian (Li et al. 2023, arXiv 2307.08214) carries for every value v that depends on x its Jacobian rows and its Laplacian
// along: with f applied to v,
//
//	J′ = f′·J,   L′ = f′·L + Σ_d Jᵈᵀ f″ Jᵈ.
//
// One product of matrices a layer serves all D directions, and the energy's J is its gradient.

// jet is a value with its derivatives by x. J has a direction axis of extent D in front of v's axes, L has v's axes; either may be
// under-broadcast like a cotangent, and is nil where zero.
type jet struct{ v, j, l *Value }

// forwardRule returns the jets of a node's outputs from those of its inputs; v of each is the node's own output.
type forwardRule func(f *forward, n *graphs.Node, in []jet) []jet

var forwardRules = map[string]forwardRule{}

// forward is the state of one forward sweep.
type forward struct {
	*Context
	dirs  int64  // D
	seed  *Value // J of x where that is the unit vectors
	first bool   // first derivatives are enough
	jets  map[*Value]jet
}

// errNoForward says that an op has no forward rule: the Laplacian is then a sum of Hessian-vector products.
var errNoForward = errors.New("no forward rule")

// addLaplacian adds the outputs laplacian and, from the energy's own J, gradient.
func addLaplacian(g *graphs.Graph) (*graphs.Graph, error) {
	d, err := forwardLaplacian(g)
	if errors.Is(err, errNoForward) {
		return laplacianByHVP(g)
	}
	return d, err
}

func forwardLaplacian(g *graphs.Graph) (*graphs.Graph, error) {
	energy, x := g.Output(EnergyName), g.Input(X)
	dim, err := itemSize(x)
	if err != nil {
		return nil, err
	}
	f := &forward{Context: &Context{Builder: graphs.Extend(g)}, dirs: dim, jets: map[*Value]jet{}}
	f.seed = f.directions(x, dim)
	f.jets[x] = jet{v: x, j: f.seed}
	for _, n := range g.Nodes {
		if err := f.node(n); err != nil {
			return nil, err
		}
	}
	e := f.jets[energy]
	lap, grad := e.l, e.j
	if lap == nil {
		lap = f.zerosLike(energy)
	}
	if grad == nil {
		grad = f.zerosLike(x)
	} else {
		grad = f.transpose(f.real(grad, &Value{Type: graphs.Type{Shape: append(graphs.Shape{graphs.Static(dim)}, energy.Shape()...)}}, energy), 1, 0)
		grad = f.reshapeLike(grad, x)
	}
	return finish(f.Builder, g, graphs.Output{Name: EnergyName, Value: energy}, graphs.Output{Name: GradientName, Value: grad},
		graphs.Output{Name: LaplacianName, Value: f.Context.real(lap, energy)})
}

// real expands j, whose full shape is [D, shape of v].
func (f *forward) real(j, full, v *Value) *Value {
	if j.Shape().Same(full.Shape()) {
		return j
	}
	return f.Op("Expand", nil, j, f.Op("Concat", graphs.Attrs{"axis": int64(0)}, f.Ints(f.dirs), f.shape(v)))
}

// realJ expands j to [D, shape of v].
func (f *forward) realJ(j, v *Value) *Value {
	return f.real(j, &Value{Type: graphs.Type{Shape: append(graphs.Shape{graphs.Static(f.dirs)}, v.Shape()...)}}, v)
}

func itemSize(x *Value) (int64, error) {
	size := x.Shape()[1:].Size()
	if !size.IsStatic() {
		return 0, fmt.Errorf("gradients: a Laplacian needs the item's extents; x is %v", x.Shape())
	}
	return size.Size, nil
}

// directions is the unit vectors as [D, 1, item…].
func (c *Context) directions(x *Value, dim int64) *Value {
	one, _ := graphs.FromFloat64s(x.Type.DType, []float64{0}, 1)
	square := c.Op("ConstantOfShape", graphs.Attrs{"value": one}, c.Ints(dim, dim))
	eye := c.Op("EyeLike", nil, square)
	return c.Op("Reshape", nil, eye, c.Ints(append([]int64{dim, 1}, x.Shape()[1:].Ints()...)...))
}

func (f *forward) node(n *graphs.Node) error {
	in := make([]jet, len(n.In))
	active := false
	for i, v := range n.In {
		in[i] = f.jets[v]
		in[i].v = v
		active = active || in[i].j != nil
	}
	eachInBodies(n, func(v *Value) { active = active || f.jets[v].j != nil })
	if info, ok := graphs.Info(n.Op); !active || ok && info.Flat {
		return nil
	}
	f.Context.node = n
	rule := forwardRules[n.Op]
	if n.Domain != "" || rule == nil {
		return fmt.Errorf("%w: %s", errNoForward, n.Label())
	}
	out := rule(f, n, in)
	if out == nil {
		return fmt.Errorf("%w: %s", errNoForward, n.Label())
	}
	if err := f.Err(); err != nil {
		return fmt.Errorf("gradients: Laplacian of %s: %w", n.Label(), err)
	}
	for i, v := range n.Out {
		out[i].v = v
		f.jets[v] = out[i]
	}
	return nil
}

// laplacianByHVP is Σ_d e_dᵀ∇²E e_d: the Hessian-vector graph on D copies of the batch, one for each direction.
func laplacianByHVP(g *graphs.Graph) (*graphs.Graph, error) {
	h, err := hessianRows(g)
	if err != nil {
		return nil, err
	}
	c, x := h.Context, h.x
	axes := make([]int, x.Rank()-1)
	for i := range axes {
		axes[i] = i + 1
	}
	diagonal := c.reduceSum(c.mul(h.rows, h.vectors), axes, false)
	byDirection := c.Op("Reshape", nil, diagonal, c.Ints(h.dim, -1))
	lap := c.reduceSum(byDirection, []int{0}, false)
	return finish(c.Builder, h.g, append(slices.Clone(h.g.Outputs), graphs.Output{Name: LaplacianName, Value: lap})...)
}

// Hessian returns the graph of ∇²ₓE as [N, D, D] over flattened items.
func Hessian(e *graphs.Graph) (*graphs.Graph, error) {
	g, err := Prepare(e)
	if err != nil {
		return nil, err
	}
	h, err := hessianRows(g)
	if err != nil {
		return nil, err
	}
	c := h.Context
	byDirection := c.Op("Reshape", nil, h.rows, c.Ints(h.dim, -1, h.dim))
	hess := c.transpose(byDirection, 1, 0, 2)
	return finish(c.Builder, h.g, graphs.Output{Name: HessianName, Value: hess})
}

// allRows is ∇²E·e_d for every direction d and every row of the batch.
type allRows struct {
	*Context
	g       *graphs.Graph // with energy and gradient
	x       *Value
	dim     int64
	vectors *Value // [D·N, item…], direction-major
	rows    *Value // [D·N, item…]
}

func hessianRows(g *graphs.Graph) (*allRows, error) {
	x := g.Input(X)
	dim, err := itemSize(x)
	if err != nil {
		return nil, err
	}
	g, err = addGradient(g)
	if err != nil {
		return nil, err
	}
	withHVP, err := addHVP(g)
	if err != nil {
		return nil, err
	}
	b := graphs.Extend(g)
	c := &Context{Builder: b, node: &graphs.Node{Op: "Hessian"}}
	full := c.Op("Concat", graphs.Attrs{"axis": int64(0)}, c.Ints(dim), c.shape(x))
	flat := c.Ints(append([]int64{-1}, x.Shape()[1:].Ints()...)...)
	each := c.Op("Expand", nil, c.directions(x, dim), full)
	vectors := c.Op("Reshape", nil, each, flat)
	if x.Shape()[0].IsStatic() {
		hv, err := oneByOne(c, x, withHVP, each)
		if err != nil {
			return nil, err
		}
		return &allRows{c, g, x, dim, vectors, c.Op("Reshape", nil, hv, flat)}, c.Err()
	}
	copies := c.Op("Reshape", nil, c.Op("Expand", nil, x, full), flat)
	outs := b.Splice(withHVP, map[*Value]*Value{x: copies, withHVP.Input(V): vectors})
	for i, o := range withHVP.Outputs {
		if o.Name == HVPName {
			return &allRows{c, g, x, dim, vectors, outs[i]}, b.Err()
		}
	}
	return nil, b.Err()
}

// oneByOne is ∇²E·v for v [K, N, D…], a direction after the other: a graph with a batch size of its own cannot run on K copies of it.
func oneByOne(c *Context, x *Value, withHVP *graphs.Graph, v *Value) (*Value, error) {
	b := graphs.NewBuilder("direction")
	d := b.Input("direction", x.Type.DType, x.Shape())
	hvp := &graphs.Graph{Nodes: withHVP.Nodes, Outputs: []graphs.Output{{Name: HVPName, Value: withHVP.Output(HVPName)}}}
	row := b.Splice(hvp, map[*Value]*Value{withHVP.Input(X): x, withHVP.Input(V): d})[0]
	body, err := b.Graph(graphs.Output{Name: "row", Value: row})
	if err != nil {
		return nil, err
	}
	return c.Op("Scan", graphs.Attrs{"body": body, "num_scan_inputs": int64(1)}, v), c.Err()
}
