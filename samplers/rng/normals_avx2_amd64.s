//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// Thirty-two normals at a time: two groups of four Philox blocks. The layout is that of
// normals_avx512_amd64.s, where it is explained, at half the width: lanes that hold the blocks 0 2 1 3
// give 0 1 and 2 3 after unpacking.

// Registers of the two groups: D0-D5, E0-E5.
#define D0 Y0
#define D1 Y1
#define D2 Y2
#define D3 Y3
#define D4 Y4
#define D5 Y5
#define E0 Y6
#define E1 Y7
#define E2 Y8
#define E3 Y9
#define E4 Y10
#define E5 Y11

#define BLOCK Y12 // block numbers of the first group
#define TEMP Y13
#define ETA Y14
#define SIGMA Y15

#define TABLE R8
#define SCHEDULE R9

// One round on both groups: (x1, x3) in, (p1, p0) in their place out.
#define ROUND(n, dx1, dx3, dp0, dp1, ex1, ex3, ep0, ep1) \
	VPMULUDQ     constants_m0(TABLE), D0, dp0              \
	VPMULUDQ     constants_m0(TABLE), E0, ep0              \
	VPMULUDQ     constants_m1(TABLE), D2, dp1              \
	VPMULUDQ     constants_m1(TABLE), E2, ep1              \
	VPBROADCASTD (schedule_keys+8*n)(SCHEDULE), TEMP       \
	VPXOR        TEMP, dx1, dx1                            \
	VPXOR        TEMP, ex1, ex1                            \
	VPBROADCASTD (schedule_keys+8*n+4)(SCHEDULE), TEMP     \
	VPXOR        TEMP, dx3, dx3                            \
	VPXOR        TEMP, ex3, ex3                            \
	VPSRLQ       $32, dp1, D0                              \
	VPSRLQ       $32, ep1, E0                              \
	VPSRLQ       $32, dp0, D2                              \
	VPSRLQ       $32, ep0, E2                              \
	VPXOR        dx1, D0, D0                               \
	VPXOR        ex1, E0, E0                               \
	VPXOR        dx3, D2, D2                               \
	VPXOR        ex3, E2, E2

#define ROUND_EVEN(n) ROUND(n, D1, D3, D4, D5, E1, E3, E4, E5)
#define ROUND_ODD(n) ROUND(n, D5, D4, D3, D1, E5, E4, E3, E1)

// The first round takes E2 for the block numbers of the second group.
#define ROUNDS \
	VPADDQ       constants_four(TABLE), BLOCK, E2    \
	VPMULUDQ     constants_m0(TABLE), BLOCK, D3      \
	VPMULUDQ     constants_m0(TABLE), E2, E3         \
	VPSRLQ       $32, BLOCK, D0                      \
	VPSRLQ       $32, E2, E0                         \
	VPSRLQ       $32, D3, D2                         \
	VPSRLQ       $32, E3, E2                         \
	VPBROADCASTD schedule_mid(SCHEDULE), TEMP        \
	VPXOR        TEMP, D0, D0                        \
	VPXOR        TEMP, E0, E0                        \
	VPBROADCASTD schedule_top(SCHEDULE), TEMP        \
	VPXOR        TEMP, D2, D2                        \
	VPXOR        TEMP, E2, E2                        \
	VPBROADCASTD schedule_low(SCHEDULE), D1          \
	VMOVDQA      D1, E1                              \
	ROUND_EVEN(1)                                    \
	ROUND_ODD(2)                                     \
	ROUND_EVEN(3)                                    \
	ROUND_ODD(4)                                     \
	ROUND_EVEN(5)                                    \
	ROUND_ODD(6)                                     \
	ROUND_EVEN(7)                                    \
	ROUND_ODD(8)

// The last round, merged into words 0 and 2 (x0, even and odd lanes) and words 1 and 3 (p1). $0xAA
// takes odd lanes; TEMP holds the two keys of the round.
#define LAST(x0, x1, x2, x3, p0, p1) \
	VPMULUDQ  constants_m0(TABLE), x0, p0 \
	VPMULUDQ  constants_m1(TABLE), x2, p1 \
	VMOVSLDUP x3, x3                      \
	VPBLENDD  $0xAA, x3, x1, x1           \
	VMOVSHDUP p1, x0                      \
	VPBLENDD  $0xAA, p0, x0, x0           \
	VMOVSLDUP p0, p0                      \
	VPBLENDD  $0xAA, p0, p1, p1           \
	VPXOR     TEMP, x1, x1                \
	VPXOR     x1, x0, x0

