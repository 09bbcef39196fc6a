package runtime

import (
	"context"
	"math"
	"math/rand/v2"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	ort "github.com/yalue/onnxruntime_go"
)

var background = context.Background()

func fill(x []float32, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
}

// TestGradientOfMLP compares with the same network in float64.
func TestGradientOfMLP(t *testing.T) {
	m := newMLP(3, 16)
	p := compile(t, open(t, 2), m.gradient(false))
	for _, n := range []int{1, 2, 63, 1000} {
		for _, tile := range []int{0, 1, 7, 100} {
			b := bind(t, p, n, BindOptions{Tile: tile})
			fill(b.In("x"), uint64(n))
			require.NoError(t, b.Run(background))
			for i := range n {
				for j, want := range m.gradientAt(b.In("x")[i*3 : i*3+3]) {
					require.InDelta(t, want, b.Out("g")[i*3+j], 2e-6*(1+math.Abs(want)), "row %d of %d", i, n)
				}
			}
			require.NoError(t, b.Close())
		}
	}
}

// TestSharedAndSum binds parameters that alias one flat store, changes them in
// place, and checks the sum over tiles of xᵀg against float64.
func TestSharedAndSum(t *testing.T) {
	const d, h, n = 3, 8, 101
	m := newMLP(d, h)
	var flat []float32
	for _, p := range m.parameters() {
		flat = append(flat, p.data...)
	}
	shared := map[string][]float32{}
	at := 0
	for _, p := range m.parameters() {
		shared[p.name] = flat[at : at+len(p.data)]
		at += len(p.data)
	}
	p := compile(t, open(t, 2), m.gradient(true))
	for _, tiles := range []int{1, 2, 5, 101} {
		b := bind(t, p, n, BindOptions{Shared: shared, Tiles: tiles})
		require.Equal(t, tiles, b.Tiles())
		fill(b.In("x"), 4)
		for range 2 {
			for _, q := range m.parameters() { // the reference follows the store
				copy(q.data, shared[q.name])
			}
			require.NoError(t, b.Changed())
			require.NoError(t, b.Run(background))
			var want [d * d]float64
			for i := range n {
				x := b.In("x")[i*d : i*d+d]
				for j, g := range m.gradientAt(x) {
					for k := range d {
						want[k*d+j] += float64(x[k]) * g
					}
				}
			}
			for i, w := range want {
				require.InDelta(t, w, b.Out("s")[i], 1e-4, "%d tiles", tiles)
			}
			for i := range flat {
				flat[i] *= 0.9
			}
		}
		require.NoError(t, b.Close())
	}
}

// TestRankZero binds a number that is no vector, which a parameter may be.
func TestRankZero(t *testing.T) {
	bytes := onnx([]pb{node("Mul", []string{"x", "c"}, "y")}, nil, []pb{port("x", -1), port("c")}, []pb{port("y", -1)})
	p := compile(t, open(t, 1), Model{Name: "scale", Bytes: bytes, Inputs: []Port{{Name: "x"}, {Name: "c", Kind: Shared}}, Outputs: []Port{{Name: "y"}}})
	c := []float32{3}
	b := bind(t, p, 2, BindOptions{Shared: map[string][]float32{"c": c}})
	copy(b.In("x"), []float32{1, 2})
	require.NoError(t, b.Run(background))
	require.Equal(t, []float32{3, 6}, b.Out("y"))
	c[0] = 10
	require.NoError(t, b.Run(background))
	require.Equal(t, []float32{10, 20}, b.Out("y"))
}

// TestRowsMemory chains two bindings through one buffer of the caller.
func TestRowsMemory(t *testing.T) {
	p := compile(t, open(t, 2), Model{Name: "double", Bytes: doubleModel, Inputs: []Port{{Name: "x"}}, Outputs: []Port{{Name: "y"}}})
	middle := make([]float32, 5)
	first := bind(t, p, 5, BindOptions{Tiles: 2, Rows: map[string][]float32{"y": middle}})
	second := bind(t, p, 5, BindOptions{Tiles: first.Tiles(), Rows: map[string][]float32{"x": middle}})
	copy(first.In("x"), []float32{1, 2, 3, 4, 5})
	require.NoError(t, first.EachTile(background, func(ctx context.Context, i int) error {
		if err := first.RunTile(ctx, i); err != nil {
			return err
		}
		return second.RunTile(ctx, i)
	}))
	require.Equal(t, []float32{4, 8, 12, 16, 20}, second.Out("y"))
	require.Nil(t, first.In("y"))
	require.Nil(t, first.Out("x"))
}

