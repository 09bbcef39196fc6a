package rng

import "math/bits"

// Multipliers and Weyl increments of Philox4x32 (Salmon et al. 2011, table 2).
const (
	philoxM0 = 0xD2511F53
	philoxM1 = 0xCD9E8D57
	philoxW0 = 0x9E3779B9
	philoxW1 = 0xBB67AE85

	philoxRounds = 10
)

// philox is Philox4x32-10: ten rounds of the counter c under the key k. Words go by themselves, not in
// arrays, to stay in registers.
func philox(c0, c1, c2, c3, k0, k1 uint32) (w0, w1, w2, w3 uint32) {
	for range philoxRounds {
		p0, p1 := uint64(philoxM0)*uint64(c0), uint64(philoxM1)*uint64(c2)
		c0, c1 = uint32(p1>>32)^c1^k0, uint32(p1)
		c2, c3 = uint32(p0>>32)^c3^k1, uint32(p0)
		k0 += philoxW0
		k1 += philoxW1
	}
	return c0, c1, c2, c3
}

// stream is one step of one kind of draw: what is left to choose is the block.
type stream struct {
	key  uint64
	high uint64 // the upper half of the counter
}

// block returns the four words of one block.
func (s stream) block(b uint64) (w0, w1, w2, w3 uint32) {
	return philox(uint32(b), uint32(b>>32), uint32(s.high), uint32(s.high>>32), uint32(s.key), uint32(s.key>>32))
}

// pair returns the four words of one block as two 64-bit integers.
func (s stream) pair(b uint64) (lo, hi uint64) {
	w0, w1, w2, w3 := s.block(b)
	return uint64(w0) | uint64(w1)<<32, uint64(w2) | uint64(w3)<<32
}

// uint64 returns integer i of the stream, two to a block.
func (s stream) uint64(i uint64) uint64 {
	lo, hi := s.pair(i / 2)
	if i%2 == 1 {
		return hi
	}
	return lo
}

// scale maps a uniform 64-bit integer to [0, n) by the high half of their product (Lemire 2019). The
// bias, below n/2⁶⁴, is left in: rejecting would make the number of words drawn depend on their values.
func scale(u uint64, n int) int {
	hi, _ := bits.Mul64(u, uint64(n))
	return int(hi)
}
