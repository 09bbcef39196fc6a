package models

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// nets are networks and the items they are tried on.
var nets = []struct {
	text string
	item []int64
}{
	{"mlp:7,6", []int64{3}},
	{"mlp:4:act=gelu:out=softplus", []int64{2, 3}},
	{"convnet:3,4", []int64{2, 5, 4}},
	{"convnet:3,4,2:pool=mean:act=softplus:init=orthogonal", []int64{5, 6}},
	{"convnet:3:pool=sum:classes=3", []int64{4, 4}},
	{"mlp:5,4:spectral=true", []int64{3}},
	{"convnet:3,4:spectral=true", []int64{4, 4}},
	{"resnet:4,6:groups=2", []int64{1, 4, 5}},
	{"resnet:4,3:blocks=2:norm=none:pool=flatten:act=tanh", []int64{4, 4}},
	{"convnet:3,4:dense=5,4", []int64{4, 4}},
	{"unet:3,4", []int64{1, 4, 6}},
	{"unet:3,4,2:pool=sum:act=tanh:classes=2", []int64{2, 5, 3}},
	{"transformer:8:heads=2:depth=1", []int64{3}},
	{"transformer:6:heads=3:positions=none:mlp=2", []int64{4, 2}},
	{"transformer:4:heads=1:patch=2:depth=1:act=silu", []int64{2, 4, 6}},
}

func ints(item []int64, n int) (dims []int, size int) {
	dims, size = []int{n}, 1
	for _, d := range item {
		dims, size = append(dims, int(d)), size*int(d)
	}
	return dims, size
}

// Gradients and Hessian-vector products of every architecture agree with differences of energies and gradients in float64, up to the
// constants that derivatives add (such as 1/6), which are rounded to float32.
func TestNetworkDerivatives(t *testing.T) {
	for _, s := range nets {
		t.Run(s.text, func(t *testing.T) {
			g := netOf(t, s.text, s.item...)
			const n, h = 2, 1e-4
			dims, size := ints(s.item, n)
			x, v := points(n, size, 1), points(n, size+1, 1)[:n*size]
			moved := func(k float64) []float64 {
				p := make([]float64, len(x))
				for i := range x {
					p[i] = x[i] + k*h*v[i]
				}
				return p
			}
			out := run(t, g, gradients.Gradient|gradients.HVP, dims, x, v)
			var along [4]map[string]*graphs.Array
			for i, k := range []float64{-2, -1, 1, 2} {
				along[i] = run(t, g, gradients.Energy|gradients.Gradient, dims, moved(k), nil)
			}
			slope := func(name string, i int) float64 {
				return (8*(along[2][name].F[i]-along[1][name].F[i]) - (along[3][name].F[i] - along[0][name].F[i])) / (12 * h)
			}
			largest := 0.0
			for i := range n {
				d := dot(out["gradient"].F[i*size:(i+1)*size], v[i*size:(i+1)*size])
				require.InDelta(t, slope("energy", i), d, 1e-7)
				largest = max(largest, math.Abs(d))
			}
			require.Greater(t, largest, 1e-4, "the energy depends on x")
			for i, hv := range out["hvp"].F {
				require.InDelta(t, slope("gradient", i), hv, 1e-7)
			}
		})
	}
}

// E of rows together is E of rows alone, and the files need no opset above 19.
func TestNetworkRowsAreIndependent(t *testing.T) {
	for _, s := range nets {
		g := netOf(t, s.text, s.item...)
		dims, size := ints(s.item, 3)
		x := points(3, size, 2)
		all := run(t, g, gradients.Energy, dims, x, nil)["energy"].F
		dims[0] = 1
		for i, e := range all {
			one := run(t, g, gradients.Energy, dims, x[i*size:(i+1)*size], nil)["energy"].F
			require.InDelta(t, one[0], e, 1e-12, s.text)
		}
		require.NotEqual(t, all[0], all[1], s.text)
		_, err := graphs.Encode(g, graphs.WriteOptions{MaxOpset: 19})
		require.NoError(t, err, s.text)
	}
}

