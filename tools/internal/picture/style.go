package picture

import (
	"fmt"
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

const (
	dpi       = 144
	titleSize = vg.Length(12)
	labelSize = vg.Length(11)
	tickSize  = vg.Length(9)
)

// Colours of overlays and curves: readable on the heat map and apart from
// each other for colour-blind eyes (after Okabe and Ito 2008).
var (
	Samples  = color.NRGBA{0xd5, 0x3e, 0x4f, 0xd0}
	Data     = color.NRGBA{0xff, 0xff, 0xff, 0xd0}
	DataBars = color.NRGBA{0x99, 0x99, 0x99, 0xc0} // data as a histogram, on white
	Cycle    = []color.Color{
		color.NRGBA{0x00, 0x72, 0xb2, 0xff}, color.NRGBA{0xd5, 0x5e, 0x00, 0xff}, color.NRGBA{0x00, 0x9e, 0x73, 0xff},
		color.NRGBA{0xcc, 0x79, 0xa7, 0xff}, color.NRGBA{0xe6, 0x9f, 0x00, 0xff}, color.NRGBA{0x56, 0xb4, 0xe9, 0xff},
	}
)

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	for _, style := range []*text.Style{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		style.Font.Variant = "Sans"
	}
	p.Title.TextStyle.Font.Size = titleSize
	p.Title.Padding = 6
	p.X.Label.Text, p.Y.Label.Text = x, y
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font.Size = labelSize
		axis.Tick.Label.Font.Size = tickSize
		axis.Label.Padding = 4
		axis.Padding = 0
		axis.Tick.Marker = ticks{}
		axis.Tick.Length = 4
	}
	p.Legend.TextStyle.Font.Size = tickSize
	p.Legend.Top = true
	p.Legend.Padding = 2
	return p
}

// render draws on a white canvas of the given size and writes it as PNG.
func render(w io.Writer, width, height vg.Length, paint func(draw.Canvas)) (err error) {
	// The plotting library reports odd data by panicking.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("picture: %v", r)
		}
	}()
	c := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi))
	paint(draw.Crop(draw.New(c), 6, -10, 6, -16))
	if _, err := (vgimg.PngCanvas{Canvas: c}).WriteTo(w); err != nil {
		return fmt.Errorf("picture: %w", err)
	}
	return nil
}

// viridis is the palette of that name (Smith and van der Walt 2015) at nine
// even places; what lies between is interpolated.
var viridis = [9][3]float64{
	{68, 1, 84}, {71, 45, 123}, {59, 82, 139}, {44, 114, 142}, {33, 145, 140}, {40, 174, 128}, {94, 201, 98}, {173, 220, 48}, {253, 231, 37},
}

// shade is the colour at t in [0, 1], dark at 0.
func shade(t float64) color.NRGBA {
	at := min(max(t, 0), 1) * float64(len(viridis)-1)
	i := min(int(at), len(viridis)-2)
	f := at - float64(i)
	var c [3]uint8
	for k := range c {
		c[k] = uint8(math.Round(viridis[i][k]*(1-f) + viridis[i+1][k]*f))
	}
	return color.NRGBA{c[0], c[1], c[2], 255}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
