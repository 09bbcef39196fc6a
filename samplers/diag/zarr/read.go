package zarr

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Read reads the store at path.
func Read(path string) (*Tree, error) {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = errors.New("it is a file; a Zarr store is a folder")
	}
	var t *Tree
	if err == nil {
		t, err = ReadFS(os.DirFS(path))
	}
	if err != nil {
		return nil, fmt.Errorf("zarr: cannot read %s: %w", path, err)
	}
	return t, nil
}

// ReadFS reads the store at the root of a file system. Variables are in
// the order of their names. Of the group posterior and, if there is one,
// sample_stats it takes all arrays whose dimensions begin with chain and draw.
// Memory is taken only for what the files hold.
func ReadFS(store fs.FS) (*Tree, error) {
	attributes, err := readGroup(store, ".")
	if err != nil {
		return nil, err
	}
	t := &Tree{Attributes: attributes}
	if t.Posterior, err = t.variables(store, "posterior"); err != nil {
		return nil, err
	}
	if _, err := fs.Stat(store, "sample_stats"); err == nil {
		if t.SampleStats, err = t.variables(store, "sample_stats"); err != nil {
			return nil, err
		}
	}
	if len(t.Attributes) == 0 {
		t.Attributes, _ = readGroup(store, "posterior")
	}
	return t, t.Validate()
}

