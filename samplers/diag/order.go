package diag

import (
	"cmp"
	"math"
	"slices"
)

// entry is one value of a series in sorted order: where it came from, and its
// bits mapped so that unsigned order is numeric order.
type entry struct {
	key uint64
	i   uint32
}

func keyOf(x float64) uint64 {
	b := math.Float64bits(x)
	if b>>63 != 0 {
		return ^b
	}
	return b | 1<<63
}

func (e entry) value() float64 {
	if e.key>>63 != 0 {
		return math.Float64frombits(e.key &^ (1 << 63))
	}
	return math.Float64frombits(^e.key)
}

const (
	digitBits  = 11
	digits     = (64 + digitBits - 1) / digitBits
	radix      = 1 << digitBits
	radixWorth = 1 << 12 // below this many values comparison sorting is quicker
)

// sortEntries returns the values of x in ascending order, in a or b, two slices
// of the same length, and the other one as scratch. It is a radix sort from the
// low digit up; digits that all values share, as the low ones of float32 values
// do, cost nothing.
func sortEntries(a, b []entry, x []float64) (sorted, spare []entry) {
	for i, v := range x {
		a[i] = entry{keyOf(v), uint32(i)}
	}
	if len(a) < radixWorth {
		slices.SortFunc(a, func(p, q entry) int { return cmp.Compare(p.key, q.key) })
		return a, b
	}
	var counts [digits][radix]uint32
	for _, e := range a {
		for d := range digits {
			counts[d][e.key>>(d*digitBits)%radix]++
		}
	}
	for d := range digits {
		c := &counts[d]
		if c[a[0].key>>(d*digitBits)%radix] == uint32(len(a)) {
			continue
		}
		sum := uint32(0)
		for k, n := range c {
			c[k] = sum
			sum += n
		}
		for _, e := range a {
			k := e.key >> (d * digitBits) % radix
			b[c[k]] = e
			c[k]++
		}
		a, b = b, a
	}
	return a, b
}
