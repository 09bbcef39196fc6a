package graphs

import (
	"fmt"
	"math"
	"slices"
)

// infer sets the types of n's outputs from those of its inputs. What the table does not know keeps the type declared in the file.
func infer(n *Node) error {
	declared := make([]Type, len(n.Out))
	for i, v := range n.Out {
		declared[i] = v.Type
	}
	info, ok := Info(n.Op)
	if !ok || n.Domain != "" {
		return nil
	}
	if err := checkArity(n, info); err != nil {
		return err
	}
	if err := checkRanks(n); err != nil {
		return fmt.Errorf("graphs: %s: %w", n.Label(), err)
	}
	if err := info.Infer(n); err != nil {
		return fmt.Errorf("graphs: %s: %w", n.Label(), err)
	}
	for i, v := range n.Out {
		if slices.ContainsFunc(v.Shape(), func(d Dim) bool { return d.Sym == "" && d.Size < UnknownDim.Size }) {
			return fmt.Errorf("graphs: %s: its operands give a result of negative extent", n.Label())
		}
		v.Type = mergeTypes(v.Type, declared[i])
		if v.Rank() > 1 { // elements are those of a scalar or a vector
			v.Ints = nil
		}
	}
	return nil
}

func checkArity(n *Node, info OpInfo) error {
	if len(n.In) < info.MinIn || info.MaxIn >= 0 && len(n.In) > info.MaxIn {
		return fmt.Errorf("graphs: %s has %d inputs, which the op does not take", n.Label(), len(n.In))
	}
	if info.MaxOut >= 0 && len(n.Out) > info.MaxOut {
		return fmt.Errorf("graphs: %s has %d outputs, which the op does not give", n.Label(), len(n.Out))
	}
	needed := info.MinIn
	if info.MaxIn < 0 && needed > 0 {
		needed = len(n.In) // any number of operands, none of them optional
	}
	for i := range needed {
		if n.In[i] == nil {
			return fmt.Errorf("graphs: %s lacks its input %d", n.Label(), i)
		}
	}
	return nil
}

// mergeTypes fills what was not inferred from what was declared.
func mergeTypes(inferred, declared Type) Type {
	if inferred.DType == Undefined {
		inferred.DType = declared.DType
	}
	if inferred.Shape == nil {
		inferred.Shape = declared.Shape
		return inferred
	}
	if len(inferred.Shape) == len(declared.Shape) {
		for i, d := range inferred.Shape {
			if d == UnknownDim && declared.Shape[i].IsStatic() {
				inferred.Shape = slices.Clone(inferred.Shape)
				inferred.Shape[i] = declared.Shape[i]
			}
		}
	}
	return inferred
}

func set(n *Node, dt DType, s Shape) error {
	n.Out[0].Type = Type{dt, s}
	return nil
}

// Axis normalises an axis of a tensor of the given rank, which must be known.
func Axis(axis int64, rank int) (int, error) {
	a := int(axis)
	if a < 0 {
		a += rank
	}
	if a < 0 || a >= rank {
		return 0, fmt.Errorf("axis %d is outside a tensor of rank %d", axis, rank)
	}
	return a, nil
}

func inferSame(n *Node) error {
	n.Out[0].Ints = nil
	if n.Op == "Neg" || n.Op == "Identity" {
		n.Out[0].Ints = mapInts(n.In[0].Ints, func(d Dim) Dim {
			if n.Op == "Neg" {
				return d.Times(element(-1))
			}
			return d
		})
	}
	return set(n, n.In[0].Type.DType, n.In[0].Shape())
}

func mapInts(e []Dim, f func(Dim) Dim) []Dim {
	if e == nil {
		return nil
	}
	r := make([]Dim, len(e))
	for i, d := range e {
		r[i] = f(d)
	}
	return r
}

func broadcastAll(in []*Value) (Shape, error) {
	s := Shape{}
	for _, v := range in {
		var err error
		if s, err = s.Broadcast(v.Shape()); err != nil || s == nil {
			return nil, err
		}
	}
	return s, nil
}

func inferBroadcast(n *Node) error {
	s, err := broadcastAll(n.In)
	if err != nil {
		return err
	}
	return set(n, n.In[0].Type.DType, s)
}

