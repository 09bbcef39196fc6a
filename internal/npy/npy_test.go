package npy

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// reference is what testdata/make.py saves: arange(24)·0.5 − 3 as [2, 3, 4].
func reference() Array {
	a := Array{Shape: []int{2, 3, 4}, Data: make([]float32, 24)}
	for i := range a.Data {
		a.Data[i] = float32(i)*0.5 - 3
	}
	return a
}

func TestReadsWhatNumPyWrites(t *testing.T) {
	for _, name := range []string{"c_f4", "fortran_f4", "big_f4", "c_f8", "fortran_big_f8", "version2_f4", "version3_f4"} {
		a, err := ReadFile("testdata/" + name + ".npy")
		require.NoError(t, err, name)
		require.Equal(t, reference(), a, name)
	}
	for name, want := range map[string]Array{
		"scalar_f4": {[]int{}, []float32{2.5}},
		"scalar_f8": {[]int{}, []float32{-1.25}},
		"vector_f8": {[]int{3}, []float32{1, -2, 3.5}},
		"empty_f4":  {[]int{0, 2}, []float32{}},
	} {
		a, err := ReadFile("testdata/" + name + ".npy")
		require.NoError(t, err, name)
		require.Equal(t, want, a, name)
	}
}

func TestIntegersWhereAsked(t *testing.T) {
	for name, want := range map[string]Array{
		"labels_i8":     {[]int{2, 2}, []float32{3, -1, 0, 7}},
		"labels_u1":     {[]int{3}, []float32{0, 255, 3}},
		"labels_big_i4": {[]int{3}, []float32{1, -2, 3}},
		"bool":          {[]int{2}, []float32{1, 0}},
	} {
		a, err := ReadFile("testdata/"+name+".npy", Ints)
		require.NoError(t, err, name)
		require.Equal(t, want, a, name)
	}
}

func TestRefusedTypes(t *testing.T) {
	for name, want := range map[string]string{
		"labels_i8": "testdata/labels_i8.npy: dtype int64 where float32 or float64 is needed",
		"labels_u1": "dtype uint8",
		"bool":      "dtype bool",
		"half":      "dtype float16 is not supported",
		"complex":   "dtype complex128",
		"object":    "dtype object",
		"struct":    "structured dtypes",
		"huge_f8":   "row 1 (from 0) holds a value that float32 cannot",
	} {
		_, err := ReadFile("testdata/" + name + ".npy")
		require.ErrorContains(t, err, want, name)
	}
}

func TestIntegersThatFloat32CannotHold(t *testing.T) {
	for _, c := range []struct {
		descr string
		raw   []byte
		ok    bool
	}{
		{"<i4", []byte{0, 0, 0, 1}, true},                                      // 2²⁴
		{"<i4", []byte{1, 0, 0, 1}, false},                                     // 2²⁴+1
		{"<i8", []byte{0, 0, 0, 0, 0, 0, 0, 0x80}, true},                       // −2⁶³
		{"<i8", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, false}, // 2⁶³−1
		{"<u8", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, false}, // 2⁶⁴−1
		{"<u8", []byte{0, 0, 0, 0, 0, 0, 0, 0x80}, true},                       // 2⁶³
		{"<i2", []byte{0xff, 0xff}, true},                                      // −1
		{"|i1", []byte{0x80}, true},                                            // −128
		{">u2", []byte{0xff, 0xfe}, true},                                      // 65534
		{">i8", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, true},  // −1
		{"<u4", []byte{0xff, 0xff, 0xff, 0xff}, false},                         // 2³²−1
		{">i4", []byte{0xff, 0xff, 0xff, 0xff}, true},                          // −1
		{"<i8", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, true},  // −1
		{"<u8", []byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0}, true},                 // 2²⁴−1
		{"|b1", []byte{1}, true},                                               // true
		{"|u1", []byte{200}, true},                                             // 200
		{"<i8", []byte{1, 0, 0, 0, 0, 0, 0, 0x80}, false},                      // −2⁶³+1
		{">u4", []byte{1, 0, 0, 1}, false},                                     // 2²⁴+1
		{"=i4", []byte{0, 0, 0, 0}, true},                                      // 0
		{"<i8", slices.Repeat([]byte{0}, 8), true},                             // 0
		{"<u8", []byte{0, 0, 0, 0, 1, 0, 0, 1}, false},                         // 2³²(2²⁴+1)
		{"<u8", []byte{0, 0, 0, 0, 0, 0, 0, 1}, true},                          // 2⁵⁶
		{"<i8", []byte{0, 0, 0, 0, 0, 0, 0, 0xff}, true},                       // −2⁵⁶
		{"<i8", []byte{0, 0, 0, 0, 0, 0xff, 0xff, 0xff}, true},                 // −2⁴⁰
		{"<i8", []byte{0, 0, 0, 0x80, 0xff, 0xff, 0xff, 0xff}, true},           // −2³¹
		{"<i8", []byte{0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff}, false}, // −2³¹−1
		{"<i8", []byte{0, 0, 0, 0x7f, 0, 0, 0, 0}, true},                       // 127·2²⁴
		{"<i8", []byte{0x80, 0xff, 0xff, 0x7f, 0, 0, 0, 0}, true},              // 2³¹−128
	} {
		d, err := parseDtype(c.descr, options{ints: true})
		require.NoError(t, err)
		require.Equal(t, c.ok, d.convert(make([]float32, 1), c.raw) < 0, "%s % x", c.descr, c.raw)
	}
}

