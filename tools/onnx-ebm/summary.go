package main

import (
	"encoding/json"
	"math"
	"strconv"
)

// number is a float64 that prints as JSON null where it is not finite.
type number float64

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// String has six digits.
func (n number) String() string { return strconv.FormatFloat(float64(n), 'g', 6, 64) }

// summary describes the finite ones among many numbers, or among the norms of
// many rows.
type summary struct {
	Mean      number `json:"mean"`
	Min       number `json:"min"`
	Max       number `json:"max"`
	NonFinite int    `json:"nonfinite"`

	rows, firstBad int
	sum            float64
}

// add extends s by numbers; a nil s is empty.
func (s *summary) add(data []float32) *summary {
	return s.addRows(data, 1, func(row []float32) float64 { return float64(row[0]) })
}

// addNorms extends s by the Euclidean norms of rows of length dim.
func (s *summary) addNorms(data []float32, dim int) *summary {
	return s.addRows(data, dim, func(row []float32) float64 {
		sum := 0.0
		for _, v := range row {
			sum += float64(v) * float64(v)
		}
		return math.Sqrt(sum)
	})
}

func (s *summary) addRows(data []float32, dim int, value func(row []float32) float64) *summary {
	if data == nil {
		return s
	}
	if s == nil {
		s = &summary{Mean: number(math.NaN()), Min: number(math.Inf(1)), Max: number(math.Inf(-1))}
	}
	for i := 0; i+dim <= len(data); i += dim {
		s.one(value(data[i : i+dim]))
	}
	return s
}

func (s *summary) one(v float64) {
	s.rows++
	if math.IsNaN(v) || math.IsInf(v, 0) {
		if s.NonFinite == 0 {
			s.firstBad = s.rows - 1
		}
		s.NonFinite++
		return
	}
	s.sum += v
	s.Mean = number(s.sum / float64(s.rows-s.NonFinite))
	s.Min, s.Max = min(s.Min, number(v)), max(s.Max, number(v))
}
