package rng

// Uniforms fills dst with uniform numbers in (0, 1): odd multiples of 2⁻²⁴, symmetric about ½, never 0
// or 1. Element i of dst is element first+i of the step.
func (k Key) Uniforms(dst []float32, step, first uint64) {
	s := k.stream(kindUniform, step)
	for len(dst) > 0 {
		w := words4(s.block(first / 4))
		for _, v := range w[first%4 : min(4, first%4+uint64(len(dst)))] {
			dst[0] = float32(v>>8|1) * 0x1p-24
			dst = dst[1:]
			first++
		}
	}
}

func words4(w0, w1, w2, w3 uint32) [4]uint32 { return [4]uint32{w0, w1, w2, w3} }

// Rademacher fills dst with ±1, each with probability ½, one bit an element. Element i of dst is
// element first+i of the step.
func (k Key) Rademacher(dst []float32, step, first uint64) {
	s := k.stream(kindSign, step)
	for len(dst) > 0 {
		w := words4(s.block(first / 128))
		at := first % 128
		n := min(128-at, uint64(len(dst)))
		for i := range dst[:n] {
			bit := at + uint64(i)
			dst[i] = 1 - 2*float32(w[bit/32]>>(bit%32)&1)
		}
		dst = dst[n:]
		first += n
	}
}

// Uint64 returns integer number index of the step, uniform on all 64-bit integers. Float64 and IntN at
// the same (step, index) are other views of this one draw.
func (k Key) Uint64(step, index uint64) uint64 {
	return k.stream(kindInteger, step).uint64(index)
}

// Float64 returns Uint64(step, index) as a number in (0, 1): an odd multiple of 2⁻⁵³, never 0 or 1.
func (k Key) Float64(step, index uint64) float64 {
	return float64(k.Uint64(step, index)>>11|1) * 0x1p-53
}

// IntN returns Uint64(step, index) scaled to [0, n); its bias is below n/2⁶⁴. It returns 0 for n < 1.
func (k Key) IntN(n int, step, index uint64) int {
	return scale(k.Uint64(step, index), max(n, 1))
}

// Perm returns a uniformly random permutation of 0 … n−1, empty for n < 1.
func (k Key) Perm(n int, step uint64) []int {
	p := make([]int, max(n, 0))
	k.PermInto(p, step)
	return p
}

// PermInto overwrites p with the permutation Perm(len(p), step), without allocating.
func (k Key) PermInto(p []int, step uint64) {
	s := k.stream(kindPerm, step)
	for i := range p { // Fisher–Yates, inside out
		j := scale(s.uint64(uint64(i)), i+1)
		p[i] = p[j]
		p[j] = i
	}
}
