package graphs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
)

// Opsets of ai.onnx that are read.
const (
	MinReadOpset = 6
	MaxReadOpset = 26
)

// FileInfo is what an ONNX file says of itself beside its graph.
type FileInfo struct {
	IRVersion       int64
	Opsets          map[string]int64 // by domain; "" is ai.onnx
	Producer        string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	Doc             string
	External        bool // some tensors lie in other files
}

// ReadFile reads an ONNX file. External data is looked for in the file's folder and beneath it only. Large data files are mapped, not read: their
// tensors take no memory of their own, and the file must not be cut off or changed in place while they are used (replacing it is harmless).
func ReadFile(path string) (*Graph, *FileInfo, error) {
	b, err := readModel(path)
	if err != nil {
		return nil, nil, fmt.Errorf("graphs: %w", err)
	}
	g, info, err := decodeModel(b, filepath.Dir(path))
	if err != nil {
		return nil, nil, fmt.Errorf("graphs: %s: %w", path, err)
	}
	return g, info, nil
}

func readModel(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case st.IsDir():
		return nil, fmt.Errorf("%s is a folder; name an .onnx file", path)
	case st.Size() > onnxpb.MaxSize:
		return nil, fmt.Errorf("%s: not an ONNX file: it holds %d bytes, an ONNX file at most 2 GiB (beside its external data)", path, st.Size())
	}
	b := make([]byte, 0, st.Size()+1)
	for {
		n, err := f.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case err == io.EOF:
			return b, nil
		case err != nil:
			return nil, err
		case len(b) > onnxpb.MaxSize:
			return nil, fmt.Errorf("%s: not an ONNX file: an ONNX file holds at most 2 GiB", path)
		case len(b) == cap(b):
			b = append(b, 0)[:len(b)]
		}
	}
}

// Decode reads an ONNX model from memory. Tensors alias b. External data is looked for in dir; where dir is empty it is an error.
//
// The graph is in the version-free form of the package: model-local functions are inlined, Identity nodes and Dropout at
// inference are gone, Constant nodes are Constant values, float initializers are parameters, nodes are in topological
// order, and ops of older opsets are rewritten to the forms of opset 18 (ops that are newer, to their newest form).
func Decode(b []byte, dir string) (*Graph, *FileInfo, error) {
	g, info, err := decodeModel(b, dir)
	if err != nil {
		return nil, nil, fmt.Errorf("graphs: %w", err)
	}
	return g, info, nil
}

func decodeModel(b []byte, dir string) (*Graph, *FileInfo, error) {
	m, err := onnxpb.Decode(b)
	if err != nil {
		return nil, nil, err
	}
	info := &FileInfo{
		IRVersion: m.IRVersion, Producer: m.ProducerName, ProducerVersion: m.ProducerVersion,
		Domain: m.Domain, ModelVersion: m.ModelVersion, Doc: m.DocString,
	}
	if info.Opsets, err = opsets(m.OpsetImport); err != nil {
		return nil, nil, err
	}
	r := &reader{files: externalFiles{dir: dir}, functions: map[functionID]*onnxpb.Function{}, facts: map[*Value]fact{}, params: map[string]int{}}
	defer r.files.close()
	for _, f := range m.Functions {
		r.functions[functionID{domainOf(f.Domain), f.Name, f.Overload}] = f
	}
	g, err := r.graph(m.Graph, nil, &context{opsets: info.Opsets})
	if err != nil {
		return nil, nil, err
	}
	if g.Doc == "" {
		g.Doc = m.DocString
	}
	if len(m.MetadataProps) > 0 {
		g.Metadata = make(map[string]string, len(m.MetadataProps))
		for _, p := range m.MetadataProps {
			g.Metadata[p.Key] = p.Value
		}
	}
	info.External = r.files.used
	return g, info, nil
}

// opsets returns the imported versions by domain and refuses those of ai.onnx that are not read.
func opsets(imports []*onnxpb.OperatorSetID) (map[string]int64, error) {
	v := map[string]int64{}
	for _, o := range imports {
		v[domainOf(o.Domain)] = o.Version
	}
	if n, ok := v[""]; ok && (n < MinReadOpset || n > MaxReadOpset) {
		return nil, fmt.Errorf("the file uses opset %d; opsets %d to %d are read: export it again with one of these", n, MinReadOpset, MaxReadOpset)
	}
	return v, nil
}

// domainOf normalises the two names of the standard domain.
func domainOf(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}
