// Package train fits the parameters of an energy to data: it joins an energy (ebm.Energy with Options.Trainable), an objective
// (losses), an optimiser (ebm/optim), shuffled batches (ebm/data) and, for contrastive losses, a sampler (samplers).
//
//	loss, err := losses.New("cd:k=10", losses.Options{Chains: &train.Chains{Target: energy}})
//	result, err := train.Run(ctx, energy, loss, dataset, train.Config{Steps: 2000, Seed: 1})
//
// # Reproducible
//
// Everything random is a function of the seed and the number of the step, and everything else that a step depends on is in the
// checkpoint. The same seed gives the same parameters, curves and files for any number of workers, and a run that was interrupted,
// even killed, and resumed ends with the bytes of an uninterrupted one. Files hold no time of day.
//
// # What is not finite
//
// A step whose loss, energies or gradient are not finite changes no parameter. It ends the run (Stop) or is left out (Skip), is
// counted and reported, and is never replaced by something else.
package train
