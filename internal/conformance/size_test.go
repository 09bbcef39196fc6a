package conformance

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// derivedOpset is that of derived files.
const derivedOpset = 19

const fixtureDir = "../../../shared/fixtures"

// named is an energy graph with a name for messages.
type named struct {
	name  string
	graph *graphs.Graph
}

// exported imports the reference models beside the project, as their index says.
func exported(t testing.TB) []named {
	raw, err := os.ReadFile(filepath.Join(fixtureDir, "index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	index := map[string]struct {
		Energy string
		Set    map[string]any
	}{}
	require.NoError(t, json.Unmarshal(raw, &index))
	var list []named
	for name, f := range index {
		src, _, err := graphs.ReadFile(filepath.Join(fixtureDir, name, "model.onnx"))
		require.NoError(t, err, name)
		o := ebm.ImportOptions{As: f.Energy, Set: map[string]ebm.SetValue{}}
		for k, v := range f.Set {
			_, value, err := ebm.ParseSet(fmt.Sprintf("%s=%v", k, v))
			require.NoError(t, err)
			o.Set[k] = value
		}
		g, _, err := ebm.Import(src, o)
		require.NoError(t, err, name)
		list = append(list, named{name, g})
	}
	slices.SortFunc(list, func(a, b named) int { return cmp.Compare(a.name, b.name) })
	return list
}

// built are models of the same kinds, made here.
func built(t testing.TB) []named {
	var list []named
	for _, m := range []struct {
		text string
		item []int64
	}{
		{"mlp:64,64:act=silu", []int64{2}}, {"mlp:32,32,32:act=tanh", []int64{5}}, {"mlp:64,64:act=relu", []int64{4}}, {"mlp:64:act=softplus", []int64{8}},
		{"mlp:64,64:act=gelu", []int64{3}}, {"mlp:64,64:act=elu", []int64{4}}, {"convnet:16,32:act=silu", []int64{1, 8, 8}},
		{"convnet:16,32:pool=mean:act=elu", []int64{1, 8, 8}}, {"resnet:16,32", []int64{1, 8, 8}}, {"transformer:32:depth=2", []int64{8, 4}},
	} {
		g, err := models.Network(m.text, m.item, rng.NewKey(1))
		require.NoError(t, err, m.text)
		list = append(list, named{m.text, g})
	}
	return list
}

// TestSize: a derived graph is a small multiple of its energy. Constant and Identity nodes do not count.
func TestSize(t *testing.T) {
	var table strings.Builder
	var ratios [2][]float64
	for _, m := range append(exported(t), built(t)...) {
		fmt.Fprintf(&table, "\n%-34s %4d", m.name, m.graph.CountNodes())
		for i, w := range []gradients.Want{gradients.Gradient, gradients.HVP} {
			g, err := gradients.Derive(m.graph, w)
			require.NoError(t, err, m.name)
			g, err = gradients.Finalize(g, derivedOpset)
			require.NoError(t, err, m.name)
			ratio := float64(g.CountNodes()) / float64(m.graph.CountNodes())
			ratios[i] = append(ratios[i], ratio)
			fmt.Fprintf(&table, "%6d %5.2f", g.CountNodes(), ratio)
		}
	}
	for i := range ratios {
		slices.Sort(ratios[i])
	}
	gradient, hvp := ratios[0][len(ratios[0])/2], ratios[1][len(ratios[1])/2]
	t.Logf("nodes of energy, gradient and Hessian-vector product:%s\nmedian ratios %.2f and %.2f", table.String(), gradient, hvp)
	require.LessOrEqual(t, gradient, 3.0)
	require.LessOrEqual(t, hvp, 8.0)
}
