package picture

import (
	"io"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Sheet shows clouds of points and a landscape side by side, all on the landscape's rectangle.
type Sheet struct {
	Clouds    []Points // a panel each, its Name the title
	Landscape Landscape
}

// WritePNG draws the sheet.
func (s Sheet) WritePNG(w io.Writer) error {
	sc, err := s.Landscape.scale()
	if err != nil {
		return err
	}
	const side = 10 * vg.Centimeter
	width := side*vg.Length(len(s.Clouds)+1) + barWidth
	return render(w, width, side, func(dc draw.Canvas) {
		for i, cloud := range s.Clouds {
			p := newPlot(cloud.Name, "x₁", "x₂")
			cloud.Name = ""
			addScatter(p, cloud)
			p.Legend = newPlot("", "", "").Legend
			l := s.Landscape
			p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = l.XMin, l.XMax, l.YMin, l.YMax
			left := side * vg.Length(i)
			p.Draw(draw.Crop(dc, left, left+side-width, 0, 0))
		}
		s.Landscape.draw(draw.Crop(dc, side*vg.Length(len(s.Clouds)), 0, 0, 0), sc)
	})
}
