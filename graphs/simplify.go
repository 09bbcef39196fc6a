package graphs

import (
	"math"
	"slices"
)

// simplifying is what builders with simplification and the passes apply: folding of constants, then algebra by op.
var simplifying ruleSet

func init() {
	simplifying = ruleSet{
		"":       {foldConstants, dropExpands},
		"Add":    {addZero, addNeg},
		"Sub":    {subZero, subNeg},
		"Mul":    {mulOne, mulScalars, mulNeg},
		"Div":    {divOne, divConst},
		"Neg":    {negNeg},
		"Pow":    {powConst},
		"Sum":    {sumFew},
		"Mean":   {meanToSum},
		"Min":    {firstOfOne},
		"Max":    {firstOfOne},
		"Concat": {firstOfOne, concatEmpty},

		"Identity": {func(_ *Builder, n *Node) []*Value { return n.In[:1] }},
		"Dropout":  {removeDropout},
		"Cast":     {castSame, castBool},
		"Where":    {whereConst},
		"Not":      {notNot},

		"Reshape":   {viewOfView, reshapeConst},
		"Flatten":   {viewOfView, flattenToReshape},
		"Squeeze":   {viewOfView},
		"Unsqueeze": {viewOfView},
		"Transpose": {transposeIdentity, transposeTwice, transposeView},
		"Expand":    {expandSame, expandTwice},
		"Slice":     {sliceAll},
		"Pad":       {padNothing, padAllAxes},
		"Split":     {splitOne},

		"ReduceSum":  {reduceNothing, reduceSumTwice, reduceScaled},
		"ReduceMean": {reduceNothing},
		"ReduceMax":  {reduceNothing},
		"ReduceMin":  {reduceNothing},
		"ReduceProd": {reduceNothing},

		"ReduceSumSquare": {sumSquare},

		"MatMul": {matmulTransposed},
		"Gemm":   {gemmTransposed, gemmZeroBias},
	}
}

// is reports whether v is made by a node of the given ai.onnx op.
func is(v *Value, op string) bool {
	return v != nil && v.Kind == Computed && v.Node != nil && v.Node.Op == op && v.Node.Domain == ""
}

func only(v *Value) []*Value { return []*Value{v} }

// keepsType reports whether v can stand for the node's first output without broadcasting.
func keepsType(n *Node, v *Value) bool {
	return v.Type.DType == n.Out[0].Type.DType && v.Shape().Same(n.Out[0].Shape())
}

// uniform returns the number that all elements of a constant share. Only small constants are looked at.
func uniform(v *Value) (float64, bool) {
	if !v.IsConst() || !v.Type.DType.IsFloat() && !v.Type.DType.IsInt() || v.Tensor.Len() > 4096 || v.Tensor.Len() == 0 {
		return 0, false
	}
	f := v.Tensor.Float64s()
	if len(f) == 0 {
		return 0, false
	}
	for _, x := range f {
		if x != f[0] {
			return 0, false
		}
	}
	return f[0], true
}

func isUniform(v *Value, x float64) bool {
	c, ok := uniform(v)
	return ok && c == x
}

// scalar is the value of a one-element float constant that broadcasts into a tensor of any rank ≥ its own.
func scalar(v *Value) (float64, bool) {
	if !v.IsConst() || !v.Type.DType.IsFloat() || v.Tensor.Len() != 1 {
		return 0, false
	}
	return v.ConstFloat()
}

func addZero(_ *Builder, n *Node) []*Value {
	for i := range 2 {
		if isUniform(n.In[i], 0) && keepsType(n, n.In[1-i]) {
			return only(n.In[1-i])
		}
	}
	return nil
}

func addNeg(b *Builder, n *Node) []*Value {
	for i := range 2 {
		if is(n.In[i], "Neg") {
			return only(b.Op("Sub", nil, n.In[1-i], n.In[i].Node.In[0]))
		}
	}
	return nil
}

