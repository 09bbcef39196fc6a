package runtime

import "math"

// The default size of tiles. Measured with gradient graphs of dense networks
// on two cores: fewer than 64 rows waste matrix products, more than 512 leave
// the second-level cache, and a tile should be worth some 10 µs so that
// handing it to another core pays.
const (
	tileRows    = 256
	minTileWork = 1 << 20 // floating-point operations
	maxTileWork = 1 << 26
	maxTileSize = 1 << 14 // elements of the largest Rows port
	maxSumBytes = 1 << 26 // of all tiles' own Sum outputs
	deviceRows  = 1 << 16 // a tile on a GPU
)

// tileCount is the number of tiles n rows are cut into: even, where there are
// several, so that two workers share them equally. It depends on n and the
// model, never on the number of workers.
func tileCount(n int, m Model) int {
	widest, sums := 1, 0
	for _, p := range append(append([]Port{}, m.Inputs...), m.Outputs...) {
		switch p.Kind {
		case Rows:
			widest = max(widest, p.elements())
		case Sum:
			sums += p.elements()
		}
	}
	cost := max(m.RowCost, float64(widest))
	most := math.Max(1, math.Min(float64(n), float64(n)*cost/minTileWork))
	rows := min(max(tileRows, int(4*minTileWork/cost)), max(tileRows, maxTileSize/widest), max(1, int(maxTileWork/cost)))
	tiles := (n + rows - 1) / rows
	if tiles == 1 && most >= 2 {
		tiles = 2
	}
	tiles += tiles & 1
	tiles = min(tiles, int(most))
	if sums > 0 {
		tiles = min(tiles, max(2, maxSumBytes/4/sums))
	}
	return max(1, tiles)
}

// estimateCost guesses the operations a row takes: one multiply and add for
// each parameter, forward and backward.
func estimateCost(m Model) float64 {
	parameters := len(m.Bytes) / 4
	for _, p := range m.Inputs {
		if p.Kind == Shared {
			parameters += p.elements()
		}
	}
	return 4 * float64(parameters)
}

// span gives the rows of tile i of count: sizes differ by one at most.
func span(n, count, i int) (first, rows int) {
	q, r := n/count, n%count
	first = i*q + min(i, r)
	if i < r {
		return first, q + 1
	}
	return first, q
}
