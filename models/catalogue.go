package models

import (
	"maps"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// Entry describes a builtin or a network for help and documentation.
type Entry struct {
	Name    string
	Formula string   // E(x), or the architecture
	Keys    []string // key=default; key=@FILE.npy and key=… have none
	Note    string   // what else to know, or empty
}

// definition is one row of the catalogue. make reads the keys, which are those of entry.
type definition struct {
	Formula string
	Keys    []string
	Note    string
	make    func(s *spec.Spec) (*Analytic, error)
}

func catalogue() map[string]definition {
	return map[string]definition{
		"gaussian": {
			"½ (x−μ)ᵀΣ⁻¹(x−μ)", []string{"dim=2", "mean=0", "cov=1"},
			"mean: a number or D numbers; cov: a number, D variances or D·D numbers; either may be @FILE.npy", gaussian,
		},
		"double-well": {"h·Σ(xᵢ²−b²)²", []string{"dim=2", "h=2", "b=1"}, "", doubleWell},
		"harmonic":    {"½k‖x‖²", []string{"dim=2", "k=1"}, "", harmonic},
		"gaussian-mixture": {
			"−log Σ wₖ N(x; μₖ, s²I)", []string{"dim=2", "k=8", "radius=2", "std=0.3", "means=@FILE.npy", "weights=…"},
			"means [K, D] come from a file, or are k points on a circle (of the first two coordinates) of the given radius; weights: K numbers, equal by default", gaussianMixture,
		},
		"rosenbrock": {"Σ_{i<D} [ b(xᵢ₊₁−xᵢ²)² + (a−xᵢ)² ]", []string{"dim=2", "a=1", "b=100"}, "", rosenbrock},
		"ackley": {
			"−a·exp(−b·√(Σxᵢ²/D)) − exp(Σcos(c·xᵢ)/D) + a + e", []string{"dim=2", "a=20", "b=0.2", "c=6.283185307179586"},
			"bounded, so exp(−E) has no finite integral: clamp the sampler, or add a builtin:harmonic", ackley,
		},
		"rastrigin":       {"a·D + Σ(xᵢ² − a·cos 2πxᵢ)", []string{"dim=2", "a=10"}, "", rastrigin},
		"himmelblau":      {"(x₁²+x₂−11)² + (x₁+x₂²−7)²", []string{"dim=2"}, "two dimensions only", himmelblau},
		"styblinski-tang": {"½Σ(xᵢ⁴ − 16xᵢ² + 5xᵢ)", []string{"dim=2"}, "", styblinskiTang},
		"banana": {
			"−log[ N(x₁; 0, s²) · N(x₂; c(x₁²−s²), 1) · Π N(xᵢ; 0, 1) ]", []string{"dim=2", "curvature=0.03", "std=10"},
			"normalised", banana,
		},
		"funnel": {
			"−log[ N(x₁; 0, s²) · Π N(xᵢ; 0, exp(x₁)) ]", []string{"dim=2", "std=3"},
			"Neal's; N(mean, variance); normalised", funnel,
		},
		"funnel-noncentered": {
			"−log[ N(x₁; 0, s²) · Π N(zᵢ; 0, 1) ]", []string{"dim=2", "std=3"},
			"x = (x₁, z₂…z_D) with zᵢ = xᵢ·exp(−x₁/2) of the funnel; normalised", funnelNoncentred,
		},
		"many-well": {"Σ_{i odd} (xᵢ⁴ − 6xᵢ² − ½xᵢ) + Σ_{i even} ½xᵢ²", []string{"dim=2"}, "dim is even", manyWell},
		"rings": {
			"−log Σₖ exp(−(‖x‖−rₖ)²/2s²)", []string{"dim=2", "radii=1,2", "std=0.125"}, "", rings,
		},
		"eight-schools": {
			"−log[ N(μ; 0, 5²) · τ·C⁺(τ; 0, 5) · Π N(θᵢ; μ, τ²) N(yᵢ; θᵢ, σᵢ²) ]", nil,
			"x = (μ, log τ, θ₁…θ₈); Rubin 1981; the factor τ is the Jacobian of log τ; E has no minimum: it falls without bound as τ → 0", eightSchools,
		},
		"eight-schools-noncentered": {
			"−log[ N(μ; 0, 5²) · τ·C⁺(τ; 0, 5) · Π N(zᵢ; 0, 1) N(yᵢ; μ+τzᵢ, σᵢ²) ]", nil,
			"x = (μ, log τ, z₁…z₈) with zᵢ = (θᵢ−μ)/τ", eightSchoolsNoncentered,
		},
		"logistic": {
			"Σᵢ [ log(1+exp(xᵢ·β)) − yᵢ·xᵢ·β ] − log N(β; 0, s²I)", []string{"x=@FILE.npy", "y=@FILE.npy", "std=1", "intercept=false"},
			"x [n, p] and labels y [n], 0 or 1 (or −1 or 1); the energy's own variable is β; intercept=true puts a column of ones first", logistic,
		},
	}
}

// Help lists the builtins by name, in alphabetical order.
func Help() []Entry {
	table := catalogue()
	var out []Entry
	for _, name := range slices.Sorted(maps.Keys(table)) {
		d := table[name]
		out = append(out, Entry{name, d.Formula, d.Keys, d.Note})
	}
	return out
}
