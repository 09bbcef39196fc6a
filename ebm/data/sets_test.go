package data

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

func open(t testing.TB, text string, seed uint64) Dataset {
	t.Helper()
	ds, err := Open(text, Options{Key: rng.NewKey(seed)})
	require.NoError(t, err, text)
	return ds
}

func points(t testing.TB, text string, seed uint64) []float32 {
	t.Helper()
	x, err := All(open(t, text, seed))
	require.NoError(t, err)
	return x
}

// midpoint averages f(u) over u in (0, 1) by the midpoint rule.
func midpoint(f func(u float64) float64) float64 {
	const n = 200_000
	sum := 0.0
	for i := range n {
		sum += f((float64(i) + 0.5) / n)
	}
	return sum / n
}

func square(x float64) float64 { return x * x }

// expectation is a function of a point and its mean under a set.
type expectation struct {
	name string
	f    func(x, y float64) float64
	want float64
}

func moments(x, y, xx, yy, xy float64) []expectation {
	return []expectation{
		{"E x", func(x, _ float64) float64 { return x }, x},
		{"E y", func(_, y float64) float64 { return y }, y},
		{"E x²", func(x, _ float64) float64 { return x * x }, xx},
		{"E y²", func(_, y float64) float64 { return y * y }, yy},
		{"E xy", func(x, y float64) float64 { return x * y }, xy},
	}
}

// isotropic are the moments of anything with the symmetry of three or more
// equal turns: those of a circle of mean square radius rr.
func isotropic(rr, noise float64) []expectation {
	return moments(0, 0, rr/2+noise*noise, rr/2+noise*noise, 0)
}

// spiralMoments integrates ±(φ/3)(cos φ, sin φ) with φ = 3π√u.
func spiralMoments(noise float64) []expectation {
	mean := func(f func(phi float64) float64) float64 {
		return midpoint(func(u float64) float64 { phi := 3 * math.Pi * math.Sqrt(u); return phi * phi / 9 * f(phi) })
	}
	return moments(0, 0,
		mean(func(p float64) float64 { return square(math.Cos(p)) })+noise*noise,
		mean(func(p float64) float64 { return square(math.Sin(p)) })+noise*noise,
		mean(func(p float64) float64 { return math.Sin(p) * math.Cos(p) }))
}

// swissMoments integrates the roll and standardises as its definition says.
func swissMoments(noise float64) []expectation {
	mean := func(f func(x, y float64) float64) float64 {
		return midpoint(func(u float64) float64 {
			t := 3 * math.Pi * (1 + 2*u)
			return f(t*math.Cos(t), t*math.Sin(t))
		})
	}
	mx := mean(func(x, _ float64) float64 { return x })
	my := mean(func(_, y float64) float64 { return y })
	vx := mean(func(x, _ float64) float64 { return square(x - mx) }) + noise*noise
	vy := mean(func(_, y float64) float64 { return square(y - my) }) + noise*noise
	vxy := mean(func(x, y float64) float64 { return (x - mx) * (y - my) })
	scale := square(math.Sqrt(vx) + math.Sqrt(vy))
	return moments(0, 0, vx/scale, vy/scale, vxy/scale)
}

func boardMoments() []expectation {
	xx, xy, n := 0.0, 0.0, 0.0
	for i := -4; i < 4; i++ {
		for j := -4; j < 4; j++ {
			if (i+j+8)%2 == 1 {
				x, y := float64(i)+0.5, float64(j)+0.5
				xx, xy, n = xx+x*x+1.0/12, xy+x*y, n+1
			}
		}
	}
	return moments(0, 0, xx/n, xx/n, xy/n)
}

func gridMoments(noise float64) []expectation {
	xx := 0.0
	for i := range 10 {
		xx += square(2*float64(i)/9-1) / 10
	}
	return moments(0, 0, xx+noise*noise, xx+noise*noise, 0)
}

func twoMoonsMoments(noise float64) []expectation {
	// E cos θ = 0, E sin θ = 2/π, E cos² θ = E sin² θ = ½, E sin θ cos θ = 0.
	return moments(0.5, 0.25,
		1+noise*noise,
		0.5*0.5+0.5*(0.25-2/math.Pi+0.5)+noise*noise,
		0.5*(0.5-2/math.Pi))
}

// radial adds the fourth moment of the radius, which second moments miss:
// E (r² + noise)² for noise of 2 coordinates = E r⁴ + 8 s² E r² + 8 s⁴.
func radial(rr, rrrr, s float64) expectation {
	return expectation{"E |x|⁴", func(x, y float64) float64 { return square(x*x + y*y) }, rrrr + 8*s*s*rr + 8*s*s*s*s}
}

