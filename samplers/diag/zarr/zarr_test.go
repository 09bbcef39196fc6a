package zarr

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/onnx-ebm/onnx-ebm/samplers/diag"
	"github.com/stretchr/testify/require"
)

// sample is a tree with all types and ranks. Data are numbered.
func sample(chains, draws int) *Tree {
	n := chains * draws
	x, theta := make([]float32, 6*n), make([]float64, 3*n)
	for i := range x {
		x[i] = float32(i) / 8
	}
	for i := range theta {
		theta[i] = -float64(i) / 8
	}
	count, depth, diverging := make([]int64, n), make([]int32, n), make([]bool, n)
	for i := range n {
		count[i], depth[i], diverging[i] = int64(i)<<33, -int32(i), i%3 == 1
	}
	x[0], x[1] = float32(math.Inf(-1)), float32(math.Copysign(0, -1))
	return &Tree{
		Chains: chains, Draws: draws,
		Posterior: []Variable{
			{Name: "theta", Shape: []int{3}, Dims: []string{"school"}, Data: theta},
			{Name: "x", Shape: []int{2, 3}, Dims: []string{"x_dim_0", "x_dim_1"}, Data: x},
		},
		SampleStats: []Variable{{Name: "count", Data: count}, {Name: "diverging", Data: diverging}, {Name: "tree_depth", Data: depth}},
		Attributes:  map[string]string{"inference_library": "onnx-ebm"},
	}
}

func requireTree(t *testing.T, want, got *Tree) {
	t.Helper()
	for _, v := range [][]Variable{want.Posterior, want.SampleStats, got.Posterior, got.SampleStats} {
		for i := range v {
			if len(v[i].Shape) == 0 {
				v[i].Shape, v[i].Dims = nil, nil
			}
		}
	}
	require.Equal(t, want, got)
}

func TestRoundTrip(t *testing.T) {
	for _, elements := range []int{1, 7, 40, chunkElements} {
		for _, shape := range [][2]int{{1, 1}, {3, 5}, {7, 4}} {
			folder := filepath.Join(t.TempDir(), "s")
			want := sample(shape[0], shape[1])
			require.NoError(t, writeTree(folder, want, elements))
			got, err := Read(folder)
			require.NoError(t, err)
			requireTree(t, want, got)
		}
	}
}

// hash is that of all files of a folder.
func hash(t *testing.T, folder string) string {
	h := sha256.New()
	require.NoError(t, fs.WalkDir(os.DirFS(folder), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(folder, name))
		fmt.Fprintln(h, name, len(b))
		h.Write(b)
		return err
	}))
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestWriteReplacesAndRefuses(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "s.zarr")
	require.NoError(t, Write(path, sample(2, 3)))
	first := hash(t, path)
	require.NoError(t, Write(path, sample(4, 3)))
	require.NotEqual(t, first, hash(t, path))
	require.NoError(t, Write(path, sample(2, 3)))
	require.Equal(t, first, hash(t, path), "the same draws give the same bytes")

	empty := filepath.Join(folder, "empty")
	require.NoError(t, os.Mkdir(empty, 0o777))
	require.NoError(t, Write(empty, sample(1, 1)))

	link := filepath.Join(folder, "link")
	require.NoError(t, os.Symlink("empty", link))
	require.NoError(t, Write(link, sample(2, 3)))
	require.Equal(t, first, hash(t, empty))

	precious := filepath.Join(folder, "precious")
	require.NoError(t, os.MkdirAll(filepath.Join(precious, "thesis"), 0o777))
	file := filepath.Join(folder, "file")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o666))
	for path, message := range map[string]string{
		precious: "something else", file: "it is a file", "": "not the name", "-": "not the name",
		filepath.Join(folder, "none", "s"): "create it first", filepath.Join(file, "s"): "",
	} {
		require.ErrorContains(t, Write(path, sample(1, 1)), message)
	}
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.Equal(t, []string{"empty", "file", "link", "precious", "s.zarr"}, names, "nothing is left behind")
}

func TestStageShowsNothing(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "s")
	s, err := Stage(path, sample(1, 2))
	require.NoError(t, err)
	require.NoDirExists(t, path)
	s.Abort()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, entries)
	require.Error(t, s.Commit())
	require.NoDirExists(t, path)
}

