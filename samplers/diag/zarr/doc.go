// Package zarr writes and reads draws as Zarr stores (version 3) in the layout
// of ArviZ's InferenceData: a group posterior with the draws and a group sample_stats
// with what is known of each, all over the dimensions chain and draw.
//
// In Python,
//
//	tree = xarray.open_datatree(path, engine="zarr")
//	data = arviz.InferenceData.from_datatree(tree)
//
// opens what [Write] writes. [Read] opens that, and stores that others wrote
// without compression (in xarray: encoding={group: {name: {"compressors": None}}}).
//
// A store is a folder. It appears under its name when it is complete, and the same
// draws give the same bytes.
package zarr