func TestWritesTheBytesOfNumPy(t *testing.T) {
	for _, name := range []string{"c_f4", "scalar_f4", "empty_f4", "nan_f4"} {
		want, err := os.ReadFile("testdata/" + name + ".npy")
		require.NoError(t, err)
		a, err := ReadFile("testdata/" + name + ".npy")
		require.NoError(t, err)
		var got bytes.Buffer
		require.NoError(t, Write(&got, a))
		require.Equal(t, want, got.Bytes(), name)
	}
}

func TestWriteFileRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npy")
	for _, shape := range [][]int{{}, {1}, {7}, {3, 5}, {0, 4}, {2, 0}, {40_000, 3}} {
		n, err := count(shape)
		require.NoError(t, err)
		a := Array{shape, make([]float32, n)}
		for i := range a.Data {
			a.Data[i] = float32(math.Sin(float64(i)))
		}
		require.NoError(t, WriteFile(path, a))
		got, err := ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, a, got)
	}
	require.ErrorContains(t, WriteFile(path, Array{[]int{2}, []float32{1}}), "shape [2] holds 2 values, not the 1 given")
	require.ErrorContains(t, WriteFile("-", Array{[]int{1}, []float32{1}}), "not a file name")
}

func TestReadFileRefusesNonFiles(t *testing.T) {
	_, err := ReadFile("-")
	require.ErrorContains(t, err, "not a file name")
	_, err = ReadFile(t.TempDir())
	require.ErrorContains(t, err, "is a folder")
	_, err = ReadFile("testdata/none.npy")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// file builds a .npy by hand.
func file(dict string, data int) []byte {
	text := dict + "\n"
	out := append([]byte(magic), 1, 0, byte(len(text)), byte(len(text)>>8))
	return append(append(out, text...), make([]byte, data)...)
}

func TestMalformedFiles(t *testing.T) {
	good := "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"
	for _, c := range []struct {
		raw  []byte
		want string
	}{
		{nil, "not a .npy file"},
		{[]byte("PK\x03\x04 and so on"), "not a .npy file"},
		{[]byte(magic + "\x01\x00\xff\xff{"), "header is cut off"},
		{[]byte(magic + "\x02\x00\xff\xff\xff\xff{"), "not plausible"},
		{[]byte(magic + "\x02\x00\xff\xff"), "header is cut off"},
		{[]byte(magic + "\x09\x00\x01\x00{"), "version 9.0"},
		{file(good, 15), "cut off"},
		{file(good, 17), "after the array"},
		{file(strings.Replace(good, "(2, 2)", "(1000000000, 1000)", 1), 16), "cut off"},
		{file(strings.Replace(good, "(2, 2)", "(9000000000000000000, 9000000000000000000)", 1), 16), "too large"},
		{file(strings.Replace(good, "(2, 2)", "(99999999999999999999,)", 1), 16), "not an extent"},
		{file(strings.Replace(good, "(2, 2)", "(-2, -2)", 1), 16), "negative"},
		{file(strings.Replace(good, "(2, 2)", "(4)", 1), 16), "not a tuple"},
		{file(strings.Replace(good, "(2, 2)", "("+strings.Repeat("1,", 65)+")", 1), 4), "64 axes"},
		{file(strings.Replace(good, "<f4", "<q9", 1), 16), `dtype "<q9" is not supported`},
		{file(strings.Replace(good, "'<f4'", "''", 1), 16), "empty dtype"},
		{file(strings.Replace(good, "'<f4'", "[('a', '<f4')]", 1), 16), "structured"},
		{file("{'descr': '<f4', 'shape': (4,)}", 16), "needs descr, fortran_order and shape"},
		{file("{'descr': '<f4', 'descr': '<f4', 'shape': (4,)}", 16), "twice"},
		{file("{'descr': '<f4', 'x': 1}", 16), "unknown key"},
		{file(good+" more", 16), "after the dictionary"},
		{file("{'descr': '<f4", 0), "without its end"},
		{file("", 0), "malformed"},
	} {
		_, err := Read(bytes.NewReader(c.raw))
		require.ErrorContains(t, err, c.want, "%q", c.raw)
		path := filepath.Join(t.TempDir(), "a.npy")
		require.NoError(t, os.WriteFile(path, c.raw, 0o644))
		_, err = ReadFile(path)
		require.ErrorContains(t, err, path, "%q", c.raw)
	}
}

func TestOtherHeaderSpellings(t *testing.T) {
	want := Array{[]int{2, 1}, []float32{0, 0}}
	for _, dict := range []string{
		`{"shape": (2L, 1L), "fortran_order": False, "descr": "<f4"}`,
		"{'shape':(2,1,),'fortran_order':True,'descr':'<f4',}",
		" { 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2 , 1 ) } ",
	} {
		a, err := Read(bytes.NewReader(file(dict, 8)))
		require.NoError(t, err, dict)
		require.Equal(t, want, a, dict)
	}
}

// A header that promises a terabyte must not take memory for it.
func TestLyingHeaderTakesLittleMemory(t *testing.T) {
	raw := file("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}", 4096)
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := Read(bytes.NewReader(raw))
			if err == nil {
				b.Fatal("no error")
			}
		}
	})
	require.Less(t, result.AllocedBytesPerOp(), int64(2<<20))
}

