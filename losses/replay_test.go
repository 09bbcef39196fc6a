package losses

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// halving is a chain that divides by 2 at every step: where it ends tells where it began and how long it ran. Its start is of no use afterwards.
type halving struct{}

func (halving) Draw(_ context.Context, start []float32, n, dim, steps int, _ rng.Key) ([]float32, error) {
	end := make([]float32, len(start))
	for i := range start {
		end[i] = start[i] * float32(math.Pow(0.5, float64(steps)))
		start[i] = float32(math.NaN())
	}
	return end, nil
}

// chainFunc is a chain made of a function of its start.
type chainFunc func(start []float32, n, dim, steps int) ([]float32, error)

func (f chainFunc) Draw(_ context.Context, start []float32, n, dim, steps int, _ rng.Key) ([]float32, error) {
	return f(start, n, dim, steps)
}

func TestChainsStartAtTheData(t *testing.T) {
	loss, err := New("cd:k=1:negatives=5", Options{Chains: halving{}})
	require.NoError(t, err)
	b := Batch{N: 2, Dim: 2, X: []float32{1, 2, 3, 4}}
	res, err := Run(context.Background(), newMLP(1, 2, 3), loss, b, rng.NewKey(0), nil)
	require.NoError(t, err)
	require.Equal(t, []float32{0.5, 1, 1.5, 2, 0.5, 1, 1.5, 2, 0.5, 1}, res.Negatives)
	require.Equal(t, []float32{1, 2, 3, 4}, b.X, "the data stays as it is")
}

func TestChainsStartAtNoise(t *testing.T) {
	loss, err := New("mle:k=3:negatives=4000:init=gaussian:mean=1,-2:std=0.5", Options{Chains: halving{}})
	require.NoError(t, err)
	res, err := Run(context.Background(), newMLP(1, 2, 3), loss, Batch{N: 1, Dim: 2, X: []float32{9, 9}}, rng.NewKey(0), nil)
	require.NoError(t, err)
	fit, err := FitGaussian(res.Negatives, 4000, 2)
	require.NoError(t, err)
	require.InDelta(t, 1.0/8, fit.Mean[0], 4*0.0625/math.Sqrt(4000))
	require.InDelta(t, -2.0/8, fit.Mean[1], 4*0.0625/math.Sqrt(4000))
	require.InDelta(t, 0.0625, fit.Std[0], 4*0.0625/math.Sqrt(8000))
}

func TestChainErrors(t *testing.T) {
	run := func(c Negatives) error {
		loss := NewCD()
		loss.Chains = c
		_, err := Run(context.Background(), newMLP(1, 2, 3), loss, Batch{N: 1, Dim: 2, X: []float32{9, 9}}, rng.NewKey(0), nil)
		return err
	}
	require.ErrorContains(t, run(chainFunc(func(s []float32, _, _, _ int) ([]float32, error) { return nil, errors.New("stopped") })), "drawing negatives: stopped")
	require.ErrorContains(t, run(chainFunc(func(s []float32, _, _, _ int) ([]float32, error) { return s[1:], nil })), "gave 1 values")
}

// TestBufferWritesBack: without re-initialisation a chain goes on from where it was, in its own slot.
func TestBufferWritesBack(t *testing.T) {
	r := &ReplayBuffer{Size: 10}
	start := make([]float32, 4*2)
	slots, err := r.Draw(start, 4, 2, rng.NewKey(1))
	require.NoError(t, err)
	content, dim := r.Rows()
	require.Equal(t, 2, dim)
	require.Len(t, content, 20)
	before := append([]float32(nil), content...)
	for i, s := range slots {
		require.Equal(t, content[s*2:s*2+2], start[i*2:i*2+2])
	}
	for i := range start {
		start[i] = float32(100 + i)
	}
	slots = append([]int(nil), slots...)
	r.Write(slots, start)
	for s := range 10 {
		want := before[s*2 : s*2+2]
		for i, slot := range slots {
			if slot == s {
				want = start[i*2 : i*2+2]
			}
		}
		require.Equal(t, want, content[s*2:s*2+2])
	}
}

// TestBufferDrawsWithoutReplacement, every slot as often as the others (a chi-square of 20 slots, five seeds).
func TestBufferDrawsWithoutReplacement(t *testing.T) {
	const size, n, rounds = 20, 7, 2000
	for seed := range uint64(5) {
		r := &ReplayBuffer{Size: size}
		start := make([]float32, n)
		counts := make([]float64, size)
		for i := range uint64(rounds) {
			slots, err := r.Draw(start, n, 1, rng.NewKey(seed).Derive(i))
			require.NoError(t, err)
			seen := map[int]bool{}
			for _, s := range slots {
				require.False(t, seen[s])
				seen[s] = true
				counts[s]++
			}
		}
		var chi float64
		expected := float64(n*rounds) / size
		for _, c := range counts {
			// The variance of a count is rounds·p(1−p).
			chi += (c - expected) * (c - expected) / (expected * (1 - float64(n)/size))
		}
		chi *= float64(size-1) / size
		// 19 degrees of freedom: mean 19, standard deviation 6.2.
		require.InDelta(t, 19, chi, 4*6.2)
	}
	whole := &ReplayBuffer{Size: 5}
	slots, err := whole.Draw(make([]float32, 5), 5, 1, rng.NewKey(1))
	require.NoError(t, err)
	require.ElementsMatch(t, []int{0, 1, 2, 3, 4}, slots)
}

