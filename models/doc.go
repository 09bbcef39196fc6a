// Package models builds energy graphs: a catalogue of analytic energies and neural networks.
//
// An energy graph has the input x [N, D…] float32 and the output energy [N], with p(x) ∝ exp(−energy) and N symbolic. E of a row depends
// on that row alone.
//
// Builtin makes an analytic energy by name, together with what is known of it: closed forms in float64, minima, log Z, moments and,
// where there is one, an exact sampler.
//
//	a, err := models.Builtin("builtin:double-well:dim=4")
//	a, err := models.Builtin("builtin:ackley+0.05*builtin:harmonic")
//
// Network makes a trainable energy of items of a given shape:
//
//	g, err := models.Network("mlp:128,128:act=silu", []int64{2}, rng.NewKey(0))
//
// Standardize lets an energy of standardised data take data in its own units.
package models
