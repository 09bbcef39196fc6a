package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

// names lists a folder, so that a test sees temporary files left behind.
func names(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func TestWriteCreatesAndReplaces(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "a.txt")
	require.NoError(t, Write(path, text("one")))
	require.Equal(t, "one", read(t, path))
	require.NoError(t, Write(path, text("two")))
	require.Equal(t, "two", read(t, path))
	require.Equal(t, []string{"a.txt"}, names(t, folder))
}

func TestWriteGivesTheModeOfAnyNewFile(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "plain"), nil, 0o666))
	require.NoError(t, Write(filepath.Join(folder, "ours"), text("x")))
	plain, err := os.Stat(filepath.Join(folder, "plain"))
	require.NoError(t, err)
	ours, err := os.Stat(filepath.Join(folder, "ours"))
	require.NoError(t, err)
	require.Equal(t, plain.Mode(), ours.Mode())

	require.NoError(t, os.Chmod(filepath.Join(folder, "ours"), 0o640))
	require.NoError(t, Write(filepath.Join(folder, "ours"), text("y")))
	ours, err = os.Stat(filepath.Join(folder, "ours"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), ours.Mode().Perm())
}

func TestFailedWriteLeavesTheOldFile(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "a.txt")
	require.NoError(t, Write(path, text("old")))
	broken := errors.New("broken")
	err := Write(path, func(w io.Writer) error {
		_, _ = w.Write(make([]byte, 1<<20))
		return broken
	})
	require.ErrorIs(t, err, broken)
	require.Equal(t, "old", read(t, path))
	require.Equal(t, []string{"a.txt"}, names(t, folder))
}

func TestRefusedPaths(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	require.NoError(t, Write(file, text("x")))
	for _, c := range []struct{ path, want string }{
		{"-", "not a file name"},
		{"", "not a file name"},
		{filepath.Join(folder, "missing", "a"), "does not exist; create it first"},
		{folder, "it is a folder"},
		{folder + "/x/", "names a folder"},
		{filepath.Join(file, "a"), "folder"},
	} {
		err := Write(c.path, func(io.Writer) error { t.Fatal("called"); return nil })
		require.ErrorContains(t, err, c.want, c.path)
	}
	require.Equal(t, []string{"file"}, names(t, folder))
}

func TestLinkStaysALink(t *testing.T) {
	folder := t.TempDir()
	real, link := filepath.Join(folder, "real"), filepath.Join(folder, "link")
	require.NoError(t, os.WriteFile(real, []byte("old"), 0o644))
	require.NoError(t, os.Symlink("real", link))
	require.NoError(t, Write(link, text("new")))
	require.Equal(t, "new", read(t, real))
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink)
}

func TestDeviceIsNotReplaced(t *testing.T) {
	before, err := os.Stat(os.DevNull)
	require.NoError(t, err)
	if before.Mode()&os.ModeDevice == 0 {
		t.Skip("this machine's null device is an ordinary file")
	}
	require.NoError(t, Write(os.DevNull, text("gone")))
	after, err := os.Stat(os.DevNull)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after))
}

func TestSetCommitsTogether(t *testing.T) {
	folder := t.TempDir()
	a, b := filepath.Join(folder, "a"), filepath.Join(folder, "b")
	require.NoError(t, os.WriteFile(a, []byte("old a"), 0o644))
	var s Set
	for path, contents := range map[string]string{a: "new a", b: "new b"} {
		w, err := s.Add(path)
		require.NoError(t, err)
		_, err = io.WriteString(w, contents)
		require.NoError(t, err)
	}
	require.Equal(t, "old a", read(t, a))
	require.NoFileExists(t, b)
	require.NoError(t, s.Commit())
	require.Equal(t, "new a", read(t, a))
	require.Equal(t, "new b", read(t, b))
	s.Abort()
	require.Equal(t, []string{"a", "b"}, names(t, folder))
}

func TestSetAbortLeavesAll(t *testing.T) {
	folder := t.TempDir()
	a := filepath.Join(folder, "a")
	require.NoError(t, os.WriteFile(a, []byte("old"), 0o644))
	var s Set
	for _, name := range []string{"a", "b"} {
		w, err := s.Add(filepath.Join(folder, name))
		require.NoError(t, err)
		_, err = io.WriteString(w, "new")
		require.NoError(t, err)
	}
	s.Abort()
	require.Equal(t, "old", read(t, a))
	require.Equal(t, []string{"a"}, names(t, folder))
}

// A target that turns into a non-empty folder while the work goes on makes
// the second rename fail; the first is taken back.
func TestSetCommitFailureRestoresAll(t *testing.T) {
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	require.NoError(t, os.WriteFile(path("old"), []byte("old"), 0o644))
	var s Set
	for _, name := range []string{"old", "new", "trouble"} {
		w, err := s.Add(path(name))
		require.NoError(t, err)
		_, err = io.WriteString(w, "contents")
		require.NoError(t, err)
	}
	require.NoError(t, os.MkdirAll(path("trouble/inside"), 0o755))
	require.ErrorContains(t, s.Commit(), "trouble")
	require.Equal(t, "old", read(t, path("old")))
	require.Equal(t, []string{"old", "trouble"}, names(t, folder))
}

func TestSetRefusesOnePathTwice(t *testing.T) {
	folder := t.TempDir()
	var s Set
	defer s.Abort()
	_, err := s.Add(filepath.Join(folder, "a"))
	require.NoError(t, err)
	_, err = s.Add(folder + "/./a")
	require.ErrorContains(t, err, "two outputs")
}
