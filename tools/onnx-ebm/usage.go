package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// usageError is wrong usage: exit code 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

func usageErrorf(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// usage collects everything that is wrong with a command line, so that one
// error names all of it.
type usage struct {
	c        *cobra.Command
	missing  []string
	problems []string
}

// newUsage checks the number of arguments.
func newUsage(c *cobra.Command, args []string, positional ...string) *usage {
	u := &usage{c: c}
	u.missing = append(u.missing, positional[min(len(args), len(positional)):]...)
	if extra := len(args) - len(positional); extra > 0 {
		u.bad("unexpected argument %q", args[len(positional)])
	}
	return u
}

// need requires flags.
func (u *usage) need(flags ...string) {
	for _, name := range flags {
		if !u.has(name) {
			u.missing = append(u.missing, u.spelling(name))
		}
	}
}

// needOne requires one of several flags.
func (u *usage) needOne(flags ...string) {
	if !slices.ContainsFunc(flags, u.has) {
		var names []string
		for _, name := range flags {
			names = append(names, u.spelling(name))
		}
		u.missing = append(u.missing, strings.Join(names, " or "))
	}
}

// has tells whether a flag was given, with something in it.
func (u *usage) has(flag string) bool {
	f := u.c.Flags().Lookup(flag)
	return f != nil && f.Changed && f.Value.String() != ""
}

func (u *usage) spelling(flag string) string {
	if f := u.c.Flags().Lookup(flag); f != nil && f.Shorthand != "" && len(flag) > 1 && f.Name == "out" {
		return "-" + f.Shorthand
	}
	return "--" + flag
}

// bad adds a problem.
func (u *usage) bad(format string, args ...any) {
	u.problems = append(u.problems, fmt.Sprintf(format, args...))
}

// check adds an error as a problem, if there is one.
func (u *usage) check(err error) {
	if err != nil {
		u.problems = append(u.problems, err.Error())
	}
}

// files refuses "-", which is no file name.
func (u *usage) files(flags ...string) {
	for _, name := range flags {
		if f := u.c.Flags().Lookup(name); f != nil && f.Changed && (f.Value.String() == "-" || f.Value.String() == "") {
			u.bad("%s %q: name a file", u.spelling(name), f.Value.String())
		}
	}
}

// err is nil if nothing was wrong.
func (u *usage) err() error {
	lines := u.problems
	if len(u.missing) > 0 {
		lines = append([]string{"missing " + strings.Join(u.missing, ", ")}, lines...)
	}
	if len(lines) == 0 {
		return nil
	}
	lines[len(lines)-1] += "; see " + u.c.CommandPath() + " --help"
	return &usageError{errors.New(strings.Join(lines, "\n"))}
}
