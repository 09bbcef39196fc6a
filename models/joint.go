package models

import (
	"fmt"
	"maps"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Classifier is the network of Network before its classes are summed: the graph from x [N, D…] to logits [N, K], K from the key
// classes, which must be at least 2. It has the parameters of Network with the same text and key; −logsumexp of it is that energy.
func Classifier(text string, item []int64, key rng.Key) (*graphs.Graph, error) {
	m, err := buildNetwork(text, item, key)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	if m.classes < 2 {
		return nil, fmt.Errorf("models: %s: a classifier needs classes=K with K of at least 2", text)
	}
	g, err := m.Graph(graphs.Output{Name: logits, Value: m.last})
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	g.Metadata = map[string]string{MetadataModel: m.text}
	return g, nil
}

// logits names the value f of a network with classes.
const logits = "logits"

// Logits is the classifier x [N, D…] → f [N, K] inside an energy −log Σₖ exp fₖ: of Network with classes, or imported with
// neglogsumexp. It shares its parameters' values. The energy of an item given class y is −f_y.
func Logits(energy *graphs.Graph) (*graphs.Graph, error) {
	name := energy.Metadata[MetadataLogits]
	for _, n := range energy.Nodes {
		for _, v := range n.Out {
			if name == "" || v.Name != name {
				continue
			}
			b := graphs.NewBuilder(energy.Name)
			for _, in := range energy.Inputs {
				b.AddInput(in)
			}
			g, err := b.Graph(graphs.Output{Name: logits, Value: b.Splice(&graphs.Graph{Nodes: energy.Nodes, Outputs: []graphs.Output{{Value: v}}}, nil)[0]})
			if err != nil {
				return nil, fmt.Errorf("models: %w", err)
			}
			g.Metadata = maps.Clone(energy.Metadata)
			return g, nil
		}
	}
	return nil, fmt.Errorf("models: the energy has no classes: make it of a network with classes=K, or import a classifier with --as neglogsumexp")
}

// Joint makes of a classifier, x [N, D…] → logits f [N, K], the energy of an item and weights of classes,
//
//	E(x, t) = −log Σₖ exp(fₖ(x) + tₖ),
//
// with items [D + K]: the values of x, then t. With t = 0 it is the energy of x of a classifier read as an energy (Grathwohl et al.,
// ICLR 2020); with t = 0 at class y and very negative elsewhere (see OnlyClass) it is −f_y(x), the energy of x given the class. The
// difference of the two is −log p(y | x), and −∂E/∂t is p(· | x), so that cross-entropy, too, is a loss of energies.
func Joint(classifier *graphs.Graph) (*graphs.Graph, error) {
	if len(classifier.Inputs) != 1 || len(classifier.Outputs) != 1 {
		return nil, fmt.Errorf("models: joint: the classifier has %d inputs and %d outputs; it needs one of each", len(classifier.Inputs), len(classifier.Outputs))
	}
	x, f := classifier.Inputs[0], classifier.Outputs[0].Value
	if x.Rank() < 2 || !x.Shape()[1:].IsStatic() || f.Rank() != 2 || !f.Shape()[1:].IsStatic() {
		return nil, fmt.Errorf("models: joint: the classifier takes %v and gives %v; it needs items of known shape and logits [N, K]", x.Shape(), f.Shape())
	}
	item := x.Shape()[1:].Ints()
	d := int64(1)
	for _, n := range item {
		d *= n
	}
	k := f.Shape()[1].Size
	b := graphs.NewBuilder("energy")
	in := b.Input("x", x.Type.DType, graphs.Shape{graphs.Symbol("N"), graphs.Static(d + k)})
	part := func(from, to int64) *graphs.Value {
		return b.Op("Slice", nil, in, b.Ints(from), b.Ints(to), b.Ints(1))
	}
	of := part(0, d)
	if len(item) > 1 {
		of = b.Op("Reshape", nil, of, b.Ints(append([]int64{-1}, item...)...))
	}
	f = b.Splice(classifier, map[*graphs.Value]*graphs.Value{x: of})[0]
	g, err := finish(b, b.Op("Neg", nil, logSumExp(b, b.Op("Add", nil, f, part(d, d+k)))), classifier.Metadata[MetadataModel])
	if err != nil {
		return nil, fmt.Errorf("models: joint: %w", err)
	}
	own := maps.Clone(classifier.Metadata)
	maps.Copy(own, g.Metadata)
	delete(own, MetadataLogits)
	g.Metadata = own
	return g, nil
}

// ruledOut is a log weight that no logit makes up for.
const ruledOut = -1e4

// OnlyClass sets the weights t of Joint to those of one class.
func OnlyClass(t []float32, class int) {
	for k := range t {
		t[k] = ruledOut
	}
	t[class] = 0
}
