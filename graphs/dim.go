package graphs

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Dim is the extent of one axis: a number, a symbolic expression, or unknown.
//
// Symbolic extents are polynomials with integer coefficients over named symbols,
// kept as canonical text, so that two equal expressions are equal Go values:
// Reshape([N,3,4] → [-1]) has the extent "12*N". What is no polynomial
// (a floor division with remainder) becomes an opaque symbol in braces.
type Dim struct {
	Size int64  // the extent when Sym is empty; -1 when unknown
	Sym  string // canonical expression, empty when static or unknown
}

// UnknownDim is an extent about which nothing is known.
var UnknownDim = Dim{Size: -1}

// Static returns the extent n.
func Static(n int64) Dim { return Dim{Size: n} }

// Symbol returns the extent named s, as in a dim_param of an ONNX file.
func Symbol(s string) Dim {
	if s == "" {
		return UnknownDim
	}
	if !plainSymbol(s) {
		s = opaque(s)
	}
	return Dim{Size: -1, Sym: s}
}

func plainSymbol(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || (r < '0' || r > '9') && r != '.') {
			return false
		}
	}
	return true
}

func opaque(s string) string {
	return "{" + strings.NewReplacer("{", "(", "}", ")").Replace(s) + "}"
}

// IsStatic reports whether the extent is a number.
func (d Dim) IsStatic() bool { return d.Sym == "" && d.Size >= 0 }

// Is reports whether the extent is the number n.
func (d Dim) Is(n int64) bool { return d.Sym == "" && d.Size == n }

// Same reports whether both extents are provably equal.
func (d Dim) Same(e Dim) bool { return d == e && (d.Sym != "" || d.Size >= 0) }

// String returns the number, the expression, or "?".
func (d Dim) String() string {
	switch {
	case d.Sym != "":
		return d.Sym
	case d.Size < 0:
		return "?"
	}
	return strconv.FormatInt(d.Size, 10)
}

// Plus returns d+e.
func (d Dim) Plus(e Dim) Dim {
	if d.IsStatic() && e.IsStatic() {
		if d.Size > math.MaxInt64-e.Size {
			return UnknownDim
		}
		return Dim{Size: d.Size + e.Size}
	}
	return combine(d, e, func(a, b poly) poly { return append(slices.Clone(a), b...) })
}

// Minus returns d−e; a negative static result is possible, since dims also stand for elements of shape arithmetic.
func (d Dim) Minus(e Dim) Dim { return d.Plus(e.Times(Dim{Size: -1, Sym: "-1"})) }

// Times returns d·e.
func (d Dim) Times(e Dim) Dim {
	if d.IsStatic() && e.IsStatic() {
		if hi, lo := bits.Mul64(uint64(d.Size), uint64(e.Size)); hi != 0 || lo > math.MaxInt64 {
			return UnknownDim
		}
		return Dim{Size: d.Size * e.Size}
	}
	if d.Is(0) || e.Is(0) {
		return Static(0)
	}
	return combine(d, e, func(a, b poly) poly {
		var p poly
		for _, s := range a {
			for _, t := range b {
				vars := append(slices.Clone(s.vars), t.vars...)
				sort.Strings(vars)
				p = append(p, term{s.coef * t.coef, vars})
			}
		}
		return p
	})
}

// Over returns ⌊d/e⌋, exactly where the division is exact for every value of the symbols and as an opaque symbol elsewhere.
func (d Dim) Over(e Dim) Dim {
	if d.IsStatic() && e.IsStatic() && e.Size > 0 {
		return Static(d.Size / e.Size)
	}
	if d.Same(e) {
		return Static(1)
	}
	a, okA := d.poly()
	b, okB := e.poly()
	if !okA || !okB {
		return UnknownDim
	}
	if len(b) == 1 && b[0].coef != 0 {
		if q, ok := divideMonomial(a, b[0]); ok {
			return q.dim()
		}
	}
	return Dim{Size: -1, Sym: opaque("floor((" + d.String() + ")/(" + e.String() + "))")}
}

func divideMonomial(a poly, m term) (poly, bool) {
	var q poly
	for _, t := range a {
		if t.coef%m.coef != 0 {
			return nil, false
		}
		vars := slices.Clone(t.vars)
		for _, v := range m.vars {
			i := slices.Index(vars, v)
			if i < 0 {
				return nil, false
			}
			vars = slices.Delete(vars, i, i+1)
		}
		q = append(q, term{t.coef / m.coef, vars})
	}
	return q, true
}

// Max returns an extent that is the larger of both.
func (d Dim) Max(e Dim) Dim {
	switch {
	case d == e:
		return d
	case d.IsStatic() && e.IsStatic():
		return Static(max(d.Size, e.Size))
	case d == UnknownDim || e == UnknownDim:
		return UnknownDim
	}
	return Dim{Size: -1, Sym: opaque("max(" + d.String() + "," + e.String() + ")")}
}

type term struct {
	coef int64
	vars []string // sorted
}

type poly []term

// poly parses the canonical text; ok is false for an unknown extent.
func (d Dim) poly() (poly, bool) {
	if d.Sym == "" {
		if d.Size < 0 {
			return nil, false
		}
		return poly{{coef: d.Size}}, true
	}
	var p poly
	for _, s := range splitTop(d.Sym, '+') {
		t := term{coef: 1}
		for _, f := range splitTop(s, '*') {
			if n, err := strconv.ParseInt(f, 10, 64); err == nil {
				t.coef *= n
			} else {
				t.vars = append(t.vars, f)
			}
		}
		sort.Strings(t.vars)
		p = append(p, t)
	}
	return p, true
}

