package runtime

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	ort "github.com/yalue/onnxruntime_go"
)

// open gives a runtime, or skips the test where no library is installed.
func open(t testing.TB, workers int) *Runtime {
	t.Helper()
	r, err := Open(Options{Workers: workers})
	if errors.Is(err, ErrNoLibrary) {
		t.Skipf("needs ONNX Runtime: %v", err)
	}
	require.NoError(t, err)
	return r
}

func compile(t testing.TB, r *Runtime, m Model) *Program {
	t.Helper()
	p, err := r.Compile(m)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func bind(t testing.TB, p *Program, n int, opt BindOptions) *Binding {
	t.Helper()
	b, err := p.Bind(n, opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func TestInfo(t *testing.T) {
	info := open(t, 3).Info()
	require.Equal(t, 3, info.Workers)
	require.Equal(t, "cpu", info.Device)
	require.Equal(t, 24, info.API)
	require.Contains(t, info.Providers, "CPUExecutionProvider")
	require.Regexp(t, `^1\.\d+\.\d+`, info.Version)
	require.FileExists(t, info.Library)
	require.NotEmpty(t, info.Source)
	require.Equal(t, "1", os.Getenv("ORT_DISABLE_TELEMETRY"))
	require.Equal(t, ort.GetVersion(), info.Version, "the binding must use the same library")
}

func TestOpenAgain(t *testing.T) {
	first := open(t, 0)
	again, err := Open(Options{Library: first.Info().Library, Workers: 1})
	require.NoError(t, err)
	require.Same(t, first.lib, again.lib)

	other := filepath.Join(t.TempDir(), "libonnxruntime.so")
	require.NoError(t, os.WriteFile(other, nil, 0o644))
	_, err = Open(Options{Library: other})
	require.ErrorContains(t, err, "one ONNX Runtime only")
}

// TestLoadedElsewhere reads the library through the binding's handle, as is
// done when another package initialised it.
func TestLoadedElsewhere(t *testing.T) {
	r := open(t, 1)
	var lib library
	require.NoError(t, lib.use(boundHandle))
	require.Equal(t, r.lib.version, lib.version)
	require.True(t, sameFile(r.lib.path, lib.path))
}

func TestDevice(t *testing.T) {
	for text, want := range map[string]device{"": {}, "cpu": {}, "cuda": {cuda: true}, "cuda:3": {true, 3}} {
		d, err := parseDevice(text)
		require.NoError(t, err)
		require.Equal(t, want, d)
	}
	for _, text := range []string{"gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"} {
		_, err := Open(Options{Device: text})
		require.ErrorContains(t, err, "use cpu, cuda or cuda:K")
	}
	_, err := Open(Options{Workers: -1})
	require.ErrorContains(t, err, "workers")
}

// TestNoCUDA wants an error that says why, never a fall back to the CPU.
func TestNoCUDA(t *testing.T) {
	open(t, 1)
	_, err := Open(Options{Device: "cuda:7"})
	require.ErrorContains(t, err, "device cuda:7")
	require.ErrorContains(t, err, "runtime install --cuda")
	require.NotContains(t, err.Error(), "\n")
}

// TestAPIPlaces counts the members of OrtApi in the binding's own header.
func TestAPIPlaces(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	require.NoError(t, err)
	header, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "onnxruntime_c_api.h"))
	require.NoError(t, err)
	shim, err := os.ReadFile("api.h")
	require.NoError(t, err)

	_, body, found := strings.Cut(string(header), "\nstruct OrtApi {")
	require.True(t, found)
	body, _, _ = strings.Cut(body, "\n};")
	body = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*`).ReplaceAllString(body, "")
	members := regexp.MustCompile(`ORT_API2_STATUS\(\s*(\w+)|ORT_(CLASS_RELEASE)\(\s*(\w+)|\(ORT_API_CALL\s*\*\s*(\w+)\s*\)|ORT_API_T\([^,]*,\s*(\w+)`).FindAllStringSubmatch(body, -1)
	require.Len(t, members, strings.Count(body, ";"))
	place := map[string]int{}
	for i, m := range members {
		name := m[1] + m[4] + m[5]
		if m[2] != "" {
			name = "Release" + m[3]
		}
		place[strings.ToUpper(strings.ReplaceAll(name, "_", ""))] = i
	}
	aliases := map[string]string{"CREATETENSORWITHDATA": "CREATETENSORWITHDATAASORTVALUE"}
	used := regexp.MustCompile(`API_(\w+) = (\d+),`).FindAllStringSubmatch(string(shim), -1)
	require.Len(t, used, 25)
	for _, u := range used {
		name := strings.ReplaceAll(u[1], "_", "")
		if alias := aliases[name]; alias != "" {
			name = alias
		}
		want, ok := place[name]
		require.True(t, ok, "%s is no member of OrtApi", name)
		got, _ := strconv.Atoi(u[2])
		require.Equal(t, want, got, name)
	}
}

// TestSessionPointer fails if the Go binding changes the layout that
// sessionPointer reads.
func TestSessionPointer(t *testing.T) {
	p := compile(t, open(t, 1), newMLP(2, 4).gradient(false))
	got, err := sessionPointer(p.session)
	require.NoError(t, err)
	require.NotZero(t, got)
	_, err = sessionPointer(&ort.DynamicAdvancedSession{})
	require.ErrorContains(t, err, "layout")
}

func TestCompileErrors(t *testing.T) {
	r := open(t, 1)
	good := newMLP(2, 4).gradient(false)
	for want, change := range map[string]func(*Model){
		"no bytes":                   func(m *Model) { m.Bytes = nil },
		"no outputs":                 func(m *Model) { m.Outputs = nil },
		"input x can't be Sum":       func(m *Model) { m.Inputs = []Port{{Name: "x", Kind: Sum}} },
		"output g can't be Shared":   func(m *Model) { m.Outputs = []Port{{Name: "g", Kind: Shared}} },
		`port name "x" is empty or`:  func(m *Model) { m.Inputs = append(m.Inputs, m.Inputs[0]) },
		"has item dimensions [0]":    func(m *Model) { m.Inputs = []Port{{Name: "x", Item: []int64{0}}} },
		"model mlp gradient: Error ": func(m *Model) { m.Bytes = []byte("no model") },
	} {
		m := good
		m.Inputs, m.Outputs = good.Inputs[:1:1], good.Outputs[:1:1]
		change(&m)
		_, err := r.Compile(m)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "runtime: model mlp gradient: ")
	}
}

func TestDump(t *testing.T) {
	r := open(t, 1)
	dir := t.TempDir()
	t.Setenv("ONNX_EBM_DUMP", dir)
	bytes := onnx([]pb{node("NoSuchOp", []string{"x"}, "y")}, nil, []pb{port("x", -1)}, []pb{port("y", -1)})
	_, err := r.Compile(Model{Name: "a/b", Bytes: bytes, Inputs: []Port{{Name: "x"}}, Outputs: []Port{{Name: "y"}}})
	require.ErrorContains(t, err, "NoSuchOp")
	require.ErrorContains(t, err, "dumped to "+dir)
	files, err := filepath.Glob(filepath.Join(dir, "a_b-*.onnx"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	written, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.Equal(t, bytes, written)
}

func TestBindErrors(t *testing.T) {
	p := compile(t, open(t, 1), newMLP(2, 4).gradient(true))
	for want, bad := range map[string]struct {
		n   int
		opt BindOptions
	}{
		"0 rows":                 {0, BindOptions{}},
		"3 tiles":                {2, BindOptions{Tiles: 3}},
		"at most -1 rows":        {2, BindOptions{Tile: -1}},
		`"b9", which is no Sha`:  {2, BindOptions{Shared: map[string][]float32{"b9": nil}}},
		`"b1", which is no Row`:  {2, BindOptions{Rows: map[string][]float32{"b1": nil}}},
		"port b1: 3 elements of": {2, BindOptions{Shared: map[string][]float32{"b1": make([]float32, 3)}}},
		"port x: 3 elements of":  {2, BindOptions{Rows: map[string][]float32{"x": make([]float32, 3)}}},
	} {
		_, err := p.Bind(bad.n, bad.opt)
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, int64(1), p.users.Load(), "failed binds must leave nothing behind")
}

// TestWrongPorts wants ONNX Runtime's complaint with the model's name.
func TestWrongPorts(t *testing.T) {
	r := open(t, 1)
	m := newMLP(2, 4).gradient(false)
	m.Inputs = []Port{{Name: "nothing", Item: []int64{2}}}
	p, err := r.Compile(m)
	if err == nil {
		defer p.Close()
		_, err = p.Bind(1, BindOptions{})
	}
	require.ErrorContains(t, err, "nothing")

	m = newMLP(2, 4).gradient(false)
	m.Inputs = []Port{{Name: "x", Item: []int64{3}}}
	b := bind(t, compile(t, r, m), 1, BindOptions{})
	require.ErrorContains(t, b.Run(context.Background()), "runtime: model mlp gradient: ")
	require.ErrorContains(t, b.Changed("y"), `no input "y"`)
}
