package data

import (
	"bytes"
	"compress/gzip"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/internal/npy"
)

func save(t testing.TB, name string, contents []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, contents, 0o644))
	return path
}

func saveArray(t testing.TB, a npy.Array) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.npy")
	require.NoError(t, npy.WriteFile(path, a))
	return path
}

func requireData(t *testing.T, text string, shape []int, want []float32) {
	t.Helper()
	ds, err := Open(text, Options{})
	require.NoError(t, err)
	defer ds.Close()
	require.Equal(t, shape, ds.Shape())
	x, err := All(ds)
	require.NoError(t, err)
	require.Equal(t, want, x)
}

func TestNPYInMemoryAndMapped(t *testing.T) {
	a := npy.Array{Shape: []int{4, 1, 2}, Data: []float32{0, 1, 2, 3, 4, 5, 6, 7}}
	path := saveArray(t, a)
	for _, limit := range []int64{0, 1} {
		ds, err := Open(path, Options{MapAbove: limit})
		require.NoError(t, err)
		_, isMapped := ds.(*mapped)
		require.Equal(t, limit == 1, isMapped)
		require.Equal(t, []int{1, 2}, ds.Shape())
		require.Equal(t, 4, ds.Len())
		rows := make([]float32, 6)
		require.NoError(t, ds.Rows(rows, []int{3, 0, 3}))
		require.Equal(t, []float32{6, 7, 0, 1, 6, 7}, rows)
		require.Error(t, ds.Rows(rows[:2], []int{4}))
		require.Error(t, ds.Rows(rows[:3], []int{0}))
		x, err := All(ds)
		require.NoError(t, err)
		require.Equal(t, a.Data, x)
		require.NoError(t, ds.Close())
	}
	requireData(t, saveArray(t, npy.Array{Shape: []int{3}, Data: []float32{1, 2, 3}}), []int{1}, []float32{1, 2, 3})
}

func TestFortranFileAboveTheLimitIsReadWhole(t *testing.T) {
	ds, err := Open("../../internal/npy/testdata/fortran_f4.npy", Options{MapAbove: 1})
	require.NoError(t, err)
	require.IsType(t, &Memory{}, ds)
	require.Equal(t, []int{3, 4}, ds.Shape())
}

func TestBadValuesNameFileAndRow(t *testing.T) {
	nan := float32(math.NaN())
	path := saveArray(t, npy.Array{Shape: []int{3, 2}, Data: []float32{0, 1, 2, 3, nan, 5}})
	_, err := Open(path, Options{})
	require.ErrorContains(t, err, path+": row 2 (from 0) holds NaN")

	ds, err := Open(path, Options{MapAbove: 1})
	require.NoError(t, err)
	defer ds.Close()
	require.NoError(t, ds.Rows(make([]float32, 4), []int{1, 0}))
	require.ErrorContains(t, ds.Rows(make([]float32, 4), []int{1, 2}), path+": row 2 (from 0)")
	_, err = All(ds)
	require.ErrorContains(t, err, "row 2")
	_, err = Standardize(ds)
	require.ErrorContains(t, err, "row 2")
	for _, err := range Batches(ds, 3, Options{}.Key, false) {
		require.ErrorContains(t, err, "row 2")
	}
}

func TestRefusedArrays(t *testing.T) {
	empty := saveArray(t, npy.Array{Shape: []int{0, 2}})
	hollow := saveArray(t, npy.Array{Shape: []int{2, 0}})
	scalar := saveArray(t, npy.Array{Shape: []int{}, Data: []float32{1}})
	for _, c := range []struct {
		text  string
		limit int64
		want  string
	}{
		{empty, 0, "no rows"},
		{empty, 1, "holds nothing"},
		{hollow, 0, "holds nothing"},
		{hollow, 1, "holds nothing"},
		{scalar, 0, "single number"},
		{scalar, 1, "scalar"},
		{scalar + ":n=3", 0, "unknown key n"},
		{"none.npy", 0, "no such file"},
		{"./none", 0, "no such file"},
		{"../../internal/npy/testdata/labels_i8.npy", 0, "labels_i8.npy: dtype int64"},
		{save(t, "a.npy", []byte("hello")), 0, "not a .npy file"},
		{save(t, "a.dat", []byte("hello")), 0, "none of .npy, .npz, .csv, IDX"},
		{save(t, "empty", nil), 0, "none of"},
	} {
		_, err := Open(c.text, Options{MapAbove: c.limit})
		require.ErrorContains(t, err, c.want, c.text)
	}
}

