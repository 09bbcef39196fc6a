package runtime

import (
	"context"
	"sync"
	"sync/atomic"
)

// job is a loop over tiles that several goroutines share. Jobs and their
// method values are kept, so that a loop allocates nothing.
type job struct {
	ctx    context.Context
	fn     func(context.Context, int) error
	n      int64
	next   atomic.Int64
	helper func()
	done   sync.WaitGroup

	mu  sync.Mutex
	err error
}

var jobs = sync.Pool{New: func() any {
	j := new(job)
	j.helper = func() {
		j.work()
		j.done.Done()
	}
	return j
}}

// each calls fn for 0 … n−1 from up to the given number of goroutines, the
// caller's among them. It stops early at the first error or when ctx is done.
func each(ctx context.Context, n, workers int, fn func(context.Context, int) error) error {
	if workers = min(workers, n); workers <= 1 {
		for i := range n {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}
	j := jobs.Get().(*job)
	j.ctx, j.fn, j.n, j.err = ctx, fn, int64(n), nil
	j.next.Store(0)
	j.done.Add(workers - 1)
	for range workers - 1 {
		go j.helper()
	}
	j.work()
	j.done.Wait()
	err := j.err
	j.ctx, j.fn = nil, nil
	jobs.Put(j)
	return err
}

func (j *job) work() {
	for {
		i := j.next.Add(1) - 1
		if i >= j.n {
			return
		}
		err := j.ctx.Err()
		if err == nil {
			err = j.fn(j.ctx, int(i))
		}
		if err != nil {
			j.fail(err)
			return
		}
	}
}

func (j *job) fail(err error) {
	j.next.Store(j.n)
	j.mu.Lock()
	if j.err == nil {
		j.err = err
	}
	j.mu.Unlock()
}
