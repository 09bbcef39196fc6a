package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// model is a MODEL of the command line, read.
type model struct {
	text    string
	graph   *graphs.Graph
	source  *graphs.Graph // what the graph was made of, nil for energy files and builtins
	checked bool          // its rows are known to be independent
}

// title heads pictures: a builtin's name. Files hold no paths, so others have none.
func (m *model) title() string {
	if models.IsBuiltin(m.text) {
		return m.text
	}
	return ""
}

// readModel reads a MODEL.
func readModel(text string) (*model, error) {
	if models.IsBuiltin(text) {
		m, err := models.Builtin(text)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			return nil, &usageError{err}
		}
		return &model{text: text, graph: m.Graph, checked: true}, nil
	}
	g, _, err := graphs.ReadFile(text)
	if err != nil {
		return nil, err
	}
	m := &model{text: text}
	if ebm.IsEnergy(g) {
		m.checked = g.Metadata[models.MetadataRole] == "energy"
	} else {
		m.source = g
	}
	if m.graph, err = ebm.AsEnergy(g); err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	return m, nil
}

// check proves that rows do not influence each other. Where that fails for a batch axis that was freed, the model keeps its batch size.
func (m *model) check(ctx context.Context, rt *runtime.Runtime, item []int64) error {
	err := ebm.CheckRows(ctx, rt, m.graph, item)
	if err == nil || m.source == nil {
		return err
	}
	kept, _, keptErr := ebm.Import(m.source, ebm.ImportOptions{KeepBatch: true})
	if keptErr != nil || !kept.Inputs[0].Shape()[0].IsStatic() {
		return err
	}
	if err := ebm.CheckRows(ctx, rt, kept, item); err != nil {
		return err
	}
	m.graph = kept
	return nil
}

// open makes an Energy of the model. item is the shape of the items it will
// see, used where the model leaves extents open; nil if there is none.
func (a *app) open(ctx context.Context, m *model, item []int, o ebm.Options) (*ebm.Energy, error) {
	rt, err := a.openRuntime()
	if err != nil {
		return nil, err
	}
	if item != nil && !itemIsFixed(m.graph) {
		o.Item = int64s(item)
		if x := m.graph.Inputs[0]; len(item) != x.Rank()-1 {
			return nil, fmt.Errorf("items of shape %s do not fit %s, which takes %v", shapeText(item), m.text, x.Shape())
		}
	}
	if !m.checked {
		if err := m.check(ctx, rt, o.Item); err != nil {
			return nil, fmt.Errorf("%s: %w", m.text, err)
		}
	}
	e, err := ebm.New(rt, m.graph, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.text, err)
	}
	return e, nil
}

// itemIsFixed tells whether the graph fixes all extents of an item.
func itemIsFixed(g *graphs.Graph) bool {
	return g.Inputs[0].Rank() > 0 && g.Inputs[0].Shape()[1:].IsStatic()
}
