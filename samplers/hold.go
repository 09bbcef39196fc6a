package samplers

import "context"

// Hold is the target of the first coordinates of t with the last ones held at the given values: p(x | tail) of a joint density of
// (x, tail), such as an energy of items and classes. Its dimension is that of t less the tail's. The target evaluates one batch at a
// time.
func Hold(t Target, tail []float32) Target {
	return &held{of: t, tail: tail}
}

type held struct {
	of   Target
	tail []float32
	x, g []float32
}

func (h *held) Dim() int { return h.of.Dim() - len(h.tail) }

func (h *held) EnergyGradient(ctx context.Context, x []float32, n int, e, g []float32) error {
	d, row := h.Dim(), h.of.Dim()
	if cap(h.x) < n*row {
		h.x, h.g = make([]float32, n*row), make([]float32, n*row)
	}
	all := h.x[:n*row]
	for i := range n {
		copy(all[i*row:], x[i*d:(i+1)*d])
		copy(all[i*row+d:], h.tail)
	}
	if g == nil {
		return h.of.EnergyGradient(ctx, all, n, e, nil)
	}
	if err := h.of.EnergyGradient(ctx, all, n, e, h.g[:n*row]); err != nil {
		return err
	}
	for i := range n {
		copy(g[i*d:(i+1)*d], h.g[i*row:])
	}
	return nil
}
