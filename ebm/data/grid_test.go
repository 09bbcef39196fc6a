package data

import (
	"bytes"
	"image/color"
	"image/png"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// Three images of two by one pixels, two a row: every corner is where it should be.
func TestGrid(t *testing.T) {
	var out bytes.Buffer
	g := Grid{Width: 2, Height: 1, Channels: 1, Images: []float32{0, 1, 0.5, 2, -1, float32(math.NaN())}, Lo: 0, Hi: 1, Columns: 2, Scale: 3}
	require.NoError(t, g.WritePNG(&out))
	p, err := png.Decode(&out)
	require.NoError(t, err)
	require.Equal(t, 2*(6+gap)+gap, p.Bounds().Dx())
	require.Equal(t, 2*(3+gap)+gap, p.Bounds().Dy())
	at := func(x, y int) color.NRGBA { return color.NRGBAModel.Convert(p.At(x, y)).(color.NRGBA) }
	grey := func(v uint8) color.NRGBA { return color.NRGBA{v, v, v, 0xff} }
	require.Equal(t, grey(255), at(0, 0), "gap")
	require.Equal(t, grey(0), at(gap, gap))
	require.Equal(t, grey(0), at(gap+2, gap+2), "scaled")
	require.Equal(t, grey(255), at(gap+3, gap))
	require.Equal(t, grey(128), at(2*gap+6, gap))
	require.Equal(t, grey(255), at(2*gap+9, gap), "above white")
	require.Equal(t, grey(0), at(gap, 2*gap+3), "below black, second row")
	require.Equal(t, color.NRGBA{0xff, 0, 0, 0xff}, at(gap+3, 2*gap+3), "not finite")

	for _, bad := range []Grid{
		{Width: 2, Height: 2, Channels: 1, Images: make([]float32, 6)},
		{Width: 1, Height: 1, Channels: 2, Images: make([]float32, 2)},
		{Width: 1, Height: 1, Channels: 1},
	} {
		require.Error(t, bad.WritePNG(&out))
	}
}

func TestGridColours(t *testing.T) {
	var out bytes.Buffer
	g := Grid{Width: 1, Height: 1, Channels: 3, Images: []float32{0, 0.5, 1}, Scale: 1}
	require.NoError(t, g.WritePNG(&out), "the range of the values")
	p, err := png.Decode(&out)
	require.NoError(t, err)
	require.Equal(t, color.NRGBA{0, 128, 255, 0xff}, color.NRGBAModel.Convert(p.At(gap, gap)).(color.NRGBA))
}
