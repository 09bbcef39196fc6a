package graphs

import "fmt"

// The fused ops that ONNX Runtime's own optimiser writes into files, by their definitions in its ContribOperators.md.

// msGelu: Gelu(x), BiasGelu(x, b) and FastGelu(x, b) are Gelu of x or of x+b.
func msGelu(approximate string) func(*emitter, *Node) error {
	return func(e *emitter, n *Node) error {
		if err := need(n, 1); err != nil {
			return err
		}
		x := n.In[0]
		if b := n.Input(1); b != nil {
			x = e.op("Add", nil, x, b)
		}
		n.become("Gelu", Attrs{"approximate": approximate}, x)
		return nil
	}
}

// msQuickGelu: x·σ(αx).
func msQuickGelu(e *emitter, n *Node) error {
	if err := need(n, 1); err != nil {
		return err
	}
	x := n.In[0]
	s := e.op("Sigmoid", nil, e.op("Mul", nil, x, e.scalarLike(x, n.Float("alpha", 1.702))))
	n.become("Mul", nil, x, s)
	return nil
}

// msFusedMatMul: α·op(A)·op(B).
func msFusedMatMul(e *emitter, n *Node) error {
	if err := need(n, 2); err != nil {
		return err
	}
	if n.Int("transBatchA", 0) != 0 || n.Int("transBatchB", 0) != 0 {
		return fmt.Errorf("transBatchA and transBatchB are not supported")
	}
	a, b := n.In[0], n.In[1]
	if n.Int("transA", 0) != 0 {
		a = e.transposeMatrix(a)
	}
	if n.Int("transB", 0) != 0 {
		b = e.transposeMatrix(b)
	}
	alpha := n.Float("alpha", 1)
	if alpha == 1 {
		n.become("MatMul", nil, a, b)
		return nil
	}
	n.become("Mul", nil, e.op("MatMul", nil, a, b), e.scalarLike(a, alpha))
	return nil
}

// transposeMatrix swaps the last two axes. A vector stays as it is.
func (e *emitter) transposeMatrix(v *Value) *Value {
	r := e.rank(v)
	switch {
	case r < 0:
		return e.op("Einsum", Attrs{"equation": "...ij->...ji"}, v)
	case r < 2:
		return v
	}
	perm := make([]int64, r)
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[r-2], perm[r-1] = perm[r-1], perm[r-2]
	return e.op("Transpose", Attrs{"perm": perm}, v)
}

// fusedParameters names the parameters of the activations that FusedGemm takes, in the order activation_alpha, activation_beta.
var fusedParameters = map[string][]string{
	"Relu": nil, "Sigmoid": nil, "Tanh": nil, "Softplus": nil, "Softsign": nil,
	"LeakyRelu": {"alpha"}, "Elu": {"alpha"}, "HardSigmoid": {"alpha", "beta"},
}

// msFusedGemm: activation(Gemm(A, B, C)).
func msFusedGemm(e *emitter, n *Node) error {
	if err := need(n, 2); err != nil {
		return err
	}
	activation := n.Text("activation", "")
	parameters, ok := fusedParameters[activation]
	if !ok {
		return fmt.Errorf("activation %q is not supported", activation)
	}
	gemm, attrs := Attrs{}, Attrs{}
	for _, name := range []string{"alpha", "beta", "transA", "transB"} {
		if v, ok := n.Attrs[name]; ok {
			gemm[name] = v
		}
	}
	for i, name := range parameters {
		if v, ok := n.Attrs[[]string{"activation_alpha", "activation_beta"}[i]]; ok {
			attrs[name] = v
		}
	}
	n.become(activation, attrs, e.op("Gemm", gemm, n.In...))
	return nil
}

// msSkipLayerNorm: LayerNormalization(x + skip + bias)·γ + β over the last axis; the fourth output is the sum.
func msSkipLayerNorm(e *emitter, n *Node) error {
	if err := need(n, 3); err != nil {
		return err
	}
	sum := e.op("Add", nil, n.In[0], n.In[1])
	if bias := n.Input(4); bias != nil {
		sum = e.op("Add", nil, sum, bias)
	}
	norm := Attrs{"axis": int64(-1), "epsilon": n.Float("epsilon", 1e-12)}
	in := trimValues([]*Value{sum, n.In[2], n.Input(3)})
	if len(n.Out) > 3 {
		e.opTo(n.Out[:3], "LayerNormalization", norm, in...)
		n.Out[3], n.Op = sum, ""
		return nil
	}
	n.become("LayerNormalization", norm, in...)
	return nil
}
