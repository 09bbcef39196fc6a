package onnxpb

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

func sample() *Model {
	axis := &Attribute{Name: "axis", Type: AttrInt}
	axis.Mark(FieldI)
	zero := &Dim{}
	zero.Mark(FieldDimValue)
	return &Model{
		IRVersion: 8, ProducerName: "test", DocString: "doc",
		OpsetImport:   []*OperatorSetID{{Version: 18}, {Domain: "custom", Version: 1}},
		MetadataProps: []*StringStringEntry{{Key: "k", Value: "v"}},
		Functions:     []*Function{{Name: "f", Domain: "custom", Input: []string{"a"}, Output: []string{"b"}, Attribute: []string{"alpha"}}},
		Graph: &Graph{
			Name: "g",
			Node: []*Node{{Input: []string{"x", "", "w"}, Output: []string{"y"}, OpType: "Op", Attribute: []*Attribute{
				axis,
				{Name: "list", Type: AttrInts, Ints: []int64{-1, 0, 1 << 40}},
				{Name: "f", Type: AttrFloat, F: -0.5},
				{Name: "s", Type: AttrStrings, Strings: [][]byte{[]byte("a"), {}}},
				{Name: "body", Type: AttrGraph, G: &Graph{Name: "inner"}},
			}}},
			Initializer: []*Tensor{
				{Name: "w", Dims: []int64{2}, DataType: 1, RawData: []byte{0, 0, 128, 63, 0, 0, 0, 64}},
				{Name: "t", Dims: []int64{2}, DataType: 1, FloatData: Packed[float32]{1, -2}},
				{Name: "d", Dims: []int64{1}, DataType: 11, DoubleData: Packed[float64]{0.1}},
				{Name: "i", Dims: []int64{2}, DataType: 6, Int32Data: Packed[int32]{-7, 300}},
				{Name: "u", DataType: 13, Uint64Data: Packed[uint64]{1 << 63}},
			},
			Input: []*ValueInfo{{Name: "x", Type: &Type{Tensor: &TensorType{ElemType: 1, Shape: &Shape{Dim: []*Dim{{Param: "N"}, zero, {}}}}}}},
		},
	}
}

func TestRoundTripKeepsEverything(t *testing.T) {
	m := sample()
	first, err := Encode(m)
	require.NoError(t, err)
	back, err := Decode(first)
	require.NoError(t, err)
	second, err := Encode(back)
	require.NoError(t, err)
	require.Equal(t, first, second)

	n := back.Graph.Node[0]
	require.Equal(t, []string{"x", "", "w"}, n.Input)
	require.True(t, n.Attribute[0].Has(FieldI))
	require.Equal(t, []int64{-1, 0, 1 << 40}, n.Attribute[1].Ints)
	require.Equal(t, "inner", n.Attribute[4].G.Name)
	require.Equal(t, Packed[int32]{-7, 300}, back.Graph.Initializer[3].Int32Data)
	dims := back.Graph.Input[0].Type.Tensor.Shape.Dim
	require.True(t, dims[1].Has(FieldDimValue))
	require.False(t, dims[2].Has(FieldDimValue))
}

// Write hands on the bytes of Encode, for data below, at and above the size of its chunks, and the error of a full disk.
func TestWrite(t *testing.T) {
	m := sample()
	for _, n := range []int{0, 1000, chunk - 1, chunk, chunk + 1, 3 * chunk, 50_000, 50_000} {
		raw := make([]byte, n)
		for i := range raw {
			raw[i] = byte(i * n)
		}
		m.Graph.Initializer = append(m.Graph.Initializer, &Tensor{Name: "w", Dims: []int64{int64(n)}, DataType: 2, RawData: raw})
	}
	want, err := Encode(m)
	require.NoError(t, err)
	var got bytes.Buffer
	require.NoError(t, Write(&got, m))
	require.True(t, bytes.Equal(want, got.Bytes()))

	full := errors.New("disk full")
	require.ErrorIs(t, Write(failing{full}, m), full)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestRawDataAliasesTheInput(t *testing.T) {
	b, err := Encode(sample())
	require.NoError(t, err)
	m, err := Decode(b)
	require.NoError(t, err)
	raw := m.Graph.Initializer[0].RawData
	at := strings.Index(string(b), string(raw))
	b[at] = 9
	require.Equal(t, byte(9), raw[0])
}

func TestUnknownFieldsAreKept(t *testing.T) {
	var dim []byte
	dim = protowire.AppendTag(dim, 77, protowire.BytesType)
	dim = protowire.AppendString(dim, "new field of a dimension")
	m := sample()
	m.Graph.Input[0].Type.Tensor.Shape.Dim[0].Unknown = dim
	m.Unknown = protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), 5)
	b, err := Encode(m)
	require.NoError(t, err)
	back, err := Decode(b)
	require.NoError(t, err)
	require.Equal(t, m.Unknown, back.Unknown)
	require.Equal(t, dim, back.Graph.Input[0].Type.Tensor.Shape.Dim[0].Unknown)
}

