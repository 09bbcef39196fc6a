package graphs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
)

// layered is a chain of n products with square weights of 128×128, large enough for a place in a data file, and one small bias.
func layered(t testing.TB, n int) *Graph {
	b := NewBuilder("layered")
	v := b.Input("x", Float32, Shape{Symbol("N"), Static(128)})
	for i := range n {
		w := make([]float32, 128*128)
		for j := range w {
			w[j] = float32((j*7+i)%13) - 6
		}
		v = b.Op("MatMul", nil, v, b.Param(fmt.Sprintf("w%d", i), NewTensor(w, 128, 128)))
	}
	v = b.Op("Add", nil, v, b.Param("bias", NewTensor([]float32{1.5}, 1)))
	g, err := b.Graph(Output{"y", v})
	require.NoError(t, err)
	return g
}

func TestWriteDataFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	g := layered(t, 3)
	require.NoError(t, WriteFile(path, g, WriteOptions{InlineLimit: 1 << 20}))
	require.NoFileExists(t, DataName(path))
	require.NoError(t, WriteFile(path, g, WriteOptions{InlineLimit: 1 << 10}))

	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Less(t, len(raw), 2048)
	m, err := onnxpb.Decode(raw)
	require.NoError(t, err)
	for _, p := range m.Graph.Initializer {
		if p.Name == "bias" {
			require.Empty(t, p.ExternalData)
			continue
		}
		require.Equal(t, "m.onnx.data", p.ExternalData[0].Value)
		offset, err := strconv.Atoi(p.ExternalData[1].Value)
		require.NoError(t, err)
		require.Zero(t, offset%dataAlignment)
		require.Empty(t, p.RawData)
	}

	for _, from := range []int64{1, 1 << 40} { // mapped, and read
		old := mapFrom
		mapFrom = from
		back, info, err := ReadFile(path)
		mapFrom = old
		require.NoError(t, err)
		require.True(t, info.External)
		back, err = Infer(back)
		require.NoError(t, err)
		require.Equal(t, Print(g), Print(back))
		want := map[string][]byte{}
		for _, v := range g.Params() {
			want[v.Name] = v.Tensor.Raw
		}
		require.Len(t, back.Params(), len(want))
		for _, v := range back.Params() {
			require.Equal(t, from == 1 && v.Name != "bias", v.Tensor.mapped, v.Name)
			v.Tensor.Forget()
			require.True(t, bytes.Equal(want[v.Name], v.Tensor.Raw), v.Name)
		}
	}
}

// Neither file appears, and old ones stay, where one of the two cannot be written.
func TestWriteDataFileFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))
	require.NoError(t, os.Mkdir(DataName(path), 0o755))
	err := WriteFile(path, layered(t, 2), WriteOptions{InlineLimit: 1})
	require.ErrorContains(t, err, "m.onnx.data")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(raw))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)
}

// Tensors may share the bytes of a data file, but not make a large model of a small file.
func TestReadOverlappingData(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "d"), make([]byte, 1<<16), 0o644))
	read := func(n int) error {
		m := &onnxpb.Model{IRVersion: 8, OpsetImport: []*onnxpb.OperatorSetID{{Version: 18}}, Graph: &onnxpb.Graph{Name: "g"}}
		for i := range n {
			m.Graph.Initializer = append(m.Graph.Initializer, &onnxpb.Tensor{Name: fmt.Sprint("w", i), DataType: 1, Dims: []int64{1 << 14},
				DataLocation: onnxpb.External, ExternalData: []*onnxpb.StringStringEntry{{Key: "location", Value: "d"}}})
		}
		b, err := onnxpb.Encode(m)
		require.NoError(t, err)
		_, _, err = Decode(b, dir)
		return err
	}
	require.NoError(t, read(maxOverlap))
	require.ErrorContains(t, read(100), "lie over each other")
}
