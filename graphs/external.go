package graphs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/graphs/internal/onnxpb"
	"github.com/onnx-ebm/onnx-ebm/internal/mmap"
)

// externalFiles reads tensor data that lies beside the model. Tensors of a large file are parts of a map of it, which stays as long as the
// process; others are read once, straight into their own memory.
type externalFiles struct {
	dir      string
	root     *os.Root
	last     *os.File // the file read last: most models have one
	lastName string
	maps     map[string][]byte // by location
	copied   map[string]int64  // bytes that were read, by location
	used     bool
}

// mapFrom is the size of a data file from which on it is mapped.
var mapFrom int64 = 64 << 20

// maxOverlap bounds how often the bytes of a file are read: tensors may share them, but a small file must not become a large model.
const maxOverlap = 8

// read fills t with the size bytes that the entries (location, offset, length) of a tensor name.
func (x *externalFiles) read(t *Tensor, entries []*onnxpb.StringStringEntry, size int64) error {
	x.used = true
	var location string
	offset, length := int64(0), int64(-1)
	for _, e := range entries {
		var err error
		switch e.Key {
		case "location":
			location = e.Value
		case "offset":
			offset, err = strconv.ParseInt(e.Value, 10, 64)
		case "length":
			length, err = strconv.ParseInt(e.Value, 10, 64)
		}
		if err != nil || offset < 0 {
			return fmt.Errorf("external data: %s %q is no valid number", e.Key, e.Value)
		}
	}
	if length >= 0 && length != size {
		return fmt.Errorf("external data: its length is %d where its shape needs %d bytes", length, size)
	}
	f, err := x.file(location)
	if err != nil {
		return fmt.Errorf("external data: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("external data: %w", err)
	}
	if offset > st.Size() || size > st.Size()-offset {
		return fmt.Errorf("external data: %s has %d bytes, the tensor needs %d from offset %d", location, st.Size(), size, offset)
	}
	if offset%int64(max(1, t.DType.Size())) == 0 && st.Size() >= mapFrom && size > 0 {
		memory, err := x.mapped(f, location, st.Size())
		if err == nil {
			t.Raw, t.mapped = memory[offset:offset+size:offset+size], true
			return nil
		}
		if !errors.Is(err, mmap.ErrUnsupported) {
			return fmt.Errorf("external data: %s: %w", location, err)
		}
	}
	if x.copied[location]/maxOverlap > st.Size() {
		return fmt.Errorf("external data: the tensors in %s lie over each other: they are more than %d times its %d bytes", location, maxOverlap, st.Size())
	}
	if x.copied == nil {
		x.copied = map[string]int64{}
	}
	x.copied[location] += size
	t.Raw = make([]byte, size)
	if _, err := f.ReadAt(t.Raw, offset); err != nil && !(errors.Is(err, io.EOF) && size == 0) {
		return fmt.Errorf("external data: %s: %w", location, err)
	}
	return nil
}

// mapped returns the map of a whole file.
func (x *externalFiles) mapped(f *os.File, location string, size int64) ([]byte, error) {
	if m := x.maps[location]; m != nil {
		return m, nil
	}
	m, err := mmap.Map(f, size)
	if err != nil {
		return nil, err
	}
	if x.maps == nil {
		x.maps = map[string][]byte{}
	}
	x.maps[location] = m
	return m, nil
}

// file opens a file in the model's folder. os.Root refuses symbolic links that lead out of it.
func (x *externalFiles) file(location string) (*os.File, error) {
	if x.last != nil && x.lastName == location {
		return x.last, nil
	}
	name := filepath.FromSlash(location)
	switch {
	case x.dir == "":
		return nil, fmt.Errorf("the model was read from memory and its data lies in %q", location)
	case location == "":
		return nil, errors.New("no location is given")
	case !filepath.IsLocal(name) || hasParent(location):
		return nil, fmt.Errorf("%q does not lie in the model's folder; only files there are read", location)
	}
	if x.root == nil {
		root, err := os.OpenRoot(x.dir)
		if err != nil {
			return nil, err
		}
		x.root = root
	}
	st, err := x.root.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("%q in the model's folder: %w", location, err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is no regular file", location)
	}
	f, err := x.root.Open(name)
	if err != nil {
		return nil, err
	}
	if x.last != nil {
		x.last.Close()
	}
	x.last, x.lastName = f, location
	return f, nil
}

func hasParent(location string) bool {
	return slices.Contains(strings.FieldsFunc(location, func(r rune) bool { return r == '/' || r == '\\' }), "..")
}

func (x *externalFiles) close() {
	if x.last != nil {
		x.last.Close()
	}
	if x.root != nil {
		x.root.Close()
	}
}
