package main

import (
	"io"
	"log/slog"
	"os"
	"regexp"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// global holds the flags that many commands share.
type global struct {
	quiet, verbose, progress, json bool
	device, library                string
	workers                        int
	seed                           uint64
}

// addCommon adds what every command has.
func (g *global) addCommon(f *pflag.FlagSet) {
	f.BoolVarP(&g.quiet, "quiet", "q", false, "no notices and no progress")
	f.BoolVarP(&g.verbose, "verbose", "v", false, "tell what is being done, on stderr")
	f.BoolVar(&g.progress, "progress", false, "show progress even where stderr is no terminal")
}

// addRuntime adds the flags of a command that runs a model.
func (g *global) addRuntime(f *pflag.FlagSet) {
	f.StringVar(&g.device, "device", "cpu", "where to run: cpu, cuda or cuda:K")
	f.IntVar(&g.workers, "workers", 0, "threads that run tiles of the batch (default: as many as cores); results do not depend on it")
	f.StringVar(&g.library, "runtime", "", "ONNX Runtime library, a `FILE` or its folder (default: searched for, see doctor)")
}

func (g *global) addSeed(f *pflag.FlagSet) {
	f.Uint64Var(&g.seed, "seed", 0, "seed of everything random")
}

func (g *global) addJSON(f *pflag.FlagSet) {
	f.BoolVar(&g.json, "json", false, "print one JSON object on stdout")
}

var devices = regexp.MustCompile(`^(cpu|cuda|cuda:[0-9]+)$`)

// runtime checks the values of the runtime's flags.
func (u *usage) runtime(g *global) {
	if !devices.MatchString(g.device) {
		u.bad("--device %s: unknown device; use cpu, cuda or cuda:K", g.device)
	}
	if u.c.Flags().Changed("workers") && g.workers < 1 {
		u.bad("--workers %d: must be at least 1", g.workers)
	}
	if u.c.Flags().Changed("runtime") && g.library == "" {
		u.bad("--runtime: name a library or its folder")
	}
}

// openRuntime loads ONNX Runtime as the flags say.
func (a *app) openRuntime() (*runtime.Runtime, error) {
	return runtime.Open(runtime.Options{Library: a.global.library, Device: a.global.device, Workers: a.global.workers, Logger: a.logger()})
}

// logger writes what -v shows.
func (a *app) logger() *slog.Logger {
	if !a.global.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, t slog.Attr) slog.Attr {
		if t.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return t
	}}))
}

// showsProgress tells whether progress is to be shown.
func (a *app) showsProgress() bool {
	return !a.global.quiet && (a.global.progress || isTerminal(a.stderr))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
