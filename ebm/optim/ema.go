package optim

import "fmt"

// EMA is an exponential moving average of parameters, s ← s + (1−d)(θ − s), that starts as a copy of the first θ.
type EMA struct {
	Decay float64 // d, in [0, 1)

	updates uint64
	average []float32
}

// Update takes in params.
func (e *EMA) Update(params []float32) error {
	switch {
	case !(e.Decay >= 0 && e.Decay < 1):
		return fmt.Errorf("optim: EMA decay %g: give a number from 0 to below 1", e.Decay)
	case e.updates == 0:
		e.average = append(e.average[:0], params...)
	case len(params) != len(e.average):
		return fmt.Errorf("optim: EMA of %d parameters, but %d before", len(params), len(e.average))
	}
	e.updates++
	rate, average := float32(1-e.Decay), e.average
	for i, p := range params {
		average[i] += rate * (p - average[i])
	}
	return nil
}

// Average is the average itself, not a copy; nil before the first update.
func (e *EMA) Average() []float32 { return e.average }

// Swap exchanges params and the average, for a validation or a save; a second Swap undoes it.
func (e *EMA) Swap(params []float32) error {
	if len(params) != len(e.average) {
		return fmt.Errorf("optim: EMA of %d parameters cannot be swapped with %d", len(e.average), len(params))
	}
	for i, p := range params {
		params[i], e.average[i] = e.average[i], p
	}
	return nil
}

// State is the average and the count of updates.
func (e *EMA) State() []byte { return encode(e.updates, len(e.average), [][]float32{e.average}) }

// Load restores what State gave.
func (e *EMA) Load(state []byte) error {
	updates, _, vectors, err := decode(state)
	if err != nil {
		return err
	}
	if len(vectors) != 1 {
		return fmt.Errorf("optim: the state has %d vectors, an EMA keeps 1", len(vectors))
	}
	e.updates, e.average = updates, vectors[0]
	return nil
}
