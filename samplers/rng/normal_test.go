package rng

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat/distuv"
)

func normals(k Key, n int, step uint64) []float32 {
	z := make([]float32, n)
	k.Normals(z, step, 0)
	return z
}

// The polynomials against package math in float64, over words spread through all exponents.
func TestBoxMullerAccuracy(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var worstRadius, worstAngle float64
	check := func(a, b uint32) {
		u := (float64(a>>1) + 0.5) * 0x1p-31
		want := math.Sqrt(-2 * math.Log(u))
		// Near u = 1 the float32 ⌊a/2⌋+½ is itself rounded, by at most 2⁻²⁵.
		slack := 0x1p-25 / u
		if u < 0x1p-8 { // ⌊a/2⌋+½ is exact
			slack = 0
		}
		got := float64(radius(a))
		if want > 0.1 {
			worstRadius = max(worstRadius, (math.Abs(got-want)-slack/want)/want)
		} else {
			require.InDelta(t, want*want, got*got, 4*slack)
		}
		// Quarter 0 is centred on the positive cosine, 1 on the negative, 2 and 3 the same with sine.
		x := float64(int32(b<<2)) * 0x1p-31 * math.Pi / 4
		wc, ws := math.Cos(x), math.Sin(x)
		if b>>30&1 == 1 {
			wc = -wc
		}
		if b>>31 == 1 {
			wc, ws = ws, wc
		}
		c, s := direction(b)
		worstAngle = max(worstAngle, math.Abs(float64(c)-wc), math.Abs(float64(s)-ws))
	}
	for range 2_000_000 {
		check(r.Uint32()>>r.UintN(32), r.Uint32()>>r.UintN(32))
	}
	for _, w := range []uint32{0, 1, 2, 3, 1 << 29, 1 << 30, 1 << 31, math.MaxUint32, math.MaxUint32 - 1} {
		check(w, w)
	}
	t.Logf("radius: %.2g relative, direction: %.2g absolute", worstRadius, worstAngle)
	require.Less(t, worstRadius, 2e-7)
	require.Less(t, worstAngle, 1.5e-7)
	require.InDelta(t, math.Sqrt(64*math.Ln2), radius(0), 1e-6)
	require.Zero(t, radius(math.MaxUint32))
}

// Element for element what the package comment says, computed in float64.
func TestNormalsFollowDefinition(t *testing.T) {
	const seed, step, first uint64 = 99, 1 << 35, 1<<40 + 1
	z := make([]float32, 1000)
	NewKey(seed).Normals(z, step, first)
	for i, got := range z {
		n := first + uint64(i)
		w := words4(philox(uint32(n/4), uint32(n/4>>32), uint32(step&0xffffffff), uint32(step>>32), uint32(seed), 0))
		a, b := w[n%4/2*2], w[n%4/2*2+1]
		r := math.Sqrt(-2 * math.Log((float64(a>>1)+0.5)*0x1p-31))
		c, s := math.Cos(float64(int32(b<<2))*0x1p-31*math.Pi/4), math.Sin(float64(int32(b<<2))*0x1p-31*math.Pi/4)
		pair := [][2]float64{{c, s}, {-c, s}, {s, c}, {s, -c}}[b>>30]
		require.InDelta(t, r*pair[n%2], got, 2e-6)
	}
}

// The bytes are part of the interface: stored runs must replay on every version and machine.
func TestNormalsAreStable(t *testing.T) {
	h := fnv.New64a()
	for i := range uint64(4) {
		for _, v := range normals(NewKey(i).Derive(i), 100_000, i) {
			h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
		}
	}
	require.Equal(t, uint64(0x4bc97ac73abc6e78), h.Sum64())
}

