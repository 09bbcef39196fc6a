package spec

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Arg is one key=value.
type Arg struct{ Key, Value string }

// Spec is a parsed name with parameters. It is used by one goroutine.
type Spec struct {
	Name string
	List []string // the comma list after the name; nil where there is none
	Args []Arg    // in the order given, each key once

	text     string
	asked    []string // keys the caller has read: the valid ones
	listRead bool
	err      error
}

// Parse splits text. It does not know which names and keys are valid: the
// accessors and Done find that out.
func Parse(text string) (*Spec, error) {
	parts := strings.Split(text, ":")
	s := &Spec{Name: strings.TrimSpace(parts[0]), text: text}
	if s.Name == "" {
		return nil, fmt.Errorf("%q has no name; write NAME[:LIST][:key=value]…", text)
	}
	for i, part := range parts[1:] {
		key, value, isArg := strings.Cut(part, "=")
		switch {
		case part == "":
			return nil, fmt.Errorf("%q has an empty part between colons; write NAME[:LIST][:key=value]…", text)
		case isArg:
			if err := s.add(strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
				return nil, err
			}
		case i == 0:
			s.List = splitList(part)
			if slices.Contains(s.List, "") {
				return nil, fmt.Errorf("%q: the list %q has an empty element", text, part)
			}
		default:
			return nil, fmt.Errorf("%q: %q is not key=value", text, part)
		}
	}
	return s, nil
}

func (s *Spec) add(key, value string) error {
	switch {
	case !isWord(key):
		return fmt.Errorf("%q: %q is not a key; write key=value", s.text, key)
	case value == "":
		return fmt.Errorf("%q: %s has no value", s.text, key)
	case s.Has(key):
		return fmt.Errorf("%q: %s is given twice", s.text, key)
	}
	s.Args = append(s.Args, Arg{key, value})
	return nil
}

func isWord(s string) bool {
	for _, r := range s {
		if !(r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return false
		}
	}
	return s != ""
}

func splitList(s string) []string {
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// String is the specification in its normal form; it parses to the same Spec.
func (s *Spec) String() string {
	var b strings.Builder
	b.WriteString(s.Name)
	if s.List != nil {
		b.WriteString(":" + strings.Join(s.List, ","))
	}
	for _, a := range s.Args {
		b.WriteString(":" + a.Key + "=" + a.Value)
	}
	return b.String()
}

// Has tells whether key was given.
func (s *Spec) Has(key string) bool {
	return slices.ContainsFunc(s.Args, func(a Arg) bool { return a.Key == key })
}

// IsFile tells whether key was given as @FILE.
func (s *Spec) IsFile(key string) bool {
	return slices.ContainsFunc(s.Args, func(a Arg) bool { return a.Key == key && a.Value[0] == '@' })
}

// value returns the text of key and marks the key as valid.
func (s *Spec) value(key string) (string, bool) {
	if !slices.Contains(s.asked, key) {
		s.asked = append(s.asked, key)
	}
	for _, a := range s.Args {
		if a.Key == key {
			return a.Value, true
		}
	}
	return "", false
}

// Fail latches an error about the specification, such as a range that a key
// is outside of. The first error wins.
func (s *Spec) Fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%q: %s", s.text, fmt.Sprintf(format, args...))
	}
}

// Float is the finite number at key, or def.
func (s *Spec) Float(key string, def float64) float64 {
	text, ok := s.value(key)
	if !ok {
		return def
	}
	f, err := parseFloat(text)
	if err != nil {
		s.Fail("%s=%s: %v", key, text, err)
		return def
	}
	return f
}

// Positive is Float that must be greater than 0.
func (s *Spec) Positive(key string, def float64) float64 {
	f := s.Float(key, def)
	if f <= 0 {
		s.Fail("%s must be greater than 0, not %v", key, f)
	}
	return f
}

// NonNegative is Float that must not be less than 0.
func (s *Spec) NonNegative(key string, def float64) float64 {
	f := s.Float(key, def)
	if f < 0 {
		s.Fail("%s must not be negative, not %v", key, f)
	}
	return f
}

// Int is the whole number at key, or def.
func (s *Spec) Int(key string, def int) int {
	text, ok := s.value(key)
	if !ok {
		return def
	}
	i, err := parseInt(text)
	if err != nil {
		s.Fail("%s=%s: %v", key, text, err)
		return def
	}
	return i
}

