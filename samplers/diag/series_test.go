package diag

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// lcg is a 64-bit linear congruential generator of uniforms in (0, 1).
type lcg uint64

func (s *lcg) next() float64 {
	*s = *s*6364136223846793005 + 1442695040888963407
	return (float64(*s>>11) + 0.5) / (1 << 53)
}

// ar1 gives chains x ← a·x + z from 0, z by Box-Muller from an lcg seeded with
// the number of the chain, counted from 1.
func ar1(chains, draws int, a float64) []float64 {
	var x []float64
	for c := range chains {
		u, v := lcg(c+1), 0.0
		for range draws {
			radius, angle := u.next(), u.next()
			v = a*v + math.Sqrt(-2*math.Log(radius))*math.Cos(2*math.Pi*angle)
			x = append(x, v)
		}
	}
	return x
}

func mapped(x []float64, f func(i int, v float64) float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = f(i, v)
	}
	return out
}

// figures of ArviZ 0.23.4 with NumPy 2.4.6 and SciPy 1.17.1 in float64.
var figures = []struct {
	name   string
	chains int
	x      []float64
	// ESS bulk, tail, mean, sd, median, quantile 0.1; R̂; MCSE mean, sd, quantile 0.1
	want [10]float64
}{
	{"reference", 4, ar1(4, 1000, .5), [10]float64{1162.8468219724475, 2221.7902782604706, 1161.0114978239492, 2387.919963661179, 1563.1436977577969, 1929.2701845679317, 1.000519039035816, 0.033660560364699894, 0.01715326423148023, 0.047710766207585964}},
	{"odd number of draws", 3, ar1(3, 101, .5), [10]float64{62.61243161157624, 144.69248001053214, 60.09684561174418, 196.39923390680894, 165.15551355856365, 163.01367741136036, 1.0469022916537079, 0.14527270840728107, 0.05665815411347308, 0.21045130491256714}},
	{"one chain", 1, ar1(1, 500, .5), [10]float64{110.8901727395692, 248.73636412209964, 108.97112056018479, 317.0524508106034, 139.8423880811603, 178.59589295047311, math.NaN(), 0.11229301736291335, 0.045767467883424846, 0.11726623773574829}},
	{"ties", 4, mapped(ar1(4, 250, .5), func(_ int, v float64) float64 { return math.RoundToEven(v*2) / 2 }), [10]float64{287.31404593829626, 546.9180554242191, 287.1544804730963, 648.7990036791892, 453.24772295463185, 478.87164746546534, 1.008187373606309, 0.06847598966945619, 0.03302102996352612, 0.0}},
	{"heavy tails", 2, mapped(ar1(2, 64, .5), func(_ int, v float64) float64 { return v * v * v }), [10]float64{38.93375660467465, 60.926077367825016, 49.75097843812263, 83.7166356073143, 63.3492679585788, 101.60544472489063, 1.0040061684746275, 0.8342319197887015, 1.3447667654393918, 1.8542725443840027}},
	{"shifted chains", 4, mapped(ar1(4, 100, .5), func(i int, v float64) float64 { return v + float64(i/100)*.5 }), [10]float64{19.41748082349122, 122.58330953104264, 19.070366863564935, 199.15679182668788, 62.276153545269715, 208.397727336589, 1.1513475723101512, 0.2891983199558324, 0.06740958053645615, 0.10568845272064209}},
	{"antithetic", 4, ar1(4, 400, -.7), [10]float64{5126.591972249479, 1401.0666957061933, 5126.591972249479, 648.8258756334908, 3989.791331126881, 1426.5166847207931, 1.0034715456664953, 0.019335909910864913, 0.038482905098597336, 0.07101011276245117}},
	{"slow", 4, ar1(4, 300, .99), [10]float64{9.840660544559396, 22.18068651139354, 9.37898523574099, 15.821635363106171, 16.78158139140913, 17.915117966837176, 1.3403084892642079, 2.263092965735904, 1.1438932360204337, 3.6291630268096924}},
	{"four draws", 2, ar1(2, 4, .5), [10]float64{7.224719895935548, 7.224719895935548, 7.224719895935548, 7.224719895935548, 7.224719895935548, 7.224719895935548, 1.0997144138537647, 0.3276835907791531, 0.12282569960609857, 0.215631902217865}},
	{"five draws", 4, ar1(4, 5, .5), [10]float64{19.265919722494797, 16.0, 19.265919722494797, 19.265919722494797, 19.265919722494797, 19.265919722494797, 1.758113454564767, 0.19346570901104188, 0.13658957994783552, 0.23012858629226685}},
	{"many chains", 50, ar1(50, 20, .5), [10]float64{332.5942252928873, 534.5961887477317, 331.93861300969223, 665.9487788488135, 495.6050472823062, 567.2808969346087, 1.129520375764924, 0.06201993003901737, 0.029304654330737992, 0.07968676090240479}},
	{"one chain too wide", 4, mapped(ar1(4, 200, .5), func(i int, v float64) float64 {
		if i/200 == 3 {
			return 4 * v
		}
		return v
	}), [10]float64{193.00852433006193, 34.528318354337024, 204.02604857768912, 19.40509586294117, 273.89569401895534, 32.42790908366599, 1.184103996547651, 0.17697380347136635, 0.8160850454211616, 0.8833864331245422}},
	{"atom", 2, mapped(ar1(2, 100, .5), func(_ int, v float64) float64 { return max(v, 0) }), [10]float64{108.50969297670325, 93.46625659023297, 99.4489395662905, 97.371014710975, 135.0944721656875, 135.0944721656875, 1.0244304736377896, 0.06604721267172295, 0.06756210936814841, 0.0}},
	{"one chain stuck", 2, mapped(ar1(2, 50, .5), func(i int, v float64) float64 {
		if i < 50 {
			return 1
		}
		return v
	}), [10]float64{42.130952745232506, 56.87159240458736, 37.54719071382825, 9.237976012246575, 27.641031025899206, 22.969711126683826, 2.299871658907041, 0.1437934718978748, 0.2567118854888462, 0.5112098529934883}},
	{"constant", 2, mapped(make([]float64, 40), func(int, float64) float64 { return 3 }), [10]float64{40.0, 40.0, 40.0, 40.0, 40.0, 40.0, math.NaN(), 0.0, math.NaN(), 0.0}},
}

