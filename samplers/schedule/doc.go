// Package schedule gives hyper-parameters that change with the step: step
// sizes, temperatures, learning rates.
//
// A schedule is a pure function of the step number n (0 is the first), so it
// needs no state, no reset and no bookkeeping when a run is resumed. Every
// schedule prints as the text that [Parse] reads.
package schedule
