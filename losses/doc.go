// Package losses holds the training objectives of energy-based models, p(x) ∝ exp(−E(x)), as plain Go arithmetic.
//
// A loss works in two phases. Plan says what to evaluate: rows x, and which of E, ∇E, ∇²E·v and tr ∇²E are wanted there.
// A Model answers with numbers. Value turns the numbers into the loss, its named terms and the cotangents (derivatives of the
// loss by each number), which the model's Pullback turns into the gradient by the parameters. Run does all of it:
//
//	loss, err := losses.New("dsm:sigma=0.1", losses.Options{})
//	result, err := losses.Run(ctx, model, loss, batch, rng.NewKey(0).Derive(step), dTheta)
//
// No automatic differentiation happens here and nothing of ONNX is known here, so a new loss is a Go function of values: see
// Func, and Contrastive.Objective for losses that need negatives.
//
// Whatever a Batch brings (negatives, noise, directions) is used as given; the rest is drawn from the key. Same batch and same
// key give the same loss.
//
// Gradient means ∇ₓE; the score is −∇ₓE and never appears under that name. Means and loss values are accumulated in float64.
// A loss keeps its plan and its buffers between calls: use one value from one goroutine at a time, and read a Result (and the
// queries) before the next call.
package losses
