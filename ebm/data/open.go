package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Options of Open. The zero value is ready.
type Options struct {
	// Key draws the points of a set by name. Give each set of a program its
	// own (training, validation), or equal descriptions give equal points.
	Key rng.Key
	// MapAbove is the size in bytes from which a .npy file is mapped and read
	// row by row; 0 means 256 MiB.
	MapAbove int64
}

// reader opens one kind of file. It takes its keys from s, which is done
// (checked for others) before the file is read.
type reader func(path string, s *spec.Spec, o Options) (Dataset, error)

// readers are the kinds of files by the ends of their names.
var readers = map[string]reader{
	".npy": openNPY,
	".npz": openNPZ,
	".csv": openCSV,
	".tsv": openCSV,
	".txt": openCSV,
	".gz":  openIDX,
	".idx": openIDX,
}

// starts are the kinds of files by their first bytes, for other names. The
// third byte of IDX is a type code, 8 to 14.
var starts = []struct {
	bytes string
	read  reader
}{
	{"\x93NUMPY", openNPY},
	{"PK\x03\x04", openNPZ},
	{"\x1f\x8b", openIDX},
	{"\x00\x00\x08", openIDX},
	{"\x00\x00\x09", openIDX},
	{"\x00\x00\x0b", openIDX},
	{"\x00\x00\x0c", openIDX},
	{"\x00\x00\x0d", openIDX},
	{"\x00\x00\x0e", openIDX},
}

// Open opens the data that text describes; see the package for the forms. The
// name of a set wins over a file of that name (write ./rings for the file).
func Open(text string, o Options) (Dataset, error) {
	s, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if _, ok := sets[strings.ToLower(s.Name)]; ok {
		return openSet(s, o.Key)
	}
	read, err := readerOf(s.Name)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return read(s.Name, s, o)
}

// parse reads text as a description; a file whose own name holds colons is
// taken as it is.
func parse(text string) (*spec.Spec, error) {
	if _, err := os.Stat(text); err == nil {
		return &spec.Spec{Name: text}, nil
	}
	return spec.Parse(text)
}

func readerOf(path string) (reader, error) {
	if path == "-" {
		return nil, errors.New(`"-" is not a file name; name a file or a set`)
	}
	info, err := os.Stat(path)
	ending := strings.ToLower(filepath.Ext(path))
	switch {
	case err != nil && ending == "" && filepath.Base(path) == path:
		return nil, fmt.Errorf("%w; or name a file that exists", spec.Unknown("data set", path, setNames()))
	case err != nil:
		return nil, err
	case info.IsDir():
		return openPNG, nil
	case readers[ending] != nil:
		return readers[ending], nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	start := make([]byte, 8)
	n, _ := io.ReadFull(f, start)
	for _, kind := range starts {
		if bytes.HasPrefix(start[:n], []byte(kind.bytes)) {
			return kind.read, nil
		}
	}
	return nil, fmt.Errorf("%s is none of .npy, .npz, .csv, IDX or a folder of .png", path)
}

// inMemory is newMemory for the contents of a file.
func inMemory(path string, shape []int, x []float32) (Dataset, error) {
	m, err := newMemory(shape, x)
	if err != nil {
		return nil, fmt.Errorf("data: %s: %w", path, err)
	}
	return m, nil
}
