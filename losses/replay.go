package losses

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Defaults of a replay buffer.
const (
	DefaultBuffer = 10000
	DefaultReinit = 0.05
)

// ReplayBuffer holds the chains of persistent contrastive divergence (Tieleman 2008; with re-initialisation, Du and Mordatch
// 2019). Its slots start from Init. Each draw takes distinct slots; with probability Reinit a start is fresh from Init instead of
// the slot's content; where the chains end is written back to the slots they were drawn from.
type ReplayBuffer struct {
	Size   int     // slots; 0 means DefaultBuffer. A larger draw makes the buffer that large, old rows kept, new ones from Init
	Reinit float64 // in [0, 1]
	Init   Density // nil: N(0, I)

	dim       int
	rows      []float32
	slots     []int
	taken     []bool
	discarded int
}

// Rows is the buffer's content [slots·dim] itself; nil before the first draw.
func (r *ReplayBuffer) Rows() (rows []float32, dim int) { return r.rows, r.dim }

// Discarded counts the chains that ended non-finite: their slots keep what they held.
func (r *ReplayBuffer) Discarded() int { return r.discarded }

// Draw fills dst [n·dim] with the starts of n chains and returns their slots, valid until the next draw. All n slots differ.
func (r *ReplayBuffer) Draw(dst []float32, n, dim int, k rng.Key) (slots []int, err error) {
	if !(r.Reinit >= 0 && r.Reinit <= 1) {
		return nil, fmt.Errorf("losses: replay buffer: re-initialisation probability %g: give a number from 0 to 1", r.Reinit)
	}
	if err := r.ensure(n, dim, k.Sub("slots")); err != nil {
		return nil, err
	}
	r.pick(n, k.Sub("pick"))
	coin, fresh := k.Sub("coin"), k.Sub("fresh")
	for i, slot := range r.slots {
		row := dst[i*dim : (i+1)*dim]
		copy(row, r.rows[slot*dim:(slot+1)*dim])
		if r.Reinit > 0 && coin.Float64(0, uint64(i)) < r.Reinit {
			if err := orNormal(r.Init).Sample(row, 1, dim, fresh.Derive(uint64(i))); err != nil {
				return nil, err
			}
		}
	}
	return r.slots, nil
}

// ensure makes or enlarges the buffer.
func (r *ReplayBuffer) ensure(n, dim int, k rng.Key) error {
	if r.dim != 0 && r.dim != dim {
		return fmt.Errorf("losses: the replay buffer holds rows of %d values, the batch rows of %d", r.dim, dim)
	}
	size := r.Size
	if size == 0 {
		size = DefaultBuffer
	}
	if size < 1 {
		return fmt.Errorf("losses: a replay buffer of %d slots: give at least 1", size)
	}
	r.dim = dim
	have, want := len(r.rows)/dim, max(size, n)
	if have >= want {
		return nil
	}
	rows := make([]float32, want*dim)
	copy(rows, r.rows)
	if err := orNormal(r.Init).Sample(rows[have*dim:], want-have, dim, k); err != nil {
		return err
	}
	r.rows = rows
	return nil
}

// pick draws n distinct slots: Floyd's algorithm (Bentley and Floyd 1987), one uniform number a slot.
func (r *ReplayBuffer) pick(n int, k rng.Key) {
	size := len(r.rows) / r.dim
	r.slots, r.taken = grow(r.slots, n)[:0], grow(r.taken, size)
	clear(r.taken)
	for i := range n {
		last := size - n + i
		slot := k.IntN(last+1, 0, uint64(i))
		if r.taken[slot] {
			slot = last
		}
		r.taken[slot] = true
		r.slots = append(r.slots, slot)
	}
}

// Write puts the ends x of the chains back into their slots. A row that is not finite is counted and left out.
func (r *ReplayBuffer) Write(slots []int, x []float32) {
	for i, slot := range slots {
		row := x[i*r.dim : (i+1)*r.dim]
		if !finiteRow(row) {
			r.discarded++
			continue
		}
		copy(r.rows[slot*r.dim:(slot+1)*r.dim], row)
	}
}

const bufferHeader = 3 * 8

// State is the buffer's content, for a checkpoint.
func (r *ReplayBuffer) State() []byte {
	out := make([]byte, 0, bufferHeader+4*len(r.rows))
	for _, v := range []int{r.dim, len(r.rows), r.discarded} {
		out = binary.LittleEndian.AppendUint64(out, uint64(v))
	}
	for _, v := range r.rows {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

// Load restores what State gave.
func (r *ReplayBuffer) Load(state []byte) error {
	if len(state) < bufferHeader {
		return fmt.Errorf("losses: the replay buffer's state is cut short: %d bytes", len(state))
	}
	var head [3]uint64
	for i := range head {
		head[i] = binary.LittleEndian.Uint64(state[8*i:])
	}
	body := state[bufferHeader:]
	if uint64(len(body))%4 != 0 || head[1] != uint64(len(body)/4) || head[0] == 0 && head[1] != 0 || head[0] != 0 && head[1]%head[0] != 0 {
		return fmt.Errorf("losses: the replay buffer's state is damaged: %d values of rows of %d announced, %d bytes found", head[1], head[0], len(body))
	}
	rows := make([]float32, len(body)/4)
	for i := range rows {
		rows[i] = math.Float32frombits(binary.LittleEndian.Uint32(body[4*i:]))
	}
	r.dim, r.rows, r.discarded = int(head[0]), rows, int(head[2])
	return nil
}
