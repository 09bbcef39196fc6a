package runtime

import (
	"context"
	"errors"
	"math/rand/v2"
	goruntime "runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// open gives a runtime, or skips the test where no library is installed.
func open(t testing.TB, workers int) *Runtime {
	t.Helper()
	r, err := Open(Options{Workers: workers})
	if errors.Is(err, ErrNoLibrary) {
		t.Skipf("needs ONNX Runtime: %v", err)
	}
	require.NoError(t, err)
	return r
}

func compile(t testing.TB, r *Runtime, m Model) *Program {
	t.Helper()
	p, err := r.Compile(m)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func bind(t testing.TB, p *Program, n int, opt BindOptions) *Binding {
	t.Helper()
	b, err := p.Bind(n, opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func fill(x []float32, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
}

func TestGradientOfMLP(t *testing.T) {
	m := newMLP(3, 16)
	p := compile(t, open(t, 2), m.gradient(false))
	for _, n := range []int{1, 2, 63, 1000} {
		b := bind(t, p, n, BindOptions{})
		fill(b.In("x"), uint64(n))
		require.NoError(t, b.Run(context.Background()))
		for i := range n {
			want := m.gradientAt(b.In("x")[i*3 : i*3+3])
			for j, w := range want {
				require.InDelta(t, w, b.Out("g")[i*3+j], 2e-6*(1+abs(w)), "row %d of %d", i, n)
			}
		}
	}
}

func abs(x float64) float64 { return max(x, -x) }

func TestAllocatesNothing(t *testing.T) {
	p := compile(t, open(t, 2), newMLP(2, 64).gradient(true))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, n := range []int{1, 1024} {
		b := bind(t, p, n, BindOptions{})
		require.Zero(t, testing.AllocsPerRun(200, func() {
			if err := b.Run(ctx); err != nil {
				t.Error(err)
			}
		}), "Run of %d rows", n)
		require.Zero(t, testing.AllocsPerRun(200, func() {
			if err := b.RunTile(ctx, 0); err != nil {
				t.Error(err)
			}
		}), "RunTile of %d rows", n)
	}
	goruntime.KeepAlive(p)
}
