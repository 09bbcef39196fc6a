package picture

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// ticks puts about six labels at multiples of 1, 2 or 5 times a power of ten.
type ticks struct{}

// Ticks implements plot.Ticker.
func (ticks) Ticks(lo, hi float64) []plot.Tick {
	if !(hi > lo) || !finite(hi-lo) {
		return []plot.Tick{{Value: lo, Label: strconv.FormatFloat(lo, 'g', 4, 64)}}
	}
	const want = 6
	power := math.Floor(math.Log10((hi - lo) / want))
	step := 0.0
	for _, m := range []float64{1, 2, 5, 10} {
		if step = m * math.Pow(10, power); (hi-lo)/step <= want {
			break
		}
	}
	digits := max(0, int(-math.Floor(math.Log10(step)+1e-9)))
	var out []plot.Tick
	for k := math.Ceil(lo/step - 1e-9); k*step <= hi+1e-9*step; k++ {
		v := k * step
		label := strconv.FormatFloat(v+0, 'f', digits, 64)
		if math.Abs(v) >= 1e5 || digits > 5 {
			label = strconv.FormatFloat(v, 'g', 3, 64)
		}
		out = append(out, plot.Tick{Value: v, Label: label})
	}
	return out
}
