package picture

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/palette"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Points are drawn over a Landscape or as a histogram under a Profile.
type Points struct {
	Name  string
	X     []float32 // [n, 2], or [n] for a Profile
	Color color.Color
}

// maxPoints is how many points are drawn; of more, an even choice is.
const maxPoints = 4000

// Landscape is an energy on a rectangle. Bright is low energy, that is high
// density. Energies far above what exp(−E) can reach are drawn alike; what is
// not finite is left white.
type Landscape struct {
	Title                  string
	XMin, XMax, YMin, YMax float64
	Columns, Rows          int
	Energy                 []float32 // at cell centres [Rows, Columns], from YMin up
	Log                    bool      // colours by log(1 + E − min E)
	Layers                 []Points
}

// Centres are the x and y of the cell centres of a grid.
func (l Landscape) Centres() (x, y []float64) {
	return centres(l.XMin, l.XMax, l.Columns), centres(l.YMin, l.YMax, l.Rows)
}

func centres(lo, hi float64, n int) []float64 {
	c := make([]float64, n)
	for i := range c {
		c[i] = lo + (hi-lo)*(float64(i)+0.5)/float64(n)
	}
	return c
}

// Inputs are the cell centres as a batch [Rows·Columns, 2].
func (l Landscape) Inputs() []float32 {
	xs, ys := l.Centres()
	out := make([]float32, 0, 2*l.Columns*l.Rows)
	for _, y := range ys {
		for _, x := range xs {
			out = append(out, float32(x), float32(y))
		}
	}
	return out
}

// WritePNG draws the landscape.
func (l Landscape) WritePNG(w io.Writer) error {
	s, err := l.scale()
	if err != nil {
		return err
	}
	return render(w, 15.5*vg.Centimeter, 13*vg.Centimeter, func(dc draw.Canvas) { l.draw(dc, s) })
}

func (l Landscape) draw(dc draw.Canvas, s scale) {
	p := newPlot(l.Title, "x₁", "x₂")
	p.Add(plotter.NewImage(l.image(s), l.XMin, l.YMin, l.XMax, l.YMax))
	p.Add(l.contours(s))
	for _, layer := range l.Layers {
		addScatter(p, layer)
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = l.XMin, l.XMax, l.YMin, l.YMax
	p.Legend.TextStyle.Color = color.White
	p.Legend.XOffs, p.Legend.YOffs = -6, -4
	main := draw.Crop(dc, 0, -barWidth, 0, 0)
	p.Draw(main)
	s.bar(dc, p.DataCanvas(main))
}

// barWidth is the room of the colour bar beside a landscape.
const barWidth = 70

// scale maps energies to colours.
type scale struct {
	least   float64 // energy
	lo, hi  float64 // of the shown values
	clipped bool    // some values are above hi
	log     bool
}

// plausible is how far above the minimum energies still matter: exp(−12) = 6e-6.
const plausible = 12

func (l Landscape) scale() (scale, error) {
	var e []float64
	for _, v := range l.Energy {
		if finite(float64(v)) {
			e = append(e, float64(v))
		}
	}
	if len(e) == 0 {
		return scale{}, errors.New("picture: no energy in the range is finite; choose another range")
	}
	slices.Sort(e)
	s := scale{least: e[0], log: l.Log}
	s.lo, s.hi = s.value(e[0]), s.value(e[len(e)-1])
	if !l.Log {
		top := max(e[0]+plausible, e[len(e)/4])
		if s.hi > top {
			s.hi, s.clipped = top, true
		}
	}
	if s.hi == s.lo {
		s.hi = s.lo + 1
	}
	return s, nil
}

func (s scale) value(e float64) float64 {
	if s.log {
		return math.Log10(1 + e - s.least)
	}
	return e
}

func (s scale) label() string {
	if s.log {
		return "log10(1 + E − min E)"
	}
	return "E(x)"
}

func (s scale) color(v float64) color.NRGBA { return shade(1 - (v-s.lo)/(s.hi-s.lo)) }

func (l Landscape) image(s scale) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, l.Columns, l.Rows))
	for r := range l.Rows {
		for c := range l.Columns {
			if e := float64(l.Energy[r*l.Columns+c]); finite(e) {
				img.SetNRGBA(c, l.Rows-1-r, s.color(s.value(e)))
			} else {
				img.SetNRGBA(c, l.Rows-1-r, color.NRGBA{255, 255, 255, 255})
			}
		}
	}
	return img
}

