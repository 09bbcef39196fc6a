package losses

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Density is a distribution one can draw from and evaluate: the noise of NCE, or the start of chains.
type Density interface {
	// Sample fills dst [n·dim]. Row i depends on (k, i) alone.
	Sample(dst []float32, n, dim int, k rng.Key) error
	// LogProb sets dst [n] to log p at the rows of x [n·dim], normaliser included.
	LogProb(dst []float64, x []float32, n, dim int) error
}

// Gaussian has independent coordinates. Each of Mean and Std holds one value, one a coordinate, or none (0 and 1).
type Gaussian struct{ Mean, Std []float64 }

// Uniform is uniform on a box. Each of Low and High holds one value, one a coordinate, or none (−1 and 1).
type Uniform struct{ Low, High []float64 }

// Mixture is Σ wₖ N(mₖ, s²I). Means is [K·D]; Weights need not sum to 1, none means equal; Std 0 means 1.
type Mixture struct {
	Means   []float64
	Std     float64
	Weights []float64
}

// Tailed draws the first coordinates of a row from a density and the last ones from equally likely tails, all of one length: items with
// the weights of a class.
type Tailed struct {
	Of    Density
	Tails [][]float32
}

// FitGaussian is the Gaussian with the mean and the (population) standard deviation of each coordinate of x [n·dim].
// A constant coordinate gets the standard deviation 1e-3.
func FitGaussian(x []float32, n, dim int) (Gaussian, error) {
	if n < 1 || dim < 1 || len(x) != n*dim {
		return Gaussian{}, fmt.Errorf("losses: cannot fit a Gaussian to %d values as %d rows of %d", len(x), n, dim)
	}
	g := Gaussian{Mean: make([]float64, dim), Std: make([]float64, dim)}
	for i, v := range x {
		g.Mean[i%dim] += float64(v) / float64(n)
	}
	for i, v := range x {
		d := float64(v) - g.Mean[i%dim]
		g.Std[i%dim] += d * d / float64(n)
	}
	for j, v := range g.Std {
		g.Std[j] = max(math.Sqrt(v), 1e-3)
	}
	return g, nil
}

// at is element j of a list that may hold one value for all or none.
func at(list []float64, j int, none float64) float64 {
	switch len(list) {
	case 0:
		return none
	case 1:
		return list[0]
	}
	return list[j]
}

// perCoordinate checks that a list holds none, one or dim values, all of them good.
func perCoordinate(what string, list []float64, dim int, good func(float64) bool) error {
	if len(list) > 1 && len(list) != dim {
		return fmt.Errorf("losses: %s has %d values, expected 1 or %d", what, len(list), dim)
	}
	for _, v := range list {
		if !good(v) {
			return fmt.Errorf("losses: %s = %g is not allowed", what, v)
		}
	}
	return nil
}

func positive(v float64) bool    { return v > 0 && finite(v) }
func notNegative(v float64) bool { return v >= 0 && finite(v) }

func (g Gaussian) check(dim int) error {
	if err := perCoordinate("the Gaussian's mean", g.Mean, dim, finite); err != nil {
		return err
	}
	return perCoordinate("the Gaussian's standard deviation", g.Std, dim, positive)
}

// Sample draws mean + std·ε.
func (g Gaussian) Sample(dst []float32, n, dim int, k rng.Key) error {
	if err := g.check(dim); err != nil {
		return err
	}
	k.Normals(dst[:n*dim], 0, 0)
	if len(g.Mean) == 0 && len(g.Std) == 0 {
		return nil
	}
	for i, v := range dst[:n*dim] {
		j := i % dim
		dst[i] = float32(at(g.Mean, j, 0) + at(g.Std, j, 1)*float64(v))
	}
	return nil
}

// LogProb is −½Σ((x−m)/s)² − Σ log s − (D/2) log 2π.
func (g Gaussian) LogProb(dst []float64, x []float32, n, dim int) error {
	if err := g.check(dim); err != nil {
		return err
	}
	norm := -0.5 * float64(dim) * math.Log(2*math.Pi)
	for j := range dim {
		norm -= math.Log(at(g.Std, j, 1))
	}
	for i := range n {
		var sum float64
		for j, v := range x[i*dim : (i+1)*dim] {
			z := (float64(v) - at(g.Mean, j, 0)) / at(g.Std, j, 1)
			sum += z * z
		}
		dst[i] = norm - sum/2
	}
	return nil
}

func (u Uniform) check(dim int) error {
	if err := perCoordinate("the uniform density's low end", u.Low, dim, finite); err != nil {
		return err
	}
	if err := perCoordinate("the uniform density's high end", u.High, dim, finite); err != nil {
		return err
	}
	for j := range dim {
		if low, high := at(u.Low, j, -1), at(u.High, j, 1); !(low < high) {
			return fmt.Errorf("losses: the uniform density is empty: low %g, high %g", low, high)
		}
	}
	return nil
}

// Sample draws low + (high − low)·u.
func (u Uniform) Sample(dst []float32, n, dim int, k rng.Key) error {
	if err := u.check(dim); err != nil {
		return err
	}
	k.Uniforms(dst[:n*dim], 0, 0)
	for i, v := range dst[:n*dim] {
		low, high := at(u.Low, i%dim, -1), at(u.High, i%dim, 1)
		dst[i] = float32(low + (high-low)*float64(v))
	}
	return nil
}

