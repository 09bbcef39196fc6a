package main

import (
	"context"
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/train"
	"github.com/onnx-ebm/onnx-ebm/gradients"
	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/runtime"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// benchCase is one case: prepare makes what a round runs, and what gives it back.
type benchCase struct {
	suite, name string
	prepare     func(rt *runtime.Runtime) (run func(context.Context) error, done func(), err error)
}

func benchSuites() []string { return []string{"samplers", "losses", "energies", "derive"} }

// The registry's scales: rows, dimensions, sampler steps.
var benchScales = []struct {
	name          string
	n, dim, steps int
}{{"small", 64, 8, 50}, {"medium", 256, 32, 100}, {"large", 1024, 128, 200}}

// The other samplers on the double well; nuts at a step that its trees end at, and not their depth.
func benchKernels() []namedKernel {
	step := schedule.Constant{Value: 1e-3}
	return []namedKernel{
		{"mala", &samplers.MALA{StepSize: step}},
		{"rwm", &samplers.RWM{StepSize: schedule.Constant{Value: 1e-2}}},
		{"underdamped", &samplers.Underdamped{StepSize: schedule.Constant{Value: 1e-2}}},
		{"nuts", &samplers.NUTS{Hamiltonian: samplers.Hamiltonian{StepSize: schedule.Constant{Value: 0.2}}}},
		{"annealed-langevin", &samplers.AnnealedLangevin{Langevin: samplers.Langevin{StepSize: step}}},
		{"parallel-tempering", &samplers.ParallelTempering{StepSize: step}},
		{"gradient-descent", &samplers.GradientDescent{StepSize: step}},
		{"nesterov", &samplers.Nesterov{StepSize: step}},
	}
}

type namedKernel struct {
	name   string
	kernel samplers.Kernel
}

// The networks of Langevin runs: dimensions, hidden units, chains, steps.
var benchNets = []struct{ dim, hidden, chains, steps int }{
	{2, 64, 1, 200}, {2, 64, 128, 200}, {2, 64, 1024, 100}, {2, 64, 10000, 20},
	{2, 256, 128, 100}, {2, 256, 1024, 50}, {2, 256, 10000, 10},
	{64, 512, 128, 30}, {64, 512, 1024, 20},
}

var benchLosses = []struct {
	name, loss   string
	maxN, maxDim int
}{
	{"cd10", "cd:k=10:energy-penalty=0.001", 1 << 30, 1 << 30},
	{"dsm", "dsm:sigma=0.01", 1 << 30, 1 << 30},
	{"ssm", "ssm:projections=5", 1 << 30, 1 << 30},
	{"sm_exact", "sm", 128, 16}, // D+2 rows a sample
	{"sm_hutchinson", "sm-hutchinson", 1 << 30, 1 << 30},
}

// benchCases lists every case.
func benchCases() []benchCase {
	var list []benchCase
	add := func(suite, name string, prepare func(rt *runtime.Runtime) (func(context.Context) error, func(), error)) {
		list = append(list, benchCase{suite, name, prepare})
	}
	for _, s := range benchScales {
		well := fmt.Sprintf("builtin:double-well:dim=%d", s.dim)
		step := schedule.Constant{Value: 1e-3}
		add("samplers", "langevin_dw/"+s.name, benchSampler(well, &samplers.Langevin{StepSize: step}, s.n, s.steps))
		add("samplers", "hmc_dw/"+s.name, benchSampler(well, &samplers.HMC{Hamiltonian: samplers.Hamiltonian{StepSize: step}, Leapfrogs: 10}, s.n, s.steps))
	}
	for _, m := range benchNets {
		net := fmt.Sprintf("mlp:%d,%d", m.hidden, m.hidden)
		add("samplers", fmt.Sprintf("langevin_mlp%d-%d/%dx%d", m.dim, m.hidden, m.chains, m.steps),
			benchSampler(net, &samplers.Langevin{StepSize: schedule.Constant{Value: 1e-2}}, m.chains, m.steps, int64(m.dim)))
	}
	for _, k := range benchKernels() {
		for _, s := range benchScales {
			add("samplers", k.name+"_dw/"+s.name, benchSampler(fmt.Sprintf("builtin:double-well:dim=%d", s.dim), k.kernel, s.n, s.steps))
		}
	}
	for _, l := range benchLosses {
		for _, s := range benchScales {
			add("losses", l.name+"/"+s.name, benchLoss(l.loss, min(s.n, l.maxN), min(s.dim, l.maxDim)))
		}
	}
	for _, m := range []struct {
		text string
		item []int64
	}{
		{"builtin:gaussian:dim=32", nil}, {"builtin:double-well:dim=32", nil}, {"builtin:rosenbrock:dim=32", nil}, {"builtin:gaussian-mixture", nil},
		{"builtin:funnel:dim=32", nil}, {"builtin:many-well:dim=32", nil}, {"builtin:eight-schools", nil}, {"mlp:128,128", []int64{32}},
	} {
		add("energies", "energy_gradient/"+m.text, benchEnergy(m.text, m.item))
	}
	for _, m := range []struct {
		text string
		item []int64
	}{{"mlp:128,128", []int64{32}}, {"convnet:16,32", []int64{1, 16, 16}}, {"builtin:gaussian-mixture", nil}} {
		for _, d := range derivatives {
			if len(m.item) == 3 && (d.name == "laplacian" || d.name == "hessian") {
				continue // 256 directions
			}
			add("derive", "derive_"+d.name+"/"+m.text, benchDerive(m.text, m.item, d))
		}
	}
	return list
}

// benchGraph is a builtin, or a network with its first weights.
func benchGraph(text string, item []int64) (*graphs.Graph, error) {
	if models.IsBuiltin(text) {
		m, err := models.Builtin(text)
		if err != nil {
			return nil, err
		}
		return m.Graph, nil
	}
	return models.Network(text, item, rng.NewKey(0))
}

func benchOpen(rt *runtime.Runtime, text string, item []int64, o ebm.Options) (*ebm.Energy, error) {
	g, err := benchGraph(text, item)
	if err != nil {
		return nil, err
	}
	return ebm.New(rt, g, o)
}

func benchRows(n, dim int) []float32 {
	x := make([]float32, n*dim)
	rng.NewKey(1).Normals(x, 0, 0)
	return x
}

func benchSampler(text string, k samplers.Kernel, n, steps int, item ...int64) func(rt *runtime.Runtime) (func(context.Context) error, func(), error) {
	return func(rt *runtime.Runtime) (func(context.Context) error, func(), error) {
		e, err := benchOpen(rt, text, item, ebm.Options{})
		if err != nil {
			return nil, nil, err
		}
		cfg := samplers.Config{Steps: steps, Init: benchRows(n, e.Dim())}
		return func(ctx context.Context) error {
			_, err := samplers.Run(ctx, e, k, cfg)
			return err
		}, func() { e.Close() }, nil
	}
}

func benchLoss(text string, n, dim int) func(rt *runtime.Runtime) (func(context.Context) error, func(), error) {
	return func(rt *runtime.Runtime) (func(context.Context) error, func(), error) {
		e, err := benchOpen(rt, "mlp:128,128", []int64{int64(dim)}, ebm.Options{Trainable: true})
		if err != nil {
			return nil, nil, err
		}
		loss, err := losses.New(text, losses.Options{Chains: &train.Chains{Target: e, Kernel: &samplers.Langevin{}}})
		if err != nil {
			return nil, nil, err
		}
		batch := losses.Batch{N: n, Dim: dim, X: benchRows(n, dim)}
		grads := make([]float32, len(e.Params()))
		return func(ctx context.Context) error {
			clear(grads)
			_, err := losses.Run(ctx, e, loss, batch, rng.NewKey(0), grads)
			return err
		}, func() { e.Close() }, nil
	}
}

func benchEnergy(text string, item []int64) func(rt *runtime.Runtime) (func(context.Context) error, func(), error) {
	const n = 4096
	return func(rt *runtime.Runtime) (func(context.Context) error, func(), error) {
		e, err := benchOpen(rt, text, item, ebm.Options{})
		if err != nil {
			return nil, nil, err
		}
		x, out, g := benchRows(n, e.Dim()), make([]float32, n), make([]float32, n*e.Dim())
		return func(ctx context.Context) error { return e.EnergyGradient(ctx, x, n, out, g) }, func() { e.Close() }, nil
	}
}

func benchDerive(text string, item []int64, d derivative) func(rt *runtime.Runtime) (func(context.Context) error, func(), error) {
	return func(*runtime.Runtime) (func(context.Context) error, func(), error) {
		g, err := benchGraph(text, item)
		if err != nil {
			return nil, nil, err
		}
		return func(context.Context) error {
			derived, err := d.graph(g)
			if err != nil {
				return err
			}
			_, err = gradients.Finalize(derived, derivedOpset)
			return err
		}, func() {}, nil
	}
}
