package models

import (
	"fmt"
	"maps"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// network is a graph being built with parameters that are drawn by key.
type network struct {
	*graphs.Builder
	key        rng.Key
	act        activation
	init       string
	spectral   bool // layers are divided by their spectral norms
	item       []int64
	parameters int64

	text    string // the specification
	out     activation
	classes int64
	last    *graphs.Value // of the last layer, [N, max(classes, 1)]
}

// architecture is one row of the table of networks. read takes its own keys; what it returns builds features [N, F] from the items.
type architecture struct {
	Formula string
	Keys    []string
	Note    string
	act     string // default activation
	read    func(s *spec.Spec, item []int64) body
}

// body builds the features of a batch of items.
type body func(m *network, x *graphs.Value) features

// features is [N, width], and the name of the linear layer that makes energies of it.
type features struct {
	v     *graphs.Value
	width int64
	head  string
}

func architectures() map[string]architecture {
	return map[string]architecture{
		"mlp": {
			"E = Linear(act(Linear(…act(Linear(x)))))", nil,
			"mlp:128,128 has two hidden layers; items are flattened", "silu", mlp,
		},
		"convnet": {
			"E = Linear(pool(act(Conv(…act(Conv(x))))))", []string{"pool=flatten", "dense=0"},
			"convnet:32,64 has two 3×3 convolutions, all but the first of stride 2; images [H, W] or [C, H, W]; pool: flatten, mean, sum; dense=128: dense layers before the last", "silu", convnet,
		},
		"resnet": {
			"E = Linear(pool(act(norm(blocks(Conv(x)))))), block(x) = x + Conv(act(norm(Conv(act(norm(x))))))",
			[]string{"blocks=1", "groups=8", "norm=group", "pool=mean"},
			"resnet:64,128 has two stages, the second of half the size; images [H, W] or [C, H, W]; norm: group, none; of groups as many as divide the width", "silu", resnet,
		},
		"unet": {
			"E = Linear(pool(u)), u = act(Conv([double(u), d])) over d = act(Conv(…act(Conv(x))))", []string{"pool=mean"},
			"unet:16,32 is U-shaped: down to half the size with 32 channels, up again with 16; images [H, W] or [C, H, W]; pool: mean, sum, flatten", "silu", unet,
		},
		"transformer": {
			"E = Linear(mean(norm(blocks(embed(x) + positions)))), block: x + attention(norm(x)), then x + mlp(norm(x))",
			[]string{"depth=2", "heads=4", "mlp=4", "positions=learned", "patch=4"},
			"transformer:64 has width 64; tokens are the rows of items [T, F], coordinates of items [D] or patches of images [C, H, W]; positions: learned, none", "gelu", transformer,
		},
	}
}

// NetworkHelp lists the networks by name, in alphabetical order.
func NetworkHelp() []Entry {
	table := architectures()
	var out []Entry
	for _, name := range slices.Sorted(maps.Keys(table)) {
		d := table[name]
		keys := slices.Concat(d.Keys, []string{"act=" + d.act, "out=none", "init=torch", "classes=0", "spectral=false"})
		out = append(out, Entry{name, d.Formula, keys, d.Note})
	}
	return out
}

// Network makes a trainable energy of items of the given shape:
//
//	mlp:128,128[:act=silu][:out=none][:init=torch][:classes=0]
//
// and others of NetworkHelp. act is the activation of hidden layers; out is applied to the energy itself (tanh and sigmoid bound it,
// softplus bounds it from below); init says how weights are drawn, from the key alone. classes=K gives the network K outputs f and the
// energy −log Σ exp fₖ of a classifier read as an energy (Grathwohl et al., ICLR 2020). spectral=true divides the weights of every
// layer but the last by their spectral norm (Miyato et al., ICLR 2018), which bounds how steep the energy is; the parameters stay plain.
//
// Parameters are named as PyTorch names them: weights [out, in…] and biases [out]. Unknown names and keys are errors that list the valid ones.
func Network(text string, item []int64, key rng.Key) (*graphs.Graph, error) {
	m, err := buildNetwork(text, item, key)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	g, err := finish(m.Builder, m.out.apply(m.Builder, m.energy()), m.text)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	if m.classes > 1 {
		g.Metadata[MetadataLogits] = m.last.Name
	}
	return g, nil
}

// buildNetwork makes everything but the last step, from the last layer's outputs to an energy.
func buildNetwork(text string, item []int64, key rng.Key) (*network, error) {
	s, err := spec.Parse(text)
	if err != nil {
		return nil, err
	}
	a, err := spec.Lookup("network", s.Name, architectures())
	if err != nil {
		return nil, err
	}
	size := int64(1)
	for _, d := range item {
		if d < 1 || d > maxDim {
			return nil, fmt.Errorf("%s: items of shape %v: every extent must be from 1 to %d", text, item, maxDim)
		}
		if size *= d; size > maxParameters {
			return nil, fmt.Errorf("%s: items of shape %v are too large", text, item)
		}
	}
	if len(item) == 0 {
		return nil, fmt.Errorf("%s: items have no shape; give at least one extent", text)
	}
	build := a.read(s, item)
	m := &network{Builder: graphs.NewBuilder("energy"), key: key, item: item, text: s.String()}
	m.act = activations[s.Word("act", a.act, Activations()...)]
	m.out = activations[s.Word("out", "none", Activations()...)]
	m.init = s.Word("init", "torch", Initialisations()...)
	m.classes = int64(s.Count("classes", 0, 0))
	m.spectral = s.Bool("spectral", false)
	if err := s.Done(); err != nil {
		return nil, err
	}
	shape := graphs.Shape{graphs.Symbol("N")}
	for _, d := range item {
		shape = append(shape, graphs.Static(d))
	}
	f := build(m, m.Input("x", graphs.Float32, shape))
	if m.Err() == nil {
		// The last layer sets the scale of the energy.
		m.spectral = false
		m.last = m.linear(f.head, f.v, f.width, max(m.classes, 1), 1)
		if m.classes > 1 {
			m.last.Name = logits
		}
	}
	if m.Err() != nil {
		return nil, fmt.Errorf("%s: %w", text, m.Err())
	}
	return m, nil
}

// energy is the one output, or −log Σ exp of several.
func (m *network) energy() *graphs.Value {
	if m.classes == 0 {
		return m.Op("Squeeze", nil, m.last, m.Ints(1))
	}
	return m.Op("Neg", nil, logSumExp(m.Builder, m.last))
}

// linear is x·Wᵀ + b of [rows, in], with W [out, in].
func (m *network) linear(name string, x *graphs.Value, in, out int64, gain float64) *graphs.Value {
	w := m.weights(name+".weight", int(out), gain, out, in)
	bias := m.bias(name+".bias", out, in)
	if w == nil || bias == nil {
		return &graphs.Value{}
	}
	return m.Op("Gemm", graphs.Attrs{"transB": int64(1)}, x,
		m.normed(name, m.Param(name+".weight", graphs.NewTensor(w, out, in))), m.Param(name+".bias", graphs.NewTensor(bias, out)))
}

// bias is U(±1/√fan-in) with init=torch, else 0.
func (m *network) bias(name string, out, fanIn int64) []float32 {
	if !m.reserve(out) {
		return nil
	}
	b := make([]float32, out)
	if m.init == "torch" {
		initialisers["torch"](b, int(out), int(fanIn), 0, 1, m.key.Sub(name))
	}
	return b
}

// hidden applies the activation.
func (m *network) hidden(x *graphs.Value) *graphs.Value { return m.act.apply(m.Builder, x) }

// flat is [N, D] of items of any shape.
func (m *network) flat(x *graphs.Value) *graphs.Value {
	if x.Rank() == 2 {
		return x
	}
	return m.Op("Flatten", graphs.Attrs{"axis": int64(1)}, x)
}

// widths reads the list after the name.
func widths(s *spec.Spec, def ...int) []int64 { return checkWidths(s, s.ListInts(def...)) }

// checkWidths latches an error for a width out of range.
func checkWidths(s *spec.Spec, list []int) []int64 {
	var out []int64
	for _, w := range list {
		if w < 1 || w > maxDim {
			s.Fail("a width must be from 1 to %d, not %d", maxDim, w)
		}
		out = append(out, int64(w))
	}
	return out
}
