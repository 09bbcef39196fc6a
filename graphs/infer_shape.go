package graphs

import (
	"fmt"
	"slices"
	"strings"
)

func inferReshape(n *Node) error {
	x := n.In[0]
	target := shapeFromElements(n.In[1])
	if target == nil {
		return set(n, x.Type.DType, nil)
	}
	if n.In[1].Ints == nil {
		return set(n, x.Type.DType, target)
	}
	s := slices.Clone(target)
	free := -1
	known := Static(1)
	for i, d := range n.In[1].Ints {
		switch c, ok := d.constant(); {
		case ok && c == 0 && n.Int("allowzero", 0) == 0:
			s[i] = UnknownDim
			if x.Shape() != nil && i < len(x.Shape()) {
				s[i] = x.Shape()[i]
			}
		case ok && c == -1:
			if free >= 0 {
				return fmt.Errorf("shape %v has two free extents", target)
			}
			free = i
			continue
		case ok && c < 0:
			return fmt.Errorf("shape has the extent %d", c)
		}
		known = known.Times(s[i])
	}
	size := x.Shape().Size()
	if free >= 0 {
		s[free] = size.Over(known)
		if size.IsStatic() && known.IsStatic() && known.Size > 0 && size.Size%known.Size != 0 {
			return fmt.Errorf("%v elements cannot take the shape %v", size, n.In[1].Ints)
		}
	} else if size.IsStatic() && known.IsStatic() && size != known {
		return fmt.Errorf("%v elements cannot take the shape %v", size, s)
	}
	if len(s) == 1 || len(s) == 0 {
		n.Out[0].Ints = x.Ints
	}
	return set(n, x.Type.DType, s)
}

func inferFlatten(n *Node) error {
	s := n.In[0].Shape()
	if s == nil {
		return set(n, n.In[0].Type.DType, UnknownShape(2))
	}
	a := int(n.Int("axis", 1))
	if a < 0 {
		a += len(s)
	}
	if a < 0 || a > len(s) {
		return fmt.Errorf("axis %d is outside a tensor of rank %d", n.Int("axis", 1), len(s))
	}
	return set(n, n.In[0].Type.DType, Shape{s[:a].product(), s[a:].product()})
}

func (s Shape) product() Dim {
	p := Static(1)
	for _, d := range s {
		p = p.Times(d)
	}
	return p
}

// axesInput returns normalised axes from input i.
func axesInput(n *Node, i, rank int) (axes []int, ok bool, err error) {
	list, known := n.Input(i).ConstInts()
	if !known || rank < 0 {
		return nil, false, nil
	}
	for _, a := range list {
		k, err := Axis(a, rank)
		if err != nil {
			return nil, false, err
		}
		axes = append(axes, k)
	}
	return axes, true, nil
}

func inferSqueeze(n *Node) error {
	x := n.In[0]
	if x.Rank() == 1 || x.Rank() == 0 {
		n.Out[0].Ints = x.Ints
	}
	s := x.Shape()
	if s == nil {
		return set(n, x.Type.DType, nil)
	}
	var axes []int
	if n.Input(1) != nil {
		var ok bool
		var err error
		if axes, ok, err = axesInput(n, 1, len(s)); err != nil {
			return err
		} else if !ok {
			return set(n, x.Type.DType, nil)
		}
	} else {
		if !s.IsStatic() { // an extent may turn out to be 1
			return set(n, x.Type.DType, nil)
		}
		for i, d := range s {
			if d.Is(1) {
				axes = append(axes, i)
			}
		}
	}
	for _, a := range axes {
		if s[a].IsStatic() && !s[a].Is(1) {
			return fmt.Errorf("axis %d of %v has not the extent 1", a, s)
		}
	}
	return set(n, x.Type.DType, reducedShape(s, axes, false))
}

