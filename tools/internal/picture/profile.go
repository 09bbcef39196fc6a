package picture

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Profile is an energy on an interval: above E, below the density
// exp(−E)/∫exp(−E) over the interval with histograms of points.
type Profile struct {
	Title      string
	XMin, XMax float64
	Energy     []float32 // at cell centres
	Log        bool      // draws log(1 + E − min E)
	Layers     []Points
}

// Inputs are the cell centres of n cells, a batch [n, 1].
func (p Profile) Inputs(n int) []float32 {
	out := make([]float32, n)
	for i, x := range centres(p.XMin, p.XMax, n) {
		out[i] = float32(x)
	}
	return out
}

// WritePNG draws the profile.
func (p Profile) WritePNG(w io.Writer) error {
	energy, density, err := p.curves()
	if err != nil {
		return err
	}
	return render(w, 16*vg.Centimeter, 13*vg.Centimeter, func(dc draw.Canvas) {
		top := newPlot(p.Title, "", scale{log: p.Log}.label())
		top.Add(faintGrid())
		addLine(top, energy, Cycle[0], "")
		bottom := newPlot("", "x", "density")
		bottom.Add(faintGrid())
		for _, layer := range p.Layers {
			addHistogram(bottom, layer, p.XMin, p.XMax)
		}
		addLine(bottom, density, Cycle[0], "exp(−E)/Z")
		bottom.Y.Min = 0
		for _, q := range []*plot.Plot{top, bottom} {
			q.X.Min, q.X.Max = p.XMin, p.XMax
		}
		plots := [][]*plot.Plot{{top}, {bottom}}
		for i, tile := range plot.Align(plots, draw.Tiles{Rows: 2, Cols: 1, PadY: 8}, dc) {
			plots[i][0].Draw(tile[0])
		}
	})
}

func (p Profile) curves() (energy, density plotter.XYs, err error) {
	least := math.Inf(1)
	for _, e := range p.Energy {
		if v := float64(e); finite(v) {
			least = min(least, v)
		}
	}
	if math.IsInf(least, 1) {
		return nil, nil, errors.New("picture: no energy in the range is finite; choose another range")
	}
	s := scale{least: least, log: p.Log}
	z, width := 0.0, (p.XMax-p.XMin)/float64(len(p.Energy))
	for i, x := range centres(p.XMin, p.XMax, len(p.Energy)) {
		e := float64(p.Energy[i])
		if !finite(e) {
			continue
		}
		energy = append(energy, plotter.XY{X: x, Y: s.value(e)})
		d := math.Exp(least - e)
		z += d * width
		density = append(density, plotter.XY{X: x, Y: d})
	}
	for i := range density {
		density[i].Y /= z
	}
	return energy, density, nil
}

func addLine(p *plot.Plot, xy plotter.XYs, c color.Color, name string) {
	line := &plotter.Line{XYs: xy, LineStyle: draw.LineStyle{Color: c, Width: 1.3}}
	p.Add(line)
	if name != "" {
		p.Legend.Add(name, line)
	}
}

// bins of a histogram.
const bins = 60

func addHistogram(p *plot.Plot, layer Points, lo, hi float64) {
	counts := make([]float64, bins)
	n := 0
	for _, v := range layer.X {
		if at := int(math.Floor((float64(v) - lo) / (hi - lo) * bins)); at >= 0 && at < bins {
			counts[at]++
		}
		n++
	}
	if n == 0 {
		return
	}
	width := (hi - lo) / bins
	h := &plotter.Histogram{Width: width, FillColor: layer.Color, LineStyle: draw.LineStyle{Color: color.Gray{120}, Width: 0.3}}
	for i, count := range counts {
		h.Bins = append(h.Bins, plotter.HistogramBin{Min: lo + float64(i)*width, Max: lo + float64(i+1)*width, Weight: count / float64(n) / width})
	}
	p.Add(h)
	p.Legend.Add(fmt.Sprintf("%s (%d)", layer.Name, n), h)
}

func faintGrid() *plotter.Grid {
	g := plotter.NewGrid()
	style := draw.LineStyle{Color: color.Gray{225}, Width: 0.4}
	g.Horizontal, g.Vertical = style, style
	return g
}
