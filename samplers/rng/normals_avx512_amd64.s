//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// Sixty-four normals a turn: two groups of eight Philox blocks, written side by side so that the
// chains of one fill the waits of the other.
//
// Philox. A group is four registers of eight 64-bit lanes, one lane a block. A word of the state is
// the low half of its lane; what stands in the high half never matters, since VPMULUDQ reads low
// halves only and the rest is bitwise. Two registers take the products. A product is at once the new
// low word (as it stands) and the high word (shifted down), so registers change roles every round.
//
// Box–Muller. Words 0 and 2 of the blocks are merged into one register of sixteen 32-bit lanes (for
// the radius), words 1 and 3 into another (for the direction): even lanes hold the first pair of a
// block, odd lanes the second. VUNPCKLPS and VUNPCKHPS interleave cosines and sines within 128-bit
// parts, which leaves all four normals of the first 64-bit lane of each part in one register and those
// of the second in the other. Lanes that hold the blocks 0 4 1 5 2 6 3 7 thus give 0 1 2 3 and 4 5 6 7.

// Registers of the two groups: D0-D5, E0-E5.
#define D0 Z0
#define D1 Z1
#define D2 Z2
#define D3 Z3
#define D4 Z4
#define D5 Z5
#define E0 Z6
#define E1 Z7
#define E2 Z8
#define E3 Z9
#define E4 Z10
#define E5 Z11

#define BLOCKD Z12 // block numbers
#define BLOCKE Z13
#define M0 Z14
#define M1 Z15
#define SIXTEEN Z16
#define LOW Z17 // round one, see schedule
#define MID Z18
#define TOP Z19
#define ETA Z20
#define SIGMA Z21

#define TABLE R8
#define SCHEDULE R9

#define ODD K1 // odd 32-bit lanes

// One round on both groups: (x1, x3) in, (p1, p0) in their place out. $0x96 is a three-way xor.
#define ROUND(n, dx1, dx3, dp0, dp1, ex1, ex3, ep0, ep1) \
	VPMULUDQ         M0, D0, dp0                                     \
	VPMULUDQ         M0, E0, ep0                                     \
	VPMULUDQ         M1, D2, dp1                                     \
	VPMULUDQ         M1, E2, ep1                                     \
	VPSRLQ           $32, dp1, D0                                    \
	VPSRLQ           $32, ep1, E0                                    \
	VPSRLQ           $32, dp0, D2                                    \
	VPSRLQ           $32, ep0, E2                                    \
	VPTERNLOGD.BCST  $0x96, (schedule_keys+8*n)(SCHEDULE), dx1, D0   \
	VPTERNLOGD.BCST  $0x96, (schedule_keys+8*n)(SCHEDULE), ex1, E0   \
	VPTERNLOGD.BCST  $0x96, (schedule_keys+8*n+4)(SCHEDULE), dx3, D2 \
	VPTERNLOGD.BCST  $0x96, (schedule_keys+8*n+4)(SCHEDULE), ex3, E2

#define ROUND_EVEN(n) ROUND(n, D1, D3, D4, D5, E1, E3, E4, E5)
#define ROUND_ODD(n) ROUND(n, D5, D4, D3, D1, E5, E4, E3, E1)


#define ROUNDS \
	VPMULUDQ  M0, BLOCKD, D3  \
	VPMULUDQ  M0, BLOCKE, E3  \
	VPSRLQ    $32, BLOCKD, D0 \
	VPSRLQ    $32, BLOCKE, E0 \
	VPSRLQ    $32, D3, D2     \
	VPSRLQ    $32, E3, E2     \
	VPXORD    MID, D0, D0     \
	VPXORD    MID, E0, E0     \
	VPXORD    TOP, D2, D2     \
	VPXORD    TOP, E2, E2     \
	VMOVDQA32 LOW, D1         \
	VMOVDQA32 LOW, E1         \
	ROUND_EVEN(1)             \
	ROUND_ODD(2)              \
	ROUND_EVEN(3)             \
	ROUND_ODD(4)              \
	ROUND_EVEN(5)             \
	ROUND_ODD(6)              \
	ROUND_EVEN(7)             \
	ROUND_ODD(8)

