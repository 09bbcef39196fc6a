package ebm

import (
	"context"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// CheckRows runs an energy graph on random rows, together and alone, and refuses it when a row's energy depends on its company: E must be
// a function of one item. "Alone" is a batch of 1 or, where the graph has a fixed batch size, a batch of copies. A graph that cannot run at
// all is refused with ONNX Runtime's reason.
func CheckRows(ctx context.Context, rt *runtime.Runtime, g *graphs.Graph, item []int64) error {
	e, err := New(rt, g, Options{Item: item})
	if err != nil {
		return err
	}
	defer e.Close()
	e.large = true // a dozen runs are not worth a copy of the parameters, let alone the three that ONNX Runtime makes of compiled ones
	p, err := e.program(derivation{want: gradients.Energy})
	if err != nil {
		return err
	}
	rows, alone := 5, 1
	if e.fixed > 0 {
		rows, alone = e.fixed, e.fixed
	}
	x := make([]float32, rows*e.dim)
	rng.NewKey(1).Sub("rows").Normals(x, 0, 0)
	together, err := e.oneTile(ctx, p, x, rows)
	if err != nil {
		return fmt.Errorf("ebm: the model does not run on a batch of %d: %w", rows, err)
	}
	again, err := e.oneTile(ctx, p, x, rows)
	if err != nil {
		return fmt.Errorf("ebm: the model does not run on a batch of %d: %w", rows, err)
	}
	for i := range together {
		if !near(together[i], again[i]) {
			return fmt.Errorf("ebm: the same row has the energy %g and then %g: an energy draws no random numbers (is dropout in training mode? export the model in evaluation mode)", together[i], again[i])
		}
	}
	one := make([]float32, alone*e.dim)
	for i := range min(rows, maxRowsChecked) {
		e.fill(one, x[i*e.dim:(i+1)*e.dim], 1)
		copies, err := e.oneTile(ctx, p, one, alone)
		if err != nil {
			return fmt.Errorf("ebm: the model does not run on a batch of %d: %w", alone, err)
		}
		for _, c := range copies {
			if !near(together[i], c) {
				return fmt.Errorf("ebm: rows influence each other: row %d has the energy %g in a batch of %d and %g among copies of itself; an energy is a function of one item (does the model use batch statistics? export it in evaluation mode)", i, together[i], rows, c)
			}
		}
	}
	return nil
}

// maxRowsChecked bounds the runs that a large fixed batch takes.
const maxRowsChecked = 8

// near allows for sums in another order.
func near(a, b float32) bool {
	if a == b || a != a && b != b {
		return true
	}
	return math.Abs(float64(a-b)) <= 1e-4*max(1, math.Abs(float64(a)), math.Abs(float64(b)))
}

func (e *Energy) oneTile(ctx context.Context, p *program, x []float32, n int) ([]float32, error) {
	b, err := p.prog.Bind(n, runtime.BindOptions{Shared: p.shared, Tiles: 1})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	copy(b.In(gradients.X), x)
	if err := b.Run(ctx); err != nil {
		return nil, err
	}
	return append([]float32(nil), b.Out(gradients.EnergyName)...), nil
}
