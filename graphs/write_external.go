package graphs

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
	"github.com/onnx-ebm/onnx-ebm/internal/atomicfile"
)

// InlineLimit is the number of bytes of initializers up to which a model is written as one file: below the 2 GiB that protobuf reads, with room for
// the nodes.
const InlineLimit = 1800 << 20

const (
	leastExternal = 64 << 10 // bytes of a tensor that is worth a place in the data file
	dataAlignment = 4096     // of tensors in it, so that a runtime can map them
)

// DataName is the name of the data file of a model: beside it, its name with ".data" added.
func DataName(path string) string { return path + ".data" }

// NeedsData reports whether the initializers of g are too large for one file under the given options.
func NeedsData(g *Graph, o WriteOptions) bool {
	limit := o.InlineLimit
	if limit == 0 {
		limit = InlineLimit
	}
	total := int64(0)
	if !o.ParamsAsInputs {
		for _, v := range g.Params() {
			total += int64(len(v.Tensor.Raw))
		}
	}
	for _, v := range g.Constants() {
		total += int64(len(v.Tensor.Raw))
	}
	return total > limit
}

// moveData writes large initializers to data, each at a multiple of dataAlignment, and leaves references to them.
func moveData(m *onnxpb.Model, location string, data io.Writer) error {
	offset := int64(0)
	for _, t := range m.Graph.Initializer {
		if len(t.RawData) < leastExternal {
			continue
		}
		gap := -offset & (dataAlignment - 1)
		if _, err := data.Write(make([]byte, gap)); err != nil {
			return err
		}
		if _, err := data.Write(t.RawData); err != nil {
			return err
		}
		offset += gap
		size := len(t.RawData)
		*t = onnxpb.Tensor{Name: t.Name, Dims: t.Dims, DataType: t.DataType, DataLocation: onnxpb.External, ExternalData: []*onnxpb.StringStringEntry{
			{Key: "location", Value: location}, {Key: "offset", Value: strconv.FormatInt(offset, 10)}, {Key: "length", Value: strconv.Itoa(size)},
		}}
		offset += int64(size)
	}
	return nil
}

// Stage writes g among the outputs of a set, to a path that the set has already as w: a model whose initializers are larger than the limit gets a
// data file beside it (DataName), which appears with it.
func Stage(set *atomicfile.Set, path string, w io.Writer, g *Graph, o WriteOptions) error {
	m, err := model(g, o)
	if err != nil {
		return fmt.Errorf("graphs: %w", err)
	}
	if NeedsData(g, o) {
		name := DataName(path)
		data, err := set.Add(name)
		if err != nil {
			return fmt.Errorf("graphs: the model needs a file for its data beside it: %w", err)
		}
		if err := moveData(m, filepath.Base(name), data); err != nil {
			return fmt.Errorf("graphs: write external data: %w", err)
		}
	}
	if err := onnxpb.Write(w, m); err != nil {
		return fmt.Errorf("graphs: write model: %w", err)
	}
	return nil
}
