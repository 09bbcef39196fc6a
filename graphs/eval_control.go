package graphs

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

var controlKernels = kernelTable{
	"If":   {1, evalIf},
	"Loop": {0, evalLoop},
	"Scan": {1, evalScan},
}

func init() { register(controlKernels) }

// maxIterations bounds a Loop, whose condition may never turn false.
const maxIterations = 1 << 20

// body evaluates a subgraph with the given inputs in a frame of its own, from which the values around it can be seen.
func (c *call) body(g *Graph, in []*Array) ([]*Array, error) {
	if g == nil {
		return nil, errors.New("the body is missing")
	}
	if len(in) != len(g.Inputs) {
		return nil, fmt.Errorf("the body takes %d inputs, not %d", len(g.Inputs), len(in))
	}
	f := &frame{outer: c.frame, vals: make(map[*Value]*Array, len(in)+len(g.Nodes))}
	for i, v := range g.Inputs {
		f.vals[v] = in[i]
	}
	return f.run(g, false)
}

func evalIf(c *call) ([]*Array, error) {
	cond := c.in[0]
	if cond.Len() != 1 || cond.DType != Bool {
		return nil, fmt.Errorf("condition %v%v is no bool", cond.DType, cond.Dims)
	}
	name := "else_branch"
	if cond.I[0] != 0 {
		name = "then_branch"
	}
	return c.body(c.Body(name), nil)
}

func evalLoop(c *call) ([]*Array, error) {
	g := c.Body("body")
	trips, err := c.scalarInt(0, math.MaxInt)
	if err != nil {
		return nil, err
	}
	going, err := c.scalarInt(1, 1)
	if err != nil {
		return nil, err
	}
	if g == nil || len(c.in) < 2 || len(g.Outputs) < len(c.in)-1 {
		return nil, errors.New("the body does not fit the inputs")
	}
	state := slices.Clone(c.in[2:])
	cond := integers(Bool, nil, []int64{int64(going)})
	stacks := make([][]*Array, len(g.Outputs)-1-len(state))
	for i := 0; i < trips && cond.I[0] != 0; i++ {
		if i >= maxIterations {
			return nil, fmt.Errorf("more than %d iterations", maxIterations)
		}
		out, err := c.body(g, slices.Concat([]*Array{Ints(nil, []int64{int64(i)}), cond}, state))
		if err != nil {
			return nil, err
		}
		if cond = out[0]; cond.Len() != 1 || cond.DType != Bool {
			return nil, fmt.Errorf("condition %v%v is no bool", cond.DType, cond.Dims)
		}
		copy(state, out[1:])
		for k := range stacks {
			stacks[k] = append(stacks[k], out[1+len(state)+k])
		}
	}
	outs := state
	for k, s := range stacks {
		a, err := stack(s, 0, resultType(g, g.Outputs[1+len(state)+k].Value, 2, c.in[2:]))
		if err != nil {
			return nil, err
		}
		outs = append(outs, a)
	}
	return outs, nil
}

// stack joins values along a new axis; t describes one of them, for the case of none.
func stack(as []*Array, axis int, t Type) (*Array, error) {
	if len(as) == 0 {
		dims := make([]int, len(t.Shape))
		for i, d := range t.Shape {
			dims[i] = int(max(d.Size, 0))
		}
		if t.DType == Undefined {
			return nil, errors.New("no iteration gives a value, and its type is not known")
		}
		at, err := axisOf(axis, len(dims)+1)
		if err != nil {
			return nil, err
		}
		return newArray(t.DType, slices.Insert(dims, at, 0))
	}
	at, err := axisOf(axis, len(as[0].Dims)+1)
	if err != nil {
		return nil, err
	}
	parts := make([]*Array, len(as))
	for i, a := range as {
		if len(a.Dims) != len(as[0].Dims) {
			return nil, fmt.Errorf("dims %v and %v do not stack", as[0].Dims, a.Dims)
		}
		parts[i] = a.withDims(slices.Insert(slices.Clone(a.Dims), at, 1))
	}
	return concat(at, parts...)
}

// resultType is the type of a body's result v: that of the initial state where it is one of the body's states, which start at the given input.
func resultType(g *Graph, v *Value, from int, states []*Array) Type {
	for i, a := range states {
		if g.Inputs[from+i] != v || a == nil {
			continue
		}
		t := Type{DType: a.DType, Shape: Shape{}}
		for _, d := range a.Dims {
			t.Shape = append(t.Shape, Static(int64(d)))
		}
		return t
	}
	return v.Type
}

// evalScan runs the body over slices of its last inputs, carrying the first ones as state.
func evalScan(c *call) ([]*Array, error) {
	g := c.Body("body")
	nScan := c.intAttr("num_scan_inputs", 0)
	nState := len(c.in) - nScan
	if g == nil || nScan <= 0 || nState < 0 || len(g.Outputs) < nState || slices.Contains(c.in, nil) {
		return nil, errors.New("the body does not fit the inputs")
	}
	nOut := len(g.Outputs) - nState
	list := func(name string, n int) ([]int, error) {
		v := c.intsAttr(name)
		if v == nil {
			v = make([]int, n)
		}
		if len(v) != n {
			return nil, fmt.Errorf("%s %v for %d values", name, v, n)
		}
		return v, nil
	}
	inAxes, err := list("scan_input_axes", nScan)
	if err != nil {
		return nil, err
	}
	inReversed, err := list("scan_input_directions", nScan)
	if err != nil {
		return nil, err
	}
	outAxes, err := list("scan_output_axes", nOut)
	if err != nil {
		return nil, err
	}
	outReversed, err := list("scan_output_directions", nOut)
	if err != nil {
		return nil, err
	}
	length := -1
	for k, a := range c.in[nState:] {
		if inAxes[k], err = axisOf(inAxes[k], len(a.Dims)); err != nil {
			return nil, err
		}
		if d := a.Dims[inAxes[k]]; length >= 0 && d != length {
			return nil, fmt.Errorf("scanned extents %d and %d differ", length, d)
		} else {
			length = d
		}
	}
	state := slices.Clone(c.in[:nState])
	stacks := make([][]*Array, nOut)
	for i := range length {
		in := slices.Clone(state)
		for k, a := range c.in[nState:] {
			at := i
			if inReversed[k] != 0 {
				at = length - 1 - i
			}
			part, err := a.take(inAxes[k], []int{at}, nil)
			if err != nil {
				return nil, err
			}
			in = append(in, part)
		}
		out, err := c.body(g, in)
		if err != nil {
			return nil, err
		}
		copy(state, out)
		for k := range stacks {
			stacks[k] = append(stacks[k], out[nState+k])
		}
	}
	outs := state
	for k, s := range stacks {
		if outReversed[k] != 0 {
			slices.Reverse(s)
		}
		a, err := stack(s, outAxes[k], resultType(g, g.Outputs[nState+k].Value, 0, c.in[:nState]))
		if err != nil {
			return nil, err
		}
		outs = append(outs, a)
	}
	return outs, nil
}
