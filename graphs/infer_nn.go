package graphs

import (
	"fmt"
	"slices"
)

// Window describes how a kernel slides over the spatial axes of an image, as the attributes of Conv, ConvTranspose and the pools do.
type Window struct {
	Kernel, Stride, Dilation, Before, After, OutputPadding []int64
	Mode                                                   string // auto_pad
	Ceil                                                   bool
}

// WindowOf reads the window of a node from its attributes. kernel holds the spatial extents of the weight; nil stands for the attribute kernel_shape.
func WindowOf(n *Node, kernel []int64) (Window, error) {
	if kernel == nil {
		kernel = n.IntList("kernel_shape")
	}
	r := len(kernel)
	w := Window{Kernel: kernel, Mode: n.Text("auto_pad", "NOTSET"), Ceil: n.Int("ceil_mode", 0) != 0}
	lists := []struct {
		to   *[]int64
		name string
		def  int64
		n    int
	}{{&w.Stride, "strides", 1, r}, {&w.Dilation, "dilations", 1, r}, {&w.OutputPadding, "output_padding", 0, r}, {&w.Before, "pads", 0, 2 * r}}
	for _, l := range lists {
		*l.to = n.IntList(l.name)
		if *l.to == nil {
			*l.to = slices.Repeat([]int64{l.def}, l.n)
		}
		if len(*l.to) != l.n {
			return w, fmt.Errorf("%s %v for %d spatial axes", l.name, *l.to, r)
		}
	}
	w.Before, w.After = w.Before[:r:r], w.Before[r:]
	if w.Mode == "VALID" {
		w.Before, w.After = make([]int64, r), make([]int64, r)
	}
	for i := range r {
		if w.Stride[i] < 1 || w.Dilation[i] < 1 || w.Kernel[i] < 1 {
			return w, fmt.Errorf("kernel %v, strides %v, dilations %v", w.Kernel, w.Stride, w.Dilation)
		}
	}
	return w, nil
}

// Same reports whether the pads follow from the image's extent.
func (w Window) Same() bool { return w.Mode == "SAME_UPPER" || w.Mode == "SAME_LOWER" }

// Span returns the extent that the dilated kernel covers along axis i.
func (w Window) Span(i int) int64 { return (w.Kernel[i]-1)*w.Dilation[i] + 1 }

// Positions returns the number of positions of the kernel along axis i of an image of extent d.
func (w Window) Positions(i int, d Dim) Dim {
	s := w.Stride[i]
	if w.Same() {
		return d.Plus(Static(s - 1)).Over(Static(s))
	}
	pads := w.Before[i] + w.After[i]
	free := d.Plus(element(pads - w.Span(i)))
	if !w.Ceil {
		return free.Over(Static(s)).Plus(Static(1))
	}
	if !d.IsStatic() {
		return UnknownDim
	}
	n := (d.Size+pads-w.Span(i)+s-1)/s + 1
	if (n-1)*s >= d.Size+w.Before[i] { // a window must not start in the trailing pads
		n--
	}
	return Static(n)
}

// Extent returns the extent of the result of a transposed convolution along axis i of an operand of extent d.
func (w Window) Extent(i int, d Dim) Dim {
	if w.Same() {
		return d.Times(Static(w.Stride[i]))
	}
	full := d.Minus(Static(1)).Times(Static(w.Stride[i]))
	return full.Plus(element(w.Span(i) + w.OutputPadding[i] - w.Before[i] - w.After[i]))
}

// spatialKernel returns the spatial extents of a weight; ok is false where they are not known.
func spatialKernel(w *Value) (k []int64, ok bool) {
	if w.Rank() < 3 || !w.Shape()[2:].IsStatic() {
		return nil, false
	}
	return w.Shape()[2:].Ints(), true
}

func checkChannels(n *Node, image, perGroup Dim) error {
	if g := n.Int("group", 1); image.IsStatic() && perGroup.IsStatic() && image.Size != perGroup.Size*g {
		return fmt.Errorf("operand %v has %v channels, the weight %v takes %d", n.In[0].Shape(), image, n.In[1].Shape(), perGroup.Size*g)
	}
	return nil
}