func inferUnsqueeze(n *Node) error {
	x := n.In[0]
	if x.Rank() == 0 {
		n.Out[0].Ints = x.Ints
	}
	list, ok := n.In[1].ConstInts()
	if x.Shape() == nil || !ok {
		return set(n, x.Type.DType, nil)
	}
	axes, _, err := axesInput(n, 1, x.Rank()+len(list))
	if err != nil {
		return err
	}
	slices.Sort(axes)
	if len(slices.Compact(slices.Clone(axes))) < len(axes) {
		return fmt.Errorf("the axes %v name one axis twice", list)
	}
	s := slices.Clone(x.Shape())
	for _, a := range axes {
		s = slices.Insert(s, a, Static(1))
	}
	return set(n, x.Type.DType, s)
}

// Perm returns the permutation of a Transpose node of known rank.
func Perm(n *Node) []int {
	rank := n.In[0].Rank()
	p := make([]int, rank)
	list := n.IntList("perm")
	for i := range p {
		p[i] = rank - 1 - i
		if list != nil {
			p[i] = int(list[i])
		}
	}
	return p
}

func inferTranspose(n *Node) error {
	s := n.In[0].Shape()
	list := n.IntList("perm")
	if s == nil {
		if list != nil {
			return set(n, n.In[0].Type.DType, UnknownShape(len(list)))
		}
		return set(n, n.In[0].Type.DType, nil)
	}
	if list != nil {
		sorted := slices.Clone(list)
		slices.Sort(sorted)
		for i, p := range sorted {
			if int64(i) != p {
				return fmt.Errorf("perm %v is no permutation", list)
			}
		}
		if len(list) != len(s) {
			return fmt.Errorf("perm %v does not fit %v", list, s)
		}
	}
	t := make(Shape, len(s))
	for i, p := range Perm(n) {
		t[i] = s[p]
	}
	return set(n, n.In[0].Type.DType, t)
}

func inferExpand(n *Node) error {
	x := n.In[0]
	s, err := x.Shape().Broadcast(shapeFromElements(n.In[1]))
	if err != nil {
		return err
	}
	if len(s) == 1 && len(x.Ints) == 1 && s[0].IsStatic() && s[0].Size <= maxTracked {
		n.Out[0].Ints = slices.Repeat(x.Ints, int(s[0].Size))
	}
	return set(n, x.Type.DType, s)
}

func inferTile(n *Node) error {
	s := slices.Clone(n.In[0].Shape())
	for i := range s {
		if n.In[1].Ints == nil || i >= len(n.In[1].Ints) {
			s[i] = UnknownDim
			continue
		}
		s[i] = s[i].Times(n.In[1].Ints[i])
	}
	return set(n, n.In[0].Type.DType, s)
}

func inferConcat(n *Node) error {
	s := slices.Clone(n.In[0].Shape())
	for _, v := range n.In {
		if v == nil {
			return fmt.Errorf("an input is absent")
		}
		if v.Shape() == nil {
			return set(n, n.In[0].Type.DType, nil)
		}
		if len(v.Shape()) != len(s) {
			return fmt.Errorf("inputs %v and %v differ in rank", n.In[0].Shape(), v.Shape())
		}
	}
	a, err := Axis(n.Int("axis", 0), len(s))
	if err != nil {
		return err
	}
	elements := []Dim{}
	for k, v := range n.In {
		for i, d := range v.Shape() {
			switch {
			case i == a && k > 0:
				s[i] = s[i].Plus(d)
			case i == a:
			case s[i].IsStatic() && d.IsStatic() && s[i] != d:
				return fmt.Errorf("inputs %v and %v differ outside axis %d", n.In[0].Shape(), v.Shape(), a)
			case d.IsStatic() || s[i] == UnknownDim:
				s[i] = d
			}
		}
		if v.Ints == nil {
			elements = nil
		}
		if elements != nil {
			elements = append(elements, v.Ints...)
		}
	}
	if len(s) == 1 && len(elements) <= maxTracked {
		n.Out[0].Ints = elements
	}
	return set(n, n.In[0].Type.DType, s)
}

