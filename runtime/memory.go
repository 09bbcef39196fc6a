package runtime

import (
	"context"
	"unsafe"

	"github.com/onnx-ebm/onnx-ebm/internal/share"
)

// alignment is that of a cache line and of the widest vector.
const alignment = 64

// floats returns n zeros that start at a multiple of 64 bytes.
func floats(n int) []float32 {
	const slack = alignment / 4
	s := make([]float32, n+slack)
	skip := int(-uintptr(unsafe.Pointer(&s[0]))%alignment) / 4
	return s[skip : skip+n : skip+n]
}

// sumBlock is the number of elements one worker adds up at a time.
const sumBlock = 4096

// addUp sets dst to the sum of parts, added in their order in float64.
func addUp(ctx context.Context, dst []float32, parts [][]float32, workers int) error {
	blocks := (len(dst) + sumBlock - 1) / sumBlock
	if len(dst)*len(parts) < 1<<17 {
		workers = 1
	}
	if workers <= 1 {
		for i := range blocks {
			addBlock(dst, parts, i)
		}
		return nil
	}
	return share.Each(ctx, blocks, workers, func(_ context.Context, i int) error {
		addBlock(dst, parts, i)
		return nil
	})
}

func addBlock(dst []float32, parts [][]float32, block int) {
	var sum [sumBlock]float64
	from := block * sumBlock
	to := min(from+sumBlock, len(dst))
	total := sum[:to-from]
	for _, part := range parts {
		for i, v := range part[from:to] {
			total[i] += float64(v)
		}
	}
	for i, v := range total {
		dst[from+i] = float32(v)
	}
}
