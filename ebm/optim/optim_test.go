package optim

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func make1(t *testing.T, text string, groups ...Group) Optimizer {
	t.Helper()
	o, err := New(text, Options{Groups: groups})
	require.NoError(t, err)
	return o
}

// run does one step a gradient on a single parameter.
func run(t *testing.T, o Optimizer, start float32, lr float64, grads ...float32) (path []float32) {
	t.Helper()
	p := []float32{start}
	for _, g := range grads {
		require.NoError(t, o.Step(p, []float32{g}, lr))
		path = append(path, p[0])
	}
	return path
}

// TestSequences compares with sequences worked out by hand from the update rules.
func TestSequences(t *testing.T) {
	for _, c := range []struct {
		spec  string
		lr    float64
		start float32
		grads []float32
		want  []float64
	}{
		{"sgd", 0.1, 1, []float32{2, -1}, []float64{0.8, 0.9}},
		// g + λθ: 2 + 0.5·1, then −1 + 0.5·0.75.
		{"sgd:weight-decay=0.5", 0.1, 1, []float32{2, -1}, []float64{0.75, 0.8125}},
		// u: 2, 0.9·2−1 = 0.8, 0.9·0.8+1 = 1.72.
		{"sgd:momentum=0.9", 0.1, 1, []float32{2, -1, 1}, []float64{0.8, 0.72, 0.548}},
		// g + 0.9u: 2+1.8, −1+0.72, 1+1.548.
		{"sgd:momentum=0.9:nesterov=true", 0.1, 1, []float32{2, -1, 1}, []float64{0.62, 0.648, 0.3932}},
		// u: 2 (undamped), 0.9·2 − 0.5 = 1.3.
		{"sgd:momentum=0.9:dampening=0.5", 0.1, 1, []float32{2, -1}, []float64{0.8, 0.67}},
		// The first step of Adam is η·sign(g). Then m = 0.9·0.2−0.1 = 0.08, v = 0.999·0.004+0.001 = 0.004996;
		// m̂ = 0.08/0.19, v̂ = 0.004996/0.001999.
		{"adam", 0.1, 1, []float32{2, -1}, []float64{0.9, 0.9 - 0.1*(0.08/0.19)/math.Sqrt(0.004996/0.001999)}},
		{"adam:beta1=0:beta2=0", 0.1, 1, []float32{2, -3}, []float64{0.9, 1}},
		// g + λθ = 2 + 1, sign only.
		{"adam:weight-decay=1", 0.1, 1, []float32{2}, []float64{0.9}},
		// θ(1 − ηλ) − η.
		{"adamw:weight-decay=0.5", 0.1, 1, []float32{2}, []float64{0.85}},
		{"adamw", 0.1, 1, []float32{2}, []float64{0.899}},
		// v = 0.01·4; step = 2/0.2 = 10. Then v = 0.99·0.04 + 0.01 = 0.0496.
		{"rmsprop", 0.01, 1, []float32{2, -1}, []float64{0.9, 0.9 + 0.01/math.Sqrt(0.0496)}},
		{"rmsprop:eps=0.1", 0.01, 1, []float32{2}, []float64{1 - 0.02/(0.2+0.1)}},
		{"adam:eps=0.5", 0.1, 1, []float32{2}, []float64{1 - 0.1*2/(2+0.5)}},
		{"rmsprop:momentum=0.5", 0.01, 1, []float32{2, -1}, []float64{0.9, 0.9 - 0.01*(5-1/math.Sqrt(0.0496))}},
		// v − m² = 0.04 − 0.02².
		{"rmsprop:centered=true", 0.01, 1, []float32{2}, []float64{1 - 0.02/math.Sqrt(0.0396)}},
		// sign(0.1·2); m = 0.02, then 0.9·0.02 − 0.1 < 0.
		{"lion", 0.1, 1, []float32{2, -1}, []float64{0.9, 1}},
		{"lion:weight-decay=0.5", 0.1, 1, []float32{2}, []float64{0.85}},
		{"lion", 0.1, 1, []float32{0}, []float64{1}},
	} {
		for i, got := range run(t, make1(t, c.spec), c.start, c.lr, c.grads...) {
			require.InDelta(t, c.want[i], got, 3e-7, "%s, step %d", c.spec, i+1)
		}
	}
}

// TestAgainstFloat64 follows Adam for 200 steps of a quadratic in float64.
func TestAgainstFloat64(t *testing.T) {
	o := make1(t, "adam:beta1=0.8:beta2=0.99")
	p := []float32{3, -2, 0.5}
	ref, m, v := []float64{3, -2, 0.5}, make([]float64, 3), make([]float64, 3)
	g := make([]float32, 3)
	for step := 1; step <= 200; step++ {
		for i := range p {
			g[i] = float32(i+1) * p[i]
			d := float64(i+1) * ref[i]
			m[i], v[i] = 0.8*m[i]+0.2*d, 0.99*v[i]+0.01*d*d
			mHat, vHat := m[i]/(1-math.Pow(0.8, float64(step))), v[i]/(1-math.Pow(0.99, float64(step)))
			ref[i] -= 0.01 * mHat / (math.Sqrt(vHat) + 1e-8)
		}
		require.NoError(t, o.Step(p, g, 0.01))
	}
	for i := range p {
		require.InDelta(t, ref[i], p[i], 2e-5)
	}
}

