package runtime

import (
	"math"
	"slices"
)

// The default size of tiles. Measured with gradient graphs of dense networks: a
// call costs about 5 µs beside its rows, so a tile should be worth some 50 µs;
// matrix products are at full speed from 64 rows of 256 or more units on; more
// than that leaves the caches of a core and work for fewer cores.
const (
	tileRows     = 128
	wantTileWork = 1 << 22 // floating-point operations of a tile, if its rows are cheap
	maxTileWork  = 1 << 27 // if they are dear
	minTileWork  = 1 << 20 // the least that is worth handing to another core
	maxTileSize  = 1 << 15 // elements of the largest Rows port, beyond tileRows
	maxSumSize   = 1 << 24 // elements of all tiles' own Sum outputs, but for two tiles
	maxTwoSums   = 1 << 28 // elements of Sum outputs of which even two are too many
	elementCost  = 100     // of a number that is read or written, in operations of a matrix product: 1 ns
	deviceRows   = 1 << 16 // rows of a tile on a GPU
)

// tileCount is the number of tiles n rows are cut into: a power of two up to
// 16, then a multiple of 8, so that common numbers of cores share them equally.
// It depends on n and the model, never on the number of workers.
func tileCount(n int, m Model) int {
	widest, sums := 1, 0
	for _, p := range slices.Concat(m.Inputs, m.Outputs) {
		switch p.Kind {
		case Rows:
			widest = max(widest, p.elements())
		case Sum:
			sums += p.elements()
		}
	}
	cost := max(m.RowCost, elementCost*float64(widest))
	rows := min(wantTileWork/cost, float64(maxTileSize)/float64(widest))
	rows = min(max(rows, tileRows), maxTileWork/cost)
	tiles := balanced(float64(n) / max(rows, 1))

	work := float64(n) * cost
	switch {
	case tiles == 1 && work >= 2*minTileWork:
		tiles = 2
	case work < float64(tiles)*minTileWork:
		tiles = int(work / minTileWork)
	}
	switch {
	case sums > maxTwoSums:
		tiles = 1
	case sums > 0:
		tiles = min(tiles, max(2, maxSumSize/sums))
	}
	return max(1, min(tiles, n))
}

// balanced rounds a number of tiles to one that divides well among workers.
func balanced(t float64) int {
	switch {
	case t <= 1:
		return 1
	case t < 16:
		return 1 << int(math.Round(math.Log2(t)))
	}
	return 8 * int(math.Round(t/8))
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

// Tiles is the number of tiles that Bind cuts n rows into by the default rule.
func (p *Program) Tiles(n int) int {
	count, err := p.tiles(n, BindOptions{})
	if err != nil {
		return 0
	}
	return count
}