func TestSampledAndBack(t *testing.T) {
	d := diag.Draws{X: make([]float32, 2*3*4), Chains: 2, Draws: 3, Dim: 4}
	for i := range d.X {
		d.X[i] = float32(i)
	}
	real, whole, flags := []float32{0, 1, 2, 3, 4, 5}, []int32{5, 4, 3, 2, 1, 0}, []bool{5: true}
	want := Stats{LP: real, Energy: real, AcceptanceRate: real, StepSize: real, Diverging: flags, TreeDepth: whole, NSteps: whole}
	tree, err := Sampled(d, []int{2, 2}, want)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "s")
	require.NoError(t, Write(path, tree))
	got, err := Read(path)
	require.NoError(t, err)
	flat, labels, err := got.Flat()
	require.NoError(t, err)
	require.Equal(t, d, flat)
	require.Equal(t, []string{"x[0, 0]", "x[0, 1]", "x[1, 0]", "x[1, 1]"}, labels)
	stats, err := got.Stats()
	require.NoError(t, err)
	require.Equal(t, want, stats)

	flat, labels, err = sample(2, 2).Flat()
	require.NoError(t, err)
	require.Equal(t, []string{"theta[0]", "theta[1]", "theta[2]", "x[0, 0]"}, labels[:4])
	require.Equal(t, []float32{-9. / 8, -10. / 8, -11. / 8, 18. / 8, 19. / 8, 20. / 8, 21. / 8, 22. / 8, 23. / 8}, flat.X[27:])

	_, err = Sampled(d, []int{3}, Stats{})
	require.Error(t, err)
	_, err = Sampled(diag.Draws{}, nil, Stats{})
	require.Error(t, err)
	_, err = Sampled(d, nil, Stats{LP: real[:5]})
	require.ErrorContains(t, err, "lp")
}

func TestValuesThatDoNotFit(t *testing.T) {
	tree := &Tree{Chains: 1, Draws: 1, Posterior: []Variable{{Name: "x", Data: []float64{1e300}}}}
	_, _, err := tree.Flat()
	require.ErrorContains(t, err, "1e+300")
	tree.SampleStats = []Variable{{Name: "tree_depth", Data: []int64{1 << 40}}}
	_, err = tree.Stats()
	require.ErrorContains(t, err, "tree_depth")
	tree.SampleStats = []Variable{{Name: "diverging", Data: []int64{1}}}
	_, err = tree.Stats()
	require.ErrorContains(t, err, "diverging")
	tree.Posterior[0].Data = []bool{true}
	_, _, err = tree.Flat()
	require.ErrorContains(t, err, "not numbers")
}

func TestValidate(t *testing.T) {
	one := []float32{1}
	for _, c := range []struct {
		posterior []Variable
		message   string
	}{
		{nil, "needs"},
		{[]Variable{{Name: "", Data: one}}, "name"},
		{[]Variable{{Name: "../x", Data: one}}, "name"},
		{[]Variable{{Name: "..", Data: one}}, "name"},
		{[]Variable{{Name: "chain", Data: one}}, "taken"},
		{[]Variable{{Name: "x", Data: one}, {Name: "x", Data: one}}, "taken"},
		{[]Variable{{Name: "x", Shape: []int{2}, Dims: []string{"a"}, Data: []float32{1, 2}}, {Name: "a", Data: one}}, "taken"},
		{[]Variable{{Name: "x", Data: "text"}}, "string"},
		{[]Variable{{Name: "x", Shape: []int{2}, Data: one}}, "shape"},
		{[]Variable{{Name: "x", Shape: []int{0}, Data: []float32{}}}, "shape"},
		{[]Variable{{Name: "x", Shape: []int{-1}, Data: one}}, "shape"},
		{[]Variable{{Name: "x", Shape: []int{1}, Dims: []string{"a", "b"}, Data: one}}, "names"},
	} {
		tree := &Tree{Chains: 1, Draws: 1, Posterior: c.posterior}
		require.ErrorContains(t, tree.Validate(), c.message)
		require.ErrorContains(t, Write(filepath.Join(t.TempDir(), "s"), tree), c.message)
	}
}

const groupText = `{"zarr_format": 3, "node_type": "group", "attributes": {"a": "b", "n": 1}}`

// foreignText is the metadata of an array in the way of zarr-python, with what
// the writer here never does: big-endian, keys with dots, a chunk that is missing.
const foreignText = `{"shape": [2, 3], "data_type": "int32", "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 2]}},
 "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}}, "fill_value": 9, "codecs": [{"name": "bytes", "configuration": {"endian": "big"}}],
 "attributes": {"_FillValue": "AAAAAAAA+H8="}, "dimension_names": ["chain", "draw"], "zarr_format": 3, "node_type": "array", "storage_transformers": []}`

func foreign(array string) fstest.MapFS {
	return fstest.MapFS{
		"zarr.json":                 {Data: []byte(groupText)},
		"posterior/zarr.json":       {Data: []byte(groupText)},
		"posterior/k/zarr.json":     {Data: []byte(array)},
		"posterior/k/c.0.0":         {Data: []byte{0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 1, 0}},
		"posterior/chain/zarr.json": {Data: []byte(`{"node_type": "array", "dimension_names": ["chain"], "data_type": {"name": "fixed_length_utf32"}}`)},
		"posterior/notes.txt":       {Data: []byte("x")},
	}
}

func TestReadForeign(t *testing.T) {
	got, err := ReadFS(foreign(foreignText))
	require.NoError(t, err)
	want := &Tree{Chains: 2, Draws: 3, Posterior: []Variable{{Name: "k", Data: []int32{1, 2, 9, 3, 256, 9}}}, Attributes: map[string]string{"a": "b"}}
	requireTree(t, want, got)
}

