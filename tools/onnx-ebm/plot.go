package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/tools/internal/picture"
)

type plotOptions struct {
	out, samples, data, rangeText string
	log, grid                     bool
}

func (a *app) plotCommand() *cobra.Command {
	var o plotOptions
	c := &cobra.Command{
		Use:   "plot MODEL -o P.png [--samples FILE.npy] [--data DATA] [--range xmin,xmax,ymin,ymax] [--log]",
		Short: "Draw an energy in one or two dimensions, with samples and data",
		Long: `Draws the energy of a model with D = 1 (curve and density) or D = 2 (heat map with contours; bright is low energy),
with samples and data over it. Without --range the picture holds all of these, or is [−4, 4].
With --grid it draws samples or data that are images, [H, W], [1, H, W] or [3, H, W], side by side (400 at most); MODEL may be left out.

` + dataHelp() + "\n\n" + modelHelp,
		Example: `  onnx-ebm plot moons.onnx -o moons.png --samples last.npy --data two-moons:n=1000
  onnx-ebm plot builtin:rosenbrock -o r.png --range -2,2,-1,3 --log
  onnx-ebm plot --grid --samples images.npy -o images.png`,
		RunE: func(c *cobra.Command, args []string) error { return a.plot(c, args, o) },
	}
	f := c.Flags()
	f.StringVarP(&o.out, "out", "o", "", "output `FILE`: a .png")
	f.StringVar(&o.samples, "samples", "", "`FILE` of samples [N, D] or draws [chains, draws, D]")
	f.StringVar(&o.data, "data", "", "`DATA` to draw")
	f.StringVar(&o.rangeText, "range", "", "xmin,xmax,ymin,ymax, or xmin,xmax where D = 1")
	f.BoolVar(&o.log, "log", false, "colours by log(1 + E − min E)")
	f.BoolVar(&o.grid, "grid", false, "draw the samples, or the data, as images side by side")
	a.global.addSeed(f)
	a.global.addRuntime(f)
	return c
}

// box is the part of space that is drawn: one or two pairs of limits.
type box []float64

func (o plotOptions) check(c *cobra.Command, args []string, g *global) (box, error) {
	positional := []string{"MODEL"}
	if o.grid && len(args) == 0 {
		positional = nil
	}
	u := newUsage(c, args, positional...)
	u.need("out")
	u.files("out", "samples")
	u.png("out")
	u.runtime(g)
	if o.grid {
		o.checkGrid(u)
	}
	if o.rangeText == "" {
		return nil, u.err()
	}
	b, err := numberList(o.rangeText)
	if err != nil || len(b) != 2 && len(b) != 4 {
		u.bad("--range %s: give xmin,xmax,ymin,ymax, or xmin,xmax where D = 1", o.rangeText)
		return nil, u.err()
	}
	for i := 0; i < len(b); i += 2 {
		if !(b[i] < b[i+1]) || math.IsInf(b[i], 0) || math.IsInf(b[i+1], 0) {
			u.bad("--range %s: %v is not less than %v, or one is infinite", o.rangeText, b[i], b[i+1])
		}
	}
	return b, u.err()
}

// png requires the extension of what is written.
func (u *usage) png(flag string) {
	if f := u.c.Flags().Lookup(flag); u.has(flag) && !strings.EqualFold(filepath.Ext(f.Value.String()), ".png") {
		u.bad("%s %s: pictures are PNG; name a .png", u.spelling(flag), f.Value.String())
	}
}

func (a *app) plot(c *cobra.Command, args []string, o plotOptions) error {
	limits, err := o.check(c, args, &a.global)
	if err != nil {
		return err
	}
	if o.grid {
		return a.plotGrid(args, o)
	}
	var out outputs
	defer out.abort()
	if err := out.add("picture", o.out); err != nil {
		return err
	}
	m, err := readModel(args[0])
	if err != nil {
		return err
	}
	e, err := a.open(c.Context(), m, nil, ebm.Options{})
	if err != nil {
		return err
	}
	defer e.Close()
	if err := drawable(m.text, e, limits); err != nil {
		return err
	}
	layers, err := o.layers(e, a.global.seed)
	if err != nil {
		return err
	}
	s := scene{e: e, title: m.title(), limits: limits, log: o.log, layers: layers}
	if err := s.draw(c.Context(), out.writer["picture"]); err != nil {
		return err
	}
	return out.commit()
}

