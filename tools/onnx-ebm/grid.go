package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// imageRank is the number of axes of a picture: those of [H, W] after any
// others, or of [C, H, W] where C is 1 or 3.
func imageRank(shape []int) int {
	if n := len(shape); n > 3 && (shape[n-3] == 1 || shape[n-3] == 3) {
		return 3
	}
	return 2
}

// plotGrid draws samples or data as images side by side; a model only says what shape they must have.
func (a *app) plotGrid(args []string, o plotOptions) error {
	var out outputs
	defer out.abort()
	if err := out.add("picture", o.out); err != nil {
		return err
	}
	x, item, err := o.images(a.global.seed)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		if err := o.checkImages(args[0], item); err != nil {
			return err
		}
	}
	g, ok := imageGrid(int64s(item))
	if !ok {
		return fmt.Errorf("items of shape %s are no images; --grid draws [H, W], [1, H, W] and [3, H, W] of at least 4 by 4 pixels", shapeText(item))
	}
	g.Images = x[:min(len(x), maxImages*product(item))]
	if err := g.WritePNG(out.writer["picture"]); err != nil {
		return err
	}
	return out.commit()
}

// checkImages compares the images with the items of a model.
func (o plotOptions) checkImages(model string, item []int) error {
	m, err := readModel(model)
	if err != nil {
		return err
	}
	x := m.graph.Inputs[0]
	if x.Rank() < 2 || !itemIsFixed(m.graph) {
		return nil
	}
	if want := ints(x.Shape()[1:].Ints()); !slices.Equal(want, item) {
		return fmt.Errorf("the images are of shape %s; the model takes %s", shapeText(item), batchText(int64s(want)))
	}
	return nil
}

// images reads samples [N, …] or draws [chains, draws, …] of images, or data.
func (o plotOptions) images(seed uint64) (x []float32, item []int, err error) {
	if o.samples == "" {
		ds, err := openData(o.data, rng.NewKey(seed).Sub("data"))
		if err != nil {
			return nil, nil, err
		}
		defer ds.Close()
		item = ds.Shape()
		indices := make([]int, min(ds.Len(), maxImages))
		for i := range indices {
			indices[i] = i
		}
		x = make([]float32, len(indices)*product(item))
		return x, item, ds.Rows(x, indices)
	}
	a, err := npy.ReadFile(o.samples)
	if err != nil {
		return nil, nil, err
	}
	if len(a.Shape) < 3 || len(a.Data) == 0 {
		return nil, nil, fmt.Errorf("%s has the shape %s; images are [N, H, W] or [N, C, H, W]", o.samples, shapeText(a.Shape))
	}
	return a.Data, a.Shape[len(a.Shape)-imageRank(a.Shape):], nil
}

// checkGrid is what --grid needs and does not go with.
func (o plotOptions) checkGrid(u *usage) {
	if o.samples != "" && o.data != "" {
		u.check(errors.New("--grid draws --samples or --data, not both"))
	}
	u.needOne("samples", "data")
	for _, flag := range []string{"range", "log"} {
		if u.c.Flags().Changed(flag) {
			u.bad("--%s is for energies in one or two dimensions, not for --grid", flag)
		}
	}
}
