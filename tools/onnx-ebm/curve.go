package main

import (
	"github.com/onnx-ebm/onnx-ebm/ebm/train"
	"github.com/onnx-ebm/onnx-ebm/tools/internal/picture"
)

// smoothing is the decay of the average that is drawn over a noisy loss.
const smoothing = 0.98

// trainingCurves are the loss and, for losses with negatives, the energies.
func trainingCurves(c *train.Curve) picture.Stack {
	stack := picture.Stack{lossCurve(c)}
	if energies := energyCurves(c); len(energies.Series) > 0 {
		stack = append(stack, energies)
	}
	return stack
}

// energyCurves are the moving averages of the mean energies of data and negatives.
func energyCurves(c *train.Curve) picture.Lines {
	l := picture.Lines{XLabel: "step", YLabel: "mean energy, moving average"}
	for _, s := range []struct{ column, name string }{{"pos_energy", "data"}, {"neg_energy", "negatives"}} {
		if x, y := c.Column(s.column); len(x) > 0 {
			l.Series = append(l.Series, picture.Series{Name: s.name, X: x, Y: movingAverage(y)})
		}
	}
	return l
}

// lossCurve draws the loss of every step, its moving average and the
// validation loss.
func lossCurve(c *train.Curve) picture.Lines {
	steps, loss := c.Column(train.ColumnLoss)
	l := picture.Lines{XLabel: "step", YLabel: "loss", Series: []picture.Series{
		{Name: "loss", X: steps, Y: loss, Thin: true},
		{Name: "moving average", X: steps, Y: movingAverage(loss)},
	}}
	if x, y := c.Column(train.ColumnValidation); len(x) > 0 {
		l.Series = append(l.Series, picture.Series{Name: "validation", X: x, Y: y})
	}
	return l
}

// movingAverage is the exponential one, without the bias of its start.
func movingAverage(v []float64) []float64 {
	out := make([]float64, len(v))
	sum, weight := 0.0, 0.0
	for i, x := range v {
		sum, weight = smoothing*sum+(1-smoothing)*x, smoothing*weight+(1-smoothing)
		out[i] = sum / weight
	}
	return out
}
