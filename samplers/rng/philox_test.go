package rng

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The known answers of Random123's kat_vectors for philox4x32-10.
func TestPhiloxKnownAnswers(t *testing.T) {
	const f = 0xffffffff
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{f, f, f, f}, [2]uint32{f, f}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		n, k := c.counter, c.key
		require.Equal(t, c.want, words4(philox(n[0], n[1], n[2], n[3], k[0], k[1])))
	}
}

// The definition in the package comment, for the root key: key = seed, counter = (block, step).
func TestRootKeyIsPlainPhilox(t *testing.T) {
	s := NewKey(0xbb67ae853c6ef372).stream(kindNormal, 0x1122334455667788)
	require.Equal(t,
		words4(philox(0xddeeff00, 0x99aabbcc, 0x55667788, 0x11223344, 0x3c6ef372, 0xbb67ae85)),
		words4(s.block(0x99aabbccddeeff00)))
}
