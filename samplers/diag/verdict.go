package diag

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Evidence is what Judge looks at. What is nil is not known; its check is then
// named as not done.
type Evidence struct {
	Summary           *Summary
	Sampler           string    // name as in package samplers; "": not known
	Acceptance        *float64  // mean acceptance probability
	Divergences       *int      // after burn-in
	RejectedNonFinite *int      // moves rejected as something was not finite
	Moves             *int      // chains × iterations that RejectedNonFinite is of
	EBFMI             []float64 // of each chain, from Hamiltonian energies
	DeepestTrees      *int      // iterations of NUTS that ended at its largest depth
	EnergyRounding    *float64  // EnergyRounding over the temperature
}

// Limits are the bounds that figures are held against; a zero takes the usual one.
type Limits struct {
	RHat           float64 // below; 0: 1.01 (Vehtari et al. 2021)
	ESS            float64 // bulk and tail, at least, over all chains; 0: 400 (Vehtari et al. 2021)
	EBFMI          float64 // at least; 0: 0.3
	EnergyRounding float64 // at most; 0: 0.1
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *float64
		value float64
	}{{&l.RHat, 1.01}, {&l.ESS, 400}, {&l.EBFMI, 0.3}, {&l.EnergyRounding, 0.1}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return l
}

// Status is the outcome of a check.
type Status string

// The outcomes of a check.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	NotDone Status = "not done"
)

// Check is one figure held against its limit.
type Check struct {
	Name   string
	Status Status
	Value  float64 // the worst figure found; NaN if none
	Limit  string  // in words, such as "below 1.01"
	Reason string  // what was found, or why the check was not done
	Advice string  // what to do; "" unless the check failed
}

// MarshalJSON writes name, status, value (null if there is none), limit, reason
// and advice.
func (c Check) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name   string   `json:"name"`
		Status Status   `json:"status"`
		Value  *float64 `json:"value"`
		Limit  string   `json:"limit"`
		Reason string   `json:"reason"`
		Advice string   `json:"advice,omitempty"`
	}{c.Name, c.Status, finite(c.Value), c.Limit, c.Reason, c.Advice})
}

// Verdict is all checks, always the same ones in the same order.
type Verdict struct {
	Checks []Check `json:"checks"`
}

// Passed reports that checks were done and none failed.
func (v Verdict) Passed() bool {
	done := false
	for _, c := range v.Checks {
		if c.Status == Failed {
			return false
		}
		done = done || c.Status == Passed
	}
	return done
}

// String is one line a check, and its advice below where it failed.
func (v Verdict) String() string {
	var b strings.Builder
	for _, c := range v.Checks {
		fmt.Fprintf(&b, "%-16s %-8s %s\n", c.Name, c.Status, c.Reason)
		if c.Advice != "" {
			fmt.Fprintf(&b, "%-16s %-8s %s\n", "", "", c.Advice)
		}
	}
	return b.String()
}

// Judge holds the evidence against the limits.
func Judge(e Evidence, l Limits) Verdict {
	l = l.withDefaults()
	var v Verdict
	for _, check := range checks {
		v.Checks = append(v.Checks, check(e, l))
	}
	return v
}

var checks = []func(Evidence, Limits) Check{
	checkFinite, checkMoving, checkRHat, checkBulk, checkTail, checkEBFMI,
	checkDivergences, checkNonFinite, checkAcceptance, checkTrees, checkRounding,
}

func notDone(name, limit, reason string) Check {
	return Check{Name: name, Status: NotDone, Value: math.NaN(), Limit: limit, Reason: reason}
}

func judged(name, limit string, ok bool, value float64, reason, advice string) Check {
	c := Check{Name: name, Status: Passed, Value: value, Limit: limit, Reason: reason}
	if !ok {
		c.Status, c.Advice = Failed, advice
	}
	return c
}

const noDraws = "there are no draws to look at"

func checkFinite(e Evidence, _ Limits) Check {
	const name, limit = "finite", "no NaN"
	if e.Summary == nil {
		return notDone(name, limit, noDraws)
	}
	total := 0
	for _, n := range e.Summary.NaNs {
		total += n
	}
	return judged(name, limit, total == 0, float64(total), fmt.Sprintf("%d values of the draws are NaN", total),
		"the sampler left the region where the energy is finite: lower the step size, or clamp states")
}

func checkMoving(e Evidence, _ Limits) Check {
	const name, limit = "moving", "no constant"
	switch s := e.Summary; {
	case s == nil:
		return notDone(name, limit, noDraws)
	case s.Chains*s.Draws < 2:
		return notDone(name, limit, "a single draw cannot show movement")
	default:
		n := 0
		for _, c := range s.Constant {
			if c {
				n++
			}
		}
		return judged(name, limit, n == 0, float64(n), fmt.Sprintf("%d of %d coordinates never change%s", n, s.Dim(), whichTrue(s.Constant)),
			"every move may have been rejected: lower the step size; or leave out coordinates that the energy fixes")
	}
}

