//go:build !amd64 || purego

package rng

func normalLots(dst []float32, s stream, b uint64) { normalBlocks(dst, s, b) }

func normalEdge(edge *[lot]float32, n int, s stream, b uint64) {
	normalBlocks(edge[:(n+3)/4*4], s, b)
}

func langevinLots(x, g []float32, eta, sigma float32, s stream, b uint64) {
	langevinBlocks(x, g, eta, sigma, s, b)
}
