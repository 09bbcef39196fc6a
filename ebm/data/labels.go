package data

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/internal/npy"
	"github.com/onnx-ebm/onnx-ebm/internal/spec"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Labelled is a Dataset whose items belong to classes 0, 1, ….
type Labelled interface {
	Dataset
	// Classes is the number of classes: the largest label and one.
	Classes() int
	// Labels is the class of each item.
	Labels() []int
}

// LabelledGenerator is a Generator that knows the classes of what it draws.
type LabelledGenerator interface {
	Generator
	Labelled
	// FreshLabelled is Fresh with the class of each item.
	FreshLabelled(n int, k rng.Key) (x []float32, labels []int, err error)
}

// maxClasses bounds what a label can ask for: more are a mistaken column.
const maxClasses = 1 << 16

// labelled is a Dataset with labels from elsewhere.
type labelled struct {
	Dataset
	classes int
	labels  []int
}

func (l *labelled) Classes() int  { return l.classes }
func (l *labelled) Labels() []int { return l.labels }

// withLabels puts labels, whole numbers from 0, beside the items of ds. It closes ds where they do not fit.
func withLabels(ds Dataset, y []float32, source string) (Dataset, error) {
	l := &labelled{Dataset: ds, labels: make([]int, len(y))}
	err := error(nil)
	if len(y) != ds.Len() {
		err = fmt.Errorf("data: %s holds %d labels for %d items", source, len(y), ds.Len())
	}
	for i, v := range y {
		if err != nil {
			break
		}
		if !(v >= 0 && v < maxClasses) || v != float32(math.Trunc(float64(v))) {
			err = fmt.Errorf("data: %s: label %v of item %d (from 0) is no class; classes are 0, 1, 2, … below %d", source, v, i, maxClasses)
		}
		l.labels[i] = int(v)
		l.classes = max(l.classes, l.labels[i]+1)
	}
	if err != nil {
		return nil, errors.Join(err, ds.Close())
	}
	return l, nil
}

// labelsKey is the file that the key labels names, a .npy or IDX file of as many whole numbers as there are items; empty: none.
func labelsKey(s *spec.Spec) string { return s.Word("labels", "") }

// withLabelFile adds the labels of a file to ds; an empty path adds none.
func withLabelFile(ds Dataset, err error, path string) (Dataset, error) {
	if err != nil || path == "" {
		return ds, err
	}
	y, err := readLabels(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("data: labels: %w", err), ds.Close())
	}
	return withLabels(ds, y, path)
}

func readLabels(path string) ([]float32, error) {
	if strings.EqualFold(filepath.Ext(path), ".npy") {
		a, err := npy.ReadFile(path, npy.Ints)
		return a.Data, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, y, err := readIDX(f, "bytes")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return y, nil
}

// Joint makes items [D + classes] of labelled ones: the values of an item, then the weights of classes that set writes for its class
// (models.OnlyClass), as the joint energies of models.Joint take them. More classes than ds has are allowed, fewer are an error.
func Joint(ds Labelled, classes int, set func(t []float32, class int)) (Dataset, error) {
	if ds.Classes() > classes {
		return nil, fmt.Errorf("data: the labels go up to %d, but there are %d classes", ds.Classes()-1, classes)
	}
	j := &joint{Labelled: ds, weights: make([][]float32, classes)}
	for class := range j.weights {
		j.weights[class] = make([]float32, classes)
		set(j.weights[class], class)
	}
	return j, nil
}

type joint struct {
	Labelled
	weights [][]float32
}

func (j *joint) Shape() []int { return []int{Size(j.Labelled) + len(j.weights)} }

func (j *joint) Rows(dst []float32, indices []int) error {
	d, k := Size(j.Labelled), len(j.weights)
	if len(dst) != len(indices)*(d+k) {
		return fmt.Errorf("data: %d values are no room for %d items of %d", len(dst), len(indices), d+k)
	}
	// The items first, packed, then moved apart from the last to the first.
	if err := j.Labelled.Rows(dst[:len(indices)*d], indices); err != nil {
		return err
	}
	labels := j.Labels()
	for i := len(indices) - 1; i >= 0; i-- {
		row := dst[i*(d+k) : (i+1)*(d+k)]
		copy(row, dst[i*d:(i+1)*d])
		copy(row[d:], j.weights[labels[indices[i]]])
	}
	return nil
}
