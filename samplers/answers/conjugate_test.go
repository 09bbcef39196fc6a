package answers_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/samplers"
)

// beta is the posterior Beta(a, b) of a rate θ = 1/(1+e^{−x}) on the whole line:
// E = a·softplus(−x) + b·softplus(x), the Jacobian θ(1−θ) included.
func beta(t *testing.T, rates [][2]float32) *graphs.Graph {
	b := graphs.NewBuilder("beta")
	d := int64(len(rates))
	x := b.Input("x", graphs.Float32, graphs.Shape{graphs.Symbol("N"), graphs.Static(d)})
	var as, bs []float32
	for _, r := range rates {
		as, bs = append(as, r[0]), append(bs, r[1])
	}
	constant := func(v []float32) *graphs.Value { return b.Const(graphs.NewTensor(v, d)) }
	e := b.Op("Add", nil,
		b.Op("Mul", nil, constant(as), b.Op("Softplus", nil, b.Op("Neg", nil, x))),
		b.Op("Mul", nil, constant(bs), b.Op("Softplus", nil, x)))
	g, err := b.Graph(graphs.Output{Name: "energy", Value: b.Op("ReduceSum", graphs.Attrs{"keepdims": int64(0)}, e, b.Ints(1))})
	require.NoError(t, err)
	return g
}

func rate(x float32) float64 { return 1 / (1 + math.Exp(-float64(x))) }

// Posteriors of rates with uniform priors: 5 of 10; 5 and 7 of 10 with their
// difference; 12 of 20; 10 of 20.
func TestConjugatePosteriors(t *testing.T) {
	target := openGraph(t, beta(t, [][2]float32{{6, 6}, {8, 4}, {13, 9}, {11, 11}}))
	moments := func(name string, mean, sd float64, of func(x []float32) float64) []statistic {
		return []statistic{{name, mean, of}, {name + " squared", mean*mean + sd*sd, func(x []float32) float64 { v := of(x); return v * v }}}
	}
	var all []statistic
	for j, m := range [][2]float64{{0.5, 0.138675}, {2.0 / 3, 0.130744}, {0.590909, 0.10252}, {0.5, 0.104257}} {
		all = append(all, moments("theta", m[0], m[1], func(x []float32) float64 { return rate(x[j]) })...)
	}
	all = append(all, moments("delta", -1.0/6, 0.190591, func(x []float32) float64 { return rate(x[0]) - rate(x[1]) })...)
	for name, kernel := range map[string]samplers.Kernel{"nuts": &samplers.NUTS{}, "hmc": &samplers.HMC{}, "mala": &samplers.MALA{TargetAccept: 0.6}} {
		r := run(t, target, kernel, samplers.Config{Chains: 16, Steps: 1500, BurnIn: 500, KeepDraws: true})
		for _, s := range all {
			e := s.estimate(r)
			require.Greater(t, e.ess, 1000.0, name)
			require.InDelta(t, s.want, e.mean, 4.5*e.mcse, "%s: %s", name, s.name)
		}
	}
}
