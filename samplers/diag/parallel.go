package diag

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// each calls f(w, i) for every i below n on several workers (0: as many as
// cores), where w < crew(workers, n) numbers the worker. Who does which i is
// left to chance, so f(w, i) must write only to what belongs to i, or to scratch
// of w.
func each(ctx context.Context, workers, n int, f func(w, i int)) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range crew(workers, n) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				f(w, i)
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// crew is the number of workers that n pieces of work get.
func crew(workers, n int) int {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	return max(1, min(workers, n))
}