// SplitSizes returns the extents of a Split node's outputs along its axis; ok is false when they are known only at run time.
func SplitSizes(n *Node) (sizes []int64, axis int, ok bool, err error) {
	s := n.In[0].Shape()
	if s == nil {
		return nil, 0, false, nil
	}
	if axis, err = Axis(n.Int("axis", 0), len(s)); err != nil {
		return nil, 0, false, err
	}
	if n.Input(1) != nil {
		sizes, ok = n.In[1].ConstInts()
		if ok && len(sizes) != len(n.Out) {
			err = fmt.Errorf("%d sizes for %d outputs", len(sizes), len(n.Out))
		}
		return sizes, axis, ok, err
	}
	if !s[axis].IsStatic() {
		return nil, axis, false, nil
	}
	k := int64(len(n.Out))
	chunk := (s[axis].Size + k - 1) / k
	rest := s[axis].Size
	for range n.Out {
		sizes = append(sizes, min(chunk, rest))
		rest -= min(chunk, rest)
	}
	return sizes, axis, true, nil
}

func inferSplit(n *Node) error {
	sizes, axis, ok, err := SplitSizes(n)
	if err != nil {
		return err
	}
	for i, v := range n.Out {
		s := slices.Clone(n.In[0].Shape())
		if s != nil {
			s[axis] = UnknownDim
			if ok {
				s[axis] = Static(sizes[i])
			}
		}
		v.Type = Type{n.In[0].Type.DType, s}
	}
	if ok && len(n.In[0].Ints) > 0 && n.In[0].Rank() == 1 {
		at := int64(0)
		for i, v := range n.Out {
			if sizes[i] < 0 || sizes[i] > int64(len(n.In[0].Ints))-at {
				return fmt.Errorf("parts of the sizes %v do not make up %d elements", sizes, len(n.In[0].Ints))
			}
			v.Ints = n.In[0].Ints[at : at+sizes[i]]
			at += sizes[i]
		}
	}
	return nil
}

// SliceRange is the part of one axis that a Slice takes: elements Start, Start+Step, … below (or above, for a negative step) End.
type SliceRange struct {
	Axis             int
	Start, End, Step int64
}

// Len returns the number of elements taken.
func (r SliceRange) Len() int64 {
	return max(0, (r.End-r.Start+r.Step-signOf(r.Step))/r.Step)
}

// SliceSpec returns the raw constant starts, ends, axes and steps of a Slice node; ok is false when any is known only at run time.
func SliceSpec(n *Node) (ranges []SliceRange, ok bool, err error) {
	starts, ok1 := n.In[1].ConstInts()
	ends, ok2 := n.In[2].ConstInts()
	if !ok1 || !ok2 || len(starts) != len(ends) || n.In[0].Rank() < 0 {
		return nil, false, nil
	}
	axes := make([]int64, len(starts))
	steps := slices.Repeat([]int64{1}, len(starts))
	for i := range axes {
		axes[i] = int64(i)
	}
	if n.Input(3) != nil {
		if axes, ok = n.In[3].ConstInts(); !ok {
			return nil, false, nil
		}
	}
	if n.Input(4) != nil {
		if steps, ok = n.In[4].ConstInts(); !ok {
			return nil, false, nil
		}
	}
	if len(axes) != len(starts) || len(steps) != len(starts) {
		return nil, false, fmt.Errorf("starts, ends, axes and steps differ in length")
	}
	for i := range starts {
		a, err := Axis(axes[i], n.In[0].Rank())
		if err != nil {
			return nil, false, err
		}
		if steps[i] == 0 {
			return nil, false, fmt.Errorf("step 0 along axis %d", a)
		}
		ranges = append(ranges, SliceRange{a, starts[i], ends[i], steps[i]})
	}
	return ranges, true, nil
}

// Normalise clamps the range to an axis of the given extent, as ONNX does.
func (r SliceRange) Normalise(extent int64) SliceRange {
	if r.Start < 0 {
		r.Start += extent
	}
	if r.End < 0 {
		r.End += extent
	}
	if r.Step > 0 {
		r.Start, r.End = min(max(r.Start, 0), extent), min(max(r.End, 0), extent)
	} else {
		r.Start, r.End = min(max(r.Start, 0), extent-1), min(max(r.End, -1), extent-1)
	}
	return r
}