// Sample moments to the fourth order, each with the variance of its estimator under N(0, 1).
func TestNormalMoments(t *testing.T) {
	const n = 1 << 21
	for seed := range uint64(4) {
		z := normals(NewKey(seed), n, seed)
		var m [5]float64
		for _, v := range z {
			p := 1.0
			for j := range m {
				m[j] += p
				p *= float64(v)
			}
		}
		want := [5]float64{1, 0, 1, 0, 3}
		variance := [5]float64{0, 1, 2, 15, 96} // E z²ʲ − (E zʲ)²
		for j := 1; j <= 4; j++ {
			score := (m[j]/n - want[j]) / math.Sqrt(variance[j]/n)
			require.Less(t, math.Abs(score), 4.5, "moment %d, seed %d", j, seed)
		}
	}
}

// √n·D of Kolmogorov and Smirnov; above 2.2 has probability 1.2e-4.
func kolmogorov(z []float32, cdf func(float64) float64) float64 {
	s := slices.Sorted(slices.Values(z))
	n, d := float64(len(s)), 0.0
	for i, v := range s {
		p := cdf(float64(v))
		d = max(d, p-float64(i)/n, float64(i+1)/n-p)
	}
	return d * math.Sqrt(n)
}

func TestNormalDistribution(t *testing.T) {
	for seed := range uint64(8) {
		z := normals(NewKey(seed).Sub("ks"), 200_000, seed)
		require.Less(t, kolmogorov(z, distuv.UnitNormal.CDF), 2.2, "seed %d", seed)
	}
}

// How often |z| passes each threshold, as the z-score of a binomial count.
func TestNormalTails(t *testing.T) {
	const n, chunk = 1 << 25, 1 << 16
	thresholds := []float64{1, 2, 3, 3.5, 4, 4.5}
	var upper, lower [6]float64
	z := make([]float32, chunk)
	k := NewKey(77)
	for i := range uint64(n / chunk) {
		k.Normals(z, 3, i*chunk)
		for _, v := range z {
			for j, a := range thresholds {
				if float64(v) > a {
					upper[j]++
				} else if float64(v) < -a {
					lower[j]++
				} else {
					break
				}
			}
		}
	}
	for j, a := range thresholds {
		p := distuv.UnitNormal.Survival(a)
		sd := math.Sqrt(n * p * (1 - p))
		require.Less(t, math.Abs(upper[j]-n*p)/sd, 4.5, "z > %v: %v", a, upper[j])
		require.Less(t, math.Abs(lower[j]-n*p)/sd, 4.5, "z < -%v: %v", a, lower[j])
	}
}

// √n·corr(a, b) and √n·corr(a², b²), both about N(0, 1) for independent normals.
func correlation(a, b []float32) (linear, square float64) {
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		linear += x * y
		square += (x*x - 1) * (y*y - 1) / 2
	}
	n := math.Sqrt(float64(len(a)))
	return linear / n, square / n
}

func TestNormalIndependence(t *testing.T) {
	const n = 1 << 18
	k := NewKey(5)
	z := normals(k, n+64, 0)
	other := map[string][]float32{
		"next step":       normals(k, n, 1),
		"far step":        normals(k, n, 1<<40),
		"next seed":       normals(NewKey(6), n, 0),
		"high seed":       normals(NewKey(5+1<<32), n, 0),
		"child":           normals(k.Derive(0), n, 0),
		"text child":      normals(k.Sub("init"), n, 0),
		"next stream":     normals(Key{Seed: 5, Stream: 1}, n, 0),
		"next stream −1":  normals(Key{Seed: 5, Stream: 1}, n, math.MaxUint64),
		"uniforms of key": gaussianised(k, n),
	}
	for _, lag := range []int{1, 2, 3, 4, 5, 8, 16, 31, 32, 64} {
		other["lag "+strconv.Itoa(lag)] = z[lag : lag+n]
	}
	for name, b := range other {
		linear, square := correlation(z[:n], b)
		require.Less(t, math.Abs(linear), 4.5, name)
		require.Less(t, math.Abs(square), 4.5, name)
	}
	siblings := normals(k.Derive(0), n, 0)
	linear, square := correlation(siblings, normals(k.Derive(1), n, 0))
	require.Less(t, math.Abs(linear), 4.5)
	require.Less(t, math.Abs(square), 4.5)
}