func TestNamesThatNeedContentOrCare(t *testing.T) {
	var raw bytes.Buffer
	require.NoError(t, npy.Write(&raw, npy.Array{Shape: []int{1, 2}, Data: []float32{1, 2}}))
	requireData(t, save(t, "no-ending", raw.Bytes()), []int{2}, []float32{1, 2})
	requireData(t, save(t, "with:colon=.npy", raw.Bytes()), []int{2}, []float32{1, 2})

	folder := t.TempDir()
	t.Chdir(folder)
	require.NoError(t, os.WriteFile("rings", raw.Bytes(), 0o644))
	require.Equal(t, 2000, open(t, "rings", 0).Len())
	require.Equal(t, 1, open(t, "./rings", 0).Len())
}

func TestNPZ(t *testing.T) {
	write := func(names ...string) string {
		var entries []npy.Entry
		for i, name := range names {
			entries = append(entries, npy.Entry{Name: name, Array: npy.Array{Shape: []int{1, 1}, Data: []float32{float32(i)}}})
		}
		path := filepath.Join(t.TempDir(), "a.npz")
		require.NoError(t, npy.WriteArchiveFile(path, entries))
		return path
	}
	requireData(t, write("only"), []int{1}, []float32{0})
	requireData(t, write("y", "x"), []int{1}, []float32{1})
	requireData(t, write("y", "data"), []int{1}, []float32{1})
	requireData(t, write("u", "v", "x")+":array=v", []int{1}, []float32{1})
	// Labels of another type beside the data do no harm.
	ds := open(t, "../../internal/npy/testdata/stored.npz", 0)
	require.Equal(t, []int{3, 4}, ds.Shape())
	for text, want := range map[string]string{
		write("u", "v"):              "choose one with :array=NAME of u, v",
		write():                      "holds no arrays",
		write("x") + ":array=z":      `no array "z"; it has x`,
		write("x") + ":column=z":     "valid for",
		save(t, "b.npz", []byte("")): "not a .npz file",
	} {
		_, err := Open(text, Options{})
		require.ErrorContains(t, err, want)
	}
}

func TestCSV(t *testing.T) {
	for text, want := range map[string][]float32{
		"1,2\n3,4\n":                          {1, 2, 3, 4},
		"u,v\n1,2\n3,4":                       {1, 2, 3, 4},
		"\ufeffu,v\r\n1, 2\r\n 3,4e0\r\n\r\n": {1, 2, 3, 4},
		"# by savetxt\n1,2\n# more\n3,4\n":    {1, 2, 3, 4},
		"u;v\n1;2\n3;4\n":                     {1, 2, 3, 4},
		"1\t2\n3\t4\n":                        {1, 2, 3, 4},
		"\"u\",\"v\"\n\"1\",\"2\"\n3,4\n":     {1, 2, 3, 4},
	} {
		requireData(t, save(t, "a.csv", []byte(text)), []int{2}, want)
	}
	requireData(t, save(t, "a.csv", []byte("5\n6\n")), []int{1}, []float32{5, 6})
	named := save(t, "a.csv", []byte("label,u,v\na,1,2\nb,3,4\n"))
	requireData(t, named+":columns=v,u", []int{2}, []float32{2, 1, 4, 3})
	requireData(t, named+":columns=2", []int{1}, []float32{2, 4})
	for text, want := range map[string]string{
		"":                "no rows",
		"u,v\n":           "no rows",
		"1,2\n3\n":        "not a table of numbers: record on line 2",
		"1,2\n3,x\n":      `line 2, column 1: "x" is not a float32 number`,
		"1,2\n3,\n":       `line 2, column 1: "" is not a float32 number`,
		"1,2\n3,1e99\n":   `"1e99" is not a float32 number`,
		"u,v\n1,2\n3,nan": "row 1 (from 0) holds NaN",
		"\"1,2\n":         "not a table",
	} {
		path := save(t, "a.csv", []byte(text))
		_, err := Open(path, Options{})
		require.ErrorContains(t, err, want, "%q", text)
		require.ErrorContains(t, err, path)
	}
	_, err := Open(named+":columns=w", Options{})
	require.ErrorContains(t, err, `no column "w"; it has label, u, v`)
	_, err = Open(save(t, "a.csv", []byte("1,2\n"))+":columns=2", Options{})
	require.ErrorContains(t, err, `no column "2"; it has columns 0 to 1`)
}