// splitTop splits at sep outside braces.
func splitTop(s string, sep byte) []string {
	var parts []string
	depth, start := 0, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '{':
			depth++
		case s[i] == '}':
			depth--
		case s[i] == sep && depth == 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

func combine(d, e Dim, f func(a, b poly) poly) Dim {
	a, okA := d.poly()
	b, okB := e.poly()
	if !okA || !okB {
		return UnknownDim
	}
	return f(a, b).dim()
}

// dim collects like terms and formats the canonical text.
func (p poly) dim() Dim {
	sum := map[string]int64{}
	for _, t := range p {
		sum[strings.Join(t.vars, "*")] += t.coef
	}
	keys := make([]string, 0, len(sum))
	for k, c := range sum {
		if c != 0 {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	if len(keys) == 0 {
		return Static(0)
	}
	if len(keys) == 1 && keys[0] == "" {
		if c := sum[""]; c >= 0 {
			return Static(c)
		}
	}
	parts := make([]string, len(keys))
	for i, k := range keys {
		switch c := sum[k]; {
		case k == "":
			parts[i] = strconv.FormatInt(c, 10)
		case c == 1:
			parts[i] = k
		default:
			parts[i] = strconv.FormatInt(c, 10) + "*" + k
		}
	}
	return Dim{Size: -1, Sym: strings.Join(parts, "+")}
}

// constant returns the integer that d stands for when it is an element of shape arithmetic, which may be negative.
func (d Dim) constant() (int64, bool) {
	if d.IsStatic() {
		return d.Size, true
	}
	n, err := strconv.ParseInt(d.Sym, 10, 64)
	return n, err == nil && d.Sym != ""
}

// subtracts reports whether d, an element of shape arithmetic, may be negative for what its expression shows.
func (d Dim) subtracts() bool {
	p, ok := d.poly()
	return !ok || slices.ContainsFunc(p, func(t term) bool { return t.coef < 0 })
}

// nonNegative reports whether d is at least 0 for all values of its symbols, which are extents.
func (d Dim) nonNegative() bool {
	p, ok := d.poly()
	return ok && !slices.ContainsFunc(p, func(t term) bool {
		return t.coef < 0 || slices.ContainsFunc(t.vars, func(s string) bool { return !plainSymbol(s) })
	})
}

// element is Static for numbers of any sign.
func element(n int64) Dim {
	if n >= 0 {
		return Static(n)
	}
	return Dim{Size: -1, Sym: strconv.FormatInt(n, 10)}
}

// Shape is the extents of a tensor's axes. A nil Shape is of unknown rank, an empty one a scalar.
type Shape []Dim

// ShapeOf returns the static shape with the given extents.
func ShapeOf(dims ...int64) Shape {
	s := make(Shape, len(dims))
	for i, n := range dims {
		s[i] = Static(n)
	}
	return s
}

// UnknownShape returns a shape of known rank and unknown extents; a negative rank is unknown too.
func UnknownShape(rank int) Shape {
	if rank < 0 {
		return nil
	}
	s := make(Shape, rank)
	for i := range s {
		s[i] = UnknownDim
	}
	return s
}

// Rank returns the number of axes, -1 when unknown.
func (s Shape) Rank() int {
	if s == nil {
		return -1
	}
	return len(s)
}

// IsStatic reports whether every extent is a number.
func (s Shape) IsStatic() bool {
	if s == nil {
		return false
	}
	for _, d := range s {
		if !d.IsStatic() {
			return false
		}
	}
	return true
}

// Same reports whether both shapes are provably equal.
func (s Shape) Same(t Shape) bool {
	if s == nil || t == nil || len(s) != len(t) {
		return false
	}
	for i := range s {
		if !s[i].Same(t[i]) {
			return false
		}
	}
	return true
}

// Ints returns the extents as numbers, -1 where they are none.
func (s Shape) Ints() []int64 {
	v := make([]int64, len(s))
	for i, d := range s {
		v[i] = -1
		if d.IsStatic() {
			v[i] = d.Size
		}
	}
	return v
}

// Size returns the product of the extents.
func (s Shape) Size() Dim {
	n := Static(1)
	if s == nil {
		return UnknownDim
	}
	for _, d := range s {
		n = n.Times(d)
	}
	return n
}

// String returns "[N,2]", "[]" for a scalar, "?" for unknown rank.
func (s Shape) String() string {
	if s == nil {
		return "?"
	}
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = d.String()
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// Broadcast returns the shape of an element-wise operation on s and t by ONNX's multidirectional rule.
// Two extents that are neither provably equal nor 1 give an error when both are static, and the static one otherwise.
func (s Shape) Broadcast(t Shape) (Shape, error) {
	if s == nil || t == nil {
		return nil, nil
	}
	r := make(Shape, max(len(s), len(t)))
	for i := range r {
		a, b := Static(1), Static(1)
		if k := i - (len(r) - len(s)); k >= 0 {
			a = s[k]
		}
		if k := i - (len(r) - len(t)); k >= 0 {
			b = t[k]
		}
		switch {
		case a.Is(1) || a.Same(b):
			r[i] = b
		case b.Is(1):
			r[i] = a
		case a.IsStatic() && b.IsStatic():
			return nil, fmt.Errorf("shapes %v and %v do not broadcast", s, t)
		case a.IsStatic():
			r[i] = a
		case b.IsStatic():
			r[i] = b
		default:
			r[i] = a.Max(b)
		}
	}
	return r, nil
}
