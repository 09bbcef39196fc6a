package share

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

var background = context.Background()

func TestEach(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 16} {
		for _, n := range []int{0, 1, 2, 100} {
			var seen [100]atomic.Int64
			require.NoError(t, Each(background, n, workers, func(_ context.Context, i int) error {
				seen[i].Add(1)
				return nil
			}))
			for i := range seen {
				want := int64(0)
				if i < n {
					want = 1
				}
				require.Equal(t, want, seen[i].Load(), "%d workers, %d of %d", workers, i, n)
			}
		}
		err := Each(background, 100, workers, func(_ context.Context, i int) error {
			if i == 7 {
				return fmt.Errorf("tile %d", i)
			}
			return nil
		})
		require.EqualError(t, err, "tile 7")
	}
}

// TestEachIsNested loops inside a loop, from many goroutines.
func TestEachIsNested(t *testing.T) {
	var count atomic.Int64
	inner := func(context.Context, int) error { count.Add(1); return nil }
	outer := func(ctx context.Context, _ int) error { return Each(ctx, 10, 3, inner) }
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for range 100 {
				if err := Each(background, 5, 4, outer); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	require.Equal(t, int64(10*100*5*10), count.Load())
}
