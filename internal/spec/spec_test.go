package spec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func parse(t *testing.T, text string) *Spec {
	t.Helper()
	s, err := Parse(text)
	require.NoError(t, err)
	return s
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		name string
		list []string
		args []Arg
	}{
		{"mala", "mala", nil, nil},
		{"mlp:128,64", "mlp", []string{"128", "64"}, nil},
		{"mlp:128, 64:act=silu", "mlp", []string{"128", "64"}, []Arg{{"act", "silu"}}},
		{"gaussian:mean=0,0:cov=@c.npy", "gaussian", nil, []Arg{{"mean", "0,0"}, {"cov", "@c.npy"}}},
		{"nce:noise=gaussian:learn-log-z=true", "nce", nil, []Arg{{"noise", "gaussian"}, {"learn-log-z", "true"}}},
		{"a:k=b=c", "a", nil, []Arg{{"k", "b=c"}}},
	} {
		s := parse(t, c.text)
		require.Equal(t, c.name, s.Name, c.text)
		require.Equal(t, c.list, s.List, c.text)
		require.Equal(t, c.args, s.Args, c.text)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":             "no name",
		":a=1":         "no name",
		"a:":           "empty part",
		"a::b=1":       "empty part",
		"a:b=1:2,3":    "not key=value",
		"a:1:2":        "not key=value",
		"a:b=":         "b has no value",
		"a:=1":         "not a key",
		"a:b c=1":      "not a key",
		"a:b=1:b=2":    "b is given twice",
		"a:1,,2:c=1":   "empty element",
		"a:b=1:c=1:b=": "b has no value",
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, want, text)
	}
}

func TestAccessors(t *testing.T) {
	s := parse(t, "x:3,4:f=-1.5e-3:i=7:fs=1,2.5:is=1,2:w=silu:b=false:p=@a.npy:ws=u,v")
	require.Equal(t, []int{3, 4}, s.ListInts())
	require.Equal(t, []float64{3, 4}, s.ListFloats())
	require.Equal(t, []string{"3", "4"}, s.ListWords())
	require.Equal(t, -1.5e-3, s.Float("f", 9))
	require.Equal(t, 7, s.Int("i", 9))
	require.Equal(t, []float64{1, 2.5}, s.Floats("fs"))
	require.Equal(t, []int{1, 2}, s.Ints("is"))
	require.Equal(t, "silu", s.Word("w", "relu", "relu", "silu"))
	require.Equal(t, []string{"u", "v"}, s.Words("ws"))
	require.False(t, s.Bool("b", true))
	require.True(t, s.IsFile("p"))
	require.False(t, s.IsFile("w"))
	require.Equal(t, "a.npy", s.File("p"))
	require.NoError(t, s.Done())
}

func TestDefaults(t *testing.T) {
	s := parse(t, "x")
	require.Equal(t, []int{3}, s.ListInts(3))
	require.Equal(t, []float64{3}, s.ListFloats(3))
	require.Equal(t, []string{"a"}, s.ListWords("a"))
	require.Equal(t, 0.5, s.Float("f", 0.5))
	require.Equal(t, 0.5, s.Positive("g", 0.5))
	require.Equal(t, 0.0, s.NonNegative("h", 0))
	require.Equal(t, 4, s.Int("i", 4))
	require.Equal(t, []float64{1, 2}, s.Floats("fs", 1, 2))
	require.Equal(t, []int{1}, s.Ints("is", 1))
	require.Equal(t, "relu", s.Word("w", "relu", "relu", "silu"))
	require.Equal(t, []string{"a"}, s.Words("ws", "a"))
	require.True(t, s.Bool("b", true))
	require.Equal(t, "", s.File("p"))
	require.NoError(t, s.Done())
}

func TestErrorsAreClear(t *testing.T) {
	for _, c := range []struct {
		text string
		read func(*Spec)
		want string
	}{
		{"x:a=1", func(s *Spec) {}, `"x:a=1": x takes no keys; a is unknown`},
		{"x:a=1", func(s *Spec) { s.Int("n", 1); s.Float("std", 1) }, "unknown key a; valid for x: n, std"},
		{"x:1,2", func(s *Spec) { s.Int("n", 1) }, "x takes no list"},
		{"x:n=1.5", func(s *Spec) { s.Int("n", 1) }, `"1.5" is not a whole number`},
		{"x:n=0", func(s *Spec) { s.Count("n", 1, 1) }, "n must be at least 1, not 0"},
		{"x:f=abc", func(s *Spec) { s.Float("f", 1) }, `"abc" is not a finite number`},
		{"x:f=NaN", func(s *Spec) { s.Float("f", 1) }, "not a finite number"},
		{"x:f=1e999", func(s *Spec) { s.Float("f", 1) }, "not a finite number"},
		{"x:f=0", func(s *Spec) { s.Positive("f", 1) }, "f must be greater than 0"},
		{"x:f=-1", func(s *Spec) { s.NonNegative("f", 1) }, "f must not be negative"},
		{"x:f=1,,2", func(s *Spec) { s.Floats("f", 1) }, "not a finite number"},
		{"x:1,b", func(s *Spec) { s.ListInts() }, `"b" is not a whole number`},
		{"x:w=tan", func(s *Spec) { s.Word("w", "relu", "relu", "silu") }, "w=tan is unknown; valid: relu, silu"},
		{"x:b=maybe", func(s *Spec) { s.Bool("b", true) }, "write true or false"},
		{"x:p=a.npy", func(s *Spec) { s.File("p") }, "a file is written @FILE"},
		{"x:p=@", func(s *Spec) { s.File("p") }, "a file is written @FILE"},
		{"x:n=a:f=b", func(s *Spec) { s.Int("n", 1); s.Float("f", 1) }, "n=a"},
	} {
		s := parse(t, c.text)
		c.read(s)
		require.ErrorContains(t, s.Done(), c.want, c.text)
	}
	require.ErrorContains(t, parse(t, "x:c=1").CheckKeys("a", "b"), "valid for x: a, b")
	require.NoError(t, parse(t, "x:a=1").CheckKeys("a", "b"))
}

func TestLookup(t *testing.T) {
	table := map[string]int{"two-moons": 1, "rings": 2}
	v, err := Lookup("data set", "Two-Moons", table)
	require.NoError(t, err)
	require.Equal(t, 1, v)
	_, err = Lookup("data set", "two-moon", table)
	require.EqualError(t, err, `unknown data set "two-moon" (did you mean two-moons?); valid: rings, two-moons`)
	_, err = Lookup("data set", "zebra", table)
	require.EqualError(t, err, `unknown data set "zebra"; valid: rings, two-moons`)
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"rings", "ring", 1}, {"flaw", "lawn", 2}} {
		require.Equal(t, c.want, distance(c.a, c.b), "%s %s", c.a, c.b)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a", "mlp:128,128:act=silu", "gaussian:mean=0,0:cov=@c.npy", "a::", "x:k==:l=,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(s.String())
		require.NoError(t, err, "%q → %q", text, s.String())
		require.Equal(t, s.Name, again.Name)
		require.Equal(t, s.List, again.List)
		require.Equal(t, s.Args, again.Args)
		for _, a := range s.Args {
			s.Float(a.Key, 1)
			s.Ints(a.Key)
			s.File(a.Key)
			s.Bool(a.Key, false)
		}
		s.ListFloats()
		s.Done()
	})
}
