package losses

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// NCE is noise-contrastive estimation (Gutmann and Hyvärinen 2012), logistic regression of data against noise:
//
//	−mean log σ(h(x⁺)) − ν·mean log σ(−h(x⁻)),  h = −E − log Z − log p_noise − log ν.
//
// At its optimum E + log Z is the normalised energy, so log Z is recovered too.
type NCE struct {
	Penalty
	Noise     Density // nil: N(0, I). Not needed where the batch gives negatives and LogNoise
	Nu        float64 // ν, noise a datum; 0: 1, or M/N where the batch gives negatives
	InitLogZ  float64 // where log Z starts, or stays
	FixedLogZ bool    // the default learns log Z

	query    [1]Query
	n        int // data rows of the plan
	nu       float64
	x, e     []float32
	logNoise []float64 // in use
	logBuf   []float64
	offset   [1]float32 // learned part of log Z
	dOffset  [1]float32
	ct       [1]Values
	terms    [3]Term
}

// Name is "nce".
func (*NCE) Name() string { return "nce" }

// NeedsSecondOrder is false.
func (*NCE) NeedsSecondOrder() bool { return false }

// LogZ is the present log Z.
func (l *NCE) LogZ() float64 { return l.InitLogZ + float64(l.offset[0]) }

// OwnParams is log Z − InitLogZ, one value; nil where log Z is fixed.
func (l *NCE) OwnParams() []float32 {
	if l.FixedLogZ {
		return nil
	}
	return l.offset[:]
}

// State is the learned part of log Z.
func (l *NCE) State() []byte {
	return binary.LittleEndian.AppendUint32(nil, math.Float32bits(l.offset[0]))
}

// Load restores what State gave.
func (l *NCE) Load(state []byte) error {
	if len(state) != 4 {
		return fmt.Errorf("losses: nce: a state of %d bytes, expected 4", len(state))
	}
	l.offset[0] = math.Float32frombits(binary.LittleEndian.Uint32(state))
	return nil
}

// Plan draws ν·N noise rows unless given, and asks for E at data and noise, as one query.
func (l *NCE) Plan(_ context.Context, b Batch, k rng.Key) ([]Query, error) {
	if err := b.check(l.Name()); err != nil {
		return nil, err
	}
	if l.Nu < 0 || !finite(l.Nu) {
		return nil, fmt.Errorf("losses: nce: ν = %g: give a positive number, or 0 for the default", l.Nu)
	}
	m := b.M
	if l.nu = l.Nu; b.Neg == nil {
		if l.nu == 0 {
			l.nu = 1
		}
		m = max(1, int(math.Round(l.nu*float64(b.N))))
	} else if l.nu == 0 {
		l.nu = float64(m) / float64(b.N)
	}
	l.n = b.N
	l.x = grow(l.x, (b.N+m)*b.Dim)
	noise := l.x[copy(l.x, b.X):]
	if b.Neg != nil {
		copy(noise, b.Neg)
	} else if err := orNormal(l.Noise).Sample(noise, m, b.Dim, k.Sub("noise")); err != nil {
		return nil, err
	}
	if err := l.density(b, b.N+m); err != nil {
		return nil, err
	}
	l.query[0] = Query{N: b.N + m, X: l.x, Want: WantEnergy}
	return l.query[:], nil
}

// density sets log p_noise at all rows. Data that the noise cannot give are refused: whatever E is there, they look like data for certain and
// would not count.
func (l *NCE) density(b Batch, rows int) error {
	switch l.logNoise = b.LogNoise; {
	case l.logNoise == nil:
		l.logBuf = grow(l.logBuf, rows)
		l.logNoise = l.logBuf
		if err := orNormal(l.Noise).LogProb(l.logNoise, l.x, rows, b.Dim); err != nil {
			return err
		}
	case b.Neg == nil:
		return fmt.Errorf("losses: nce: log p_noise is given without the negatives it belongs to")
	case len(l.logNoise) != rows:
		return fmt.Errorf("losses: nce: log p_noise holds %d values, expected %d: at the data, then at the negatives", len(l.logNoise), rows)
	}
	if i := slices.Index(l.logNoise[:b.N], math.Inf(-1)); i >= 0 {
		return fmt.Errorf("losses: nce: the noise has the density 0 at row %d of the data; take noise that covers them", i)
	}
	return nil
}

// Value gives pos_loss + neg_loss (ν inside) and log_z; Ē⁺ = σ(−h)/N, Ē⁻ = −ν·σ(h)/M, and the sum of both for log Z.
func (l *NCE) Value(q []Query, v []Values) (Result, error) {
	if err := answered(l.Name(), q, v, 1); err != nil {
		return Result{}, err
	}
	l.e = grow(l.e, q[0].N)
	shift := l.LogZ() + math.Log(l.nu)
	side := func(from, to int, sign, weight float64) (loss, slope float64) {
		weight /= float64(to - from)
		for i := from; i < to; i++ {
			h := -float64(v[0].E[i]) - shift - l.logNoise[i]
			loss += weight * softplus(-sign*h)
			d := sign * weight * sigmoid(-sign*h)
			slope += d
			l.e[i] = float32(d)
		}
		return loss, slope
	}
	pos, posSlope := side(0, l.n, 1, 1)
	neg, negSlope := side(l.n, q[0].N, -1, l.nu)
	l.terms = [3]Term{{"pos_loss", pos}, {"neg_loss", neg}, {"log_z", l.LogZ()}}
	l.ct[0] = Values{E: l.e}
	dim := len(q[0].X) / q[0].N
	res := Result{Loss: pos + neg, Terms: l.terms[:], Cotangents: l.ct[:], Negatives: q[0].X[l.n*dim:]}
	if !l.FixedLogZ {
		l.dOffset[0] = float32(posSlope + negSlope)
		res.Own = l.dOffset[:]
	}
	return res, nil
}