func subZero(b *Builder, n *Node) []*Value {
	if isUniform(n.In[1], 0) && keepsType(n, n.In[0]) {
		return only(n.In[0])
	}
	if isUniform(n.In[0], 0) && keepsType(n, n.In[1]) {
		return only(b.Op("Neg", nil, n.In[1]))
	}
	return nil
}

func subNeg(b *Builder, n *Node) []*Value {
	if is(n.In[1], "Neg") {
		return only(b.Op("Add", nil, n.In[0], n.In[1].Node.In[0]))
	}
	return nil
}

func mulOne(b *Builder, n *Node) []*Value {
	for i := range 2 {
		if !keepsType(n, n.In[1-i]) {
			continue
		}
		if isUniform(n.In[i], 1) {
			return only(n.In[1-i])
		}
		if isUniform(n.In[i], -1) {
			return only(b.Op("Neg", nil, n.In[1-i]))
		}
	}
	return nil
}

// mulScalars merges constant factors: (x·c)·d = x·(cd), and moves a scalar outward so that it meets others: (x·c)·y = (x·y)·c.
func mulScalars(b *Builder, n *Node) []*Value {
	if !n.Out[0].Type.DType.IsFloat() {
		return nil
	}
	for i := range 2 {
		x, c, ok := scaled(n.In[i])
		if !ok {
			continue
		}
		other := n.In[1-i]
		if d, ok := scalar(other); ok && other.Rank() <= x.Rank() {
			if !ordinary(c * d) {
				continue
			}
			return only(scale(b, x, c*d))
		}
		if other.IsConst() {
			continue
		}
		return only(scale(b, b.Op("Mul", nil, x, other), c))
	}
	return nil
}

// scaled splits a product with a scalar constant.
func scaled(v *Value) (x *Value, c float64, ok bool) {
	if !is(v, "Mul") {
		return nil, 0, false
	}
	for i := range 2 {
		if c, ok := scalar(v.Node.In[i]); ok && keepsType(v.Node, v.Node.In[1-i]) {
			return v.Node.In[1-i], c, true
		}
	}
	return nil, 0, false
}

// ordinary reports whether a merged factor is neither lost nor infinite in float32 where its parts were not.
func ordinary(c float64) bool {
	return c == 0 || math.Abs(c) > 1e-37 && math.Abs(c) < 1e38
}

func scale(b *Builder, x *Value, c float64) *Value {
	return b.Op("Mul", nil, x, b.FloatLike(x, c))
}

// mulNeg moves a sign outward, where it meets constants, sums and other signs.
func mulNeg(b *Builder, n *Node) []*Value {
	for i := range 2 {
		if !is(n.In[i], "Neg") {
			continue
		}
		x, y := n.In[i].Node.In[0], n.In[1-i]
		if c, ok := scalar(y); ok && keepsType(n, x) {
			return only(scale(b, x, -c))
		}
		return only(b.Op("Neg", nil, b.Op("Mul", nil, x, y)))
	}
	return nil
}

func divOne(_ *Builder, n *Node) []*Value {
	if isUniform(n.In[1], 1) && keepsType(n, n.In[0]) {
		return only(n.In[0])
	}
	return nil
}

func divConst(b *Builder, n *Node) []*Value {
	if !n.Out[0].Type.DType.IsFloat() {
		return nil
	}
	if c, ok := scalar(n.In[1]); ok && c != 0 && ordinary(1/c) && keepsType(n, n.In[0]) {
		return only(scale(b, n.In[0], 1/c))
	}
	if is(n.In[0], "Neg") {
		return only(b.Op("Neg", nil, b.Op("Div", nil, n.In[0].Node.In[0], n.In[1])))
	}
	if isUniform(n.In[0], 1) && keepsType(n, n.In[1]) {
		return only(b.Op("Reciprocal", nil, n.In[1]))
	}
	return nil
}

