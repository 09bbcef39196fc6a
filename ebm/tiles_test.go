package ebm_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// plain hides that an energy lends its tiles and runs loops.
type plain struct {
	samplers.Target
	fail int // the evaluation that fails
	seen int
}

var errPlanted = errors.New("planted")

func (p *plain) EnergyGradient(ctx context.Context, x []float32, n int, e, g []float32) error {
	if p.seen++; p.seen == p.fail {
		return errPlanted
	}
	return p.Target.EnergyGradient(ctx, x, n, e, g)
}

// HMC gives the same bytes in the tiles' memory as with one evaluation after the other, for any number of workers, and for padded batches.
func TestTrajectoriesInTiles(t *testing.T) {
	for _, c := range []struct {
		name   string
		g      *graphs.Graph
		chains int
	}{{"tiles", mlp(t, 3, 64), 1500}, {"padded", fixedMLP(t, 4, 3, 16), 10}} {
		t.Run(c.name, func(t *testing.T) {
			run := func(workers int, hide bool) *samplers.Result {
				rt, err := runtime.Open(runtime.Options{Workers: workers})
				if err != nil {
					t.Skipf("needs ONNX Runtime: %v", err)
				}
				e, err := ebm.New(rt, c.g, ebm.Options{})
				require.NoError(t, err)
				defer e.Close()
				var target samplers.Target = e
				if hide {
					target = &plain{Target: e}
				}
				k := &samplers.HMC{Hamiltonian: samplers.Hamiltonian{StepSize: schedule.Constant{Value: 0.5}}, Leapfrogs: 3, Jitter: 0.2}
				r, err := samplers.Run(t.Context(), target, k, samplers.Config{Chains: c.chains, Steps: 5, KeepEnergies: true, KeepDraws: true})
				require.NoError(t, err)
				return r
			}
			want := run(1, true)
			require.Less(t, want.Sampling.Acceptance(), 1.0)
			for _, workers := range []int{1, 2, 3} {
				got := run(workers, false)
				require.Equal(t, want.Draws, got.Draws)
				require.Equal(t, want.Energies, got.Energies)
			}
		})
	}
}

// broken fails in the middle of the trajectories of all tiles but the first.
type broken struct{ *ebm.Energy }

type brokenTile struct{ samplers.Tile }

func (b broken) EachTile(ctx context.Context, n int, fn func(ctx context.Context, t samplers.Tile) error) error {
	return b.Energy.EachTile(ctx, n, func(ctx context.Context, t samplers.Tile) error {
		if lo, _ := t.Range(); lo > 0 {
			t = brokenTile{t}
		}
		return fn(ctx, t)
	})
}

func (t brokenTile) EnergyGradient(ctx context.Context, energy bool) (e, g []float32, err error) {
	if energy {
		return nil, nil, errPlanted
	}
	return t.Tile.EnergyGradient(ctx, energy)
}

// A trajectory that fails leaves all chains where the iteration began.
func TestBrokenTrajectories(t *testing.T) {
	e, err := ebm.New(openRuntime(t), mlp(t, 3, 64), ebm.Options{})
	require.NoError(t, err)
	defer e.Close()
	k := &samplers.HMC{Leapfrogs: 3}
	cfg := samplers.Config{Chains: 1500, Steps: 2}
	r, err := samplers.Run(t.Context(), broken{e}, k, cfg)
	require.ErrorIs(t, err, errPlanted)
	cfg.Steps = 0
	start, err := samplers.Run(t.Context(), e, k, cfg)
	require.NoError(t, err)
	require.Equal(t, start.Final, r.Final)
	r, err = samplers.Run(t.Context(), &plain{Target: e, fail: 3}, k, samplers.Config{Chains: 1500, Steps: 2})
	require.ErrorIs(t, err, errPlanted)
	require.Equal(t, start.Final, r.Final)
}