// idx builds a file of the format by hand.
func idx(kind byte, dims []byte, raw ...byte) []byte {
	out := []byte{0, 0, kind, byte(len(dims))}
	for _, d := range dims {
		out = append(out, 0, 0, 0, d)
	}
	return append(out, raw...)
}

func TestIDX(t *testing.T) {
	images := idx(8, []byte{2, 1, 2}, 0, 255, 51, 102)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write(images)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for _, path := range []string{
		save(t, "train-images-idx3-ubyte", images),
		save(t, "train-images-idx3-ubyte.gz", zipped.Bytes()),
		save(t, "zipped", zipped.Bytes()),
	} {
		requireData(t, path, []int{1, 1, 2}, []float32{0, 1, 0.2, 0.4})
		requireData(t, path+":scale=bytes", []int{1, 1, 2}, []float32{0, 255, 51, 102})
		requireData(t, path+":scale=symmetric", []int{1, 1, 2}, []float32{-1, 1, -0.6, -0.2})
	}
	requireData(t, save(t, "l.idx", idx(8, []byte{2}, 3, 255)), []int{1}, []float32{3, 255})
	requireData(t, save(t, "f.idx", idx(0x0d, []byte{1, 2}, 0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0)), []int{2}, []float32{1, -2})
	requireData(t, save(t, "d.idx", idx(0x0e, []byte{1, 1}, 0xbf, 0xf0, 0, 0, 0, 0, 0, 0)), []int{1}, []float32{-1})
	requireData(t, save(t, "i.idx", idx(0x0c, []byte{1, 1}, 0xff, 0xff, 0xff, 0xfe)), []int{1}, []float32{-2})
	requireData(t, save(t, "s.idx", idx(0x0b, []byte{1, 1}, 0xff, 0xfe)), []int{1}, []float32{-2})
	requireData(t, save(t, "b.idx", idx(0x09, []byte{1, 1}, 0xfe)), []int{1}, []float32{-2})
	requireData(t, save(t, "c.idx", idx(8, []byte{1, 2, 1, 1}, 0, 255)), []int{2, 1, 1}, []float32{0, 1})

	for _, c := range []struct {
		raw  []byte
		want string
	}{
		{[]byte("\x00\x00\x08"), "not an IDX file"},
		{idx(0x0a, []byte{1}), "type 0x0a is not known"},
		{idx(8, nil), "single number"},
		{idx(8, []byte{2, 2}, 1, 2, 3), "cut off"},
		{idx(8, []byte{2}, 1, 2, 3), "more in the file"},
		{idx(8, []byte{0, 5}), "holds nothing"},
		{[]byte("\x00\x00\x08\x02\x00\x00"), "header is cut off"},
		{append([]byte{0, 0, 8, 3}, bytes.Repeat([]byte{0xff}, 12)...), "too large"},
		{append([]byte{0, 0, 8, 1}, bytes.Repeat([]byte{0xff}, 12)...), "cut off"},
	} {
		path := save(t, "a.idx", c.raw)
		_, err := Open(path, Options{})
		require.ErrorContains(t, err, c.want, "% x", c.raw)
		require.ErrorContains(t, err, path)
	}
	_, err = Open(save(t, "a.idx", images)+":scale=big", Options{})
	require.ErrorContains(t, err, "valid: unit, symmetric, bytes")
}

