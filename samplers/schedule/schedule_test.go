package schedule_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

func TestClosedForms(t *testing.T) {
	for _, c := range []struct {
		text string
		want map[int]float64
	}{
		{"0.25", map[int]float64{0: 0.25, 7: 0.25}},
		{"1e-3", map[int]float64{0: 0.001}},
		{"linear:1,0,4", map[int]float64{-1: 1, 0: 1, 1: 0.75, 3: 0.25, 4: 0, 99: 0}},
		{"cosine:2,1,4", map[int]float64{0: 2, 1: 1 + (1+math.Sqrt2/2)/2, 2: 1.5, 4: 1, 5: 1}},
		{"exponential:1,0.5", map[int]float64{0: 1, 3: 0.125}},
		{"exponential:1,0.5,0.2", map[int]float64{2: 0.25, 3: 0.2, 50: 0.2}},
		{"multistep:8,0.5,2,5", map[int]float64{0: 8, 1: 8, 2: 4, 4: 4, 5: 2, 50: 2}},
		{"warmup:4,1", map[int]float64{0: 0.01, 1: 0.2575, 2: 0.505, 4: 1, 5: 1}},
		{"warmup:2,linear:1,0,2", map[int]float64{0: 0.01, 1: 0.505, 2: 1, 3: 0.5, 4: 0}},
		{"warmup:0,linear:1,0,2", map[int]float64{0: 1, 1: 0.5}},
		{"polynomial:3,1,4,2", map[int]float64{0: 3, 1: 1 + 2*0.5625, 2: 1.5, 4: 1, 9: 1}},
		{"polynomial:3,1,4,0.5", map[int]float64{3: 2}},
	} {
		s, err := schedule.Parse(c.text)
		require.NoError(t, err, c.text)
		for n, want := range c.want {
			require.InDelta(t, want, s.At(n), 1e-15, "%s at %d", c.text, n)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, s := range []schedule.Schedule{
		schedule.Constant{Value: 1.0 / 3},
		schedule.Linear{From: 1, To: -2.5e-9, Steps: 1000000},
		schedule.Cosine{From: 1, To: 0, Steps: 3},
		schedule.Exponential{From: 1, Rate: 0.999},
		schedule.Exponential{From: 1, Rate: 1, Min: 0.1},
		schedule.MultiStep{From: 1, Gamma: 0.1, Milestones: []int{1, 20, 300}},
		schedule.Polynomial{From: 1, To: 0, Steps: 5, Power: 0.9},
		schedule.Warmup{Steps: 10, Then: schedule.Warmup{Steps: 2, Then: schedule.Cosine{From: 1, Steps: 7}}},
	} {
		got, err := schedule.Parse(s.String())
		require.NoError(t, err, s.String())
		require.Equal(t, s, got)
	}
}

func TestErrorsSayWhatIsValid(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "polynomial:from,to,steps,power",
		"fast":                   "linear:from,to,steps",
		"NaN":                    "finite",
		"inf":                    "finite",
		"ramp:1,2":               "warmup:steps,SCHEDULE",
		"linear:1,2":             "linear:from,to,steps",
		"linear:1,2,0":           "whole number",
		"linear:1,2,1.5":         "whole number",
		"cosine:1,,3":            "cosine:from,to,steps",
		"exponential:1,0":        "0 < rate ≤ 1",
		"exponential:1,1.1":      "0 < rate ≤ 1",
		"exponential:1,.5,0,9":   "exponential:from,rate[,min]",
		"multistep:1,0.1":        "multistep:from,gamma,at1,at2…",
		"multistep:1,0.1,5,5":    "increasing",
		"multistep:1,0.1,0":      "whole number",
		"warmup:5":               "warmup:steps,SCHEDULE",
		"warmup:5,":              "a number",
		"warmup:-1,1":            "whole number",
		"warmup:x,1":             "warmup:steps,SCHEDULE",
		"warmup:3,linear:1,2":    "linear:from,to,steps",
		"polynomial:1,0,5,0":     "above 0",
		"polynomial:1,0,5":       "polynomial:from,to,steps,power",
		"linear:1,2,99999999999": "whole number",
	} {
		_, err := schedule.Parse(text)
		require.ErrorContains(t, err, want, text)
		require.True(t, strings.HasPrefix(err.Error(), "schedule: "), text)
		require.NotContains(t, err.Error(), "\n")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"1", "linear:1,2,3", "cosine:1,2,3", "exponential:1,.5,.1", "multistep:1,.1,2,3", "warmup:3,warmup:2,1", "polynomial:1,0,9,2", "warmup:0x1p4,1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := schedule.Parse(text)
		if err != nil {
			return
		}
		again, err := schedule.Parse(s.String())
		require.NoError(t, err)
		require.Equal(t, s.String(), again.String())
		for _, n := range []int{0, 1, 2, 1000} {
			require.Equal(t, math.Float64bits(s.At(n)), math.Float64bits(again.At(n)))
		}
	})
}

func ExampleParse() {
	s, err := schedule.Parse("warmup:2,linear:1,0,4")
	if err != nil {
		panic(err)
	}
	for n := range 7 {
		fmt.Printf("%.3f ", s.At(n))
	}
	fmt.Println(s)
	// Output: 0.010 0.505 1.000 0.750 0.500 0.250 0.000 warmup:2,linear:1,0,4
}
