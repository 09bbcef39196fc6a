package losses

import (
	"context"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Contrastive is mean E(x⁺) − α·mean E(x⁻) + λ(mean E(x⁺)² + mean E(x⁻)²), the negatives x⁻ held constant. With x⁻ from the
// model and α = 1 its gradient is that of the negative log-likelihood; the value is not the likelihood. Maximum likelihood, CD-k
// (Hinton 2002) and PCD differ in where chains start: see NewMLE, NewCD, NewPCD.
type Contrastive struct {
	Penalty
	Source
	Label         string  // the loss's name
	Alpha         float64 // α as it is: the constructors set 1
	EnergyPenalty float64 // λ
	// Objective, if not nil, replaces the formula: from energies of data [N] and negatives [M] it returns the loss and sets dPos
	// [N] and dNeg [M] to its derivatives. Penalties come on top.
	Objective func(pos, neg, dPos, dNeg []float32) float64

	query [1]Query
	n     int // data rows of the plan
	x, e  []float32
	ct    [1]Values
	terms [4]Term
}

// NewMLE starts chains of 10 steps at noise.
func NewMLE() *Contrastive { return newContrastive("mle", FromNoise) }

// NewCD starts chains of 10 steps at the data.
func NewCD() *Contrastive { return newContrastive("cd", FromData) }

// NewPCD starts chains of 10 steps at a replay buffer with its defaults.
func NewPCD() *Contrastive {
	l := newContrastive("pcd", FromBuffer)
	l.Buffer = &ReplayBuffer{Reinit: DefaultReinit}
	return l
}

func newContrastive(name string, start Start) *Contrastive {
	return &Contrastive{Label: name, Alpha: 1, Source: Source{Start: start, Steps: 10}}
}

// Name is "mle", "cd" or "pcd", or what was set.
func (l *Contrastive) Name() string { return l.Label }

// NeedsSecondOrder is false.
func (*Contrastive) NeedsSecondOrder() bool { return false }

// Plan gets negatives and asks for E at data and negatives, as one query of N+M rows.
func (l *Contrastive) Plan(ctx context.Context, b Batch, k rng.Key) ([]Query, error) {
	if err := b.check(l.Name()); err != nil {
		return nil, err
	}
	neg, m, err := l.Source.Draw(ctx, b, k)
	if err != nil {
		return nil, err
	}
	l.n = b.N
	l.x = grow(l.x, (b.N+m)*b.Dim)
	copy(l.x[copy(l.x, b.X):], neg)
	l.query[0] = Query{N: b.N + m, X: l.x, Want: WantEnergy}
	return l.query[:], nil
}

// Value gives pos_energy, neg_energy, their gap (neg − pos) and reg_loss; Ē⁺ = (1 + 2λE⁺)/N, Ē⁻ = (−α + 2λE⁻)/M.
func (l *Contrastive) Value(q []Query, v []Values) (Result, error) {
	if err := answered(l.Name(), q, v, 1); err != nil {
		return Result{}, err
	}
	l.e = grow(l.e, q[0].N)
	pos, neg, dPos, dNeg := v[0].E[:l.n], v[0].E[l.n:], l.e[:l.n], l.e[l.n:]
	meanPos, meanNeg := mean(pos), mean(neg)
	var loss, reg float64
	if l.Objective != nil {
		loss = l.Objective(pos, neg, dPos, dNeg)
	} else {
		loss = meanPos - l.Alpha*meanNeg
		fill(dPos, 1/float64(len(pos)))
		fill(dNeg, -l.Alpha/float64(len(neg)))
	}
	if l.EnergyPenalty != 0 {
		reg = l.EnergyPenalty * (meanSquare(pos) + meanSquare(neg))
		addScaled(dPos, pos, 2*l.EnergyPenalty/float64(len(pos)))
		addScaled(dNeg, neg, 2*l.EnergyPenalty/float64(len(neg)))
	}
	l.terms = [4]Term{{"pos_energy", meanPos}, {"neg_energy", meanNeg}, {"energy_gap", meanNeg - meanPos}, {regTerm, reg}}
	l.ct[0] = Values{E: l.e}
	dim := len(q[0].X) / q[0].N
	return Result{Loss: loss + reg, Terms: l.terms[:], Cotangents: l.ct[:], Negatives: q[0].X[l.n*dim:]}, nil
}

// addScaled does dst += s·src.
func addScaled(dst, src []float32, s float64) {
	f := float32(s)
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] += f * v
	}
}

// State is the replay buffer; empty where there is none.
func (l *Contrastive) State() []byte {
	if l.Start != FromBuffer || l.Buffer == nil {
		return nil
	}
	return l.Buffer.State()
}

// Load restores what State gave.
func (l *Contrastive) Load(state []byte) error {
	if len(state) == 0 {
		return nil
	}
	if l.Buffer == nil {
		l.Buffer = &ReplayBuffer{Reinit: DefaultReinit, Init: l.Init}
	}
	return l.Buffer.Load(state)
}