func TestMomentsOfTheSets(t *testing.T) {
	for text, want := range map[string][]expectation{
		"two-moons":                     twoMoonsMoments(0.05),
		"two-moons:noise=0.3":           twoMoonsMoments(0.3),
		"eight-gaussians":               append(isotropic(4, 0.02), radial(4, 16, 0.02)),
		"gaussian-mixture":              append(isotropic(1, 0.05), radial(1, 1, 0.05)),
		"gaussian-mixture:k=1":          moments(1, 0, 1+0.05*0.05, 0.05*0.05, 0),
		"gaussian-mixture:k=5:radius=3": append(isotropic(9, 0.05), radial(9, 81, 0.05)),
		"swiss-roll":                    swissMoments(0.05),
		"swiss-roll:noise=2":            swissMoments(2),
		"circle":                        append(isotropic(1, 0.05), radial(1, 1, 0.05)),
		"circle:radius=2:noise=0.5":     append(isotropic(4, 0.5), radial(4, 16, 0.5)),
		"rings":                         append(isotropic((0.5625+2.25+5.0625+9)/4, 0.08), radial((0.5625+2.25+5.0625+9)/4, (square(0.5625)+square(2.25)+square(5.0625)+81)/4, 0.08)),
		"checkerboard":                  boardMoments(),
		"pinwheel":                      append(isotropic(2, 0.05), radial(2, 16.0/3, 0.05)), // r² = 4u
		"grid":                          gridMoments(0.01),
		"spirals":                       spiralMoments(0.1),
	} {
		const n, seeds = 5000, 20
		for _, e := range want {
			sum, squares := 0.0, 0.0
			for seed := range uint64(seeds) {
				x := points(t, fmt.Sprintf("%s:n=%d", text, n), seed)
				for i := range n {
					v := e.f(float64(x[2*i]), float64(x[2*i+1]))
					sum, squares = sum+v, squares+v*v
				}
			}
			mean := sum / (n * seeds)
			sd := math.Sqrt(squares/(n*seeds) - mean*mean)
			z := (mean - e.want) / (sd / math.Sqrt(n*seeds))
			require.Less(t, math.Abs(z), 4.0, "%s: %s is %.5f, should be %.5f", text, e.name, mean, e.want)
		}
	}
}

func TestSwissRollHasAMeanStandardDeviationOfOneHalf(t *testing.T) {
	e := swissMoments(0.05)
	require.InDelta(t, 0.5, (math.Sqrt(e[2].want)+math.Sqrt(e[3].want))/2, 1e-9)
}

// chiSquare compares counts with equal expectations and returns the z-score
// of the statistic.
func chiSquare(counts []int) float64 {
	total, stat := 0, 0.0
	for _, c := range counts {
		total += c
	}
	want := float64(total) / float64(len(counts))
	for _, c := range counts {
		stat += square(float64(c)-want) / want
	}
	freedom := float64(len(counts) - 1)
	return (stat - freedom) / math.Sqrt(2*freedom)
}

func TestCheckerboardStaysInItsSquares(t *testing.T) {
	const r = 4
	counts := map[[2]int]int{}
	for seed := range uint64(20) {
		x := points(t, "checkerboard:n=20000", seed)
		for i := 0; i < len(x); i += 2 {
			cx, cy := int(math.Floor(float64(x[i]))), int(math.Floor(float64(x[i+1])))
			require.True(t, (cx+cy)%2 != 0 && -r <= cx && cx < r && -r <= cy && cy < r, "(%v, %v)", x[i], x[i+1])
			counts[[2]int{cx, cy}]++
		}
	}
	require.Len(t, counts, 2*r*r)
	all := []int{}
	for _, c := range counts {
		all = append(all, c)
	}
	require.Less(t, chiSquare(all), 4.0)
}

// Uniform numbers so near 1 that the sum rounds up stay below the edge.
func TestCheckerboardEdge(t *testing.T) {
	for _, cell := range []int{-4, -1, 0, 3} {
		v := float32(within(cell, 1-0x1p-53))
		require.Equal(t, cell, int(math.Floor(float64(v))))
	}
}

func TestComponentsAreEquallyLikely(t *testing.T) {
	for text, label := range map[string]func(x, y float64) int{
		"two-moons:noise=0.01": func(x, y float64) int { m, _ := NearestMoon(x, y); return m },
		"eight-gaussians":      func(x, y float64) int { return (int(math.Round(math.Atan2(y, x)/(math.Pi/4))) + 8) % 8 },
		"rings:noise=0.01":     func(x, y float64) int { return int(math.Round(math.Hypot(x, y)/0.75)) - 1 },
		"grid": func(x, y float64) int {
			return int(math.Round((x+1)*4.5)) + 10*int(math.Round((y+1)*4.5))
		},
	} {
		counts := make([]int, map[string]int{"two-moons:noise=0.01": 2, "eight-gaussians": 8, "rings:noise=0.01": 4, "grid": 100}[text])
		for seed := range uint64(20) {
			x := points(t, text+":n=5000", seed)
			for i := 0; i < len(x); i += 2 {
				counts[label(float64(x[i]), float64(x[i+1]))]++
			}
		}
		require.Less(t, math.Abs(chiSquare(counts)), 4.0, "%s %v", text, counts)
	}
}