func negNeg(b *Builder, n *Node) []*Value {
	x := n.In[0]
	switch {
	case is(x, "Neg"):
		return only(x.Node.In[0])
	case is(x, "Sub"):
		return only(b.Op("Sub", nil, x.Node.In[1], x.Node.In[0]))
	}
	if y, c, ok := scaled(x); ok {
		return only(scale(b, y, -c))
	}
	return nil
}

// powConst replaces powers by what costs a tenth of ORT's general Pow.
func powConst(b *Builder, n *Node) []*Value {
	x := n.In[0]
	c, ok := uniform(n.In[1])
	if !ok || !keepsType(n, x) || !x.Type.DType.IsFloat() {
		return nil
	}
	switch c {
	case 1:
		return only(x)
	case 2:
		return only(b.Op("Mul", nil, x, x))
	case 3:
		return only(b.Op("Mul", nil, b.Op("Mul", nil, x, x), x))
	case 4:
		s := b.Op("Mul", nil, x, x)
		return only(b.Op("Mul", nil, s, s))
	case 0.5:
		return only(b.Op("Sqrt", nil, x))
	case -1:
		return only(b.Op("Reciprocal", nil, x))
	case -0.5:
		return only(b.Op("Reciprocal", nil, b.Op("Sqrt", nil, x)))
	case -2:
		return only(b.Op("Reciprocal", nil, b.Op("Mul", nil, x, x)))
	}
	return nil
}

func sumFew(b *Builder, n *Node) []*Value {
	switch len(n.In) {
	case 1:
		return n.In
	case 2:
		return only(b.Op("Add", nil, n.In...))
	}
	return nil
}

// meanToSum: ONNX's Mean of tensors has no CUDA kernel.
func meanToSum(b *Builder, n *Node) []*Value {
	return only(scale(b, b.Op("Sum", nil, n.In...), 1/float64(len(n.In))))
}

func firstOfOne(_ *Builder, n *Node) []*Value {
	if len(n.In) == 1 {
		return n.In
	}
	return nil
}

// concatEmpty drops operands without elements.
func concatEmpty(b *Builder, n *Node) []*Value {
	a, err := Axis(n.Int("axis", 0), n.In[0].Rank())
	if err != nil || slices.ContainsFunc(n.In, func(v *Value) bool { return v.Rank() != n.In[0].Rank() }) {
		return nil
	}
	full := slices.DeleteFunc(slices.Clone(n.In), func(v *Value) bool { return v.Shape()[a].Is(0) })
	if len(full) == len(n.In) || len(full) == 0 {
		return nil
	}
	return only(b.Op("Concat", n.Attrs, full...))
}

// removeDropout: an energy is evaluated, not trained with noise.
func removeDropout(b *Builder, n *Node) []*Value {
	if len(n.Out) > 1 {
		return nil
	}
	if t, ok := n.Input(2).ConstInts(); n.Input(2) == nil || ok && len(t) == 1 && t[0] == 0 {
		return n.In[:1]
	}
	return nil
}

func castSame(_ *Builder, n *Node) []*Value {
	if keepsType(n, n.In[0]) || n.In[0].Type.DType == n.Out[0].Type.DType {
		return n.In[:1]
	}
	return nil
}

// castBool: a bool cast to a number and compared or cast back.
func castBool(_ *Builder, n *Node) []*Value {
	x := n.In[0]
	if n.Out[0].Type.DType == Bool && is(x, "Cast") && x.Node.In[0].Type.DType == Bool {
		return only(x.Node.In[0])
	}
	return nil
}

func whereConst(_ *Builder, n *Node) []*Value {
	c := n.In[0]
	if !c.IsConst() || c.Tensor.Len() > 4096 || c.Tensor.Len() == 0 {
		return nil
	}
	bits := c.Tensor.Int64s()
	for _, x := range bits {
		if x != bits[0] {
			return nil
		}
	}
	pick := n.In[2]
	if bits[0] != 0 {
		pick = n.In[1]
	}
	if keepsType(n, pick) {
		return only(pick)
	}
	return nil
}