func TestFigures(t *testing.T) {
	x := figures[0].x
	require.InEpsilon(t, -0.010519134558370813, mean(x), 1e-11)
	require.InEpsilon(t, 0.9986206240817016, x[len(x)-1], 1e-13)
	for k, f := range figures {
		if k > 0 { // float32 values, as samplers give: ties are then the same for every libm
			f.x = mapped(f.x, func(_ int, v float64) float64 { return float64(float32(v)) })
		}
		got := [10]float64{
			ESSBulk(f.x, f.chains), ESSTail(f.x, f.chains), ESSMean(f.x, f.chains), ESSSD(f.x, f.chains),
			ESSMedian(f.x, f.chains), ESSQuantile(f.x, f.chains, .1), RHat(f.x, f.chains),
			MCSEMean(f.x, f.chains), MCSESD(f.x, f.chains), MCSEQuantile(f.x, f.chains, .1),
		}
		for i, want := range f.want {
			close8(t, want, got[i], "%s, figure %d", f.name, i)
		}
	}
}

func close8(t *testing.T, want, got float64, message string, args ...any) {
	t.Helper()
	switch {
	case math.IsNaN(want):
		require.True(t, math.IsNaN(got), append([]any{message}, args...)...)
	case want == 0:
		require.Zero(t, got, append([]any{message}, args...)...)
	default:
		require.InEpsilon(t, want, got, 1e-8, append([]any{message}, args...)...)
	}
}

