package picture

import (
	"bytes"
	"image"
	"image/png"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// bowl is E = 3‖x‖² on [−2, 2]², with a corner that is not finite.
func bowl() Landscape {
	l := Landscape{XMin: -2, XMax: 2, YMin: -2, YMax: 2, Columns: 60, Rows: 60}
	x := l.Inputs()
	for i := 0; i < len(x); i += 2 {
		l.Energy = append(l.Energy, 3*(x[i]*x[i]+x[i+1]*x[i+1]))
	}
	l.Energy[0] = float32(math.NaN())
	return l
}

func TestLandscapeIsBrightWhereEnergyIsLow(t *testing.T) {
	l := bowl()
	s, err := l.scale()
	require.NoError(t, err)
	require.True(t, s.clipped)
	require.InDelta(t, s.least+plausible, s.hi, 1e-6)
	img := l.image(s).(*image.NRGBA)
	require.Greater(t, img.NRGBAAt(30, 30).G, uint8(200))
	require.Less(t, img.NRGBAAt(59, 0).G, uint8(20))
	require.Equal(t, [3]uint8{255, 255, 255}, [3]uint8{img.NRGBAAt(0, 59).R, img.NRGBAAt(0, 59).G, img.NRGBAAt(0, 59).B}, "not finite is white; row 0 is at the bottom")
	l.Layers = []Points{{Name: "samples", X: []float32{0, 0, 1, 1}, Color: Samples}, {Name: "data", Color: Data}}
	var out bytes.Buffer
	require.NoError(t, l.WritePNG(&out))
	_, err = png.Decode(&out)
	require.NoError(t, err)
}

func TestNothingFinite(t *testing.T) {
	l := bowl()
	for i := range l.Energy {
		l.Energy[i] = float32(math.Inf(1))
	}
	require.ErrorContains(t, l.WritePNG(&bytes.Buffer{}), "another range")
	require.ErrorContains(t, Profile{XMin: 0, XMax: 1, Energy: l.Energy[:3]}.WritePNG(&bytes.Buffer{}), "another range")
	require.ErrorContains(t, Lines{Series: []Series{{X: []float64{1}, Y: []float64{math.NaN()}}}}.WritePNG(&bytes.Buffer{}), "nothing finite")
}

func TestFlatEnergy(t *testing.T) {
	l := bowl()
	clear(l.Energy)
	require.NoError(t, l.WritePNG(&bytes.Buffer{}))
}

func TestProfileDensityIsNormalised(t *testing.T) {
	p := Profile{XMin: -6, XMax: 6}
	for _, x := range p.Inputs(600) {
		p.Energy = append(p.Energy, x*x/2+100)
	}
	_, density, err := p.curves()
	require.NoError(t, err)
	for _, xy := range density {
		require.InDelta(t, math.Exp(-xy.X*xy.X/2)/math.Sqrt(2*math.Pi), xy.Y, 1e-4)
	}
}

func TestShadeEnds(t *testing.T) {
	require.Equal(t, uint8(68), shade(0).R)
	require.Equal(t, uint8(253), shade(1).R)
	require.Equal(t, shade(1), shade(7))
	require.Equal(t, shade(0), shade(-7))
}

func TestTicks(t *testing.T) {
	labels := func(lo, hi float64) (out []string) {
		for _, tick := range (ticks{}).Ticks(lo, hi) {
			out = append(out, tick.Label)
		}
		return out
	}
	require.Equal(t, []string{"-4", "-2", "0", "2", "4"}, labels(-4, 4))
	require.Equal(t, []string{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"}, labels(0, 1))
	require.Equal(t, []string{"0", "2", "4", "6", "8", "10", "12"}, labels(0, 12))
	require.Len(t, labels(3, 3), 1)
	for _, span := range []float64{1e-9, 0.003, 7, 1234, 5e8} {
		n := len(labels(-span, span))
		require.True(t, n >= 3 && n <= 8, "%v: %d", span, n)
	}
}
