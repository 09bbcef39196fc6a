package install

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const linux = "linux/amd64"

// client makes a fake pip or npm, the only one on the path: it copies the
// archive into the directory it is started in, or fails with a message.
func client(t *testing.T, bin, name, archive, failure string) {
	t.Helper()
	if goruntime.GOOS == "windows" {
		t.Skip("the fake client is a shell script")
	}
	script := "#!/bin/sh\ncase \"$*\" in *--version*) exit 0;; esac\necho \"$0 $*\" >> " + bin + "/calls\n"
	if failure != "" {
		script += "echo working; echo 'ERROR: " + failure + "' >&2; echo bye; exit 1\n"
	} else {
		script += "/bin/cp " + archive + " .\n"
	}
	require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755))
	t.Setenv("PATH", bin)
}

func wheel(t *testing.T, members map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "onnxruntime.whl")
	f, err := os.Create(path)
	require.NoError(t, err)
	z := zip.NewWriter(f)
	for name, text := range members {
		w, err := z.Create(name)
		require.NoError(t, err)
		_, err = w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
	return path
}

func tarball(t *testing.T, members map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "onnxruntime.tgz")
	f, err := os.Create(path)
	require.NoError(t, err)
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for name, text := range members {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}))
		_, err = w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
	return path
}

func sum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

// pin replaces the table for the length of a test.
func pin(t *testing.T, list ...release) {
	t.Helper()
	saved := pinned
	pinned = list
	t.Cleanup(func() { pinned = saved })
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

var (
	pipRelease = release{"1.27.0", linux, Pip, false, []file{{"libonnxruntime.so.1.27.0", sum("pip library")}}}
	npmRelease = release{"1.27.0", linux, Npm, false, []file{{"linux/x64/libonnxruntime.so.1", sum("npm library")}}}
	pipMembers = map[string]string{
		"onnxruntime/__init__.py":                    "raise SystemExit",
		"onnxruntime/capi/libonnxruntime.so.1.27.0":  "pip library",
		"onnxruntime/capi/xlibonnxruntime.so.1.27.0": "another",
	}
	npmMembers = map[string]string{
		"package/bin/napi-v6/linux/arm64/libonnxruntime.so.1": "npm arm library",
		"package/bin/napi-v6/linux/x64/libonnxruntime.so.1":   "npm library",
	}
)

func TestPip(t *testing.T) {
	pin(t, pipRelease, npmRelease)
	for _, name := range []string{"pip", "pip3", "python3"} {
		bin := t.TempDir()
		client(t, bin, name, wheel(t, pipMembers), "")
		dir := filepath.Join(t.TempDir(), "new")
		var said []string
		got, err := Config{Dir: dir, Progress: func(m string) { said = append(said, m) }}.install(context.Background(), linux)
		require.NoError(t, err)
		require.Equal(t, Installed{filepath.Join(dir, "libonnxruntime.so"), "1.27.0", Pip, sum("pip library")}, got)
		require.Equal(t, "pip library", read(t, got.Library))
		require.Equal(t, []string{"libonnxruntime.so"}, names(t, dir))
		require.Len(t, said, 3)
		call := read(t, filepath.Join(bin, "calls"))
		for _, want := range []string{"--no-deps", "--only-binary=:all:", "onnxruntime==1.27.0", "--platform manylinux_2_28_x86_64"} {
			require.Contains(t, call, want)
		}
	}
}

func TestNpmWherePipIsMissingOrFails(t *testing.T) {
	pin(t, pipRelease, npmRelease)
	for _, failing := range []bool{false, true} {
		bin, dir := t.TempDir(), t.TempDir()
		if failing {
			client(t, bin, "pip", "", "no network")
		}
		client(t, bin, "npm", tarball(t, npmMembers), "")
		got, err := Config{Dir: dir}.install(context.Background(), linux)
		require.NoError(t, err)
		require.Equal(t, Npm, got.From)
		require.Equal(t, "npm library", read(t, got.Library))
		require.Equal(t, []string{"libonnxruntime.so"}, names(t, dir))
	}
}

func TestBothFail(t *testing.T) {
	pin(t, pipRelease, npmRelease)
	bin := t.TempDir()
	client(t, bin, "pip", "", "no network")
	dir := filepath.Join(t.TempDir(), "new")
	_, err := Config{Dir: dir}.install(context.Background(), linux)
	require.EqualError(t, err, "pip: ERROR: no network\n  npm: not installed")
	require.NoDirExists(t, dir)
}

// TestWrongSum keeps what was there and leaves nothing else.
func TestWrongSum(t *testing.T) {
	wrong := pipRelease
	wrong.files = []file{{"libonnxruntime.so.1.27.0", sum("something else")}}
	pin(t, wrong)
	client(t, t.TempDir(), "pip", wheel(t, pipMembers), "")
	dir := t.TempDir()
	old := filepath.Join(dir, "libonnxruntime.so")
	require.NoError(t, os.WriteFile(old, []byte("old"), 0o755))
	_, err := Config{Dir: dir}.install(context.Background(), linux)
	require.ErrorContains(t, err, "pinned is "+sum("something else")+": not installed")
	require.Equal(t, "old", read(t, old))
	require.Equal(t, []string{"libonnxruntime.so"}, names(t, dir))
}

func TestReplaces(t *testing.T) {
	pin(t, pipRelease)
	client(t, t.TempDir(), "pip", wheel(t, pipMembers), "")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "libonnxruntime.so"), []byte("old"), 0o755))
	got, err := Config{Dir: dir}.install(context.Background(), linux)
	require.NoError(t, err)
	require.Equal(t, "pip library", read(t, got.Library))
}

