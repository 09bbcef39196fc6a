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
)

// externalFiles reads tensor data that lies beside the model. Each tensor is read once, straight into its own memory.
type externalFiles struct {
	dir      string
	root     *os.Root
	last     *os.File // the file read last: most models have one
	lastName string
	used     bool
}

// read returns the size bytes that the entries (location, offset, length) of a tensor name.
func (x *externalFiles) read(entries []*onnxpb.StringStringEntry, size int64) ([]byte, error) {
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
			return nil, fmt.Errorf("external data: %s %q is no valid number", e.Key, e.Value)
		}
	}
	if length >= 0 && length != size {
		return nil, fmt.Errorf("external data: its length is %d where its shape needs %d bytes", length, size)
	}
	f, err := x.file(location)
	if err != nil {
		return nil, fmt.Errorf("external data: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("external data: %w", err)
	}
	if offset > st.Size() || size > st.Size()-offset {
		return nil, fmt.Errorf("external data: %s has %d bytes, the tensor needs %d from offset %d", location, st.Size(), size, offset)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, offset); err != nil && !(errors.Is(err, io.EOF) && size == 0) {
		return nil, fmt.Errorf("external data: %s: %w", location, err)
	}
	return b, nil
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
