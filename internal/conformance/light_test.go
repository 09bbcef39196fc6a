package conformance

import (
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// light reads the image classifiers of ONNX's backend tests, by name: AlexNet to DenseNet, with weights that are one number repeated.
func light(t testing.TB) map[string][]byte {
	files := map[string][]byte{}
	eachArchived(t, func(name string, data []byte) {
		if strings.Contains(name, "/light/") && strings.HasSuffix(name, ".onnx") {
			files[strings.TrimSuffix(strings.TrimPrefix(path.Base(name), "light_"), ".onnx")] = data
		}
	})
	return files
}

// classifierEnergy reads a classifier as E = −log Σ exp(gain·logits), [N], with random weights of variance 2/fan-in in place of its own;
// scales and variances are near 1.
func classifierEnergy(t testing.TB, name string, model []byte, gain float64) *graphs.Graph {
	g, _, err := graphs.Decode(model, "")
	require.NoError(t, err)
	h := fnv.New64a()
	h.Write([]byte(name))
	r := rand.New(rand.NewPCG(h.Sum64(), 1))
	by := map[*graphs.Value]*graphs.Value{}
	b := graphs.NewBuilder(name)
	positive := map[*graphs.Value]bool{}
	for _, n := range g.Nodes {
		switch n.Op {
		case "BatchNormalization":
			positive[n.In[1]], positive[n.In[4]] = true, true
		case "Mul": // of a scale [C, 1, 1]
			if n.In[1].Node != nil && n.In[1].Node.Op == "Unsqueeze" {
				positive[n.In[1].Node.In[0]] = true
			}
		}
	}
	x := g.Inputs[0]
	x.Name = gradients.X
	b.AddInput(x)
	rest := *g
	rest.Nodes = nil
	for _, n := range g.Nodes {
		if n.Op != "ConstantOfShape" {
			rest.Nodes = append(rest.Nodes, n)
			continue
		}
		dims, ok := n.In[0].ConstInts()
		require.True(t, ok)
		by[n.Out[0]] = b.Param("w/"+n.Out[0].Name, randomWeight(r, dims, positive[n.Out[0]]))
	}
	y := b.Splice(&rest, by)[0]
	for y.Node != nil && y.Node.Op == "Softmax" {
		y = y.Node.In[0]
	}
	if y.Rank() > 2 {
		y = b.Op("Flatten", nil, y)
	}
	y = b.Op("Mul", nil, y, b.Float(gain))
	e := b.Op("Neg", nil, b.Op("ReduceLogSumExp", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(1)))
	energy, err := b.Graph(graphs.Output{Name: gradients.EnergyName, Value: e})
	require.NoError(t, err)
	return energy
}

// spread is the standard deviation of the classifier's logits at x.
func spread(t testing.TB, g *graphs.Graph, x *graphs.Array) float64 {
	logits := *g
	logits.Outputs = []graphs.Output{{Name: "logits", Value: g.Outputs[0].Value.Node.In[0].Node.In[0]}}
	out, err := graphs.Evaluate(&logits, map[string]*graphs.Array{gradients.X: x})
	require.NoError(t, err)
	_, deviation := stat.MeanStdDev(out["logits"].F, nil)
	return deviation
}

func randomWeight(r *rand.Rand, dims []int64, positive bool) *graphs.Tensor {
	size, fan := int64(1), int64(1)
	for i, d := range dims {
		size *= d
		if i > 0 {
			fan *= d
		}
	}
	w := make([]float32, size)
	scale := math.Sqrt(2 / float64(fan))
	if len(dims) == 1 {
		scale = 0.002
	}
	for i := range w {
		w[i] = float32(scale * r.NormFloat64())
		if positive {
			w[i] = 1 + 20*w[i]
		}
	}
	return graphs.NewTensor(w, dims...)
}

// smallLight are the classifiers that every run of the tests takes; the others need the tag slow.
var smallLight = []string{"squeezenet", "shufflenet"}

// TestLightModels: gradient and Hessian-vector product of the classifiers, run by ONNX Runtime, agree with finite differences of the float64
// evaluator on a few coordinates.
func TestLightModels(t *testing.T) {
	rt := openRuntime(t)
	files := light(t)
	require.Len(t, files, 9)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !slow && !slices.Contains(smallLight, name) {
			continue
		}
		t.Run(name, func(t *testing.T) { checkLight(t, rt, name, files[name]) })
	}
}

