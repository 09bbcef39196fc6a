package main

import (
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
)

type lossOutcome struct {
	Loss  float64
	Terms map[string]float64
}

func lossOf(t *testing.T, args ...string) lossOutcome {
	t.Helper()
	var j lossOutcome
	require.NoError(t, json.Unmarshal([]byte(succeed(t, append([]string{"loss"}, append(args, "--json")...)...).stdout), &j))
	return j
}

// TestLossesInClosedForm uses E = ½‖x‖², where ∇E = x, ∇²E = I.
func TestLossesInClosedForm(t *testing.T) {
	needRuntime(t)
	const n, m, d = 6, 4, 2
	dir := t.TempDir()
	file := func(name string, shape ...int) (string, []float64) {
		data := normals(name, product(shape))
		return writeArray(t, filepath.Join(dir, name+".npy"), data, shape...), float64s(data)
	}
	xFile, x := file("x", n, d)
	negFile, neg := file("neg", m, d)
	epsFile, eps := file("eps", 2, n, d)
	vFile, v := file("v", n, d)
	norm := func(x []float64) (s float64) {
		for _, v := range x {
			s += v * v
		}
		return s
	}
	base := []string{"builtin:harmonic", "--in", xFile}
	with := func(more ...string) []string { return append(append([]string{}, base...), more...) }
	pos, negative := norm(x)/2/n, norm(neg)/2/m

	cd := lossOf(t, with("--loss", "cd", "--neg", negFile)...)
	require.InDelta(t, pos-negative, cd.Loss, 1e-5)
	require.InDelta(t, pos, cd.Terms["pos_energy"], 1e-5)
	require.InDelta(t, negative, cd.Terms["neg_energy"], 1e-5)
	require.InDelta(t, negative-pos, cd.Terms["energy_gap"], 1e-5)
	require.Contains(t, cd.Terms, "reg_loss")

	sm := lossOf(t, with("--loss", "sm")...)
	require.InDelta(t, pos-d, sm.Loss, 1e-5)
	require.InDelta(t, pos, sm.Terms["gradient_term"], 1e-5)
	require.InDelta(t, d, sm.Terms["hessian_term"], 1e-5)

	vr := lossOf(t, with("--loss", "ssm-vr", "--vector", vFile)...)
	require.InDelta(t, pos-norm(v)/n, vr.Loss, 1e-5)

	slices := 0.0
	for i := range n {
		dot := x[2*i]*v[2*i] + x[2*i+1]*v[2*i+1]
		slices += dot * dot / 2 / n
	}
	require.InDelta(t, slices-norm(v)/n, lossOf(t, with("--loss", "ssm", "--vector", vFile)...).Loss, 1e-5)

	dsm := lossOf(t, with("--loss", "dsm", "--noise", epsFile, "--sigma", "0.50,2")...)
	want := [2]float64{}
	for s, sigma := range []float64{0.5, 2} {
		for i := range n * d {
			e := eps[s*n*d+i]
			r := x[i] + sigma*e - e/sigma
			want[s] += r * r / 2 / n
		}
	}
	require.InDelta(t, want[0], dsm.Terms["loss_sigma_0.50"], 1e-4)
	require.InDelta(t, want[1], dsm.Terms["loss_sigma_2"], 1e-4)
	require.InDelta(t, (0.25*want[0]+4*want[1])/2, dsm.Loss, 1e-4)
	one := lossOf(t, with("--loss", "dsm:sigma=0.50,2", "--noise", epsFile, "--weight", "one")...)
	require.InDelta(t, (want[0]+want[1])/2, one.Loss, 1e-4)

	// NCE: ν = M/N, noise N(1, 2²).
	nce := lossOf(t, with("--loss", "nce", "--neg", negFile, "--noise-density", "gaussian:mean=1,1:std=2", "--log-z", "0.7")...)
	logits := func(p []float64) float64 {
		logp := -math.Log(2*math.Pi) - 2*math.Log(2)
		for _, c := range p {
			logp -= (c - 1) * (c - 1) / 8
		}
		return -norm(p)/2 - 0.7 - logp - math.Log(float64(m)/n)
	}
	softplus := func(v float64) float64 { return math.Log1p(math.Exp(v)) }
	posLoss, negLoss := 0.0, 0.0
	for i := range n {
		posLoss += softplus(-logits(x[2*i:2*i+2])) / n
	}
	for i := range m {
		negLoss += float64(m) / n * softplus(logits(neg[2*i:2*i+2])) / m
	}
	require.InDelta(t, posLoss, nce.Terms["pos_loss"], 1e-5)
	require.InDelta(t, negLoss, nce.Terms["neg_loss"], 1e-5)
	require.InDelta(t, posLoss+negLoss, nce.Loss, 1e-5)
	require.InDelta(t, 0.7, nce.Terms["log_z"], 1e-6)
}

