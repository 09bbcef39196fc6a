package graphs

import (
	"fmt"
	"slices"
)

var lossKernels = kernelTable{
	"NegativeLogLikelihoodLoss": {2, func(c *call) ([]*Array, error) { return one(nllLoss(c, c.in[0])) }},
	"SoftmaxCrossEntropyLoss":   {2, evalSoftmaxCrossEntropyLoss},
}

func init() { register(lossKernels) }

// evalSoftmaxCrossEntropyLoss gives the loss and the log-probabilities.
func evalSoftmaxCrossEntropyLoss(c *call) ([]*Array, error) {
	logp, err := mapLines(c.in[0], 1, logSoftmax)
	if err != nil {
		return nil, err
	}
	loss, err := nllLoss(c, logp)
	return []*Array{loss, logp}, err
}

// nllLoss is −w[t]·logp[n, t, …], as it is, summed, or averaged by the weights of the labels that are not ignored.
func nllLoss(c *call, logp *Array) (*Array, error) {
	target, weight := c.in[1], c.arg(2)
	if err := needFloat(logp, nil, weight); err != nil {
		return nil, err
	}
	if err := needRank(logp, 2); err != nil {
		return nil, err
	}
	n, classes, inner := around(logp.Dims, 1)
	if want := slices.Concat(logp.Dims[:1], logp.Dims[2:]); !slices.Equal(target.Dims, want) {
		return nil, fmt.Errorf("target of dims %v, not %v", target.Dims, want)
	}
	labels, err := c.ints(1)
	if err != nil {
		return nil, err
	}
	if weight != nil && weight.Len() != classes {
		return nil, fmt.Errorf("weights of dims %v for %d classes", weight.Dims, classes)
	}
	ignore, hasIgnore := c.Attrs["ignore_index"].(int64)
	loss := make([]float64, n*inner)
	total := 0.0
	for i, t := range labels {
		if hasIgnore && int64(t) == ignore {
			continue
		}
		if t < 0 || t >= classes {
			return nil, fmt.Errorf("label %d of %d classes", t, classes)
		}
		w := 1.0
		if weight != nil {
			w = weight.F[t]
		}
		total += w
		loss[i] = -w * logp.F[(i/inner*classes+t)*inner+i%inner]
	}
	switch mode := c.Text("reduction", "mean"); mode {
	case "none":
		return reals(logp.DType, target.Dims, loss), nil
	case "sum":
		return reals(logp.DType, nil, []float64{sum(loss)}), nil
	case "mean":
		return reals(logp.DType, nil, []float64{sum(loss) / total}), nil
	default:
		return nil, fmt.Errorf("reduction %q is not known", mode)
	}
}
