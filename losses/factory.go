package losses

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// Options completes a specification with what text cannot hold.
type Options struct {
	// Values adds keys to those in the specification, as a program's flags do. A key that both give, differently, is an error.
	Values map[string]string
	// Chains runs the chains of mle, cd and pcd. Not needed where batches bring negatives.
	Chains Negatives
	// Init is where chains start from noise, instead of the keys init, mean, std, low, high and means.
	Init Density
	// Noise is the noise of nce, instead of the keys noise, mean, std, low, high and means.
	Noise Density
	// Data [n·Dim] is a sample of the data, for densities fitted to it (noise=fitted, init=fitted).
	Data []float32
	Dim  int
	// LoadArray reads the numbers of a value written @FILE.
	LoadArray func(path string) ([]float64, error)
}

// kind is a row of the table of losses.
type kind struct {
	name    string
	aliases []string
	usage   string // with the defaults
	build   func(s *spec.Spec, o Options) Loss
}

const (
	commonUsage = ":l1=0:l2=0:gradient-penalty=0"
	chainUsage  = ":k=10:alpha=1:energy-penalty=0:negatives=0"
	initUsage   = ":init=gaussian"
	sliceUsage  = ":projections=1:vectors=rademacher|gaussian|sphere"
)

var kinds = []kind{
	{"mle", nil, chainUsage + initUsage, func(s *spec.Spec, o Options) Loss { return chains(NewMLE(), s, o) }},
	{"cd", nil, chainUsage, func(s *spec.Spec, o Options) Loss { return chains(NewCD(), s, o) }},
	{"pcd", nil, chainUsage + ":buffer=10000:reinit=0.05" + initUsage, func(s *spec.Spec, o Options) Loss { return chains(NewPCD(), s, o) }},
	{"nce", nil, ":noise=gaussian|uniform|mixture|fitted:nu=1:log-z=0:learn-log-z=true", buildNCE},
	{"sm", nil, "", func(s *spec.Spec, _ Options) Loss { return &ScoreMatching{Penalty: penalty(s)} }},
	{"sm-hutchinson", []string{"ssm-vr"}, sliceUsage, func(s *spec.Spec, _ Options) Loss { return sliced(s, true) }},
	{"ssm", nil, sliceUsage, func(s *spec.Spec, _ Options) Loss { return sliced(s, false) }},
	{"dsm", nil, ":sigma=0.1[,…]:weight=one|sigma2", buildDSM},
	{"energy-discrepancy", nil, ":t=0.1:m=16:w=1", buildDiscrepancy},
}

// Names lists the losses that New makes.
func Names() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// Usages lists, for help texts, each loss with its keys and their defaults.
func Usages() []string {
	usages := make([]string, len(kinds))
	for i, k := range kinds {
		usages[i] = k.name + k.usage + commonUsage
	}
	return usages
}

// New makes a loss of NAME[:key=value]…, case ignored: "cd", "dsm:sigma=0.1,0.3:weight=sigma2", "nce:noise=uniform:low=-4:high=4".
// Unknown names and keys are errors that list the valid ones; see Usages for the keys.
//
// Densities (noise of nce, init of mle and pcd) take mean and std (gaussian), low and high (uniform), means and std (mixture);
// fitted is a Gaussian fitted to Options.Data.
func New(text string, o Options) (Loss, error) {
	s, err := spec.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("losses: %w", err)
	}
	table := map[string]kind{}
	for _, k := range kinds {
		for _, name := range append([]string{k.name}, k.aliases...) {
			table[name] = k
		}
	}
	k, err := spec.Lookup("loss", s.Name, table)
	if err != nil {
		return nil, fmt.Errorf("losses: %w", err)
	}
	s.Name = k.name
	normalise(s)
	for _, key := range slices.Sorted(maps.Keys(o.Values)) {
		add(s, key, o.Values[key])
	}
	loss := k.build(s, o)
	if err := s.Done(); err != nil {
		return nil, fmt.Errorf("losses: %w", err)
	}
	return loss, nil
}

// wordKeys are the keys whose values are words, where case does not matter.
var wordKeys = []string{"vectors", "weight", "noise", "init"}

func normalise(s *spec.Spec) {
	for i := range s.Args {
		a := &s.Args[i]
		if a.Key = strings.ToLower(a.Key); slices.Contains(wordKeys, a.Key) {
			a.Value = strings.ToLower(a.Value)
		}
	}
}

// add puts in key=value unless the specification has it.
func add(s *spec.Spec, key, value string) {
	for _, a := range s.Args {
		if a.Key == key {
			if !equal(a.Value, value) {
				s.Fail("%s is given twice, as %s and as %s", key, a.Value, value)
			}
			return
		}
	}
	s.Args = append(s.Args, spec.Arg{Key: key, Value: value})
	normalise(s)
}

// equal compares as numbers where both are.
func equal(a, b string) bool {
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return strings.EqualFold(a, b) || err == nil && err2 == nil && x == y
}

func penalty(s *spec.Spec) Penalty {
	return Penalty{L1: s.NonNegative("l1", 0), L2: s.NonNegative("l2", 0), Gradient: s.NonNegative("gradient-penalty", 0)}
}