func TestParameterNamesAndShapes(t *testing.T) {
	want := map[string]map[string][]int64{
		"convnet:3,4": {
			"layers.0.weight": {3, 2, 3, 3}, "layers.0.bias": {3}, "layers.1.weight": {4, 3, 3, 3}, "layers.1.bias": {4},
			"head.weight": {1, 4 * 3 * 2}, "head.bias": {1},
		},
		"resnet:4,6:norm=none": {
			"stem.weight": {4, 2, 3, 3}, "stem.bias": {4},
			"stages.0.0.conv1.weight": {4, 4, 3, 3}, "stages.0.0.conv1.bias": {4}, "stages.0.0.conv2.weight": {4, 4, 3, 3}, "stages.0.0.conv2.bias": {4},
			"stages.1.0.conv1.weight": {6, 4, 3, 3}, "stages.1.0.conv1.bias": {6}, "stages.1.0.conv2.weight": {6, 6, 3, 3}, "stages.1.0.conv2.bias": {6},
			"stages.1.0.shortcut.weight": {6, 4, 1, 1}, "stages.1.0.shortcut.bias": {6}, "head.weight": {1, 6}, "head.bias": {1},
		},
	}
	for text, shapes := range want {
		got := map[string][]int64{}
		for name, p := range paramsOf(netOf(t, text, 2, 5, 4)) {
			got[name] = p.Dims
		}
		require.Equal(t, shapes, got, text)
	}
	p := paramsOf(netOf(t, "resnet:4", 4, 4))
	require.Equal(t, []float64{1, 1, 1, 1}, p["stages.0.0.norm1.weight"].Float64s())
	require.Equal(t, []float64{0, 0, 0, 0}, p["norm.bias"].Float64s())
}

// image is [channels][height·width].
type handImage struct {
	c    [][]float64
	h, w int
}

// convByHand is a 3×3 convolution, written out.
func convByHand(p map[string]*graphs.Tensor, name string, x handImage, stride int) handImage {
	k, bias := p[name+".weight"].Float64s(), p[name+".bias"].Float64s()
	y := handImage{h: (x.h + stride - 1) / stride, w: (x.w + stride - 1) / stride}
	for o, v0 := range bias {
		var plane []float64
		for i := range y.h {
			for j := range y.w {
				v := v0
				for in, channel := range x.c {
					for a := range 3 {
						for b := range 3 {
							if r, c := i*stride+a-1, j*stride+b-1; r >= 0 && r < x.h && c >= 0 && c < x.w {
								v += k[(o*len(x.c)+in)*9+3*a+b] * channel[r*x.w+c]
							}
						}
					}
				}
				plane = append(plane, v)
			}
		}
		y.c = append(y.c, plane)
	}
	return y
}

// headByHand is the linear layer over the sums of channels.
func headByHand(p map[string]*graphs.Tensor, y handImage) float64 {
	e := p["head.bias"].Float64s()[0]
	for o, plane := range y.c {
		for _, v := range plane {
			e += p["head.weight"].Float64s()[o] * v
		}
	}
	return e
}

func TestConvolutionByHand(t *testing.T) {
	g := netOf(t, "convnet:1,2:pool=sum:act=none", 5, 4)
	p := paramsOf(g)
	x := points(1, 20, 1)
	y := convByHand(p, "layers.1", convByHand(p, "layers.0", handImage{[][]float64{x}, 5, 4}, 1), 2)
	require.InDelta(t, headByHand(p, y), run(t, g, gradients.Energy, []int{1, 5, 4}, x, nil)["energy"].F[0], 1e-12)
}

// Down to 3×2, doubled to 6×4 and cut to 5×4, beside the first picture, and one more convolution.
func TestUnetByHand(t *testing.T) {
	g := netOf(t, "unet:2,3:pool=sum:act=none", 5, 4)
	p := paramsOf(g)
	x := points(1, 20, 1)
	first := convByHand(p, "down.0", handImage{[][]float64{x}, 5, 4}, 1)
	low := convByHand(p, "down.1", first, 2)
	both := handImage{h: 5, w: 4}
	for _, plane := range low.c {
		var large []float64
		for i := range 5 {
			for j := range 4 {
				large = append(large, plane[i/2*low.w+j/2])
			}
		}
		both.c = append(both.c, large)
	}
	both.c = append(both.c, first.c...)
	require.InDelta(t, headByHand(p, convByHand(p, "up.0", both, 1)), run(t, g, gradients.Energy, []int{1, 5, 4}, x, nil)["energy"].F[0], 1e-12)
}

