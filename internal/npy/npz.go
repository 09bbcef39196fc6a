package npy

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/onnx-ebm/onnx-ebm/internal/atomicfile"
)

// Entry is a named array of an archive.
type Entry struct {
	Name string // without .npy
	Array
}

// Archive is an open .npz file.
type Archive struct {
	path  string
	file  io.Closer
	names []string
	parts map[string]*zip.File
}

// OpenArchive opens a .npz file and reads its table of contents.
func OpenArchive(path string) (*Archive, error) {
	f, size, err := open(path)
	if err != nil {
		return nil, err
	}
	if size < 0 {
		f.Close()
		return nil, fmt.Errorf("npy: %s: an archive cannot be read from a pipe; save it to a file", path)
	}
	names, parts, err := contents(f, size)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("npy: %s: %w", path, err)
	}
	return &Archive{path: path, file: f, names: names, parts: parts}, nil
}

func contents(r io.ReaderAt, size int64) (names []string, parts map[string]*zip.File, err error) {
	z, err := zip.NewReader(r, size)
	// Names are keys here and never paths, so no name is unsafe.
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, nil, fmt.Errorf("not a .npz file: %w", err)
	}
	parts = map[string]*zip.File{}
	for _, part := range z.File {
		name, ok := strings.CutSuffix(part.Name, ".npy")
		if !ok {
			continue
		}
		if parts[name] != nil {
			return nil, nil, fmt.Errorf("it holds two arrays named %q", name)
		}
		parts[name] = part
		names = append(names, name)
	}
	return names, parts, nil
}

// Names are the names of the arrays, in the order of the file.
func (z *Archive) Names() []string { return slices.Clone(z.names) }

// Read reads one array.
func (z *Archive) Read(name string, opts ...Option) (Array, error) {
	part, ok := z.parts[name]
	if !ok {
		return Array{}, fmt.Errorf("npy: %s has no array %q; it has %s", z.path, name, strings.Join(z.names, ", "))
	}
	a, err := readPart(part, collect(opts))
	if err != nil {
		return Array{}, fmt.Errorf("npy: %s: %s: %w", z.path, name, err)
	}
	return a, nil
}

// readPart distrusts the size in the table of contents.
func readPart(part *zip.File, opts options) (Array, error) {
	r, err := part.Open()
	if err != nil {
		return Array{}, err
	}
	defer r.Close()
	return read(r, -1, opts)
}

// Close closes the file.
func (z *Archive) Close() error { return z.file.Close() }

// ReadArchive reads all arrays of a .npz file, in its order.
func ReadArchive(path string, opts ...Option) ([]Entry, error) {
	z, err := OpenArchive(path)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	var out []Entry
	for _, name := range z.names {
		a, err := z.Read(name, opts...)
		if err != nil {
			return nil, err
		}
		out = append(out, Entry{name, a})
	}
	return out, nil
}

// epoch is the time every archive says it was written: the zip format's first.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// WriteArchive writes entries as .npz, in order and uncompressed. Names must
// differ.
func WriteArchive(w io.Writer, entries []Entry) error {
	z := zip.NewWriter(w)
	seen := map[string]bool{}
	for _, e := range entries {
		if seen[e.Name] {
			return fmt.Errorf("npy: two arrays named %q", e.Name)
		}
		seen[e.Name] = true
		part, err := z.CreateHeader(&zip.FileHeader{Name: e.Name + ".npy", Method: zip.Store, Modified: epoch})
		if err != nil {
			return fmt.Errorf("npy: %s: %w", e.Name, err)
		}
		if err := Write(part, e.Array); err != nil {
			return fmt.Errorf("%w (array %q)", err, e.Name)
		}
	}
	return z.Close()
}

// WriteArchiveFile replaces the file at path with an archive of entries, whole
// or not at all.
func WriteArchiveFile(path string, entries []Entry) error {
	return atomicfile.Write(path, func(w io.Writer) error { return WriteArchive(w, entries) })
}