func TestBufferReinitialises(t *testing.T) {
	const n = 5000
	r := &ReplayBuffer{Size: n, Reinit: 0.05, Init: Uniform{Low: []float64{10}, High: []float64{11}}}
	start := make([]float32, n)
	slots, err := r.Draw(start, n, 1, rng.NewKey(0))
	require.NoError(t, err)
	r.Write(slots, make([]float32, n))
	_, err = r.Draw(start, n, 1, rng.NewKey(1))
	require.NoError(t, err)
	fresh := 0
	for _, v := range start {
		if v != 0 {
			fresh++
			require.True(t, v >= 10 && v <= 11)
		}
	}
	sd := math.Sqrt(n * 0.05 * 0.95)
	require.InDelta(t, n*0.05, fresh, 4*sd)
}

// TestBufferGrows: a batch that outgrows the buffer makes it larger and keeps its chains.
func TestBufferGrows(t *testing.T) {
	r := &ReplayBuffer{Size: 3}
	slots, err := r.Draw(make([]float32, 3), 3, 1, rng.NewKey(0))
	require.NoError(t, err)
	r.Write(slots, []float32{50, 50, 50})
	start := make([]float32, 8)
	slots, err = r.Draw(start, 8, 1, rng.NewKey(1))
	require.NoError(t, err)
	require.Len(t, slots, 8)
	old := 0
	for _, v := range start {
		if v == 50 {
			old++
		}
	}
	require.Equal(t, 3, old)
	_, err = r.Draw(start, 4, 2, rng.NewKey(2))
	require.ErrorContains(t, err, "rows of 1 values, the batch rows of 2")
}

// TestBufferKeepsNonFiniteOut: such an end is counted, and its slot goes on from where it was.
func TestBufferKeepsNonFiniteOut(t *testing.T) {
	r := &ReplayBuffer{Size: 2}
	start := make([]float32, 4)
	slots, err := r.Draw(start, 2, 2, rng.NewKey(0))
	require.NoError(t, err)
	content, _ := r.Rows()
	bad := append([]float32(nil), content[slots[0]*2:slots[0]*2+2]...)
	r.Write(slots, []float32{float32(math.NaN()), 1, 2, 3})
	require.Equal(t, 1, r.Discarded())
	require.Equal(t, bad, content[slots[0]*2:slots[0]*2+2])
	require.Equal(t, []float32{2, 3}, content[slots[1]*2:slots[1]*2+2])
}

// TestPCDResumes: a loss loaded from a state goes on as the saved one.
func TestPCDResumes(t *testing.T) {
	make1 := func() Loss {
		loss, err := New("pcd:k=1:buffer=6:reinit=0.3", Options{Chains: halving{}})
		require.NoError(t, err)
		return loss
	}
	b := gaussianData(rng.NewKey(1), 4, 2)
	step := func(l Loss, i int) []float32 {
		res, err := Run(context.Background(), newMLP(1, 2, 3), l, b, rng.NewKey(7).Derive(uint64(i)), nil)
		require.NoError(t, err)
		return append([]float32(nil), res.Negatives...)
	}
	first, second := make1(), make1()
	require.NoError(t, second.(Stateful).Load(first.(Stateful).State()), "a state before the first step")
	for i := range 3 {
		step(first, i)
	}
	state := first.(Stateful).State()
	require.NoError(t, second.(Stateful).Load(state))
	for i := 3; i < 6; i++ {
		require.Equal(t, step(first, i), step(second, i))
	}
	require.Equal(t, first.(Stateful).State(), second.(Stateful).State())
	require.Error(t, second.(Stateful).Load(state[:len(state)-2]))
	require.Error(t, second.(Stateful).Load(state[:10]))
	state[8]++
	require.ErrorContains(t, second.(Stateful).Load(state), "damaged")
	require.Nil(t, NewCD().State())
}

// TestPersistence: chains go on across steps, so that they reach further than k steps.
func TestPersistence(t *testing.T) {
	loss, err := New("pcd:k=1:buffer=4:reinit=0", Options{Chains: halving{}, Init: Uniform{Low: []float64{8}, High: []float64{8.001}}})
	require.NoError(t, err)
	b := gaussianData(rng.NewKey(1), 4, 1)
	for i := range 3 {
		res, err := Run(context.Background(), newIsotropic(1, 1), loss, b, rng.NewKey(uint64(i)), nil)
		require.NoError(t, err)
		for _, v := range res.Negatives {
			require.InDelta(t, 4/math.Pow(2, float64(i)), v, 1e-2)
		}
	}
	rows, _ := loss.(*Contrastive).Buffer.Rows()
	before := append([]float32(nil), rows...)
	b.Neg, b.M = []float32{1}, 1
	_, err = Run(context.Background(), newIsotropic(1, 1), loss, b, rng.NewKey(9), nil)
	require.NoError(t, err)
	require.Equal(t, before, rows, "given negatives leave the buffer alone")
}

func TestNCEState(t *testing.T) {
	a, b := &NCE{InitLogZ: 2}, &NCE{InitLogZ: 2}
	a.OwnParams()[0] = -0.5
	require.NoError(t, b.Load(a.State()))
	require.Equal(t, 1.5, b.LogZ())
	require.Error(t, b.Load(nil))
}