// The last round, merged into words 0 and 2 (x0, even and odd lanes) and words 1 and 3 (p1).
#define LAST(x0, x1, x2, x3, p0, p1) \
	VPMULUDQ        M0, x0, p0                                   \
	VPMULUDQ        M1, x2, p1                                   \
	VMOVSLDUP       x3, ODD, x1                                  \
	VMOVSHDUP       p1, x0                                       \
	VMOVDQA32       p0, ODD, x0                                  \
	VMOVSLDUP       p0, ODD, p1                                  \
	VPTERNLOGQ.BCST $0x96, (schedule_keys+8*9)(SCHEDULE), x1, x0

// Operations on both groups, with one constant of the table.
#define ADD(c, d, e) \
	VADDPS.BCST c(TABLE), d, d \
	VADDPS.BCST c(TABLE), e, e

#define SUB(c, d, e) \
	VSUBPS.BCST c(TABLE), d, d \
	VSUBPS.BCST c(TABLE), e, e

#define MUL(c, a, d, b, e) \
	VMULPS.BCST c(TABLE), a, d \
	VMULPS.BCST c(TABLE), b, e

// One step of Horner's scheme: p ← p·x + c.
#define HORNER(c, x, p, y, q) \
	VMULPS x, p, p \
	VMULPS y, q, q \
	ADD(c, p, q)

// radius of boxmuller.go: from x0 to x2, by way of x1.
#define RADIUS \
	VPSRLD      $1, D0, D0                         \
	VPSRLD      $1, E0, E0                         \
	VCVTDQ2PS   D0, D0                             \
	VCVTDQ2PS   E0, E0                             \
	ADD(constants_half, D0, E0)                    \
	VPSUBD.BCST constants_bias(TABLE), D0, D0      \
	VPSUBD.BCST constants_bias(TABLE), E0, E0      \
	VPSRAD      $23, D0, D1                        \
	VPSRAD      $23, E0, E1                        \
	VCVTDQ2PS   D1, D1                             \
	VCVTDQ2PS   E1, E1                             \
	VPANDD.BCST constants_fraction(TABLE), D0, D0  \
	VPANDD.BCST constants_fraction(TABLE), E0, E0  \
	VPADDD.BCST constants_sqrtHalf(TABLE), D0, D0  \
	VPADDD.BCST constants_sqrtHalf(TABLE), E0, E0  \
	SUB(constants_one, D0, E0)                     \
	MUL(constants_ln7, D0, D2, E0, E2)             \
	ADD(constants_ln6, D2, E2)                     \
	HORNER(constants_ln5, D0, D2, E0, E2)          \
	HORNER(constants_ln4, D0, D2, E0, E2)          \
	HORNER(constants_ln3, D0, D2, E0, E2)          \
	HORNER(constants_ln2, D0, D2, E0, E2)          \
	HORNER(constants_ln1, D0, D2, E0, E2)          \
	HORNER(constants_ln0, D0, D2, E0, E2)          \
	VMULPS      D0, D2, D2                         \
	VMULPS      E0, E2, E2                         \
	SUB(constants_two, D2, E2)                     \
	VMULPS      D0, D2, D2                         \
	VMULPS      E0, E2, E2                         \
	MUL(constants_minusTwoLn2, D1, D1, E1, E1)     \
	VADDPS      D1, D2, D2                         \
	VADDPS      E1, E2, E2                         \
	VSQRTPS     D2, D2                             \
	VSQRTPS     E2, E2

// direction of boxmuller.go: from x5 to sine x3 and cosine x4, by way of x0 and x1. The two are not yet
// exchanged. $0x78 is p ^ (q & r).
#define DIRECTION \
	VPSLLD          $2, D5, D0                          \
	VPSLLD          $2, E5, E0                          \
	VCVTDQ2PS       D0, D0                              \
	VCVTDQ2PS       E0, E0                              \
	MUL(constants_tiny, D0, D0, E0, E0)                 \
	VMULPS          D0, D0, D1                          \
	VMULPS          E0, E0, E1                          \
	MUL(constants_sin3, D1, D3, E1, E3)                 \
	ADD(constants_sin2, D3, E3)                         \
	HORNER(constants_sin1, D1, D3, E1, E3)              \
	HORNER(constants_sin0, D1, D3, E1, E3)              \
	VMULPS          D0, D3, D3                          \
	VMULPS          E0, E3, E3                          \
	MUL(constants_cos3, D1, D4, E1, E4)                 \
	ADD(constants_cos2, D4, E4)                         \
	HORNER(constants_cos1, D1, D4, E1, E4)              \
	HORNER(constants_cos0, D1, D4, E1, E4)              \
	HORNER(constants_one, D1, D4, E1, E4)               \
	VPSLLD          $1, D5, D0                          \
	VPSLLD          $1, E5, E0                          \
	VPTERNLOGD.BCST $0x78, constants_sign(TABLE), D0, D4 \
	VPTERNLOGD.BCST $0x78, constants_sign(TABLE), E0, E4

