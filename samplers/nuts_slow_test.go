//go:build slow

package samplers_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/samplertest"
)

// autoregression is the AR(1) process x₁ ~ N(0,1), xᵢ ~ N(ρxᵢ₋₁, 1−ρ²).
func autoregression(d int, rho float64) samplers.Target {
	v := 1 - rho*rho
	return samplers.Func(d, func(x, g []float32) float32 {
		e := float64(x[0]) * float64(x[0]) / 2
		for i := range g {
			g[i] = 0
		}
		if g != nil {
			g[0] = x[0]
		}
		for i := 1; i < d; i++ {
			r := float64(x[i]) - rho*float64(x[i-1])
			e += r * r / (2 * v)
			if g != nil {
				g[i] += float32(r / v)
				g[i-1] -= float32(rho * r / v)
			}
		}
		return float32(e)
	})
}

// banana is N(0, diag(100, 1)) sheared by 0.03(x₀²−100).
var banana = samplers.Func(2, func(x, g []float32) float32 {
	a, b := float64(x[0]), float64(x[1])
	r := b - 0.03*(a*a-100)
	if g != nil {
		g[0] = float32(a/100 - 0.06*a*r)
		g[1] = float32(r)
	}
	return float32(a*a/200 + r*r/2)
})

// smallestESS is the smallest, over coordinates, of the effective sizes of N
// chains by Geyer's initial monotone sequence.
func smallestESS(res *samplers.Result) float64 {
	least := math.Inf(1)
	for j := range res.Dim {
		least = min(least, ess(res, j))
	}
	return least
}

func ess(res *samplers.Result, j int) float64 {
	n, m := res.Kept, res.N
	chain := make([][]float64, m)
	means := make([]float64, m)
	within := 0.0
	for c := range m {
		chain[c] = make([]float64, n)
		for i := range n {
			chain[c][i] = float64(res.Draws[(c*n+i)*res.Dim+j])
			means[c] += chain[c][i] / float64(n)
		}
		for _, v := range chain[c] {
			within += (v - means[c]) * (v - means[c]) / float64(n-1) / float64(m)
		}
	}
	_, between := meanSD(means)
	plus := within*float64(n-1)/float64(n) + between*between
	rho := func(lag int) float64 {
		sum := 0.0
		for c := range m {
			for i := 0; i+lag < n; i++ {
				sum += (chain[c][i] - means[c]) * (chain[c][i+lag] - means[c])
			}
		}
		return 1 - (within-sum/float64(n*m))/plus
	}
	tau, last := -1.0, math.Inf(1)
	for lag := 0; lag+1 < n; lag += 2 {
		pair := min(rho(lag)+rho(lag+1), last)
		if pair < 0 {
			break
		}
		tau += 2 * pair
		last = pair
	}
	return float64(n*m) / tau
}

// Effective draws per 1000 gradients, 4 chains of 1000 after 400 of warm-up, ten seeds.
func TestNUTSEfficiency(t *testing.T) {
	scales := make([]float64, 100)
	for i := range scales {
		scales[i] = math.Pow(10, -2+2*float64(i)/99)
	}
	for _, c := range []struct {
		name   string
		target samplers.Target
		floor  float64 // what BlackJAX and NumPyro reach at best
	}{
		{"N(0, I), d = 100", samplertest.StandardNormal(100), 109},
		{"diagonal, d = 100", samplertest.Gaussian{Mean: make([]float64, 100), Std: scales}, 81},
		{"AR(1), d = 50", autoregression(50, 0.9), 6.2},
		{"banana", banana, 3.5},
	} {
		var after, all, accept []float64
		for seed := range uint64(10) {
			res, err := samplers.Run(context.Background(), c.target, &samplers.NUTS{}, samplers.Config{Chains: 4, Steps: 1400, BurnIn: 400, Seed: seed, KeepDraws: true})
			if err != nil {
				t.Fatal(err)
			}
			e := smallestESS(res)
			after = append(after, 1000*e/float64(res.Sampling.Gradients))
			all = append(all, 1000*e/float64(res.Sampling.Gradients+res.Warmup.Gradients))
			accept = append(accept, res.Sampling.Acceptance())
		}
		mean, sd := meanSD(after)
		whole, _ := meanSD(all)
		acc, _ := meanSD(accept)
		fmt.Printf("%-20s ESS/1000 gradients %.1f ± %.1f (warm-up included %.1f), acceptance %.3f\n", c.name, mean, sd, whole, acc)
		if mean < c.floor {
			t.Errorf("%s: %.1f effective draws per 1000 gradients, want %.1f", c.name, mean, c.floor)
		}
	}
}
