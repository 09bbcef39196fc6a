package data

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
)

// Grid draws many small images in rows and columns, from the top left: samples of an image energy, say.
type Grid struct {
	Width, Height, Channels int       // of one image; 1 channel is grey, 3 are red, green, blue
	Images                  []float32 // [N, Channels, Height, Width]
	Lo, Hi                  float32   // black and white; both 0: the range of the values
	Columns                 int       // 0: as many as make the picture about square
	Scale                   int       // screen pixels a pixel; 0: as many as make a picture of some 600
}

// gap is the space between images, screen pixels.
const gap = 2

// WritePNG draws the images. What is not finite is drawn red.
func (g Grid) WritePNG(w io.Writer) error {
	size := g.Width * g.Height * g.Channels
	if g.Width < 1 || g.Height < 1 || g.Channels != 1 && g.Channels != 3 || len(g.Images) == 0 || len(g.Images)%size != 0 {
		return fmt.Errorf("data: %d values are no images of %d channels, height %d, width %d; 1 or 3 channels can be drawn", len(g.Images), g.Channels, g.Height, g.Width)
	}
	n := len(g.Images) / size
	columns := g.Columns
	if columns < 1 {
		columns = int(math.Ceil(math.Sqrt(float64(n))))
	}
	columns = min(columns, n)
	rows := (n + columns - 1) / columns
	scale := g.Scale
	if scale < 1 {
		scale = max(1, 600/max(columns*g.Width, rows*g.Height))
	}
	lo, hi := g.limits()
	stepX, stepY := g.Width*scale+gap, g.Height*scale+gap
	canvas := image.NewNRGBA(image.Rect(0, 0, columns*stepX+gap, rows*stepY+gap))
	for i := range canvas.Pix {
		canvas.Pix[i] = 0xff
	}
	for i := range n {
		item := g.Images[i*size : (i+1)*size]
		left, top := gap+i%columns*stepX, gap+i/columns*stepY
		for y := range g.Height * scale {
			for x := range g.Width * scale {
				canvas.SetNRGBA(left+x, top+y, g.colour(item, y/scale*g.Width+x/scale, lo, hi))
			}
		}
	}
	return png.Encode(w, canvas)
}

func (g Grid) limits() (lo, hi float32) {
	if g.Lo != 0 || g.Hi != 0 {
		return g.Lo, g.Hi
	}
	lo, hi = float32(math.Inf(1)), float32(math.Inf(-1))
	for _, v := range g.Images {
		if v-v == 0 {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	return lo, hi
}

// colour is that of a position of an item.
func (g Grid) colour(item []float32, at int, lo, hi float32) color.NRGBA {
	var c [3]uint8
	for k := range c {
		v := float64(item[k%g.Channels*g.Width*g.Height+at])
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return color.NRGBA{0xff, 0, 0, 0xff}
		}
		if hi > lo {
			v = (v - float64(lo)) / float64(hi-lo)
		}
		c[k] = uint8(math.Round(255 * min(1, max(0, v))))
	}
	return color.NRGBA{c[0], c[1], c[2], 0xff}
}
