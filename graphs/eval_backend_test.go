package graphs

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
)

const backendArchive = "../../shared/onnx-backend-v1.22.0.tar.gz"

// backendExcluded names the models whose expected outputs the evaluator must not reproduce, and their expansions into function bodies.
var backendExcluded = map[string]string{
	"test_cast_FLOAT_to_BFLOAT16":                        "the evaluator does not round",
	"test_castlike_FLOAT_to_BFLOAT16":                    "the evaluator does not round",
	"test_dynamicquantizelinear":                         "a quotient lies within a float32 rounding error of a tie",
	"test_resize_downsample_scales_cubic_align_corners":  "expects a fractional length of the result, where the specification's text and ONNX Runtime have the whole one",
	"test_resize_downsample_scales_linear_align_corners": "as above",
}

// backendCase is one model of ONNX's backend tests with its first data set.
type backendCase struct {
	model           []byte
	inputs, outputs map[int][]byte
}

// readBackend reads the node, simple and PyTorch models of the archive.
func readBackend(t *testing.T) map[string]*backendCase {
	f, err := os.Open(backendArchive)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("ONNX's backend archive is not beside the repository")
	}
	require.NoError(t, err)
	defer f.Close()
	gz, err := gzip.NewReader(f)
	require.NoError(t, err)
	cases := map[string]*backendCase{}
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return cases
		}
		require.NoError(t, err)
		parts := strings.Split(path.Clean(h.Name), "/")
		i := slices.IndexFunc(parts, func(s string) bool { return strings.HasPrefix(s, "test_") && !strings.HasPrefix(s, "test_data") })
		if i < 0 || h.Typeflag != tar.TypeReg || slices.Contains(parts, "real") {
			continue
		}
		c := cases[parts[i]]
		if c == nil {
			c = &backendCase{inputs: map[int][]byte{}, outputs: map[int][]byte{}}
			cases[parts[i]] = c
		}
		data, err := io.ReadAll(tr)
		require.NoError(t, err)
		var k int
		switch name := path.Base(h.Name); {
		case name == "model.onnx":
			c.model = data
		case !strings.Contains(h.Name, "test_data_set_0"):
		case scanned(fmt.Sscanf(name, "input_%d.pb", &k)):
			c.inputs[k] = data
		case scanned(fmt.Sscanf(name, "output_%d.pb", &k)):
			c.outputs[k] = data
		}
	}
}

func scanned(n int, err error) bool { return n == 1 && err == nil }

// decodeTensor reads a serialized TensorProto by wrapping it as the initializer of an otherwise empty model.
func decodeTensor(pb []byte) (*Tensor, error) {
	graph := protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), pb)
	model := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 8)
	model = protowire.AppendBytes(protowire.AppendTag(model, 7, protowire.BytesType), graph)
	m, err := onnxpb.Decode(model)
	if err != nil {
		return nil, err
	}
	return (&reader{}).tensor(m.Graph.Initializer[0])
}

func decodeArray(pb []byte) (*Array, error) {
	t, err := decodeTensor(pb)
	if err != nil {
		return nil, err
	}
	return ArrayOf(t)
}

// errNotCovered marks a model that the test cannot judge, and says why.
type errNotCovered struct{ why string }

func (e errNotCovered) Error() string { return e.why }

// run evaluates the model and compares its outputs.
func (c *backendCase) run() error {
	g, _, err := Decode(c.model, "")
	if err != nil {
		return errNotCovered{"reader: " + err.Error()}
	}
	for _, op := range slices.Sorted(maps.Keys(g.Ops())) {
		if !CanEvaluate(op) {
			return errNotCovered{"op " + op}
		}
	}
	feeds := map[string]*Array{}
	for i, in := range g.Inputs {
		if c.inputs[i] == nil {
			return errNotCovered{"data: an input is missing"}
		}
		a, err := decodeArray(c.inputs[i])
		if err != nil {
			return errNotCovered{"data: " + err.Error()}
		}
		feeds[in.Name] = a
	}
	got, err := Evaluate(g, feeds)
	var opErr *OpError
	if errors.As(err, &opErr) {
		return errNotCovered{opErr.Error()}
	}
	if err != nil {
		return err
	}
	for i, o := range g.Outputs {
		if c.outputs[i] == nil {
			return errNotCovered{"data: an output is missing"}
		}
		want, err := decodeArray(c.outputs[i])
		if err != nil {
			return errNotCovered{"data: " + err.Error()}
		}
		if err := compareArrays(want, got[o.Name], 1e-3, 1e-5); err != nil {
			return fmt.Errorf("output %q: %w", o.Name, err)
		}
	}
	return nil
}

// Every model of ONNX's own backend tests whose ops are covered gives the expected outputs.
func TestEvaluateBackend(t *testing.T) {
	cases := readBackend(t)
	passed, excluded := 0, 0
	skipped := map[string]int{}
	var failed []string
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		if _, ok := backendExcluded[strings.TrimSuffix(name, "_expanded")]; ok {
			excluded++
			continue
		}
		err := cases[name].run()
		var skip errNotCovered
		switch {
		case err == nil:
			passed++
		case errors.As(err, &skip):
			why, _, _ := strings.Cut(skip.why, " (")
			skipped[why]++
		default:
			failed = append(failed, name+": "+err.Error())
		}
	}
	total := 0
	for _, n := range skipped {
		total += n
	}
	t.Logf("%d passed, %d not covered, %d excluded, %d failed of %d models", passed, total, excluded, len(failed), len(cases))
	reasons := slices.Collect(maps.Keys(skipped))
	sort.Slice(reasons, func(i, j int) bool {
		if skipped[reasons[i]] != skipped[reasons[j]] {
			return skipped[reasons[i]] > skipped[reasons[j]]
		}
		return reasons[i] < reasons[j]
	})
	for _, why := range reasons {
		t.Logf("%4d not covered: %s", skipped[why], why)
	}
	// A reader that refuses more, or a kernel that is lost, must not pass as "not covered".
	require.GreaterOrEqual(t, passed, 1500)
	for _, f := range failed {
		t.Error(f)
	}
}
