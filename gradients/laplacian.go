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
	basis        // of the directions
	seed  *Value // J of x where that is the unit vectors
	first bool   // first derivatives are enough
	jets  map[*Value]jet
}

// errNoForward says that an op has no forward rule: the Laplacian is then a sum of Hessian-vector products.
var errNoForward = errors.New("no forward rule")

// addLaplacian adds the outputs laplacian and, from the energy's own J, gradient.
func addLaplacian(g *graphs.Graph) (*graphs.Graph, error) {
	g, err := namedExtents(g)
	if err != nil {
		return nil, err
	}
	d, err := forwardLaplacian(g)
	if errors.Is(err, errNoForward) {
		return laplacianByHVP(g)
	}
	return d, err
}

func forwardLaplacian(g *graphs.Graph) (*graphs.Graph, error) {
	energy, x := g.Output(EnergyName), g.Input(X)
	f := &forward{Context: &Context{Builder: graphs.Extend(g)}, jets: map[*Value]jet{}}
	f.basis = f.basisOf(x)
	f.seed = f.unitVectors(x, f.basis)
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
		grad = f.reshapeLike(f.transpose(f.realJ(grad, energy), 1, 0), x)
	}
	return finish(f.Builder, g, graphs.Output{Name: EnergyName, Value: energy}, graphs.Output{Name: GradientName, Value: grad},
		graphs.Output{Name: LaplacianName, Value: f.real(lap, energy)})
}

// shapeJ is [D, shape of v] as an integer vector.
func (f *forward) shapeJ(v *Value) *Value {
	return f.Op("Concat", graphs.Attrs{"axis": int64(0)}, f.extent, f.shape(v))
}

// realJ expands j to [D, shape of v].
func (f *forward) realJ(j, v *Value) *Value {
	if j.Shape().Same(append(graphs.Shape{f.dim}, v.Shape()...)) {
		return j
	}
	return f.Op("Expand", nil, j, f.shapeJ(v))
}

// basis is how many directions there are: D, known at run time only where extents of the item are open.
type basis struct {
	dim    graphs.Dim
	extent *Value // [D], an integer vector
}

// basisOf is that of the unit vectors: D is the product of the item's extents.
func (c *Context) basisOf(x *Value) basis {
	d := x.Shape()[1:].Size()
	if d.IsStatic() {
		return basis{d, c.Ints(d.Size)}
	}
	return basis{d, c.Op("ReduceProd", nil, c.extents(x, 1, x.Rank()), c.Ints(0))}
}

// unitVectors is [D, 1, item…].
func (c *Context) unitVectors(x *Value, d basis) *Value {
	zero, _ := graphs.FromFloat64s(x.Type.DType, []float64{0}, 1)
	join := graphs.Attrs{"axis": int64(0)}
	square := c.Op("ConstantOfShape", graphs.Attrs{"value": zero}, c.Op("Concat", join, d.extent, d.extent))
	return c.reshape(c.Op("EyeLike", nil, square), c.Op("Concat", join, d.extent, c.Ints(1), c.extents(x, 1, x.Rank())))
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
	axes := []int{0}
	for i := 2; i < h.rows.Rank(); i++ {
		axes = append(axes, i)
	}
	lap := h.reduceSum(h.mul(h.rows, h.unit), axes, false)
	return finish(h.Builder, h.g, append(slices.Clone(h.g.Outputs), graphs.Output{Name: LaplacianName, Value: lap})...)
}

// Hessian returns the graph of ∇²ₓE as [N, D, D] over flattened items.
func Hessian(e *graphs.Graph) (*graphs.Graph, error) {
	g, err := Prepare(e)
	if err != nil {
		return nil, err
	}
	if g, err = namedExtents(g); err != nil {
		return nil, err
	}
	h, err := hessianRows(g)
	if err != nil {
		return nil, err
	}
	batch := h.extents(h.rows, 1, 2)
	byDirection := h.reshape(h.rows, h.Op("Concat", graphs.Attrs{"axis": int64(0)}, h.extent, batch, h.extent))
	hess := h.transpose(byDirection, 1, 0, 2)
	return finish(h.Builder, h.g, graphs.Output{Name: HessianName, Value: hess})
}

// allRows is ∇²E·e_d for every direction d and every row of the batch.
type allRows struct {
	*Context
	basis
	g    *graphs.Graph // with energy and gradient
	unit *Value        // [D, 1, item…]
	rows *Value        // [D, N, item…]
}

func hessianRows(g *graphs.Graph) (*allRows, error) {
	g, err := addGradient(g)
	if err != nil {
		return nil, err
	}
	x := g.Input(X)
	c := &Context{Builder: graphs.Extend(g), node: &graphs.Node{Op: "Hessian"}}
	h := &allRows{Context: c, basis: c.basisOf(x), g: g}
	h.unit = c.unitVectors(x, h.basis)
	each := c.Op("Expand", nil, h.unit, c.Op("Concat", graphs.Attrs{"axis": int64(0)}, h.extent, c.shape(x)))
	h.rows, err = c.hvpAlong(g, each, h.basis)
	return h, err
}

// hvpAlong is ∇²E·v for v [K, N, item…], of a graph g with energy and gradient: the Hessian-vector graph on K copies of the batch.
func (c *Context) hvpAlong(g *graphs.Graph, v *Value, k basis) (*Value, error) {
	withHVP, err := addHVP(g)
	if err != nil {
		return nil, err
	}
	x, hvp := g.Input(X), *withHVP
	hvp.Outputs = []graphs.Output{{Name: HVPName, Value: withHVP.Output(HVPName)}}
	if x.Shape()[0].IsStatic() && !k.dim.Is(1) {
		return c.oneByOne(&hvp, x, v)
	}
	full := c.Op("Concat", graphs.Attrs{"axis": int64(0)}, k.extent, c.shape(x))
	rows := c.Op("Concat", graphs.Attrs{"axis": int64(0)}, c.Ints(-1), c.extents(x, 1, x.Rank()))
	hv := c.Splice(&hvp, map[*Value]*Value{
		x:            c.Op("Reshape", nil, c.Op("Expand", nil, x, full), rows),
		hvp.Input(V): c.Op("Reshape", nil, v, rows),
	})[0]
	return c.reshape(hv, full), c.Err()
}

// oneByOne takes a direction after the other: a graph with a batch size of its own cannot run on K copies of it.
func (c *Context) oneByOne(hvp *graphs.Graph, x, v *Value) (*Value, error) {
	b := graphs.NewBuilder("direction")
	d := b.Input("direction", x.Type.DType, x.Shape())
	row := b.Splice(hvp, map[*Value]*Value{hvp.Input(V): d})[0]
	body, err := b.Graph(graphs.Output{Name: "row", Value: row})
	if err != nil {
		return nil, err
	}
	return c.Op("Scan", graphs.Attrs{"body": body, "num_scan_inputs": int64(1)}, v), c.Err()
}

// namedExtents gives the extents of x that are open and have no name one each, so that equal ones are known to be equal.
func namedExtents(g *graphs.Graph) (*graphs.Graph, error) {
	x := g.Input(X)
	if x == nil || !slices.Contains(x.Shape(), graphs.UnknownDim) {
		return g, nil
	}
	shape := slices.Clone(x.Shape())
	for i, d := range shape {
		if d == graphs.UnknownDim {
			shape[i] = graphs.Symbol(fmt.Sprint(X, ".", i))
		}
	}
	return graphs.Reshaped(g, map[*Value]graphs.Shape{x: shape})
}
