package conformance

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
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

// classifierEnergy reads a classifier as E = −log Σ exp(logits), [N], with random weights of variance 2/fan-in in place of its own. Sizes of
// statistics that must be positive, in the classifiers' order scale, shift, mean, variance, are 1 with a little noise.
func classifierEnergy(t testing.TB, name string, model []byte) *graphs.Graph {
	g, _, err := graphs.Decode(model, "")
	require.NoError(t, err)
	h := fnv.New64a()
	h.Write([]byte(name))
	r := rand.New(rand.NewPCG(h.Sum64(), 1))
	by := map[*graphs.Value]*graphs.Value{}
	b := graphs.NewBuilder(name)
	positive := map[*graphs.Value]bool{}
	for _, n := range g.Nodes {
		if n.Op == "BatchNormalization" {
			positive[n.In[1]], positive[n.In[4]] = true, true
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
	e := b.Op("Neg", nil, b.Op("ReduceLogSumExp", graphs.Attrs{"keepdims": int64(0)}, y, b.Ints(1)))
	energy, err := b.Graph(graphs.Output{Name: gradients.EnergyName, Value: e})
	require.NoError(t, err)
	return energy
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
		scale = 0.1
	}
	for i := range w {
		w[i] = float32(scale * r.NormFloat64())
		if positive {
			w[i] = 1 + w[i]/4
		}
	}
	return graphs.NewTensor(w, dims...)
}
