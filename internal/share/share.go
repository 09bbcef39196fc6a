// Package share runs loops on several goroutines without allocating.
package share

import (
	"context"
	"sync"
	"sync/atomic"
)

// job is a loop over tiles that several goroutines share. A loop waits for the
// helpers that took part, not for one that the scheduler starts too late: with
// few short tiles that would be most of the time. Jobs are kept with their
// method values, so that a loop allocates nothing; the last to leave puts the
// job back.
type job struct {
	ctx    context.Context
	fn     func(context.Context, int) error
	n      int64
	next   atomic.Int64
	users  atomic.Int64
	helper func()
	idle   chan struct{} // receives when the last active helper leaves a closed job

	mu     sync.Mutex // guards what follows
	active int
	closed bool
	err    error
}

// spare holds jobs that nobody uses.
var spare = make(chan *job, 64)

func newJob() *job {
	select {
	case j := <-spare:
		return j
	default:
	}
	j := &job{idle: make(chan struct{}, 1)}
	j.helper = j.help
	return j
}

// Each calls fn for 0 … n−1 from up to the given number of goroutines, the
// caller's among them. It stops early at the first error or when ctx is done.
func Each(ctx context.Context, n, workers int, fn func(context.Context, int) error) error {
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
	j := newJob()
	j.ctx, j.fn, j.n, j.err, j.closed = ctx, fn, int64(n), nil, false
	j.next.Store(0)
	j.users.Store(int64(workers))
	for range workers - 1 {
		go j.helper()
	}
	j.work()
	return j.finish()
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

func (j *job) help() {
	if j.enter() {
		j.work()
		j.exit()
	}
	j.leave()
}

func (j *job) enter() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return false
	}
	j.active++
	return true
}

func (j *job) exit() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.active--; j.closed && j.active == 0 {
		j.idle <- struct{}{}
	}
}

// finish waits for active helpers and returns the first error.
func (j *job) finish() error {
	j.mu.Lock()
	j.closed = true
	wait := j.active > 0
	j.mu.Unlock()
	if wait {
		<-j.idle
	}
	err := j.err
	j.ctx, j.fn = nil, nil
	j.leave()
	return err
}

func (j *job) leave() {
	if j.users.Add(-1) > 0 {
		return
	}
	select {
	case spare <- j:
	default:
	}
}