func inferConv(n *Node) error {
	x, w := n.In[0], n.In[1]
	kernel, ok := spatialKernel(w)
	if !ok {
		kernel = n.IntList("kernel_shape")
	}
	if x.Rank() < 0 || kernel == nil {
		return set(n, x.Type.DType, UnknownShape(max(x.Rank(), w.Rank())))
	}
	if x.Rank() != len(kernel)+2 || x.Rank() < 3 || w.Rank() >= 0 && w.Rank() != x.Rank() {
		return fmt.Errorf("operand %v does not fit the weight %v", x.Shape(), w.Shape())
	}
	win, err := WindowOf(n, kernel)
	if err != nil {
		return err
	}
	s := UnknownShape(x.Rank())
	s[0] = x.Shape()[0]
	if w.Rank() > 0 {
		s[1] = w.Shape()[0]
		if err := checkChannels(n, x.Shape()[1], w.Shape()[1]); err != nil {
			return err
		}
	}
	for i := range kernel {
		s[i+2] = win.Positions(i, x.Shape()[i+2])
	}
	return set(n, x.Type.DType, s)
}

func inferConvTranspose(n *Node) error {
	x, w := n.In[0], n.In[1]
	kernel, ok := spatialKernel(w)
	if x.Rank() < 0 || !ok {
		return set(n, x.Type.DType, UnknownShape(max(x.Rank(), w.Rank())))
	}
	if x.Rank() != len(kernel)+2 {
		return fmt.Errorf("operand %v does not fit the weight %v", x.Shape(), w.Shape())
	}
	win, err := WindowOf(n, kernel)
	if err != nil {
		return err
	}
	if a, b := x.Shape()[1], w.Shape()[0]; a.IsStatic() && b.IsStatic() && a != b {
		return fmt.Errorf("operand %v has %v channels, the weight %v takes %v", x.Shape(), a, w.Shape(), b)
	}
	s := UnknownShape(x.Rank())
	s[0], s[1] = x.Shape()[0], w.Shape()[1].Times(Static(n.Int("group", 1)))
	given := n.IntList("output_shape")
	if len(given) == x.Rank() {
		given = given[2:]
	}
	if given != nil && len(given) != len(kernel) {
		return fmt.Errorf("output_shape %v does not fit %d spatial axes", given, len(kernel))
	}
	for i := range kernel {
		s[i+2] = win.Extent(i, x.Shape()[i+2])
		if given != nil {
			s[i+2] = Static(given[i])
		}
	}
	return set(n, x.Type.DType, s)
}

func inferPool(n *Node) error {
	x := n.In[0]
	win, err := WindowOf(n, nil)
	if err != nil {
		return err
	}
	s := slices.Clone(x.Shape())
	if s != nil {
		if len(s) != len(win.Kernel)+2 {
			return fmt.Errorf("operand %v does not fit the kernel %v", s, win.Kernel)
		}
		for i := range win.Kernel {
			s[i+2] = win.Positions(i, s[i+2])
		}
	}
	if len(n.Out) > 1 {
		n.Out[1].Type = Type{Int64, s}
	}
	return set(n, x.Type.DType, s)
}

func inferGlobalPool(n *Node) error {
	s := slices.Clone(n.In[0].Shape())
	for i := 2; i < len(s); i++ {
		s[i] = Static(1)
	}
	return set(n, n.In[0].Type.DType, s)
}

func inferMaxUnpool(n *Node) error {
	x := n.In[0]
	if n.Input(2) != nil {
		return set(n, x.Type.DType, shapeFromElements(n.In[2]))
	}
	win, err := WindowOf(n, nil)
	if err != nil {
		return err
	}
	s := slices.Clone(x.Shape())
	for i := range win.Kernel {
		if i+2 < len(s) {
			s[i+2] = win.Extent(i, s[i+2])
		}
	}
	return set(n, x.Type.DType, s)
}

func inferCol2Im(n *Node) error {
	x := n.In[0]
	image, block := shapeFromElements(n.In[1]), shapeFromElements(n.In[2])
	if image == nil {
		return set(n, x.Type.DType, nil)
	}
	s := Shape{UnknownDim, UnknownDim}
	if x.Rank() == 3 {
		s[0], s[1] = x.Shape()[0], x.Shape()[1].Over(block.Size())
	}
	return set(n, x.Type.DType, append(s, image...))
}

