//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// Eight elements a turn, in the order of operations of span.adam, every one rounded.

#define KEEP1 Y0
#define TAKE1 Y1
#define KEEP2 Y2
#define TAKE2 Y3
#define RATE Y4
#define ROOT Y5
#define EPS Y6
#define L2 Y7
#define SHRINK Y8

// func adamAVX2(p, m, v, grad *float32, n int, c *adamRates)
TEXT ·adamAVX2(SB), NOSPLIT, $0-48
	MOVQ p+0(FP), DI
	MOVQ m+8(FP), SI
	MOVQ v+16(FP), DX
	MOVQ grad+24(FP), CX
	MOVQ n+32(FP), BX
	MOVQ c+40(FP), AX
	VBROADCASTSS adamRates_m1+average_keep(AX), KEEP1
	VBROADCASTSS adamRates_m1+average_take(AX), TAKE1
	VBROADCASTSS adamRates_m2+average_keep(AX), KEEP2
	VBROADCASTSS adamRates_m2+average_take(AX), TAKE2
	VBROADCASTSS adamRates_rate(AX), RATE
	VBROADCASTSS adamRates_root(AX), ROOT
	VBROADCASTSS adamRates_eps(AX), EPS
	VBROADCASTSS adamRates_l2(AX), L2
	VBROADCASTSS adamRates_shrink(AX), SHRINK
	XORQ R8, R8

loop:
	VMOVUPS (DI)(R8*4), Y9
	VMULPS Y9, L2, Y10
	VADDPS (CX)(R8*4), Y10, Y10        // g + l2·p

	VMULPS (SI)(R8*4), KEEP1, Y11
	VMULPS Y10, TAKE1, Y12
	VADDPS Y12, Y11, Y11               // m
	VMOVUPS Y11, (SI)(R8*4)

	VMULPS (DX)(R8*4), KEEP2, Y13
	VMULPS Y10, TAKE2, Y12
	VMULPS Y10, Y12, Y12
	VADDPS Y12, Y13, Y13               // v
	VMOVUPS Y13, (DX)(R8*4)

	VSQRTPS Y13, Y13
	VMULPS Y13, ROOT, Y13
	VADDPS EPS, Y13, Y13
	VMULPS Y11, RATE, Y11
	VDIVPS Y13, Y11, Y11               // rate·m/(root·√v + ε)
	VMULPS Y9, SHRINK, Y9
	VSUBPS Y11, Y9, Y9
	VMOVUPS Y9, (DI)(R8*4)

	ADDQ $8, R8
	CMPQ R8, BX
	JLT loop
	VZEROUPPER
	RET
