// Package spec reads names with parameters, as flags hold them:
//
//	NAME[:LIST][:key=value]…
//
// where LIST is a comma list and a value is a number, a comma list (0,0), a
// word, or @FILE.npy. For example mlp:128,128:act=silu or
// two-moons:n=500:noise=0.1.
//
// Accessors latch the first error, so that a reader states its keys and
// defaults in a row and asks once, at the end:
//
//	s, err := spec.Parse("two-moons:noise=0.1")
//	n := s.Int("n", 2000)
//	noise := s.Float("noise", 0.05)
//	if err := s.Done(); err != nil { … } // unknown keys list n, noise
package spec