func TestCheckFinite(t *testing.T) {
	a, err := ReadFile("testdata/nan_f4.npy")
	require.NoError(t, err)
	require.ErrorContains(t, a.CheckFinite(), "row 1 (from 0) holds NaN")
	a.Data[3] = 0
	require.ErrorContains(t, a.CheckFinite(), "row 2 (from 0) holds +Inf")
	a.Data[4] = math.MaxFloat32
	require.NoError(t, a.CheckFinite())
}

func TestMapped(t *testing.T) {
	want := reference()
	for _, name := range []string{"c_f4", "big_f4", "c_f8"} {
		m, err := Map("testdata/" + name + ".npy")
		require.NoError(t, err, name)
		require.Equal(t, want.Shape, m.Shape())
		got := make([]float32, 36)
		require.NoError(t, m.Rows(got, []int{1, 0, 1}))
		require.Equal(t, slices.Concat(want.Data[12:], want.Data), got, name)
		require.ErrorContains(t, m.Rows(got[:12], []int{2}), "no row 2 of 2")
		require.ErrorContains(t, m.Rows(got[:12], []int{-1}), "no row -1 of 2")
		require.ErrorContains(t, m.Rows(got[:11], []int{0}), "no room")
		require.NoError(t, m.Close())
		require.NoError(t, m.Close())
		require.ErrorContains(t, m.Rows(got[:12], []int{0}), "closed")
	}
	_, err := Map("testdata/fortran_f4.npy")
	require.ErrorIs(t, err, ErrNotMappable)
	_, err = Map("testdata/scalar_f4.npy")
	require.ErrorContains(t, err, "scalar")
	_, err = Map("testdata/labels_i8.npy")
	require.ErrorContains(t, err, "dtype int64")
	m, err := Map("testdata/huge_f8.npy")
	require.NoError(t, err)
	defer m.Close()
	require.ErrorContains(t, m.Rows(make([]float32, 2), []int{0, 1}), "row 1 (from 0)")
}

func TestMappedFileThatIsCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npy")
	require.NoError(t, WriteFile(path, Array{[]int{100_000, 4}, make([]float32, 400_000)}))
	m, err := Map(path)
	require.NoError(t, err)
	defer m.Close()
	row := make([]float32, 4)
	require.NoError(t, m.Rows(row, []int{99_999}))
	require.NoError(t, os.Truncate(path, 4096))
	require.ErrorContains(t, m.Rows(row, []int{99_999}), "changed while it was read")
}