func TestAllMinimise(t *testing.T) {
	for _, c := range []struct {
		spec string
		lr   float64
	}{{"sgd", 0.1}, {"sgd:momentum=0.9", 0.02}, {"sgd:momentum=0.9:nesterov=true", 0.02}, {"adam", 0.05}, {"adamw:weight-decay=0", 0.05}, {"rmsprop", 0.01}, {"rmsprop:centered=true:momentum=0.5", 0.003}, {"lion", 0.01}} {
		o := make1(t, c.spec)
		p, g := []float32{2, -3}, make([]float32, 2)
		for step := range 2000 {
			for i := range p {
				g[i] = float32(i+1) * (p[i] - 1)
			}
			require.NoError(t, o.Step(p, g, c.lr/(1+float64(step)/200)))
		}
		require.InDelta(t, 1, p[0], 0.02, c.spec)
		require.InDelta(t, 1, p[1], 0.02, c.spec)
	}
}

func TestGroups(t *testing.T) {
	groups := []Group{{From: 1, To: 2, Frozen: true}, {From: 2, To: 4, Scale: 0.5, NoDecay: true}}
	for _, text := range []string{"sgd:weight-decay=0.1", "adam:weight-decay=0.1", "adamw:weight-decay=0.1", "rmsprop:weight-decay=0.1", "lion:weight-decay=0.1", "sgd:momentum=0.5:weight-decay=0.1"} {
		p, plain, half := []float32{1, 1, 1, 1, 1}, []float32{1}, []float32{1}
		grouped, one, two := make1(t, text, groups...), make1(t, text), make1(t, text, Group{From: 0, To: 1, NoDecay: true})
		for range 3 {
			require.NoError(t, grouped.Step(p, []float32{0.4, 0.4, 0.4, 0.4, 0.4}, 0.02))
			require.NoError(t, one.Step(plain, []float32{0.4}, 0.02))
			require.NoError(t, two.Step(half, []float32{0.4}, 0.01))
		}
		require.Equal(t, []float32{plain[0], 1, half[0], half[0], plain[0]}, p, text)
		require.NotEqual(t, plain[0], half[0], text)
	}
	for _, bad := range [][]Group{{{From: 0, To: 6}}, {{From: 2, To: 1}}, {{From: 0, To: 3}, {From: 2, To: 4}}, {{From: -1, To: 2}}, {{From: 0, To: 1, Scale: -1}}} {
		require.Error(t, make1(t, "sgd", bad...).Step(make([]float32, 5), make([]float32, 5), 0.1))
	}
}

// TestResume continues from a state and gets the same bytes.
func TestResume(t *testing.T) {
	for _, text := range []string{"sgd", "sgd:momentum=0.9:dampening=0.3", "adam", "adamw", "rmsprop", "rmsprop:centered=true", "rmsprop:momentum=0.4", "lion"} {
		step := func(o Optimizer, p []float32, i int) {
			g := []float32{float32(math.Sin(float64(i))), float32(math.Cos(float64(3 * i))), 0.1}
			require.NoError(t, o.Step(p, g, 0.01))
		}
		first, p := make1(t, text, Group{From: 2, To: 3, Frozen: true}), []float32{1, 2, 3}
		var saved []float32
		var state []byte
		for i := range 10 {
			if i == 5 {
				saved, state = append(saved, p...), first.State()
			}
			step(first, p, i)
		}
		second := make1(t, text, Group{From: 2, To: 3, Frozen: true})
		require.NoError(t, second.Load(state))
		for i := 5; i < 10; i++ {
			step(second, saved, i)
		}
		require.Equal(t, p, saved, text)
		require.Equal(t, first.State(), second.State(), text)

		require.NoError(t, second.Load(make1(t, text).State()), "a state before the first step")
		require.Error(t, second.Load(state[:len(state)-1]), text)
		require.Error(t, second.Load(nil), text)
	}
	adam := make1(t, "adam")
	require.NoError(t, adam.Step([]float32{1}, []float32{1}, 0.1))
	require.ErrorContains(t, make1(t, "lion").Load(adam.State()), "2 vectors")
	huge := append([]byte{}, adam.State()...)
	for i := 8; i < 16; i++ {
		huge[i] = 0xff
	}
	require.Error(t, make1(t, "adam").Load(huge))
}

func TestStepRefuses(t *testing.T) {
	o := make1(t, "adam")
	require.Error(t, o.Step(make([]float32, 2), make([]float32, 3), 0.1))
	require.NoError(t, o.Step(make([]float32, 2), make([]float32, 2), 0.1))
	require.Error(t, o.Step(make([]float32, 3), make([]float32, 3), 0.1))
}

func TestNonFiniteGradientsShow(t *testing.T) {
	for _, text := range Names() {
		got := run(t, make1(t, text), 1, 0.1, float32(math.NaN()))
		require.True(t, math.IsNaN(float64(got[0])), text)
	}
}

