package rng

// lot is how many normals one turn of the assembly's loop makes; both instruction sets divide it.
const lot = 64

// Normals fills dst with N(0, 1). Element i of dst is element first+i of step step: it depends on
// (k, step, first+i) alone.
func (k Key) Normals(dst []float32, step, first uint64) {
	s := k.stream(kindNormal, step)
	var edge [lot]float32
	if skip := first % 4; skip != 0 {
		normalBlocks(edge[:4], s, first/4)
		n := copy(dst, edge[skip:4])
		dst, first = dst[n:], first+uint64(n)
	}
	whole := len(dst) / lot * lot
	normalLots(dst[:whole], s, first/4)
	if rest := dst[whole:]; len(rest) > 0 {
		normalEdge(&edge, len(rest), s, (first+uint64(whole))/4)
		copy(rest, edge[:])
	}
}

// Langevin does x[i] ← (x[i] − eta·g[i]) + sigma·z[i] in one pass over memory, where z is the noise of
// Normals at the same (step, first), rounding after every operation: drawing first and updating after
// gives the same bytes. sigma = 0 draws nothing. Like copy, it stops at the shorter of x and g. The
// two may be one slice, but not overlap otherwise.
func (k Key) Langevin(x, g []float32, eta, sigma float32, step, first uint64) {
	n := min(len(x), len(g))
	x, g = x[:n], g[:n]
	if sigma == 0 {
		descend(x, g, eta)
		return
	}
	s := k.stream(kindNormal, step)
	var edge [lot]float32
	if skip := first % 4; skip != 0 {
		normalBlocks(edge[:4], s, first/4)
		n := min(len(x), int(4-skip))
		update(x[:n], g, edge[skip:], eta, sigma)
		x, g, first = x[n:], g[n:], first+uint64(n)
	}
	whole := len(x) / lot * lot
	langevinLots(x[:whole], g[:whole], eta, sigma, s, first/4)
	if rest := x[whole:]; len(rest) > 0 {
		normalEdge(&edge, len(rest), s, (first+uint64(whole))/4)
		update(rest, g[whole:], edge[:], eta, sigma)
	}
}

// normalBlocks fills dst, whole blocks of four, with the normals from block b on.
func normalBlocks(dst []float32, s stream, b uint64) {
	for ; len(dst) >= 4; dst = dst[4:] {
		w0, w1, w2, w3 := s.block(b)
		dst[0], dst[1] = boxMuller(w0, w1)
		dst[2], dst[3] = boxMuller(w2, w3)
		b++
	}
}

// langevinBlocks is normalBlocks and update a lot at a time.
func langevinBlocks(x, g []float32, eta, sigma float32, s stream, b uint64) {
	var z [lot]float32
	for ; len(x) >= lot; x, g = x[lot:], g[lot:] {
		normalBlocks(z[:], s, b)
		update(x[:lot], g, z[:], eta, sigma)
		b += lot / 4
	}
}

// update does x ← (x − eta·g) + sigma·z over the length of x.
func update(x, g, z []float32, eta, sigma float32) {
	g, z = g[:len(x)], z[:len(x)]
	for i := range x {
		x[i] = float32(x[i]-float32(eta*g[i])) + float32(sigma*z[i])
	}
}

// descend does x ← x − eta·g over the length of x.
func descend(x, g []float32, eta float32) {
	g = g[:len(x)]
	for i := range x {
		x[i] -= float32(eta * g[i])
	}
}
