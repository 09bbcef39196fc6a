package train

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/losses"
)

// Columns of a Curve beside the terms of the loss, which stand after the loss.
const (
	ColumnStep       = "step"               // steps done, from 1
	ColumnEpoch      = "epoch"              // passes over the data done
	ColumnLoss       = "loss"               // of the step's batches, before the update
	ColumnGradNorm   = "grad_norm"          // Euclidean norm of the gradient before clipping
	ColumnLR         = "lr"                 // learning rate
	ColumnAcceptance = "acceptance"         // mean acceptance of the chains
	ColumnRejected   = "rejected_nonfinite" // moves of the chains that were rejected as not finite
	ColumnAccuracy   = "accuracy"           // share of the step's items whose class was the most probable one, before the update
	ColumnValidation = "validation"         // validation loss, at the steps that have one

	ColumnValidationAccuracy = "validation_accuracy" // the same share of the validation data
)

// Curve is the history of a run: a table of float64 with named columns and a row for each logged step.
type Curve struct {
	Columns []string
	Data    []float64 // row after row
}

// absent marks a cell without a value: a NaN that no computation gives.
var absent = math.Float64frombits(0x7ff80000000eb000)

// IsAbsent reports whether a cell holds no value, as opposed to one that is not a number.
func IsAbsent(v float64) bool { return math.Float64bits(v) == math.Float64bits(absent) }

// Rows is the number of rows.
func (c *Curve) Rows() int {
	if len(c.Columns) == 0 {
		return 0
	}
	return len(c.Data) / len(c.Columns)
}

// Row is row i itself, not a copy.
func (c *Curve) Row(i int) []float64 {
	return c.Data[i*len(c.Columns) : (i+1)*len(c.Columns)]
}

// Column copies a column's steps and values, leaving out rows that have none; nil if there is no such column.
func (c *Curve) Column(name string) (steps, values []float64) {
	at := slices.Index(c.Columns, name)
	if at < 0 {
		return nil, nil
	}
	for i := range c.Rows() {
		if v := c.Row(i)[at]; !IsAbsent(v) {
			steps, values = append(steps, c.Row(i)[0]), append(values, v)
		}
	}
	return steps, values
}

// start names the columns: those of the first step.
func (c *Curve) start(terms []losses.Term, chains, validation, classes bool) {
	c.Columns = []string{ColumnStep, ColumnEpoch, ColumnLoss}
	for _, t := range terms {
		c.Columns = append(c.Columns, t.Name)
	}
	c.Columns = append(c.Columns, ColumnGradNorm, ColumnLR)
	if chains {
		c.Columns = append(c.Columns, ColumnAcceptance, ColumnRejected)
	}
	if classes {
		c.Columns = append(c.Columns, ColumnAccuracy)
	}
	if validation {
		c.Columns = append(c.Columns, ColumnValidation)
	}
	if validation && classes {
		c.Columns = append(c.Columns, ColumnValidationAccuracy)
	}
}

// add appends the row of a step, its validation and accuracy absent.
func (c *Curve) add(p *Progress) {
	for _, name := range c.Columns {
		c.Data = append(c.Data, p.value(name))
	}
}

// set changes a cell of the last row.
func (c *Curve) set(name string, v float64) {
	if at := slices.Index(c.Columns, name); at >= 0 {
		c.Row(c.Rows() - 1)[at] = v
	}
}

// drop takes the last row away.
func (c *Curve) drop() { c.Data = c.Data[:len(c.Data)-len(c.Columns)] }

func (c *Curve) encode() []byte {
	out := make([]byte, 0, 8*len(c.Data))
	for _, v := range c.Data {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(v))
	}
	return out
}

func (c *Curve) decode(columns []string, b []byte) error {
	if len(columns) == 0 && len(b) > 0 || len(columns) > 0 && len(b)%(8*len(columns)) != 0 {
		return fmt.Errorf("a curve of %d columns in %d bytes", len(columns), len(b))
	}
	c.Columns, c.Data = columns, make([]float64, len(b)/8)
	for i := range c.Data {
		c.Data[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return nil
}