func whichTrue(set []bool) string {
	if i := slices.Index(set, true); i >= 0 {
		return fmt.Sprintf(", the first is %d", i)
	}
	return ""
}

// worst finds the worst finite or infinite figure among coordinates that vary.
func (s *Summary) worst(figures []float64, worse func(a, b float64) bool) (coordinate int) {
	coordinate = -1
	for j, f := range figures {
		if !s.Constant[j] && !math.IsNaN(f) && (coordinate < 0 || worse(f, figures[coordinate])) {
			coordinate = j
		}
	}
	return coordinate
}

// undefinedReason says why no coordinate has the figure.
func (s *Summary) undefinedReason(minChains int) string {
	switch {
	case s.Draws < minDraws:
		return fmt.Sprintf("%d draws a chain; it takes %d", s.Draws, minDraws)
	case s.Chains < minChains:
		return fmt.Sprintf("%d chain; it takes %d, started apart", s.Chains, minChains)
	}
	return "no coordinate is finite and varies"
}

func checkRHat(e Evidence, l Limits) Check {
	name, limit := "rhat", fmt.Sprintf("below %v", l.RHat)
	if e.Summary == nil {
		return notDone(name, limit, noDraws)
	}
	j := e.Summary.worst(e.Summary.RHat, func(a, b float64) bool { return a > b })
	if j < 0 {
		return notDone(name, limit, e.Summary.undefinedReason(2))
	}
	r := e.Summary.RHat[j]
	return judged(name, limit, r < l.RHat, r, fmt.Sprintf("largest R-hat %.4f, of coordinate %d", r, j),
		"chains do not agree yet: run longer, discard more burn-in, or look at the trace of that coordinate for modes that chains do not leave (parallel tempering crosses them)")
}

func checkBulk(e Evidence, l Limits) Check {
	return checkESS("ess_bulk", "bulk", e, l, func(s *Summary) []float64 { return s.ESSBulk },
		"means are not known well: take more draws, or a sampler that moves further a step (a larger step size, hmc, nuts)")
}

func checkTail(e Evidence, l Limits) Check {
	return checkESS("ess_tail", "tail", e, l, func(s *Summary) []float64 { return s.ESSTail },
		"quantiles are not known well: take more draws; where bulk is good and tail is not, chains stay long in the tails")
}

func checkESS(name, kind string, e Evidence, l Limits, figures func(*Summary) []float64, advice string) Check {
	limit := fmt.Sprintf("at least %v", l.ESS)
	if e.Summary == nil {
		return notDone(name, limit, noDraws)
	}
	j := e.Summary.worst(figures(e.Summary), func(a, b float64) bool { return a < b })
	if j < 0 {
		return notDone(name, limit, e.Summary.undefinedReason(1))
	}
	v := figures(e.Summary)[j]
	return judged(name, limit, v >= l.ESS, v, fmt.Sprintf("smallest %s ESS %.0f, of coordinate %d", kind, v, j), advice)
}

func checkEBFMI(e Evidence, l Limits) Check {
	name, limit := "ebfmi", fmt.Sprintf("at least %v", l.EBFMI)
	if len(e.EBFMI) == 0 {
		return notDone(name, limit, e.unknown("Hamiltonian energies are not known", func(k kind) bool { return k.hamiltonian }))
	}
	lowest, chain := math.NaN(), -1
	for c, v := range e.EBFMI {
		if !math.IsNaN(v) && (chain < 0 || v < lowest) {
			lowest, chain = v, c
		}
	}
	if chain < 0 {
		return notDone(name, limit, "no chain has energies that are finite and vary")
	}
	return judged(name, limit, lowest >= l.EBFMI, lowest, fmt.Sprintf("lowest E-BFMI %.3f, of chain %d", lowest, chain),
		"energies vary more than momenta can follow (heavy tails or a funnel): reparametrise the energy (non-centred), or adapt the mass")
}

func checkDivergences(e Evidence, _ Limits) Check {
	const name, limit = "divergences", "0"
	if e.Divergences == nil {
		return notDone(name, limit, e.unknown("it is not known whether trajectories diverged", func(k kind) bool { return k.hamiltonian }))
	}
	if k, ok := kinds[e.Sampler]; ok && !k.hamiltonian {
		return notDone(name, limit, fmt.Sprintf("%s has no trajectories that could diverge", e.Sampler))
	}
	return judged(name, limit, *e.Divergences == 0, float64(*e.Divergences), fmt.Sprintf("%d trajectories diverged", *e.Divergences),
		"the curvature is too high for the step size in places: lower it or raise the target acceptance; if that does not help, reparametrise the energy")
}