func TestReadsArchivesOfNumPy(t *testing.T) {
	z, err := OpenArchive("testdata/stored.npz")
	require.NoError(t, err)
	defer z.Close()
	require.Equal(t, []string{"x", "y", "grad/w.0"}, z.Names())
	for _, name := range []string{"x", "grad/w.0"} {
		a, err := z.Read(name)
		require.NoError(t, err)
		require.Equal(t, reference(), a)
	}
	_, err = z.Read("y")
	require.ErrorContains(t, err, "testdata/stored.npz: y: dtype int64")
	y, err := z.Read("y", Ints)
	require.NoError(t, err)
	require.Equal(t, []float32{1, 2}, y.Data)
	_, err = z.Read("z")
	require.ErrorContains(t, err, `no array "z"; it has x, y, grad/w.0`)

	entries, err := ReadArchive("testdata/compressed.npz")
	require.NoError(t, err)
	require.Equal(t, []Entry{{"x", reference()}, {"s", Array{[]int{}, []float32{4}}}}, entries)
	_, err = ReadArchive("testdata/c_f4.npy")
	require.ErrorContains(t, err, "not a .npz file")
}

func TestArchiveRoundTrip(t *testing.T) {
	entries := []Entry{
		{"b", reference()},
		{"a/weight", Array{[]int{}, []float32{1}}},
		{"/onnx::MatMul_1", Array{[]int{2}, []float32{1, 2}}},
	}
	path := filepath.Join(t.TempDir(), "a.npz")
	require.NoError(t, WriteArchiveFile(path, entries))
	got, err := ReadArchive(path)
	require.NoError(t, err)
	require.Equal(t, entries, got)

	var one, two bytes.Buffer
	require.NoError(t, WriteArchive(&one, entries))
	require.NoError(t, WriteArchive(&two, entries))
	require.Equal(t, one.Bytes(), two.Bytes())
	require.ErrorContains(t, WriteArchive(&one, append(entries, entries[0])), `two arrays named "b"`)
}

func FuzzRead(f *testing.F) {
	names, err := filepath.Glob("testdata/*.npy")
	require.NoError(f, err)
	for _, name := range names {
		raw, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := Read(bytes.NewReader(raw), Ints)
		sized, sizedErr := read(bytes.NewReader(raw), int64(len(raw)), options{ints: true})
		require.Equal(t, err == nil, sizedErr == nil, "%v %v", err, sizedErr)
		if err != nil {
			return
		}
		var first, second bytes.Buffer
		require.NoError(t, Write(&first, a))
		require.NoError(t, Write(&second, sized))
		require.Equal(t, first.Bytes(), second.Bytes())
		again, err := Read(&first)
		require.NoError(t, err)
		require.Equal(t, a.Shape, again.Shape)
		require.Equal(t, bytesOf(a.Data), bytesOf(again.Data))
	})
}

func FuzzReadArchive(f *testing.F) {
	for _, name := range []string{"stored", "compressed"} {
		raw, err := os.ReadFile("testdata/" + name + ".npz")
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		names, parts, err := contents(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		for _, name := range names {
			if a, err := readPart(parts[name], options{}); err == nil {
				n, err := count(a.Shape)
				require.NoError(t, err)
				require.Len(t, a.Data, n)
			}
		}
	})
}

func benchFile(b *testing.B, descr string, size int) string {
	path := filepath.Join(b.TempDir(), "a.npy")
	raw := file("{'descr': '"+descr+"', 'fortran_order': False, 'shape': (250000, 16)}", 250_000*16*size)
	require.NoError(b, os.WriteFile(path, raw, 0o644))
	return path
}

func BenchmarkReadFile(b *testing.B) {
	for _, c := range []struct {
		descr string
		size  int
	}{{"<f4", 4}, {">f4", 4}, {"<f8", 8}} {
		b.Run(c.descr[1:]+map[byte]string{'<': "le", '>': "be"}[c.descr[0]], func(b *testing.B) {
			path := benchFile(b, c.descr, c.size)
			b.SetBytes(int64(250_000 * 16 * c.size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ReadFile(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMappedRows(b *testing.B) {
	m, err := Map(benchFile(b, "<f4", 4))
	require.NoError(b, err)
	defer m.Close()
	indices := make([]int, 256)
	for i := range indices {
		indices[i] = i * 7919 % 250_000
	}
	dst := make([]float32, 256*16)
	b.SetBytes(int64(4 * len(dst)))
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Rows(dst, indices); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	a := Array{[]int{250_000, 16}, make([]float32, 4_000_000)}
	b.SetBytes(16_000_000)
	b.ReportAllocs()
	var w bytes.Buffer
	for b.Loop() {
		w.Reset()
		if err := Write(&w, a); err != nil {
			b.Fatal(err)
		}
	}
}