func TestLossGradients(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	m := writeNet(t, filepath.Join(dir, "net.onnx"), "mlp:6", 2)
	x := writeArray(t, filepath.Join(dir, "x.npy"), normals("x", 20), 10, 2)
	eps := writeArray(t, filepath.Join(dir, "eps.npy"), normals("eps", 20), 10, 2)
	grads := filepath.Join(dir, "g.npz")
	args := []string{"--loss", "dsm", "--in", x, "--noise", eps, "--sigma", "0.5"}
	lossOf(t, append([]string{m, "--grads", grads}, args...)...)
	entries, err := npy.ReadArchive(grads)
	require.NoError(t, err)
	source, _, err := graphs.ReadFile(m)
	require.NoError(t, err)
	require.Len(t, entries, len(source.Params()))
	// The directional derivative along the gradient itself, by moving the file.
	norm := 0.0
	moved := func(h float64) float64 {
		tensors := map[string]*graphs.Tensor{}
		norm = 0
		for _, e := range entries {
			p := source.Params()[0]
			for _, q := range source.Params() {
				if q.Name == e.Name {
					p = q
				}
			}
			require.Equal(t, p.Tensor.Dims, append([]int64{}, int64s(e.Shape)...), e.Name)
			data := append([]float32{}, graphs.Data[float32](p.Tensor)...)
			for i, g := range e.Data {
				data[i] += float32(h * float64(g))
				norm += float64(g) * float64(g)
			}
			tensors[e.Name] = graphs.NewTensor(data, p.Tensor.Dims...)
		}
		g, err := graphs.WithTensors(source, tensors)
		require.NoError(t, err)
		return lossOf(t, append([]string{writeGraph(t, filepath.Join(dir, "moved.onnx"), g)}, args...)...).Loss
	}
	const h = 2e-2
	require.InEpsilon(t, 1, (moved(h)-moved(-h))/(2*h)/norm, 5e-3)
}

func TestLossThatIsNotFinite(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	x := writeArray(t, filepath.Join(dir, "x.npy"), []float32{1e30, 0}, 1, 2)
	grads := filepath.Join(dir, "g.npz")
	for _, more := range [][]string{{"--loss", "sm"}, {"--loss", "cd", "--neg", x}} {
		args := append([]string{"loss", "builtin:double-well", "--in", x, "--grads", grads, "--json"}, more...)
		require.Empty(t, fail(t, exitFailure, args, "not finite").stdout)
		require.NoFileExists(t, grads)
	}
}

func TestLossOfAModelWithoutParameters(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	x := writeArray(t, filepath.Join(dir, "x.npy"), normals("x", 4), 2, 2)
	grads := filepath.Join(dir, "g.npz")
	o := succeed(t, "loss", "builtin:double-well", "--loss", "sm", "--in", x, "--grads", grads)
	require.Contains(t, o.stderr, "no parameters")
	entries, err := npy.ReadArchive(grads)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestKinkedModelsAreWarnedOf(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	m := writeNet(t, filepath.Join(dir, "net.onnx"), "mlp:6:act=relu", 2)
	x := writeArray(t, filepath.Join(dir, "x.npy"), normals("x", 20), 10, 2)
	o := succeed(t, "loss", m, "--loss", "sm", "--in", x)
	require.Contains(t, o.stderr, "Relu")
	require.Contains(t, o.stderr, "silu")
	require.Empty(t, succeed(t, "loss", m, "--loss", "sm", "--in", x, "-q").stderr)
}
