package samplers

import "math"

// Tuning is what a kernel has adapted: a factor on its step size, by dual
// averaging (Nesterov 2009 in the form of Hoffman & Gelman 2014, section 3.2), and
// a mass matrix. Both are shared by all chains, so more chains learn faster.
type Tuning struct {
	Factor float64 // multiplies the step-size schedule

	Mu, HBar, LogBar float64 // dual averaging: the point drawn to, the mean error, the mean log factor
	Count            int     // its iterations
	Settled          bool    // near its goal: it moves in smaller steps

	Inv []float32 // diagonal of M⁻¹, or nil
	Cov []float64 // M⁻¹ [D·D], or nil

	// Foreground is what the mass is made of, Background what replaces it when
	// a window ends: so early draws are forgotten.
	Foreground, Background *Moments
	Window                 int // iterations in the background
}

func (t *Tuning) clone() *Tuning {
	if t == nil {
		return nil
	}
	c := *t
	c.Inv, c.Cov = clone(t.Inv), clone(t.Cov)
	c.Foreground, c.Background = t.Foreground.clone(), t.Background.clone()
	return &c
}

// fits says that what was adapted has dimension d.
func (t *Tuning) fits(d int) bool {
	return fits(t.Inv, d) && fits(t.Cov, d*d) && t.Foreground.fits(d) && t.Background.fits(d) &&
		(t.Foreground == nil) == (t.Background == nil) && (t.Foreground == nil || len(t.Inv) == d)
}

// restart begins dual averaging anew from the present factor, drawn towards
// pull times it.
func (t *Tuning) restart(pull float64) {
	t.Mu = math.Log(pull * t.Factor)
	t.HBar, t.Count = 0, 0
	t.LogBar = math.Log(t.Factor)
}

// The constants of Hoffman & Gelman. Once settled γ is larger: acceptance is curved
// in log ε, so the mean of a log ε that swings widely accepts more than was asked.
const (
	dualGamma    = 0.05
	settledGamma = 0.3
	dualT0       = 10
	dualKappa    = 0.75
)

// average does one step of dual averaging.
func (t *Tuning) average(accept, goal float64) {
	t.Count++
	m := float64(t.Count)
	w := 1 / (m + dualT0)
	t.HBar = (1-w)*t.HBar + w*(goal-accept)
	gamma := dualGamma
	if t.Settled {
		gamma = settledGamma
	}
	log := t.Mu - math.Sqrt(m)/gamma*t.HBar
	eta := math.Pow(m, -dualKappa)
	t.LogBar = eta*log + (1-eta)*t.LogBar
	t.Factor = bounded(math.Exp(log))
}

// settle fixes the factor at its average.
func (t *Tuning) settle() { t.Factor = bounded(math.Exp(t.LogBar)) }

// bounded keeps a factor from running away where nothing, or everything, is accepted.
func bounded(f float64) float64 { return min(max(f, 1e-10), 1e10) }

// tuned is the factor in use: 1 where nothing is adapted.
func tuned(s *State, goal float64) float64 {
	if goal == 0 {
		return 1
	}
	if s.Tuning == nil {
		if s.Adapt == 0 {
			return 1
		}
		s.Tuning = &Tuning{Factor: 1}
		s.Tuning.restart(1)
	}
	return s.Tuning.Factor
}

// learnStep adapts the step size alone, after iteration s.Step.
func learnStep(s *State, goal, accept float64) {
	if goal == 0 || s.Step >= s.Adapt {
		return
	}
	s.Tuning.average(accept, goal)
	if s.Step == s.Adapt-1 {
		s.Tuning.settle()
	}
}
