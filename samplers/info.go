package samplers

// Info is what happened in one iteration, or in several: its numbers are sums
// over chains and iterations and add up.
type Info struct {
	Moves             int     // chains × iterations
	Accepted          float64 // sum of acceptance probabilities
	RejectedNonFinite int     // moves rejected because a state, energy or gradient was not finite
	Divergences       int     // trajectories whose energy error was finite but above 1000·T
	Gradients         int     // gradients evaluated, each of one state
	Energies          int     // energies evaluated without their gradient
	Swaps             int     // exchanges of neighbouring replicas proposed
	SwapsAccepted     float64 // sum of their acceptance probabilities
}

// Add adds o to i.
func (i *Info) Add(o Info) {
	i.Moves += o.Moves
	i.Accepted += o.Accepted
	i.RejectedNonFinite += o.RejectedNonFinite
	i.Divergences += o.Divergences
	i.Gradients += o.Gradients
	i.Energies += o.Energies
	i.Swaps += o.Swaps
	i.SwapsAccepted += o.SwapsAccepted
}

// Acceptance is the mean acceptance probability, 0 without moves.
func (i Info) Acceptance() float64 {
	if i.Moves == 0 {
		return 0
	}
	return i.Accepted / float64(i.Moves)
}

// SwapAcceptance is the mean acceptance probability of replica exchanges, 0 without any.
func (i Info) SwapAcceptance() float64 {
	if i.Swaps == 0 {
		return 0
	}
	return i.SwapsAccepted / float64(i.Swaps)
}
