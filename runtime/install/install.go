package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// Config says what to install; the zero value installs [DefaultVersion] for the
// CPU into [runtime.UserDir].
type Config struct {
	Version  string               // empty: DefaultVersion
	Dir      string               // empty: runtime.UserDir(); its parent must exist otherwise
	CUDA     bool                 // the library with CUDA: a large download; needs CUDA 13 and cuDNN 9 to run
	From     string               // Pip, Npm; empty: pip if it works, else npm
	SHA256   string               // of the library or of the archive; for versions that are not pinned
	Progress func(message string) // nil: silent
}

// Installed tells what was installed.
type Installed struct {
	Library string `json:"library"` // file
	Version string `json:"version"`
	From    string `json:"from"`
	SHA256  string `json:"sha256"` // of the library
}

// Install gets a library and puts it into the directory, replacing the one
// there. It fails without a trace: nothing is left half-written.
func Install(ctx context.Context, c Config) (Installed, error) {
	done, err := c.install(ctx, goruntime.GOOS+"/"+goruntime.GOARCH)
	if err != nil {
		return Installed{}, fmt.Errorf("runtime install: %w", err)
	}
	return done, nil
}

func (c Config) install(ctx context.Context, platform string) (done Installed, err error) {
	releases, err := c.releases(platform)
	if err != nil {
		return done, err
	}
	dir, undo, err := c.target()
	if err != nil {
		return done, err
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	var failed []string
	for _, r := range releases {
		c.say("getting ONNX Runtime %s with %s", r.version, r.from)
		done, err = c.installRelease(ctx, r, dir)
		if err == nil || ctx.Err() != nil {
			return done, err
		}
		failed = append(failed, r.from+": "+err.Error())
	}
	return done, errors.New(strings.Join(failed, "\n  "))
}

func (c Config) say(format string, a ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, a...))
	}
}

// releases lists what would do, in the order in which it is tried.
func (c Config) releases(platform string) ([]release, error) {
	version := c.Version
	if version == "" {
		version = DefaultVersion
	}
	froms := []string{Pip, Npm}
	if c.From != "" {
		if clients[c.From] == nil {
			return nil, fmt.Errorf("unknown source %q: use pip or npm", c.From)
		}
		froms = []string{c.From}
	}
	var list []release
	for _, from := range froms {
		i := slices.IndexFunc(pinned, func(r release) bool {
			return r.version == version && r.platform == platform && r.cuda == c.CUDA && r.from == from
		})
		switch {
		case i >= 0:
			list = append(list, pinned[i])
		case c.SHA256 != "":
			list = append(list, unpinned(version, platform, from, c.CUDA))
		}
	}
	if len(list) > 0 {
		return list, nil
	}
	kind := ""
	if c.CUDA {
		kind = " with CUDA"
	}
	known := Versions(platform, c.CUDA)
	if len(known) == 0 {
		return nil, fmt.Errorf("no version%s is pinned for %s: give --version and --sha256, or set ONNXRUNTIME_SHARED_LIBRARY_PATH to a library of your own", kind, platform)
	}
	source := ""
	if c.From != "" {
		source = " from " + c.From
	}
	return nil, fmt.Errorf("version %s%s%s is not pinned for %s: use one of %s, or give its SHA-256 with --sha256", version, kind, source, platform, strings.Join(known, ", "))
}

// target makes the directory, and an undo that removes what was made.
func (c Config) target() (dir string, undo func(), err error) {
	undo = func() {}
	dir = c.Dir
	if dir == "" {
		if dir = runtime.UserDir(); dir == "" {
			return "", undo, errors.New("there is no home directory: name a directory with --dir")
		}
		return dir, undo, os.MkdirAll(dir, 0o755)
	}
	err = os.Mkdir(dir, 0o755)
	if err == nil {
		return dir, func() { os.Remove(dir) }, nil
	}
	if info, statErr := os.Stat(dir); statErr == nil && info.IsDir() {
		return dir, undo, nil
	}
	return "", undo, err
}

func (c Config) installRelease(ctx context.Context, r release, dir string) (done Installed, err error) {
	tmp, err := os.MkdirTemp(dir, ".download-")
	if err != nil {
		return done, err
	}
	defer os.RemoveAll(tmp)
	archive, err := clients[r.from](ctx, r, tmp)
	if err != nil {
		return done, err
	}
	c.say("checking %s", filepath.Base(archive))
	out := filepath.Join(tmp, "files")
	if err := os.Mkdir(out, 0o755); err != nil {
		return done, err
	}
	sums, err := extract(archive, out, r.files)
	if err != nil {
		return done, err
	}
	if err := c.verify(r, archive, sums); err != nil {
		return done, err
	}
	if err := ctx.Err(); err != nil {
		return done, err
	}
	library, err := place(r, out, dir)
	if err != nil {
		return done, err
	}
	c.say("installed %s", library)
	return Installed{Library: library, Version: r.version, From: r.from, SHA256: sums[0]}, nil
}

// verify compares with the pinned sums, or with the one that was given.
func (c Config) verify(r release, archive string, sums []string) error {
	if c.SHA256 == "" {
		for i, f := range r.files {
			if sums[i] != f.sum {
				return fmt.Errorf("%s has SHA-256 %s, pinned is %s: not installed", f.member, sums[i], f.sum)
			}
		}
		return nil
	}
	if strings.EqualFold(c.SHA256, sums[0]) && len(sums) == 1 {
		return nil
	}
	whole, err := sumOf(archive)
	if err != nil {
		return err
	}
	if strings.EqualFold(c.SHA256, whole) {
		return nil
	}
	return fmt.Errorf("the library has SHA-256 %s, the archive %s, given was %s: not installed", sums[0], whole, c.SHA256)
}

// place moves the files into the directory, the library last and under its
// plain name, by which it is found first and replaces any version before it.
func place(r release, from, dir string) (library string, err error) {
	for i := len(r.files) - 1; i >= 0; i-- {
		name := filepath.Base(r.files[i].member)
		target := name
		if i == 0 {
			target = plainName(r.platform)
		}
		library = filepath.Join(dir, target)
		if err := os.Rename(filepath.Join(from, name), library); err != nil {
			return "", err
		}
	}
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
	return filepath.Abs(library)
}

func plainName(platform string) string {
	switch system, _, _ := strings.Cut(platform, "/"); system {
	case "windows":
		return "onnxruntime.dll"
	case "darwin":
		return "libonnxruntime.dylib"
	}
	return "libonnxruntime.so"
}