func inferSlice(n *Node) error {
	x := n.In[0]
	s := slices.Clone(x.Shape())
	if s == nil {
		return set(n, x.Type.DType, nil)
	}
	ranges, ok, err := SliceSpec(n)
	if err != nil {
		return err
	}
	if !ok {
		if axes, known := n.Input(3).ConstInts(); known {
			for _, a := range axes {
				if i, err := Axis(a, len(s)); err == nil {
					s[i] = UnknownDim
				}
			}
			inferSymbolicSlice(n, s)
			return set(n, x.Type.DType, s)
		}
		return set(n, x.Type.DType, UnknownShape(len(s)))
	}
	for _, r := range ranges {
		s[r.Axis] = slicedDim(s[r.Axis], r)
		if len(s) == 1 && x.Ints != nil {
			r = r.Normalise(int64(len(x.Ints)))
			e := []Dim{}
			for i, c := r.Start, r.Len(); c > 0; i, c = i+r.Step, c-1 {
				e = append(e, x.Ints[i])
			}
			n.Out[0].Ints = e
		}
	}
	return set(n, x.Type.DType, s)
}

// inferSymbolicSlice handles bounds that are symbolic extents, which dynamic exports and derivatives of Concat are full of: from start
// to end by step 1 where 0 ≤ start ≤ end ≤ extent holds for all values of the symbols.
func inferSymbolicSlice(n *Node, s Shape) {
	axes, _ := n.Input(3).ConstInts()
	if steps, known := n.Input(4).ConstInts(); n.Input(4) != nil && (!known || slices.ContainsFunc(steps, func(k int64) bool { return k != 1 })) {
		return
	}
	starts, ends := n.In[1].Ints, n.In[2].Ints
	if len(starts) != len(axes) || len(ends) != len(axes) {
		return
	}
	for i, a := range axes {
		k, err := Axis(a, len(s))
		if err != nil {
			continue
		}
		length := ends[i].Minus(starts[i])
		if starts[i].nonNegative() && length.nonNegative() && n.In[0].Shape()[k].Minus(ends[i]).nonNegative() {
			s[k] = length
		}
	}
}

// slicedDim is the extent that is left of d, also where d is symbolic and the range counts from its ends.
func slicedDim(d Dim, r SliceRange) Dim {
	if d.IsStatic() {
		return Static(r.Normalise(d.Size).Len())
	}
	const huge = 1 << 30
	if r.Step == 1 && r.End >= huge && r.Start == 0 {
		return d
	}
	if r.Step == -1 && r.End <= -huge && (r.Start == -1 || r.Start >= huge) {
		return d
	}
	return UnknownDim
}

func inferPad(n *Node) error {
	x := n.In[0]
	s := slices.Clone(x.Shape())
	if s == nil {
		return set(n, x.Type.DType, nil)
	}
	axes := make([]int, len(s))
	for i := range axes {
		axes[i] = i
	}
	if n.Input(3) != nil {
		var ok bool
		var err error
		if axes, ok, err = axesInput(n, 3, len(s)); err != nil {
			return err
		} else if !ok {
			return set(n, x.Type.DType, UnknownShape(len(s)))
		}
	}
	p := n.In[1].Ints
	if p == nil {
		for _, a := range axes {
			s[a] = UnknownDim
		}
		return set(n, x.Type.DType, s)
	}
	if len(p) != 2*len(axes) {
		return fmt.Errorf("%d pads for %d axes", len(p), len(axes))
	}
	for i, a := range axes {
		s[a] = s[a].Plus(p[i]).Plus(p[i+len(axes)])
	}
	return set(n, x.Type.DType, s)
}

