package main

import (
	"context"
	"fmt"
	"os"
	goruntime "runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/cpu"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/runtime"
)

func (a *app) doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor [--json]",
		Short: "Tell which ONNX Runtime is found and whether it works",
		Long: `Tells where the ONNX Runtime library was found, its version and execution providers, runs a small energy and its
gradient on the CPU and, where the library has CUDA, on the GPU. It fails if the chosen device does not work.

The library is looked for in: --runtime, ONNXRUNTIME_SHARED_LIBRARY_PATH, ORT_DYLIB_PATH, beside the executable,
the folder that "onnx-ebm runtime install" fills, system folders. What the flag or a variable names is used or is an error.`,
		Example: `  onnx-ebm doctor
  onnx-ebm doctor --device cuda --json`,
		RunE: func(c *cobra.Command, args []string) error { return a.doctor(c, args) },
	}
	a.global.addJSON(c.Flags())
	a.global.addRuntime(c.Flags())
	return c
}

// diagnosis is what doctor --json prints.
type diagnosis struct {
	OK        bool          `json:"ok"`
	Error     string        `json:"error,omitempty"`
	System    string        `json:"system"` // as in linux/amd64
	CPU       string        `json:"cpu"`
	Cores     int           `json:"cores"`
	SIMD      []string      `json:"simd"`
	GPU       string        `json:"gpu"`     // "" where none works
	Runtime   *runtime.Info `json:"runtime"` // null without a library
	TestRunMS number        `json:"test_run_ms"`
}

func (a *app) doctor(c *cobra.Command, args []string) error {
	u := newUsage(c, args)
	u.runtime(&a.global)
	if err := u.err(); err != nil {
		return err
	}
	d := diagnosis{System: goruntime.GOOS + "/" + goruntime.GOARCH, CPU: cpuName(), Cores: goruntime.NumCPU(), SIMD: simd()}
	err := a.examine(c.Context(), &d)
	if d.OK = err == nil; err != nil {
		d.Error = err.Error()
	}
	if a.global.json {
		if err := a.printJSON(d); err != nil {
			return err
		}
	} else {
		a.printDiagnosis(d)
	}
	return err
}

func (a *app) examine(ctx context.Context, d *diagnosis) error {
	rt, err := a.openRuntime()
	if err != nil {
		return err
	}
	info := rt.Info()
	d.Runtime = &info
	start := time.Now()
	if err := testRun(ctx, rt); err != nil {
		return err
	}
	d.TestRunMS = number(float64(time.Since(start).Microseconds()) / 1000)
	d.GPU = a.tryGPU(ctx, info)
	return nil
}

// tryGPU names the device that CUDA runs on, if it does.
func (a *app) tryGPU(ctx context.Context, info runtime.Info) string {
	if !slices.Contains(info.Providers, "CUDAExecutionProvider") {
		return ""
	}
	device := "cuda"
	if strings.HasPrefix(info.Device, "cuda") {
		device = info.Device
	}
	rt, err := runtime.Open(runtime.Options{Library: a.global.library, Device: device})
	if err != nil || testRun(ctx, rt) != nil {
		return ""
	}
	return device
}

// testRun evaluates E = ½‖x‖², whose gradient is x.
func testRun(ctx context.Context, rt *runtime.Runtime) error {
	b := graphs.NewBuilder("test")
	x := b.Input(gradients.X, graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(2)})
	sum := b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, x, x), b.Ints(1))
	g, err := b.Graph(graphs.Output{Name: gradients.EnergyName, Value: b.Op("Mul", nil, sum, b.Float(0.5))})
	if err != nil {
		return err
	}
	e, err := ebm.New(rt, g, ebm.Options{})
	if err != nil {
		return err
	}
	defer e.Close()
	at := []float32{3, -4}
	got, err := e.Gradient(ctx, at, 1)
	if err != nil {
		return fmt.Errorf("test run: %w", err)
	}
	if !slices.Equal(got, at) {
		return fmt.Errorf("test run: the gradient of ½‖x‖² at %v came out as %v; the library is broken", at, got)
	}
	return nil
}

func (a *app) printDiagnosis(d diagnosis) {
	line := func(name, format string, args ...any) { a.printf("%-11s %s\n", name, fmt.Sprintf(format, args...)) }
	line("system", "%s, %s, %d cores, %s", d.System, d.CPU, d.Cores, strings.Join(d.SIMD, " "))
	if d.Runtime == nil {
		line("runtime", "none")
		return
	}
	line("runtime", "ONNX Runtime %s (C API %d)", d.Runtime.Version, d.Runtime.API)
	line("library", "%s (%s)", d.Runtime.Library, d.Runtime.Source)
	line("providers", "%s", strings.Join(d.Runtime.Providers, ", "))
	gpu := "none"
	if d.GPU != "" {
		gpu = d.GPU + " works"
	}
	line("device", "%s, %d workers; GPU: %s", d.Runtime.Device, d.Runtime.Workers, gpu)
	if d.OK {
		line("test run", "ok, %v ms", d.TestRunMS)
	}
}

func simd() []string {
	features := []struct {
		name string
		has  bool
	}{{"avx2", cpu.X86.HasAVX2}, {"fma", cpu.X86.HasFMA}, {"avx512f", cpu.X86.HasAVX512F}, {"avx512vnni", cpu.X86.HasAVX512VNNI}, {"asimd", cpu.ARM64.HasASIMD}}
	found := []string{}
	for _, f := range features {
		if f.has {
			found = append(found, f.name)
		}
	}
	return found
}

// cpuName is the model name where the system tells it.
func cpuName() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return goruntime.GOARCH
	}
	for line := range strings.Lines(string(raw)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return goruntime.GOARCH
}
