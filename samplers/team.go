package samplers

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// A tile is about this many elements: it fits in the L1 cache, and less is not
// worth waking another worker for.
const tileElements = 8192

// team is goroutines that live as long as a run and share the work over rows.
// Every row is worked on by one function call and rows do not see each other,
// so results do not depend on the number of workers. A nil team works alone.
type team struct {
	wake chan struct{}
	wg   sync.WaitGroup
	next atomic.Int64
	n    int
	tile int
	f    func(lo, hi int)
	size int // helpers
}

// newTeam starts workers−1 helpers (0: as many workers as cores); close ends them.
func newTeam(workers int) *team {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	if workers == 1 {
		return nil
	}
	t := &team{size: workers - 1, wake: make(chan struct{})}
	for range t.size {
		go func() {
			for range t.wake {
				t.work()
				t.wg.Done()
			}
		}()
	}
	return t
}

func (t *team) close() {
	if t != nil {
		close(t.wake)
	}
}

// run covers the rows 0…n−1, of d elements each, by calls of f.
func (t *team) run(n, d int, f func(lo, hi int)) {
	tile := max(1, tileElements/max(d, 1))
	if t == nil || n <= tile {
		f(0, n)
		return
	}
	t.n, t.tile, t.f = n, tile, f
	t.next.Store(0)
	helpers := min(t.size, (n-1)/tile)
	t.wg.Add(helpers)
	for range helpers {
		t.wake <- struct{}{}
	}
	t.work()
	t.wg.Wait()
}

func (t *team) work() {
	for {
		lo := int(t.next.Add(1)-1) * t.tile
		if lo >= t.n {
			return
		}
		t.f(lo, min(lo+t.tile, t.n))
	}
}
