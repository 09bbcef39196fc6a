package samplers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

// Options are the settings of all kernels, for making one by name. The zero
// value of each means the kernel's default; a kernel ignores what Sampler.Options
// does not list for it.
type Options struct {
	StepSize     schedule.Schedule // "step-size"
	Temperature  schedule.Schedule // "temperature"
	Leapfrogs    int               // "leapfrog"
	Jitter       float64           // "jitter"
	Friction     schedule.Schedule // "friction"
	Momentum     schedule.Schedule // "momentum"
	Mass         []float32         // "mass"
	DenseMass    bool              // "dense-mass"
	TargetAccept float64           // "target-accept"
	MaxDepth     int               // "max-depth"
	Temperatures []float64         // "temperatures"
	SwapEvery    int               // "swap-every"
	AnnealOver   int               // "anneal-over"
}

// Sampler describes a kernel that can be made by name.
type Sampler struct {
	Name    string
	Doc     string   // one line
	Options []string // names of the Options it heeds
	Adapts  bool     // adapts by default in a run that has a burn-in
	make    func(o Options) Kernel
}

// New makes the sampler's kernel.
func (s Sampler) New(o Options) Kernel { return s.make(o) }

var registry = []Sampler{
	{"langevin", "unadjusted Langevin dynamics", []string{"step-size", "temperature"}, false, func(o Options) Kernel {
		return &Langevin{StepSize: o.StepSize, Temperature: o.Temperature}
	}},
	{"mala", "Metropolis-adjusted Langevin", []string{"step-size", "temperature", "target-accept"}, false, func(o Options) Kernel {
		return &MALA{StepSize: o.StepSize, Temperature: o.Temperature, TargetAccept: o.TargetAccept}
	}},
	{"rwm", "random-walk Metropolis", []string{"step-size", "temperature", "target-accept"}, false, func(o Options) Kernel {
		return &RWM{StepSize: o.StepSize, Temperature: o.Temperature, TargetAccept: o.TargetAccept}
	}},
	{"underdamped", "underdamped Langevin dynamics (BAOAB)", []string{"step-size", "temperature", "friction"}, false, func(o Options) Kernel {
		return &Underdamped{StepSize: o.StepSize, Temperature: o.Temperature, Friction: o.Friction}
	}},
	{"hmc", "Hamiltonian Monte Carlo", []string{"step-size", "temperature", "leapfrog", "jitter", "mass", "dense-mass", "target-accept"}, true, func(o Options) Kernel {
		return &HMC{Hamiltonian: hamiltonian(o), Leapfrogs: o.Leapfrogs, Jitter: o.Jitter}
	}},
	{"nuts", "the No-U-Turn sampler", []string{"step-size", "temperature", "max-depth", "mass", "dense-mass", "target-accept"}, true, func(o Options) Kernel {
		return &NUTS{Hamiltonian: hamiltonian(o), MaxDepth: o.MaxDepth}
	}},
	{"annealed-langevin", "Langevin dynamics with a falling temperature", []string{"step-size", "temperature", "temperatures", "anneal-over"}, false, func(o Options) Kernel {
		return &AnnealedLangevin{Langevin: Langevin{StepSize: o.StepSize, Temperature: o.Temperature}, Temperatures: o.Temperatures, Over: o.AnnealOver}
	}},
	{"parallel-tempering", "replicas at several temperatures that exchange states", []string{"step-size", "temperature", "temperatures", "swap-every"}, false, func(o Options) Kernel {
		return &ParallelTempering{StepSize: o.StepSize, Temperature: o.Temperature, Temperatures: o.Temperatures, SwapEvery: o.SwapEvery}
	}},
	{"gradient-descent", "descent to a mode", []string{"step-size"}, false, func(o Options) Kernel {
		return &GradientDescent{StepSize: o.StepSize}
	}},
	{"nesterov", "descent with Nesterov's momentum", []string{"step-size", "momentum"}, false, func(o Options) Kernel {
		return &Nesterov{StepSize: o.StepSize, Momentum: o.Momentum}
	}},
}

func hamiltonian(o Options) Hamiltonian {
	return Hamiltonian{StepSize: o.StepSize, Temperature: o.Temperature, Mass: o.Mass, DenseMass: o.DenseMass, TargetAccept: o.TargetAccept}
}

// Samplers lists what New knows.
func Samplers() []Sampler { return slices.Clone(registry) }

// Names lists the names that New knows.
func Names() []string {
	names := make([]string, len(registry))
	for i, s := range registry {
		names[i] = s.Name
	}
	return names
}

// Lookup finds a sampler by name; the error lists the names.
func Lookup(name string) (Sampler, error) {
	i := slices.IndexFunc(registry, func(s Sampler) bool { return s.Name == name })
	if i < 0 {
		return Sampler{}, fmt.Errorf("samplers: there is no sampler %q; the samplers are %s", name, strings.Join(Names(), ", "))
	}
	return registry[i], nil
}

// New makes a kernel by name.
func New(name string, o Options) (Kernel, error) {
	s, err := Lookup(name)
	if err != nil {
		return nil, err
	}
	return s.New(o), nil
}
