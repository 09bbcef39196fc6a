// Package picture draws energies, samples and curves as PNG images.
//
// A [Landscape] is an energy on the plane as a heat map with contours, a
// [Profile] one on the line with its density, [Lines] any curves.
package picture
