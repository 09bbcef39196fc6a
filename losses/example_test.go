package losses_test

import (
	"context"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// harmonic is the energy ½k‖x‖², the smallest losses.Model there is.
type harmonic struct{ k []float32 }

func (h *harmonic) Dim() int          { return 2 }
func (h *harmonic) Params() []float32 { return h.k }

func (h *harmonic) Linearize(_ context.Context, q losses.Query) (losses.Values, losses.Pullback, error) {
	v := losses.Values{E: make([]float32, q.N), G: make([]float32, len(q.X))}
	for i, x := range q.X {
		v.E[i/2] += h.k[0] * x * x / 2
		v.G[i] = h.k[0] * x
	}
	return v, pullback{q}, nil
}

type pullback struct{ q losses.Query }

func (pullback) Close() error { return nil }

func (p pullback) Add(ct losses.Values, dTheta []float32) error {
	for i, x := range p.q.X {
		if ct.E != nil {
			dTheta[0] += ct.E[i/2] * x * x / 2
		}
		if ct.G != nil {
			dTheta[0] += ct.G[i] * x
		}
	}
	return nil
}

// Fit ½k‖x‖² to standard normal data, blurred by σ = 0.5: k = 1/(1 + σ²) = 0.8.
func Example() {
	loss, err := losses.New("dsm:sigma=0.5", losses.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	key := rng.NewKey(1)
	batch := losses.Batch{N: 4096, Dim: 2, X: make([]float32, 8192)}
	key.Sub("data").Normals(batch.X, 0, 0)
	model := &harmonic{k: []float32{0}}
	for step := range uint64(100) {
		gradient := make([]float32, 1)
		if _, err := losses.Run(context.Background(), model, loss, batch, key.Derive(step), gradient); err != nil {
			fmt.Println(err)
			return
		}
		model.k[0] -= 0.05 * gradient[0]
	}
	fmt.Printf("%.1f\n", model.k[0])
	// Output: 0.8
}

// A loss of one's own: α·(mean E⁺ − mean E⁻) + β·|mean E⁺ − mean E⁻|, with the negatives of contrastive divergence.
func ExampleContrastive() {
	const alpha, beta = 1, 0.5
	loss := losses.NewCD()
	loss.Label = "gap"
	loss.Objective = func(pos, neg, dPos, dNeg []float32) float64 {
		var gap float64
		for _, e := range pos {
			gap += float64(e) / float64(len(pos))
		}
		for _, e := range neg {
			gap -= float64(e) / float64(len(neg))
		}
		slope := alpha + math.Copysign(beta, gap)
		for i := range dPos {
			dPos[i] = float32(slope / float64(len(dPos)))
		}
		for i := range dNeg {
			dNeg[i] = float32(-slope / float64(len(dNeg)))
		}
		return alpha*gap + beta*math.Abs(gap)
	}
	batch := losses.Batch{N: 1, Dim: 2, X: []float32{1, 1}, M: 2, Neg: []float32{2, 0, 0, 2}}
	gradient := make([]float32, 1)
	result, err := losses.Run(context.Background(), &harmonic{k: []float32{1}}, loss, batch, rng.NewKey(0), gradient)
	fmt.Println(result.Loss, gradient, err)
	// Output: -0.5 [-0.5] <nil>
}

// The same of two functions, with queries and cotangents in sight.
func ExampleFunc() {
	loss := &losses.Func{
		Label: "mean-energy",
		PlanFunc: func(_ context.Context, b losses.Batch, _ rng.Key) ([]losses.Query, error) {
			return []losses.Query{{N: b.N, X: b.X, Want: losses.WantEnergy}}, nil
		},
		ValueFunc: func(_ []losses.Query, v []losses.Values) (losses.Result, error) {
			n := float64(len(v[0].E))
			ct := losses.Values{E: make([]float32, len(v[0].E))}
			var loss float64
			for i, e := range v[0].E {
				loss += float64(e) / n
				ct.E[i] = float32(1 / n)
			}
			return losses.Result{Loss: loss, Cotangents: []losses.Values{ct}}, nil
		},
	}
	batch := losses.Batch{N: 2, Dim: 2, X: []float32{1, 1, 2, 0}}
	report, err := losses.CheckGradients(context.Background(), &harmonic{k: []float32{1}}, loss, batch, losses.CheckOptions{})
	fmt.Println(report.Worst.Error < 1e-3, err)
	// Output: true <nil>
}
