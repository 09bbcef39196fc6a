package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// Exit codes.
const (
	exitOK = iota
	exitFailure
	exitUsage
)

// app is one run of the program.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	global         global
}

// run executes one command line and returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	c, err := root, checkCommand(root, args)
	if err == nil {
		c, err = root.ExecuteContextC(ctx)
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, message(c, err))
	var u *usageError
	if errors.As(err, &u) {
		return exitUsage
	}
	return exitFailure
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "onnx-ebm",
		Short: "Energy-based models on ONNX Runtime",
		Long: `Trains, samples and inspects energy-based models, p(x) ∝ exp(−E(x)), kept as ONNX files.

` + modelHelp + `

Exit codes: 0 success, 2 wrong usage, 1 everything else. A failed command leaves its outputs as they were.`,
		Version: version(),
		Example: `  onnx-ebm doctor
  onnx-ebm train --data two-moons --model mlp:128,128 --loss dsm:sigma=0.2 -o moons.onnx --steps 2000
  onnx-ebm sample moons.onnx --chains 500 --steps 1000 --step-size 0.005 -o samples.npy
  onnx-ebm plot moons.onnx -o moons.png --samples samples.npy`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return usageErrorf("%w", spec.Unknown("command", args[0], subcommands(c)))
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	a.global.addCommon(root.PersistentFlags())
	for _, make := range commands {
		root.AddCommand(make(a))
	}
	return root
}

// version is the module's, as the build knows it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// commands makes every command, in the order of the help.
var commands = []func(*app) *cobra.Command{
	(*app).doctorCommand,
	(*app).runtimeCommand,
	(*app).inspectCommand,
	(*app).importCommand,
	(*app).deriveCommand,
	(*app).evalCommand,
	(*app).lossCommand,
	(*app).trainCommand,
	(*app).sampleCommand,
	(*app).logzCommand,
	(*app).diagnoseCommand,
	(*app).plotCommand,
	(*app).benchCommand,
}

// checkCommand finds a wrong command before its flags are looked at.
func checkCommand(root *cobra.Command, args []string) error {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	if len(args) == 0 || strings.HasPrefix(args[0], "-") || strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return nil
	}
	for _, c := range root.Commands() {
		if c.Name() == args[0] || c.HasAlias(args[0]) {
			return nil
		}
	}
	return usageErrorf("%w", spec.Unknown("command", args[0], subcommands(root)))
}

func subcommands(c *cobra.Command) []string {
	var names []string
	for _, s := range c.Commands() {
		if !s.Hidden && s.Name() != "help" {
			names = append(names, s.Name())
		}
	}
	return names
}

// maxErrorLines is the most that an error prints.
const maxErrorLines = 6

// prefixes are the package names that begin wrapped errors; they say nothing to a user of the command.
var prefixes = regexp.MustCompile(`(?m)(^|: )(?:(?:atomicfile|data|ebm|gradients|graphs|install|losses|models|npy|onnxpb|optim|runtime|samplers|schedule|spec|train): )+`)

// message is the text of an error for people.
func message(c *cobra.Command, err error) string {
	text := prefixes.ReplaceAllString(err.Error(), "$1")
	if errors.Is(err, context.Canceled) {
		text = strings.ReplaceAll(text, context.Canceled.Error(), "interrupted")
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > maxErrorLines {
		lines = append(lines[:maxErrorLines-1], "…")
	}
	return c.CommandPath() + ": " + strings.Join(lines, "\n")
}

// printJSON prints one JSON object on standard output.
func (a *app) printJSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", b)
	return err
}

// printf prints to standard output.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.stdout, format, args...) }

// notice tells something that is not an error, unless -q.
func (a *app) notice(format string, args ...any) {
	if !a.global.quiet {
		fmt.Fprintf(a.stderr, "onnx-ebm: "+format+"\n", args...)
	}
}

// flagError words what the flag parser found.
func flagError(c *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		value   *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
	)
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		return usageErrorf("%w", spec.Unknown("flag", dashes(name), flagNames(c)))
	case errors.As(err, &value):
		return usageErrorf("--%s needs a value: %s", value.GetFlag().Name, value.GetFlag().Usage)
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		return usageErrorf("--%s %s: not %s", f.Name, invalid.GetValue(), kindOf(f.Value.Type()))
	}
	return usageErrorf("%w", err)
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func kindOf(flagType string) string {
	kinds := map[string]string{"int": "a whole number", "uint64": "a whole number from 0", "float64": "a number", "bool": "true or false"}
	if k, ok := kinds[flagType]; ok {
		return k
	}
	return "a " + flagType
}

func flagNames(c *cobra.Command) []string {
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return names
}
