//go:build !purego

#include "textflag.h"

// Products and sums are rounded one by one, as in Go: no fused operations.

// func kickDriftAVX2(x, p, grad *float32, n int, h, eps float32)
TEXT ·kickDriftAVX2(SB), NOSPLIT, $0-40
	MOVQ         x+0(FP), DI
	MOVQ         p+8(FP), SI
	MOVQ         grad+16(FP), DX
	MOVQ         n+24(FP), CX
	VBROADCASTSS h+32(FP), Y0
	VBROADCASTSS eps+36(FP), Y1
	XORQ         AX, AX

plain:
	VMULPS  (DX)(AX*4), Y0, Y2
	VMOVUPS (SI)(AX*4), Y3
	VSUBPS  Y2, Y3, Y3
	VMOVUPS Y3, (SI)(AX*4)
	VMULPS  Y1, Y3, Y4
	VADDPS  (DI)(AX*4), Y4, Y4
	VMOVUPS Y4, (DI)(AX*4)
	ADDQ    $8, AX
	CMPQ    AX, CX
	JLT     plain
	VZEROUPPER
	RET

// func kickDriftDiagonalAVX2(x, p, grad, inv *float32, n int, h, eps float32)
TEXT ·kickDriftDiagonalAVX2(SB), NOSPLIT, $0-48
	MOVQ         x+0(FP), DI
	MOVQ         p+8(FP), SI
	MOVQ         grad+16(FP), DX
	MOVQ         inv+24(FP), BX
	MOVQ         n+32(FP), CX
	VBROADCASTSS h+40(FP), Y0
	VBROADCASTSS eps+44(FP), Y1
	XORQ         AX, AX

diagonal:
	VMULPS  (DX)(AX*4), Y0, Y2
	VMOVUPS (SI)(AX*4), Y3
	VSUBPS  Y2, Y3, Y3
	VMOVUPS Y3, (SI)(AX*4)
	VMULPS  (BX)(AX*4), Y3, Y4
	VMULPS  Y1, Y4, Y4
	VADDPS  (DI)(AX*4), Y4, Y4
	VMOVUPS Y4, (DI)(AX*4)
	ADDQ    $8, AX
	CMPQ    AX, CX
	JLT     diagonal
	VZEROUPPER
	RET

// func finiteBitsAVX2(v *float32, n int) uint32
TEXT ·finiteBitsAVX2(SB), NOSPLIT, $0-20
	MOVQ         v+0(FP), SI
	MOVQ         n+8(FP), CX
	MOVL         $0x7fffffff, AX
	MOVQ         AX, X0
	VPBROADCASTD X0, Y0
	MOVL         $0x00800000, AX
	MOVQ         AX, X1
	VPBROADCASTD X1, Y1
	VPXOR        Y2, Y2, Y2
	XORQ         AX, AX

finite:
	VPAND  (SI)(AX*4), Y0, Y3
	VPADDD Y1, Y3, Y3
	VPOR   Y3, Y2, Y2
	ADDQ   $8, AX
	CMPQ   AX, CX
	JLT    finite
	VMOVMSKPS Y2, AX
	MOVL   AX, ret+16(FP)
	VZEROUPPER
	RET
