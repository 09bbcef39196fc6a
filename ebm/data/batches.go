package data

import (
	"fmt"
	"iter"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Batch is some items in the order of an epoch. Its slices are overwritten by
// the next batch.
type Batch struct {
	Epoch   int       // from 0
	Index   int       // of the batch within its epoch
	Indices []int     // which items
	X       []float32 // the items [len(Indices), D…]
}

// Loader gives shuffled batches by step. The order of an epoch depends on the
// key and the number of the epoch alone, so that any step can be asked for,
// as after a resumed run. A Loader is used by one goroutine.
type Loader struct {
	ds       Dataset
	key      rng.Key
	batch    int
	perEpoch int
	order    []int
	epoch    int // of order; -1 before the first
	x        []float32
}

// NewLoader makes a Loader of batches of the given number of items. With
// dropLast an epoch leaves out a shorter last batch, otherwise it has one. A
// batch larger than the set is an error with dropLast.
func NewLoader(ds Dataset, batch int, key rng.Key, dropLast bool) (*Loader, error) {
	n := ds.Len()
	switch {
	case batch < 1:
		return nil, fmt.Errorf("data: a batch needs at least 1 item, not %d", batch)
	case dropLast && batch > n:
		return nil, fmt.Errorf("data: a batch of %d is more than the %d items; make the batch smaller", batch, n)
	}
	batch = min(batch, n)
	perEpoch := n / batch
	if !dropLast && n%batch != 0 {
		perEpoch++
	}
	return &Loader{
		ds: ds, key: key, batch: batch, perEpoch: perEpoch,
		order: make([]int, n), epoch: -1, x: make([]float32, batch*Size(ds)),
	}, nil
}

// PerEpoch is the number of batches in an epoch.
func (l *Loader) PerEpoch() int { return l.perEpoch }

// At returns the batch of a step, counted from 0 through all epochs.
func (l *Loader) At(step int) (Batch, error) {
	if step < 0 {
		return Batch{}, fmt.Errorf("data: there is no step %d", step)
	}
	epoch, index := step/l.perEpoch, step%l.perEpoch
	if epoch != l.epoch {
		l.key.PermInto(l.order, uint64(epoch))
		l.epoch = epoch
	}
	indices := l.order[index*l.batch : min((index+1)*l.batch, len(l.order))]
	x := l.x[:len(indices)*(len(l.x)/l.batch)]
	if err := l.ds.Rows(x, indices); err != nil {
		return Batch{}, err
	}
	return Batch{Epoch: epoch, Index: index, Indices: indices, X: x}, nil
}

// Batches yields the batches of a Loader from step 0 on, without end. An error
// is yielded once and ends the sequence.
func Batches(ds Dataset, batch int, key rng.Key, dropLast bool) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		l, err := NewLoader(ds, batch, key, dropLast)
		if err != nil {
			yield(Batch{}, err)
			return
		}
		for step := 0; ; step++ {
			b, err := l.At(step)
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}
