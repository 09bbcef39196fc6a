package runtime

import (
	"fmt"
	"log/slog"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
)

// Options says which library and device to use; the zero value is usable.
type Options struct {
	Library string       // file or directory; empty: searched for, see the package comment
	Device  string       // "cpu" (default), "cuda", "cuda:K"
	Workers int          // goroutines that run tiles; 0: as many as cores
	Logger  *slog.Logger // nil: silent
}

// Runtime is a loaded ONNX Runtime with a device. It lives as long as the
// process and is safe for concurrent use.
type Runtime struct {
	lib     *library
	device  device
	workers int
	log     *slog.Logger
}

// Info describes what is running.
type Info struct {
	Library   string   `json:"library"`   // file
	Source    string   `json:"source"`    // how it was found: "option", a variable's name, "beside the executable", "user directory", "system"
	Version   string   `json:"version"`   // of ONNX Runtime
	API       int      `json:"api"`       // version of its C API in use
	Providers []string `json:"providers"` // execution providers the library was built with
	Device    string   `json:"device"`
	Workers   int      `json:"workers"`
}

// Open loads ONNX Runtime, at the first call in a process, and checks that the
// device can be used. Later calls share the library and may choose another
// device or number of workers. The error is [ErrNoLibrary] if none was found.
func Open(o Options) (*Runtime, error) {
	dev, err := parseDevice(o.Device)
	if err != nil {
		return nil, err
	}
	if o.Workers < 0 {
		return nil, fmt.Errorf("runtime: %d workers: must be 0 (all cores) or more", o.Workers)
	}
	lib, err := load(o.Library)
	if err != nil {
		return nil, err
	}
	r := &Runtime{lib: lib, device: dev, workers: o.Workers, log: o.Logger}
	if r.workers == 0 {
		r.workers = goruntime.GOMAXPROCS(0)
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if dev.cuda {
		if err := r.checkCUDA(); err != nil {
			return nil, err
		}
	}
	r.log.Debug("ONNX Runtime", "library", lib.path, "source", lib.source, "version", lib.version, "device", dev.String(), "workers", r.workers)
	return r, nil
}

// Info tells what is running.
func (r *Runtime) Info() Info {
	return Info{
		Library: r.lib.path, Source: r.lib.source, Version: r.lib.version, API: apiVersion,
		Providers: slices.Clone(r.lib.providers), Device: r.device.String(), Workers: r.workers,
	}
}

// device is the CPU, or one CUDA device.
type device struct {
	cuda bool
	id   int
}

func (d device) String() string {
	switch {
	case !d.cuda:
		return "cpu"
	case d.id == 0:
		return "cuda"
	}
	return "cuda:" + strconv.Itoa(d.id)
}

func parseDevice(s string) (device, error) {
	switch s {
	case "", "cpu":
		return device{}, nil
	case "cuda":
		return device{cuda: true}, nil
	}
	if id, ok := strings.CutPrefix(s, "cuda:"); ok {
		if k, err := strconv.ParseUint(id, 10, 16); err == nil {
			return device{cuda: true, id: int(k)}, nil
		}
	}
	return device{}, fmt.Errorf("runtime: unknown device %q: use cpu, cuda or cuda:K", s)
}
