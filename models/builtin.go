package models

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// term matches what begins a term of a sum: an optional weight and the prefix of a builtin.
var term = regexp.MustCompile(`^\s*(?:([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*\*\s*)?builtin:`)

// exponent matches what comes before the sign of a number's exponent.
var exponent = regexp.MustCompile(`[0-9.][eE]$`)

// IsBuiltin reports whether text is meant as a builtin or a sum of builtins rather than a file.
func IsBuiltin(text string) bool { return strings.Contains(text, "builtin:") }

// Builtin makes an analytic energy of
//
//	builtin:NAME[:key=value]…
//
// or of a sum MODEL+MODEL, WEIGHT*MODEL+… of such, of the same dimension. Unknown names and keys are errors that list the valid ones.
func Builtin(text string) (*Analytic, error) {
	var weights []float64
	var terms []*Analytic
	for _, part := range splitSum(text) {
		w, a, err := parseTerm(part)
		if err != nil {
			return nil, fmt.Errorf("models: %w", err)
		}
		weights, terms = append(weights, w), append(terms, a)
	}
	a, err := sum(weights, terms)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	a.Name = text
	if a.Graph, err = a.graph(graphs.Float32); err != nil {
		return nil, fmt.Errorf("models: %s: %w", text, err)
	}
	return a, nil
}

// graph builds the energy with constants of the given type.
func (a *Analytic) graph(dt graphs.DType) (*graphs.Graph, error) {
	b := graphs.NewSimplifyingBuilder("energy")
	x := b.Input("x", dt, graphs.Shape{graphs.Symbol("N"), graphs.Static(int64(a.Dim))})
	return finish(b, a.build(b, x), withoutPaths(a.Name))
}

// path matches the value of a key that is a file.
var path = regexp.MustCompile(`=\s*@[^:]*`)

// withoutPaths hides where files lie, so that graphs made of equal files are equal.
func withoutPaths(text string) string {
	parts := splitSum(text)
	for i, p := range parts {
		parts[i] = path.ReplaceAllString(p, "=@FILE")
	}
	return strings.Join(parts, "+")
}

// splitSum cuts at the plus signs that a term follows and that are not those of a number (1e+3).
func splitSum(text string) []string {
	var parts []string
	start := 0
	for i, c := range text {
		if c == '+' && term.MatchString(text[i+1:]) && !exponent.MatchString(text[:i]) {
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}

func parseTerm(text string) (float64, *Analytic, error) {
	m := term.FindStringSubmatch(text)
	if m == nil {
		return 0, nil, fmt.Errorf("%q is no builtin; write builtin:NAME[:key=value]…, or a sum WEIGHT*builtin:NAME+builtin:NAME", text)
	}
	weight := 1.0
	if m[1] != "" {
		w, err := strconv.ParseFloat(strings.TrimSpace(m[1]), 64)
		if err != nil || w-w != 0 {
			return 0, nil, fmt.Errorf("%q: the weight %q is not a finite number", text, m[1])
		}
		weight = w
	}
	s, err := spec.Parse(strings.TrimSpace(text[len(m[0]):]))
	if err != nil {
		return 0, nil, err
	}
	d, err := spec.Lookup("builtin", s.Name, catalogue())
	if err != nil {
		return 0, nil, err
	}
	a, err := d.make(s)
	if err != nil {
		return 0, nil, err
	}
	return weight, a, nil
}

// sum is Σ wᵢEᵢ. A single term keeps what is known of it: all of it at weight 1, the minima at any positive weight.
func sum(weights []float64, terms []*Analytic) (*Analytic, error) {
	first := terms[0]
	if len(terms) == 1 && weights[0] == 1 {
		return first, nil
	}
	for _, t := range terms {
		if t.Dim != first.Dim {
			return nil, fmt.Errorf("terms of a sum must have one dimension, not %d and %d; give dim=", first.Dim, t.Dim)
		}
	}
	s := &Analytic{Dim: first.Dim}
	s.Energy = func(x []float64) float64 {
		e := 0.0
		for i, t := range terms {
			e += weights[i] * t.Energy(x)
		}
		return e
	}
	// Gradients and Hessians add up as energies do.
	weighted := func(derivative func(*Analytic) func(dst, x []float64)) func(dst, x []float64) {
		return func(dst, x []float64) {
			part := make([]float64, len(dst))
			clear(dst)
			for i, t := range terms {
				derivative(t)(part, x)
				for j := range dst {
					dst[j] += weights[i] * part[j]
				}
			}
		}
	}
	s.Gradient = weighted(func(t *Analytic) func(dst, x []float64) { return t.Gradient })
	s.Hessian = weighted(func(t *Analytic) func(dst, x []float64) { return t.Hessian })
	s.build = func(b *graphs.Builder, x *graphs.Value) *graphs.Value {
		var e *graphs.Value
		for i, t := range terms {
			w := scale(b, t.build(b, x), weights[i])
			if e == nil {
				e = w
			} else {
				e = b.Op("Add", nil, e, w)
			}
		}
		return e
	}
	if len(terms) == 1 && weights[0] > 0 {
		for _, m := range first.Minima {
			s.Minima = append(s.Minima, Minimum{m.X, weights[0] * m.Energy})
		}
	}
	return s, nil
}
