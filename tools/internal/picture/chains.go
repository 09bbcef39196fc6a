package picture

import (
	"errors"
	"image/color"
	"io"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Chains is the page that shows how chains mixed: a row of panels for each
// coordinate, its trace, ranks, autocorrelation, and a pair plot.
type Chains struct {
	Title string
	Rows  []ChainRow
}

// ChainRow is one coordinate. All slices are by chain.
type ChainRow struct {
	Name  string
	At    []int       // numbers of the draws of the trace
	Trace [][]float64 // [chains][len(At)]
	Ranks [][]int     // counts in bins of equal width, of ranks among all chains; nil: not known
	Auto  [][]float64 // autocorrelation at lags 0, 1, …; nil: not known
	// Pair is this coordinate against another, Other [chains][len(At)]; nil: no
	// such panel. Marked are points of it to stand out, as [index of chain, of At].
	Pair   string
	Other  [][]float64
	Marked [][2]int
}

// shownChains is how many chains are drawn apart.
const shownChains = 12

const (
	panelWidth  = 7 * vg.Centimeter
	panelHeight = 5.2 * vg.Centimeter
)

// WritePNG draws the page.
func (c Chains) WritePNG(w io.Writer) error {
	if len(c.Rows) == 0 {
		return errors.New("picture: there is no coordinate to draw")
	}
	columns := 3
	var plots [][]*plot.Plot
	for _, r := range c.Rows {
		row := []*plot.Plot{r.trace(), r.ranks(), r.autocorrelation()}
		if r.Other != nil {
			row = append(row, r.pair())
			columns = 4
		}
		plots = append(plots, row)
	}
	plots[0][0].Title.Text, plots[0][1].Title.Text, plots[0][2].Title.Text = "trace", "ranks", "autocorrelation"
	if len(plots[0]) > 3 {
		plots[0][3].Title.Text = "pairs"
	}
	if c.Title != "" {
		plots[0][0].Title.Text = c.Title + ": trace"
	}
	for i := range plots {
		for len(plots[i]) < columns {
			plots[i] = append(plots[i], nil)
		}
	}
	rows := len(plots)
	return render(w, panelWidth*vg.Length(columns), panelHeight*vg.Length(rows)+12, func(dc draw.Canvas) {
		tiles := draw.Tiles{Rows: rows, Cols: columns, PadX: 14, PadY: 10}
		for i, row := range plot.Align(plots, tiles, dc) {
			for j, at := range row {
				if plots[i][j] != nil {
					plots[i][j].Draw(at)
				}
			}
		}
	})
}

func chainColor(c int) color.Color { return Cycle[c%len(Cycle)] }

func (r ChainRow) trace() *plot.Plot {
	p := newPlot("", "draw", r.Name)
	p.Add(faintGrid())
	for c, values := range r.Trace[:min(len(r.Trace), shownChains)] {
		var xy plotter.XYs
		for i, v := range values {
			if finite(v) {
				xy = append(xy, plotter.XY{X: float64(r.At[i]), Y: v})
			}
		}
		addThin(p, xy, chainColor(c), 0.5)
	}
	return p
}

func addThin(p *plot.Plot, xy plotter.XYs, c color.Color, width vg.Length) {
	if len(xy) > 0 {
		p.Add(&plotter.Line{XYs: xy, LineStyle: draw.LineStyle{Color: faint(c), Width: width}})
	}
}

// ranks draws a histogram of ranks for each chain, one above another, each
// around its own line, which all bins meet where chains agree.
func (r ChainRow) ranks() *plot.Plot {
	p := newPlot("", "rank among all draws", "chain")
	shown := min(len(r.Ranks), shownChains)
	for c, counts := range r.Ranks[:shown] {
		sum := 0
		for _, n := range counts {
			sum += n
		}
		even := float64(sum) / float64(len(counts))
		var xy plotter.XYs
		for i, n := range counts {
			y := float64(c)
			if even > 0 {
				y += min(0.45*(float64(n)/even-1), 0.95)
			}
			lo, hi := float64(i)/float64(len(counts)), float64(i+1)/float64(len(counts))
			xy = append(xy, plotter.XY{X: lo, Y: y}, plotter.XY{X: hi, Y: y})
		}
		level := plotter.XYs{{X: 0, Y: float64(c)}, {X: 1, Y: float64(c)}}
		p.Add(&plotter.Line{XYs: level, LineStyle: draw.LineStyle{Color: color.Gray{190}, Width: 0.5}})
		p.Add(&plotter.Line{XYs: xy, LineStyle: draw.LineStyle{Color: chainColor(c), Width: 1}})
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, -0.7, float64(max(shown, 1))
	p.Y.Tick.Marker = wholeTicks(shown)
	return p
}

// wholeTicks labels 0 … n−1.
func wholeTicks(n int) plot.ConstantTicks {
	var t plot.ConstantTicks
	for i := range n {
		t = append(t, plot.Tick{Value: float64(i), Label: strconv.Itoa(i)})
	}
	return t
}

func (r ChainRow) autocorrelation() *plot.Plot {
	p := newPlot("", "lag", "")
	p.Add(faintGrid())
	longest := 1
	for c, values := range r.Auto[:min(len(r.Auto), shownChains)] {
		var xy plotter.XYs
		for lag, v := range values {
			if finite(v) {
				xy = append(xy, plotter.XY{X: float64(lag), Y: v})
			}
		}
		longest = max(longest, len(values)-1)
		addThin(p, xy, chainColor(c), 1)
	}
	zero := plotter.XYs{{X: 0, Y: 0}, {X: float64(longest), Y: 0}}
	p.Add(&plotter.Line{XYs: zero, LineStyle: draw.LineStyle{Color: color.Gray{90}, Width: 0.6}})
	p.X.Min, p.X.Max = 0, float64(longest)
	p.Y.Min, p.Y.Max = min(p.Y.Min, -0.2), 1
	return p
}

func (r ChainRow) pair() *plot.Plot {
	p := newPlot("", r.Name, r.Pair)
	total := 0
	for _, v := range r.Other {
		total += len(v)
	}
	radius := glyphRadius(min(total, maxPoints)) * 0.8
	step := max(1, (total+maxPoints-1)/maxPoints)
	for c := range r.Other {
		var xy plotter.XYs
		for i := 0; i < len(r.At); i += step {
			xy = appendFinite(xy, r.Trace[c][i], r.Other[c][i])
		}
		scatter(p, xy, faint(chainColor(c)), radius)
	}
	var marked plotter.XYs
	for _, at := range r.Marked {
		marked = appendFinite(marked, r.Trace[at[0]][at[1]], r.Other[at[0]][at[1]])
	}
	scatter(p, marked, color.Black, 1.6)
	return p
}

func appendFinite(xy plotter.XYs, x, y float64) plotter.XYs {
	if math.IsNaN(x+y) || math.IsInf(x+y, 0) {
		return xy
	}
	return append(xy, plotter.XY{X: x, Y: y})
}

func scatter(p *plot.Plot, xy plotter.XYs, c color.Color, radius vg.Length) {
	if len(xy) > 0 {
		p.Add(&plotter.Scatter{XYs: xy, GlyphStyle: draw.GlyphStyle{Color: c, Radius: radius, Shape: draw.CircleGlyph{}}})
	}
}
