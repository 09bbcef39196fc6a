package picture

import (
	"errors"
	"image/color"
	"io"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Series is a curve through points; those not finite are left out.
type Series struct {
	Name string // in the legend, if not empty
	X, Y []float64
	Thin bool // a faint line, for what is noisy or one of many
}

// Lines is a plot of curves.
type Lines struct {
	Title, XLabel, YLabel string
	Series                []Series
}

// faint lets the grid and other curves shine through.
func faint(c color.Color) color.Color {
	r, g, b, _ := c.RGBA()
	return color.NRGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 0x80}
}

// maxVertices bounds the points of a curve that are drawn.
const maxVertices = 4000

// WritePNG draws the curves.
func (l Lines) WritePNG(w io.Writer) error { return Stack{l}.WritePNG(w) }

// Stack is several plots, one under the other.
type Stack []Lines

// height of one plot of curves.
const height = 11 * vg.Centimeter

// WritePNG draws the plots.
func (s Stack) WritePNG(w io.Writer) error {
	plots := make([]*plot.Plot, len(s))
	for i, l := range s {
		p, err := l.plot()
		if err != nil {
			return err
		}
		plots[i] = p
	}
	return render(w, 17*vg.Centimeter, height*vg.Length(len(s)), func(c draw.Canvas) {
		share := (c.Max.Y - c.Min.Y) / vg.Length(len(s))
		for i, p := range plots {
			p.Draw(draw.Crop(c, 0, 0, share*vg.Length(len(s)-1-i), -share*vg.Length(i)))
		}
	})
}

func (l Lines) plot() (*plot.Plot, error) {
	p := newPlot(l.Title, l.XLabel, l.YLabel)
	p.Add(faintGrid())
	drawn := 0
	for i, s := range l.Series {
		var xy plotter.XYs
		step := max(1, len(s.X)/maxVertices)
		for j := 0; j < len(s.X); j += step {
			if finite(s.X[j]) && finite(s.Y[j]) {
				xy = append(xy, plotter.XY{X: s.X[j], Y: s.Y[j]})
			}
		}
		if len(xy) == 0 {
			continue
		}
		drawn++
		line := &plotter.Line{XYs: xy, LineStyle: draw.LineStyle{Color: Cycle[i%len(Cycle)], Width: 1.4}}
		if s.Thin {
			line.Width, line.Color = 0.6, faint(line.Color)
		}
		p.Add(line)
		if s.Name != "" {
			p.Legend.Add(s.Name, line)
		}
	}
	if drawn == 0 {
		return nil, errors.New("picture: there is nothing finite to draw")
	}
	return p, nil
}
