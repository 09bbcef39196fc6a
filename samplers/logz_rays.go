package samplers

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// ErrNoIntegral says that exp(−E) has no finite integral.
var ErrNoIntegral = errors.New("exp(−E) has no finite integral")

// rays are directions from the base's mean, looked at from nearest times to farthest times as far out as the base's scale; openRays of them that are
// open are no accident of rounding.
const (
	rays     = 256
	openRays = 3
	nearest  = 1e4
	tenfolds = 2 // to the farthest
)

// closed refuses a target whose exp(−E) cannot be integrated. Along a ray exp(−E)·r^(D−1) has a finite integral if E rises by more than D·log r: a ray
// is open where it rises by less in each of the last factors of ten. A bounded energy, or one that falls in some directions, has such rays; the
// chains would measure what they happen to have seen.
func (p *path) closed(ctx context.Context, k rng.Key) error {
	d := p.t.Dim()
	direction, x := make([]float32, rays*d), make([]float32, rays*d)
	k.Normals(direction, 0, 0)
	e := make([][]float32, tenfolds+1)
	for j := range e {
		far := nearest * math.Pow(10, float64(j)) / math.Sqrt(float64(d))
		for i, z := range direction {
			x[i] = float32(p.base.mean[i%d] + far*p.base.scale[i%d]*float64(z))
		}
		e[j] = make([]float32, rays)
		if err := evaluate(ctx, p.t, x, rays, e[j], nil); err != nil {
			return err
		}
		p.info.Gradients += rays
	}
	open := 0
	for c := range rays {
		isOpen := true
		for j := range tenfolds {
			rise := float64(e[j+1][c]) - float64(e[j][c])
			isOpen = isOpen && rise <= float64(d)*math.Ln10 // not where an energy is undefined, or infinite farther out
		}
		if isOpen {
			open++
		}
	}
	if open < openRays {
		return nil
	}
	return fmt.Errorf("samplers: log Z: %w: along %d of %d rays E rises too slowly, or falls, as far as %.0e times the base's scale; add an energy that grows, such as a harmonic one",
		ErrNoIntegral, open, rays, nearest*math.Pow(10, tenfolds))
}