// bar draws the colours with their values beside the data area of the plot.
func (s scale) bar(c, data draw.Canvas) {
	const steps = 256
	img := image.NewNRGBA(image.Rect(0, 0, 1, steps))
	for i := range steps {
		img.SetNRGBA(0, steps-1-i, s.color(s.lo+(s.hi-s.lo)*float64(i)/(steps-1)))
	}
	x := data.Max.X + 14
	r := vg.Rectangle{Min: vg.Point{X: x, Y: data.Min.Y}, Max: vg.Point{X: x + 12, Y: data.Max.Y}}
	c.DrawImage(r, img)
	c.StrokeLines(draw.LineStyle{Color: color.Black, Width: 0.5}, []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}, r.Min})
	style := newPlot("", "", "").X.Tick.Label
	style.XAlign, style.YAlign = draw.XLeft, draw.YCenter
	for _, t := range (ticks{}).Ticks(s.lo, s.hi) {
		y := r.Min.Y + (r.Max.Y-r.Min.Y)*vg.Length((t.Value-s.lo)/(s.hi-s.lo))
		c.StrokeLine2(draw.LineStyle{Color: color.Black, Width: 0.5}, r.Max.X, y, r.Max.X+3, y)
		c.FillText(style, vg.Point{X: r.Max.X + 5, Y: y}, t.Label)
	}
	if s.clipped {
		c.FillText(style, vg.Point{X: r.Max.X + 5, Y: r.Max.Y + 9}, "and more")
	}
	style.Rotation, style.XAlign = math.Pi/2, draw.XCenter
	style.Font.Size = labelSize
	c.FillText(style, vg.Point{X: r.Max.X + 38, Y: (r.Min.Y + r.Max.Y) / 2}, s.label())
}

// contourStride thins the grid for contours, which are smooth enough so.
const contourStride = 2

// grid is the thinned landscape in the scale's values.
type grid struct {
	x, y []float64
	z    func(c, r int) float64
}

func (g grid) Dims() (c, r int)   { return len(g.x), len(g.y) }
func (g grid) X(c int) float64    { return g.x[c] }
func (g grid) Y(r int) float64    { return g.y[r] }
func (g grid) Z(c, r int) float64 { return g.z(c, r) }

func (l Landscape) contours(s scale) *plotter.Contour {
	xs, ys := l.Centres()
	thin := func(v []float64) []float64 {
		var out []float64
		for i := 0; i < len(v); i += contourStride {
			out = append(out, v[i])
		}
		return out
	}
	g := grid{thin(xs), thin(ys), func(c, r int) float64 {
		e := float64(l.Energy[r*contourStride*l.Columns+c*contourStride])
		if !finite(e) {
			return s.hi
		}
		return min(s.value(e), s.hi)
	}}
	const count = 10
	levels := make([]float64, count)
	for i := range levels {
		levels[i] = s.lo + (s.hi-s.lo)*(float64(i)+0.5)/count
	}
	c := plotter.NewContour(g, levels, one{color.NRGBA{255, 255, 255, 90}})
	for i := range c.LineStyles {
		c.LineStyles[i].Width = 0.5
	}
	return c
}

// one is a palette of one colour.
type one struct{ c color.Color }

func (p one) Colors() []color.Color { return []color.Color{p.c, p.c} }

var _ palette.Palette = one{}

func addScatter(p *plot.Plot, layer Points) {
	n := len(layer.X) / 2
	step := max(1, (n+maxPoints-1)/maxPoints)
	var xy plotter.XYs
	for i := 0; i < n; i += step {
		x, y := float64(layer.X[2*i]), float64(layer.X[2*i+1])
		if finite(x) && finite(y) {
			xy = append(xy, plotter.XY{X: x, Y: y})
		}
	}
	if len(xy) == 0 {
		return
	}
	s := &plotter.Scatter{XYs: xy, GlyphStyle: draw.GlyphStyle{Color: layer.Color, Radius: glyphRadius(len(xy)), Shape: draw.CircleGlyph{}}}
	p.Add(s)
	p.Legend.Add(fmt.Sprintf("%s (%d)", layer.Name, n), s)
}

// glyphRadius makes few points large and many small.
func glyphRadius(n int) vg.Length { return vg.Length(min(2.5, max(0.9, 40/math.Sqrt(float64(n))))) }