// TestSameBytesForAnyWorkers runs the same batch with 1 to 5 workers.
func TestSameBytesForAnyWorkers(t *testing.T) {
	m := newMLP(2, 64)
	model := m.gradient(true)
	var g, s []float32
	for workers := 1; workers <= 5; workers++ {
		p := compile(t, open(t, workers), model)
		b := bind(t, p, 3001, BindOptions{})
		require.Greater(t, b.Tiles(), 4)
		for _, q := range m.parameters() {
			copy(b.In(q.name), q.data)
		}
		fill(b.In("x"), 9)
		require.NoError(t, b.Run(background))
		if workers == 1 {
			g, s = append(g, b.Out("g")...), append(s, b.Out("s")...)
		}
		require.Equal(t, g, b.Out("g"))
		require.Equal(t, s, b.Out("s"))
	}
}

func TestAllocatesNothing(t *testing.T) {
	p := compile(t, open(t, 2), newMLP(2, 64).gradient(true))
	ctx, cancel := context.WithCancel(background)
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
}

func TestAligned(t *testing.T) {
	p := compile(t, open(t, 1), newMLP(3, 8).gradient(false))
	for n := 1; n < 40; n++ {
		b := bind(t, p, n, BindOptions{Tiles: 1})
		for _, memory := range [][]float32{b.In("x"), b.Out("g")} {
			require.Len(t, memory, 3*n)
			require.Equal(t, 3*n, cap(memory))
			require.Zero(t, uintptr(unsafe.Pointer(&memory[0]))%64)
		}
		require.NoError(t, b.Close())
	}
}

// denormal is y = x·1e-30·1e30.
func denormal() Model {
	bytes := onnx(
		[]pb{node("Mul", []string{"x", "small"}, "z"), node("Mul", []string{"z", "large"}, "y")},
		[]pb{tensor("small", []float32{1e-30}, 1), tensor("large", []float32{1e30}, 1)},
		[]pb{port("x", -1)}, []pb{port("y", -1), port("z", -1)})
	return Model{Name: "denormal", Bytes: bytes, Inputs: []Port{{Name: "x"}}, Outputs: []Port{{Name: "y"}, {Name: "z"}}}
}

// TestDenormals wants denormal results and operands flushed in a run, and not
// in Go's arithmetic on the same thread. The Go binding used plainly is the
// control: there they are not flushed.
func TestDenormals(t *testing.T) {
	if goruntime.GOARCH != "amd64" && goruntime.GOARCH != "arm64" {
		t.Skip("no flags are known for this processor")
	}
	m := denormal()
	r := open(t, 1)
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()

	b := bind(t, compile(t, r, m), 3, BindOptions{})
	copy(b.In("x"), []float32{1e-10, 1, 1e-40}) // denormal result, none, denormal operand
	require.NoError(t, b.Run(background))
	require.Equal(t, []float32{0, 1e-30, 0}, b.Out("z"))
	require.Zero(t, b.Out("y")[0])
	require.InDelta(t, 1, b.Out("y")[1], 1e-6)

	require.False(t, denormalsFlushed())
	small := b.In("x")[0]
	require.NotZero(t, small*1e-30, "Go's denormals are gone")

	s, err := ort.NewDynamicAdvancedSessionWithONNXData(m.Bytes, []string{"x"}, []string{"z"}, nil)
	require.NoError(t, err)
	defer s.Destroy()
	x, err := ort.NewTensor(ort.NewShape(1), []float32{1e-10})
	require.NoError(t, err)
	defer x.Destroy()
	z, err := ort.NewEmptyTensor[float32](ort.NewShape(1))
	require.NoError(t, err)
	defer z.Destroy()
	require.NoError(t, s.Run([]ort.Value{x}, []ort.Value{z}))
	require.NotZero(t, z.GetData()[0], "the control flushes denormals too")
}

// TestDenormalsAreFlushedOnEveryThread runs many tiles at once.
func TestDenormalsAreFlushedOnEveryThread(t *testing.T) {
	b := bind(t, compile(t, open(t, 8), denormal()), 400, BindOptions{Tile: 10})
	for i := range b.In("x") {
		b.In("x")[i] = 1e-10
	}
	require.NoError(t, b.Run(background))
	require.Equal(t, make([]float32, 400), b.Out("z"))
}

