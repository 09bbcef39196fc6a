package graphs

import (
	"fmt"
	"slices"
)

// The ops of ai.onnx.ml that are formulas of floats, as scikit-learn's converter writes them, by their definitions in ONNX's Operators-ml.md. Their
// numbers are attributes, so they are constants and no parameters.

// float makes a tensor of numbers float32, which is what these ops compute in.
func (e *emitter) float(x *Value) *Value {
	if e.r.dtype(x) == Float32 {
		return x
	}
	return e.op("Cast", Attrs{"to": int64(Float32)}, x)
}

// matrix is an attribute of floats as a constant of the given number of rows.
func matrix(list []float32, rows int64) (*Value, error) {
	if rows < 1 || len(list) == 0 || int64(len(list))%rows != 0 {
		return nil, fmt.Errorf("%d numbers do not make %d rows", len(list), rows)
	}
	return constant(NewTensor(list, rows, int64(len(list))/rows)), nil
}

func vector32(list []float32) *Value { return constant(NewTensor(list, int64(len(list)))) }

// affine is X·Wᵀ + b, b empty or one number a row of W.
func (e *emitter) affine(x *Value, w, b []float32, rows int64) (*Value, error) {
	m, err := matrix(w, rows)
	if err != nil {
		return nil, err
	}
	in := []*Value{e.float(x), m}
	if len(b) > 0 {
		if int64(len(b)) != rows {
			return nil, fmt.Errorf("%d intercepts for %d rows of coefficients", len(b), rows)
		}
		in = append(in, vector32(b))
	}
	return e.op("Gemm", Attrs{"transB": int64(1)}, in...), nil
}

// mlScaler: (X − offset)·scale.
func mlScaler(e *emitter, n *Node) error {
	if err := need(n, 1); err != nil {
		return err
	}
	offset, scale := n.FloatList("offset"), n.FloatList("scale")
	if len(offset) == 0 || len(scale) == 0 {
		return fmt.Errorf("its offset or scale is missing")
	}
	n.become("Mul", nil, e.op("Sub", nil, e.float(n.In[0]), vector32(offset)), vector32(scale))
	return nil
}

// mlNormalizer: rows divided by their largest element, sum of magnitudes or length; rows of 0 stay.
func mlNormalizer(e *emitter, n *Node) error {
	if err := need(n, 1); err != nil {
		return err
	}
	norm := n.Text("norm", "MAX")
	op, ok := map[string]string{"MAX": "ReduceMax", "L1": "ReduceL1", "L2": "ReduceL2"}[norm]
	if !ok {
		return fmt.Errorf("norm %q is not one of MAX, L1, L2", norm)
	}
	x := e.float(n.In[0])
	size := e.op(op, Attrs{"keepdims": int64(1)}, x, ints(-1))
	zero := e.op("Equal", nil, size, constant(ScalarTensor(float32(0))))
	n.become("Div", nil, x, e.op("Where", nil, zero, constant(ScalarTensor(float32(1))), size))
	return nil
}

// transformed applies post_transform to scores of k classes and gives them out.
func (e *emitter) transformed(n *Node, scores *Value, out *Value) error {
	switch t := n.Text("post_transform", "NONE"); t {
	case "NONE":
		e.opTo([]*Value{out}, "Identity", nil, scores)
	case "LOGISTIC":
		e.opTo([]*Value{out}, "Sigmoid", nil, scores)
	case "SOFTMAX":
		e.opTo([]*Value{out}, "Softmax", Attrs{"axis": int64(-1)}, scores)
	default:
		return fmt.Errorf("post_transform %q is not supported", t)
	}
	return nil
}

// mlLinearRegressor: X·Wᵀ + b, a row of W for each target.
func mlLinearRegressor(e *emitter, n *Node) error {
	if err := need(n, 1); err != nil {
		return err
	}
	y, err := e.affine(n.In[0], n.FloatList("coefficients"), n.FloatList("intercepts"), n.Int("targets", 1))
	if err != nil {
		return err
	}
	n.Op = ""
	return e.transformed(n, y, n.Out[0])
}

