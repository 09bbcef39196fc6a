package data

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// point turns a point's own uniform numbers in (0, 1) and standard normals
// into its coordinates.
type point func(u []float64, z []float32) (x, y float64)

// set is one row of the table of sets: how many random numbers a point takes
// and how its keys are read, or how a set of images is opened.
type set struct {
	uniforms, normals int
	keys              string // with defaults, as in a description; n comes with every set
	about             string
	read              func(s *spec.Spec) point
	classes           func(s *spec.Spec) int                           // parts that a point's first uniform number chooses from; nil: no classes
	open              func(s *spec.Spec, k rng.Key) (Generator, error) // instead of read: a set of its own kind
}

var sets = map[string]set{
	"two-moons":        {2, 2, "noise=0.05", "two half circles that reach into each other; 2 classes", twoMoons, fixed(2), nil},
	"eight-gaussians":  {1, 2, "std=0.02:scale=2", "eight Gaussians on a circle; 8 classes", eightGaussians, fixed(8), nil},
	"gaussian-mixture": {1, 2, "k=8:std=0.05:radius=1", "k Gaussians on a circle; k classes", gaussianMixture, counted("k", 8), nil},
	"swiss-roll":       {1, 2, "noise=0.05:arclength=3", "a spiral strip, centred and scaled to a mean standard deviation of 1/2", swissRoll, nil, nil},
	"circle":           {1, 2, "noise=0.05:radius=1", "a circle", circle, nil, nil},
	"rings":            {2, 2, "radii=0.75,1.5,2.25,3:noise=0.08", "circles about one centre, equally likely; a class each", rings, ringCount, nil},
	"checkerboard":     {3, 2, "range=4:noise=0", "uniform on every other unit square of [-range, range]²; noise blurs the edges", checkerboard, nil, nil},
	"pinwheel":         {2, 3, "classes=5:noise=0.05:radial-scale=2:angular-scale=0.1:spiral-scale=5", "curved blades; a class each", pinwheel, counted("classes", 5), nil},
	"grid":             {1, 2, "side=10:range=1:noise=0.01", "the side×side nodes of a grid on [-range, range]²", grid, nil, nil},
	"strokes":          {keys: "size=16:vary=1:shift=0,0:rotate=0:noise=0:symmetric=false", about: "images [1,size,size] of ten digit-like classes, upright and centred", open: openStrokes},
	"spirals":          {2, 2, "arms=2:turns=1.5:noise=0.1", "arms that wind about the origin; a class each", spirals, counted("arms", 2), nil},
}

func fixed(n int) func(*spec.Spec) int { return func(*spec.Spec) int { return n } }

func counted(key string, def int) func(*spec.Spec) int {
	return func(s *spec.Spec) int { return s.Count(key, def, 1) }
}

// SetInfo describes a set by name.
type SetInfo struct {
	Name  string
	Keys  string // its keys and their defaults, as after the name in a description
	About string
}

// Sets lists the sets by name, in alphabetical order.
func Sets() []SetInfo {
	var out []SetInfo
	for _, name := range setNames() {
		out = append(out, SetInfo{name, fmt.Sprintf("n=%d:%s", defaultPoints, sets[name].keys), sets[name].about})
	}
	return out
}

func setNames() []string { return slices.Sorted(maps.Keys(sets)) }

const (
	defaultPoints = 2000
	maxPoints     = 1 << 28 // 2 GiB of coordinates
)

// generated is a set of points [n, 2].
type generated struct {
	Memory
	set  set
	draw point
}

