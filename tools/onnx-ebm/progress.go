package main

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"
)

// bar shows how far a loop is; a nil bar shows nothing.
type bar struct{ b *progressbar.ProgressBar }

// newBar makes a bar of total steps, nil where progress is not shown.
func (a *app) newBar(total int, what, unit string) *bar {
	if !a.showsProgress() {
		return nil
	}
	return &bar{progressbar.NewOptions(total,
		progressbar.OptionSetWriter(a.stderr),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(30),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString(unit),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionUseANSICodes(isTerminal(a.stderr)),
	)}
}

// describe says what stands before the bar.
func (b *bar) describe(format string, args ...any) {
	if b != nil {
		b.b.Describe(fmt.Sprintf(format, args...))
	}
}

// set shows that n steps are done.
func (b *bar) set(n int) {
	if b != nil {
		b.b.Set(n)
	}
}

// end leaves the bar as it stands and begins a new line.
func (b *bar) end(a *app) {
	if b != nil {
		b.b.Exit()
		a.stderr.Write([]byte("\n"))
	}
}
