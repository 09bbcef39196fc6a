// Package optim holds first-order optimisers of flat float32 parameter vectors, gradient clipping and exponential moving averages.
//
// An optimiser updates params in place from grads, the gradient of a loss to be minimised, at the learning rate of this step:
//
//	opt, err := optim.New("adamw:weight-decay=0.01", optim.Options{})
//	optim.ClipNorm(grads, 1)
//	err = opt.Step(params, grads, lr)
//
// Groups freeze index ranges or scale their learning rate. State and Load carry an optimiser over a restart, byte for byte.
// Steps allocate nothing after the first.
package optim