// inferArithmetic also follows shape arithmetic: Add, Sub, Mul and Div of known integer elements.
func inferArithmetic(n *Node) error {
	if n.In[0].Type.DType.IsInt() {
		op := map[string]func(a, b Dim) Dim{"Add": Dim.Plus, "Sub": Dim.Minus, "Mul": Dim.Times, "Div": Dim.Over}[n.Op]
		n.Out[0].Ints = zipInts(n.In[0].Ints, n.In[1].Ints, op)
	}
	return inferBroadcast(n)
}

// inferMod follows remainders of known numbers, which exporters leave in the arithmetic of slice bounds.
func inferMod(n *Node) error {
	if n.In[0].Type.DType.IsInt() && n.Int("fmod", 0) == 0 {
		n.Out[0].Ints = zipInts(n.In[0].Ints, n.In[1].Ints, func(a, b Dim) Dim {
			x, okX := a.constant()
			y, okY := b.constant()
			if !okX || !okY || y == 0 {
				return UnknownDim
			}
			return element(((x % y) + y) % y)
		})
	}
	return inferBroadcast(n)
}

func zipInts(a, b []Dim, f func(a, b Dim) Dim) []Dim {
	if a == nil || b == nil || len(a) != len(b) && len(a) != 1 && len(b) != 1 {
		return nil
	}
	r := make([]Dim, max(len(a), len(b)))
	if len(a) == 0 || len(b) == 0 {
		r = r[:0]
	}
	for i := range r {
		r[i] = f(a[i%len(a)], b[i%len(b)])
		if r[i] == UnknownDim {
			return nil
		}
	}
	return r
}

func inferCompare(n *Node) error {
	s, err := broadcastAll(n.In)
	if err != nil {
		return err
	}
	if n.Op == "Equal" {
		n.Out[0].Ints = zipInts(n.In[0].Ints, n.In[1].Ints, equalElements)
	}
	return set(n, Bool, s)
}

// equalElements is 1 or 0 where equality of two elements is decided: an extent is never negative.
func equalElements(a, b Dim) Dim {
	if a == b && a != UnknownDim {
		return Static(1)
	}
	x, okX := a.constant()
	y, okY := b.constant()
	if okX && okY || okX && x < 0 && !b.subtracts() || okY && y < 0 && !a.subtracts() {
		return Static(0)
	}
	return UnknownDim
}

func inferBool(n *Node) error {
	if n.Op == "Not" {
		n.Out[0].Ints = mapInts(n.In[0].Ints, func(d Dim) Dim { return Static(1).Minus(d) })
	}
	return set(n, Bool, n.In[0].Shape())
}

func inferCast(n *Node) error {
	to := DType(n.Int("to", int64(Undefined)))
	if to.IsInt() {
		n.Out[0].Ints = n.In[0].Ints
	}
	return set(n, to, n.In[0].Shape())
}

func inferCastLike(n *Node) error { return set(n, n.In[1].Type.DType, n.In[0].Shape()) }

func inferDropout(n *Node) error {
	if len(n.Out) > 1 {
		n.Out[1].Type = Type{Bool, n.In[0].Shape()}
	}
	return set(n, n.In[0].Type.DType, n.In[0].Shape())
}

func inferWhere(n *Node) error {
	s, err := broadcastAll(n.In)
	if err != nil {
		return err
	}
	c, a, b := n.In[0].Ints, n.In[1].Ints, n.In[2].Ints
	if c != nil && a != nil && b != nil && len(a) == len(c) && len(b) == len(c) {
		e := make([]Dim, len(c))
		for i := range c {
			switch {
			case c[i].Is(1):
				e[i] = a[i]
			case c[i].Is(0):
				e[i] = b[i]
			default:
				e = nil
			}
			if e == nil {
				break
			}
		}
		n.Out[0].Ints = e
	}
	return set(n, n.In[1].Type.DType, s)
}

