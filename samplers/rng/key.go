package rng

// Key identifies one stream of noise: a seed and a purpose. It is a value, free to copy and share
// between goroutines. Keys come from [NewKey], [Key.Derive] and [Key.Sub]; the fields are exported so
// that a key can be stored in a checkpoint.
type Key struct{ Seed, Stream uint64 }

// NewKey returns the root key of a seed. Any two seeds, neighbours included, give independent noise.
func NewKey(seed uint64) Key { return Key{Seed: seed} }

// Derive returns the key reached from k through the labels, independent of k and of every other path:
// k.Derive(a, b) is k.Derive(a).Derive(b), and k.Derive() is k. Two keys derived from one key by
// different labels always differ; keys at different places of the tree meet with the odds of a 128-bit
// hash. It costs one Philox block a label and does not allocate.
func (k Key) Derive(labels ...uint64) Key {
	for _, label := range labels {
		k = k.child(kindDerive, label)
	}
	return k
}

// Sub is Derive with a text label ("momentum", "init", …), hashed by 64-bit FNV-1a. Text and number
// labels never meet.
func (k Key) Sub(label string) Key {
	h := uint64(0xcbf29ce484222325)
	for i := range len(label) {
		h = (h ^ uint64(label[i])) * 0x100000001b3
	}
	return k.child(kindSub, h)
}

// child is the key whose 128 bits are one block of k. A block is a bijection of its counter, so
// children of one key are distinct.
func (k Key) child(kind, label uint64) Key {
	seed, stream := k.stream(kind, 0).pair(label)
	return Key{Seed: seed, Stream: stream}
}

// The kinds of draw; each has its own range of counters.
const (
	kindNormal = iota
	kindUniform
	kindSign
	kindInteger
	kindPerm
	kindDerive
	kindSub
)

// golden is 2⁶⁴ divided by the golden ratio, the increment of SplitMix64.
const golden = 0x9e3779b97f4a7c15

// stream returns the draws of one kind at one step.
func (k Key) stream(kind, step uint64) stream {
	return stream{key: k.Seed, high: step + mix(k.Stream+kind*golden)}
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014; constants of Stafford's mix 13), a
// bijection with mix(0) = 0. It sets streams that differ by little far apart, so that their steps do
// not run into one another.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
