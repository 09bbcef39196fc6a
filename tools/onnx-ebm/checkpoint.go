package main

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/internal/atomicfile"
	"github.com/onnx-ebm/onnx-ebm/samplers"
)

// checkpoints keeps the state of a sampling run in a folder, as one file that
// is replaced whole: a CRC-32C, then settings and result in gob.
type checkpoints struct {
	dir      string
	settings map[string]string // what a resumed run must agree on
}

type checkpoint struct {
	Settings map[string]string
	Result   []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (c checkpoints) path() string { return filepath.Join(c.dir, "sample.ckpt") }

// make creates the folder, whose parent must exist.
func (c checkpoints) make() error {
	if err := os.Mkdir(c.dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("checkpoint folder: %w", err)
	}
	if info, err := os.Stat(c.dir); err != nil || !info.IsDir() {
		return fmt.Errorf("checkpoint folder %s: it is a file", c.dir)
	}
	return nil
}

func (c checkpoints) save(r *samplers.Result) error {
	raw, err := r.MarshalBinary()
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if err := gob.NewEncoder(&body).Encode(checkpoint{c.settings, raw}); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return atomicfile.Write(c.path(), func(w io.Writer) error {
		if err := binary.Write(w, binary.LittleEndian, crc32.Checksum(body.Bytes(), castagnoli)); err != nil {
			return err
		}
		_, err := w.Write(body.Bytes())
		return err
	})
}

// load reads the checkpoint. Without a complete one it gives no result but
// the reason; one of other settings is an error.
func (c checkpoints) load() (r *samplers.Result, reason string, err error) {
	raw, err := os.ReadFile(c.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "there is no checkpoint in " + c.dir, nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("checkpoint: %w", err)
	}
	var k checkpoint
	r = new(samplers.Result)
	if len(raw) < 4 || crc32.Checksum(raw[4:], castagnoli) != binary.LittleEndian.Uint32(raw) ||
		gob.NewDecoder(bytes.NewReader(raw[4:])).Decode(&k) != nil || r.UnmarshalBinary(k.Result) != nil {
		return nil, "the checkpoint in " + c.dir + " is damaged", nil
	}
	for _, name := range slices.Sorted(maps.Keys(c.settings)) {
		if k.Settings[name] != c.settings[name] {
			return nil, "", fmt.Errorf("the checkpoint in %s is of a run with another %s (%q, not %q); use its settings or another folder", c.dir, name, k.Settings[name], c.settings[name])
		}
	}
	return r, "", nil
}