// Summarize works on float32 draws; the figures of a coordinate are those of
// the functions of one series.
func TestSummarizeAgreesWithSeries(t *testing.T) {
	for _, shape := range []struct{ chains, draws int }{{4, 250}, {3, 101}, {1, 64}, {2, 5}, {20, 300}} {
		dim := 7
		d := Draws{X: make([]float32, shape.chains*shape.draws*dim), Chains: shape.chains, Draws: shape.draws, Dim: dim}
		for j := range dim {
			for i, v := range ar1(shape.chains, shape.draws, float64(j)/8) {
				d.X[i*dim+j] = float32(v)
			}
		}
		for i := range shape.chains * shape.draws {
			d.X[i*dim+5] = float32(math.Round(float64(d.X[i*dim+5]))) // ties, and both zeros
			d.X[i*dim+6] = 7
		}
		one, err := Summarize(context.Background(), d, Options{Workers: 1, Quantiles: []float64{.5, .9}})
		require.NoError(t, err)
		three, err := Summarize(context.Background(), d, Options{Workers: 3, Quantiles: []float64{.5, .9}})
		require.NoError(t, err)
		for j := range dim {
			x, c := d.Coordinate(nil, j), shape.chains
			for name, pair := range map[string][2]float64{
				"bulk": {ESSBulk(x, c), one.ESSBulk[j]}, "tail": {ESSTail(x, c), one.ESSTail[j]},
				"mean": {ESSMean(x, c), one.ESSMean[j]}, "sd": {ESSSD(x, c), one.ESSSD[j]},
				"rhat": {RHat(x, c), one.RHat[j]}, "mcse": {MCSEMean(x, c), one.MCSE[j]}, "mcse sd": {MCSESD(x, c), one.MCSESD[j]},
				"median": {ESSMedian(x, c), one.Quantiles[0].ESS[j]}, "quantile": {MCSEQuantile(x, c, .9), one.Quantiles[1].MCSE[j]},
				"workers": {three.ESSBulk[j], one.ESSBulk[j]}, "workers, rhat": {three.RHat[j], one.RHat[j]},
			} {
				same(t, pair[0], pair[1], "%v, coordinate %d, %s", shape, j, name)
			}
			require.Equal(t, j == 6, one.Constant[j])
		}
	}
}

func same(t *testing.T, want, got float64, message string, args ...any) {
	t.Helper()
	require.Equal(t, math.Float64bits(want), math.Float64bits(got), append([]any{message + ": %v, %v"}, append(args, want, got)...)...)
}

// The ESS of an AR(1) process is N(1−a)/(1+a) for the mean, and that of its
// square, whose autocorrelation is a²ᵗ, N(1−a²)/(1+a²).
func TestESSOfAR1(t *testing.T) {
	const chains, draws, seeds = 4, 4000, 20
	for _, a := range []float64{0, .3, .9, -.5} {
		r := rand.New(rand.NewPCG(uint64(1000*(a+1)), 1))
		var location, square []float64
		for range seeds {
			x := make([]float64, chains*draws)
			for i := range x {
				if i%draws == 0 {
					x[i] = r.NormFloat64() / math.Sqrt(1-a*a) // stationary
				} else {
					x[i] = a*x[i-1] + r.NormFloat64()
				}
			}
			location = append(location, ESSMean(x, chains)/(chains*draws))
			square = append(square, ESSSD(x, chains)/(chains*draws))
		}
		// Truncating the sum of autocorrelations leaves a bias of about one percent.
		near(t, (1-a)/(1+a), location, .02, "mean, a = %v", a)
		near(t, (1-a*a)/(1+a*a), square, .02, "square, a = %v", a)
	}
}

// near requires the mean of values to be want within 4 standard errors, and the
// bias, relative to want, that the estimator is known to have.
func near(t *testing.T, want float64, values []float64, bias float64, message string, args ...any) {
	t.Helper()
	se := math.Sqrt(variance(values) / float64(len(values)))
	require.Less(t, math.Abs(mean(values)-want), 4*se+bias*math.Abs(want),
		append([]any{message + ": %v ± %v, want %v"}, append(args, mean(values), se, want)...)...)
}

func TestInvariances(t *testing.T) {
	const chains, draws = 4, 200
	x := ar1(chains, draws, .6)
	reversed := make([]float64, 0, len(x))
	for c := chains - 1; c >= 0; c-- {
		reversed = append(reversed, x[c*draws:(c+1)*draws]...)
	}
	for name, f := range map[string]func([]float64, int) float64{"bulk": ESSBulk, "tail": ESSTail, "mean": ESSMean, "sd": ESSSD, "rhat": RHat, "mcse": MCSEMean} {
		require.InEpsilon(t, f(x, chains), f(reversed, chains), 1e-12, "%s: chains permuted", name)
	}
	// Ranks see nothing of a monotone map.
	warped := mapped(x, func(_ int, v float64) float64 { return math.Exp(v) })
	require.Equal(t, ESSBulk(x, chains), ESSBulk(warped, chains))
	// An affine map changes no ESS.
	affine := mapped(x, func(_ int, v float64) float64 { return 1024 - 8*v })
	for name, f := range map[string]func([]float64, int) float64{"bulk": ESSBulk, "mean": ESSMean, "sd": ESSSD, "rhat": RHat} {
		require.InEpsilon(t, f(x, chains), f(affine, chains), 1e-9, "%s: affine", name)
	}
	require.InEpsilon(t, 8*MCSEMean(x, chains), MCSEMean(affine, chains), 1e-9)
}