func inferBatchNorm(n *Node) error {
	for i, v := range n.Out[1:] {
		v.Type = n.In[3+i].Type
	}
	return set(n, n.In[0].Type.DType, n.In[0].Shape())
}

func inferLayerNorm(n *Node) error {
	x := n.In[0]
	s := slices.Clone(x.Shape())
	if s != nil {
		a, err := Axis(n.Int("axis", -1), len(s))
		if err != nil {
			return err
		}
		for i := a; i < len(s); i++ {
			s[i] = Static(1)
		}
	}
	for _, v := range n.Out[1:] {
		v.Type = Type{x.Type.DType, s}
	}
	return set(n, x.Type.DType, x.Shape())
}

// ResizeAxes returns the axes that a Resize node changes: its attribute axes, or all.
func ResizeAxes(n *Node) ([]int, error) {
	rank := n.In[0].Rank()
	list := n.IntList("axes")
	axes := make([]int, 0, rank)
	for i := range max(rank, 0) {
		if list == nil {
			axes = append(axes, i)
		}
	}
	for _, a := range list {
		i, err := Axis(a, rank)
		if err != nil {
			return nil, err
		}
		axes = append(axes, i)
	}
	return axes, nil
}

func inferResize(n *Node) error {
	x := n.In[0]
	s := slices.Clone(x.Shape())
	if s == nil {
		return set(n, x.Type.DType, nil)
	}
	axes, err := ResizeAxes(n)
	if err != nil {
		return err
	}
	scales, sizes := n.Input(2), n.Input(3)
	for i, a := range axes {
		switch {
		case sizes != nil && n.Text("keep_aspect_ratio_policy", "stretch") != "stretch":
			s[a] = UnknownDim
		case sizes != nil && i < len(sizes.Ints):
			s[a] = sizes.Ints[i]
		case scales != nil && scales.Tensor != nil && scales.Tensor.Len() == int64(len(axes)) && (sizes == nil):
			s[a] = scaledExtent(s[a], scales.Tensor.Float64s()[i])
		default:
			s[a] = UnknownDim
		}
	}
	return set(n, x.Type.DType, s)
}

// scaledExtent is ⌊d·scale⌋, in float32 as engines compute it.
func scaledExtent(d Dim, scale float64) Dim {
	k := int64(scale)
	switch {
	case d.IsStatic():
		return Static(int64(float32(d.Size) * float32(scale))) // 5·1.4 is 7 there, though the float32 1.4 is less
	case float64(k) == scale:
		return d.Times(Static(k))
	case scale > 0 && float64(int64(1/scale)) == 1/scale:
		return d.Over(Static(int64(1 / scale)))
	}
	return UnknownDim
}

func inferGridSample(n *Node) error {
	x, grid := n.In[0].Shape(), n.In[1].Shape()
	if x == nil || grid == nil {
		return set(n, n.In[0].Type.DType, nil)
	}
	if len(grid) != len(x) {
		return fmt.Errorf("operand %v and grid %v differ in rank", x, grid)
	}
	return set(n, n.In[0].Type.DType, slices.Concat(x[:2], grid[1:len(grid)-1]))
}

func inferAffineGrid(n *Node) error {
	size := shapeFromElements(n.In[1])
	if size == nil {
		return set(n, n.In[0].Type.DType, nil)
	}
	s := append(Shape{size[0]}, size[2:]...)
	return set(n, n.In[0].Type.DType, append(s, Static(int64(len(size)-2))))
}

func inferRoiAlign(n *Node) error {
	x, rois := n.In[0].Shape(), n.In[1].Shape()
	s := UnknownShape(4)
	if rois != nil {
		s[0] = rois[0]
	}
	if x != nil {
		s[1] = x[1]
	}
	s[2], s[3] = Static(n.Int("output_height", 1)), Static(n.Int("output_width", 1))
	return set(n, n.In[0].Type.DType, s)
}

