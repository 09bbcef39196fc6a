package graphs

import (
	"fmt"
	"slices"
)

// withDim returns s with another extent along an axis.
func (s Shape) withDim(axis int, d Dim) Shape {
	s = slices.Clone(s)
	s[axis] = d
	return s
}

// elementOf is the single element of an integer operand, as far as known.
func elementOf(v *Value) Dim {
	if v != nil && len(v.Ints) == 1 {
		return v.Ints[0]
	}
	return UnknownDim
}

func inferTopK(n *Node) error {
	x := n.In[0]
	s := x.Shape()
	if s != nil {
		a, err := Axis(n.Int("axis", -1), len(s))
		if err != nil {
			return err
		}
		s = s.withDim(a, elementOf(n.In[1]))
	}
	if len(n.Out) > 1 {
		n.Out[1].Type = Type{Int64, s}
	}
	return set(n, x.Type.DType, s)
}

func inferCompress(n *Node) error {
	x := n.In[0]
	if _, ok := n.Attrs["axis"]; !ok {
		return set(n, x.Type.DType, UnknownShape(1))
	}
	if x.Rank() < 0 {
		return set(n, x.Type.DType, nil)
	}
	a, err := Axis(n.Int("axis", 0), x.Rank())
	if err != nil {
		return err
	}
	return set(n, x.Type.DType, x.Shape().withDim(a, UnknownDim))
}

// inferBlocks: DepthToSpace moves blocksize² channels into blocks of space, SpaceToDepth back.
func inferBlocks(n *Node) error {
	x, b := n.In[0], n.Int("blocksize", 0)
	if b < 1 {
		return fmt.Errorf("blocksize is %d", b)
	}
	s := x.Shape()
	if s == nil {
		return set(n, x.Type.DType, UnknownShape(4))
	}
	if len(s) != 4 {
		return fmt.Errorf("operand %v has not the shape [N,C,H,W]", s)
	}
	block, area := Static(b), Static(b*b)
	if n.Op == "DepthToSpace" {
		return set(n, x.Type.DType, Shape{s[0], s[1].Over(area), s[2].Times(block), s[3].Times(block)})
	}
	return set(n, x.Type.DType, Shape{s[0], s[1].Times(area), s[2].Over(block), s[3].Over(block)})
}

func inferCenterCropPad(n *Node) error {
	x := n.In[0]
	s := slices.Clone(x.Shape())
	if s == nil {
		return set(n, x.Type.DType, nil)
	}
	axes := n.IntList("axes")
	if axes == nil {
		for i := range s {
			axes = append(axes, int64(i))
		}
	}
	target := shapeFromElements(n.In[1])
	for i, axis := range axes {
		a, err := Axis(axis, len(s))
		if err != nil {
			return err
		}
		if s[a] = UnknownDim; i < len(target) {
			s[a] = target[i]
		}
	}
	return set(n, x.Type.DType, s)
}

func inferDet(n *Node) error {
	x := n.In[0]
	if x.Rank() < 0 {
		return set(n, x.Type.DType, nil)
	}
	if x.Rank() < 2 {
		return fmt.Errorf("operand %v holds no matrices", x.Shape())
	}
	return set(n, x.Type.DType, x.Shape()[:x.Rank()-2])
}

func inferUnique(n *Node) error {
	x := n.In[0]
	s := UnknownShape(1)
	if _, ok := n.Attrs["axis"]; ok {
		if s = x.Shape(); s != nil {
			a, err := Axis(n.Int("axis", 0), len(s))
			if err != nil {
				return err
			}
			s = s.withDim(a, UnknownDim)
		}
	}
	for _, v := range n.Out[1:] {
		v.Type = Type{Int64, UnknownShape(1)}
	}
	return set(n, x.Type.DType, s)
}

func inferNonMaxSuppression(n *Node) error { return set(n, Int64, Shape{UnknownDim, Static(3)}) }

func inferMatMulInteger(n *Node) error {
	if err := inferMatMul(n); err != nil {
		return err
	}
	return set(n, Int32, n.Out[0].Shape())
}

func inferQuantize(n *Node) error {
	dt := Uint8
	if z := n.Input(2); z != nil {
		dt = z.Type.DType
	}
	return set(n, DType(n.Int("output_dtype", int64(dt))), n.In[0].Shape())
}

func inferMultinomial(n *Node) error {
	s := UnknownShape(2)
	if x := n.In[0].Shape(); len(x) == 2 {
		s[0] = x[0]
	}
	s[1] = Static(n.Int("sample_size", 1))
	return set(n, DType(n.Int("dtype", int64(Int32))), s)
}

// inferTypedLike: the shape of the operand, and its type unless the node names another.
func inferTypedLike(n *Node) error {
	return set(n, DType(n.Int("dtype", int64(n.In[0].Type.DType))), n.In[0].Shape())
}

func inferRandom(n *Node) error {
	return set(n, DType(n.Int("dtype", int64(Float32))), ShapeOf(n.IntList("shape")...))
}

func inferWindowFunction(n *Node) error {
	return set(n, DType(n.Int("output_datatype", int64(Float32))), Shape{elementOf(n.In[0])})
}

func inferMelWeights(n *Node) error {
	bins := elementOf(n.In[1]).Over(Static(2)).Plus(Static(1))
	return set(n, DType(n.Int("output_datatype", int64(Float32))), Shape{bins, elementOf(n.In[0])})
}
