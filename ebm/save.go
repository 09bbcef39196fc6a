package ebm

import (
	"fmt"
	"maps"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// SavedGraph is the energy graph with the present parameter values and metadata added to its own. Its tensors are the store's memory, not copies:
// write it before parameters change.
func (e *Energy) SavedGraph(metadata map[string]string) (*graphs.Graph, error) {
	tensors := map[string]*graphs.Tensor{}
	for _, q := range e.params.List {
		tensors[q.Name] = graphs.NewTensor(e.params.Of(q), q.Shape...)
	}
	g, err := graphs.WithTensors(e.source, tensors)
	if err != nil {
		return nil, fmt.Errorf("ebm: %w", err)
	}
	if g.Metadata == nil {
		g.Metadata = map[string]string{}
	}
	maps.Copy(g.Metadata, metadata)
	return g, nil
}

// Save writes the energy as a plain .onnx file (input x, output energy) that appears whole or not at all.
func (e *Energy) Save(path string, metadata map[string]string) error {
	g, err := e.SavedGraph(metadata)
	if err != nil {
		return err
	}
	return graphs.WriteFile(path, g, graphs.WriteOptions{Producer: Producer})
}

// Producer is the producer_name of written files.
const Producer = "onnx-ebm"
