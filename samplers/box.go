package samplers

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// BoxMode is what happens to a state that leaves the box.
type BoxMode uint8

const (
	// Clamp moves an unadjusted state to the nearest point of the box and
	// rejects a Metropolis proposal outside it. The unadjusted stationary law
	// then has mass on the walls; the Metropolis one is p restricted to the box.
	Clamp BoxMode = iota
	// Reflect folds a state back at the walls, and turns its momentum there.
	// Both keep p restricted to the box invariant where the kernel is exact.
	Reflect
)

var boxModes = []string{"clamp", "reflect"}

// String is the mode's name.
func (m BoxMode) String() string { return boxModes[m] }

// ParseBoxMode reads "clamp" or "reflect".
func ParseBoxMode(name string) (BoxMode, error) {
	i := slices.Index(boxModes, name)
	if i < 0 {
		return 0, fmt.Errorf("samplers: there is no box mode %q; the modes are %s", name, strings.Join(boxModes, ", "))
	}
	return BoxMode(i), nil
}

// Box keeps every coordinate within [Lo, Hi]; either may be infinite. The zero
// value is no box.
type Box struct {
	Lo, Hi float32
	Mode   BoxMode
}

// active says whether there is a box at all.
func (b Box) active() bool { return b.Lo != 0 || b.Hi != 0 }

func (b Box) validate() error {
	if b.active() && !(b.Lo < b.Hi) {
		return fmt.Errorf("samplers: a box from %v to %v holds nothing; give LO < HI", b.Lo, b.Hi)
	}
	return nil
}

// contains says whether all of x lies in the box.
func (b Box) contains(x []float32) bool {
	if !b.active() {
		return true
	}
	for _, v := range x {
		if !(b.Lo <= v && v <= b.Hi) {
			return false
		}
	}
	return true
}

// apply brings x into the box by its mode; p, the momentum or velocity that
// goes with x, is turned where a coordinate was reflected an odd number of
// times and stopped where it was clamped. p may be nil.
func (b Box) apply(x, p []float32) {
	if !b.active() {
		return
	}
	for i, v := range x {
		if b.Lo <= v && v <= b.Hi {
			continue
		}
		var turn float32
		if b.Mode == Clamp {
			x[i] = min(max(v, b.Lo), b.Hi)
		} else {
			x[i], turn = b.fold(v)
		}
		if p != nil {
			p[i] *= turn
		}
	}
}

// fold reflects v at the walls until it is inside, and says by the sign
// whether it still runs the same way.
func (b Box) fold(v float32) (folded, turn float32) {
	lo, hi, x := float64(b.Lo), float64(b.Hi), float64(v)
	switch {
	case math.IsInf(hi, 1):
		return float32(2*lo - x), -1
	case math.IsInf(lo, -1):
		return float32(2*hi - x), -1
	}
	w := hi - lo
	y := math.Mod(x-lo, 2*w)
	if y < 0 {
		y += 2 * w
	}
	turn = 1
	if y > w {
		y, turn = 2*w-y, -1
	}
	return min(max(float32(lo+y), b.Lo), b.Hi), turn
}