// The normals of one group, from radius x2, sine x3, cosine x4 and the direction word x5: thirty-two in
// order in x3 and x4. The top bit of x5 exchanges sine and cosine.
#define PRODUCT(x0, x1, x2, x3, x4, x5) \
	VPMOVD2M  x5, K2          \
	VBLENDMPS x3, x4, K2, x0  \
	VBLENDMPS x4, x3, K2, x1  \
	VMULPS    x2, x0, x0      \
	VMULPS    x2, x1, x1      \
	VUNPCKLPS x1, x0, x3      \
	VUNPCKHPS x1, x0, x4

// Sixty-four normals in order in D3, D4, E3, E4.
#define NORMALS \
	ROUNDS                          \
	LAST(D0, D1, D2, D3, D4, D5)    \
	LAST(E0, E1, E2, E3, E4, E5)    \
	VPADDQ SIXTEEN, BLOCKD, BLOCKD  \
	VPADDQ SIXTEEN, BLOCKE, BLOCKE  \
	RADIUS                          \
	DIRECTION                       \
	PRODUCT(D0, D1, D2, D3, D4, D5) \
	PRODUCT(E0, E1, E2, E3, E4, E5)

// Sets the constant registers; the first block is in BX.
#define SETUP \
	LEAQ           ·table(SB), TABLE                       \
	VPBROADCASTD   constants_m0(TABLE), M0                 \
	VPBROADCASTD   constants_m1(TABLE), M1                 \
	VPBROADCASTD   schedule_low(SCHEDULE), LOW             \
	VPBROADCASTD   schedule_mid(SCHEDULE), MID             \
	VPBROADCASTD   schedule_top(SCHEDULE), TOP             \
	VPBROADCASTQ   BX, BLOCKD                              \
	VPBROADCASTQ   constants_eight(TABLE), BLOCKE          \
	VPADDQ         BLOCKE, BLOCKE, SIXTEEN                 \
	VPADDQ         constants_lanes8(TABLE), BLOCKD, BLOCKD \
	VPADDQ         BLOCKE, BLOCKD, BLOCKE                  \
	MOVL           $0xAAAA, AX                             \
	KMOVW          AX, ODD

// func normalsAVX512(dst *float32, lots int, c *schedule, block uint64)
TEXT ·normalsAVX512(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ lots+8(FP), CX
	MOVQ c+16(FP), SCHEDULE
	MOVQ block+24(FP), BX
	SETUP

turn:
	NORMALS
	VMOVUPS D3, (DI)
	VMOVUPS D4, 64(DI)
	VMOVUPS E3, 128(DI)
	VMOVUPS E4, 192(DI)
	ADDQ    $256, DI
	DECQ    CX
	JNZ     turn
	VZEROUPPER
	RET

// x ← (x − eta·g) + sigma·z for sixteen elements.
#define UPDATE(at, z, x) \
	VMULPS  at(SI), ETA, x \
	VMOVUPS at(DI), D0     \
	VSUBPS  x, D0, x       \
	VMULPS  SIGMA, z, z    \
	VADDPS  z, x, x        \
	VMOVUPS x, at(DI)

// func langevinAVX512(x, grad *float32, lots int, eta, sigma float32, c *schedule, block uint64)
TEXT ·langevinAVX512(SB), NOSPLIT, $0-48
	MOVQ         x+0(FP), DI
	MOVQ         grad+8(FP), SI
	MOVQ         lots+16(FP), CX
	VBROADCASTSS eta+24(FP), ETA
	VBROADCASTSS sigma+28(FP), SIGMA
	MOVQ         c+32(FP), SCHEDULE
	MOVQ         block+40(FP), BX
	SETUP

turn:
	NORMALS
	UPDATE(0, D3, D1)
	UPDATE(64, D4, D2)
	UPDATE(128, E3, E1)
	UPDATE(192, E4, E2)
	ADDQ $256, DI
	ADDQ $256, SI
	DECQ CX
	JNZ  turn
	VZEROUPPER
	RET