// ReduceAxes returns the normalised axes of a Reduce node in increasing order; ok is false when they are known only at run time.
func ReduceAxes(n *Node) (axes []int, ok bool, err error) {
	rank := n.In[0].Rank()
	if rank < 0 {
		return nil, false, nil
	}
	list, known := []int64{}, true
	if n.Input(1) != nil {
		if list, known = n.In[1].ConstInts(); !known {
			return nil, false, nil
		}
	}
	if len(list) == 0 {
		if n.Int("noop_with_empty_axes", 0) == 0 {
			for i := range rank {
				axes = append(axes, i)
			}
		}
		return axes, true, nil
	}
	for _, a := range list {
		i, err := Axis(a, rank)
		if err != nil {
			return nil, false, err
		}
		axes = append(axes, i)
	}
	slices.Sort(axes)
	return slices.Compact(axes), true, nil
}

func inferReduce(n *Node) error {
	x := n.In[0]
	keep := n.Int("keepdims", 1) != 0
	axes, ok, err := ReduceAxes(n)
	if err != nil {
		return err
	}
	if !ok {
		if keep && x.Rank() >= 0 {
			return set(n, x.Type.DType, UnknownShape(x.Rank()))
		}
		return set(n, x.Type.DType, nil)
	}
	if n.Op == "ReduceProd" && len(axes) == 1 && x.Ints != nil {
		p := Static(1)
		for _, d := range x.Ints {
			p = p.Times(d)
		}
		n.Out[0].Ints = []Dim{p}
	}
	return set(n, x.Type.DType, reducedShape(x.Shape(), axes, keep))
}

func reducedShape(s Shape, axes []int, keep bool) Shape {
	r := Shape{}
	for i, d := range s {
		switch {
		case !slices.Contains(axes, i):
			r = append(r, d)
		case keep:
			r = append(r, Static(1))
		}
	}
	return r
}

func inferArg(n *Node) error {
	x := n.In[0]
	if x.Rank() < 0 {
		return set(n, Int64, nil)
	}
	a, err := Axis(n.Int("axis", 0), x.Rank())
	if err != nil {
		return err
	}
	return set(n, Int64, reducedShape(x.Shape(), []int{a}, n.Int("keepdims", 1) != 0))
}

func inferMatMul(n *Node) error {
	a, b := n.In[0].Shape(), n.In[1].Shape()
	if a == nil || b == nil {
		return set(n, n.In[0].Type.DType, nil)
	}
	if len(a) == 0 || len(b) == 0 {
		return fmt.Errorf("operands %v and %v: a scalar has no matrix product", a, b)
	}
	rowVector, colVector := len(a) == 1, len(b) == 1
	if rowVector {
		a = Shape{Static(1), a[0]}
	}
	if colVector {
		b = Shape{b[0], Static(1)}
	}
	k, l := a[len(a)-1], b[len(b)-2]
	if k.IsStatic() && l.IsStatic() && k != l {
		return fmt.Errorf("operands %v and %v: inner extents %v and %v differ", n.In[0].Shape(), n.In[1].Shape(), k, l)
	}
	batch, err := a[:len(a)-2].Broadcast(b[:len(b)-2])
	if err != nil {
		return err
	}
	s := slices.Clone(batch)
	if s == nil {
		s = Shape{}
	}
	if !rowVector {
		s = append(s, a[len(a)-2])
	}
	if !colVector {
		s = append(s, b[len(b)-1])
	}
	return set(n, n.In[0].Type.DType, s)
}

func inferGemm(n *Node) error {
	a, b := n.In[0].Shape(), n.In[1].Shape()
	if a == nil || b == nil {
		return set(n, n.In[0].Type.DType, UnknownShape(2))
	}
	if len(a) != 2 || len(b) != 2 {
		return fmt.Errorf("operands %v and %v are no matrices", a, b)
	}
	m, k, l, p := a[0], a[1], b[0], b[1]
	if n.Int("transA", 0) != 0 {
		m, k = k, m
	}
	if n.Int("transB", 0) != 0 {
		l, p = p, l
	}
	if k.IsStatic() && l.IsStatic() && k != l {
		return fmt.Errorf("operands %v and %v: inner extents %v and %v differ", a, b, k, l)
	}
	return set(n, n.In[0].Type.DType, Shape{m, p})
}