func TestGroupNormByHand(t *testing.T) {
	m := &network{Builder: graphs.NewBuilder("norm"), init: "torch"}
	in := m.Input("x", graphs.Float64, graphs.Shape{graphs.Symbol("N"), graphs.Static(6), graphs.Static(2), graphs.Static(2)})
	y := m.groupNorm("norm", picture{in, 6, 2, 2}, 3)
	g, err := m.Graph(graphs.Output{Name: "y", Value: y})
	require.NoError(t, err)
	x := points(2, 24, 3)
	out, err := graphs.Evaluate(g, map[string]*graphs.Array{"x": graphs.Floats([]int{2, 6, 2, 2}, x)})
	require.NoError(t, err)
	for start := 0; start < len(x); start += 8 {
		mean, square := 0.0, 0.0
		for _, v := range x[start : start+8] {
			mean += v / 8
			square += v * v / 8
		}
		for i, v := range x[start : start+8] {
			require.InDelta(t, (v-mean)/math.Sqrt(square-mean*mean+1e-5), out["y"].F[start+i], 1e-8)
		}
	}
}

// matrix helpers of the transformer by hand: rows of x through a named linear layer, and layer normalisation of rows.
func rowsThrough(p map[string]*graphs.Tensor, name string, x [][]float64) [][]float64 {
	w, b := p[name+".weight"].Float64s(), p[name+".bias"].Float64s()
	out := make([][]float64, len(x))
	for i, r := range x {
		for j := range b {
			out[i] = append(out[i], b[j]+dot(w[j*len(r):(j+1)*len(r)], r))
		}
	}
	return out
}

func normalisedRows(x [][]float64) [][]float64 {
	out := make([][]float64, len(x))
	for i, r := range x {
		mean, square := 0.0, 0.0
		for _, v := range r {
			mean += v / float64(len(r))
			square += v * v / float64(len(r))
		}
		for _, v := range r {
			out[i] = append(out[i], (v-mean)/math.Sqrt(square-mean*mean+1e-5))
		}
	}
	return out
}

func addRows(x, y [][]float64) {
	for i := range x {
		for j := range x[i] {
			x[i][j] += y[i][j]
		}
	}
}

func TestTransformerByHand(t *testing.T) {
	const count, width, heads = 3, 4, 2
	g := netOf(t, "transformer:4:heads=2:depth=1:act=tanh", count, 2)
	p := paramsOf(g)
	in := points(1, count*2, 1)
	x := rowsThrough(p, "embed", [][]float64{in[:2], in[2:4], in[4:]})
	positions := p["positions"].Float64s()
	addRows(x, [][]float64{positions[:4], positions[4:8], positions[8:]})

	qkv := rowsThrough(p, "blocks.0.attention.qkv", normalisedRows(x))
	mixed := [][]float64{make([]float64, width), make([]float64, width), make([]float64, width)}
	const d = width / heads
	for h := range heads {
		for i := range count {
			scores := make([]float64, count)
			for j := range count {
				scores[j] = dot(qkv[i][h*d:(h+1)*d], qkv[j][width+h*d:width+(h+1)*d]) / math.Sqrt(d)
			}
			total := logSumExpOf(scores)
			for j := range count {
				for k := range d {
					mixed[i][h*d+k] += math.Exp(scores[j]-total) * qkv[j][2*width+h*d+k]
				}
			}
		}
	}
	addRows(x, rowsThrough(p, "blocks.0.attention.out", mixed))
	hidden := rowsThrough(p, "blocks.0.mlp.0", normalisedRows(x))
	for i := range hidden {
		for j, v := range hidden[i] {
			hidden[i][j] = math.Tanh(v)
		}
	}
	addRows(x, rowsThrough(p, "blocks.0.mlp.1", hidden))
	mean := make([]float64, width)
	for _, r := range normalisedRows(x) {
		for j, v := range r {
			mean[j] += v / count
		}
	}
	want := rowsThrough(p, "head", [][]float64{mean})[0][0]
	require.InDelta(t, want, run(t, g, gradients.Energy, []int{1, count, 2}, in, nil)["energy"].F[0], 1e-7)
}