// Angles are random, so the smallest gap between neighbours on a moon is far
// below the even spacing π/(n/2).
func TestTwoMoonsHaveRandomAngles(t *testing.T) {
	x := points(t, "two-moons:n=1000:noise=0", 1)
	least := math.Inf(1)
	for i := 0; i < len(x); i += 2 {
		for j := range i / 2 {
			least = min(least, math.Hypot(float64(x[i]-x[2*j]), float64(x[i+1]-x[2*j+1])))
		}
	}
	require.Less(t, least, math.Pi/500/10)
}

func TestNearestMoon(t *testing.T) {
	for _, c := range []struct {
		x, y, distance float64
		moon           int
	}{
		{0, 1, 0, 0}, {1, 0, 0, 0}, {-1, 0, 0, 0}, {0, 1.5, 0.5, 0}, {-2, 0, 1, 0}, {-1, -1, 1, 0},
		{1, -0.5, 0, 1}, {0, 0.5, 0, 1}, {2, 0.5, 0, 1}, {3, 0.5, 1, 1}, {2, 2.5, 2, 1},
		{2, 1.5, 1, 1},
	} {
		moon, distance := NearestMoon(c.x, c.y)
		require.Equal(t, c.moon, moon, c)
		require.InDelta(t, c.distance, distance, 1e-12, c)
	}
	// Against a search over the curve.
	for i := range 200 {
		x, y := 4*math.Sin(float64(i)), 3*math.Cos(1.7*float64(i))
		best := [2]float64{math.Inf(1), math.Inf(1)}
		for a := 0.0; a <= math.Pi; a += 1e-3 {
			best[0] = min(best[0], math.Hypot(x-math.Cos(a), y-math.Sin(a)))
			best[1] = min(best[1], math.Hypot(x-1+math.Cos(a), y-0.5+math.Sin(a)))
		}
		moon, distance := NearestMoon(x, y)
		require.InDelta(t, best[moon], distance, 2e-3)
		require.LessOrEqual(t, distance, best[1-moon])
	}
	require.Equal(t, [2]float64{0.5, 0.5}, MoonShares([]float32{0, 1, 1, -0.5}))
	require.Equal(t, [2]float64{}, MoonShares(nil))
}

func TestSetsAreReproducibleAndFresh(t *testing.T) {
	for _, info := range Sets() {
		short, long := points(t, info.Name+":n=50", 3), points(t, info.Name+":n=400", 3)
		require.True(t, slices.Equal(short, long[:len(short)]), "%s: a point depends on n", info.Name)
		require.False(t, slices.Equal(short, points(t, info.Name+":n=50", 4)), info.Name)

		g, ok := open(t, info.Name+":n=50", 3).(Generator)
		require.True(t, ok)
		fresh, err := g.Fresh(50, rng.NewKey(3).Sub("fresh"))
		require.NoError(t, err)
		require.False(t, slices.Equal(short, fresh), info.Name)
		same, err := g.Fresh(50, rng.NewKey(3))
		require.NoError(t, err)
		require.True(t, slices.Equal(short, same), info.Name)
		_, err = g.Fresh(0, rng.NewKey(3))
		require.ErrorContains(t, err, "n must be from 1")
	}
}

// The keys listed for users are the keys that are read, with those defaults.
func TestListedKeysAreTheDefaults(t *testing.T) {
	for _, info := range Sets() {
		ds := open(t, info.Name, 0)
		x, err := All(ds)
		require.NoError(t, err)
		require.True(t, slices.Equal(x, points(t, info.Name+":"+info.Keys, 0)), info.Name)
		require.NotEmpty(t, info.About)
		require.Equal(t, 2000, ds.Len())
		if sets[info.Name].open == nil {
			require.Equal(t, []int{2}, ds.Shape())
		}
	}
}

func TestRefusedSets(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "no name",
		"two-moon":                    "did you mean two-moons?",
		"zebra":                       "valid: checkerboard, circle, eight-gaussians, gaussian-mixture, grid, pinwheel, rings, spirals, strokes, swiss-roll, two-moons",
		"two-moons:std=1":             "unknown key std; valid for two-moons: n, noise",
		"two-moons:n=0":               "n must be at least 1",
		"two-moons:n=999999999999":    "n must be from 1 to",
		"two-moons:noise=-1":          "must not be negative",
		"two-moons:noise=1e300":       "not finite in float32",
		"two-moons:5":                 "takes no list",
		"rings:radii=1,0":             "radii must be greater than 0",
		"grid:side=1":                 "side must be at least 2",
		"grid:side=9999999":           "side must be at most",
		"checkerboard:range=2.5":      "not a whole number",
		"checkerboard:range=99999999": "range must be at most",
		"gaussian-mixture:k=0":        "k must be at least 1",
		"-":                           "not a file name",
	} {
		_, err := Open(text, Options{})
		require.ErrorContains(t, err, want, text)
	}
	upper, err := Open("Two-Moons", Options{})
	require.NoError(t, err)
	require.Equal(t, 2000, upper.Len())
}

func BenchmarkFresh(b *testing.B) {
	for _, info := range Sets() {
		g := open(b, info.Name+":n=1", 0).(Generator)
		b.Run(info.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Fresh(10_000, rng.NewKey(1)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