func inferGather(n *Node) error {
	x, idx := n.In[0].Shape(), n.In[1].Shape()
	if x == nil || idx == nil {
		return set(n, n.In[0].Type.DType, nil)
	}
	a, err := Axis(n.Int("axis", 0), len(x))
	if err != nil {
		return err
	}
	if e := n.In[0].Ints; e != nil && len(x) == 1 {
		if list, ok := n.In[1].ConstInts(); ok {
			n.Out[0].Ints = gatherElements(e, list)
		}
	}
	return set(n, n.In[0].Type.DType, append(Shape{}, slices.Concat(x[:a], idx, x[a+1:])...))
}

func gatherElements(e []Dim, list []int64) []Dim {
	r := []Dim{}
	for _, i := range list {
		if i < 0 {
			i += int64(len(e))
		}
		if i < 0 || i >= int64(len(e)) {
			return nil
		}
		r = append(r, e[i])
	}
	return r
}

func inferGatherElements(n *Node) error {
	return set(n, n.In[0].Type.DType, n.In[1].Shape())
}

func inferGatherND(n *Node) error {
	x, idx := n.In[0].Shape(), n.In[1].Shape()
	b := int(n.Int("batch_dims", 0))
	if x == nil || idx == nil || len(idx) == 0 || !idx[len(idx)-1].IsStatic() {
		return set(n, n.In[0].Type.DType, nil)
	}
	k := int(idx[len(idx)-1].Size)
	if b < 0 || b >= len(idx) || k > len(x) || b+k > len(x) {
		return fmt.Errorf("indices of %d coordinates after %d batch axes exceed rank %d", k, b, len(x))
	}
	return set(n, n.In[0].Type.DType, append(Shape{}, slices.Concat(idx[:len(idx)-1], x[b+k:])...))
}

// EinsumTerms splits the equation of an Einsum into the labels of its operands and of its result, without spaces.
// An implicit result holds the labels that occur once, in alphabetic order, after the ellipsis.
func EinsumTerms(equation string) (operands []string, result string) {
	eq := strings.ReplaceAll(equation, " ", "")
	lhs, rhs, explicit := strings.Cut(eq, "->")
	operands = strings.Split(lhs, ",")
	if explicit {
		return operands, rhs
	}
	count := map[rune]int{}
	for _, r := range strings.ReplaceAll(strings.Join(operands, ""), "...", "") {
		count[r]++
	}
	var once []rune
	for r, c := range count {
		if c == 1 {
			once = append(once, r)
		}
	}
	slices.Sort(once)
	if strings.Contains(lhs, "...") {
		result = "..."
	}
	return operands, result + string(once)
}

func inferEinsum(n *Node) error {
	operands, result := EinsumTerms(n.Text("equation", ""))
	if len(operands) != len(n.In) {
		return fmt.Errorf("equation %q has %d operands, the node %d", n.Text("equation", ""), len(operands), len(n.In))
	}
	dims := map[rune]Dim{}
	ellipsis := Shape{}
	for k, labels := range operands {
		s := n.In[k].Shape()
		if s == nil {
			return set(n, n.In[0].Type.DType, nil)
		}
		left, right, dots := strings.Cut(labels, "...")
		extra := len(s) - len(left) - len(right)
		if extra < 0 || extra > 0 && !dots {
			return fmt.Errorf("operand %v does not fit the labels %q", s, labels)
		}
		e, err := ellipsis.Broadcast(s[len(left) : len(left)+extra])
		if err != nil {
			return err
		}
		ellipsis = e
		for i, r := range []rune(left) {
			dims[r] = einsumDim(dims, r, s[i])
		}
		for i, r := range []rune(right) {
			dims[r] = einsumDim(dims, r, s[len(left)+extra+i])
		}
	}
	s := Shape{}
	left, right, dots := strings.Cut(result, "...")
	for _, r := range left {
		s = append(s, dims[r])
	}
	if dots {
		s = append(s, ellipsis...)
	}
	for _, r := range right {
		s = append(s, dims[r])
	}
	return set(n, n.In[0].Type.DType, s)
}

func einsumDim(dims map[rune]Dim, r rune, d Dim) Dim {
	if old, ok := dims[r]; ok && (old.IsStatic() && !old.Is(1) || !d.IsStatic()) && old != UnknownDim {
		return old
	}
	return d
}
