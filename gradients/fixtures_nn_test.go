package gradients_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
)

type fixture struct {
	Tier   int
	Energy string
	Set    map[string]float64
	Kinked bool
	Sigma  float64
	Losses map[string]float64
}

const fixtureDir = "../../shared/fixtures"

func fixtures(t *testing.T) map[string]fixture {
	raw, err := os.ReadFile(filepath.Join(fixtureDir, "index.json"))
	if err != nil {
		t.Skip("no reference models beside the project")
	}
	index := map[string]fixture{}
	require.NoError(t, json.Unmarshal(raw, &index))
	return index
}

// energyOf reads a fixture and makes the energy [N] of its output: the value itself, its negative, −log Σ exp, or ‖x − y‖².
func energyOf(t *testing.T, name string, f fixture) *graphs.Graph {
	g, _, err := graphs.ReadFile(filepath.Join(fixtureDir, name, "model.onnx"))
	require.NoError(t, err)
	g, err = graphs.Infer(g)
	require.NoError(t, err)
	b := graphs.Extend(g)
	x, y := g.Inputs[0], g.Outputs[0].Value
	for _, v := range g.Inputs {
		if _, set := f.Set[v.Name]; !set {
			x = v
		}
	}
	x.Name = gradients.X
	keep := graphs.Attrs{"keepdims": int64(0)}
	switch f.Energy {
	case "neglogsumexp":
		y = b.Op("Neg", nil, b.Op("ReduceLogSumExp", keep, y, b.Ints(1)))
	case "sqnorm":
		d := b.Op("Sub", nil, y, x)
		y = b.Op("ReduceSum", keep, b.Op("Mul", nil, d, d), b.Ints(1))
	}
	if y.Rank() == 2 {
		y = b.Op("Squeeze", nil, y, b.Ints(1))
	}
	if f.Energy == "negate" {
		y = b.Op("Neg", nil, y)
	}
	g, err = b.Graph(graphs.Output{Name: gradients.EnergyName, Value: y})
	require.NoError(t, err)
	require.Equal(t, 1, y.Rank())
	return g
}

func (f fixture) feeds(t *testing.T, name string, g *graphs.Graph) map[string]*graphs.Array {
	feeds := map[string]*graphs.Array{}
	x := readArray(t, filepath.Join(fixtureDir, name, "x.npy"))
	for _, v := range g.Inputs {
		if value, ok := f.Set[v.Name]; ok {
			a := &graphs.Array{DType: graphs.Int64, Dims: []int{}, I: []int64{int64(value)}}
			if v.Rank() == 1 {
				a.Dims, a.I = []int{x.Dims[0]}, slices.Repeat(a.I, x.Dims[0])
			}
			feeds[v.Name] = a
		}
	}
	feeds["x"], feeds["v"] = x, readArray(t, filepath.Join(fixtureDir, name, "v.npy"))
	return feeds
}

// TestNetworkFixtures compares energies, gradients and Hessian-vector products of exported networks with reference values of other engines.
func TestNetworkFixtures(t *testing.T) {
	var ratios [2][]float64
	index := fixtures(t)
	for name, f := range index {
		if f.Tier < 2 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			g := energyOf(t, name, f)
			feeds := f.feeds(t, name, g)
			if n := g.Input("x").Shape()[0]; n.IsStatic() && !n.Is(int64(feeds["x"].Dims[0])) {
				t.Skip("exported with a fixed batch")
			}
			all, err := gradients.Derive(g, gradients.Energy|gradients.Gradient|gradients.HVP)
			require.NoError(t, err)
			require.NoError(t, graphs.Check(all))
			first, err := gradients.Derive(g, gradients.Gradient)
			require.NoError(t, err)
			second, err := gradients.Derive(g, gradients.HVP)
			require.NoError(t, err)
			e, d, h := float64(g.CountNodes()), float64(first.CountNodes()), float64(second.CountNodes())
			t.Logf("nodes: energy %v gradient %v hvp %v all %d", e, d, h, all.CountNodes())
			ratios[0], ratios[1] = append(ratios[0], d/e), append(ratios[1], h/e)
			out, err := graphs.Evaluate(all, feeds)
			require.NoError(t, err, graphs.Print(all))
			for _, q := range []string{"energy", "gradient", "hvp"} {
				want := readArray(t, filepath.Join(fixtureDir, name, q+".npy"))
				require.Equal(t, want.Dims, out[q].Dims)
				require.Less(t, worst(out[q].F, want.F), 2e-6, q)
			}
		})
	}
	for i, q := range []string{"gradient", "hvp"} {
		sort.Float64s(ratios[i])
		if n := len(ratios[i]); n > 0 {
			t.Logf("nodes of the %s over those of the energy: median %.1f, most %.1f", q, ratios[i][n/2], ratios[i][n-1])
		}
	}
}