func openSet(s *spec.Spec, k rng.Key) (Generator, error) {
	g := &generated{set: sets[strings.ToLower(s.Name)]}
	if g.set.open != nil {
		return g.set.open(s, k)
	}
	n := s.Count("n", defaultPoints, 1)
	g.draw = g.set.read(s)
	classes := 0
	if g.set.classes != nil {
		classes = g.set.classes(s)
	}
	if err := s.Done(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	x, err := g.Fresh(n, k)
	if err != nil {
		return nil, err
	}
	m, err := newMemory([]int{2}, x)
	if err != nil {
		return nil, fmt.Errorf("data: %s draws points that are not finite in float32; make its keys smaller", s)
	}
	g.Memory = *m
	if classes == 0 {
		return g, nil
	}
	return &classed{g, classes, g.parts(n, classes, k)}, nil
}

// classed is a set whose points belong to classes.
type classed struct {
	*generated
	classes int
	labels  []int
}

func (c *classed) Classes() int  { return c.classes }
func (c *classed) Labels() []int { return c.labels }

// FreshLabelled draws n points with their classes.
func (c *classed) FreshLabelled(n int, k rng.Key) ([]float32, []int, error) {
	x, err := c.Fresh(n, k)
	if err != nil {
		return nil, nil, err
	}
	return x, c.parts(n, c.classes, k), nil
}

// parts are the classes of the n points that k draws.
func (g *generated) parts(n, classes int, k rng.Key) []int {
	uniform, labels := k.Sub("uniform"), make([]int, n)
	for i := range labels {
		labels[i] = pick(uniform.Float64(0, uint64(i)), classes)
	}
	return labels
}

// Fresh draws n points. Point i depends on k and i alone.
func (g *generated) Fresh(n int, k rng.Key) ([]float32, error) {
	if n < 1 || n > maxPoints {
		return nil, fmt.Errorf("data: n must be from 1 to %d, not %d", maxPoints, n)
	}
	uniform, normal := k.Sub("uniform"), k.Sub("normal")
	z := make([]float32, n*g.set.normals)
	normal.Normals(z, 0, 0)
	u := make([]float64, g.set.uniforms)
	out := make([]float32, 2*n)
	for i := range n {
		for j := range u {
			u[j] = uniform.Float64(uint64(j), uint64(i))
		}
		x, y := g.draw(u, z[i*g.set.normals:][:g.set.normals])
		out[2*i], out[2*i+1] = float32(x), float32(y)
	}
	return out, nil
}

// pick splits (0, 1) into k equal parts and returns the one u is in.
func pick(u float64, k int) int { return min(int(u*float64(k)), k-1) }

// twoMoons: (cos θ, sin θ) and (1 − cos θ, ½ − sin θ) with θ uniform on (0, π).
func twoMoons(s *spec.Spec) point {
	noise := s.NonNegative("noise", 0.05)
	return func(u []float64, z []float32) (float64, float64) {
		sin, cos := math.Sincos(math.Pi * u[1])
		x, y := cos, sin
		if pick(u[0], 2) == 1 {
			x, y = 1-cos, 0.5-sin
		}
		return blur(x, y, noise, z)
	}
}

// atMost fails for a count so large that float32 or int could not tell cells
// apart.
func atMost(s *spec.Spec, key string, value, limit int) {
	if value > limit {
		s.Fail("%s must be at most %d, not %d", key, limit, value)
	}
}

func blur(x, y, noise float64, z []float32) (float64, float64) {
	return x + noise*float64(z[0]), y + noise*float64(z[1])
}

// onCircle is k Gaussians at angles 2πj/k.
func onCircle(k int, radius, std float64) point {
	return func(u []float64, z []float32) (float64, float64) {
		sin, cos := math.Sincos(2 * math.Pi * float64(pick(u[0], k)) / float64(k))
		return blur(radius*cos, radius*sin, std, z)
	}
}

func eightGaussians(s *spec.Spec) point {
	return onCircle(8, s.Positive("scale", 2), s.NonNegative("std", 0.02))
}

func gaussianMixture(s *spec.Spec) point {
	return onCircle(s.Count("k", 8, 1), s.NonNegative("radius", 1), s.NonNegative("std", 0.05))
}

// swissRoll: t (cos t, sin t) with t uniform on (aπ, 3aπ), noise added, then
// centred and divided by twice the mean of the two standard deviations, both
// those of the density and not of the sample, so that points are independent.
func swissRoll(s *spec.Spec) point {
	noise, a := s.NonNegative("noise", 0.05), s.Positive("arclength", 3)*math.Pi
	// Antiderivatives of t cos t, t sin t, t² and t² cos 2t.
	mean := func(f func(t float64) float64) float64 { return (f(3*a) - f(a)) / (2 * a) }
	mx := mean(func(t float64) float64 { return t*math.Sin(t) + math.Cos(t) })
	my := mean(func(t float64) float64 { return math.Sin(t) - t*math.Cos(t) })
	t2 := mean(func(t float64) float64 { return t * t * t / 3 })
	c2 := mean(func(t float64) float64 {
		sin, cos := math.Sincos(2 * t)
		return t*t*sin/2 + t*cos/2 - sin/4
	})
	sx := math.Sqrt((t2+c2)/2 - mx*mx + noise*noise)
	sy := math.Sqrt((t2-c2)/2 - my*my + noise*noise)
	return func(u []float64, z []float32) (float64, float64) {
		t := a * (1 + 2*u[0])
		sin, cos := math.Sincos(t)
		x, y := blur(t*cos, t*sin, noise, z)
		return (x - mx) / (sx + sy), (y - my) / (sx + sy)
	}
}

func circle(s *spec.Spec) point {
	noise, radius := s.NonNegative("noise", 0.05), s.Positive("radius", 1)
	return func(u []float64, z []float32) (float64, float64) {
		sin, cos := math.Sincos(2 * math.Pi * u[0])
		return blur(radius*cos, radius*sin, noise, z)
	}
}

var defaultRadii = []float64{0.75, 1.5, 2.25, 3}

func ringCount(s *spec.Spec) int { return len(s.Floats("radii", defaultRadii...)) }

func rings(s *spec.Spec) point {
	radii, noise := s.Floats("radii", defaultRadii...), s.NonNegative("noise", 0.08)
	for _, r := range radii {
		if r <= 0 {
			s.Fail("radii must be greater than 0, not %v", r)
		}
	}
	return func(u []float64, z []float32) (float64, float64) {
		r := radii[pick(u[0], len(radii))]
		sin, cos := math.Sincos(2 * math.Pi * u[1])
		return blur(r*cos, r*sin, noise, z)
	}
}

// checkerboard: uniform on the unit squares of [−r, r)² with ⌊x⌋ + ⌊y⌋ odd.
func checkerboard(s *spec.Spec) point {
	r, noise := s.Count("range", 4, 1), s.NonNegative("noise", 0)
	atMost(s, "range", r, 1<<20)
	return func(u []float64, z []float32) (float64, float64) {
		// Each of the 2r columns has r such squares: every other row.
		cell := pick(u[0], 2*r*r)
		column := cell/r - r
		row := 2*(cell%r) - r
		if (column+row)%2 == 0 {
			row++
		}
		x, y := within(column, u[1]), within(row, u[2])
		return blur(x, y, noise, z)
	}
}

// within is cell + u, kept below cell + 1 also after rounding to float32.
func within(cell int, u float64) float64 {
	top := math.Nextafter32(float32(cell+1), float32(cell))
	return math.Min(float64(cell)+u, float64(top))
}

// pinwheel: r = a√u and angle 2πc/k + b√u + σ·z for class c of k.
func pinwheel(s *spec.Spec) point {
	k, noise := s.Count("classes", 5, 1), s.NonNegative("noise", 0.05)
	radial, angular, spiral := s.Positive("radial-scale", 2), s.NonNegative("angular-scale", 0.1), s.Float("spiral-scale", 5)
	return func(u []float64, z []float32) (float64, float64) {
		root := math.Sqrt(u[1])
		angle := 2*math.Pi*float64(pick(u[0], k))/float64(k) + spiral*root + angular*float64(z[2])
		sin, cos := math.Sincos(angle)
		return blur(radial*root*cos, radial*root*sin, noise, z)
	}
}

func grid(s *spec.Spec) point {
	side, r, noise := s.Count("side", 10, 2), s.Positive("range", 1), s.NonNegative("noise", 0.01)
	atMost(s, "side", side, 1<<20)
	at := func(i int) float64 { return r * (2*float64(i)/float64(side-1) - 1) }
	return func(u []float64, z []float32) (float64, float64) {
		node := pick(u[0], side*side)
		return blur(at(node%side), at(node/side), noise, z)
	}
}

// spirals: angle φ = 2π·turns·√u from the arm's start and radius φ/3.
func spirals(s *spec.Spec) point {
	arms, turns, noise := s.Count("arms", 2, 1), s.Positive("turns", 1.5), s.NonNegative("noise", 0.1)
	return func(u []float64, z []float32) (float64, float64) {
		phi := 2 * math.Pi * turns * math.Sqrt(u[1])
		sin, cos := math.Sincos(phi + 2*math.Pi*float64(pick(u[0], arms))/float64(arms))
		return blur(phi/3*cos, phi/3*sin, noise, z)
	}
}
