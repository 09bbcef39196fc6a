//go:build !purego

package rng

import (
	"math"
	"math/bits"

	"golang.org/x/sys/cpu"
)

// level is the widest instruction set in use.
var level = detect()

const (
	levelGo = iota
	levelAVX2
	levelAVX512
)

func detect() int {
	switch {
	case cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ:
		return levelAVX512
	case cpu.X86.HasAVX2:
		return levelAVX2
	}
	return levelGo
}

// schedule is what Philox needs of a stream, the block apart.
type schedule struct {
	keys [philoxRounds][2]uint32
	// The part of round one that the upper half of the counter alone decides.
	low uint32 // low word of M1·c2
	mid uint32 // high word of M1·c2, with the key
	top uint32 // c3, with the key
}

func newSchedule(s stream) (c schedule) {
	k0, k1 := uint32(s.key), uint32(s.key>>32)
	for i := range c.keys {
		c.keys[i] = [2]uint32{k0, k1}
		k0 += philoxW0
		k1 += philoxW1
	}
	hi, lo := bits.Mul32(philoxM1, uint32(s.high))
	c.low = lo
	c.mid = hi ^ c.keys[0][0]
	c.top = uint32(s.high>>32) ^ c.keys[0][1]
	return c
}

// row is one constant in all lanes of an AVX2 register; AVX-512 broadcasts its first word.
type row [8]uint32

// constants is laid out for the assembly, which finds its fields through go_asm.h.
type constants struct {
	m0, m1                                 row
	half, one, two                         row
	bias, fraction, sqrtHalf               row
	ln0, ln1, ln2, ln3, ln4, ln5, ln6, ln7 row
	minusTwoLn2                            row
	tiny                                   row // 2⁻³¹
	sin0, sin1, sin2, sin3                 row
	cos0, cos1, cos2, cos3                 row
	sign                                   row
	lanes8                                 [8]uint64 // block of each 64-bit lane, see normals_avx512_amd64.s
	lanes4                                 [4]uint64
	four                                   [4]uint64
	eight                                  [4]uint64
}

var table = constants{
	m0: repeat(philoxM0), m1: repeat(philoxM1),
	half: repeatFloat(0.5), one: repeatFloat(1), two: repeatFloat(2),
	bias: repeat(exponentBias), fraction: repeat(fractionBits), sqrtHalf: repeat(sqrtHalfBits),
	ln0: repeatFloat(ln0), ln1: repeatFloat(ln1), ln2: repeatFloat(ln2), ln3: repeatFloat(ln3),
	ln4: repeatFloat(ln4), ln5: repeatFloat(ln5), ln6: repeatFloat(ln6), ln7: repeatFloat(ln7),
	minusTwoLn2: repeatFloat(minusTwoLn2),
	tiny:        repeatFloat(0x1p-31),
	sin0:        repeatFloat(sin0), sin1: repeatFloat(sin1), sin2: repeatFloat(sin2), sin3: repeatFloat(sin3),
	cos0: repeatFloat(cos0), cos1: repeatFloat(cos1), cos2: repeatFloat(cos2), cos3: repeatFloat(cos3),
	sign:   repeat(1 << 31),
	lanes8: [8]uint64{0, 4, 1, 5, 2, 6, 3, 7},
	lanes4: [4]uint64{0, 2, 1, 3},
	four:   [4]uint64{4, 4, 4, 4},
	eight:  [4]uint64{8, 8, 8, 8},
}

func repeat(v uint32) row       { return row{v, v, v, v, v, v, v, v} }
func repeatFloat(v float32) row { return repeat(math.Float32bits(v)) }

// The kernels make 64·lots normals from a block on; the slices behind the pointers are that long.

//go:noescape
func normalsAVX512(dst *float32, lots int, c *schedule, block uint64)

//go:noescape
func langevinAVX512(x, grad *float32, lots int, eta, sigma float32, c *schedule, block uint64)

//go:noescape
func normalsAVX2(dst *float32, lots int, c *schedule, block uint64)

//go:noescape
func langevinAVX2(x, grad *float32, lots int, eta, sigma float32, c *schedule, block uint64)

// normalLots fills dst, whole lots, with the normals from block b on.
func normalLots(dst []float32, s stream, b uint64) {
	lots := len(dst) / lot
	if lots == 0 {
		return
	}
	switch level {
	case levelAVX512:
		c := newSchedule(s)
		normalsAVX512(&dst[0], lots, &c, b)
	case levelAVX2:
		c := newSchedule(s)
		normalsAVX2(&dst[0], lots, &c, b)
	default:
		normalBlocks(dst, s, b)
	}
}

// normalEdge makes at least n normals from block b on. A lot costs the assembly little more than a
// block costs Go.
func normalEdge(edge *[lot]float32, n int, s stream, b uint64) {
	if level == levelGo || n <= 4 {
		normalBlocks(edge[:(n+3)/4*4], s, b)
		return
	}
	normalLots(edge[:], s, b)
}

// langevinLots updates x, whole lots, with the normals from block b on.
func langevinLots(x, g []float32, eta, sigma float32, s stream, b uint64) {
	lots := len(x) / lot
	if lots == 0 {
		return
	}
	switch level {
	case levelAVX512:
		c := newSchedule(s)
		langevinAVX512(&x[0], &g[0], lots, eta, sigma, &c, b)
	case levelAVX2:
		c := newSchedule(s)
		langevinAVX2(&x[0], &g[0], lots, eta, sigma, &c, b)
	default:
		langevinBlocks(x, g, eta, sigma, s, b)
	}
}
