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

// rays are directions from the base's mean, looked at from nearest times to farthest times as far out as the base's scale.
const (
	rays     = 256
	nearest  = 1e4
	tenfolds = 2 // to the farthest
)

// openDirections is the share of directions in which exp(−E) cannot be integrated; a target where that is half of them is refused.
//
// Along a ray exp(−E)·r^(D−1) has a finite integral if E rises by more than D·log r: a ray is open where it rises by less in each of the last
// factors of ten. Of a bounded energy all are. A network that was fitted to data often falls in a few directions far from them, where chains do
// not get: the estimate is then that of the mass around the data.
func (p *path) openDirections(ctx context.Context, k rng.Key) (open float64, err error) {
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
			return 0, err
		}
		p.info.Gradients += rays
	}
	count := 0
	for c := range rays {
		isOpen := true
		for j := range tenfolds {
			rise := float64(e[j+1][c]) - float64(e[j][c])
			isOpen = isOpen && rise <= float64(d)*math.Ln10 // not where an energy is undefined, or infinite farther out
		}
		if isOpen {
			count++
		}
	}
	if open = float64(count) / rays; open < 0.5 {
		return open, nil
	}
	return open, fmt.Errorf("samplers: log Z: %w: in %.0f %% of all directions E rises too slowly, or falls, as far as %.0e times the base's scale; add an energy that grows, such as a harmonic one",
		ErrNoIntegral, 100*open, nearest*math.Pow(10, tenfolds))
}