func chains(l *Contrastive, s *spec.Spec, o Options) Loss {
	l.Steps = s.Count("k", l.Steps, 0)
	l.Alpha = s.Float("alpha", l.Alpha)
	l.Penalty = penalty(s)
	l.EnergyPenalty = s.NonNegative("energy-penalty", 0)
	l.Count = s.Count("negatives", 0, 0)
	l.Chains = o.Chains
	if l.Start != FromData {
		l.Init = density(s, "init", o.Init, o)
	}
	if l.Start == FromBuffer {
		l.Buffer.Size = s.Count("buffer", DefaultBuffer, 1)
		l.Buffer.Reinit = s.Float("reinit", DefaultReinit)
		if l.Buffer.Reinit < 0 || l.Buffer.Reinit > 1 {
			s.Fail("reinit is a probability, not %v", l.Buffer.Reinit)
		}
		l.Buffer.Init = l.Init
	}
	return l
}

func buildNCE(s *spec.Spec, o Options) Loss {
	l := &NCE{Penalty: penalty(s), Noise: density(s, "noise", o.Noise, o)}
	if s.Has("nu") {
		l.Nu = s.Positive("nu", 1)
	} else {
		s.Float("nu", 1)
	}
	l.InitLogZ = s.Float("log-z", 0)
	l.FixedLogZ = !s.Bool("learn-log-z", true)
	return l
}

// density reads the density that key names, unless one is given.
func density(s *spec.Spec, key string, given Density, o Options) Density {
	if given != nil {
		return given
	}
	return densities[s.Word(key, "gaussian", slices.Sorted(maps.Keys(densities))...)](s, o)
}

var densities = map[string]func(s *spec.Spec, o Options) Density{
	"gaussian": func(s *spec.Spec, o Options) Density {
		return Gaussian{Mean: numbers(s, "mean", o), Std: numbers(s, "std", o)}
	},
	"uniform": func(s *spec.Spec, o Options) Density {
		return Uniform{Low: numbers(s, "low", o), High: numbers(s, "high", o)}
	},
	"mixture": func(s *spec.Spec, o Options) Density {
		m := Mixture{Means: numbers(s, "means", o), Std: s.Positive("std", 1)}
		if len(m.Means) == 0 {
			s.Fail("a mixture needs means=@FILE.npy or a comma list")
		}
		return m
	},
	"fitted": func(s *spec.Spec, o Options) Density {
		if o.Dim < 1 || len(o.Data) == 0 {
			s.Fail("a fitted density needs data; choose another here")
			return nil
		}
		g, err := FitGaussian(o.Data, len(o.Data)/o.Dim, o.Dim)
		if err != nil {
			s.Fail("%v", err)
		}
		return g
	},
}

// numbers reads a comma list or @FILE.
func numbers(s *spec.Spec, key string, o Options) []float64 {
	if !s.IsFile(key) {
		return s.Floats(key)
	}
	path := s.File(key)
	if o.LoadArray == nil {
		s.Fail("%s=@%s: files cannot be read here; write the numbers", key, path)
		return nil
	}
	list, err := o.LoadArray(path)
	if err != nil {
		s.Fail("%s: %v", key, err)
	}
	return list
}

// ParseDensity makes a density of gaussian[:mean=…][:std=…], uniform[:low=…][:high=…] or mixture:means=…[:std=…], or fitted.
func ParseDensity(text string, o Options) (Density, error) {
	s, err := spec.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("losses: %w", err)
	}
	build, err := spec.Lookup("density", s.Name, densities)
	if err != nil {
		return nil, fmt.Errorf("losses: %w", err)
	}
	normalise(s)
	d := build(s, o)
	if err := s.Done(); err != nil {
		return nil, fmt.Errorf("losses: %w", err)
	}
	return d, nil
}

func sliced(s *spec.Spec, hutchinson bool) Loss {
	names := map[string]Vectors{"rademacher": Rademacher, "gaussian": Gaussians, "sphere": Sphere}
	return &SlicedScoreMatching{
		Penalty:     penalty(s),
		Hutchinson:  hutchinson,
		Projections: s.Count("projections", 1, 1),
		Vectors:     names[s.Word("vectors", "rademacher", slices.Sorted(maps.Keys(names))...)],
	}
}

func buildDSM(s *spec.Spec, _ Options) Loss {
	l := &DenoisingScoreMatching{Penalty: penalty(s), Sigmas: s.Floats("sigma", defaultSigmas...), Labels: s.Words("sigma")}
	for _, sigma := range l.Sigmas {
		if sigma <= 0 {
			s.Fail("sigma must be greater than 0, not %v", sigma)
		}
	}
	weights := map[string]Weight{"": WeightAuto, "one": WeightOne, "sigma2": WeightSigma2}
	l.Weight = weights[s.Word("weight", "", "one", "sigma2")]
	return l
}

func buildDiscrepancy(s *spec.Spec, _ Options) Loss {
	w := s.NonNegative("w", 1)
	return &EnergyDiscrepancy{Penalty: penalty(s), T: s.Positive("t", 0.1), M: s.Count("m", 16, 1), W: &w}
}