// TestMemoryIsKept drops every other reference to bound memory: without the
// binding's own, the collector frees it and the run reads what came after.
func TestMemoryIsKept(t *testing.T) {
	p := compile(t, open(t, 2), Model{Name: "double", Bytes: doubleModel, Inputs: []Port{{Name: "x"}}, Outputs: []Port{{Name: "y"}}})
	const n = 1 << 14
	var freed atomic.Bool
	bound := func() *Binding {
		x := make([]float32, n)
		for i := range x {
			x[i] = 21
		}
		goruntime.AddCleanup(&x[0], func(int) { freed.Store(true) }, 0)
		b, err := p.Bind(n, BindOptions{Tiles: 4, Rows: map[string][]float32{"x": x}})
		require.NoError(t, err)
		b.in = nil // the pins alone must do
		return b
	}()
	var litter [][]float32
	for range 20 {
		goruntime.GC()
		junk := make([]float32, n)
		fill(junk, 1)
		litter = append(litter, junk)
		require.NoError(t, bound.Run(background))
	}
	goruntime.KeepAlive(litter)
	require.False(t, freed.Load())
	for _, y := range bound.Out("y") {
		require.Equal(t, float32(42), y)
	}
	require.NoError(t, bound.Close())
	collected(t, freed.Load, "memory after Close")
}

// TestForgottenClose drops a binding and its program without closing them: the
// collector gives them back, and the pins must not kill the process.
func TestForgottenClose(t *testing.T) {
	r := open(t, 1)
	inner := func() *program {
		p, err := r.Compile(newMLP(2, 4).gradient(false))
		require.NoError(t, err)
		b, err := p.Bind(3, BindOptions{})
		require.NoError(t, err)
		require.NoError(t, b.Run(background))
		return p.program
	}()
	collected(t, func() bool { return inner.users.Load() == 0 }, "a forgotten program")
}

func collected(t *testing.T, done func() bool, what string) {
	t.Helper()
	require.Eventually(t, func() bool {
		goruntime.GC()
		return done()
	}, 5*time.Second, time.Millisecond, what)
}

func TestClose(t *testing.T) {
	r := open(t, 2)
	p, err := r.Compile(newMLP(2, 4).gradient(false))
	require.NoError(t, err)
	b, err := p.Bind(10, BindOptions{Tiles: 2})
	require.NoError(t, err)
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	_, err = p.Bind(1, BindOptions{})
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, b.Run(background), "a binding outlives its program's Close")
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Run(background), ErrClosed)
	require.ErrorIs(t, b.RunTile(background, 1), ErrClosed)
	require.Len(t, b.Out("g"), 20)
}

// TestCloseDuringRuns closes bindings and the program while others run.
func TestCloseDuringRuns(t *testing.T) {
	r := open(t, 2)
	for range 20 {
		p, err := r.Compile(newMLP(2, 16).gradient(false))
		require.NoError(t, err)
		var group sync.WaitGroup
		for i := range 4 {
			b, err := p.Bind(64, BindOptions{Tiles: 4})
			require.NoError(t, err)
			group.Go(func() {
				for b.RunTile(background, i) == nil {
				}
			})
			group.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				b.Close()
			})
		}
		group.Go(func() { p.Close() })
		group.Wait()
		require.Zero(t, p.users.Load())
	}
}

func TestManyBindingsAtOnce(t *testing.T) {
	m := newMLP(2, 16)
	p := compile(t, open(t, 2), m.gradient(false))
	var group sync.WaitGroup
	for i := range 8 {
		b := bind(t, p, 50+i, BindOptions{Tiles: 3})
		fill(b.In("x"), uint64(i))
		group.Go(func() {
			for range 50 {
				if err := b.Run(background); err != nil {
					t.Error(err)
				}
			}
			for j, want := range m.gradientAt(b.In("x")[:2]) {
				if math.Abs(float64(b.Out("g")[j])-want) > 1e-5 {
					t.Errorf("binding %d: %v, want %v", i, b.Out("g")[j], want)
				}
			}
		})
	}
	group.Wait()
}

