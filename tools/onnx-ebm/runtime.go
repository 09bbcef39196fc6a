package main

import (
	"regexp"

	"github.com/spf13/cobra"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/runtime/install"
)

func (a *app) runtimeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "runtime",
		Short:   "Get the ONNX Runtime library",
		Example: "  onnx-ebm runtime install",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return usageErrorf("%w", spec.Unknown("command", args[0], subcommands(c)))
		},
	}
	c.AddCommand(a.installCommand())
	return c
}

func (a *app) installCommand() *cobra.Command {
	var o install.Config
	c := &cobra.Command{
		Use:   "install [--version V] [--dir D] [--cuda] [--from npm|pip]",
		Short: "Download ONNX Runtime with pip or npm and check its SHA-256",
		Long: `Takes the shared library, and nothing else, out of the package that your own pip or npm downloads, and checks its
SHA-256. Versions that are not pinned need --sha256. No code of the package is run.`,
		Example: `  onnx-ebm runtime install
  onnx-ebm runtime install --from npm --dir ./lib`,
		RunE: func(c *cobra.Command, args []string) error { return a.install(c, args, o) },
	}
	f := c.Flags()
	f.StringVar(&o.Version, "version", install.DefaultVersion, "version of ONNX Runtime")
	f.StringVar(&o.Dir, "dir", "", "folder for the library (default: "+orNone(runtime.UserDir())+")")
	f.BoolVar(&o.CUDA, "cuda", false, "the library with CUDA, a large download; it needs CUDA 13 and cuDNN 9 to run")
	f.StringVar(&o.From, "from", "", "pip or npm (default: pip if it works, else npm)")
	f.StringVar(&o.SHA256, "sha256", "", "SHA-256 of the library or the archive, for versions that are not pinned")
	a.global.addJSON(f)
	return c
}

var sha256Text = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

func (a *app) install(c *cobra.Command, args []string, o install.Config) error {
	u := newUsage(c, args)
	if o.From != "" && o.From != install.Pip && o.From != install.Npm {
		u.check(spec.Unknown("--from", o.From, []string{install.Pip, install.Npm}))
	}
	if o.SHA256 != "" && !sha256Text.MatchString(o.SHA256) {
		u.bad("--sha256 %s: must be 64 hexadecimal digits", o.SHA256)
	}
	if c.Flags().Changed("dir") && (o.Dir == "" || o.Dir == "-") {
		u.bad("--dir %q: name a folder", o.Dir)
	}
	if err := u.err(); err != nil {
		return err
	}
	o.Progress = func(message string) { a.notice("%s", message) }
	done, err := install.Install(c.Context(), o)
	if err != nil {
		return err
	}
	if a.global.json {
		return a.printJSON(done)
	}
	a.printf("ONNX Runtime %s: %s\n", done.Version, done.Library)
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "none on this system"
	}
	return s
}
