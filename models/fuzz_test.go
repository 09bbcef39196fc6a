package models

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// No text makes Builtin or Network panic, and what they make is a graph that passes the checker.
func FuzzSpecifications(f *testing.F) {
	for _, e := range Help() {
		f.Add("builtin:"+e.Name, int64(2))
		f.Add("builtin:"+e.Name+":"+strings.Join(e.Keys, ":"), int64(3))
	}
	for _, e := range NetworkHelp() {
		f.Add(e.Name+":8:"+strings.Join(e.Keys, ":"), int64(4))
	}
	f.Add("2e+1*builtin:gaussian:mean=1+-3*builtin:rings", int64(1))
	f.Fuzz(func(t *testing.T, text string, side int64) {
		if strings.ContainsFunc(text, func(r rune) bool { return r >= '0' && r <= '9' }) && len(text) > 60 {
			return // long numbers ask for memory, not for trouble
		}
		if a, err := Builtin(text); err == nil && a.Dim < 1000 {
			require.NoError(t, graphs.Check(a.Graph))
			a.Energy(make([]float64, a.Dim))
		}
		if g, err := Network(text, []int64{side % 5, side % 7}, rng.NewKey(0)); err == nil {
			require.NoError(t, graphs.Check(g))
		}
	})
}