// readGroup returns the attributes of a group that are texts.
func readGroup(store fs.FS, name string) (map[string]string, error) {
	text, err := fs.ReadFile(store, path.Join(name, "zarr.json"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, old := fs.Stat(store, path.Join(name, ".zgroup")); old == nil {
			return nil, errors.New("it is a store of Zarr version 2; write it with zarr_format=3")
		}
		return nil, fmt.Errorf("there is no %s; it is not a Zarr store, or lacks that group", path.Join(name, "zarr.json"))
	}
	if err != nil {
		return nil, err
	}
	var m struct {
		Format     int            `json:"zarr_format"`
		NodeType   string         `json:"node_type"`
		Attributes map[string]any `json:"attributes"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", path.Join(name, "zarr.json"), err)
	}
	if m.Format != 3 || m.NodeType != "group" {
		return nil, fmt.Errorf("%s is a %q of format %d, and not a group of format 3", name, m.NodeType, m.Format)
	}
	attributes := map[string]string{}
	for key, value := range m.Attributes {
		if text, ok := value.(string); ok {
			attributes[key] = text
		}
	}
	return attributes, nil
}

// variables reads a group. The first array sets the numbers of chains and draws.
func (t *Tree) variables(store fs.FS, group string) ([]Variable, error) {
	if _, err := readGroup(store, group); err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(store, group)
	if err != nil {
		return nil, err
	}
	var out []Variable
	for _, e := range entries {
		name := path.Join(group, e.Name())
		a, err := openArray(store, name)
		if err != nil {
			return nil, err
		}
		if a == nil {
			continue
		}
		if t.Chains == 0 {
			t.Chains, t.Draws = a.Shape[0], a.Shape[1]
		}
		if a.Shape[0] != t.Chains || a.Shape[1] != t.Draws {
			return nil, fmt.Errorf("%s has %d chains of %d draws; others have %d of %d", name, a.Shape[0], a.Shape[1], t.Chains, t.Draws)
		}
		data, err := a.read()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		v := Variable{Name: e.Name(), Shape: a.Shape[2:], Dims: a.Dimensions[2:], Data: data}
		if slices.Contains(v.Dims, "") {
			v.Dims = nil // axes without names
		}
		out = append(out, v)
	}
	return out, nil
}

// array is one that is read.
type array struct {
	arrayMetadata
	store  fs.FS
	folder string
	count  int // of elements
	order  binary.ByteOrder
	chunk  []int
}

// openArray reads the metadata in a folder. It is nil if that is no array over chain
// and draw.
func openArray(store fs.FS, folder string) (*array, error) {
	text, err := fs.ReadFile(store, path.Join(folder, "zarr.json"))
	if err != nil {
		return nil, nil // not a node of the store
	}
	var kind struct {
		NodeType   string    `json:"node_type"`
		Dimensions []*string `json:"dimension_names"`
	}
	if err := json.Unmarshal(text, &kind); err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	d := kind.Dimensions
	if kind.NodeType != "array" || len(d) < 2 || d[0] == nil || d[1] == nil || *d[0] != "chain" || *d[1] != "draw" {
		return nil, nil
	}
	a := &array{store: store, folder: folder, order: binary.LittleEndian}
	if err := json.Unmarshal(text, &a.arrayMetadata); err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	return a, nil
}

// Limits on what metadata may claim.
const (
	maxAxes    = 32
	maxChunks  = 1 << 16
	maxMissing = 1 << 24 // elements in chunks that are not stored
)

func (a *array) check() error {
	a.chunk = a.Grid.Configuration.ChunkShape
	count, ok := product(a.Shape)
	switch {
	case a.Format != 3:
		return fmt.Errorf("format %d; only Zarr format 3 is read", a.Format)
	case len(a.Shape) > maxAxes || len(a.Shape) != len(a.Dimensions):
		return fmt.Errorf("%d axes with %d names", len(a.Shape), len(a.Dimensions))
	case !ok || count == 0:
		return fmt.Errorf("the shape %v is empty or too large", a.Shape)
	case a.Grid.Name != "regular" || len(a.chunk) != len(a.Shape) || slices.Min(a.chunk) < 1:
		return fmt.Errorf("a %q grid of chunks of shape %v for an array of shape %v", a.Grid.Name, a.chunk, a.Shape)
	case a.Keys.Name != "default" && a.Keys.Name != "v2" || !slices.Contains([]string{"", "/", "."}, a.Keys.Configuration.Separator):
		return fmt.Errorf("chunk keys are encoded as %q with %q between; only default and v2 with / or . are read", a.Keys.Name, a.Keys.Configuration.Separator)
	}
	a.count = count
	return a.checkCodecs()
}

func (a *array) checkCodecs() error {
	if len(a.Codecs) != 1 || a.Codecs[0].Name != "bytes" {
		var names []string
		for _, c := range a.Codecs {
			names = append(names, c.Name)
		}
		return fmt.Errorf("it is encoded by %s; only uncompressed arrays are read (write with compressors=None)", strings.Join(names, ", "))
	}
	switch a.Codecs[0].Configuration.Endian {
	case "", "little":
	case "big":
		a.order = binary.BigEndian
	default:
		return fmt.Errorf("the byte order %q is not known", a.Codecs[0].Configuration.Endian)
	}
	return nil
}

func (a *array) read() (any, error) {
	var dtype string
	_ = json.Unmarshal(a.DataType, &dtype) // what is not a text is not in the table
	reader, ok := readers[dtype]
	if !ok {
		return nil, fmt.Errorf("elements are %s; only float32, float64, int32, int64 and bool are read", a.DataType)
	}
	return reader(a)
}

// assemble puts an array together from its chunks of elements of so many bytes.
func assemble[T element](a *array, size int, parseFill func(json.RawMessage) (T, error)) ([]T, error) {
	found, err := a.survey(size)
	if err != nil {
		return nil, err
	}
	fill, err := parseFill(a.FillValue)
	if err != nil {
		return nil, fmt.Errorf("fill_value: %w", err)
	}
	out := make([]T, a.count)
	if len(found) < a.chunks() {
		for i := range out {
			out[i] = fill
		}
	}
	var values []T
	for _, c := range found {
		bytes, err := fs.ReadFile(a.store, c.key)
		if err != nil {
			return nil, err
		}
		if len(bytes) != c.bytes {
			return nil, fmt.Errorf("the chunk %s has changed while it was read", c.key)
		}
		if values == nil {
			values = make([]T, len(bytes)/size)
		}
		if _, err := binary.Decode(bytes, a.order, values); err != nil {
			return nil, fmt.Errorf("the chunk %s: %w", c.key, err)
		}
		place(out, a.Shape, values, a.chunk, c.index)
	}
	return out, nil
}

// stored chunks, as survey finds them.
type foundChunk struct {
	key   string
	index []int
	bytes int
}

// survey lists the chunks that are stored and checks that they are whole, before
// memory is taken for the array.
func (a *array) survey(size int) ([]foundChunk, error) {
	if a.chunks() > maxChunks {
		return nil, fmt.Errorf("it has more than %d chunks", maxChunks)
	}
	perChunk, ok := product(a.chunk)
	var found []foundChunk
	missing := 0
	index := make([]int, len(a.Shape))
	for more := true; more; more = a.next(index) {
		key := a.key(index)
		info, err := fs.Stat(a.store, key)
		if errors.Is(err, fs.ErrNotExist) {
			if missing += a.clipped(index); missing > maxMissing {
				return nil, errors.New("most of its chunks are not there")
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if !ok || !info.Mode().IsRegular() || info.Size() != int64(perChunk)*int64(size) {
			return nil, fmt.Errorf("the chunk %s has %d bytes; chunks of shape %v have %d", key, info.Size(), a.chunk, perChunk*size)
		}
		found = append(found, foundChunk{key, slices.Clone(index), int(info.Size())})
	}
	return found, nil
}

// chunks is the number of chunks, up to one more than allowed.
func (a *array) chunks() int {
	n := 1
	for i, s := range a.Shape {
		n *= min((s-1)/a.chunk[i]+1, maxChunks+1)
		n = min(n, maxChunks+1)
	}
	return n
}

// next steps to the next chunk in row-major order, if there is one.
func (a *array) next(index []int) bool {
	for k := len(index) - 1; k >= 0; k-- {
		if index[k]++; index[k] <= (a.Shape[k]-1)/a.chunk[k] {
			return true
		}
		index[k] = 0
	}
	return false
}

// clipped is how many elements of a chunk are in the array.
func (a *array) clipped(index []int) int {
	n := 1
	for k, i := range index {
		n *= min(a.chunk[k], a.Shape[k]-i*a.chunk[k])
	}
	return n
}

// key is the file of a chunk.
func (a *array) key(index []int) string {
	separator := a.Keys.Configuration.Separator
	prefix := ""
	if a.Keys.Name == "default" {
		prefix = "c"
	}
	if separator == "" {
		separator = map[string]string{"default": "/", "v2": "."}[a.Keys.Name]
	}
	parts := make([]string, 0, len(index)+1)
	if prefix != "" {
		parts = append(parts, prefix)
	}
	for _, i := range index {
		parts = append(parts, strconv.Itoa(i))
	}
	return path.Join(a.folder, strings.Join(parts, separator))
}

// place copies a chunk to where it belongs in dst, less what is beyond the edge.
func place[T element](dst []T, shape []int, chunk []T, extents, index []int) {
	if len(shape) == 1 {
		copy(dst[index[0]*extents[0]:], chunk)
		return
	}
	row, chunkRow := len(dst)/shape[0], len(chunk)/extents[0]
	first := index[0] * extents[0]
	for i := range min(extents[0], shape[0]-first) {
		place(dst[(first+i)*row:(first+i+1)*row], shape[1:], chunk[i*chunkRow:(i+1)*chunkRow], extents[1:], index[1:])
	}
}