// inferAttention: Y like Q with the head size of V, present key and value, and the matrix of scores.
func inferAttention(n *Node) error {
	q, k, v := n.In[0].Shape(), n.In[1].Shape(), n.In[2].Shape()
	dt := n.In[0].Type.DType
	if q == nil || k == nil || v == nil {
		return set(n, dt, nil)
	}
	if len(k) != len(q) || len(v) != len(q) {
		return fmt.Errorf("query %v, key %v and value %v differ in rank", q, k, v)
	}
	var heads, kvHeads, keys Dim
	y := slices.Clone(q)
	switch len(q) {
	case 4:
		heads, kvHeads, keys = q[1], k[1], k[2]
		y[3] = v[3]
	case 3:
		h, kv := n.Int("q_num_heads", 0), n.Int("kv_num_heads", 0)
		if h < 1 || kv < 1 {
			return fmt.Errorf("operands of rank 3 need q_num_heads and kv_num_heads")
		}
		heads, kvHeads, keys = Static(h), Static(kv), k[1]
		y[2] = v[2].Over(Static(kv)).Times(Static(h))
	default:
		return fmt.Errorf("query %v is neither of rank 3 nor 4", q)
	}
	if past := n.Input(4); past != nil && past.Rank() == 4 {
		keys = keys.Plus(past.Shape()[2])
	}
	size := func(s Shape) Dim {
		if len(s) == 4 {
			return s[3]
		}
		return s[2].Over(kvHeads)
	}
	queries := q[len(q)-2]
	types := []Shape{y, {q[0], kvHeads, keys, size(k)}, {q[0], kvHeads, keys, size(v)}, {q[0], heads, queries, keys}}
	for i, o := range n.Out {
		o.Type = Type{dt, types[i]}
	}
	return nil
}

// inferRecurrent: Y [T, directions, N, hidden], Y_h and Y_c [directions, N, hidden], with layout 1 the batch first.
func inferRecurrent(n *Node) error {
	x, r := n.In[0].Shape(), n.In[2].Shape()
	if x == nil || r == nil || len(x) != 3 || len(r) != 3 {
		return set(n, n.In[0].Type.DType, nil)
	}
	d, h := r[0], r[2]
	first := n.Int("layout", 0) == 0
	for i, o := range n.Out {
		var s Shape
		switch {
		case i == 0 && first:
			s = Shape{x[0], d, x[1], h}
		case i == 0:
			s = Shape{x[0], x[1], d, h}
		case first:
			s = Shape{d, x[1], h}
		default:
			s = Shape{x[0], d, h}
		}
		o.Type = Type{n.In[0].Type.DType, s}
	}
	return nil
}

// inferIf joins the types of both branches.
func inferIf(n *Node) error {
	yes, no := n.Body("then_branch"), n.Body("else_branch")
	if yes == nil || no == nil {
		return fmt.Errorf("a branch is absent")
	}
	for i, o := range n.Out {
		if i < len(yes.Outputs) && i < len(no.Outputs) {
			o.Type = joinTypes(yes.Outputs[i].Value.Type, no.Outputs[i].Value.Type)
		}
	}
	return nil
}

// joinTypes keeps what both types agree on.
func joinTypes(a, b Type) Type {
	if a.DType == Undefined {
		a.DType = b.DType
	}
	if a.Shape == nil || b.Shape == nil || len(a.Shape) != len(b.Shape) {
		return Type{a.DType, nil}
	}
	s := slices.Clone(a.Shape)
	for i, d := range s {
		if !d.Same(b.Shape[i]) {
			s[i] = UnknownDim
		}
	}
	return Type{a.DType, s}
}

// inferScan: final states have the types of the initial ones; scanned outputs get the axis of the sequence in front.
func inferScan(n *Node) error {
	body := n.Body("body")
	if body == nil {
		return fmt.Errorf("the body is absent")
	}
	k := int(n.Int("num_scan_inputs", 0))
	states := len(n.In) - k
	if k < 1 || states < 0 || len(body.Inputs) != len(n.In) {
		return fmt.Errorf("%d scan inputs of %d inputs and %d body inputs", k, len(n.In), len(body.Inputs))
	}
	steps := UnknownDim
	if s := n.In[states].Shape(); s != nil {
		axis := int64(0)
		if a := n.IntList("scan_input_axes"); a != nil {
			axis = a[0]
		}
		a, err := Axis(axis, len(s))
		if err != nil {
			return err
		}
		steps = s[a]
	}
	out := n.IntList("scan_output_axes")
	for i, o := range n.Out {
		if i >= len(body.Outputs) {
			break
		}
		t := body.Outputs[i].Value.Type
		if i < states {
			o.Type = joinTypes(n.In[i].Type, t)
			continue
		}
		axis := 0
		if out != nil && t.Shape != nil {
			axis, _ = Axis(out[i-states], len(t.Shape)+1)
		}
		o.Type = Type{t.DType, nil}
		if t.Shape != nil {
			o.Type.Shape = slices.Insert(slices.Clone(t.Shape), axis, steps)
		}
	}
	return nil
}

