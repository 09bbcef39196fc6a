package onnxgo

import (
	"errors"
	"fmt"
	"math"

	"github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// DefaultOpset is the opset of ai.onnx that a model is read in where neither WithModel nor WithOpset says.
const DefaultOpset = 13

var _ backend.ComputationBackend = (*Backend)(nil)

type directed = graph.Directed

// Backend is an onnx.Backend and a backend.ComputationBackend of onnx-go that runs on ONNX Runtime. It holds one model.
//
// As a graph it has an edge from every value to each of those that it is computed from, as onnx-go draws them.
type Backend struct {
	directed
	topology *simple.WeightedDirectedGraph

	rt     *runtime.Runtime
	source *graphs.Graph // of the file, nil without
	opset  int64
	stated bool // opset was stated

	nodes   []*node
	first   int64                // number of the first node that is a result
	pending []graph.WeightedEdge // operands of the next operation, for each of its outputs
	ops     []operation
	err     error // of the calls that return none

	rebuilt  *graphs.Graph
	programs []*program
	closed   bool
}

// operation is a recorded call of ApplyOperation.
type operation struct {
	op      onnx.Operation
	in, out []*node
}

// Option tells a Backend what onnx-go does not.
type Option func(*Backend) error

// WithModel gives the file that onnx-go is to decode. External data is an error: use WithModelFile.
func WithModel(file []byte) Option {
	return func(b *Backend) (err error) {
		b.source, _, err = graphs.Decode(file, "")
		return err
	}
}

// WithModelFile is WithModel for a file on disk. External data is looked for in its folder.
func WithModelFile(path string) Option {
	return func(b *Backend) (err error) {
		b.source, _, err = graphs.ReadFile(path)
		return err
	}
}

// WithOpset states the opset of ai.onnx of the model. A file given by WithModel states it itself.
func WithOpset(n int64) Option {
	return func(b *Backend) error {
		if n < graphs.MinReadOpset || n > graphs.MaxReadOpset {
			return fmt.Errorf("opset %d: must be %d to %d", n, graphs.MinReadOpset, graphs.MaxReadOpset)
		}
		b.opset, b.stated = n, true
		return nil
	}
}

// New makes an empty backend, to be given to onnx.NewModel.
func New(rt *runtime.Runtime, options ...Option) (*Backend, error) {
	g := simple.NewWeightedDirectedGraph(0, 0)
	b := &Backend{directed: g, topology: g, rt: rt, opset: DefaultOpset, first: math.MaxInt64}
	for _, o := range options {
		if err := o(b); err != nil {
			return nil, fmt.Errorf("onnxgo: %w", err)
		}
	}
	return b, nil
}

// NewNode implements graph.NodeAdder. Nodes are numbered from 0: Model.SetInput of onnx-go takes an input's index for its number.
func (b *Backend) NewNode() graph.Node {
	return &node{backend: b, id: int64(len(b.nodes))}
}

// AddNode implements graph.NodeAdder for nodes of NewNode; another makes Run fail.
func (b *Backend) AddNode(n graph.Node) {
	own, ok := n.(*node)
	if !ok || own.backend != b || own.id != int64(len(b.nodes)) {
		b.fail(fmt.Errorf("node %d was not made by the backend's last NewNode", n.ID()))
		return
	}
	b.nodes = append(b.nodes, own)
	b.topology.AddNode(own)
}

// NewWeightedEdge implements graph.WeightedEdgeAdder.
func (b *Backend) NewWeightedEdge(from, to graph.Node, weight float64) graph.WeightedEdge {
	return simple.WeightedEdge{F: from, T: to, W: weight}
}

// SetWeightedEdge implements graph.WeightedEdgeAdder: to is operand number weight of the coming operation, one of whose results is from.
// It is the call that counts: a graph has one edge from a node to another, an operation may have the same operand twice.
func (b *Backend) SetWeightedEdge(e graph.WeightedEdge) {
	b.pending = append(b.pending, e)
	if e.From().ID() != e.To().ID() {
		b.topology.SetWeightedEdge(e)
	}
}

// ApplyOperation implements onnx.OperationCarrier.
func (b *Backend) ApplyOperation(o onnx.Operation, results ...graph.Node) error {
	edges := b.pending
	b.pending = nil
	if len(results) == 0 || len(edges)%len(results) != 0 {
		return fmt.Errorf("onnxgo: %s has %d results and %d edges", o.Name, len(results), len(edges))
	}
	rec := operation{op: o}
	for i, e := range edges[:len(edges)/len(results)] {
		n, ok := e.To().(*node)
		if !ok || e.Weight() != float64(i) {
			return fmt.Errorf("onnxgo: %s: operand %d is not an edge to a node of this backend", o.Name, i)
		}
		rec.in = append(rec.in, n)
	}
	for _, r := range results {
		n, ok := r.(*node)
		if !ok {
			return fmt.Errorf("onnxgo: %s: a result is not a node of this backend", o.Name)
		}
		n.produced = true
		b.first = min(b.first, n.id)
		rec.out = append(rec.out, n)
	}
	b.ops = append(b.ops, rec)
	b.rebuilt = nil
	return nil
}

func (b *Backend) fail(err error) { b.err = errors.Join(b.err, err) }

// Close gives back compiled programs. Closing twice is harmless.
func (b *Backend) Close() error {
	var errs []error
	for _, p := range b.programs {
		errs = append(errs, p.close())
	}
	b.programs, b.closed = nil, true
	return errors.Join(errs...)
}
