package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Write replaces the file at path with what write produces. The writer is
// buffered. If write or anything after it fails, the old file stays.
func Write(path string, write func(io.Writer) error) error {
	var s Set
	defer s.Abort()
	w, err := s.Add(path)
	if err != nil {
		return err
	}
	if err := write(w); err != nil {
		return err
	}
	return s.Commit()
}

// Set stages several outputs of one command: all appear, or none does. The
// zero value is empty and ready. A Set is used by one goroutine at a time;
// the writers it hands out may be used by one goroutine each.
type Set struct {
	outputs []*output
}

// Add checks that path can be written and returns the buffered writer of its
// contents. Nothing is visible at path before Commit. A path that the set
// already holds is an error.
func (s *Set) Add(path string) (io.Writer, error) {
	target, special, err := resolve(path)
	if err != nil {
		return nil, err
	}
	for _, o := range s.outputs {
		if o.target == target && !special {
			return nil, fmt.Errorf("atomicfile: %s is named for two outputs; give each its own file", path)
		}
	}
	o, err := stage(path, target, special)
	if err != nil {
		return nil, err
	}
	s.outputs = append(s.outputs, o)
	return o.buffer, nil
}

// Commit gives every staged file its name. On an error all targets are as
// they were before (a pipe or device that was already written to excepted).
// The set is empty afterwards, whatever the outcome.
func (s *Set) Commit() error {
	defer s.Abort()
	for _, o := range s.outputs {
		if err := o.finish(); err != nil {
			return err
		}
	}
	for i, o := range s.outputs {
		if err := o.place(len(s.outputs) > 1); err != nil {
			for _, placed := range s.outputs[:i+1] {
				err = errors.Join(err, placed.restore())
			}
			return err
		}
	}
	// What cannot be replaced or taken back comes last.
	for _, o := range s.outputs {
		if err := o.pour(); err != nil {
			for _, placed := range s.outputs {
				err = errors.Join(err, placed.restore())
			}
			return err
		}
	}
	for _, o := range s.outputs {
		o.settle()
	}
	return nil
}

// Abort removes all that was staged and leaves the targets alone. After a
// Commit it does nothing, so it may be deferred.
func (s *Set) Abort() {
	for _, o := range s.outputs {
		o.file.Close()
		os.Remove(o.file.Name())
	}
	s.outputs = nil
}

// output is one staged file.
type output struct {
	path    string // as the caller wrote it, for messages
	target  string // absolute, links followed
	special bool   // a device or pipe: poured into, not replaced
	file    *os.File
	buffer  *bufio.Writer
	backup  string // the old file, while several outputs are being placed
	placed  bool
}

// resolve returns the absolute name of the file that path stands for and
// whether it is something that exists and is not a regular file.
func resolve(path string) (target string, special bool, err error) {
	if path == "" || path == "-" {
		return "", false, fmt.Errorf("atomicfile: %q is not a file name; name a file", path)
	}
	folder := filepath.Dir(path)
	if os.IsPathSeparator(path[len(path)-1]) {
		return "", false, fmt.Errorf("atomicfile: cannot write %s: it names a folder; name a file", path)
	}
	switch info, err := os.Stat(folder); {
	case errors.Is(err, fs.ErrNotExist):
		return "", false, fmt.Errorf("atomicfile: cannot write %s: the folder %s does not exist; create it first", path, folder)
	case err != nil:
		return "", false, fmt.Errorf("atomicfile: cannot write %s: %w", path, err)
	case !info.IsDir():
		return "", false, fmt.Errorf("atomicfile: cannot write %s: %s is not a folder", path, folder)
	}
	folder, err = filepath.EvalSymlinks(folder)
	if err == nil {
		folder, err = filepath.Abs(folder)
	}
	if err != nil {
		return "", false, fmt.Errorf("atomicfile: cannot write %s: %w", path, err)
	}
	target = filepath.Join(folder, filepath.Base(path))

	info, err := os.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return target, false, nil
	case err != nil:
		return "", false, fmt.Errorf("atomicfile: cannot write %s: %w", path, err)
	case info.IsDir():
		return "", false, fmt.Errorf("atomicfile: cannot write %s: it is a folder; name a file", path)
	case !info.Mode().IsRegular():
		return target, true, nil
	}
	if target, err = filepath.EvalSymlinks(target); err != nil {
		return "", false, fmt.Errorf("atomicfile: cannot write %s: %w", path, err)
	}
	// A rename would go past a write protection that the user set.
	f, err := os.OpenFile(target, os.O_WRONLY, 0)
	if err != nil {
		return "", false, fmt.Errorf("atomicfile: cannot write %s: %w", path, err)
	}
	return target, false, f.Close()
}

