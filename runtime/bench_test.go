package runtime

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	ort "github.com/yalue/onnxruntime_go"
)

// BenchmarkRun times one gradient of a 2-64-64-1 network, beside the Go
// binding used plainly on one tile.
func BenchmarkRun(b *testing.B) {
	m := newMLP(2, 64).gradient(false)
	for _, n := range []int{1, 128, 1024, 10000} {
		b.Run(fmt.Sprintf("plain/N=%d", n), func(b *testing.B) { benchPlain(b, m, n) })
		b.Run(fmt.Sprintf("tiles/N=%d", n), func(b *testing.B) { benchRun(b, m, n, BindOptions{}) })
	}
}

// BenchmarkFloor times a graph of one addition of one number: what a run costs
// beside its work.
func BenchmarkFloor(b *testing.B) {
	benchRun(b, Model{Name: "double", Bytes: doubleModel, Inputs: []Port{{Name: "x"}}, Outputs: []Port{{Name: "y"}}}, 1, BindOptions{})
}

// BenchmarkDenormals times products of denormals, as many as rows.
func BenchmarkDenormals(b *testing.B) {
	for name, x := range map[string]float32{"denormal": 1e-10, "normal": 1} {
		b.Run(name, func(b *testing.B) {
			g := bind(b, compile(b, open(b, 1), denormal()), 10000, BindOptions{})
			for i := range g.In("x") {
				g.In("x")[i] = x
			}
			for b.Loop() {
				if err := g.Run(background); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSteps times steps of a whole batch where each worker takes a tile
// through 20 steps.
func BenchmarkSteps(b *testing.B) {
	m := newMLP(2, 64).gradient(false)
	for _, n := range []int{1, 128, 1024, 10000} {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) { benchSteps(b, m, n, BindOptions{}) })
	}
}

// BenchmarkTile shows what the size of tiles costs.
func BenchmarkTile(b *testing.B) {
	for _, h := range []int{64, 256} {
		m := newMLP(2, h).gradient(false)
		for _, n := range []int{128, 1024, 10000} {
			for _, tile := range []int{32, 64, 128, 256, 512, 1024} {
				if tile <= n {
					b.Run(fmt.Sprintf("h=%d/N=%d/tile=%d", h, n, tile), func(b *testing.B) { benchSteps(b, m, n, BindOptions{Tile: tile}) })
				}
			}
		}
	}
}

func benchRun(b *testing.B, m Model, n int, opt BindOptions) {
	g := bind(b, compile(b, open(b, 0), m), n, opt)
	fill(g.In("x"), 1)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Run(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func benchSteps(b *testing.B, m Model, n int, opt BindOptions) {
	const steps = 20
	g := bind(b, compile(b, open(b, 0), m), n, opt)
	fill(g.In("x"), 1)
	ctx := context.Background()
	run := func(ctx context.Context, i int) error {
		for range steps {
			if err := g.RunTile(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := g.EachTile(ctx, run); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/steps, "ns/step")
}

func benchPlain(b *testing.B, m Model, n int) {
	open(b, 1)
	o, err := ort.NewSessionOptions()
	require.NoError(b, err)
	defer o.Destroy()
	require.NoError(b, o.SetIntraOpNumThreads(1))
	s, err := ort.NewDynamicAdvancedSessionWithONNXData(m.Bytes, []string{"x"}, []string{"g"}, o)
	require.NoError(b, err)
	defer s.Destroy()
	x, err := ort.NewEmptyTensor[float32](ort.NewShape(int64(n), 2))
	require.NoError(b, err)
	defer x.Destroy()
	g, err := ort.NewEmptyTensor[float32](ort.NewShape(int64(n), 2))
	require.NoError(b, err)
	defer g.Destroy()
	fill(x.GetData(), 1)
	in, out := []ort.Value{x}, []ort.Value{g}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Run(in, out); err != nil {
			b.Fatal(err)
		}
	}
}