// Count is Int that must be at least low.
func (s *Spec) Count(key string, def, low int) int {
	i := s.Int(key, def)
	if i < low {
		s.Fail("%s must be at least %d, not %d", key, low, i)
	}
	return i
}

// Floats is the comma list of finite numbers at key (one number is a list of
// one), or def.
func (s *Spec) Floats(key string, def ...float64) []float64 {
	text, ok := s.value(key)
	if !ok {
		return def
	}
	return s.floats(key+"=", splitList(text))
}

// Ints is the comma list of whole numbers at key, or def.
func (s *Spec) Ints(key string, def ...int) []int {
	text, ok := s.value(key)
	if !ok {
		return def
	}
	return s.ints(key+"=", splitList(text))
}

// Word is the word at key, or def. With valid words given, another is an
// error that lists them.
func (s *Spec) Word(key, def string, valid ...string) string {
	text, ok := s.value(key)
	if !ok {
		return def
	}
	if len(valid) > 0 && !slices.Contains(valid, text) {
		s.Fail("%s=%s is unknown; valid: %s", key, text, strings.Join(valid, ", "))
		return def
	}
	return text
}

// Words is the comma list of words at key, or def.
func (s *Spec) Words(key string, def ...string) []string {
	text, ok := s.value(key)
	if !ok {
		return def
	}
	return splitList(text)
}

// Bool is true or false at key, or def.
func (s *Spec) Bool(key string, def bool) bool {
	text, ok := s.value(key)
	if !ok {
		return def
	}
	switch strings.ToLower(text) {
	case "true", "yes", "on", "1":
		return true
	case "false", "no", "off", "0":
		return false
	}
	s.Fail("%s=%s: write true or false", key, text)
	return def
}

// File is the path of @FILE at key without the @, or "" where key is absent.
func (s *Spec) File(key string) string {
	text, ok := s.value(key)
	if !ok {
		return ""
	}
	path, ok := strings.CutPrefix(text, "@")
	if !ok || path == "" {
		s.Fail("%s=%s: a file is written @FILE", key, text)
		return ""
	}
	return path
}

// ListInts is the list after the name as whole numbers, or def.
func (s *Spec) ListInts(def ...int) []int {
	s.listRead = true
	if s.List == nil {
		return def
	}
	return s.ints("", s.List)
}

// ListFloats is the list after the name as finite numbers, or def.
func (s *Spec) ListFloats(def ...float64) []float64 {
	s.listRead = true
	if s.List == nil {
		return def
	}
	return s.floats("", s.List)
}

// ListWords is the list after the name, or def.
func (s *Spec) ListWords(def ...string) []string {
	s.listRead = true
	if s.List == nil {
		return def
	}
	return s.List
}

func (s *Spec) floats(prefix string, parts []string) []float64 {
	out := make([]float64, len(parts))
	for i, p := range parts {
		f, err := parseFloat(p)
		if err != nil {
			s.Fail("%s%s: %v", prefix, strings.Join(parts, ","), err)
			return nil
		}
		out[i] = f
	}
	return out
}

func (s *Spec) ints(prefix string, parts []string) []int {
	out := make([]int, len(parts))
	for i, p := range parts {
		n, err := parseInt(p)
		if err != nil {
			s.Fail("%s%s: %v", prefix, strings.Join(parts, ","), err)
			return nil
		}
		out[i] = n
	}
	return out
}

func parseFloat(text string) (float64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, fmt.Errorf("%q is not a finite number", text)
	}
	return f, nil
}

func parseInt(text string) (int, error) {
	i, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", text)
	}
	return i, nil
}

// CheckKeys latches an error if a key outside valid was given, and returns
// the first error so far.
func (s *Spec) CheckKeys(valid ...string) error {
	for _, a := range s.Args {
		if slices.Contains(valid, a.Key) {
			continue
		}
		if len(valid) == 0 {
			s.Fail("%s takes no keys; %s is unknown", s.Name, a.Key)
		} else {
			s.Fail("unknown key %s; valid for %s: %s", a.Key, s.Name, strings.Join(valid, ", "))
		}
	}
	return s.err
}

// Done returns the first error of the accessors, or an error if a key was
// given that none of them asked for (it lists those that were), or a list
// that none read.
func (s *Spec) Done() error {
	if s.List != nil && !s.listRead {
		s.Fail("%s takes no list; %q is not key=value", s.Name, strings.Join(s.List, ","))
	}
	return s.CheckKeys(s.asked...)
}