func notNot(_ *Builder, n *Node) []*Value {
	if is(n.In[0], "Not") {
		return n.In[0].Node.In[:1]
	}
	return nil
}

func isView(v *Value) bool {
	return is(v, "Reshape") || is(v, "Squeeze") || is(v, "Unsqueeze") || is(v, "Flatten")
}

// viewOfView removes a view that restores the shape of the view's origin, and makes a Reshape of a view of x a Reshape of x.
func viewOfView(b *Builder, n *Node) []*Value {
	if keepsType(n, n.In[0]) {
		return n.In[:1]
	}
	root := n.In[0]
	for isView(root) {
		root = root.Node.In[0]
		if keepsType(n, root) {
			return only(root)
		}
	}
	if root == n.In[0] {
		return nil
	}
	return reshaped(b, n, root)
}

// reshaped is n as a Reshape of x to a constant shape, where that loses nothing of what is known about the extents.
func reshaped(b *Builder, n *Node, x *Value) []*Value {
	target, ok := reshapeTarget(n.Out[0].Shape())
	if !ok {
		return nil
	}
	y := b.Op("Reshape", nil, x, b.Ints(target...))
	for i, d := range n.Out[0].Shape() {
		if d != UnknownDim && (y.Rank() <= i || y.Shape()[i] != d) {
			return nil
		}
	}
	return only(y)
}

// reshapeTarget is a constant shape input that gives s: possible with at most one extent that is not static.
func reshapeTarget(s Shape) ([]int64, bool) {
	if s == nil {
		return nil, false
	}
	free := 0
	t := make([]int64, len(s))
	for i, d := range s {
		t[i] = d.Size
		if !d.IsStatic() {
			t[i] = -1
			free++
		}
		if d.Is(0) {
			return nil, false
		}
	}
	return t, free <= 1
}

// reshapeConst gives a Reshape whose target is computed at run time a constant one.
func reshapeConst(b *Builder, n *Node) []*Value {
	if n.In[1].IsConst() || slices.Contains(n.Out[0].Shape(), UnknownDim) {
		return nil
	}
	return reshaped(b, n, n.In[0])
}

func flattenToReshape(b *Builder, n *Node) []*Value {
	return reshaped(b, n, n.In[0])
}

func transposeIdentity(_ *Builder, n *Node) []*Value {
	if n.In[0].Rank() < 0 {
		return nil
	}
	for i, p := range Perm(n) {
		if i != p {
			return nil
		}
	}
	return n.In[:1]
}

func transposeTwice(b *Builder, n *Node) []*Value {
	if !is(n.In[0], "Transpose") || n.In[0].Rank() < 0 {
		return nil
	}
	outer, inner := Perm(n), Perm(n.In[0].Node)
	perm := make([]int64, len(outer))
	for i, p := range outer {
		perm[i] = int64(inner[p])
	}
	return only(b.Op("Transpose", Attrs{"perm": perm}, n.In[0].Node.In[0]))
}

// transposeView: moving axes of extent 1 about is a Reshape, which costs nothing.
func transposeView(b *Builder, n *Node) []*Value {
	s := n.In[0].Shape()
	if s == nil {
		return nil
	}
	last := -1
	for _, p := range Perm(n) {
		if s[p].Is(1) {
			continue
		}
		if p < last {
			return nil
		}
		last = p
	}
	if target, ok := reshapeTarget(n.Out[0].Shape()); ok {
		return only(b.Op("Reshape", nil, n.In[0], b.Ints(target...)))
	}
	return nil
}

func expandSame(_ *Builder, n *Node) []*Value {
	if keepsType(n, n.In[0]) {
		return n.In[:1]
	}
	return nil
}