func inferShape(n *Node) error {
	s := n.In[0].Shape()
	if s == nil {
		return set(n, Int64, UnknownShape(1))
	}
	start, end := clampIndex(n.Int("start", 0), len(s)), clampIndex(n.Int("end", int64(len(s))), len(s))
	part := s[start:max(start, end)]
	if len(part) == 0 || slices.ContainsFunc(part, func(d Dim) bool { return d != UnknownDim }) {
		n.Out[0].Ints = slices.Clone(part)
		if n.Out[0].Ints == nil {
			n.Out[0].Ints = []Dim{}
		}
	}
	return set(n, Int64, ShapeOf(int64(len(part))))
}

func clampIndex(i int64, n int) int {
	if i < 0 {
		i += int64(n)
	}
	return int(min(max(i, 0), int64(n)))
}

func inferSize(n *Node) error {
	if d := n.In[0].Shape().Size(); d != UnknownDim {
		n.Out[0].Ints = []Dim{d}
	}
	return set(n, Int64, Shape{})
}

func inferConstantOfShape(n *Node) error {
	dt := Float32
	if t, ok := n.Attrs["value"].(*Tensor); ok {
		dt = t.DType
		if dt.IsInt() && n.In[0].Ints != nil && len(n.In[0].Ints) == 1 && n.In[0].Ints[0].IsStatic() && n.In[0].Ints[0].Size <= maxTracked {
			if v := t.Int64s(); len(v) == 1 {
				n.Out[0].Ints = slices.Repeat([]Dim{element(v[0])}, int(n.In[0].Ints[0].Size))
			}
		}
	}
	return set(n, dt, shapeFromElements(n.In[0]))
}

// shapeFromElements returns the shape that an integer vector describes, as far as known.
func shapeFromElements(v *Value) Shape {
	if v.Ints != nil {
		s := make(Shape, len(v.Ints))
		for i, d := range v.Ints {
			s[i] = d
			if c, ok := d.constant(); ok && c < 0 {
				s[i] = UnknownDim
			}
		}
		return s
	}
	if v.Rank() == 1 && v.Shape()[0].IsStatic() && v.Shape()[0].Size <= maxTracked {
		return UnknownShape(int(v.Shape()[0].Size))
	}
	return nil
}

func inferRange(n *Node) error {
	s := Shape{UnknownDim}
	start, end, step := rangeBound(n.In[0]), rangeBound(n.In[1]), rangeBound(n.In[2])
	lo, ok1 := start.constant()
	hi, ok2 := end.constant()
	by, ok3 := step.constant()
	if ok1 && ok2 && ok3 && by != 0 {
		s[0] = Static(max((hi-lo+by-signOf(by))/by, 0))
	} else if start.Is(0) && step.Is(1) {
		s[0] = end
	}
	return set(n, n.In[0].Type.DType, s)
}

// rangeBound is a bound of a Range where that is a known integer, perhaps as a float.
func rangeBound(v *Value) Dim {
	for v.Kind == Computed && v.Node.Op == "Cast" && v.Node.Domain == "" && v.Node.In[0].Type.DType.IsInt() {
		v = v.Node.In[0]
	}
	if len(v.Ints) == 1 {
		return v.Ints[0]
	}
	if f, ok := v.ConstFloat(); ok && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return element(int64(f))
	}
	return UnknownDim
}

func signOf(x int64) int64 {
	if x < 0 {
		return -1
	}
	return 1
}

func inferNonZero(n *Node) error {
	return set(n, Int64, Shape{Dim{Size: int64(n.In[0].Rank())}, UnknownDim})
}

func inferEyeLike(n *Node) error {
	return set(n, DType(n.Int("dtype", int64(n.In[0].Type.DType))), n.In[0].Shape())
}

func inferOneHot(n *Node) error {
	s := n.In[0].Shape()
	if s == nil {
		return set(n, n.In[2].Type.DType, nil)
	}
	a, err := Axis(n.Int("axis", -1), len(s)+1)
	if err != nil {
		return err
	}
	depth := UnknownDim
	if d, ok := n.In[1].ConstInts(); ok && len(d) == 1 {
		depth = Static(d[0])
	}
	return set(n, n.In[2].Type.DType, slices.Insert(slices.Clone(s), a, depth))
}