// LogProb is −Σ log(high − low) inside the box (ends included, up to float32) and −∞ outside.
func (u Uniform) LogProb(dst []float64, x []float32, n, dim int) error {
	if err := u.check(dim); err != nil {
		return err
	}
	var norm float64
	for j := range dim {
		norm -= math.Log(at(u.High, j, 1) - at(u.Low, j, -1))
	}
	for i := range n {
		dst[i] = norm
		for j, v := range x[i*dim : (i+1)*dim] {
			if v < float32(at(u.Low, j, -1)) || v > float32(at(u.High, j, 1)) {
				dst[i] = math.Inf(-1)
			}
		}
	}
	return nil
}

// weights gives the cumulative weights and the standard deviation.
func (m Mixture) weights(dim int) (cumulative []float64, std float64, err error) {
	count := len(m.Means) / dim
	if count < 1 || len(m.Means) != count*dim {
		return nil, 0, fmt.Errorf("losses: the mixture's means hold %d values, expected a multiple of %d", len(m.Means), dim)
	}
	if len(m.Weights) != 0 && len(m.Weights) != count {
		return nil, 0, fmt.Errorf("losses: the mixture has %d weights for %d means", len(m.Weights), count)
	}
	if std = m.Std; std == 0 {
		std = 1
	}
	if !positive(std) {
		return nil, 0, fmt.Errorf("losses: the mixture's standard deviation is %g: give a positive number", std)
	}
	cumulative = make([]float64, count)
	var sum float64
	for i := range cumulative {
		w := 1.0
		if len(m.Weights) != 0 {
			w = m.Weights[i]
		}
		if !notNegative(w) {
			return nil, 0, fmt.Errorf("losses: the mixture has the weight %g: give numbers ≥ 0", w)
		}
		sum += w
		cumulative[i] = sum
	}
	if !positive(sum) {
		return nil, 0, fmt.Errorf("losses: the mixture's weights sum to %g", sum)
	}
	for i := range cumulative {
		cumulative[i] /= sum
	}
	return cumulative, std, nil
}

// Sample draws a component, then from it.
func (m Mixture) Sample(dst []float32, n, dim int, k rng.Key) error {
	cumulative, std, err := m.weights(dim)
	if err != nil {
		return err
	}
	k.Sub("noise").Normals(dst[:n*dim], 0, 0)
	pick := k.Sub("component")
	for i := range n {
		u := pick.Float64(0, uint64(i))
		c := min(sort.SearchFloat64s(cumulative, u), len(cumulative)-1)
		row := dst[i*dim : (i+1)*dim]
		for j, v := range row {
			row[j] = float32(m.Means[c*dim+j] + std*float64(v))
		}
	}
	return nil
}

// LogProb is log Σ wₖ exp(−‖x−mₖ‖²/2s²) − D log s − (D/2) log 2π, by log-sum-exp.
func (m Mixture) LogProb(dst []float64, x []float32, n, dim int) error {
	cumulative, std, err := m.weights(dim)
	if err != nil {
		return err
	}
	norm := -float64(dim) * (math.Log(std) + 0.5*math.Log(2*math.Pi))
	logs := make([]float64, len(cumulative))
	for i := range n {
		before, top := 0.0, math.Inf(-1)
		for c, w := range cumulative {
			var sum float64
			for j, v := range x[i*dim : (i+1)*dim] {
				z := (float64(v) - m.Means[c*dim+j]) / std
				sum += z * z
			}
			logs[c] = math.Log(w-before) - sum/2
			top, before = max(top, logs[c]), w
		}
		var total float64
		for _, l := range logs {
			total += math.Exp(l - top)
		}
		dst[i] = norm + top + math.Log(total)
	}
	return nil
}

func (t Tailed) check(dim int) (free int, err error) {
	if len(t.Tails) == 0 || len(t.Tails[0]) >= dim {
		return 0, fmt.Errorf("losses: %d tails cannot end rows of %d values", len(t.Tails), dim)
	}
	return dim - len(t.Tails[0]), nil
}

// Sample draws from the density, then a tail.
func (t Tailed) Sample(dst []float32, n, dim int, k rng.Key) error {
	free, err := t.check(dim)
	if err != nil {
		return err
	}
	x := make([]float32, n*free)
	if err := orNormal(t.Of).Sample(x, n, free, k); err != nil {
		return err
	}
	pick := k.Sub("tail")
	for i := range n {
		copy(dst[i*dim:], x[i*free:(i+1)*free])
		copy(dst[i*dim+free:(i+1)*dim], t.Tails[pick.IntN(len(t.Tails), 0, uint64(i))])
	}
	return nil
}

// LogProb is that of the density, less log of the number of tails; −∞ at other tails.
func (t Tailed) LogProb(dst []float64, x []float32, n, dim int) error {
	free, err := t.check(dim)
	if err != nil {
		return err
	}
	heads := make([]float32, n*free)
	for i := range n {
		copy(heads[i*free:(i+1)*free], x[i*dim:])
	}
	if err := orNormal(t.Of).LogProb(dst, heads, n, free); err != nil {
		return err
	}
	for i := range n {
		same := 0
		for _, tail := range t.Tails {
			if slices.Equal(tail, x[i*dim+free:(i+1)*dim]) {
				same++
			}
		}
		dst[i] += math.Log(float64(same) / float64(len(t.Tails)))
	}
	return nil
}
