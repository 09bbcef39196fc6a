package zarr

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// Write writes t as a store at path, in a folder that exists. An older store there, or
// an empty folder, is replaced; anything else is left alone and is an error, as is
// any other failure.
func Write(path string, t *Tree) error {
	s, err := Stage(path, t)
	if err != nil {
		return err
	}
	defer s.Abort()
	return s.Commit()
}

// Check returns the error that Write would give for path, whatever it holds, so
// that long work is not begun in vain.
func Check(path string) error {
	if _, err := resolve(path); err != nil {
		return fmt.Errorf("zarr: cannot write %s: %w", path, err)
	}
	return nil
}

// Staged is a store that is complete on the disk and not yet under its name.
type Staged struct {
	path, temporary string
}

// Stage does all of Write but the last step, so that several outputs can appear
// together. Commit or Abort must follow.
func Stage(path string, t *Tree) (*Staged, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	target, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("zarr: cannot write %s: %w", path, err)
	}
	s := &Staged{path: target, temporary: beside(target)}
	if err := writeTree(s.temporary, t, chunkElements); err != nil {
		s.Abort()
		return nil, fmt.Errorf("zarr: cannot write %s: %w", path, err)
	}
	return s, nil
}

// Commit gives the store its name. On an error what was there before is there
// still. After it, Abort does nothing.
func (s *Staged) Commit() error {
	old := beside(s.path)
	err := os.Rename(s.path, old)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("zarr: cannot write %s: %w", s.path, err)
	}
	if err := os.Rename(s.temporary, s.path); err != nil {
		if back := os.Rename(old, s.path); back != nil && !errors.Is(back, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("the old store is kept as %s: %w", old, back))
		}
		return fmt.Errorf("zarr: cannot write %s: %w", s.path, err)
	}
	os.RemoveAll(old)
	return nil
}

// Abort removes what was staged.
func (s *Staged) Abort() { os.RemoveAll(s.temporary) }

// resolve finds the folder that path stands for, links followed, and refuses to
// replace what is not a store.
func resolve(path string) (string, error) {
	if path == "" || path == "-" {
		return "", errors.New("it is not the name of a folder")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	switch info, err := os.Stat(filepath.Dir(path)); {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("the folder %s does not exist; create it first", filepath.Dir(path))
	case err != nil:
		return "", err
	case !info.IsDir():
		return "", fmt.Errorf("%s is not a folder", filepath.Dir(path))
	}
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil
	case err != nil:
		return "", err
	case !info.IsDir():
		return "", errors.New("it is a file; remove it, or name another folder")
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(path, "zarr.json")); err != nil && len(entries) > 0 {
		return "", errors.New("it is a folder with something else in it; remove it, or name another folder")
	}
	return path, nil
}

func beside(path string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".onnx-ebm-%016x.tmp", rand.Uint64()))
}

func writeTree(folder string, t *Tree, elements int) error {
	all := map[string]any{}
	for _, g := range t.groups() {
		if err := writeMetadata(filepath.Join(folder, g.name), newGroup(t.Attributes)); err != nil {
			return err
		}
		all[g.name] = newGroup(t.Attributes)
		for _, v := range withCoordinates(t, g.variables, elements) {
			m := newArray(typeName(v.data), v.shape, v.chunk, v.dims)
			if err := writeArray(filepath.Join(folder, g.name, v.name), m, v); err != nil {
				return err
			}
			all[g.name+"/"+v.name] = m
		}
	}
	root := newGroup(t.Attributes)
	root.Consolidated = &consolidated{Kind: "inline", Metadata: all}
	return writeMetadata(folder, root)
}

// stored is an array as it is written: chunks are runs of whole items, along
// the first axis, or along the second for one of the first.
type stored struct {
	name         string
	dims         []string
	shape, chunk []int
	data         any
}

// withCoordinates adds the arrays that number the elements of every dimension.
func withCoordinates(t *Tree, variables []Variable, elements int) []stored {
	seen := map[string]bool{}
	var out []stored
	coordinate := func(name string, n int) {
		if seen[name] {
			return
		}
		seen[name] = true
		numbers := make([]int64, n)
		for i := range numbers {
			numbers[i] = int64(i)
		}
		out = append(out, stored{name, []string{name}, []int{n}, []int{n}, numbers})
	}
	coordinate("chain", t.Chains)
	coordinate("draw", t.Draws)
	for _, v := range variables {
		for i, name := range v.dims() {
			coordinate(name, v.Shape[i])
		}
		shape := append([]int{t.Chains, t.Draws}, v.Shape...)
		dims := append([]string{"chain", "draw"}, v.dims()...)
		out = append(out, stored{v.Name, dims, shape, chunkOf(shape, elements), v.Data})
	}
	return out
}

// chunkElements is about how many elements a chunk has.
const chunkElements = 1 << 24

// chunkOf is the shape of chunks: whole chains as many as fit, or a part of one chain,
// in equal parts, so that little is padded at the end.
func chunkOf(shape []int, elements int) []int {
	chunk := append([]int(nil), shape...)
	item, _ := product(shape[2:])
	if perChain := item * shape[1]; perChain <= elements {
		chunk[0] = evenly(shape[0], elements/perChain)
	} else {
		chunk[0], chunk[1] = 1, evenly(shape[1], max(1, elements/item))
	}
	return chunk
}

// evenly is the size of the parts when n are cut into the fewest of at most most.
func evenly(n, most int) int {
	parts := (n + most - 1) / most
	return (n + parts - 1) / parts
}

func writeArray(folder string, m arrayMetadata, v stored) error {
	if err := writeMetadata(folder, m); err != nil {
		return err
	}
	if len(v.shape) == 1 {
		return writeChunk(folder, v.data, 0, v.shape[0], v.shape[0], 0)
	}
	item, _ := product(v.shape[2:])
	size, _ := product(v.chunk)
	zeros := make([]int, len(v.shape)-2)
	for i := 0; i*v.chunk[0] < v.shape[0]; i++ {
		for j := 0; j*v.chunk[1] < v.shape[1]; j++ {
			first := (i*v.chunk[0]*v.shape[1] + j*v.chunk[1]) * item
			chains := min(v.chunk[0], v.shape[0]-i*v.chunk[0])
			draws := min(v.chunk[1], v.shape[1]-j*v.chunk[1])
			err := writeChunk(folder, v.data, first, first+chains*draws*item, size, append([]int{i, j}, zeros...)...)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// writeChunk writes data[lo:hi], filled up to size elements with zeros.
func writeChunk(folder string, data any, lo, hi, size int, index ...int) error {
	bytes, err := part(data, lo, hi)
	if err != nil {
		return err
	}
	padding := make([]byte, (size-(hi-lo))*(len(bytes)/(hi-lo)))
	path := filepath.Join(folder, "c")
	for _, i := range index {
		path = filepath.Join(path, strconv.Itoa(i))
	}
	return writeFile(path, bytes, padding)
}

func writeMetadata(folder string, m any) error {
	text, err := marshal(m)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(folder, "zarr.json"), text)
}

// writeFile makes the folders it needs, and brings the file to the disk.
func writeFile(path string, parts ...[]byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range parts {
		if _, err := f.Write(p); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}
