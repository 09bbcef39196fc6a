package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
)

// ErrNoLibrary is the error of [Open] when no place has a usable library.
var ErrNoLibrary = errors.New("no ONNX Runtime library")

const (
	libraryVariable = "ONNXRUNTIME_SHARED_LIBRARY_PATH"
	dylibVariable   = "ORT_DYLIB_PATH"
	installCommand  = "onnx-ebm runtime install"
)

// place is where a library may lie. A named place is used or is an error.
type place struct {
	source string
	dirs   []string
	named  bool
}

// searchPlaces lists where a library is looked for when no option names one.
func searchPlaces() []place {
	var list []place
	for _, v := range []string{libraryVariable, dylibVariable} {
		if path := os.Getenv(v); path != "" {
			list = append(list, place{v, []string{path}, true})
		}
	}
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dir := filepath.Dir(exe)
		list = append(list, place{"beside the executable", []string{dir, filepath.Join(dir, "onnxruntime"), filepath.Join(dir, "..", "lib")}, false})
	}
	if dir := UserDir(); dir != "" {
		list = append(list, place{"user directory", []string{dir}, false})
	}
	return append(list, place{"system", systemDirs(), false})
}

// UserDir is the folder that `onnx-ebm runtime install` fills:
// onnx-ebm/runtime in the user's data directory. Empty if there is no home.
func UserDir() string {
	data := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(data) {
		data = defaultDataDir()
	}
	if data == "" {
		return ""
	}
	return filepath.Join(data, "onnx-ebm", "runtime")
}

func defaultDataDir() string {
	if goruntime.GOOS == "windows" {
		return os.Getenv("LOCALAPPDATA")
	}
	home, err := os.UserHomeDir()
	if err != nil || home == "" {
		return ""
	}
	if goruntime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Application Support")
	}
	return filepath.Join(home, ".local", "share")
}

func systemDirs() []string {
	switch goruntime.GOOS {
	case "windows":
		return filepath.SplitList(os.Getenv("PATH"))
	case "darwin":
		return append(filepath.SplitList(os.Getenv("DYLD_LIBRARY_PATH")), "/opt/homebrew/lib", "/usr/local/lib")
	}
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[goruntime.GOARCH]
	return append(filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")),
		"/usr/local/lib", "/usr/lib/"+triplet, "/usr/lib64", "/usr/lib", "/opt/onnxruntime/lib")
}

// find returns the first usable library: the option's, or that of the first
// place that has one. usable tells why a file is none.
func find(option string, places []place, usable func(path string) error) (path, source string, err error) {
	if option != "" {
		places = []place{{"option", []string{option}, true}}
	}
	var tried []string
	for _, p := range places {
		path, reason := p.search(usable)
		if reason == nil {
			return path, p.source, nil
		}
		if p.named {
			who := p.source + "="
			if option != "" {
				who = ""
			}
			return "", "", fmt.Errorf("runtime: library %s%s: %w; name another one, or get one: %s", who, p.dirs[0], reason, installCommand)
		}
		tried = append(tried, "  "+p.source+": "+reason.Error())
	}
	return "", "", fmt.Errorf("runtime: %w (1.%d or newer) was found; tried\n%s\nname one in %s, or get one: %s",
		ErrNoLibrary, apiVersion, strings.Join(tried, "\n"), libraryVariable, installCommand)
}

// search returns the first usable library of a place, or why there is none.
func (p place) search(usable func(string) error) (string, error) {
	var refused error
	for _, dir := range p.dirs {
		path, err := libraryAt(dir)
		if err != nil {
			if p.named {
				return "", err
			}
			continue
		}
		if err = usable(path); err == nil {
			return path, nil
		}
		if p.named {
			return "", err
		}
		refused = fmt.Errorf("%s is %w", path, err)
	}
	if refused != nil {
		return "", refused
	}
	if len(p.dirs) > 3 {
		return "", fmt.Errorf("none in %s …", strings.Join(p.dirs[:3], ", "))
	}
	return "", fmt.Errorf("none in %s", strings.Join(p.dirs, ", "))
}

// libraryAt resolves a file, or a directory that holds the library.
func libraryAt(path string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", errors.New("no such file")
	}
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return filepath.Abs(path)
	}
	var names []string
	for _, pattern := range libraryPatterns(goruntime.GOOS) {
		found, _ := filepath.Glob(filepath.Join(escapeGlob(path), pattern))
		names = append(names, found...)
	}
	if len(names) == 0 {
		return "", fmt.Errorf("no %s in this directory", libraryPatterns(goruntime.GOOS)[0])
	}
	return filepath.Abs(slices.MaxFunc(names, func(a, b string) int {
		return slices.Compare(fileVersion(a), fileVersion(b))
	}))
}

func libraryPatterns(goos string) []string {
	switch goos {
	case "windows":
		return []string{"onnxruntime.dll"}
	case "darwin":
		return []string{"libonnxruntime.dylib", "libonnxruntime.*.dylib"}
	}
	return []string{"libonnxruntime.so", "libonnxruntime.so.*"}
}

// fileVersion orders library files of one directory. The plain name comes
// first, it is the one that was installed or linked on purpose; then the
// highest version.
func fileVersion(path string) []int {
	name := strings.TrimSuffix(filepath.Base(path), ".dylib")
	name = strings.TrimPrefix(strings.TrimPrefix(name, "libonnxruntime"), ".so")
	if name == "" || strings.HasSuffix(name, ".dll") {
		return []int{1 << 30}
	}
	var version []int
	for part := range strings.SplitSeq(strings.Trim(name, "."), ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return []int{-1}
		}
		version = append(version, n)
	}
	return version
}

func escapeGlob(path string) string {
	if goruntime.GOOS == "windows" {
		return path
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// disableTelemetry acts only before the library starts: from 1.29 on some
// builds hold an uploader.
func disableTelemetry() {
	const name = "ORT_DISABLE_TELEMETRY"
	if _, set := os.LookupEnv(name); !set {
		os.Setenv(name, "1")
	}
}
