package main

import (
	"io"

	"github.com/onnx-ebm/onnx-ebm/graphs"
	"github.com/onnx-ebm/onnx-ebm/internal/atomicfile"
	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/samplers/diag/zarr"
)

// outputs stages the files of one command: all appear at commit, or none.
type outputs struct {
	set    atomicfile.Set
	writer map[string]io.Writer // by what the file holds
	path   map[string]string    // as given, by the same
	store  *zarr.Staged         // draws as a store, or nil
}

// add stages a file under a key; an empty path is an output that is not wanted.
func (o *outputs) add(key, path string) error {
	if path == "" {
		return nil
	}
	w, err := o.set.Add(path)
	if err != nil {
		return err
	}
	if o.writer == nil {
		o.writer, o.path = map[string]io.Writer{}, map[string]string{}
	}
	o.writer[key], o.path[key] = w, path
	return nil
}

// addAll stages files given as pairs of key and path.
func (o *outputs) addAll(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if err := o.add(pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// wants tells whether a file is staged under the key.
func (o *outputs) wants(key string) bool { return o.writer[key] != nil }

// array writes an array to the file of the key, if it is wanted.
func (o *outputs) array(key string, data []float32, shape ...int) error {
	if !o.wants(key) {
		return nil
	}
	return npy.Write(o.writer[key], npy.Array{Shape: shape, Data: data})
}

// graph writes a model to the file of the key, and a large one's data beside it.
func (o *outputs) graph(key string, g *graphs.Graph, w graphs.WriteOptions) error {
	return graphs.Stage(&o.set, o.path[key], o.writer[key], g, w)
}

// draws stages a store of draws.
func (o *outputs) draws(path string, t *zarr.Tree) (err error) {
	o.store, err = zarr.Stage(path, t)
	return err
}

// commit makes all files visible.
func (o *outputs) commit() error {
	if err := o.set.Commit(); err != nil || o.store == nil {
		return err
	}
	return o.store.Commit()
}

// abort removes what is staged; after commit it does nothing.
func (o *outputs) abort() {
	o.set.Abort()
	if o.store != nil {
		o.store.Abort()
	}
}