// expandTwice needs the outer target alone where that gives the same extents: it may leave axes to the inner one.
func expandTwice(b *Builder, n *Node) []*Value {
	if !is(n.In[0], "Expand") {
		return nil
	}
	x := n.In[0].Node.In[0]
	if s, err := x.Shape().Broadcast(shapeFromElements(n.In[1])); err == nil && s.Same(n.Out[0].Shape()) {
		return only(b.Op("Expand", nil, x, n.In[1]))
	}
	return nil
}

var broadcasting = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Div": true, "Pow": true, "Where": true,
	"Equal": true, "Greater": true, "Less": true, "GreaterOrEqual": true, "LessOrEqual": true, "Min": true, "Max": true, "Sum": true}

// dropExpands lets an element-wise op do the broadcasting of an Expand among its operands.
func dropExpands(b *Builder, n *Node) []*Value {
	if !broadcasting[n.Op] || n.Domain != "" {
		return nil
	}
	for i, v := range n.In {
		if !is(v, "Expand") {
			continue
		}
		in := slices.Clone(n.In)
		in[i] = v.Node.In[0]
		if s, err := broadcastAll(in); err == nil && s.Same(n.Out[0].Shape()) {
			return only(b.Op(n.Op, n.Attrs, in...))
		}
	}
	return nil
}

func sliceAll(_ *Builder, n *Node) []*Value {
	x := n.In[0]
	ranges, ok, err := SliceSpec(n)
	if err != nil {
		return nil
	}
	if !ok {
		if starts, known := n.In[1].ConstInts(); known && !slices.ContainsFunc(starts, func(i int64) bool { return i != 0 }) && keepsType(n, x) && n.Input(4) == nil {
			return only(x)
		}
		return nil
	}
	for _, r := range ranges {
		d := x.Shape()[r.Axis]
		if r.Step != 1 || r.Start != 0 {
			if !d.IsStatic() || r.Step != 1 || r.Normalise(d.Size).Start != 0 {
				return nil
			}
		}
		if slicedDim(d, r) != d || d == UnknownDim {
			return nil
		}
	}
	return only(x)
}

func padNothing(_ *Builder, n *Node) []*Value {
	if pads, ok := n.In[1].ConstInts(); ok && !slices.ContainsFunc(pads, func(p int64) bool { return p != 0 }) {
		return n.In[:1]
	}
	return nil
}

// padAllAxes names the pads of every axis: ONNX Runtime's transpose optimizer reads pads as those of all axes even where the axes are given.
func padAllAxes(b *Builder, n *Node) []*Value {
	rank := n.In[0].Rank()
	if n.Input(3) == nil || rank < 0 {
		return nil
	}
	axes, ok, err := axesInput(n, 3, rank)
	if !ok || err != nil {
		return nil
	}
	parts := make([]*Value, 2*rank)
	for i := range parts {
		parts[i] = b.Ints(0)
	}
	for i, a := range axes {
		for side := range 2 {
			at := int64(side*len(axes) + i)
			parts[side*rank+a] = b.Op("Slice", nil, n.In[1], b.Ints(at), b.Ints(at+1), b.Ints(0))
		}
	}
	pads := b.Op("Concat", Attrs{"axis": int64(0)}, parts...)
	return only(b.Op("Pad", n.Attrs, n.In[0], pads, n.Input(2)))
}

func splitOne(_ *Builder, n *Node) []*Value {
	if len(n.Out) == 1 {
		return n.In[:1]
	}
	return nil
}

// reduceNothing: no axes, or axes of extent 1 only.
func reduceNothing(b *Builder, n *Node) []*Value {
	axes, ok, err := ReduceAxes(n)
	if !ok || err != nil {
		return nil
	}
	list := []int64{}
	for _, a := range axes {
		if !n.In[0].Shape()[a].Is(1) {
			return nil
		}
		list = append(list, int64(a))
	}
	if n.Int("keepdims", 1) != 0 || len(list) == 0 {
		return n.In[:1]
	}
	return only(b.Op("Squeeze", nil, n.In[0], b.Ints(list...)))
}

