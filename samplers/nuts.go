package samplers

import (
	"context"
	"fmt"
	"math"
	"math/bits"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// NUTS is the No-U-Turn sampler (Hoffman & Gelman 2014) with multinomial
// weights, biased progressive sampling and the generalised criterion
// (Betancourt 2017), with the checks across subtrees that Stan added: a
// trajectory doubles, forwards or backwards at random, until ρ·M⁻¹p ≤ 0 at one of its
// ends, where ρ is the sum of its momenta; or one half does so, or either half
// together with the first state of the other. Trees of fewer than 2^minDepth
// states are never taken for turned: what turns in so few steps is a stiff
// direction that oscillates, not the trajectory.
//
// In a run that adapts, a TargetAccept of 0 means 0.78: on Gaussians effective
// draws a gradient still rise at lower ones, elsewhere divergences do.
//
// Trees are built without recursion (Phan, Pradhan & Jankowiak 2019), every
// chain at its own depth: all chains that are not done take one leapfrog step
// in one batched evaluation.
type NUTS struct {
	Hamiltonian
	MaxDepth int // doublings at most; 0: 10

	depth  int
	chains []tree
	active []int
	xb, gb []float32 // the batch of active chains [A·D]
	eb     []float32

	// Ends of the trajectory [N·D]; index 0 is the past, 1 the future.
	xEnd, pEnd, gEnd [2][]float32
	xProp, gProp     []float32 // the proposal of the whole tree
	xSub, gSub       []float32 // of the subtree being built
	rho, rhoSub      []float32 // sums of momenta
	first            []float32 // first momentum of the subtree
	sum, w           []float32 // scratch
	// Checkpoints [N·depth·D]: at the first leaf of each open subtree its
	// momentum, the sum up to and including it, and the momentum before it.
	ckP, ckRho, ckBefore []float32

	dirKey, leafKey, mergeKey    rng.Key
	rootRows, leapRows, growRows func(lo, hi int)
}

// tree is one chain's state of building.
type tree struct {
	h0          float64 // H at the start
	logW        float64 // log of the summed weights of the tree, H0 − H
	logWSub     float64 // of the subtree
	hProp, hSub float64 // H of the proposals of tree and subtree
	eProp, eSub float64
	accept      float64 // summed acceptance probabilities of leaves
	leaves      int     // gradients so far
	depth       int
	leaf, size  int // of the subtree: leaves so far, and in all
	dir         int // 0 past, 1 future
	done        bool
	diverged    bool
	nonFinite   bool
}

const (
	maxTreeDepth = 20
	minDepth     = 3
	nutsTarget   = 0.78
)

// Start implements Kernel.
func (u *NUTS) Start(ctx context.Context, t Target, s *State) error {
	if u.MaxDepth < 0 || u.MaxDepth > maxTreeDepth {
		return fmt.Errorf("samplers: nuts of depth %d; give 1 to %d", u.MaxDepth, maxTreeDepth)
	}
	u.depth = u.MaxDepth
	if u.depth == 0 {
		u.depth = 10
	}
	u.defaultTarget, u.pull = nutsTarget, 10
	if err := u.start(ctx, t, s); err != nil {
		return err
	}
	n := len(s.X)
	for _, v := range []*[]float32{&u.xb, &u.gb, &u.xEnd[0], &u.xEnd[1], &u.pEnd[0], &u.pEnd[1], &u.gEnd[0], &u.gEnd[1],
		&u.xProp, &u.gProp, &u.xSub, &u.gSub, &u.rho, &u.rhoSub, &u.first, &u.sum, &u.w} {
		*v = sized(*v, n)
	}
	for _, v := range []*[]float32{&u.ckP, &u.ckRho, &u.ckBefore} {
		*v = sized(*v, n*u.depth)
	}
	u.eb, u.chains = sized(u.eb, s.N), sized(u.chains, s.N)
	u.active = make([]int, 0, s.N)
	u.rootRows, u.leapRows, u.growRows = u.root, u.leap, u.grow
	return nil
}

// Step implements Kernel.
func (u *NUTS) Step(ctx context.Context, t Target, s *State, k rng.Key) (Info, error) {
	var info Info
	if err := u.prepare(ctx, t, s, k, &info); err != nil {
		return Info{}, err
	}
	u.dirKey, u.leafKey, u.mergeKey = k.Sub("direction"), k.Sub("leaf"), k.Sub("merge")
	copy(u.x0, s.X)
	copy(u.g0, s.G)
	copy(u.e0, s.E)
	s.rows(u.rootRows)
	for u.gather() {
		n := len(u.active)
		s.team.run(n, s.Dim, u.leapRows)
		size := u.pad(n)
		if err := evaluate(ctx, t, u.xb[:size*s.Dim], size, u.eb[:size], u.gb[:size*s.Dim]); err != nil {
			copy(s.X, u.x0)
			copy(s.G, u.g0)
			copy(s.E, u.e0)
			return Info{}, err
		}
		info.Gradients += size
		s.team.run(n, s.Dim, u.growRows)
	}
	u.take(&info)
	u.learn(info)
	s.Step++
	return info, nil
}

// gather lists the chains that are not done, in order.
func (u *NUTS) gather() bool {
	u.active = u.active[:0]
	for c := range u.chains {
		if !u.chains[c].done {
			u.active = append(u.active, c)
		}
	}
	return len(u.active) > 0
}

// pad fills the batch up to a quarter, a half, three quarters or all of the chains with its last state: a target whose memory is bound to a
// number of states then sees four of them, and not every one.
func (u *NUTS) pad(n int) int {
	quarter := (u.s.N + 3) / 4
	size := min((n+quarter-1)/quarter*quarter, u.s.N)
	d := u.s.Dim
	for i := n; i < size; i++ {
		copy(u.xb[i*d:(i+1)*d], u.xb[(n-1)*d:n*d])
	}
	return size
}

// root begins the trees of chains lo…hi−1.
func (u *NUTS) root(lo, hi int) {
	s := u.s
	u.drawMomenta(u.key.Sub("momentum"), lo, hi)
	for c := lo; c < hi; c++ {
		x, g, p := s.row(s.X, c), s.row(s.G, c), s.row(u.p, c)
		h := u.energy(c, s.E[c])
		u.chains[c] = tree{h0: h, hProp: h, eProp: float64(s.E[c])}
		for end := range 2 {
			copy(s.row(u.xEnd[end], c), x)
			copy(s.row(u.pEnd[end], c), p)
			copy(s.row(u.gEnd[end], c), g)
		}
		copy(s.row(u.xProp, c), x)
		copy(s.row(u.gProp, c), g)
		copy(s.row(u.rho, c), p)
		u.sprout(c)
	}
}

// sprout begins the next subtree of chain c at the end that a coin chooses.
func (u *NUTS) sprout(c int) {
	s, t := u.s, &u.chains[c]
	t.dir = 0
	if u.dirKey.Float64(uint64(s.Step), uint64(c)<<5|uint64(t.depth)) < u.hook.at("direction", 0.5) {
		t.dir = 1
	}
	t.leaf, t.size, t.logWSub = 0, 1<<t.depth, math.Inf(-1)
	copy(s.row(s.X, c), s.row(u.xEnd[t.dir], c))
	copy(s.row(u.p, c), s.row(u.pEnd[t.dir], c))
	copy(s.row(s.G, c), s.row(u.gEnd[t.dir], c))
	clear(s.row(u.rhoSub, c))
}

// signed is ε in the direction of the subtree: the past is reached with −ε.
func (u *NUTS) signed(t *tree) float64 { return u.eps * float64(2*t.dir-1) }

// checkpoint is row level of chain c in an array of checkpoints.
func (u *NUTS) checkpoint(v []float32, c, level int) []float32 {
	at := (c*u.depth + level) * u.s.Dim
	return v[at : at+u.s.Dim]
}

// leap does half a kick and the drift of active chains lo…hi−1 and puts their
// states into the batch.
func (u *NUTS) leap(lo, hi int) {
	s := u.s
	for i := lo; i < hi; i++ {
		c := u.active[i]
		t := &u.chains[c]
		if t.leaf > 0 && t.leaf%2 == 0 {
			copy(u.checkpoint(u.ckBefore, c, bits.OnesCount(uint(t.leaf>>1))), s.row(u.p, c))
		}
		u.kickDrift(s.row(s.X, c), s.row(s.G, c), c, u.hook.at("half kick", 0.5), u.signed(t))
		copy(u.xb[i*s.Dim:(i+1)*s.Dim], s.row(s.X, c))
	}
}

// grow finishes the leapfrog step of active chains lo…hi−1 and adds the leaf.
func (u *NUTS) grow(lo, hi int) {
	s := u.s
	for i := lo; i < hi; i++ {
		c := u.active[i]
		copy(s.row(s.G, c), u.gb[i*s.Dim:(i+1)*s.Dim])
		s.E[c] = u.eb[i]
		u.kick(c, 0.5, u.signed(&u.chains[c]))
		if !u.addLeaf(c) {
			u.chains[c].done = true
		}
	}
}

// addLeaf adds the state of chain c to its subtree, and the subtree to the tree
// when it is whole. It says whether the tree goes on growing.
func (u *NUTS) addLeaf(c int) bool {
	s, t := u.s, &u.chains[c]
	x, p, g := s.row(s.X, c), s.row(u.p, c), s.row(s.G, c)
	t.leaves++
	w := t.h0 - u.energy(c, s.E[c])
	switch {
	case !finite64(w) || !allFinite(x) || !allFinite(g):
		t.nonFinite = true
		return false
	case !s.Box.contains(x):
		return false
	}
	t.accept += math.Exp(min(0, w))
	if w < -divergence {
		t.diverged = true
		return false
	}
	t.logWSub = logAddExp(t.logWSub, w)
	chance := u.hook.at("leaf", math.Exp(w-t.logWSub))
	if u.leafKey.Float64(uint64(s.Step), uint64(c)<<(maxTreeDepth+1)|uint64(t.leaves)) < chance {
		copy(s.row(u.xSub, c), x)
		copy(s.row(u.gSub, c), g)
		t.eSub, t.hSub = float64(s.E[c]), t.h0-w
	}
	rho := s.row(u.rhoSub, c)
	for i := range rho {
		rho[i] += p[i]
	}
	if t.leaf == 0 {
		copy(s.row(u.first, c), p)
	}
	level := bits.OnesCount(uint(t.leaf >> 1))
	if t.leaf%2 == 0 {
		copy(u.checkpoint(u.ckP, c, level), p)
		copy(u.checkpoint(u.ckRho, c, level), rho)
	} else if u.hook.at("turn within", 1) != 0 && u.turnedWithin(c, level) {
		return false
	}
	t.leaf++
	if t.leaf < t.size {
		return true
	}
	return u.merge(c)
}

// turnedWithin checks the subtrees of 8, 16, … leaves that the odd leaf now
// added completes. The first leaf of the last two has its checkpoint at level,
// that of the last four at level−1, and so on, for as many as the leaf's number has
// ones at its end.
func (u *NUTS) turnedWithin(c, level int) bool {
	s, t := u.s, &u.chains[c]
	p, rho, sum := s.row(u.p, c), s.row(u.rhoSub, c), s.row(u.sum, c)
	for k := range bits.TrailingZeros(^uint(t.leaf)) {
		at := level - k
		if k+1 < minDepth {
			continue
		}
		head, before := u.checkpoint(u.ckP, c, at), u.checkpoint(u.ckRho, c, at)
		for i := range sum {
			sum[i] = rho[i] - before[i] + head[i]
		}
		if u.turned(c, sum, head, p) {
			return true
		}
		// The right half begins at the checkpoint one level up; ckBefore there
		// is the last momentum of the left half.
		right, upTo, left := u.checkpoint(u.ckP, c, at+1), u.checkpoint(u.ckRho, c, at+1), u.checkpoint(u.ckBefore, c, at+1)
		for i := range sum {
			sum[i] = upTo[i] - before[i] + head[i]
		}
		if u.turned(c, sum, head, right) {
			return true
		}
		for i := range sum {
			sum[i] = rho[i] - upTo[i] + right[i] + left[i]
		}
		if u.turned(c, sum, left, p) {
			return true
		}
	}
	return false
}

// turned says that ρ·M⁻¹p is not positive at one of two ends.
func (u *NUTS) turned(c int, rho, a, b []float32) bool {
	w := u.s.row(u.w, c)
	u.metric.velocity(w, rho)
	return u.hook.at("turn", min(dot(w, a), dot(w, b))) <= 0
}

// merge joins the whole subtree to the tree and says whether it goes on growing.
func (u *NUTS) merge(c int) bool {
	s, t := u.s, &u.chains[c]
	chance := math.Exp(u.hook.at("merge", t.logWSub-t.logW))
	if u.mergeKey.Float64(uint64(s.Step), uint64(c)<<5|uint64(t.depth)) < chance {
		copy(s.row(u.xProp, c), s.row(u.xSub, c))
		if u.hook.at("carry gradient", 1) != 0 {
			copy(s.row(u.gProp, c), s.row(u.gSub, c))
		}
		t.eProp, t.hProp = t.eSub, t.hSub
	}
	p, rho, sub, sum := s.row(u.p, c), s.row(u.rho, c), s.row(u.rhoSub, c), s.row(u.sum, c)
	near, far, first := s.row(u.pEnd[t.dir], c), s.row(u.pEnd[1-t.dir], c), s.row(u.first, c)
	for i := range sum {
		sum[i] = rho[i] + first[i]
	}
	turned := u.turned(c, sum, far, first)
	for i := range sum {
		sum[i] = sub[i] + near[i]
	}
	turned = turned || u.turned(c, sum, near, p)
	for i := range rho {
		rho[i] += sub[i]
	}
	turned = turned || u.turned(c, rho, far, p)
	copy(s.row(u.xEnd[t.dir], c), s.row(s.X, c))
	copy(near, p)
	copy(s.row(u.gEnd[t.dir], c), s.row(s.G, c))
	t.logW = logAddExp(t.logW, t.logWSub)
	t.depth++
	if turned && t.depth >= minDepth || t.depth == u.depth {
		return false
	}
	u.sprout(c)
	return true
}

// take moves the chains to their proposals and adds up what happened.
func (u *NUTS) take(info *Info) {
	s := u.s
	copy(s.X, u.xProp)
	copy(s.G, u.gProp)
	info.Moves += s.N
	for c := range u.chains {
		t := &u.chains[c]
		s.E[c] = float32(t.eProp)
		s.Hamiltonian[c] = float32(t.hProp)
		a := t.accept / float64(t.leaves)
		s.Accept[c] = float32(a)
		s.Diverged[c] = t.diverged
		s.Leapfrogs[c] = int32(t.leaves)
		s.Depth[c] = int32(t.depth)
		info.Accepted += a
		if t.diverged {
			info.Divergences++
		}
		if t.nonFinite {
			info.RejectedNonFinite++
		}
	}
	s.StepSize = float32(u.eps)
}

// logAddExp is log(eᵃ + eᵇ).
func logAddExp(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}
