package main

import (
	"fmt"
	"maps"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/ebm/train"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/samplers"
)

// labelled tells whether training regards the classes of the data.
func (o trainOptions) labelled() bool { return o.byClass || o.crossEntropy > 0 }

// labelText is what a resumed run must have in common.
func (o trainOptions) labelText() string {
	return fmt.Sprintf("by class %v, cross-entropy %v", o.byClass, o.crossEntropy)
}

// joint makes of an energy with classes that of items and weights of classes, with the same parameters.
func (o trainOptions) joint(m *model, ds data.Dataset) (*model, int, error) {
	logits, err := models.Logits(m.graph)
	if err != nil {
		return nil, 0, fmt.Errorf("--by-class and --cross-entropy: %s: %w", o.model, err)
	}
	if x := logits.Inputs[0]; itemIsFixed(logits) && product(x.Shape()[1:].Ints()) != data.Size(ds) {
		return nil, 0, fmt.Errorf("%s has items of shape %s; the model takes %s", o.data, shapeText(ds.Shape()), batchText(x.Shape()[1:].Ints()))
	}
	g, err := models.Joint(logits)
	if err != nil {
		return nil, 0, err
	}
	return &model{text: m.text, graph: g, checked: m.checked}, int(logits.Outputs[0].Value.Shape()[1].Size), nil
}

// jointData are labelled data as the joint energy takes them.
func jointData(text string, ds data.Dataset, classes int) (data.Dataset, error) {
	l, ok := ds.(data.Labelled)
	if !ok {
		return nil, fmt.Errorf("%s has no classes, which --by-class and --cross-entropy need: see DATA in train --help", text)
	}
	j, err := data.Joint(l, classes, models.OnlyClass)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	return j, nil
}

// labelledLoss makes the loss of items, seen by class or not, and adds the cross-entropy. Chains carry the weights of their class with
// them, or have none.
func (o trainOptions) labelledLoss(chains *train.Chains, sample []float32, dim, classes int) (losses.Loss, error) {
	if o.byClass {
		chains.Held = classes
	} else {
		chains.Target = samplers.Hold(chains.Target, make([]float32, classes))
	}
	of, err := o.makeLoss(chains, sample, dim)
	if err != nil {
		return nil, err
	}
	if c, ok := of.(*losses.Contrastive); ok && o.byClass {
		tails := make([][]float32, classes)
		for k := range tails {
			tails[k] = make([]float32, classes)
			models.OnlyClass(tails[k], k)
		}
		c.Init = losses.Tailed{Of: c.Init, Tails: tails}
		if c.Buffer != nil {
			c.Buffer.Init = c.Init
		}
	}
	return &losses.Labelled{Of: of, Classes: classes, ByClass: o.byClass, CrossEntropy: o.crossEntropy}, nil
}

// trainedGraph is the graph g with the parameters that e has now, and metadata.
func trainedGraph(e *ebm.Energy, g *graphs.Graph, metadata map[string]string) (*graphs.Graph, error) {
	tensors := map[string]*graphs.Tensor{}
	for _, p := range e.Store().List {
		tensors[p.Name] = graphs.NewTensor(e.Store().Of(p), p.Shape...)
	}
	out, err := graphs.WithTensors(g, tensors)
	if err != nil {
		return nil, err
	}
	out.Metadata = maps.Clone(out.Metadata)
	if out.Metadata == nil {
		out.Metadata = map[string]string{}
	}
	maps.Copy(out.Metadata, metadata)
	return out, nil
}