func TestDamagedArchives(t *testing.T) {
	pin(t, pipRelease)
	whole := wheel(t, pipMembers)
	for what, archive := range map[string]string{
		"has no libonnxruntime.so.1.27.0": wheel(t, map[string]string{"x": "y"}),
		"not a valid zip":                 filepath.Join(t.TempDir(), "cut.whl"),
	} {
		if strings.HasSuffix(archive, "cut.whl") {
			require.NoError(t, os.WriteFile(archive, []byte(read(t, whole)[:60]), 0o644))
		}
		client(t, t.TempDir(), "pip", archive, "")
		dir := t.TempDir()
		_, err := Config{Dir: dir}.install(context.Background(), linux)
		require.ErrorContains(t, err, what)
		require.Empty(t, names(t, dir))
	}
}

func TestCUDA(t *testing.T) {
	members := map[string]string{
		"onnxruntime/capi/libonnxruntime.so.1.27.0":           "library",
		"onnxruntime/capi/libonnxruntime_providers_shared.so": "shared",
		"onnxruntime/capi/libonnxruntime_providers_cuda.so":   "cuda",
	}
	files := []file{
		{"libonnxruntime.so.1.27.0", sum("library")},
		{"libonnxruntime_providers_shared.so", sum("shared")},
		{"libonnxruntime_providers_cuda.so", sum("cuda")},
	}
	pin(t, pipRelease, release{"1.27.0", linux, Pip, true, files})
	bin, dir := t.TempDir(), t.TempDir()
	client(t, bin, "pip", wheel(t, members), "")
	_, err := Config{Dir: dir, CUDA: true}.install(context.Background(), linux)
	require.NoError(t, err)
	require.Equal(t, []string{"libonnxruntime.so", "libonnxruntime_providers_cuda.so", "libonnxruntime_providers_shared.so"}, names(t, dir))
	require.Contains(t, read(t, filepath.Join(bin, "calls")), "onnxruntime-gpu==1.27.0")

	files[2].sum = sum("other")
	dir = t.TempDir()
	_, err = Config{Dir: dir, CUDA: true}.install(context.Background(), linux)
	require.ErrorContains(t, err, "libonnxruntime_providers_cuda.so has SHA-256")
	require.Empty(t, names(t, dir))
}

func TestGivenSum(t *testing.T) {
	pin(t)
	members := map[string]string{"onnxruntime/capi/libonnxruntime.so.1.99.0": "future"}
	archive := wheel(t, members)
	client(t, t.TempDir(), "pip", archive, "")
	for _, given := range []string{sum("future"), strings.ToUpper(sum("future")), sum(read(t, archive))} {
		dir := t.TempDir()
		got, err := Config{Dir: dir, Version: "1.99.0", SHA256: given, From: Pip}.install(context.Background(), linux)
		require.NoError(t, err)
		require.Equal(t, "future", read(t, got.Library))
	}
	_, err := Config{Dir: t.TempDir(), Version: "1.99.0", SHA256: sum("x"), From: Pip}.install(context.Background(), linux)
	require.ErrorContains(t, err, "given was "+sum("x")+": not installed")
}

func TestRefusals(t *testing.T) {
	for want, c := range map[string]Config{
		"use one of 1.27.0, 1.26.0, 1.25.1, 1.25.0, 1.24.4, 1.24.3, 1.24.2, 1.24.1, or": {Version: "1.30.0"},
		"version 1.26.0 with CUDA is not pinned for linux/amd64: use one of 1.27.0, or": {Version: "1.26.0", CUDA: true},
		"version 1.24.4 from npm is not pinned":                                         {Version: "1.24.4", From: Npm},
		`unknown source "conda": use pip or npm`:                                        {From: "conda"},
		"no such file or directory":                                                     {Dir: "/nowhere/at/all"},
	} {
		_, err := c.install(context.Background(), linux)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
	_, err := Config{}.install(context.Background(), "plan9/386")
	require.ErrorContains(t, err, "no version is pinned for plan9/386")
}

func TestCanceled(t *testing.T) {
	pin(t, pipRelease, npmRelease)
	client(t, t.TempDir(), "pip", wheel(t, pipMembers), "")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	_, err := Config{Dir: dir}.install(ctx, linux)
	require.Error(t, err)
	require.Empty(t, names(t, dir))
}

func TestPinned(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range pinned {
		key := fmt.Sprint(r.version, r.platform, r.from, r.cuda)
		require.False(t, seen[key], key)
		seen[key] = true
		guess := unpinned(r.version, r.platform, r.from, r.cuda)
		for i, f := range r.files {
			require.Len(t, f.sum, 64)
			require.Equal(t, guess.files[i].member, f.member)
		}
		if r.from == Pip {
			require.NotEmpty(t, wheelTags[r.platform])
		}
	}
	require.Contains(t, Versions(linux, false), DefaultVersion)
	require.Equal(t, []string{"1.27.0"}, Versions(linux, true))
}
