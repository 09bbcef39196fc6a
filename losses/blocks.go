package losses

import (
	"context"
	"runtime"

	"github.com/onnx-ebm/onnx-ebm/internal/share"
)

// blockSize is the number of elements that one core works on at a time. Blocks depend on the number of elements alone, so that sums over them
// are the same for any number of cores.
const blockSize = 1 << 14

func blocks(n int) int { return (n + blockSize - 1) / blockSize }

func blockRange(i, n int) (lo, hi int) { return i * blockSize, min((i+1)*blockSize, n) }

// eachBlock calls f for all blocks of n elements, on all cores; f returns nil.
func eachBlock(n int, f func(context.Context, int) error) {
	share.Each(context.Background(), blocks(n), runtime.GOMAXPROCS(0), f)
}
