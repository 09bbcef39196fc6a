// Package data opens what an energy is trained on: arrays and images in files,
// two-dimensional sets drawn from known densities, and a set of images, strokes.
//
// [Open] reads a description as flags give it, NAME[:key=value]…:
//
//	points.npy                     rows along the leading axis; large files are mapped
//	arrays.npz:array=x             one array of an archive
//	table.csv:columns=u,v          numbers, with or without a line of names
//	train-images-idx3-ubyte.gz     the IDX format of MNIST
//	folder/                        PNG images of one size
//	two-moons:n=500:noise=0.1      a set by name; [Sets] lists them
//
// Everything is float32 and finite: a NaN is an error that names file and row.
//
// Sets are drawn independently: each point picks its moon, component, cell or
// angle at random, so a set is a sample of its density and not a stratified
// design. Point i depends on the key and i alone. A [Generator] also draws
// fresh points, for measuring how well a trained model samples. Sets of several
// parts are [Labelled] with them as classes; of files, labels are the array y of
// a .npz, a label=COLUMN of a table, a labels=FILE beside .npy or IDX, or the
// folders in a folder of images. [Grid] draws many images as one PNG.
package data