func TestDegenerateSeries(t *testing.T) {
	x := ar1(2, 20, .5)
	broken := append([]float64{math.NaN()}, x[1:]...)
	for name, f := range map[string]func([]float64, int) float64{
		"bulk": ESSBulk, "tail": ESSTail, "mean": ESSMean, "sd": ESSSD, "median": ESSMedian, "rhat": RHat, "mcse": MCSEMean, "mcse sd": MCSESD,
	} {
		require.True(t, math.IsNaN(f(broken, 2)), "%s with a NaN", name)
		require.True(t, math.IsNaN(f(x[:6], 2)), "%s of 3 draws", name)
		require.True(t, math.IsNaN(f(x, 3)), "%s of chains of unequal length", name)
		require.True(t, math.IsNaN(f(x, 0)), "%s without chains", name)
		require.True(t, math.IsNaN(f(nil, 1)), "%s of nothing", name)
	}
	require.True(t, math.IsNaN(RHat(x, 1)))
	apart := mapped(make([]float64, 16), func(i int, _ float64) float64 { return float64(i / 8) })
	require.True(t, math.IsInf(RHat(apart, 2), 1), "chains that stand still apart")
	infinite := append([]float64{math.Inf(1)}, x[1:]...)
	require.True(t, math.IsNaN(ESSMean(infinite, 2)))
	require.False(t, math.IsNaN(ESSBulk(infinite, 2)), "ranks know infinities")
}

func TestSummarizeDegenerate(t *testing.T) {
	ctx := context.Background()
	nan := float32(math.NaN())
	s, err := Summarize(ctx, Draws{X: []float32{1, nan, 2, 0, 3, 0}, Chains: 1, Draws: 3, Dim: 2}, Options{})
	require.NoError(t, err)
	require.Equal(t, 2.0, s.Mean[0])
	require.Equal(t, 1.0, s.SD[0])
	require.True(t, math.IsNaN(s.Mean[1]))
	require.True(t, math.IsNaN(s.ESSBulk[0]))
	require.Equal(t, []int{0, 1}, s.NaNs)
	text, err := s.MarshalJSON()
	require.NoError(t, err)
	require.Contains(t, string(text), `"mean":[2,null]`)
	require.Contains(t, string(text), `"rhat":[null,null]`)

	for _, d := range []Draws{{}, {X: make([]float32, 7), Chains: 2, Draws: 2, Dim: 2}, {X: make([]float32, 8), Chains: 2, Draws: 2, Dim: 3}, {X: make([]float32, 8), Chains: -2, Draws: -2, Dim: 2}} {
		_, err := Summarize(ctx, d, Options{})
		require.Error(t, err)
	}
	_, err = Summarize(ctx, Draws{X: make([]float32, 8), Chains: 2, Draws: 4, Dim: 1}, Options{Quantiles: []float64{1.5}})
	require.ErrorContains(t, err, "1.5")
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	_, err = Summarize(stopped, Draws{X: make([]float32, 8), Chains: 2, Draws: 4, Dim: 1}, Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestSortEntries(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 100, radixWorth, 3 * radixWorth} {
		x := make([]float64, n)
		for i := range x {
			x[i] = r.NormFloat64() * math.Exp(20*r.NormFloat64())
			if i%3 == 0 {
				x[i] = float64(float32(r.IntN(9) - 4))
			}
		}
		x[0] = math.Inf(-1)
		sorted, _ := sortEntries(make([]entry, n), make([]entry, n), x)
		seen := make([]bool, n)
		for k, e := range sorted {
			require.Equal(t, x[e.i], e.value())
			require.False(t, seen[e.i])
			seen[e.i] = true
			if k > 0 {
				require.LessOrEqual(t, sorted[k-1].value(), e.value())
			}
		}
	}
}

func TestEBFMI(t *testing.T) {
	got, err := EBFMI(ar1(2, 200, .5), 2)
	require.NoError(t, err)
	require.InEpsilon(t, 1.1287175055120098, got[0], 1e-12)
	require.InEpsilon(t, 1.008188778093071, got[1], 1e-12)
	got, err = EBFMI([]float32{1, 1, 5}, 3)
	require.NoError(t, err)
	require.True(t, math.IsNaN(got[0]))
	_, err = EBFMI([]float32{1, 1, 5}, 2)
	require.Error(t, err)
	require.Equal(t, 1.0, EnergyRounding([]float32{3, -1 << 24}))
}