// mlLinearClassifier: the scores X·Wᵀ + b, transformed. The label keeps its node, which nothing that is differentiated needs.
func mlLinearClassifier(e *emitter, n *Node) error {
	if err := need(n, 1); err != nil {
		return err
	}
	classes := int64(len(n.IntList("classlabels_ints")))
	if classes == 0 {
		classes = int64(len(attr[[]string](n.Attrs, "classlabels_strings", nil)))
	}
	if b := n.FloatList("intercepts"); int64(len(b)) != classes {
		return fmt.Errorf("%d rows of coefficients for %d classes are not supported", len(b), classes)
	}
	scores, err := e.affine(n.In[0], n.FloatList("coefficients"), n.FloatList("intercepts"), classes)
	if err != nil {
		return err
	}
	if len(n.Out) > 1 {
		if err := e.transformed(n, scores, n.Out[1]); err != nil {
			return err
		}
	}
	if e.used[0] {
		label := *n
		label.In, label.Out = slices.Clone(n.In), n.Out[:1]
		e.append(&label)
	}
	n.Op = ""
	return nil
}

// mlSVMRegressor: Σᵢ cᵢ·K(x, sᵢ) + ρ over the support vectors sᵢ, as a column; with one_class the sign of it.
func mlSVMRegressor(e *emitter, n *Node) error {
	if err := need(n, 1); err != nil {
		return err
	}
	c, rho := n.FloatList("coefficients"), n.FloatList("rho")
	if len(rho) == 0 {
		return fmt.Errorf("rho is missing")
	}
	count := n.Int("n_supports", 0)
	k, weights := n.In[0], c
	if count > 0 {
		var err error
		if k, err = e.svmKernel(n, count); err != nil {
			return err
		}
	}
	y, err := e.affine(k, weights, rho[:1], 1)
	if err != nil {
		return err
	}
	if n.Int("one_class", 0) != 0 {
		y = e.op("Sign", nil, y)
	}
	n.Op = ""
	return e.transformed(n, y, n.Out[0])
}

// svmKernel is K(x, sᵢ) as [N, supports].
func (e *emitter) svmKernel(n *Node, supports int64) (*Value, error) {
	x := e.float(n.In[0])
	s, err := matrix(n.FloatList("support_vectors"), supports)
	if err != nil {
		return nil, err
	}
	scalar := func(f float32) *Value { return constant(ScalarTensor(f)) }
	p := append(slices.Clone(n.FloatList("kernel_params")), 0, 0, 0)
	gamma, coef0, degree := p[0], p[1], p[2]
	product := e.op("Gemm", Attrs{"transB": int64(1)}, x, s)
	scaled := func() *Value { return e.op("Add", nil, e.op("Mul", nil, product, scalar(gamma)), scalar(coef0)) }
	switch kernel := n.Text("kernel_type", "LINEAR"); kernel {
	case "LINEAR":
		return product, nil
	case "POLY":
		return e.op("Pow", nil, scaled(), scalar(degree)), nil
	case "SIGMOID":
		return e.op("Tanh", nil, scaled()), nil
	case "RBF": // exp(−γ‖x−s‖²), by differences: squares of lengths would cancel
		d := e.op("Sub", nil, e.op("Unsqueeze", nil, x, ints(1)), s)
		square := e.op("ReduceSum", Attrs{"keepdims": int64(0)}, e.op("Mul", nil, d, d), ints(2))
		return e.op("Exp", nil, e.op("Mul", nil, square, scalar(-gamma))), nil
	default:
		return nil, fmt.Errorf("kernel_type %q is not supported", kernel)
	}
}

// mlArrayFeatureExtractor takes elements of the last axis; a vector is one row.
func mlArrayFeatureExtractor(e *emitter, n *Node) error {
	if err := need(n, 2); err != nil {
		return err
	}
	x := n.In[0]
	if e.rank(x) == 1 {
		x = e.op("Unsqueeze", nil, x, ints(0))
	}
	n.become("Gather", Attrs{"axis": int64(-1)}, x, e.op("Reshape", nil, n.In[1], ints(-1)))
	return nil
}
