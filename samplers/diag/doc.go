// Package diag judges draws: whether chains have mixed, how many independent
// draws they are worth, and how far they are from a distribution that is known
// by its scores or by draws of its own.
//
// # Mixing
//
// [Summarize] gives, for each coordinate, mean, standard deviation, R̂, bulk and
// tail ESS and Monte Carlo errors, by the definitions of Vehtari, Gelman,
// Simpson, Carpenter, Bürkner, "Rank-normalization, folding, and localization",
// Bayesian Analysis 2021, as ArviZ computes them. [ESSBulk], [RHat], … are the
// same for one series of float64 values. [EBFMI] looks at the energies of
// Hamiltonian samplers.
//
// What cannot be computed is NaN: everything about a coordinate with a NaN in
// it or with fewer than 4 draws a chain; R̂ with fewer than 2 chains, and R̂ of a
// coordinate that never changes. The ESS of a constant is the number of its
// draws, which says nothing; [Judge] leaves constants out and names them.
//
// # Distance
//
// [MMD] and [SlicedWasserstein] compare two sets of points, [KSD] compares
// points with a density known by its score −∇E. All add up in float64 and give
// the same bytes for any number of workers.
//
// # Verdict
//
// [Judge] turns figures into checks, each passed, failed or not done, with the
// reason and what to do about it.
//
// # Layout
//
// Draws are chain-major, [chains, draws, D] float32; one series is
// [chains, draws] float64. Points are [N, D] float32.
package diag
