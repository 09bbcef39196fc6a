package runtime

import (
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func touch(t *testing.T, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte("not a library\n"), 0o644))
	return file
}

func anything(string) error { return nil }

func needLinux(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("file names are those of Linux")
	}
}

// TestFindOrder takes away one place after another.
func TestFindOrder(t *testing.T) {
	needLinux(t)
	root := t.TempDir()
	file := touch(t, root, "named.so")
	a := touch(t, root, "a", "libonnxruntime.so.1.24.1")
	b := touch(t, root, "b", "libonnxruntime.so")
	places := []place{
		{"FIRST", []string{file}, true},
		{"beside", []string{filepath.Join(root, "none"), filepath.Join(root, "a")}, false},
		{"system", []string{filepath.Join(root, "b")}, false},
	}
	got, source, err := find(filepath.Join(root, "b"), places, anything)
	require.NoError(t, err)
	require.Equal(t, []string{b, "option"}, []string{got, source})
	for i, want := range []string{file, a, b} {
		got, source, err := find("", places[i:], anything)
		require.NoError(t, err)
		require.Equal(t, []string{want, places[i].source}, []string{got, source})
	}
}

func TestSearchPlaces(t *testing.T) {
	t.Setenv(libraryVariable, "/one")
	t.Setenv(dylibVariable, "/two")
	t.Setenv("XDG_DATA_HOME", "/data")
	var sources []string
	for _, p := range searchPlaces() {
		sources = append(sources, p.source)
	}
	require.Equal(t, []string{"ONNXRUNTIME_SHARED_LIBRARY_PATH", "ORT_DYLIB_PATH", "beside the executable", "user directory", "system"}, sources)
	require.Equal(t, filepath.FromSlash("/data/onnx-ebm/runtime"), UserDir())

	t.Setenv("XDG_DATA_HOME", "relative")
	require.NotContains(t, UserDir(), "relative", "a relative folder is to be ignored")
	t.Setenv(libraryVariable, "")
	require.Equal(t, "ORT_DYLIB_PATH", searchPlaces()[0].source)
}

// TestNamedIsUsedOrAnError never falls through to the next place.
func TestNamedIsUsedOrAnError(t *testing.T) {
	needLinux(t)
	root := t.TempDir()
	good := touch(t, root, "good", "libonnxruntime.so")
	empty := filepath.Join(root, "empty")
	require.NoError(t, os.Mkdir(empty, 0o755))
	next := place{"system", []string{filepath.Dir(good)}, false}
	for named, want := range map[string]string{
		filepath.Join(root, "missing.so"): "no such file",
		empty:                             "no libonnxruntime.so in this directory",
		touch(t, root, "text.so"):         "not a shared library",
	} {
		usable := func(path string) error {
			if path == good {
				return nil
			}
			return probe(path)
		}
		_, _, err := find("", []place{{"VARIABLE", []string{named}, true}, next}, usable)
		require.ErrorContains(t, err, "VARIABLE="+named+": "+want)
		require.NotErrorIs(t, err, ErrNoLibrary)
		_, _, err = find(named, []place{next}, usable)
		require.ErrorContains(t, err, "library "+named+": "+want)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestNotFound(t *testing.T) {
	root := t.TempDir()
	places := []place{
		{"beside the executable", []string{root}, false},
		{"user directory", []string{root}, false},
		{"system", []string{root + "/1", root + "/2", root + "/3", root + "/4"}, false},
	}
	_, _, err := find("", places, anything)
	require.ErrorIs(t, err, ErrNoLibrary)
	require.ErrorContains(t, err, "onnx-ebm runtime install")
	require.ErrorContains(t, err, "user directory: none in "+root)
	require.LessOrEqual(t, strings.Count(err.Error(), "\n")+1, 6)
}

// TestUnusableIsPassedOver says why a library that nobody named was not used.
func TestUnusableIsPassedOver(t *testing.T) {
	needLinux(t)
	root := t.TempDir()
	old := touch(t, root, "a", "libonnxruntime.so")
	fresh := touch(t, root, "b", "libonnxruntime.so")
	usable := func(path string) error {
		if path == old {
			return tooOld("1.16.3")
		}
		return nil
	}
	places := []place{{"user directory", []string{filepath.Dir(old)}, false}, {"system", []string{filepath.Dir(fresh)}, false}}
	got, _, err := find("", places, usable)
	require.NoError(t, err)
	require.Equal(t, fresh, got)
	_, _, err = find("", places[:1], usable)
	require.ErrorContains(t, err, old+" is too old (version 1.16.3): need ≥ 1.24")
}

func TestLibraryAt(t *testing.T) {
	needLinux(t)
	root := filepath.Join(t.TempDir(), "a[1]*")
	touch(t, root, "libonnxruntime.so.1.9.0")
	touch(t, root, "libonnxruntime.so.old")
	touch(t, root, "libonnxruntime_providers_shared.so")
	newer := touch(t, root, "libonnxruntime.so.1.27.0")
	got, err := libraryAt(root)
	require.NoError(t, err)
	require.Equal(t, newer, got)
	plain := touch(t, root, "libonnxruntime.so")
	got, err = libraryAt(root)
	require.NoError(t, err)
	require.Equal(t, plain, got)
}

func TestVersion(t *testing.T) {
	for _, v := range []string{"1.24.0", "1.27.0", "1.30.0-dev", "2.0.1", "nightly"} {
		require.NoError(t, checkVersion(v), v)
	}
	for _, v := range []string{"1.23.2", "1.8.1", "0.5.0"} {
		require.ErrorContains(t, checkVersion(v), "too old (version "+v+"): need ≥ 1.24")
	}
}

// TestBogusFiles wants an error for each, not a crash: the system's loader maps
// a library that was cut short, and dies on it.
func TestBogusFiles(t *testing.T) {
	needLinux(t)
	dir := t.TempDir()
	for name, want := range map[string]string{"empty": "", "text": "not a library\n", "magic": "\x7fELF\x02\x01\x01"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(want), 0o755))
		require.ErrorContains(t, probe(path), "not a shared library", name)
	}
	require.Error(t, probe(dir))
	require.Error(t, probe(filepath.Join(dir, "missing")))

	exe, err := os.Executable()
	require.NoError(t, err)
	require.ErrorContains(t, probe(exe), "not", "a program is no library")

	other, err := filepath.Glob("/lib/*/libm.so.6")
	require.NoError(t, err)
	for _, path := range other {
		require.ErrorIs(t, probe(path), errNotRuntime)
	}
}

func TestTruncatedLibrary(t *testing.T) {
	needLinux(t)
	whole, err := os.ReadFile(open(t, 1).Info().Library)
	require.NoError(t, err)
	for _, keep := range []int{100, 5000, len(whole) / 2, len(whole) * 9 / 10} {
		path := filepath.Join(t.TempDir(), "libonnxruntime.so")
		require.NoError(t, os.WriteFile(path, whole[:keep], 0o755))
		require.Error(t, probe(path), "%d bytes of %d", keep, len(whole))
	}
}
