//go:build unix

package conformance

import (
	"syscall"
	"time"
)

// processorTime is the time that this process has used, on all cores together: other work on the machine is not in it.
func processorTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
