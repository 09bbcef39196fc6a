package graphs

import "fmt"

// The ops of ai.onnx.ml that scikit-learn's linear models and scalers become, by their definitions in the ONNX specification. Results are float32.

func floatOf(e *emitter, n *Node) (*Value, error) {
	if err := need(n, 1); err != nil {
		return nil, err
	}
	if e.r.dtype(n.In[0]) == Float32 {
		return n.In[0], nil
	}
	return e.op("Cast", Attrs{"to": int64(Float32)}, n.In[0]), nil
}

// mlScaler: (x − offset)·scale.
func mlScaler(e *emitter, n *Node) error {
	x, err := floatOf(e, n)
	if err != nil {
		return err
	}
	vector := func(name string, def float32) *Value {
		v := n.FloatList(name)
		if len(v) == 0 {
			v = []float32{def}
		}
		return constant(NewTensor(v, int64(len(v))))
	}
	n.become("Mul", nil, e.op("Sub", nil, x, vector("offset", 0)), vector("scale", 1))
	return nil
}

// mlNormalizer: rows divided by their L1 or L2 norm.
func mlNormalizer(e *emitter, n *Node) error {
	x, err := floatOf(e, n)
	if err != nil {
		return err
	}
	p := map[string]int64{"L1": 1, "L2": 2}[n.Text("norm", "MAX")]
	if p == 0 {
		return fmt.Errorf("norm %q is not supported", n.Text("norm", "MAX"))
	}
	n.become("LpNormalization", Attrs{"axis": int64(-1), "p": p}, x)
	return nil
}

// linear is x·coefficientsᵀ + intercepts for k results.
func linear(e *emitter, n *Node, k int64) (*Value, error) {
	x, err := floatOf(e, n)
	if err != nil {
		return nil, err
	}
	w, b := n.FloatList("coefficients"), n.FloatList("intercepts")
	if k < 1 || len(w) == 0 || int64(len(w))%k != 0 || len(b) > 0 && int64(len(b)) != k {
		return nil, fmt.Errorf("%d coefficients and %d intercepts for %d results", len(w), len(b), k)
	}
	in := []*Value{x, constant(NewTensor(w, k, int64(len(w))/k))}
	if len(b) > 0 {
		in = append(in, constant(NewTensor(b, k)))
	}
	return e.op("Gemm", Attrs{"transB": int64(1)}, in...), nil
}

func mlLinearRegressor(e *emitter, n *Node) error {
	if t := n.Text("post_transform", "NONE"); t != "NONE" {
		return fmt.Errorf("post_transform %q is not supported", t)
	}
	y, err := linear(e, n, n.Int("targets", 1))
	if err != nil {
		return err
	}
	n.become("Identity", nil, y)
	return nil
}

// mlLinearClassifier has the scores of two or more classes as its second output and the label of the largest as its first.
func mlLinearClassifier(e *emitter, n *Node) error {
	labels, ok := n.Attrs["classlabels_ints"].([]int64)
	k := int64(len(labels))
	if !ok {
		names, _ := n.Attrs["classlabels_strings"].([]string)
		k = int64(len(names))
	}
	if k < 2 {
		return fmt.Errorf("%d classes; two or more are supported", k)
	}
	y, err := linear(e, n, k)
	if err != nil {
		return err
	}
	scores := y
	switch t := n.Text("post_transform", "NONE"); t {
	case "NONE":
	case "LOGISTIC":
		scores = e.op("Sigmoid", nil, y)
	case "SOFTMAX":
		scores = e.op("Softmax", Attrs{"axis": int64(-1)}, y)
	default:
		return fmt.Errorf("post_transform %q is not supported", t)
	}
	if len(n.Out) > 1 {
		n.Out[1] = scores
	}
	best := e.op("ArgMax", Attrs{"axis": int64(1), "keepdims": int64(0)}, y)
	if ok {
		best = e.op("Gather", nil, constant(IntsTensor(labels...)), best)
	}
	n.Out[0], n.Op = best, "" // where labels are names, the label's position stands for it
	return nil
}

// mlFeatures: columns of the last axis.
func mlFeatures(e *emitter, n *Node) error {
	if err := need(n, 2); err != nil {
		return err
	}
	columns := e.op("Reshape", nil, n.In[1], ints(-1))
	if e.rank(n.In[0]) == 1 { // a vector counts as one row
		n.become("Unsqueeze", nil, e.op("Gather", nil, n.In[0], columns), ints(0))
		return nil
	}
	n.become("Gather", Attrs{"axis": int64(-1)}, n.In[0], columns)
	return nil
}
