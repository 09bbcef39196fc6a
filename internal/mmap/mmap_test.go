package mmap

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestMapForget(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, want, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := Map(f, int64(len(want)))
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range [][2]int{{0, len(want)}, {1, len(want) - 1}, {4095, 4097}, {7, 7}, {5000, 20000}} {
		Forget(b[cut[0]:cut[1]])
		if !bytes.Equal(b, want) {
			t.Fatalf("bytes changed after Forget of %v", cut)
		}
	}
	if err := Unmap(b); err != nil {
		t.Fatal(err)
	}
}
