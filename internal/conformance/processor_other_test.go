//go:build !unix

package conformance

import "time"

var started = time.Now()

// processorTime is the wall clock where there is no other.
func processorTime() time.Duration { return time.Since(started) }
