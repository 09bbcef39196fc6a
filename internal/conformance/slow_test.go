//go:build slow

package conformance

const slow = true