func checkLight(t *testing.T, rt *runtime.Runtime, name string, model []byte) {
	g := classifierEnergy(t, name, model, 1)
	item := g.Inputs[0].Shape()[1:].Ints()
	dims := []int{1}
	size := 1
	for _, d := range item {
		dims, size = append(dims, int(d)), size*int(d)
	}
	r := rand.New(rand.NewPCG(5, 6))
	x, v := make([]float64, size), make([]float64, size)
	for i := range x {
		x[i] = float64(float32(r.NormFloat64()))
	}
	pixel := r.IntN(size)
	v[pixel] = 1
	// Logits of deviation 2 keep the curvature of the logarithm away from both ends.
	g = classifierEnergy(t, name, model, 2/spread(t, g, &graphs.Array{DType: graphs.Float32, Dims: dims, F: x}))
	all, err := gradients.Derive(g, gradients.Energy|gradients.Gradient|gradients.HVP)
	require.NoError(t, err)
	require.NoError(t, graphs.Check(all))
	got := runProgram(t, rt, all, item, map[string][]float64{"x": x, "v": v})
	grad, hvp := got[gradients.GradientName], got[gradients.HVPName]

	energy := func(i int, h float64) float64 {
		moved := slices.Clone(x)
		moved[i] += h
		out, err := graphs.Evaluate(g, map[string]*graphs.Array{"x": {DType: graphs.Float32, Dims: dims, F: moved}})
		require.NoError(t, err)
		return out[gradients.EnergyName].F[0]
	}
	scale := 0.0
	for _, y := range grad {
		scale = max(scale, math.Abs(y))
	}
	require.Greater(t, scale, 1e-9)
	const h = 1e-4
	for range 3 {
		i := r.IntN(size)
		require.InDelta(t, (energy(i, h)-energy(i, -h))/(2*h), grad[i], 1e-3*scale, "gradient[%d]", i)
	}
	first, err := gradients.Derive(g, gradients.Gradient)
	require.NoError(t, err)
	gradient := func(h float64) []float64 {
		moved := slices.Clone(x)
		moved[pixel] += h
		out, err := graphs.Evaluate(first, map[string]*graphs.Array{"x": {DType: graphs.Float32, Dims: dims, F: moved}})
		require.NoError(t, err)
		return out[gradients.GradientName].F
	}
	const hv = 5e-6 // and one pixel: a kink of any of millions of units on the way would count as curvature
	up, down := gradient(hv), gradient(-hv)
	out, err := graphs.Evaluate(all, map[string]*graphs.Array{"x": {DType: graphs.Float32, Dims: dims, F: x}, "v": {DType: graphs.Float32, Dims: dims, F: v}})
	require.NoError(t, err)
	exact := out[gradients.HVPName].F
	for i := range up {
		up[i] = (up[i] - down[i]) / (2 * hv)
	}
	norm := floats.Norm(exact, 2)
	require.Greater(t, norm, 1e-10)
	differences, single := floats.Distance(up, exact, 2)/norm, floats.Distance(hvp, exact, 2)/norm
	t.Logf("%d nodes, derivatives %d; of Hv differ: finite differences %.1e, ONNX Runtime's float32 %.1e", g.CountNodes(), all.CountNodes(), differences, single)
	require.Less(t, differences, 1e-3)
	require.Less(t, single, 2e-2)
}

// runProgram runs a graph of one item in ONNX Runtime.
func runProgram(t testing.TB, rt *runtime.Runtime, g *graphs.Graph, item []int64, feeds map[string][]float64) map[string][]float64 {
	g, err := gradients.Finalize(g, 21)
	require.NoError(t, err)
	raw, err := graphs.Encode(g, graphs.WriteOptions{MaxOpset: 21, ValueInfo: true})
	require.NoError(t, err)
	m := runtime.Model{Name: g.Name, Bytes: raw}
	for _, v := range g.Inputs {
		m.Inputs = append(m.Inputs, runtime.Port{Name: v.Name, Item: item})
	}
	for _, o := range g.Outputs {
		shape := o.Value.Shape()[1:]
		port := runtime.Port{Name: o.Name, Item: shape.Ints()}
		if !shape.IsStatic() {
			port.Item = item
		}
		m.Outputs = append(m.Outputs, port)
	}
	p, err := rt.Compile(m)
	require.NoError(t, err)
	defer p.Close()
	b, err := p.Bind(1, runtime.BindOptions{})
	require.NoError(t, err)
	defer b.Close()
	for name, f := range feeds {
		for i, y := range f {
			b.In(name)[i] = float32(y)
		}
	}
	require.NoError(t, b.Run(t.Context()))
	out := map[string][]float64{}
	for _, o := range g.Outputs {
		for _, y := range b.Out(o.Name) {
			out[o.Name] = append(out[o.Name], float64(y))
		}
	}
	return out
}
