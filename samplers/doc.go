// Package samplers draws from p(x) ∝ exp(−E(x)/T) by Markov chain Monte Carlo,
// given nothing but the energy E and its gradient ∇E on R^D.
//
// The pieces are three. A [Target] is the energy. A [Kernel] is one way of
// moving ([Langevin], [MALA], [HMC], …), made directly or by name with [New].
// [Run] moves N chains at once through K iterations and collects what was asked
// for; [Steps] is the same as an iterator.
//
// # Layout
//
// A batch of states is x [N·D] float32, chain after chain. Draws come back
// chain-major, [N, draws, D]. Energies are E itself, never E/T.
//
// # Randomness
//
// All noise is a function of (key, iteration, chain, coordinate), see
// samplers/rng. The same seed gives the same bytes for any number of workers,
// with or without callbacks, in one go or resumed from a [State].
//
// # What is not finite
//
// Nothing is repaired. A move that would make a chain, its energy or its
// gradient non-finite is rejected for that chain, which stays where it was,
// and is counted in [Info].RejectedNonFinite. This holds for the unadjusted
// kernels too.
//
// # Precision
//
// States, energies and gradients are float32; acceptance is decided in float64.
// An energy of magnitude |E| carries an error of about |E|·6e-8, so acceptance
// becomes noise when that nears 1: shift large energies towards 0.
package samplers
