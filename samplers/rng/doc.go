// Package rng draws noise as a pure function of (key, step, index): there is no generator state to
// carry, share or lock, so results do not depend on how the work is cut into tiles or spread over
// workers, and any single element can be recomputed alone.
//
// # Definition
//
// A [Key] is 128 bits: Seed and Stream. Every draw comes from Philox4x32-10 (Salmon, Moraes, Dror,
// Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011), a bijection of a 128-bit counter
// under a 64-bit key:
//
//	key     = Seed                                     (low word first)
//	counter = (block, step + mix(Stream + kind·γ))     (two 64-bit halves, low word first)
//
// where mix is the finaliser of SplitMix64, γ its increment 0x9e3779b97f4a7c15 and kind a small
// number for each kind of draw (normal 0, uniform 1, …), so that normals, uniforms, signs and integers
// taken at the same (key, step) are independent. mix(0) = 0: the normals of NewKey(seed) are plain
// Philox4x32-10 with key seed and counter (block, step).
//
// A block gives four words w0 w1 w2 w3. Element i of a step lies in
//
//	normals     block i/4: elements 0,1 from (w0, w1), elements 2,3 from (w2, w3)
//	uniforms    block i/4: element j from wj
//	signs       block i/128: bit i%32 of word (i/32)%4
//	integers    block i/2: w0 | w1<<32, then w2 | w3<<32
//
// # Normals
//
// Two words (a, b) make two normals by the transform of Box and Muller (1958):
//
//	u = (⌊a/2⌋ + ½)·2⁻³¹          in [2⁻³², 1], 31 bits deep, so |z| reaches 6.66
//	r = √(−2 ln u)
//	θ = the direction given by b: the top two bits choose a quarter of the circle,
//	    the other thirty the angle within ±π/4 of its middle
//	z = r·(cos θ, sin θ)
//
// Logarithm, sine and cosine are float32 polynomials evaluated by separate multiplications and
// additions, never fused. Each operation therefore rounds the same way everywhere, and the assembly
// (AVX2 and AVX-512 on amd64) and the Go code agree bit for bit. The purego build tag leaves the
// assembly out.
//
// # Use
//
// Keys are derived, never reused: give every purpose its own with [Key.Derive] or [Key.Sub], and count
// steps within it.
package rng
