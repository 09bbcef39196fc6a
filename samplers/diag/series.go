package diag

import "math"

// minDraws is the fewest draws a chain may have: its halves need a variance.
const minDraws = 4

// series is one coordinate under study, with scratch that serves all coordinates
// of one shape. Chains are split: chain c gives the rows 2c and 2c+1 of half the
// length, and the middle draw of an odd number is left out (Vehtari et al. 2021,
// section 3.1).
type series struct {
	chains, draws, half int

	x      []float64 // [chains, draws]
	sorted []float64 // x in ascending order
	order  []entry   // draws of the split chains in ascending order, by place in rows
	spare  []entry
	rows   []float64 // scratch [2·chains, half]
	scores *normalScores
	acov   *autocov
	rho    []float64
	means  []float64
}

// newSeries makes scratch for series of chains×draws values; draws ≥ minDraws.
// scores is newNormalScores(splitSize(chains, draws)), and may be shared between
// goroutines.
func newSeries(chains, draws int, scores *normalScores) *series {
	n, half := chains*draws, draws/2
	return &series{
		chains: chains, draws: draws, half: half,
		sorted: make([]float64, n),
		order:  make([]entry, n), spare: make([]entry, n),
		rows:   make([]float64, splitSize(chains, draws)),
		scores: scores,
		acov:   newAutocov(half),
		rho:    make([]float64, half),
	}
}

func splitSize(chains, draws int) int { return 2 * chains * (draws / 2) }

// load takes the values x [chains, draws], which must live as long as they are
// studied, and reports whether they are free of NaN; if not, nothing is loaded.
func (s *series) load(x []float64) bool {
	if hasNaN(x) {
		return false
	}
	s.x = x
	a, b := s.order[:len(x)], s.spare[:len(x)]
	s.order, s.spare = sortEntries(a, b, x)
	kept := 0
	for i, e := range s.order {
		s.sorted[i] = e.value()
		if place, ok := s.place(int(e.i)); ok {
			s.order[kept] = entry{e.key, uint32(place)}
			kept++
		}
	}
	s.order = s.order[:kept]
	return true
}

// place is where element i of x goes in the split rows, if it does.
func (s *series) place(i int) (place int, ok bool) {
	c, t := i/s.draws, i%s.draws
	if t < s.half {
		return 2*c*s.half + t, true
	}
	t -= s.draws - s.half
	return (2*c+1)*s.half + t, t >= 0
}

// splitRows fills the rows with f of the draws of the split chains.
func (s *series) splitRows(f func(float64) float64) []float64 {
	for c := range s.chains {
		chain := s.x[c*s.draws : (c+1)*s.draws]
		rows := s.rows[2*c*s.half:]
		for t, v := range chain[:s.half] {
			rows[t] = f(v)
		}
		for t, v := range chain[s.draws-s.half:] {
			rows[s.half+t] = f(v)
		}
	}
	return s.rows
}

// bulkRows are the rank-normalized draws of the split chains.
func (s *series) bulkRows() []float64 {
	s.scores.rankNormalize(s.rows, s.order)
	return s.rows
}

// tailRows are the rank-normalized distances from the median.
func (s *series) tailRows() []float64 {
	s.spare = fold(s.spare, s.order)
	s.scores.rankNormalize(s.rows, s.spare)
	return s.rows
}

func hasNaN(x []float64) bool {
	for _, v := range x {
		if math.IsNaN(v) {
			return true
		}
	}
	return false
}

// study loads x, a series of so many chains, into new scratch. It returns nil
// if there is nothing to compute from: too few chains or draws, a length that
// the chains do not share, or a NaN.
func study(x []float64, chains, minChains int) *series {
	if chains < minChains || chains < 1 || len(x)%chains != 0 || len(x)/chains < minDraws {
		return nil
	}
	draws := len(x) / chains
	s := newSeries(chains, draws, newNormalScores(splitSize(chains, draws)))
	if !s.load(x) {
		return nil
	}
	return s
}

// with is f of the loaded series, or NaN if there is none.
func with(s *series, f func(*series) float64) float64 {
	if s == nil {
		return math.NaN()
	}
	return f(s)
}
