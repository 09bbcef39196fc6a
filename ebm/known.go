package ebm

import (
	"fmt"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/graphs"
)

// refusedOps says why ops of ai.onnx that have no derivative are not taken in an energy; others that are not known are none of ai.onnx.
var refusedOps = map[string]string{}

func init() {
	for reason, ops := range map[string]string{
		"sequences and optional values are not supported; export the model with tensors": "SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap SplitToSequence ConcatFromSequence Optional OptionalGetElement OptionalHasElement",
		"quantised arithmetic has no derivative; export the model in floats":             "QLinearConv QLinearMatMul ConvInteger MatMulInteger DynamicQuantizeLinear",
		"strings are not supported":                       "StringNormalizer StringConcat StringSplit RegexFullMatch TfIdfVectorizer",
		"images are decoded outside of the model":         "ImageDecoder",
		"it has no derivative; use RoiAlign in its place": "MaxRoiPool",
		"bits of floats have no derivative":               "BitCast",
	} {
		for op := range strings.FieldsSeq(ops) {
			refusedOps[op] = reason
		}
	}
}

// otherDomains says what is taken of domains beside ai.onnx.
var otherDomains = map[string]string{
	"ai.onnx.ml":    "of this domain only Scaler, Normalizer, LinearRegressor, LinearClassifier, SVMRegressor and ArrayFeatureExtractor are read: trees and encoders have no derivative",
	"com.microsoft": "of this domain only fused ops of networks are read (Gelu, BiasGelu, FastGelu, QuickGelu, FusedMatMul, FusedGemm, SkipLayerNormalization); save the model without ONNX Runtime's optimisations",
}

// CheckOps refuses a graph of which no energy can be made: one with an op that is not known, is of another domain, or draws random numbers. The error
// is a *graphs.OpError.
func CheckOps(g *graphs.Graph) error {
	for _, n := range g.Nodes {
		if reason := unknown(n); reason != "" {
			name := n.Name
			if name == "" && len(n.Out) > 0 {
				name = n.Out[0].Name
			}
			return &graphs.OpError{Op: n.FullOp(), Node: name, Reason: reason}
		}
		for _, a := range n.Attrs {
			if body, ok := a.(*graphs.Graph); ok {
				if err := CheckOps(body); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// unknown says why a node cannot be part of an energy, empty where it can.
func unknown(n *graphs.Node) string {
	if n.Domain != "" {
		if reason := otherDomains[n.Domain]; reason != "" {
			return reason
		}
		return fmt.Sprintf("the domain %s is not known; export the model with ops of ai.onnx, or the op as a function of the model", n.Domain)
	}
	info, ok := graphs.Info(n.Op)
	switch {
	case refusedOps[n.Op] != "":
		return refusedOps[n.Op]
	case !ok:
		return fmt.Sprintf("it is no op of ai.onnx up to opset %d", graphs.MaxReadOpset)
	case info.Random, n.Op == "Dropout" && n.Input(2).IsConst() && n.In[2].Tensor.Int64s()[0] != 0:
		return "it draws random numbers, and an energy is a function of x; export the model in evaluation mode, or make the numbers an input"
	}
	return ""
}

// known checks the ops that the chosen output depends on.
func (im *importer) known() error {
	out, err := im.output()
	if err != nil {
		return nil // said again where the output is used
	}
	return CheckOps(graphs.Prune(&graphs.Graph{Nodes: im.g.Nodes, Outputs: []graphs.Output{{Value: out}}}))
}