// Operations on both groups, with one constant of the table.
#define ADD(c, d, e) \
	VADDPS      c(TABLE), d, d \
	VADDPS      c(TABLE), e, e

#define SUB(c, d, e) \
	VSUBPS      c(TABLE), d, d \
	VSUBPS      c(TABLE), e, e

#define MUL(c, a, d, b, e) \
	VMULPS      c(TABLE), a, d \
	VMULPS      c(TABLE), b, e

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
	VPSUBD      constants_bias(TABLE), D0, D0      \
	VPSUBD      constants_bias(TABLE), E0, E0      \
	VPSRAD      $23, D0, D1                        \
	VPSRAD      $23, E0, E1                        \
	VCVTDQ2PS   D1, D1                             \
	VCVTDQ2PS   E1, E1                             \
	VPAND       constants_fraction(TABLE), D0, D0  \
	VPAND       constants_fraction(TABLE), E0, E0  \
	VPADDD      constants_sqrtHalf(TABLE), D0, D0  \
	VPADDD      constants_sqrtHalf(TABLE), E0, E0  \
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
// exchanged.
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
	VPAND     constants_sign(TABLE), D0, D0 \
	VPAND     constants_sign(TABLE), E0, E0 \
	VPXOR     D0, D4, D4                    \
	VPXOR     E0, E4, E4

// The normals of one group, from radius x2, sine x3, cosine x4 and the direction word x5: sixteen in
// order in x3 and x4. The top bit of x5 exchanges sine and cosine.
#define PRODUCT(x0, x1, x2, x3, x4, x5) \
	VBLENDVPS x5, x3, x4, x0 \
	VBLENDVPS x5, x4, x3, x1 \
	VMULPS    x2, x0, x0     \
	VMULPS    x2, x1, x1     \
	VUNPCKLPS x1, x0, x3     \
	VUNPCKHPS x1, x0, x4

// Thirty-two normals in order in D3, D4, E3, E4.
#define NORMALS \
	ROUNDS                                              \
	VPBROADCASTQ (schedule_keys+8*9)(SCHEDULE), TEMP    \
	LAST(D0, D1, D2, D3, D4, D5)                        \
	LAST(E0, E1, E2, E3, E4, E5)                        \
	VPADDQ       constants_eight(TABLE), BLOCK, BLOCK   \
	RADIUS                                              \
	DIRECTION                                           \
	PRODUCT(D0, D1, D2, D3, D4, D5)                     \
	PRODUCT(E0, E1, E2, E3, E4, E5)

// Makes block numbers of the first block, which is in BLOCK. A lot takes two turns.
#define SETUP \
	LEAQ         ·table(SB), TABLE                      \
	VPADDQ       constants_lanes4(TABLE), BLOCK, BLOCK  \
	ADDQ         CX, CX

// func normalsAVX2(dst *float32, lots int, c *schedule, block uint64)
TEXT ·normalsAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ lots+8(FP), CX
	MOVQ c+16(FP), SCHEDULE
	VPBROADCASTQ block+24(FP), BLOCK
	SETUP

turn:
	NORMALS
	VMOVUPS D3, (DI)
	VMOVUPS D4, 32(DI)
	VMOVUPS E3, 64(DI)
	VMOVUPS E4, 96(DI)
	ADDQ    $128, DI
	DECQ    CX
	JNZ     turn
	VZEROUPPER
	RET

// x ← (x − eta·g) + sigma·z for eight elements.
#define UPDATE(at, z, x) \
	VMULPS  at(SI), ETA, x \
	VMOVUPS at(DI), D0     \
	VSUBPS  x, D0, x       \
	VMULPS  SIGMA, z, z    \
	VADDPS  z, x, x        \
	VMOVUPS x, at(DI)

// func langevinAVX2(x, grad *float32, lots int, eta, sigma float32, c *schedule, block uint64)
TEXT ·langevinAVX2(SB), NOSPLIT, $0-48
	MOVQ         x+0(FP), DI
	MOVQ         grad+8(FP), SI
	MOVQ         lots+16(FP), CX
	VBROADCASTSS eta+24(FP), ETA
	VBROADCASTSS sigma+28(FP), SIGMA
	MOVQ         c+32(FP), SCHEDULE
	VPBROADCASTQ block+40(FP), BLOCK
	SETUP

turn:
	NORMALS
	UPDATE(0, D3, D1)
	UPDATE(32, D4, D2)
	UPDATE(64, E3, E1)
	UPDATE(96, E4, E2)
	ADDQ $128, DI
	ADDQ $128, SI
	DECQ CX
	JNZ  turn
	VZEROUPPER
	RET
