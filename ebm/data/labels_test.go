package data

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/internal/npy"
)

func labelsOf(t *testing.T, text string) ([]int, int) {
	t.Helper()
	ds, err := Open(text, Options{})
	require.NoError(t, err, text)
	defer ds.Close()
	l, ok := ds.(Labelled)
	if !ok {
		return nil, 0
	}
	require.Len(t, l.Labels(), ds.Len())
	return l.Labels(), l.Classes()
}

// Classes come from every kind of file.
func TestLabelsOfFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	x := npy.Array{Shape: []int{3, 2}, Data: []float32{1, 2, 3, 4, 5, 6}}
	y := npy.Array{Shape: []int{3}, Data: []float32{2, 0, 2}}
	target := npy.Array{Shape: []int{3}, Data: []float32{0.5, 0, 2}}
	require.NoError(t, npy.WriteFile(path("x.npy"), x))
	require.NoError(t, npy.WriteFile(path("y.npy"), y))
	require.NoError(t, npy.WriteFile(path("few.npy"), npy.Array{Shape: []int{2}, Data: []float32{0, 1}}))
	require.NoError(t, npy.WriteFile(path("target.npy"), target))
	require.NoError(t, npy.WriteArchiveFile(path("xy.npz"), []npy.Entry{{Name: "x", Array: x}, {Name: "y", Array: y}}))
	require.NoError(t, npy.WriteArchiveFile(path("regression.npz"), []npy.Entry{{Name: "x", Array: x}, {Name: "y", Array: target}, {Name: "c", Array: y}}))
	require.NoError(t, os.WriteFile(path("t.csv"), []byte("u,class,v\n1,2,2\n3,0,4\n5,2,6\n"), 0o644))
	require.NoError(t, os.WriteFile(path("i.idx"), []byte{0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6}, 0o644))
	require.NoError(t, os.WriteFile(path("y.idx"), []byte{0, 0, 8, 1, 0, 0, 0, 3, 2, 0, 2}, 0o644))
	for _, text := range []string{
		path("x.npy") + ":labels=" + path("y.npy"), path("xy.npz"), path("regression.npz") + ":labels=c",
		path("t.csv") + ":label=class", path("i.idx") + ":labels=" + path("y.idx"), path("x.npy") + ":labels=" + path("y.idx"),
	} {
		labels, classes := labelsOf(t, text)
		require.Equal(t, []int{2, 0, 2}, labels, text)
		require.Equal(t, 3, classes, text)
		ds, err := Open(text, Options{})
		require.NoError(t, err)
		all, err := All(ds)
		require.NoError(t, err)
		require.Equal(t, x.Data, all, text)
	}
	for _, text := range []string{path("x.npy"), path("regression.npz"), path("t.csv"), "swiss-roll:n=5"} {
		labels, _ := labelsOf(t, text)
		require.Nil(t, labels, text)
	}
	for text, part := range map[string]string{
		path("x.npy") + ":labels=" + path("few.npy"):    "2 labels for 3 items",
		path("x.npy") + ":labels=" + path("target.npy"): "label 0.5 of item 0",
		path("x.npy") + ":labels=" + path("none.npy"):   "none.npy",
		path("t.csv") + ":label=w":                      `no column "w"`,
		path("regression.npz") + ":labels=d":            "d",
	} {
		_, err := Open(text, Options{})
		require.ErrorContains(t, err, part)
	}
}

// The folders in a folder are classes, in alphabetical order; beside images they are passed over.
func TestLabelsOfFolders(t *testing.T) {
	dir := t.TempDir()
	write := func(grey uint8, path ...string) {
		full := filepath.Join(append([]string{dir}, path...)...)
		require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o755))
		img := image.NewGray(image.Rect(0, 0, 2, 1))
		img.Set(0, 0, color.Gray{grey})
		f, err := os.Create(full)
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, img))
		require.NoError(t, f.Close())
	}
	write(255, "cat", "1.png")
	write(51, "cat", "2.png")
	write(102, "ant", "1.png")
	labels, classes := labelsOf(t, dir)
	require.Equal(t, []int{0, 1, 1}, labels)
	require.Equal(t, 2, classes)
	ds, err := Open(dir, Options{})
	require.NoError(t, err)
	x, err := All(ds)
	require.NoError(t, err)
	require.Equal(t, []float32{0.4, 0, 1, 0, 0.2, 0}, x)
	write(255, "0.png")
	labels, _ = labelsOf(t, dir)
	require.Nil(t, labels)
}

// The classes of a set are the parts its points were drawn from.
func TestLabelsOfSets(t *testing.T) {
	ds := open(t, "eight-gaussians:n=200:std=0.01", 3).(LabelledGenerator)
	require.Equal(t, 8, ds.Classes())
	x, err := All(ds)
	require.NoError(t, err)
	for i, class := range ds.Labels() {
		mx, my := onCircle(8, 2, 0)([]float64{(float64(class) + 0.5) / 8}, []float32{0, 0})
		require.InDelta(t, mx, x[2*i], 0.1)
		require.InDelta(t, my, x[2*i+1], 0.1)
	}
	for text, want := range map[string]int{"rings:n=50:radii=1,2,3": 3, "two-moons": 2, "spirals:arms=4": 4, "pinwheel": 5, "gaussian-mixture:k=6": 6} {
		_, classes := labelsOf(t, text)
		require.Equal(t, want, classes, text)
	}
}

func TestJoint(t *testing.T) {
	ds := open(t, "two-moons:n=50", 3).(Labelled)
	mark := func(w []float32, class int) { w[class] = 1 }
	j, err := Joint(ds, 3, mark)
	require.NoError(t, err)
	require.Equal(t, []int{5}, j.Shape())
	plain, indices := make([]float32, 6), []int{7, 0, 31}
	require.NoError(t, ds.Rows(plain, indices))
	rows := make([]float32, 15)
	require.NoError(t, j.Rows(rows, indices))
	for i, index := range indices {
		want := append(append([]float32{}, plain[2*i:2*i+2]...), 0, 0, 0)
		want[2+ds.Labels()[index]] = 1
		require.Equal(t, want, rows[5*i:5*i+5])
	}
	_, err = Joint(ds, 1, mark)
	require.ErrorContains(t, err, "go up to 1")
	require.Error(t, j.Rows(rows[:3], indices))
}
