package ebm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers"
)

// lending is the gradient program bound for n states, and the one with energies over the same memory.
type lending struct {
	n              int
	gradient, both *runtime.Binding
	tiles          []lentTile
	stale          bool
	fn             func(ctx context.Context, t samplers.Tile) error
	call           func(ctx context.Context, i int) error // fn of a tile, made once: a run calls it at every iteration
}

// lentTile is a samplers.Tile.
type lentTile struct {
	l       *lending
	i       int
	lo, hi  int // states that are not padding
	x, e, g []float32
	pad     func()
}

// EachTile implements samplers.Tiled.
func (e *Energy) EachTile(ctx context.Context, n int, fn func(ctx context.Context, t samplers.Tile) error) error {
	if n == 0 {
		return ctx.Err()
	}
	l, err := e.lend(n)
	if err != nil {
		return err
	}
	defer e.takeBack(l)
	l.fn = fn
	err = l.gradient.EachTile(ctx, l.call)
	l.fn = nil
	if err != nil {
		return fmt.Errorf("ebm: %w", err)
	}
	return nil
}

func (e *Energy) lend(n int) (*lending, error) {
	e.mu.Lock()
	for i, l := range e.lent {
		if l.n == n {
			e.lent = slices.Delete(e.lent, i, i+1)
			e.mu.Unlock()
			if l.stale {
				l.stale = false
				return l, errors.Join(l.gradient.Changed(), l.both.Changed())
			}
			return l, nil
		}
	}
	e.mu.Unlock()
	gradient, err := e.program(derivation{want: gradients.Gradient})
	if err != nil {
		return nil, err
	}
	both, err := e.program(derivation{want: gradients.Energy | gradients.Gradient})
	if err != nil {
		return nil, err
	}
	padded := e.padded(n)
	l := &lending{n: n}
	l.call = func(ctx context.Context, i int) error { return l.fn(ctx, &l.tiles[i]) }
	if l.gradient, err = gradient.prog.Bind(padded, runtime.BindOptions{Shared: gradient.shared, Tiles: e.tiles(padded)}); err != nil {
		return nil, fmt.Errorf("ebm: %w", err)
	}
	x, g := l.gradient.In(gradients.X), l.gradient.Out(gradients.GradientName)
	l.both, err = both.prog.Bind(padded, runtime.BindOptions{Shared: both.shared, Tiles: l.gradient.Tiles(),
		Rows: map[string][]float32{gradients.X: x, gradients.GradientName: g}})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ebm: %w", err), l.gradient.Close())
	}
	energies := l.both.Out(gradients.EnergyName)
	for i := range l.gradient.Tiles() {
		lo, rows := l.gradient.Tile(i)
		hi := min(lo+rows, n)
		t := lentTile{l: l, i: i, lo: lo, hi: hi, x: x[lo*e.dim : hi*e.dim], e: energies[lo:hi], g: g[lo*e.dim : hi*e.dim]}
		if all := x[lo*e.dim : (lo+rows)*e.dim]; len(all) > len(t.x) {
			t.pad = func() { e.fill(all, all, hi-lo) }
		}
		l.tiles = append(l.tiles, t)
	}
	return l, nil
}

func (e *Energy) takeBack(l *lending) {
	e.mu.Lock()
	e.lent = append(e.lent, l)
	var old *lending
	if len(e.lent) > maxBindings {
		old = e.lent[0]
		e.lent = e.lent[1:]
	}
	e.mu.Unlock()
	if old != nil {
		old.close()
	}
}

func (l *lending) close() error { return errors.Join(l.gradient.Close(), l.both.Close()) }

// Range implements samplers.Tile.
func (t *lentTile) Range() (lo, hi int) { return t.lo, t.hi }

// X implements samplers.Tile.
func (t *lentTile) X() []float32 { return t.x }

// EnergyGradient implements samplers.Tile.
func (t *lentTile) EnergyGradient(ctx context.Context, energy bool) (e, g []float32, err error) {
	if t.pad != nil {
		t.pad()
	}
	if energy {
		return t.e, t.g, t.l.both.RunTile(ctx, t.i)
	}
	return nil, t.g, t.l.gradient.RunTile(ctx, t.i)
}