// drawable tells why an energy cannot be drawn.
func drawable(name string, e *ebm.Energy, limits box) error {
	d := e.Dim()
	if d > 2 {
		hint := ""
		if _, images := imageGrid(e.Item()); images {
			hint = "; --grid draws samples or data as images"
		}
		return fmt.Errorf("%s has items of shape %s, D = %d; only D = 1 and D = 2 can be drawn%s", name, shapeText(e.Item()), d, hint)
	}
	if limits != nil && len(limits) != 2*d {
		return fmt.Errorf("--range has %d numbers; D = %d needs %d", len(limits), d, 2*d)
	}
	return nil
}

// layers reads what lies over the energy, data first.
func (o plotOptions) layers(e *ebm.Energy, seed uint64) ([]picture.Points, error) {
	var layers []picture.Points
	if o.data != "" {
		x, err := readData(o.data, e, rng.NewKey(seed).Sub("data"))
		if err != nil {
			return nil, err
		}
		layers = append(layers, picture.Points{Name: "data", X: x, Color: picture.Data})
	}
	if o.samples != "" {
		a, err := npy.ReadFile(o.samples)
		if err != nil {
			return nil, err
		}
		item := ints(e.Item())
		if len(a.Shape) <= len(item) || !slices.Equal(a.Shape[len(a.Shape)-len(item):], item) {
			return nil, fmt.Errorf("%s has the shape %s; the model takes %s", o.samples, shapeText(a.Shape), batchText(e.Item()))
		}
		if err := checkFinite(o.samples, a.Data, a.RowLen(), 0); err != nil {
			return nil, err
		}
		layers = append(layers, picture.Points{Name: "samples", X: a.Data, Color: picture.Samples})
	}
	return layers, nil
}

// readData reads all items of DATA, of the model's item shape.
func readData(text string, e *ebm.Energy, key rng.Key) ([]float32, error) {
	ds, err := openData(text, key)
	if err != nil {
		return nil, err
	}
	defer ds.Close()
	if !slices.Equal(ds.Shape(), ints(e.Item())) {
		return nil, fmt.Errorf("%s has items of shape %s; the model takes %s", text, shapeText(ds.Shape()), batchText(e.Item()))
	}
	return data.All(ds)
}

// scene is an energy with what lies over it.
type scene struct {
	e      *ebm.Energy
	title  string
	limits box
	log    bool
	layers []picture.Points
}

// cells is the number of cells of a drawn axis.
const cells = 300

func (s scene) draw(ctx context.Context, w io.Writer) error {
	limits := s.limits
	if limits == nil {
		limits = s.around()
	}
	if s.e.Dim() == 1 {
		p := picture.Profile{Title: s.title, XMin: limits[0], XMax: limits[1], Log: s.log, Layers: s.layers}
		energy, err := s.energies(ctx, p.Inputs(2*cells))
		if err != nil {
			return err
		}
		p.Energy = energy
		for i := range p.Layers {
			if p.Layers[i].Color == picture.Data {
				p.Layers[i].Color = picture.DataBars
			}
		}
		return p.WritePNG(w)
	}
	l := picture.Landscape{Title: s.title, XMin: limits[0], XMax: limits[1], YMin: limits[2], YMax: limits[3], Columns: cells, Rows: cells, Log: s.log, Layers: s.layers}
	energy, err := s.energies(ctx, l.Inputs())
	if err != nil {
		return err
	}
	l.Energy = energy
	return l.WritePNG(w)
}

// energies evaluates in chunks, so that a picture takes little memory.
func (s scene) energies(ctx context.Context, x []float32) ([]float32, error) {
	d := s.e.Dim()
	n := len(x) / d
	out := make([]float32, n)
	const chunk = 10000
	for first := 0; first < n; first += chunk {
		rows := min(chunk, n-first)
		if err := s.e.EnergyGradient(ctx, x[first*d:(first+rows)*d], rows, out[first:first+rows], nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// around holds all points with a margin, or is [−4, 4] where there are none.
func (s scene) around() box {
	d := s.e.Dim()
	limits := make(box, 2*d)
	for j := range d {
		lo, hi := math.Inf(1), math.Inf(-1)
		for _, layer := range s.layers {
			for i := j; i < len(layer.X); i += d {
				lo, hi = min(lo, float64(layer.X[i])), max(hi, float64(layer.X[i]))
			}
		}
		switch margin := 0.15 * (hi - lo); {
		case lo > hi:
			lo, hi = -4, 4
		case margin == 0:
			lo, hi = lo-1, hi+1
		default:
			lo, hi = lo-margin, hi+margin
		}
		limits[2*j], limits[2*j+1] = lo, hi
	}
	return limits
}
