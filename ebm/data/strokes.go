package data

import (
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// strokes are images [1, H, W] of ten digit-like figures.
type strokes struct {
	Memory
	labels []int
	pen    pen
}

// pen is how figures are drawn.
type pen struct {
	size      int     // H = W, pixels
	vary      float64 // factor of all variations
	shift     [2]float64
	rotate    float64 // degrees, clockwise as the image is seen
	noise     float64
	symmetric bool // −1…1 instead of 0…1
}

const (
	minStrokes, maxStrokes = 8, 256 // size of images
	variations             = 7      // uniform numbers of one image besides its class
)

func openStrokes(s *spec.Spec, k rng.Key) (Generator, error) {
	n := s.Count("n", defaultPoints, 1)
	p := pen{
		size: s.Count("size", 16, minStrokes), vary: s.NonNegative("vary", 1), rotate: s.Float("rotate", 0),
		noise: s.NonNegative("noise", 0), symmetric: s.Bool("symmetric", false),
	}
	atMost(s, "size", p.size, maxStrokes)
	if p.vary > 3 {
		s.Fail("vary must be at most 3, not %v", p.vary)
	}
	shift := s.Floats("shift", 0, 0)
	if len(shift) > 2 {
		s.Fail("shift takes one number (to the right) or two (to the right, downwards), not %d", len(shift))
		shift = shift[:2]
	}
	copy(p.shift[:], shift)
	if err := s.Done(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	x, labels, err := p.draw(n, k)
	if err != nil {
		return nil, err
	}
	m, err := newMemory([]int{1, p.size, p.size}, x)
	if err != nil {
		return nil, fmt.Errorf("data: %s draws values that are not finite in float32; make its noise smaller", s)
	}
	return &strokes{*m, labels, p}, nil
}

// Classes is 10.
func (g *strokes) Classes() int { return len(figures) }

// Labels is the class of each item.
func (g *strokes) Labels() []int { return g.labels }

// Fresh draws n images. Image i depends on k and i alone.
func (g *strokes) Fresh(n int, k rng.Key) ([]float32, error) {
	x, _, err := g.pen.draw(n, k)
	return x, err
}

// FreshLabelled draws n images with their classes.
func (g *strokes) FreshLabelled(n int, k rng.Key) ([]float32, []int, error) { return g.pen.draw(n, k) }

func (p pen) draw(n int, k rng.Key) ([]float32, []int, error) {
	if limit := maxPoints / (p.size * p.size); n < 1 || n > limit {
		return nil, nil, fmt.Errorf("data: n must be from 1 to %d, not %d", limit, n)
	}
	uniform := k.Sub("uniform")
	size := p.size * p.size
	x, labels := make([]float32, n*size), make([]int, n)
	k.Sub("normal").Normals(x, 0, 0)
	for i := range n {
		labels[i] = pick(uniform.Float64(0, uint64(i)), len(figures))
		var v [variations]float64
		for j := range v {
			v[j] = p.vary * (2*uniform.Float64(uint64(j+1), uint64(i)) - 1)
		}
		p.image(x[i*size:(i+1)*size], labels[i], v)
	}
	return x, labels, nil
}

// image draws a figure over what dst holds, standard normal noise. v are the variations, each in −1…1 times the key.
//
// The ink of a pixel is 1 within the pen's radius of the figure, 0 a pixel further out, and linear in between, the distance being
// that of the pixel's centre: the usual approximation of the covered area.
func (p pen) image(dst []float32, class int, v [variations]float64) {
	unit := float64(p.size) / 16
	place := p.place(v, unit)
	radius := unit * (0.75 + 0.15*v[6])
	var path [][2]float64
	ink := make([]float64, len(dst))
	for _, line := range figures[class] {
		path = path[:0]
		for _, q := range line {
			path = append(path, place(q))
		}
		for i := range ink {
			x, y := float64(i%p.size)+0.5, float64(i/p.size)+0.5
			ink[i] = max(ink[i], min(1, max(0, radius+0.5-toPath(x, y, path))))
		}
	}
	for i, z := range dst {
		value := ink[i] + p.noise*float64(z)
		if p.symmetric {
			value = 2*ink[i] - 1 + p.noise*float64(z)
		}
		dst[i] = float32(value)
	}
}

// place is the map from a figure's box [−1, 1]² to pixels: stretch, slant, turn and move by the variations, then turn and move by the keys.
func (p pen) place(v [variations]float64, unit float64) func(q [2]float64) [2]float64 {
	width, height := 3.1*unit*(1+0.12*v[0]), 4.8*unit*(1+0.08*v[1])
	slant := 0.15 * v[2]
	sin, cos := math.Sincos(6*math.Pi/180*v[3] + math.Pi/180*p.rotate)
	dx, dy := 0.5*unit*v[4]+p.shift[0], 0.5*unit*v[5]+p.shift[1]
	centre := float64(p.size) / 2
	return func(q [2]float64) [2]float64 {
		x, y := width*q[0], height*q[1]
		x -= slant * y
		return [2]float64{centre + cos*x - sin*y + dx, centre + sin*x + cos*y + dy}
	}
}

// toPath is the distance from a point to the nearest segment of a path.
func toPath(x, y float64, path [][2]float64) float64 {
	best := math.Inf(1)
	for i := 1; i < len(path); i++ {
		a, b := path[i-1], path[i]
		ux, uy := b[0]-a[0], b[1]-a[1]
		t := 0.0
		if length := ux*ux + uy*uy; length > 0 {
			t = min(1, max(0, ((x-a[0])*ux+(y-a[1])*uy)/length))
		}
		dx, dy := x-a[0]-t*ux, y-a[1]-t*uy
		best = min(best, dx*dx+dy*dy)
	}
	return math.Sqrt(best)
}

// figure is a list of paths in the box [−1, 1]², x to the right and y downwards.
type figure [][][2]float64

// arc is an elliptic arc about (cx, cy) from one angle to another, in degrees, clockwise as it is seen, from the right.
func arc(cx, cy, rx, ry, from, to float64) [][2]float64 {
	const pieces = 20
	var path [][2]float64
	for i := range pieces + 1 {
		sin, cos := math.Sincos(math.Pi / 180 * (from + (to-from)*float64(i)/pieces))
		path = append(path, [2]float64{cx + rx*cos, cy + ry*sin})
	}
	return path
}

// figures are the ten classes. None is another one turned by 90°.
var figures = []figure{
	{arc(0, 0, 0.9, 1, 0, 360)},
	{{{-0.6, -0.6}, {0.1, -1}, {0.1, 1}}},
	{append(arc(0, -0.45, 0.85, 0.55, -170, 40), [][2]float64{{-0.85, 1}, {0.95, 1}}...)},
	{arc(-0.1, -0.5, 0.85, 0.5, -150, 90), arc(-0.1, 0.5, 1, 0.5, -90, 150)},
	{{{0.45, 1}, {0.45, -1}, {-0.95, 0.35}, {1, 0.35}}},
	{append([][2]float64{{0.85, -1}, {-0.7, -1}, {-0.75, -0.05}}, arc(-0.05, 0.35, 0.95, 0.65, -130, 145)...)},
	{{{0.6, -1}, {-0.2, -0.75}, {-0.7, -0.2}, {-0.85, 0.45}}, arc(0, 0.45, 0.85, 0.55, 0, 360)},
	{{{-0.9, -1}, {0.95, -1}, {-0.25, 1}}},
	{arc(0, -0.5, 0.7, 0.5, 0, 360), arc(0, 0.5, 0.9, 0.5, 0, 360)},
	{arc(0, -0.45, 0.85, 0.55, 0, 360), {{0.85, -0.45}, {0.75, 0.3}, {0.25, 1}}},
}