func savePNG(t *testing.T, folder, name string, img image.Image) {
	t.Helper()
	f, err := os.Create(filepath.Join(folder, name))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, png.Encode(f, img))
}

func grey(values ...uint8) image.Image {
	img := image.NewGray(image.Rect(0, 0, len(values), 1))
	copy(img.Pix, values)
	return img
}

func TestPNG(t *testing.T) {
	folder := t.TempDir()
	savePNG(t, folder, "b.png", grey(0, 255, 51))
	savePNG(t, folder, "a.PNG", grey(102, 153, 204))
	require.NoError(t, os.Mkdir(filepath.Join(folder, "c.png"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "notes.txt"), nil, 0o644))
	requireData(t, folder, []int{1, 1, 3}, []float32{0.4, 0.6, 0.8, 0, 1, 0.2})
	requireData(t, folder+":scale=bytes", []int{1, 1, 3}, []float32{102, 153, 204, 0, 255, 51})

	colour := image.NewRGBA(image.Rect(0, 0, 3, 1))
	for x := range 3 {
		colour.Set(x, 0, color.RGBA{uint8(51 * x), 255, 0, 255})
	}
	savePNG(t, folder, "a.PNG", colour)
	requireData(t, folder, []int{3, 1, 3}, []float32{0, 0.2, 0.4, 1, 1, 1, 0, 0, 0, 0, 1, 0.2, 0, 1, 0.2, 0, 1, 0.2})

	colour.Set(1, 0, color.RGBA{0, 0, 0, 128})
	savePNG(t, folder, "a.PNG", colour)
	_, err := Open(folder, Options{})
	require.ErrorContains(t, err, "a.PNG is transparent")
	savePNG(t, folder, "a.PNG", grey(1, 2))
	_, err = Open(folder, Options{})
	require.ErrorContains(t, err, "all images need one size")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "a.PNG"), []byte("x"), 0o644))
	_, err = Open(folder, Options{})
	require.ErrorContains(t, err, "a.PNG: ")
	_, err = Open(t.TempDir(), Options{})
	require.ErrorContains(t, err, "holds no .png files")
	_, err = Open(folder+":scales=unit", Options{})
	require.ErrorContains(t, err, "unknown key scales; valid for")
}

func FuzzReadTable(f *testing.F) {
	for _, s := range []string{"1,2\n3,4\n", "u;v\n1;2\n", "\ufeffa\tb\n", "\"", "#\n,"} {
		f.Add(s, "0")
	}
	f.Fuzz(func(t *testing.T, text, column string) {
		for _, wanted := range [][]string{nil, {column}} {
			x, _, width, err := readTable(strings.NewReader(text), wanted, "")
			if err == nil {
				require.Positive(t, width)
				require.Zero(t, len(x)%width)
			}
		}
	})
}

func FuzzReadIDX(f *testing.F) {
	f.Add(idx(8, []byte{2, 1, 2}, 0, 255, 51, 102))
	f.Add(idx(0x0e, []byte{1, 1}, 0xbf, 0xf0, 0, 0, 0, 0, 0, 0))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		shape, x, err := readIDX(bytes.NewReader(raw), "unit")
		if err != nil {
			return
		}
		size := 1
		for _, d := range shape {
			size *= d
		}
		require.Positive(t, size)
		require.Zero(t, len(x)%size)
	})
}

func BenchmarkOpen(b *testing.B) {
	const n, d = 100_000, 8
	x := make([]float32, n*d)
	var table strings.Builder
	for i := range n {
		table.WriteString("0.125,-1.5,3.25,4,5e-3,6,7,8.0625\n")
		x[i*d] = float32(i)
	}
	for name, path := range map[string]string{
		"npy": saveArray(b, npy.Array{Shape: []int{n, d}, Data: x}),
		"csv": save(b, "a.csv", []byte(table.String())),
		"idx": save(b, "a.idx", append([]byte{0, 0, 8, 3, 0, 1, 0x86, 0xa0, 0, 0, 0, 1, 0, 0, 0, d}, make([]byte, n*d)...)),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(4 * n * d)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Open(path, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
