package graphs

import "fmt"

// minRanks are the least ranks of the leading operands of ops whose inference looks at certain axes.
var minRanks = map[string][]int{
	"GridSample": {3, 3}, "STFT": {2}, "RoiAlign": {4, 2, 1}, "Attention": {3, 3, 3},
}

// minElements are the least numbers of elements of integer vectors that describe shapes, by the index of the operand.
var minElements = map[string]struct {
	operand int
	count   int
}{
	"AffineGrid": {1, 3},
}

// checkRanks refuses operands of too low a rank, as far as ranks are known.
func checkRanks(n *Node) error {
	for i, least := range minRanks[n.Op] {
		if v := n.Input(i); v != nil && v.Rank() >= 0 && v.Rank() < least {
			return fmt.Errorf("its operand %d has the shape %v; the op needs %d axes", i, v.Shape(), least)
		}
	}
	if m, ok := minElements[n.Op]; ok {
		if s := shapeFromElements(n.In[m.operand]); s != nil && len(s) < m.count {
			return fmt.Errorf("its operand %d has %d elements; the op needs %d", m.operand, len(s), m.count)
		}
	}
	return nil
}