// inferLoop: final states have the types of the initial ones; scanned outputs get an axis of unknown extent in front.
func inferLoop(n *Node) error {
	body := n.Body("body")
	if body == nil {
		return fmt.Errorf("the body is absent")
	}
	states := max(len(n.In)-2, 0)
	steps := UnknownDim
	if m, ok := n.Input(0).ConstInts(); ok && len(m) == 1 && n.Input(1) == nil {
		steps = Static(max(m[0], 0))
	}
	for i, o := range n.Out {
		if i+1 >= len(body.Outputs) {
			break
		}
		t := body.Outputs[i+1].Value.Type
		if i < states {
			o.Type = joinTypes(n.In[i+2].Type, t)
			continue
		}
		o.Type = Type{t.DType, nil}
		if t.Shape != nil {
			o.Type.Shape = append(Shape{steps}, t.Shape...)
		}
	}
	return nil
}

// inferDFT: the last axis holds real and imaginary parts.
func inferDFT(n *Node) error {
	s := slices.Clone(n.In[0].Shape())
	if s == nil {
		return set(n, n.In[0].Type.DType, nil)
	}
	axis := int64(-2)
	if a, ok := n.Input(2).ConstInts(); ok && len(a) == 1 {
		axis = a[0]
	}
	a, err := Axis(axis, len(s))
	if err != nil {
		return err
	}
	if v := n.Input(1); v != nil {
		s[a] = UnknownDim
		if len(v.Ints) == 1 {
			s[a] = v.Ints[0]
		}
	}
	s[len(s)-1] = Static(2)
	if n.Int("onesided", 0) != 0 {
		if n.Int("inverse", 0) != 0 {
			s[len(s)-1] = Static(1)
			if n.Input(1) == nil {
				s[a] = s[a].Minus(Static(1)).Times(Static(2))
			}
		} else {
			s[a] = s[a].Over(Static(2)).Plus(Static(1))
		}
	}
	return set(n, n.In[0].Type.DType, s)
}

// inferSTFT: [N, frames, bins, 2].
func inferSTFT(n *Node) error {
	x := n.In[0].Shape()
	s := Shape{UnknownDim, UnknownDim, UnknownDim, Static(2)}
	if x == nil {
		return set(n, n.In[0].Type.DType, s)
	}
	s[0] = x[0]
	frame := UnknownDim
	if v := n.Input(2); v != nil && v.Rank() == 1 {
		frame = v.Shape()[0]
	} else if f, ok := n.Input(3).ConstInts(); ok && len(f) == 1 {
		frame = Static(f[0])
	}
	if step, ok := n.In[1].ConstInts(); ok && len(step) == 1 && frame.IsStatic() {
		s[1] = x[1].Plus(element(-frame.Size)).Over(Static(step[0])).Plus(Static(1))
	}
	s[2] = frame
	if n.Int("onesided", 1) != 0 && frame.IsStatic() {
		s[2] = Static(frame.Size/2 + 1)
	}
	return set(n, n.In[0].Type.DType, s)
}

// inferClassLoss: a scalar, or without reduction one loss per label.
func inferClassLoss(n *Node) error {
	s := Shape{}
	if n.Text("reduction", "mean") == "none" {
		s = n.In[1].Shape()
	}
	if len(n.Out) > 1 {
		n.Out[1].Type = n.In[0].Type
	}
	return set(n, n.In[0].Type.DType, s)
}

func inferDequantize(n *Node) error {
	return set(n, DType(n.Int("output_dtype", int64(n.In[1].Type.DType))), n.In[0].Shape())
}
