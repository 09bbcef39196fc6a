package diag

import (
	"fmt"
	"math"
)

// EBFMI is the estimated Bayesian fraction of missing information of each
// chain, Σ(Eₜ−Eₜ₋₁)²/(n−1) over the variance of E (Betancourt 2016,
// arXiv:1604.00695). energy [chains, draws] is the Hamiltonian, potential plus
// kinetic energy, of each iteration of HMC or NUTS. Values below 0.3 say that
// momenta are refreshed too timidly to cross the energies of the target. NaN
// for a chain with fewer than 2 draws, a NaN, or constant energy.
func EBFMI[F float32 | float64](energy []F, chains int) ([]float64, error) {
	if chains < 1 || len(energy)%chains != 0 {
		return nil, fmt.Errorf("diag: %d energies of %d chains", len(energy), chains)
	}
	n := len(energy) / chains
	out, row := make([]float64, chains), make([]float64, n)
	for c := range out {
		for i, e := range energy[c*n : (c+1)*n] {
			row[i] = float64(e)
		}
		jumps := 0.0
		for i := 1; i < n; i++ {
			jumps += (row[i] - row[i-1]) * (row[i] - row[i-1])
		}
		out[c] = jumps / float64(n-1) / variance(row)
	}
	return out, nil
}

// EnergyRounding is by how much a float32 energy of the largest magnitude found
// can be off, max|E|·2⁻²⁴. Divided by the temperature it is the error of the
// log of an acceptance probability. It is NaN if an energy is.
func EnergyRounding(energy []float32) float64 {
	largest := 0.0
	for _, e := range energy {
		largest = math.Max(largest, math.Abs(float64(e)))
	}
	return largest * 0x1p-24
}
