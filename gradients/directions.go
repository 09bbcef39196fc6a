package gradients

import (
	"errors"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// Directions derives like Derive, with K directions a row for the Hessian-vector product: the input v and the output hvp are [K, N, D…]. The
// energy, its gradient and every slope are computed once for all directions: ∇E is carried forward along the directions,
//
//	∇²E·v = d/dt ∇E(x + tv),
//
// by the forward rules, whose direction axis is in front. Where an op has none, the Hessian-vector graph runs on K copies of the batch.
func Directions(e *graphs.Graph, w Want, k int64) (*graphs.Graph, error) {
	if !w.Has(HVP) || w.Has(Laplacian) {
		return nil, errors.New("gradients: directions are for Hessian-vector products, without the Laplacian")
	}
	if e.Input(X) == nil || e.Output(EnergyName) == nil {
		return nil, ErrNotEnergy
	}
	g, err := Prepare(e)
	if err != nil {
		return nil, err
	}
	if g, err = addGradient(g); err != nil {
		return nil, err
	}
	d, err := tangents(g, k)
	if errors.Is(err, errNoForward) {
		d, err = copies(g, k)
	}
	if err != nil {
		return nil, err
	}
	return keepWanted(d, w)
}

// copies is the Hessian-vector graph on K copies of the batch.
func copies(g *graphs.Graph, k int64) (*graphs.Graph, error) {
	c := &Context{Builder: graphs.Extend(g), node: &graphs.Node{Op: "HVP"}}
	x := g.Input(X)
	v := c.Input(V, x.Type.DType, append(graphs.Shape{graphs.Static(k)}, x.Shape()...))
	hv, err := c.hvpAlong(g, v, basis{graphs.Static(k), c.Ints(k)})
	if err != nil {
		return nil, err
	}
	return finish(c.Builder, g, append(slices.Clone(g.Outputs), graphs.Output{Name: HVPName, Value: hv})...)
}

// tangent is the state of a sweep that carries K directions through a graph. Element-wise nodes are not followed one by one: a value that is
// an element-wise function of others (its roots) has J = Σ ∂v/∂root·J_root, whose slopes do not depend on the direction.
type tangent struct {
	*forward
	roots     map[*Value][]*Value
	pointwise []*graphs.Node
	err       error
}

func tangents(g *graphs.Graph, k int64) (*graphs.Graph, error) {
	x := g.Input(X)
	t := &tangent{roots: map[*Value][]*Value{},
		forward: &forward{Context: &Context{Builder: graphs.Extend(g)}, first: true, jets: map[*Value]jet{}}}
	t.basis = basis{graphs.Static(k), t.Ints(k)}
	t.jets[x] = jet{v: x, j: t.Input(V, x.Type.DType, append(graphs.Shape{graphs.Static(k)}, x.Shape()...))}
	for _, n := range g.Nodes {
		if t.defers(n) {
			continue
		}
		for _, v := range n.In {
			t.settle(v)
		}
		eachInBodies(n, t.settle)
		if t.err != nil {
			return nil, t.err
		}
		if err := t.node(n); err != nil {
			return nil, err
		}
	}
	grad := g.Output(GradientName)
	t.settle(grad)
	if t.err != nil {
		return nil, t.err
	}
	hv := t.jets[grad].j
	if hv == nil {
		hv = t.Op("Unsqueeze", nil, t.zerosLike(grad), t.Ints(0))
	}
	return finish(t.Builder, g, append(slices.Clone(g.Outputs), graphs.Output{Name: HVPName, Value: t.realJ(hv, grad)})...)
}

var pointwise = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Div": true, "Sum": true, "Where": true}

func init() {
	for _, op := range elementwiseOps {
		pointwise[op] = true
	}
}

// defers reports whether n is element-wise in all that depends on x, and if so notes its roots: J is made when something needs it.
func (t *tangent) defers(n *graphs.Node) bool {
	if !pointwise[n.Op] || n.Domain != "" || len(n.Out) != 1 {
		return false
	}
	if info, ok := graphs.Info(n.Op); ok && info.Flat {
		return false
	}
	var roots []*Value
	shape := n.Out[0].Shape()
	for _, v := range n.In {
		r := t.rootsOf(v)
		if len(r) > 0 && !v.Shape().Same(shape) {
			return false
		}
		for _, v := range r {
			if !slices.Contains(roots, v) {
				roots = append(roots, v)
			}
		}
	}
	if len(roots) == 0 {
		return false
	}
	t.roots[n.Out[0]] = roots
	t.pointwise = append(t.pointwise, n)
	return true
}

func (t *tangent) rootsOf(v *Value) []*Value {
	if r := t.roots[v]; r != nil {
		return r
	}
	if t.jets[v].j != nil {
		return []*Value{v}
	}
	return nil
}

// settle makes J of a value that was deferred.
func (t *tangent) settle(v *Value) {
	roots := t.roots[v]
	if roots == nil || t.jets[v].j != nil || t.err != nil {
		return
	}
	one, err := graphs.FromFloat64s(v.Type.DType, []float64{1}, slices.Repeat([]int64{1}, v.Rank())...)
	if err != nil {
		t.err = err
		return
	}
	slopes, err := Pull(t.Builder, t.pointwise, []Seed{{v, t.Const(one)}}, roots)
	if err != nil {
		t.err = err
		return
	}
	var j *Value
	for i, r := range roots {
		if slopes[i] != nil {
			j = t.plus(j, t.mul(t.jets[r].j, slopes[i]))
		}
	}
	t.jets[v] = jet{v: v, j: j}
}