func stage(path, target string, special bool) (*output, error) {
	folder := filepath.Dir(target)
	if special {
		folder = os.TempDir()
	}
	// 0666 less the umask, as for any new file; an old file's bits are kept.
	f, err := create(folder)
	if err != nil {
		return nil, fmt.Errorf("atomicfile: cannot write %s: %w", path, err)
	}
	if info, err := os.Stat(target); err == nil && !special {
		if err := f.Chmod(info.Mode().Perm()); err != nil {
			f.Close()
			os.Remove(f.Name())
			return nil, fmt.Errorf("atomicfile: cannot write %s: %w", path, err)
		}
	}
	return &output{path: path, target: target, special: special, file: f, buffer: bufio.NewWriterSize(f, 1<<16)}, nil
}

func create(folder string) (*os.File, error) {
	for attempt := 0; ; attempt++ {
		f, err := os.OpenFile(temporary(folder), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil || attempt == 100 || !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

func temporary(folder string) string {
	return filepath.Join(folder, fmt.Sprintf(".onnx-ebm-%016x.tmp", rand.Uint64()))
}

// finish brings all contents to the disk.
func (o *output) finish() error {
	err := o.buffer.Flush()
	if err == nil && !o.special {
		err = o.file.Sync()
	}
	if err == nil && !o.special {
		err = o.file.Close()
	}
	if err != nil {
		return fmt.Errorf("atomicfile: cannot write %s: %w", o.path, err)
	}
	return nil
}

// place renames the staged file to its target. With keep the old file stays
// reachable as o.backup, for restore.
func (o *output) place(keep bool) error {
	if o.special {
		return nil
	}
	if info, err := os.Stat(o.target); err == nil && info.IsDir() {
		return fmt.Errorf("atomicfile: cannot write %s: it has become a folder", o.path)
	}
	if keep {
		backup := temporary(filepath.Dir(o.target))
		err := os.Link(o.target, backup)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			err = os.Rename(o.target, backup) // a file system without hard links
		}
		switch {
		case err == nil:
			o.backup = backup
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("atomicfile: cannot write %s: %w", o.path, err)
		}
	}
	if err := os.Rename(o.file.Name(), o.target); err != nil {
		return fmt.Errorf("atomicfile: cannot write %s: %w", o.path, err)
	}
	o.placed = true
	return nil
}

// restore undoes place.
func (o *output) restore() error {
	switch {
	case o.backup != "":
		if err := os.Rename(o.backup, o.target); err != nil {
			return fmt.Errorf("atomicfile: the old %s is kept as %s: %w", o.path, o.backup, err)
		}
		// A rename between two names of one file leaves both.
		os.Remove(o.backup)
	case o.placed:
		return os.Remove(o.target)
	}
	return nil
}

// pour copies the staged contents into a device or pipe.
func (o *output) pour() error {
	if !o.special {
		return nil
	}
	w, err := os.OpenFile(o.target, os.O_WRONLY, 0)
	if err == nil {
		_, err = o.file.Seek(0, io.SeekStart)
		if err == nil {
			_, err = io.Copy(w, o.file)
		}
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return fmt.Errorf("atomicfile: cannot write %s: %w", o.path, err)
	}
	return nil
}

// settle drops the old file and syncs the folder, so that the new name
// survives a crash. Some systems cannot sync a folder; the data are safe.
func (o *output) settle() {
	if o.backup != "" {
		os.Remove(o.backup)
	}
	if o.special {
		return
	}
	if folder, err := os.Open(filepath.Dir(o.target)); err == nil {
		_ = folder.Sync()
		folder.Close()
	}
}