func gaussianised(k Key, n int) []float32 {
	u := make([]float32, n)
	k.Uniforms(u, 0, 0)
	for i, v := range u {
		u[i] = float32(distuv.UnitNormal.Quantile(float64(v)))
	}
	return u
}

// Any cut of a step into pieces gives the bytes of the whole.
func TestNormalsDoNotDependOnTiles(t *testing.T) {
	const n = 3000
	k := NewKey(9).Sub("tiles")
	whole := normals(k, n, 4)
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		got := make([]float32, n)
		for at := 0; at < n; {
			m := min(n-at, r.IntN(1<<r.IntN(10)+1))
			k.Normals(got[at:at+m], 4, uint64(at))
			at += m
		}
		require.Equal(t, whole, got)
	}
}

func TestLangevinIsNormalsThenUpdate(t *testing.T) {
	k := NewKey(1).Sub("langevin")
	r := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		n, first := r.IntN(400), r.Uint64()>>r.UintN(64)
		x, g := randomSlice(r, n), randomSlice(r, n+r.IntN(3))
		eta, sigma := r.Float32(), r.Float32()
		z, want := make([]float32, n), slices.Clone(x)
		k.Normals(z, 7, first)
		for i := range want {
			want[i] = float32(want[i]-float32(eta*g[i])) + float32(sigma*z[i])
		}
		k.Langevin(x, g, eta, sigma, 7, first)
		require.Equal(t, want, x)
	}
}

func TestLangevinEdges(t *testing.T) {
	k := NewKey(1)
	x := []float32{1, 2, 3}
	k.Langevin(x, []float32{10, 10, 10}, 0.5, 0, 0, 0)
	require.Equal(t, []float32{-4, -3, -2}, x, "sigma = 0 is plain descent")

	k.Langevin(x, []float32{10, 10}, 0.5, 0, 0, 0)
	require.Equal(t, []float32{-9, -8, -2}, x, "stops at the shorter slice")
	k.Langevin(nil, nil, 1, 1, 0, 0)
	k.Normals(nil, 0, 3)

	x = make([]float32, 200)
	g := make([]float32, 200)
	g[3], g[150] = float32(math.NaN()), float32(math.Inf(1))
	k.Langevin(x, g, 1, 1, 0, 0)
	require.True(t, math.IsNaN(float64(x[3])))
	require.True(t, math.IsInf(float64(x[150]), -1))
}

// The stationary law of the unadjusted Langevin walk on E = x²/2 is N(0, 1/(1−η/2)).
func TestLangevinStationaryVariance(t *testing.T) {
	const n, steps, eta = 1 << 14, 200, 0.1
	k := NewKey(21)
	x := make([]float32, n)
	for step := range uint64(steps) {
		k.Langevin(x, x, eta, float32(math.Sqrt(2*eta)), step, 0)
	}
	variance := 0.0
	for _, v := range x {
		variance += float64(v) * float64(v) / n
	}
	want := 1 / (1 - eta/2)
	score := (variance/want - 1) / math.Sqrt(2.0/n)
	require.Less(t, math.Abs(score), 4.5, "variance %v, want %v", variance, want)
}

func TestNoAllocations(t *testing.T) {
	k := NewKey(1)
	x, g := make([]float32, 333), make([]float32, 333)
	p := make([]int, 10)
	require.Zero(t, testing.AllocsPerRun(20, func() {
		c := k.Sub("a").Derive(1, 2)
		c.Normals(x, 1, 5)
		c.Langevin(x, g, 0.1, 0.2, 1, 3)
		c.Uniforms(x, 1, 5)
		c.Rademacher(x, 1, 5)
		c.PermInto(p, 1)
		_ = c.IntN(7, 1, 2)
	}))
}

func randomSlice(r *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(r.NormFloat64())
	}
	return s
}
