// Package ebm joins a graph, its parameters and compiled programs to an Energy: E(x;θ) with p(x) ∝ exp(−E(x)).
//
//	rt, err := runtime.Open(runtime.Options{})
//	g, err := models.Parse("mlp:128,128", 2, 0)   // or ebm.ReadFile("energy.onnx")
//	e, err := ebm.New(rt, g, ebm.Options{})
//	g, err := e.Gradient(ctx, x, n)
//
// An Energy is a samplers.Target and a losses.Model. Batches are x [N, D…] float32 in row-major order, E is [N]; Gradient is ∇ₓE,
// the score is −∇ₓE.
//
// A frozen Energy (the default) has its parameters compiled in, which is fastest to sample, unless they exceed 1 GiB. With Options.Trainable the programs read
// the flat parameter store at every run: what an optimiser writes there is what the next run uses.
package ebm