func TestReadErrors(t *testing.T) {
	for _, c := range []struct{ old, new, message string }{
		{`"bytes"`, `"zstd"`, "compressors=None"},
		{`[{"name": "bytes", "configuration": {"endian": "big"}}]`, `[]`, "uncompressed"},
		{`"big"`, `"middle"`, "byte order"},
		{`"int32"`, `"complex64"`, "complex64"},
		{`"int32"`, `{"name": "x"}`, "only float32"},
		{`"int32"`, `"float64"`, "have 32"},
		{`[2, 2]`, `[2, 0]`, "grid"},
		{`[2, 2]`, `[2]`, "grid"},
		{`"regular"`, `"rectilinear"`, "grid"},
		{`"default"`, `"other"`, "chunk keys"},
		{`"separator": "."`, `"separator": "/../"`, "chunk keys"},
		{`[2, 3]`, `[2, -3]`, "shape"},
		{`[2, 3]`, `[0, 3]`, "shape"},
		{`[2, 3]`, `[4611686018427387904, 4611686018427387904]`, "shape"},
		{`[2, 3]`, `[2, 90000000]`, "chunks"},
		{`[2, 3]`, `[2, 1000000000]`, "chunks"},
		{`[2, 3]`, `[2, 3, 1]`, "names"},
		{`"fill_value": 9`, `"fill_value": "x"`, "fill_value"},
		{`"zarr_format": 3`, `"zarr_format": 4`, "format"},
		{`["chain", "draw"]`, `["draw", "chain"]`, "needs"},
	} {
		require.Contains(t, foreignText, c.old)
		_, err := ReadFS(foreign(strings.Replace(foreignText, c.old, c.new, 1)))
		require.ErrorContains(t, err, c.message, "%s", c.new)
	}
	// Chunks that are not there are cheap to claim.
	text := strings.NewReplacer(`[2, 3]`, `[2, 50000000]`, `[2, 2]`, `[2, 1000000]`).Replace(foreignText)
	store := foreign(text)
	delete(store, "posterior/k/c.0.0")
	_, err := ReadFS(store)
	require.ErrorContains(t, err, "not there")

	store = foreign(foreignText)
	delete(store, "zarr.json")
	_, err = ReadFS(store)
	require.ErrorContains(t, err, "not a Zarr store")
	store[".zgroup"] = &fstest.MapFile{}
	_, err = ReadFS(store)
	require.ErrorContains(t, err, "version 2")
	_, err = Read(filepath.Join(t.TempDir(), "none"))
	require.ErrorContains(t, err, "zarr: cannot read")
}

func TestChunkOf(t *testing.T) {
	for _, c := range []struct {
		shape    []int
		elements int
		want     []int
	}{
		{[]int{4, 1000}, 1 << 24, []int{4, 1000}},
		{[]int{10, 100, 2}, 700, []int{3, 100, 2}},  // 3 chains fit: 4 chunks, of 3
		{[]int{10, 100, 2}, 1999, []int{5, 100, 2}}, // 9 fit: 2 chunks, of 5
		{[]int{2, 100, 10}, 330, []int{1, 25, 10}},  // 33 draws fit: 4 chunks, of 25
		{[]int{2, 3, 100}, 10, []int{1, 1, 100}},
	} {
		require.Equal(t, c.want, chunkOf(c.shape, c.elements))
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(groupText), []byte(foreignText), make([]byte, 16))
	f.Add([]byte(groupText), []byte(strings.Replace(foreignText, "int32", "bool", 1)), make([]byte, 4))
	f.Add([]byte(groupText), []byte(strings.NewReplacer("int32", "float64", "9", `"NaN"`, "[2, 2]", "[2, 4]").Replace(foreignText)), make([]byte, 64))
	f.Fuzz(func(t *testing.T, group, array, chunk []byte) {
		store := foreign(string(array))
		store["posterior/zarr.json"] = &fstest.MapFile{Data: group}
		for _, key := range []string{"c.0.0", "c/0/0", "0.0"} {
			store["posterior/k/"+key] = &fstest.MapFile{Data: chunk}
		}
		tree, err := ReadFS(store)
		if err != nil {
			return
		}
		// What is read is whole, and reads back the same.
		require.NoError(t, tree.Validate())
		folder := filepath.Join(t.TempDir(), "s")
		if tree.Chains*tree.Draws > 1000 {
			return
		}
		require.NoError(t, Write(folder, tree))
		again, err := Read(folder)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(tree.Posterior[0].Data), fmt.Sprint(again.Posterior[0].Data)) // NaN are alike
	})
}

func BenchmarkWrite(b *testing.B) {
	d := diag.Draws{X: make([]float32, 100*1000*20), Chains: 100, Draws: 1000, Dim: 20}
	tree, err := Sampled(d, nil, Stats{})
	require.NoError(b, err)
	path := filepath.Join(b.TempDir(), "s")
	b.SetBytes(int64(4 * len(d.X)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Write(path, tree); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	d := diag.Draws{X: make([]float32, 100*1000*20), Chains: 100, Draws: 1000, Dim: 20}
	tree, err := Sampled(d, nil, Stats{})
	require.NoError(b, err)
	path := filepath.Join(b.TempDir(), "s")
	require.NoError(b, Write(path, tree))
	b.SetBytes(int64(4 * len(d.X)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(path); err != nil {
			b.Fatal(err)
		}
	}
}
