package gradients

import (
	"errors"
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// Names of the inputs and outputs of energy graphs and of what is derived from them.
const (
	X             = "x"         // [N, D…]
	V             = "v"         // [N, D…], the direction of a Hessian-vector product
	CotangentE    = "cotangent" // [N], per-sample weights of parameter gradients
	EnergyName    = "energy"    // [N]
	GradientName  = "gradient"  // ∇ₓE [N, D…]
	ScoreName     = "score"     // −∇ₓE [N, D…]
	HVPName       = "hvp"       // ∇²ₓE·v [N, D…]
	LaplacianName = "laplacian" // tr ∇²ₓE [N]
	HessianName   = "hessian"   // ∇²ₓE [N, D, D], items flattened
	GradPrefix    = "grad/"     // grad/NAME, of NAME's shape
)

// Want is a set of quantities of an energy.
type Want uint8

// Quantities.
const (
	Energy    Want = 1 << iota
	Gradient       // ∇ₓE
	HVP            // ∇²ₓE·v
	Laplacian      // tr ∇²ₓE
)

// Has reports whether w holds all of q.
func (w Want) Has(q Want) bool { return w&q == q }

// ErrNotEnergy reports a graph that is no energy: an energy has the input x and the output energy.
var ErrNotEnergy = errors.New(`gradients: not an energy graph: it needs an input "x" and an output "energy"; import it first`)

// Derive returns the graph that computes the wanted quantities of an energy graph: inputs x, and v for HVP; outputs energy, gradient and
// hvp, in that order, as wanted.
func Derive(e *graphs.Graph, w Want) (*graphs.Graph, error) {
	if e.Input(X) == nil || e.Output(EnergyName) == nil {
		return nil, ErrNotEnergy
	}
	g, err := Prepare(e)
	if err != nil {
		return nil, err
	}
	switch {
	case w.Has(Laplacian) && !w.Has(HVP):
		if g, err = addLaplacian(g); err != nil {
			return nil, err
		}
	case w.Has(Laplacian):
		return nil, errors.New("gradients: a program has either the Laplacian or a Hessian-vector product, which one run rarely needs both of")
	case w.Has(Gradient) || w.Has(HVP):
		if g, err = addGradient(g); err != nil {
			return nil, err
		}
	}
	if w.Has(HVP) {
		if g, err = addHVP(g); err != nil {
			return nil, err
		}
	}
	return keepWanted(g, w)
}

func addGradient(g *graphs.Graph) (*graphs.Graph, error) {
	energy, x := g.Output(EnergyName), g.Input(X)
	if energy.Rank() != 1 {
		return nil, fmt.Errorf("gradients: the energy has the shape %v, not [N]", energy.Shape())
	}
	b := graphs.Extend(g)
	one, err := graphs.FromFloat64s(energy.Type.DType, []float64{1}, 1)
	if err != nil {
		return nil, err
	}
	grad, err := pullFull(b, g.Nodes, []Seed{{energy, b.Const(one)}}, []*Value{x})
	if err != nil {
		return nil, err
	}
	return finish(b, g, graphs.Output{Name: EnergyName, Value: energy}, graphs.Output{Name: GradientName, Value: grad[0]})
}

// addHVP uses the symmetry of the Hessian: ∇²E·v is the cotangent of x when ∇E has the cotangent v.
func addHVP(g *graphs.Graph) (*graphs.Graph, error) {
	x := g.Input(X)
	b := graphs.Extend(g)
	v := b.Input(V, x.Type.DType, x.Shape())
	hv, err := pullFull(b, g.Nodes, []Seed{{g.Output(GradientName), v}}, []*Value{x})
	if err != nil {
		return nil, err
	}
	return finish(b, g, append(g.Outputs[:len(g.Outputs):len(g.Outputs)], graphs.Output{Name: HVPName, Value: hv[0]})...)
}

// pullFull is Pull with full-shaped results, zeros where a derivative is absent.
func pullFull(b *graphs.Builder, nodes []*graphs.Node, seeds []Seed, wrt []*Value) ([]*Value, error) {
	out, err := Pull(b, nodes, seeds, wrt)
	if err != nil {
		return nil, err
	}
	c := &Context{Builder: b, node: &graphs.Node{Op: "VJP"}}
	for i, v := range wrt {
		if out[i] == nil {
			out[i] = c.zerosLike(v)
		}
		out[i] = c.real(out[i], v)
	}
	return out, b.Err()
}

func finish(b *graphs.Builder, g *graphs.Graph, outs ...graphs.Output) (*graphs.Graph, error) {
	d, err := b.Graph(outs...)
	if err != nil {
		return nil, err
	}
	d.Metadata = g.Metadata
	return graphs.Simplify(d)
}

func keepWanted(g *graphs.Graph, w Want) (*graphs.Graph, error) {
	c := *g
	c.Outputs = nil
	for _, q := range []struct {
		want Want
		name string
	}{{Energy, EnergyName}, {Gradient, GradientName}, {HVP, HVPName}, {Laplacian, LaplacianName}} {
		if w.Has(q.want) {
			c.Outputs = append(c.Outputs, graphs.Output{Name: q.name, Value: g.Output(q.name)})
		}
	}
	return graphs.Simplify(&c)
}

// Score returns the graph of −∇ₓE.
func Score(e *graphs.Graph) (*graphs.Graph, error) {
	g, err := Derive(e, Gradient)
	if err != nil {
		return nil, err
	}
	b := graphs.Extend(g)
	return finish(b, g, graphs.Output{Name: ScoreName, Value: b.Op("Neg", nil, g.Output(GradientName))})
}

// VJP returns the graph that pulls cotangents of the named outputs back to the named inputs or parameters. Its inputs are g's and
// "ct/OUT" for each output, of the output's shape; its outputs "grad/NAME".
func VJP(g *graphs.Graph, outs, wrt []string) (*graphs.Graph, error) {
	g, err := Prepare(g)
	if err != nil {
		return nil, err
	}
	values, err := named(g, wrt)
	if err != nil {
		return nil, err
	}
	b := graphs.Extend(g)
	seeds, err := cotangentInputs(b, g, outs)
	if err != nil {
		return nil, err
	}
	grads, err := pullFull(b, g.Nodes, seeds, values)
	if err != nil {
		return nil, err
	}
	return finish(b, g, gradOutputs(values, grads)...)
}

// ParamGradients returns the graph of Σₙ cotangentₙ·∂Eₙ/∂θ: inputs x and cotangent [N], an output grad/NAME for each of the parameters.
func ParamGradients(e *graphs.Graph, params []*Value) (*graphs.Graph, error) {
	g, err := Prepare(e)
	if err != nil {
		return nil, err
	}
	energy := g.Output(EnergyName)
	if energy == nil || g.Input(X) == nil {
		return nil, ErrNotEnergy
	}
	b := graphs.Extend(g)
	ct := b.Input(CotangentE, energy.Type.DType, energy.Shape())
	grads, err := pullFull(b, g.Nodes, []Seed{{energy, ct}}, params)
	if err != nil {
		return nil, err
	}
	return finish(b, g, gradOutputs(params, grads)...)
}

func named(g *graphs.Graph, names []string) ([]*Value, error) {
	params := map[string]*Value{}
	for _, v := range g.Params() {
		params[v.Name] = v
	}
	list := make([]*Value, len(names))
	for i, name := range names {
		if list[i] = g.Input(name); list[i] == nil {
			list[i] = params[name]
		}
		if list[i] == nil {
			return nil, fmt.Errorf("gradients: the graph has no input or parameter %q", name)
		}
	}
	return list, nil
}

// CotangentPrefix is put before an output's name to name the input of its cotangent.
const CotangentPrefix = "ct/"

func cotangentInputs(b *graphs.Builder, g *graphs.Graph, outs []string) ([]Seed, error) {
	var seeds []Seed
	for _, name := range outs {
		v := g.Output(name)
		if v == nil {
			return nil, fmt.Errorf("gradients: the graph has no output %q", name)
		}
		seeds = append(seeds, Seed{v, b.Input(CotangentPrefix+name, v.Type.DType, v.Shape())})
	}
	return seeds, nil
}

func gradOutputs(values, grads []*Value) []graphs.Output {
	outs := make([]graphs.Output, len(values))
	for i, v := range values {
		outs[i] = graphs.Output{Name: GradPrefix + v.Name, Value: grads[i]}
	}
	return outs
}