// reduceSumTwice merges a sum with one that keeps its axes; where the outer sum drops axes, it must drop those of the inner one too.
func reduceSumTwice(b *Builder, n *Node) []*Value {
	x := n.In[0]
	if !is(x, "ReduceSum") || x.Node.Int("keepdims", 1) == 0 {
		return nil
	}
	outer, ok1, _ := ReduceAxes(n)
	inner, ok2, _ := ReduceAxes(x.Node)
	if !ok1 || !ok2 {
		return nil
	}
	keep := n.Int("keepdims", 1)
	axes := []int64{}
	for i := range x.Rank() {
		drops := slices.Contains(outer, i)
		if !drops && !slices.Contains(inner, i) {
			continue
		}
		if !drops && keep == 0 {
			return nil
		}
		axes = append(axes, int64(i))
	}
	return only(b.Op("ReduceSum", Attrs{"keepdims": keep}, x.Node.In[0], b.Ints(axes...)))
}

// reduceScaled sums first and scales the smaller result.
func reduceScaled(b *Builder, n *Node) []*Value {
	if is(n.In[0], "Neg") {
		return only(b.Op("Neg", nil, b.Op("ReduceSum", n.Attrs, append([]*Value{n.In[0].Node.In[0]}, n.In[1:]...)...)))
	}
	x, c, ok := scaled(n.In[0])
	if !ok {
		return nil
	}
	return only(scale(b, b.Op("ReduceSum", n.Attrs, append([]*Value{x}, n.In[1:]...)...), c))
}

// sumSquare: Mul and ReduceSum take half the time of ORT's ReduceSumSquare, and share the square's derivative.
func sumSquare(b *Builder, n *Node) []*Value {
	x := n.In[0]
	return only(b.Op("ReduceSum", n.Attrs, append([]*Value{b.Op("Mul", nil, x, x)}, n.In[1:]...)...))
}

// transposed returns the matrix whose transpose v is.
func transposed(v *Value) (*Value, bool) {
	if is(v, "Transpose") && v.Rank() == 2 {
		return v.Node.In[0], true
	}
	return v, false
}

// matmulTransposed: a product of matrices with a transposed operand is one Gemm.
func matmulTransposed(b *Builder, n *Node) []*Value {
	if n.In[0].Rank() != 2 || n.In[1].Rank() != 2 || !n.Out[0].Type.DType.IsFloat() {
		return nil
	}
	x, tx := transposed(n.In[0])
	y, ty := transposed(n.In[1])
	if !tx && !ty {
		return nil
	}
	return only(b.Op("Gemm", gemmAttrs(1, 1, tx, ty), x, y))
}

func gemmAttrs(alpha, beta float32, transA, transB bool) Attrs {
	a := Attrs{}
	if alpha != 1 {
		a["alpha"] = alpha
	}
	if beta != 1 {
		a["beta"] = beta
	}
	if transA {
		a["transA"] = int64(1)
	}
	if transB {
		a["transB"] = int64(1)
	}
	return a
}

func gemmTransposed(b *Builder, n *Node) []*Value {
	x, tx := transposed(n.In[0])
	y, ty := transposed(n.In[1])
	if !tx && !ty {
		return nil
	}
	a := gemmAttrs(n.Float("alpha", 1), n.Float("beta", 1), tx != (n.Int("transA", 0) != 0), ty != (n.Int("transB", 0) != 0))
	return only(b.Op("Gemm", a, append([]*Value{x, y}, n.In[2:]...)...))
}

func gemmZeroBias(b *Builder, n *Node) []*Value {
	if len(n.In) == 3 && (isUniform(n.In[2], 0) || n.Float("beta", 1) == 0) && !math.IsNaN(float64(n.Float("beta", 1))) {
		return only(b.Op("Gemm", n.Attrs, n.In[:2]...))
	}
	return nil
}
