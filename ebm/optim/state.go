package optim

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A state is the number of steps, the number of parameters and the number of vectors, then the vectors; little endian.
const header = 3 * 8

func encode(steps uint64, n int, vectors [][]float32) []byte {
	out := make([]byte, 0, header+4*n*len(vectors))
	for _, v := range []uint64{steps, uint64(n), uint64(len(vectors))} {
		out = binary.LittleEndian.AppendUint64(out, v)
	}
	for _, vector := range vectors {
		for _, v := range vector {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		}
	}
	return out
}

func decode(state []byte) (steps uint64, n int, vectors [][]float32, err error) {
	if len(state) < header {
		return 0, 0, nil, fmt.Errorf("optim: the state is cut short: %d bytes", len(state))
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(state[8*i:]) }
	steps, size, count, body := word(0), word(1), word(2), state[header:]
	if count > 3 || size > 1<<40 || size*count*4 != uint64(len(body)) {
		return 0, 0, nil, fmt.Errorf("optim: the state is damaged: %d vectors of %d parameters announced, %d bytes found", count, size, len(body))
	}
	for range count {
		vector := make([]float32, size)
		for i := range vector {
			vector[i] = math.Float32frombits(binary.LittleEndian.Uint32(body[4*i:]))
		}
		vectors, body = append(vectors, vector), body[4*size:]
	}
	return steps, int(size), vectors, nil
}

// State gives the step count and the vectors of state.
func (b *base) State() []byte { return encode(b.steps, b.n, b.vectors) }

// load restores a state of that many vectors, or the state before the first step.
func (b *base) load(state []byte, want int) error {
	steps, n, vectors, err := decode(state)
	if err != nil {
		return err
	}
	if steps == 0 {
		*b = base{Groups: b.Groups}
		return nil
	}
	if len(vectors) != want {
		return fmt.Errorf("optim: the state has %d vectors, this optimiser keeps %d: was it another optimiser, or other options?", len(vectors), want)
	}
	if err := b.Groups.Check(n); err != nil {
		return err
	}
	b.steps, b.n, b.vectors, b.cover = steps, n, vectors, b.Groups.cover(n)
	return nil
}