func TestTransformerOfASet(t *testing.T) {
	x := []float64{1, 2, -1, 0.5, 3, -2}
	y := []float64{3, -2, 1, 2, -1, 0.5}
	dims := []int{1, 3, 2}
	set := netOf(t, "transformer:8:positions=none", 3, 2)
	require.InDelta(t, run(t, set, gradients.Energy, dims, x, nil)["energy"].F[0], run(t, set, gradients.Energy, dims, y, nil)["energy"].F[0], 1e-12)
	sequence := netOf(t, "transformer:8", 3, 2)
	e := run(t, sequence, gradients.Energy, dims, x, nil)["energy"].F[0]
	require.Greater(t, math.Abs(e-run(t, sequence, gradients.Energy, dims, y, nil)["energy"].F[0]), 1e-6)
}

// A transformer of images is the transformer of their patches: the same key gives the same weights.
func TestPatches(t *testing.T) {
	const c, h, w, p = 2, 4, 6, 2
	x := points(1, c*h*w, 1)
	var patches []float64
	for i := 0; i < h; i += p {
		for j := 0; j < w; j += p {
			for k := range c {
				for a := range p {
					for b := range p {
						patches = append(patches, x[k*h*w+(i+a)*w+j+b])
					}
				}
			}
		}
	}
	image := run(t, netOf(t, "transformer:8:patch=2", c, h, w), gradients.Energy, []int{1, c, h, w}, x, nil)
	rows := run(t, netOf(t, "transformer:8", h/p*w/p, c*p*p), gradients.Energy, []int{1, h / p * w / p, c * p * p}, patches, nil)
	require.InDelta(t, rows["energy"].F[0], image["energy"].F[0], 1e-12)
}

func TestLayerErrors(t *testing.T) {
	for _, s := range []struct {
		text string
		item []int64
		want string
	}{
		{"convnet:8", []int64{2}, "convnet takes images of shape [H, W] or [C, H, W], not items of shape [2]"},
		{"resnet:8", []int64{1, 2, 3, 4}, "resnet takes images"},
		{"convnet:8:pool=max", []int64{4, 4}, "valid: flatten, mean, sum"},
		{"transformer:8:patch=3", []int64{1, 4, 4}, "patch=3 does not divide images of 4 by 4"},
		{"transformer:8:patch=3", []int64{4, 4}, "patch goes with images"},
		{"transformer:9", []int64{4}, "the width 9 is not a multiple of heads=4"},
		{"transformer:8,8", []int64{4}, "takes one width"},
		{"transformer:8", []int64{1, 1, 1, 1}, "takes items of shape"},
		{"resnet:100000", []int64{4, 4}, "more than 268435456 parameters"},
		{"mlp:8192:init=orthogonal", []int64{8192}, "use another init"},
	} {
		_, err := Network(s.text, s.item, rng.NewKey(0))
		require.ErrorContains(t, err, s.want, s.text)
	}
}

// The help states the real keys and defaults of every network.
func TestNetworkHelpIsTrue(t *testing.T) {
	for _, e := range NetworkHelp() {
		item, list := []int64{1, 4, 4}, "8,8"
		if e.Name == "transformer" {
			list = "8"
		}
		_, err := Network(e.Name+":"+list+":zzz=1", item, rng.NewKey(0))
		require.ErrorContains(t, err, "unknown key zzz")
		var names []string
		text := e.Name + ":" + list
		for _, k := range e.Keys {
			text += ":" + k
			names = append(names, cutKey(k))
		}
		require.ElementsMatch(t, names, validKeys(err), e.Name)
		require.Equal(t, graphs.Print(netOf(t, e.Name+":"+list, item...)), graphs.Print(netOf(t, text, item...)), e.Name)
	}
}