func checkNonFinite(e Evidence, _ Limits) Check {
	const name, limit = "nonfinite", "0"
	if e.RejectedNonFinite == nil {
		return notDone(name, limit, "it is not known whether moves were rejected for not being finite")
	}
	found := fmt.Sprintf("%d moves were rejected as a state, energy or gradient was not finite", *e.RejectedNonFinite)
	if e.Moves != nil {
		found = fmt.Sprintf("%d of %d moves were rejected as a state, energy or gradient was not finite", *e.RejectedNonFinite, *e.Moves)
	}
	return judged(name, limit, *e.RejectedNonFinite == 0, float64(*e.RejectedNonFinite), found,
		"draws are biased away from there if the sampler is not adjusted: lower the step size, or see where the energy overflows")
}

// kind is what there is to judge of a sampler: the range of acceptance at which
// it is efficient, 0 to 0 if it does not
// reject, and whether it integrates a Hamiltonian.
type kind struct {
	low, high   float64
	hamiltonian bool
	trees       bool // builds trees
}

// kinds are the samplers by name. Efficient is within a factor of about 1.5 of
// the best in high dimension: 0.234 for rwm (0.44 in one dimension), 0.574 for
// mala (Roberts and Rosenthal 1998, 2001), 0.651 for hmc (Beskos et al. 2013),
// 0.8 for nuts (Hoffman and Gelman 2014: 0.45 to 0.95 differ little).
var kinds = map[string]kind{
	"rwm":                {low: 0.1, high: 0.6},
	"mala":               {low: 0.3, high: 0.9},
	"parallel-tempering": {low: 0.3, high: 0.9},
	"hmc":                {low: 0.45, high: 0.98, hamiltonian: true},
	"nuts":               {low: 0.45, high: 0.98, hamiltonian: true, trees: true},
	"langevin":           {},
	"annealed-langevin":  {},
	"underdamped":        {},
	"gradient-descent":   {},
	"nesterov":           {},
}

// unknown is why something is missing: the sampler does not have it, or else.
func (e Evidence) unknown(otherwise string, has func(kind) bool) string {
	if k, ok := kinds[e.Sampler]; ok && !has(k) {
		return fmt.Sprintf("%s has none", e.Sampler)
	}
	return otherwise
}

func checkAcceptance(e Evidence, _ Limits) Check {
	const name = "acceptance"
	k, known := kinds[e.Sampler]
	limit := fmt.Sprintf("%v to %v", k.low, k.high)
	switch {
	case e.Acceptance == nil || math.IsNaN(*e.Acceptance):
		return notDone(name, "", e.unknown("the acceptance is not known", func(k kind) bool { return k.high > 0 }))
	case !known:
		return notDone(name, "", fmt.Sprintf("no range is known for the sampler %q", e.Sampler))
	case k.high == 0:
		return notDone(name, "", fmt.Sprintf("%s does not accept or reject, so its step size biases the draws instead", e.Sampler))
	}
	a := *e.Acceptance
	advice := "lower the step size"
	if a > k.high {
		advice = "raise the step size: moves are smaller than they could be"
	}
	return judged(name, limit, a >= k.low && a <= k.high, a, fmt.Sprintf("mean acceptance %.3f; %s is efficient from %v to %v", a, e.Sampler, k.low, k.high), advice)
}

func checkTrees(e Evidence, _ Limits) Check {
	const name, limit = "tree_depth", "0"
	if e.DeepestTrees == nil {
		return notDone(name, limit, e.unknown("tree depths are not known", func(k kind) bool { return k.trees }))
	}
	return judged(name, limit, *e.DeepestTrees == 0, float64(*e.DeepestTrees), fmt.Sprintf("%d trees ended at the largest depth", *e.DeepestTrees),
		"draws are correct but dear: let the mass adapt longer, or allow deeper trees")
}

func checkRounding(e Evidence, l Limits) Check {
	name, limit := "energy_rounding", fmt.Sprintf("at most %v", l.EnergyRounding)
	if e.EnergyRounding == nil || math.IsNaN(*e.EnergyRounding) {
		return notDone(name, limit, "energies are not known")
	}
	r := *e.EnergyRounding
	return judged(name, limit, r <= l.EnergyRounding, r, fmt.Sprintf("float32 rounds energies of this size by up to %.2g of the temperature", r),
		"acceptance is decided by rounding: add a constant to the energy that brings it near 0")
}