func TestPackedAndUnpackedAreBothRead(t *testing.T) {
	packed := protowire.AppendTag(nil, 1, protowire.BytesType) // dims, packed
	packed = protowire.AppendBytes(packed, []byte{3, 4})
	packed = protowire.AppendTag(packed, 7, protowire.VarintType) // int64_data, not packed
	packed = protowire.AppendVarint(packed, 12)
	packed = protowire.AppendTag(packed, 4, protowire.Fixed32Type) // float_data, not packed
	packed = protowire.AppendFixed32(packed, 0x3f800000)
	tensor := &Tensor{}
	require.NoError(t, decode(packed, tensor, 0))
	require.Equal(t, []int64{3, 4}, tensor.Dims)
	require.Equal(t, Packed[int64]{12}, tensor.Int64Data)
	require.Equal(t, Packed[float32]{1}, tensor.FloatData)
}

func TestBadBytesAreRefused(t *testing.T) {
	good, err := Encode(sample())
	require.NoError(t, err)
	for _, n := range []int{3, len(good) / 2, len(good) - 1} {
		_, err := Decode(good[:n])
		require.Error(t, err)
		require.True(t, errors.Is(err, ErrTruncated) || errors.Is(err, ErrFormat), "%v", err)
	}
	_, err = Decode(good[:len(good)-1])
	require.ErrorIs(t, err, ErrTruncated)
	for name, b := range map[string][]byte{
		"empty":      nil,
		"text":       []byte("hello, world: this is no model"),
		"png":        []byte("\x89PNG\r\n\x1a\n0000"),
		"zip":        []byte("PK\x03\x04\x14\x00\x00\x00"),
		"zeros":      make([]byte, 64),
		"no graph":   {0x08, 0x08},
		"wrong wire": {0x08, 0x08, 0x38, 0x01},
	} {
		_, err := Decode(b)
		require.ErrorIs(t, err, ErrFormat, name)
	}
}

func TestNestingIsBounded(t *testing.T) {
	// An attribute holds a graph, which holds a node, which holds an attribute …
	b := []byte{}
	for range 200 {
		b = protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType), b) // Attribute.g
		b = protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), b) // Node.attribute
		b = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), b) // Graph.node
	}
	b = append([]byte{0x08, 0x08}, protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType), b)...)
	_, err := Decode(b)
	require.ErrorContains(t, err, "nested")
}

// TestFiles re-encodes real models; those of the Python package come back byte for byte.
func TestFiles(t *testing.T) {
	models := map[string][]byte{}
	fixtures, _ := filepath.Glob("../../../../shared/fixtures/*/model.onnx")
	for _, f := range fixtures {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		models[f] = b
	}
	archive(t, "../../../../shared/onnx-backend-v1.22.0.tar.gz", models)
	if len(models) == 0 {
		t.Skip("no model files beside the repository")
	}
	same := 0
	for name, b := range models {
		m, err := Decode(b)
		require.NoError(t, err, name)
		again, err := Encode(m)
		require.NoError(t, err, name)
		if string(again) == string(b) {
			same++
			continue
		}
		twice, err := Decode(again)
		require.NoError(t, err, name)
		third, err := Encode(twice)
		require.NoError(t, err, name)
		require.Equal(t, again, third, name)
	}
	t.Logf("%d of %d models come back byte for byte", same, len(models))
	require.Greater(t, same*10, len(models)*9)
}

func archive(t *testing.T, path string, into map[string][]byte) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		require.NoError(t, err)
		if strings.HasSuffix(h.Name, ".onnx") {
			b, err := io.ReadAll(r)
			require.NoError(t, err)
			into[h.Name] = b
		}
	}
}

func FuzzDecode(f *testing.F) {
	b, err := Encode(sample())
	require.NoError(f, err)
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte{0x08, 0x08, 0x3a, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		once, err := Encode(m)
		require.NoError(t, err)
		back, err := Decode(once)
		require.NoError(t, err)
		twice, err := Encode(back)
		require.NoError(t, err)
		require.Equal(t, once, twice)
	})
}