func TestFactory(t *testing.T) {
	o := make1(t, "ADAM:Beta1=0.5")
	require.Equal(t, "adam", o.Name())
	require.Equal(t, 0.5, o.(*Adam).Beta1)
	for i, usage := range Usages() {
		o := make1(t, usage)
		require.Equal(t, Names()[i], o.Name())
		require.Equal(t, make1(t, Names()[i]), o, "the usage states the defaults")
	}
	for text, says := range map[string]string{
		"adamm":                      "adam, adamw, lion, rmsprop, sgd",
		"adam:lr=1":                  "beta1, beta2, eps, weight-decay",
		"adam:beta1=1":               "below 1",
		"adam:eps=0":                 "greater than 0",
		"sgd:nesterov=true":          "needs momentum",
		"sgd:momentum=x":             "not a finite number",
		"":                           "no name",
		"lion:weight-decay=-1":       "negative",
		"rmsprop:centered=perhaps":   "true or false",
		"sgd:0.9":                    "takes no list",
		"adam:beta1=0.5:beta1=0.2":   "twice",
		"adamw:weight-decay=0.1:foo": "not key=value",
	} {
		_, err := New(text, Options{})
		require.ErrorContains(t, err, says, text)
		require.ErrorContains(t, err, "optim: ", text)
	}
}

func TestClip(t *testing.T) {
	g := []float32{3, 4}
	require.InDelta(t, 5, ClipNorm(g, 1), 1e-12)
	require.InDeltaSlice(t, []float32{0.6, 0.8}, g, 1e-7)
	require.InDelta(t, 1, ClipNorm(g, 2), 1e-7)
	require.InDeltaSlice(t, []float32{0.6, 0.8}, g, 1e-7)

	g = []float32{100, 3, 100, 4}
	require.InDelta(t, 5, ClipNorm(g, 1, Group{From: 0, To: 1, Frozen: true}, Group{From: 1, To: 2, NoDecay: true}, Group{From: 2, To: 3, Frozen: true}), 1e-12)
	require.InDeltaSlice(t, []float32{100, 0.6, 100, 0.8}, g, 1e-6)

	inf := float32(math.Inf(1))
	g = []float32{1, inf}
	require.True(t, math.IsInf(ClipNorm(g, 1), 1))
	require.Equal(t, []float32{1, inf}, g)
	g = []float32{2e38, 2e38}
	require.InEpsilon(t, 2e38*math.Sqrt2, ClipNorm(g, 1), 1e-6)
	require.InEpsilon(t, math.Sqrt2/2, g[0], 1e-6)

	g = []float32{-3, 0.5, inf}
	ClipValue(g, 1)
	require.Equal(t, []float32{-1, 0.5, 1}, g)
	g = []float32{float32(math.NaN())}
	ClipValue(g, 1)
	require.True(t, math.IsNaN(float64(g[0])))
}

func TestEMA(t *testing.T) {
	e := &EMA{Decay: 0.75}
	p := []float32{4, -8}
	require.NoError(t, e.Update(p))
	require.Equal(t, []float32{4, -8}, e.Average())
	p[0], p[1] = 8, 0
	require.NoError(t, e.Update(p))
	require.Equal(t, []float32{5, -6}, e.Average())

	other := &EMA{Decay: 0.75}
	require.NoError(t, other.Load(e.State()))
	require.NoError(t, other.Update(p))
	require.Equal(t, []float32{5.75, -4.5}, other.Average())

	require.NoError(t, e.Swap(p))
	require.Equal(t, []float32{5, -6}, p)
	require.Equal(t, []float32{8, 0}, e.Average())
	require.Error(t, e.Swap(p[:1]))
	require.Error(t, e.Update(p[:1]))
	require.Error(t, (&EMA{Decay: 1}).Update(p))
	require.Error(t, other.Load([]byte("short")))
}

func TestNoAllocations(t *testing.T) {
	p, g := make([]float32, 10000), make([]float32, 10000)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range g {
		g[i] = float32(random.NormFloat64())
	}
	groups := Groups{{From: 10, To: 20, Frozen: true}, {From: 20, To: 3000, Scale: 0.1}, {From: 3000, To: 3001, NoDecay: true}}
	e := &EMA{Decay: 0.9}
	for _, text := range append(Names(), "sgd:momentum=0.9:nesterov=true:weight-decay=0.1", "rmsprop:centered=true:momentum=0.5", "adam:weight-decay=0.1") {
		o := make1(t, text, groups...)
		step := func() {
			clipped := ClipNorm(g, 50, groups...) // of 100 or so
			ClipValue(g, 0.4)
			for i := range g[:100] {
				g[i] = 10
			}
			if err := errors.Join(o.Step(p, g, 0.1), e.Update(p), e.Swap(p), e.Swap(p)); err != nil || clipped < 50 {
				t.Error(err, clipped)
			}
		}
		step()
		require.Zero(t, testing.AllocsPerRun(5, step), text)
	}
}