func TestCancel(t *testing.T) {
	p := compile(t, open(t, 2), newMLP(2, 16).gradient(false))
	for _, tiles := range []int{1, 50} {
		ctx, cancel := context.WithCancel(background)
		b := bind(t, p, 50, BindOptions{Tiles: tiles})
		require.NoError(t, b.Run(ctx))
		cancel()
		require.ErrorIs(t, b.Run(ctx), context.Canceled)
	}
	ctx, cancel := context.WithCancel(background)
	b := bind(t, p, 50, BindOptions{Tiles: 50})
	var ran atomic.Int64
	err := b.EachTile(ctx, func(ctx context.Context, i int) error {
		if ran.Add(1) == 5 {
			cancel()
		}
		return b.RunTile(ctx, i)
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, ran.Load(), int64(10))
}

func TestAddUp(t *testing.T) {
	for _, size := range []int{1, 4096, 4097, 50000} {
		parts := make([][]float32, 7)
		for i := range parts {
			parts[i] = make([]float32, size)
			fill(parts[i], uint64(i))
		}
		one, two := make([]float32, size), make([]float32, size)
		require.NoError(t, addUp(background, one, parts, 1))
		require.NoError(t, addUp(background, two, parts, 3))
		require.Equal(t, one, two)
		for i := range one {
			want := 0.0
			for _, p := range parts {
				want += float64(p[i])
			}
			require.Equal(t, float32(want), one[i])
		}
	}
}

func TestTiles(t *testing.T) {
	gradient := func(cost float64) Model {
		return Model{RowCost: cost, Inputs: []Port{{Name: "x", Item: []int64{2}}}, Outputs: []Port{{Name: "g", Item: []int64{2}}}}
	}
	for _, c := range []struct {
		cost    float64
		n, want int
	}{
		{17400, 1, 1}, {17400, 64, 1}, {17400, 128, 2}, {17400, 1024, 4}, {17400, 10000, 40}, // 2-64-64-1
		{264e3, 1024, 8}, {264e3, 10000, 80}, // 2-256-256-1
		{10, 1000, 1}, {10, 100000, 8}, // a formula
		{1e8, 10, 8}, {1e9, 100, 100}, // a large convolution
	} {
		require.Equal(t, c.want, tileCount(c.n, gradient(c.cost)), "%+v", c)
	}
	huge := gradient(4e7)
	huge.Outputs = append(huge.Outputs, Port{Name: "s", Item: []int64{1 << 22}, Kind: Sum})
	require.Equal(t, 4, tileCount(10000, huge), "own memory of all tiles is bounded")

	for n := 1; n < 300; n++ {
		for _, cost := range []float64{1, 1e4, 1e6, 1e9} {
			count := tileCount(n, gradient(cost))
			next := 0
			for i := range count {
				first, rows := span(n, count, i)
				require.Equal(t, next, first)
				require.GreaterOrEqual(t, rows, n/count)
				require.LessOrEqual(t, rows, n/count+1)
				require.Positive(t, rows)
				next += rows
			}
			require.Equal(t, n, next)
		}
	}
}

// TestBatchAxis runs y = v·x with v and y [K, N, D] and x [N, D]: tiles see their rows of every direction together.
func TestBatchAxis(t *testing.T) {
	const n, k, d = 10, 3, 2
	m := Model{Name: "directions", Bytes: onnx([]pb{node("Mul", []string{"v", "x"}, "y")}, nil,
		[]pb{port("x", -1, d), port("v", k, -1, d)}, []pb{port("y", k, -1, d)}),
		Inputs:  []Port{{Name: "x", Item: []int64{d}}, {Name: "v", Item: []int64{k, d}, Axis: 1}},
		Outputs: []Port{{Name: "y", Item: []int64{k, d}, Axis: 1}}}
	p := compile(t, open(t, 2), m)
	for _, tiles := range []int{1, 3, 10} {
		b := bind(t, p, n, BindOptions{Tiles: tiles})
		fill(b.In("x"), 1)
		fill(b.In("v"), 2)
		require.NoError(t, b.Run(background))
		for i := range tiles {
			first, rows := b.Tile(i)
			for j := range k * rows * d {
				x := b.In("x")[first*d+j%(rows*d)]
				require.Equal(t, x*b.In("v")[first*k*d+j], b.Out("y")[first*k*d+j])
			}
		}
	}
	for _, axis := range []int{-1, 3} {
		bad := m
		bad.Inputs = []Port{{Name: "x", Item: []int64{d}, Axis: axis}, m.Inputs[1]}
		_, err := open(t, 2).Compile(bad)
		require.ErrorContains(t, err, "batch axis")
	}
}
